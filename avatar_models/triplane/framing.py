"""How a generator's picture of a head lies in a frame: its camera label, and the similarity between the two pictures.

A generator that samples its cube ("box") draws what any camera sees. A published one knows only cameras on one sphere,
with one focal length, that look at one point; what it draws is then scaled and moved to where the head is in the frame
(weak perspective: the head's parts keep the relative sizes that they have at the generator's own distance).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from avatar_models.triplane.layout import Layout
from head_geometry.camera_conventions import EG3D_FOCAL_WIDTHS, eg3d_label_from_camera
from head_geometry.cameras import project, resize_intrinsics
from head_geometry.images import resample_area
from head_geometry.rotations import shortest_turn


@dataclass(frozen=True)
class FramedView:
    """What to draw, and where it goes.

    Attributes:
        label: Camera label of the generator.
        frame_from_picture: Similarity without a turn, pixels of the generator's picture to pixels of the frame.
        picture_side: Side of the generator's picture that the similarity belongs to, pixels.
    """

    label: Float[Tensor, " 25"]
    frame_from_picture: Float[Tensor, "3 3"]
    picture_side: int

    def resized(self, picture_side: int) -> FramedView:
        """The same view for a picture of another size."""
        old, new = (self.picture_side, self.picture_side), (picture_side, picture_side)
        old_from_new = resize_intrinsics(torch.eye(3).to(self.frame_from_picture), new, old)
        return FramedView(self.label, self.frame_from_picture @ old_from_new, picture_side)


def frame_view(
    camera_from_head: Float[Tensor, "4 4"],
    intrinsics: Float[Tensor, "3 3"],
    side: int,
    layout: Layout,
) -> FramedView:
    """The view of a generator that shows a head as a frame's camera sees it.

    Exact, on the frame's own pixels, for generators whose rays are bounded by their cube; :func:`canonical_view` at the
    generator's own ``image_side`` for published ones.

    Args:
        camera_from_head: Metres, OpenCV camera axes.
        intrinsics: Pinhole matrix in pixels of the frame.
        side: Of the square frame, pixels.
        layout: Of the generator.

    Raises:
        ValueError: the head is behind the camera (published generators).
    """
    if layout.ray_bounds == "box":
        label = label_of_head(
            camera_from_head, intrinsics, side, layout.units_per_metre, layout.origin_m
        )
        return FramedView(label, torch.eye(3).to(intrinsics), side)
    return canonical_view(camera_from_head, intrinsics, layout)


def canonical_view(
    camera_from_head: Float[Tensor, "4 4"], intrinsics: Float[Tensor, "3 3"], layout: Layout
) -> FramedView:
    """The view of a generator that knows only its training cameras.

    The camera turns by the smallest angle that brings the pivot onto its axis, then moves along the axis to the
    sphere of the training cameras: the generator sees the same side of the head. The similarity puts the pivot where the frame has
    it, with the head's scale at the pivot's depth. A turn by the smallest angle does not roll: near the pivot it
    stretches the picture along the line to the principal point by 1/cos of that angle, and does nothing else, which
    no similarity undoes. Skew is left out, and of unequal focal lengths the geometric mean counts.

    For a head point x aside and z behind the pivot (metres), seen from the distance D by a camera of focal length f
    (pixels) that looks at the pivot, the picture put into the frame is off by f x |1/(D + z) - R/(D (R + z))|, about
    f x z/D · |1/R - 1/D|, with R the distance of the generator's camera from the pivot; so nothing where D = R.

    Args:
        camera_from_head: Metres, OpenCV camera axes.
        intrinsics: Pinhole matrix in pixels of the frame.
        layout: Of the generator.

    Raises:
        ValueError: the head is behind the camera.

    Source: own.
    """
    camera, pinhole = camera_from_head.double(), intrinsics.double()
    units, side = layout.units_per_metre, layout.image_side
    pivot_m = camera.new_tensor(layout.camera_pivot) / units
    pivot_m = pivot_m + camera.new_tensor(layout.origin_m)
    seen = camera[:3, :3] @ pivot_m + camera[:3, 3]
    if float(seen[2]) <= 0:
        raise ValueError("the head is behind the camera")
    axis = camera.new_tensor([0.0, 0.0, 1.0])
    turned = torch.eye(4).to(camera)
    turned[:3, :3] = shortest_turn(seen / seen.norm(), axis) @ camera[:3, :3]
    distance_m = _training_distance(layout, -turned[2, :3]) / units
    turned[:3, 3] = distance_m * axis - turned[:3, :3] @ pivot_m

    focal_px, middle = EG3D_FOCAL_WIDTHS * side, (side - 1) / 2
    rows = [[focal_px, 0, middle], [0, focal_px, middle], [0, 0, 1]]
    label = label_of_head(turned, camera.new_tensor(rows), side, units, layout.origin_m)

    frame_px_per_m = (pinhole[0, 0] * pinhole[1, 1]).sqrt() / seen[2]
    scale = frame_px_per_m * distance_m / focal_px
    frame_from_picture = torch.diag(torch.stack([scale, scale, axis[2]]))
    frame_from_picture[:2, 2] = project(seen, pinhole) - scale * middle
    return FramedView(label.to(camera_from_head), frame_from_picture.to(camera_from_head), side)


def front_label(layout: Layout) -> Float[Tensor, " 25"]:
    """The label of the training camera straight before the face."""
    camera = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    pivot_m = torch.tensor(layout.camera_pivot) / layout.units_per_metre
    # A metre away; the distance is the training cameras' own in any case.
    camera[:3, 3] = torch.tensor([0.0, 0.0, 1.0]) - camera[:3, :3] @ (
        pivot_m + torch.tensor(layout.origin_m)
    )
    return canonical_view(camera, torch.eye(3), layout).label


def _training_distance(layout: Layout, towards_camera: Float[Tensor, "3"]) -> Float[Tensor, ""]:
    """Scene units from the pivot to the sphere of the training cameras, along a unit vector from the pivot."""
    pivot = towards_camera.new_tensor(layout.camera_pivot)
    along = pivot @ towards_camera
    return (along**2 + layout.camera_radius**2 - pivot @ pivot).sqrt() - along


def to_canonical(
    image: Float[Tensor, "height width channel"], view: FramedView, outside: float = 0.0
) -> Float[Tensor, "side side channel"]:
    """A frame as the generator's picture shows it; averaged by area where it shrinks.

    Args:
        image: Any range.
        view: How the two lie.
        outside: Value beyond the frame's edges.
    """
    size = (view.picture_side, view.picture_side)
    return resample_area(image, view.frame_from_picture, size, outside)


def from_canonical(
    picture: Float[Tensor, "side side channel"],
    view: FramedView,
    size: tuple[int, int],
    outside: float = 0.0,
) -> Float[Tensor, "height width channel"]:
    """A generator's picture put where it lies in a frame; the inverse of :func:`to_canonical`.

    Args:
        picture: Any range; colours that go with an opacity should be premultiplied.
        view: How the two lie.
        size: Width, height of the frame, pixels.
        outside: Value beyond the picture's edges.
    """
    fitting = view.resized(picture.shape[0]).frame_from_picture
    return resample_area(picture, torch.linalg.inv(fitting.double()), size, outside)


def label_of_head(
    camera_from_head: Float[Tensor, "*batch 4 4"],
    intrinsics: Float[Tensor, "*batch 3 3"],
    side: int,
    units_per_metre: float,
    origin_m: tuple[float, ...],
) -> Float[Tensor, "*batch 25"]:
    """A generator's label of a camera that sees a head.

    Args:
        camera_from_head: Metres, OpenCV camera axes.
        intrinsics: Pinhole matrix in pixels of a square picture.
        side: Of the picture, pixels.
        units_per_metre: Scene units in a metre.
        origin_m: Where the scene's origin lies, head axes, metres.
    """
    moved = camera_from_head.clone()
    origin = camera_from_head.new_tensor([*origin_m, 1.0])
    moved[..., :3, 3] = (camera_from_head @ origin)[..., :3] * units_per_metre
    return eg3d_label_from_camera(moved, intrinsics, (side, side))
