"""Which pixels are compared: the pairs of pictures behind every image metric.

Truth and render are brought to one size (the render's) and to one background before they meet:

- ``person``: the filmed frame is composited over white with its matte at its own size and then resized; the
  render is its own person layer over white. A render whose outline is wrong pays for it.
- ``head``: both of the above, with white outside the head region of the *truth's* fit (a soft mask).
  Whatever a render paints outside that region is not judged here; ``person`` judges it.
- ``full``: the whole crop with its background.
- ``mesh``: ``full`` restricted, by weights, to the pixels that the posed mesh of the truth's fit covers
  (its part above the neck cut). No
  white pixels dilute it; it tells registration and texture from hair, torso and outline.
- ``mouth``: ``person`` cropped to a square around the lips of the truth's fit, where speech is judged and teeth are.

In ``person`` and ``head`` white pixels count, so a generous crop raises all numbers alike: compare within a
table only. Soft pixels of the matte carry some of the filmed background, the same for all models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.images import resample_area

MOUTH_PX = 64
# Side of the crop over the width of the lips.
MOUTH_MARGIN = 1.5

Images = Float[Tensor, "frame height width 3"]
Masks = Float[Tensor, "frame height width"]


@dataclass(frozen=True)
class Pair:
    """Two stacks of pictures in 0..1 to compare, and the weight of each pixel (None: all alike)."""

    truth: Images
    render: Images
    weight: Masks | None = None


def over_white(images: Images, opacity: Masks) -> Images:
    """``images`` where opaque, white elsewhere."""
    return images * opacity[..., None] + (1 - opacity[..., None])


def view_of_lips(lips: Float[np.ndarray, "point 2"]) -> Float[Tensor, "3 3"]:
    """Pixels of a crop of the mouth (:data:`MOUTH_PX` a side) to pixels of the picture that the points of the lips lie in.

    Source: own. (NOFA compares an aligned region of the mouth, whose size it does not say.)
    """
    low, high = lips.min(0), lips.max(0)
    # A mouth that is turned away entirely still has an area.
    side = max(float((high - low).max()) * MOUTH_MARGIN, 2.0)
    scale = side / MOUTH_PX
    start = (low + high) / 2 - side / 2 + scale / 2
    return torch.tensor([[scale, 0.0, start[0]], [0.0, scale, start[1]], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Comparison:
    """Truth and render of some frames, at the render's size."""

    truth_full: Images
    truth_person: Images
    head_mask: Masks
    """Head region of the truth's fit, 0..1."""
    mesh_mask: Masks
    """1 where the posed mesh of the truth's fit, above the neck cut, covers the pixel."""
    mouth_view: Float[Tensor, "frame 3 3"]
    """Pixels of the mouth's crop to pixels of the truth: see :func:`view_of_lips`."""
    render_full: Images
    render_person: Images

    def pairs(self) -> dict[str, Pair]:
        """The pair of pictures of each region of :data:`evaluation.metric_names.REGIONS`."""
        return {
            "person": Pair(self.truth_person, self.render_person),
            "head": Pair(
                over_white(self.truth_person, self.head_mask),
                over_white(self.render_person, self.head_mask),
            ),
            "full": Pair(self.truth_full, self.render_full),
            "mesh": Pair(self.truth_full, self.render_full, self.mesh_mask),
            "mouth": Pair(self._mouth(self.truth_person), self._mouth(self.render_person)),
        }

    def _mouth(self, person: Images) -> Images:
        size = (MOUTH_PX, MOUTH_PX)
        crops = (
            resample_area(image, view, size, outside=1.0)
            for image, view in zip(person, self.mouth_view, strict=True)
        )
        return torch.stack(list(crops))
