"""The torso behind the head: one RGBA texture that moves by the torso's own tracked similarity."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from avatar_models.dataset import SubjectData
from avatar_models.driving_signals import Driving
from avatar_models.fill import dilate, fill_nearest, fill_smoothly, masked_median

# Frames that the texture is estimated from, evenly spaced.
N_FRAMES = 48
# Margin of the texture around the reference frame, as a share of its side.
MARGIN = 0.2
# A pixel with more of the head than this shows nothing of the torso.
HEAD_COVER = 0.04
# Colour is taken where the torso covers the pixel this far: no background bleeds in.
OPAQUE = 0.96
# Gradients of the texture smaller than this hardly count.
TEXTURE_EPS = 1e-6


class TorsoLayer(nn.Module):
    """A texture in the pixels of the torso's reference frame, with a margin all around.

    Attributes:
        texture: Premultiplied RGBA, 0..1, (4, height + 2 margin, width + 2 margin); a parameter, so that a
            model may refine it together with its head.
        known: True where some training frame shows what is there (the rest lies under the head).
        reach: Largest opacity that the texture may take on, 0..1: none away from the torso that the frames show,
            so that a texture that is refined with a head paints none of the head's outline.
    """

    texture: nn.Parameter
    known: Tensor
    reach: Tensor

    def __init__(self, height: int, width: int) -> None:
        """Make a fully transparent layer for a texture of ``height`` x ``width`` (with its margin)."""
        super().__init__()
        self.texture = nn.Parameter(torch.zeros(4, height, width))
        self.register_buffer("known", torch.zeros(height, width, dtype=torch.bool))
        self.register_buffer("reach", torch.zeros(height, width))

    @classmethod
    def estimate(cls, data: SubjectData) -> TorsoLayer:
        """Median of the training frames, each moved back to the reference frame.

        Pixels near the head's share of the matte are left out, so that no jaw or hair ends up in the
        torso. What the head always covers, and what lies outside all frames, gets the opacity of the
        nearest pixel seen and a smooth colour: no hole opens when the head or the torso moves.
        """
        width, height = data.image_size
        margin = round(MARGIN * width), round(MARGIN * height)
        layer = cls(height + 2 * margin[1], width + 2 * margin[0]).to(data.device)
        radius_px = max(1, round(0.012 * width))
        stacks: list[list[Tensor]] = [[], [], []]
        for frame in data.spread_train_frames(N_FRAMES):
            alpha, region = data.alpha(frame), data.head_region(frame)
            torso = alpha * (1 - region)
            shown = (dilate(alpha * region, radius_px) < HEAD_COVER).to(alpha)
            planes = torch.cat([data.image(frame), torso[..., None], shown[..., None]], -1)
            moved = layer._move_back(planes, data.driving(frame).torso_from_reference)
            stacks[0].append((255 * moved[:4]).round().to(torch.uint8).permute(1, 2, 0))
            stacks[1].append(moved[4] > 0.99)
            stacks[2].append((moved[4] > 0.99) & (moved[3] > OPAQUE))
        rgba, shown, solid = (torch.stack(stack) for stack in stacks)
        colour, colour_known = masked_median(rgba[..., :3], solid)
        alpha, layer.known[:] = masked_median(rgba[..., 3:], shown)
        alpha = fill_nearest(alpha / 255, layer.known)
        colour = fill_smoothly(colour / 255, colour_known)
        with torch.no_grad():
            layer.texture.copy_(torch.cat([colour * alpha, alpha], -1).permute(2, 0, 1))
            layer.reach.copy_(dilate(alpha[..., 0], 2 * radius_px))
        return layer

    @classmethod
    def restore(cls, state: dict[str, Tensor], prefix: str) -> TorsoLayer:
        """A layer of the shape stored under ``prefix`` (for ``load_state_dict``)."""
        height, width = state[f"{prefix}.texture"].shape[1:]
        return cls(height, width)

    def parameter_group(self, learning_rate: float) -> dict[str, object]:
        """Adam's group of the texture, for a model that refines it: to a tenth of the rate at the end."""
        return {
            "params": [self.texture],
            "lr": learning_rate,
            "lr_end": 0.1 * learning_rate,
            # Texels that training rarely asks anything of stay as they are, instead of Adam's full steps.
            "eps": TEXTURE_EPS,
        }

    @property
    def inner_size(self) -> tuple[int, int]:
        """Width, height in pixels of the image that the texture was made for (without the margin)."""
        height, width = self.known.shape
        return round(width / (1 + 2 * MARGIN)), round(height / (1 + 2 * MARGIN))

    def forward(
        self, driving: Driving
    ) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"]]:
        """Premultiplied colour and opacity of the whole image."""
        width, height = driving.image_size
        rows = torch.arange(height, device=self.texture.device)
        columns = torch.arange(width, device=self.texture.device)
        pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).flatten(0, 1)
        rgba = self.sample(driving, pixels.to(self.texture.dtype)).unflatten(0, (height, width))
        return rgba[..., :3], rgba[..., 3]

    def sample(self, driving: Driving, pixels: Float[Tensor, "ray 2"]) -> Float[Tensor, "ray 4"]:
        """Premultiplied RGBA at some pixels (x, y) of the image to make; differentiable.

        Bilinear, and one border rule for colour and opacity: the edge of the texture goes on.
        """
        reference = _apply(torch.linalg.inv(driving.torso_from_reference), pixels)
        scale = pixels.new_tensor(self.inner_size) / pixels.new_tensor(driving.image_size)
        reference = (reference + 0.5) * scale - 0.5
        height, width = self.known.shape
        inner = pixels.new_tensor(self.inner_size)
        full = pixels.new_tensor((width, height))
        grid = (2 * (reference + (full - inner) / 2) + 1) / full - 1
        texture = self.texture.clamp(0, 1)
        # A texture that training refines stays premultiplied: no channel is brighter than its opacity.
        opacity = torch.minimum(texture[3:], self.reach)
        texture = torch.cat([torch.minimum(texture[:3], opacity), opacity])
        rgba = functional.grid_sample(
            texture[None],
            grid[None, None],
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
        return rgba[0, :, 0].T

    def _move_back(
        self, planes: Float[Tensor, "height width channel"], frame_from_reference: Tensor
    ) -> Float[Tensor, "channel texture_height texture_width"]:
        """An image of one frame in texture pixels; 0 outside the frame."""
        height, width = self.known.shape
        size = planes.new_tensor((planes.shape[1], planes.shape[0]))
        margin = (planes.new_tensor((width, height)) - size) / 2
        rows = torch.arange(height, device=planes.device)
        columns = torch.arange(width, device=planes.device)
        texel = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1) - margin
        pixels = _apply(frame_from_reference, texel.flatten(0, 1)).unflatten(0, (height, width))
        grid = (2 * pixels + 1) / size - 1
        image = planes.permute(2, 0, 1)[None]
        return functional.grid_sample(
            image, grid[None], mode="bilinear", padding_mode="zeros", align_corners=False
        )[0]


def _apply(matrix: Float[Tensor, "3 3"], points: Float[Tensor, "point 2"]) -> Tensor:
    return points @ matrix[:2, :2].mT + matrix[:2, 2]
