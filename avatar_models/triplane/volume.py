"""The volume of three feature planes: looked up, decoded and rendered along rays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from avatar_models.parallel import map_parts
from avatar_models.rendering.compositing import (
    composite,
    opacity_from_density,
    weights_from_density,
    weights_from_opacity,
)
from avatar_models.rendering.sampling import importance_edges, segment_edges, stratified_samples
from avatar_models.triplane.layers import EqualisedLinear
from avatar_models.triplane.layout import Layout
from avatar_models.triplane.rays import (
    box_bounds,
    coarse_depths,
    importance_depths,
    rays_from_label,
)

# Which two axes of a point each plane is looked up at: its column, then its row.
_AXES = {"published": ((0, 1), (0, 2), (2, 0)), "orthogonal": ((0, 1), (0, 2), (2, 1))}
# Rays whose samples are looked up and decoded together: their features stay in a core's cache.
_RAYS_AT_ONCE = 1024
# Share of a ray's fine samples that lie where the coarse ones saw nothing (box).
_UNSEEN_SHARE = 0.1


@dataclass(frozen=True)
class Rendered:
    """What the rays of a batch of square pictures see.

    Attributes:
        features: About -1..1; the first three are RGB.
        depth: Mean distance from the camera, scene units, within the range of all samples.
        opacity: 0..1.
    """

    features: Float[Tensor, "n channel side side"]
    depth: Float[Tensor, "n 1 side side"]
    opacity: Float[Tensor, "n 1 side side"]


class Decoder(nn.Module):
    """Plane features to raw density and colour features.

    Source: Chan et al. 2022 (EG3D), section 4.2; behaviour of the published weights.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        rate = layout.decoder_lr_mul
        self.net = nn.Sequential(
            EqualisedLinear(layout.plane_channels, layout.decoder_hidden, rate),
            nn.Softplus(),
            EqualisedLinear(layout.decoder_hidden, 1 + layout.feature_channels, rate),
        )

    def forward(
        self, features: Float[Tensor, "point plane_channel"]
    ) -> tuple[Float[Tensor, " point"], Float[Tensor, "point feature"]]:
        """Density before its softplus, and colour features in 0..1 (a little beyond)."""
        out = self.net(features)
        return out[:, 0], torch.sigmoid(out[:, 1:]) * 1.002 - 0.001

    def density(self, features: Float[Tensor, "point plane_channel"]) -> Float[Tensor, " point"]:
        """Density alone, before its softplus."""
        hidden = self.net[:2](features)
        weight, bias = cast(EqualisedLinear, self.net[2]).effective()
        return functional.linear(hidden, weight[:1], bias[:1])[:, 0]


@dataclass(frozen=True)
class PlaneTable:
    """Three planes as rows of a table, with a border of zeros that everything outside of them finds.

    Attributes:
        row: Features of one pixel of one plane; planes, their rows and columns one after the other.
        size: Height, width of a plane without its border.
    """

    row: Float[Tensor, "pixel channel"]
    size: tuple[int, int]

    @classmethod
    def of(cls, planes: Float[Tensor, "3 channel height width"]) -> PlaneTable:
        """The table of one volume's planes."""
        bordered = functional.pad(planes.movedim(1, -1), (0, 0, 1, 2, 1, 2))
        return cls(bordered.flatten(0, 2), (planes.shape[2], planes.shape[3]))

    def look_up(
        self, points: Float[Tensor, "point 3"], box_width: float, axes: str
    ) -> Float[Tensor, "point channel"]:
        """Mean of the three planes' features at points, bilinear; zero outside the planes.

        Args:
            points: Scene units.
            box_width: Width of the cube that the planes cover.
            axes: ``published`` or ``orthogonal``, see :class:`Layout`.
        """
        height, width = self.size
        side = points.new_tensor([width, height])
        columns, rows = zip(*_AXES[axes], strict=True)
        # Axis by axis: long rows of numbers are what a core is fast at.
        place = (points.T * (2 / box_width) + 1)[None] * (side / 2)[:, None, None] + 0.5
        place = torch.minimum(place.clamp_min(0), (side + 1)[:, None, None])
        corner = place.detach().floor()
        share, index = place - corner, corner.to(torch.int32)
        right, down = share[0, list(columns)], share[1, list(rows)]
        left, right, up = (1 - right) / 3, right / 3, 1 - down
        weights = torch.cat([left * up, right * up, left * down, right * down])
        stride = width + 3
        whole = {"dtype": torch.int32, "device": points.device}
        plane = torch.arange(3, **whole)[:, None] * ((height + 3) * stride)
        first = plane + index[1, list(rows)] * stride + index[0, list(columns)]
        pixels = torch.cat([first, first + 1, first + stride, first + stride + 1])
        # Flat, with where each point begins: given as a matrix, they would be counted out in long integers first.
        return functional.embedding_bag(
            pixels.T.flatten(),
            self.row,
            torch.arange(0, pixels.numel(), len(pixels), **whole),
            per_sample_weights=weights.T.flatten(),
            mode="sum",
        )


