"""What the training reads of each frame, prepared once: targets, ray bounds and the vertex tree."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from avatar_models.dataset import SubjectData
from avatar_models.driving_signals import Driving
from avatar_models.monoavatar.neighbours import VertexTree, build_tree, tree_order
from avatar_models.monoavatar.shell import (
    MAX_THICKNESS_M,
    Shell,
    anchor_offsets,
    reach_of_pixels,
    spread_thickness,
)
from head_geometry.cameras import pixel_rays

# Memory that prepared frames may take; the oldest are dropped and made again when needed.
CACHE_BYTES = 400_000_000
# The shell is fitted to all training frames, of longer clips to so many evenly spread ones: 25 ms each at 128², one core.
N_SHELL_FRAMES = 1000
# How often the shell grows at most: hair that stood out behind other hair, or beside a smoothed tip, asks again.
GROWTH_ROUNDS = 4
# A shell that is to hold a pixel reaches this far beyond it, metres: it is flat between vertices.
GROWTH_MARGIN_M = 0.004
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Posed:
    """A posed head: what any query of its frame needs.

    Attributes:
        vertices: Head axes, metres, (vertex, 3).
        normals: Unit normals, (vertex, 3).
        anchor_place: Where each vertex anchors the field: the vertex itself, or above it in the hair, (vertex, 3).
        tree: Spatial index of the places of the anchors.
    """

    vertices: Float[Tensor, "vertex 3"]
    normals: Float[Tensor, "vertex 3"]
    anchor_place: Float[Tensor, "vertex 3"]
    tree: VertexTree


@dataclass(frozen=True)
class RaySet:
    """Rays of one frame that can meet the head.

    Attributes:
        pixel: Flat pixel index (row * width + column) of each ray.
        near: Where the shell begins, metres.
        far: Where it ends, metres.
        solid: How much solid head lies behind that, metres.
    """

    pixel: Int32[Tensor, " ray"]
    near: Float[Tensor, " ray"]
    far: Float[Tensor, " ray"]
    solid: Float[Tensor, " ray"]


def pose_head(driving: Driving, shell: Shell) -> Posed:
    """Vertices, normals, anchors and spatial index of one frame."""
    normals = shell.normals(driving.vertices)
    anchor_place = driving.vertices + shell.anchor_offset_m
    tree = build_tree(anchor_place, shell.order)
    return Posed(driving.vertices, normals, anchor_place, tree)


def rays_of(driving: Driving, pixel: Tensor) -> tuple[Tensor, Tensor]:
    """Origins and unit directions, head axes, of flat pixel indices."""
    width = driving.image_size[0]
    xy = torch.stack([pixel % width, pixel // width], -1).to(driving.intrinsics.dtype)
    return pixel_rays(xy, driving.intrinsics, torch.linalg.inv(driving.camera_from_head))


def shell_rays(driving: Driving, shell: Shell) -> RaySet:
    """The pixels of an image whose rays meet the shell, and where; none where the head is out of the image."""
    near, far, solid = (bound.flatten() for bound in shell.bounds(driving))
    pixel = (far > near).nonzero()[:, 0]
    return RaySet(pixel.int(), near[pixel], far[pixel], solid[pixel])


@dataclass(frozen=True)
class PreparedFrame:
    """One training frame, ready to draw rays from."""

    driving: Driving
    posed: Posed
    rays: RaySet

    def nbytes(self) -> int:
        """Memory it takes, about."""
        tensors = [self.posed.vertices, self.posed.anchor_place]
        tensors += [self.posed.normals, self.driving.displacement, self.driving.landmarks]
        tensors += [self.rays.pixel, self.rays.near, self.rays.far, self.rays.solid]
        return self.posed.tree.nbytes + sum(tensor.nbytes for tensor in tensors)


class FrameCache:
    """Prepared training frames, made on first use."""

    def __init__(self, data: SubjectData, shell: Shell, limit_bytes: int = CACHE_BYTES) -> None:
        self.data, self.shell, self.limit_bytes = data, shell, limit_bytes
        self._frames: OrderedDict[int, PreparedFrame] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, frame: int) -> PreparedFrame:
        """The prepared frame of a training frame's index."""
        if frame in self._frames:
            self._frames.move_to_end(frame)
            return self._frames[frame]
        driving = self.data.driving(frame)
        prepared = PreparedFrame(
            driving, pose_head(driving, self.shell), shell_rays(driving, self.shell)
        )
        self._frames[frame] = prepared
        self._bytes += prepared.nbytes()
        while self._bytes > self.limit_bytes and len(self._frames) > 1:
            self._bytes -= self._frames.popitem(last=False)[1].nbytes()
        return prepared


@dataclass(frozen=True)
class Outside:
    """Pixels of the head's matte that a shell leaves out.

    Attributes:
        share: Of all pixels of the head's matte in the frames looked at.
        wanted_m: Thickness that each vertex would need to hold them, metres; 0 where it needs no more than it has.
    """

    share: float
    wanted_m: Float[Tensor, " vertex"]


def find_outside(data: SubjectData, shell: Shell, frames: list[int]) -> Outside:
    """Which pixels of the head's matte (hair, ears) a shell leaves out in some training frames.

    A matte pixel whose ray misses the shell asks the vertex it passes nearest for as much more thickness.
    """
    skin = shell.triangle[shell.is_outer].unique()
    wanted = torch.zeros_like(shell.thickness_m)
    n_head = n_outside = 0
    for frame in frames:
        driving = data.driving(frame)
        is_head = data.alpha(frame) * data.head_region(frame) > 0.5
        is_outside = is_head & ~shell.covered(driving)
        pixel = is_outside.flatten().nonzero()[:, 0]
        n_head += int(is_head.sum())
        n_outside += len(pixel)
        if len(pixel) == 0:
            continue
        surface = shell.thickened(driving.vertices)[skin]
        distance, nearest = reach_of_pixels(surface, *rays_of(driving, pixel))
        vertex = skin[nearest]
        asked = shell.thickness_m[vertex] + 1.1 * distance + GROWTH_MARGIN_M
        # What lies further out is no hair.
        near = asked < MAX_THICKNESS_M
        wanted.scatter_reduce_(0, vertex[near], asked[near], "amax")
    return Outside(n_outside / max(n_head, 1), wanted)


def fit_shell(data: SubjectData, shell: Shell) -> None:
    """Grow the shell until it holds the head's matte (hair, ears) of the training frames, and its anchors with it.

    Source: own.
    """
    frames = data.spread_train_frames(N_SHELL_FRAMES)
    outside = find_outside(data, shell, frames)
    for _ in range(GROWTH_ROUNDS):
        if not outside.wanted_m.any():
            break
        grown = spread_thickness(data.neutral, outside.wanted_m)
        shell.thickness_m.copy_(torch.maximum(shell.thickness_m, grown))
        outside = find_outside(data, shell, frames)
    LOGGER.info(
        "%.3g %% of the head's matte lies outside the shell (%d of %d training frames looked at)",
        100 * outside.share,
        len(frames),
        len(data.train_frames),
    )
    shell.anchor_offset_m.copy_(anchor_offsets(data.neutral, shell))
    shell.order.copy_(tree_order(data.neutral + shell.anchor_offset_m))