def sample_weights(
    density: Float[Tensor, "ray sample"], depths: Float[Tensor, "ray sample"]
) -> tuple[Float[Tensor, "ray interval"], Float[Tensor, "ray sample"]]:
    """Compositing weights of the intervals between samples, and of the samples at their ends.

    An interval has the mean of its ends' raw densities and colours, so a sample counts with half the weight of
    the interval on either side.

    Source: behaviour of the published EG3D (Barron et al. 2021).
    """
    middle = (density[:, 1:] + density[:, :-1]) / 2
    opacity = opacity_from_density(functional.softplus(middle - 1), depths[:, 1:] - depths[:, :-1])
    interval = weights_from_opacity(opacity)
    return interval, (functional.pad(interval, (1, 0)) + functional.pad(interval, (0, 1))) / 2


@dataclass(frozen=True)
class VolumeRenderer:
    """Decodes and renders planes.

    Source: Chan et al. 2022 (EG3D), section 4.2; the box's bounds of rays are own.

    Attributes:
        layout: Box, samples and the way planes are looked up.
        decoder: Of features.
    """

    layout: Layout
    decoder: Decoder

    def decode(
        self, table: PlaneTable, points: Float[Tensor, "*batch 3"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch feature"]]:
        """Raw density and colour features at points of one volume (scene units)."""
        layout = self.layout
        found = table.look_up(points.reshape(-1, 3), layout.box_width, layout.plane_axes)
        density, colour = self.decoder(found)
        return density.view(points.shape[:-1]), colour.view(*points.shape[:-1], -1)

    def density(
        self, table: PlaneTable, points: Float[Tensor, "*batch 3"]
    ) -> Float[Tensor, "*batch"]:
        """Raw density alone."""
        layout = self.layout
        found = table.look_up(points.reshape(-1, 3), layout.box_width, layout.plane_axes)
        return self.decoder.density(found).view(points.shape[:-1])

    def render(
        self,
        planes: Float[Tensor, "n 3 channel height width"],
        label: Float[Tensor, "picture 25"],
        side: int,
        generator: torch.Generator | None = None,
    ) -> Rendered:
        """Pictures of a batch of volumes, equally many of each.

        Args:
            planes: Feature planes.
            label: Camera of each picture; all of the first volume, then all of the second, and so on.
            side: Side of the pictures, pixels.
            generator: Of the samples' places; fixed places without.
        """
        origin, direction = rays_from_label(label, side)
        render_rays = (
            self._render_rays if self.layout.ray_bounds == "published" else self._render_in_box
        )
        # Rays of one volume together: its table's gradient is made once.
        by_volume = (len(planes), -1, 3)
        origin = origin[:, None].expand_as(direction).reshape(by_volume)
        direction = direction.reshape(by_volume)
        rays_at_once = _RAYS_AT_ONCE if generator is None else direction.shape[1]
        parts = [
            partial(render_rays, table, start, rays)
            for table, all_starts, all_rays in zip(
                map(PlaneTable.of, planes), origin, direction, strict=True
            )
            for start, rays in zip(
                all_starts.split(rays_at_once), all_rays.split(rays_at_once), strict=True
            )
        ]
        if generator is None:
            found = map_parts(lambda part: part(None), parts, label.device)
        else:
            # One after the other, so that each takes the same random numbers every time.
            found = [part(generator) for part in parts]
        colour, opacity, depth, nearest, farthest = (
            list(values) for values in zip(*found, strict=True)
        )
        shape = (len(label), side, side)
        together = torch.cat(opacity)
        mean_depth = (torch.cat(depth) / together).nan_to_num(torch.inf)
        mean_depth = mean_depth.clamp(torch.stack(nearest).min(), torch.stack(farthest).max())
        return Rendered(
            torch.cat(colour).unflatten(0, shape).movedim(-1, 1) * 2 - 1,
            mean_depth.view(shape)[:, None],
            together.view(shape)[:, None],
        )

    def _render_rays(
        self,
        table: PlaneTable,
        origin: Float[Tensor, "ray 3"],
        direction: Float[Tensor, "ray 3"],
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Colour, opacity, depth times opacity, and the smallest and largest sample distance."""
        layout = self.layout
        shape = (len(origin), layout.coarse_samples)
        depths = coarse_depths(shape, layout.near, layout.far, origin, generator)
        density, colour = self.decode(table, _along(origin, direction, depths))
        with torch.no_grad():
            interval, _ = sample_weights(density, depths)
            fine = importance_depths(depths, interval, layout.fine_samples, generator)
        more = self.decode(table, _along(origin, direction, fine))
        depths, order = torch.cat([depths, fine], -1).sort(-1)
        density = torch.cat([density, more[0]], -1).gather(-1, order)
        _, weights = sample_weights(density, depths)
        # The weights go back to where the colours are: far fewer numbers to move.
        weights = torch.zeros_like(weights).scatter(-1, order, weights)
        distance = torch.zeros_like(depths).scatter(-1, order, depths)
        seen = composite(weights, torch.cat([colour, more[1]], 1), distance)
        result = seen.over(torch.ones_like(seen.colour[:1])) if layout.white_back else seen.colour
        return result, seen.opacity, seen.depth, depths[:, 0].min(), depths[:, -1].max()

    def _render_in_box(
        self,
        table: PlaneTable,
        origin: Float[Tensor, "ray 3"],
        direction: Float[Tensor, "ray 3"],
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """As :meth:`_render_rays`, within the cube: coarse samples say where fine ones are, and only these are seen.

        Coarse samples have density alone and no gradient, so a ray costs little more than its fine samples.

        Source: own; Mildenhall et al. 2020 (NeRF), section 5.2, without the coarse network's picture.
        """
        layout = self.layout
        near, far = box_bounds(origin, direction, layout.box_width)
        with torch.no_grad():
            edges = segment_edges(near, far, layout.coarse_samples)
            places = _along(origin, direction, stratified_samples(edges, generator))
            density = functional.softplus(self.density(table, places) - 1)
            weights = weights_from_density(density, edges.diff(dim=-1))
            # A surface may lie before the sample that found it.
            widened = torch.maximum(weights, functional.pad(weights[:, 1:], (0, 1)))
            edges = importance_edges(edges, widened, layout.fine_samples, _UNSEEN_SHARE)
        depths = stratified_samples(edges, generator)
        density, colour = self.decode(table, _along(origin, direction, depths))
        weights = weights_from_density(functional.softplus(density - 1), edges.diff(dim=-1))
        seen = composite(weights, colour, depths)
        result = seen.over(torch.ones_like(seen.colour[:1])) if layout.white_back else seen.colour
        return result, seen.opacity, seen.depth, depths[:, 0].min(), depths[:, -1].max()


def _along(origin: Tensor, direction: Tensor, depths: Tensor) -> Float[Tensor, "ray sample 3"]:
    return origin[:, None] + depths[..., None] * direction[:, None]
