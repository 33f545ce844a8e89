"""MonoAvatar: a radiance field anchored to the vertices of a head model, over a torso and a background."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from avatar_models.background import BackgroundLayer
from avatar_models.dataset import SubjectData
from avatar_models.interface import AvatarModel, Driving, Layers
from avatar_models.monoavatar.config import MonoAvatarConfig
from avatar_models.monoavatar.field import AnchoredField, FieldSizes
from avatar_models.monoavatar.frames import (
    FrameCache,
    Posed,
    PreparedFrame,
    fit_shell,
    pose_head,
    rays_of,
    shell_rays,
)
from avatar_models.monoavatar.occupancy import VertexOccupancy
from avatar_models.monoavatar.predictors import (
    CodePredictor,
    DisplacementPredictor,
    StaticPredictor,
)
from avatar_models.monoavatar.sampling import (
    Network,
    Pass,
    Queries,
    RayBatch,
    evaluate,
    find_neighbours,
    height_above_skin,
    keep_open,
)
from avatar_models.monoavatar.shell import Shell
from avatar_models.monoavatar.uv import UvMap
from avatar_models.monoavatar.vertex_colour import seen_colours
from avatar_models.monoavatar.view_range import ViewRange
from avatar_models.monoavatar.warp import (
    BANDS,
    ErrorCorrectionWarp,
    elastic_loss,
    magnitude_loss,
    warp_jacobian,
)
from avatar_models.parallel import map_parts, part_size, run_together
from avatar_models.rendering.compositing import Composited
from avatar_models.rendering.sampling import (
    importance_edges,
    segment_edges,
    stratified_samples,
)
from avatar_models.torso import TorsoLayer
from head_geometry.head_region import sure_of_region

# Closed bins that training looks into again, as a share of the samples.
EXPLORE = 0.03


class MonoAvatar(AvatarModel):
    """The model of one subject.

    Args:
        config: Options.
        n_vertices: Of the head model.
        n_faces: Triangles of the shell.
        code_size: Length of the driving code.
        n_frames: Frames of the clip, each of which has a code of the warp.
        torso: Layer behind the head.
        background: Layer behind both.

    Source: MonoAvatar (CVPR 2023). Own: shell, occupancy, range of views, layers and the opacity loss.
    """

    # Usual norms are a fifth of this: only outliers are cut.
    max_gradient_norm: ClassVar[float] = 0.5
    # Most rays of one part of an image: few parts, because each costs the same calls, but not all memory.
    render_rays: ClassVar[dict[str, int]] = {"cpu": 4096, "cuda": 65_536}

    def __init__(
        self,
        config: MonoAvatarConfig,
        n_vertices: int,
        n_faces: int,
        code_size: int,
        n_frames: int,
        torso: TorsoLayer,
        background: BackgroundLayer,
    ) -> None:
        super().__init__()
        self.config = config
        self.predictor = make_predictor(config, n_vertices, code_size)
        self.coarse = AnchoredField(field_sizes(config, config.coarse_width))
        self.fine = AnchoredField(field_sizes(config, config.width))
        self.vertex_feature = (
            nn.Parameter(0.1 * torch.randn(n_vertices, config.feature_size))
            if config.vertex_feature
            else None
        )
        self.vertex_colour = (
            nn.Parameter(torch.zeros(n_vertices, 3)) if config.start_from_mesh else None
        )
        self.warp = (
            ErrorCorrectionWarp(n_frames, config.warp_code_size, config.warp_unit_m)
            if config.warp
            else None
        )
        self.shell = Shell(n_faces, n_vertices)
        self.view_range = ViewRange()
        self.occupancy = VertexOccupancy(n_vertices, config.occupancy_bins, min(8, n_vertices))
        self.torso, self.background = torso, background
        self.parts = config.parts
        # Minibatches of one step come from several threads: they share the cache and what they saw.
        self._lock = Lock()
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._cache: FrameCache | None = None
        self._open: Bool[Tensor, " bin"] | None = None

    def parameter_groups(self) -> list[dict[str, object]]:
        """The networks; the torso's texture, the mesh's colours and the warp, each at its own rate."""
        networks = [*self.predictor.parameters(), *self.coarse.parameters()]
        networks += self.fine.parameters()
        if self.vertex_feature is not None:
            networks.append(self.vertex_feature)
        config = self.config
        groups: list[dict[str, object]] = [
            {"params": networks, "lr": config.lr, "lr_end": config.lr_end},
            self.torso.parameter_group(config.torso_lr),
        ]
        if self.vertex_colour is not None:
            groups.append(
                {
                    "params": [self.vertex_colour],
                    "lr": config.colour_lr,
                    "lr_end": 0.1 * config.colour_lr,
                }
            )
        if self.warp is not None:
            groups.append(
                {
                    "params": list(self.warp.parameters()),
                    "lr": config.warp_lr,
                    "lr_end": config.warp_lr_end,
                }
            )
        return groups

    def vertex_features(
        self,
        displacement: Float[Tensor, "frame vertex 3"],
        code: Float[Tensor, "frame code"],
    ) -> Float[Tensor, "row feature"]:
        """Features of all vertices, the frames' vertices stacked."""
        with self._mixed():
            features = self.predictor(displacement, code)
        if self.vertex_feature is not None:
            features = features + self.vertex_feature
        return features.flatten(0, 1)

    def training_losses(
        self, data: SubjectData, progress: float, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of one step: rays of a few frames through both networks.

        Head over torso is asked for the person, over random backdrops; the head alone is asked for its share
        of the matte, so that it takes no pixel of the torso, except where the two blend at the neck: there
        the colour decides.
        """
        frames = self._choose_frames(data, generator)
        with self._lock:
            if self._cache is None or self._cache.data is not data:
                self._cache = FrameCache(data, self.shell)
            prepared = [self._cache[frame] for frame in frames]
            batch, target = self._draw_rays(data, frames, prepared, generator)
        features = self.vertex_features(
            torch.stack([p.driving.displacement for p in prepared]),
            torch.stack([p.driving.code for p in prepared]),
        )
        posed = [p.posed for p in prepared]
        warp = _WarpState(self.warp, self._open_bands(progress), frames, batch.count)
        coarse, fine = self._two_passes(batch, posed, features, warp, progress, generator)
        losses = {}
        for name, found in (("coarse", coarse), ("fine", fine)):
            behind = (1 - found.seen.opacity)[:, None] * target.behind
            losses[f"{name}_colour"] = (found.seen.colour + behind - target.person).square().mean()
            missing = (target.is_sure * (found.seen.opacity - target.opacity).square()).mean()
            losses[f"{name}_opacity"] = self.config.opacity_weight * missing
        with self._lock:
            self._seen += [(seen.occupancy_bin, seen.share) for seen in (coarse, fine)]
        return losses | self._warp_losses(warp, progress)

    def after_step(self) -> None:
        """Record what the step's rays saw, all minibatches at once: their order does not matter."""
        bins, shares = zip(*self._seen, strict=True)
        self.occupancy.record(torch.cat(bins), torch.cat(shares))
        self._seen = []
        self._open = None

    def render(self, driving: Driving) -> Layers:
        """The layers of one frame."""
        head, alpha = self.render_head(driving)
        torso, torso_alpha = self.torso(driving)
        return Layers(head, alpha, torso, torso_alpha, self.background(driving))

    def render_head(
        self, driving: Driving, skip_empty: bool = True
    ) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"]]:
        """Premultiplied colour and opacity of the head alone.

        Args:
            driving: Driving signals of the frame.
            skip_empty: Leave out samples that training found empty.
        """
        width, height = driving.image_size
        device = driving.vertices.device
        image = torch.zeros(height * width, 4, device=device)
        rays, (posed, features) = run_together(
            lambda: shell_rays(driving, self.shell),
            lambda: (
                pose_head(driving, self.shell),
                self.vertex_features(driving.displacement[None], driving.code[None]),
            ),
            device,
        )

        def draw(part: Tensor) -> None:
            pixel = rays.pixel[part].long()
            origin, direction = rays_of(driving, pixel)
            bounds = rays.near[part], rays.far[part], rays.solid[part]
            batch = RayBatch(origin, direction, *bounds, (len(pixel),))
            seen = self._see(batch, posed, features, skip_empty)
            image[pixel] = torch.cat([seen.colour, seen.opacity[:, None]], -1)

        n_rays = len(rays.pixel)
        size = part_size(n_rays, self.render_rays[device.type], device)
        # Whole parts, the last one filled with its last ray: kernels are made ready once per size.
        order = torch.arange(-(-n_rays // size) * size, device=device).clamp_max(n_rays - 1)
        map_parts(draw, order.split(size), device)
        image = image.view(height, width, 4)
        return image[..., :3], image[..., 3]

    def _see(
        self, batch: RayBatch, posed: Posed, features: Float[Tensor, "row feature"], skip: bool
    ) -> Composited:
        off = _WarpState(None, 0.0, [], batch.count)
        progress = 1.0 if skip else -1.0
        return self._two_passes(batch, [posed], features, off, progress, None)[1].seen

    def _two_passes(
        self,
        batch: RayBatch,
        posed: list[Posed],
        features: Float[Tensor, "row feature"],
        warp: _WarpState,
        progress: float,
        generator: torch.Generator | None,
    ) -> tuple[Pass, Pass]:
        """Coarse network on even samples, fine network where the coarse one saw something."""
        config = self.config
        vertices = torch.cat([p.vertices for p in posed])
        normals = torch.cat([p.normals for p in posed])
        anchor_place = torch.cat([p.anchor_place for p in posed])
        own_colour = None
        if self.vertex_colour is not None:
            own_colour = self.vertex_colour.repeat(len(posed), 1)
        passes: list[Pass] = []
        directions = self.view_range(batch.direction)
        edges = segment_edges(batch.near, batch.far, config.coarse_samples)
        for field in (self.coarse, self.fine):
            if passes:
                edges = importance_edges(edges, passes[0].weights.detach(), config.fine_samples)
            distance = stratified_samples(edges, generator)
            queries = self._queries(batch, posed, distance, warp)
            height = height_above_skin(
                queries.place, vertices, normals, queries.nearest[:, 0].long()
            )
            own = queries.nearest[:, 0].long() % len(self.shell.thickness_m)
            bins = self.occupancy.bins(height, own, self.shell.thickness_m)
            queries = Queries(queries.slot, queries.place, queries.nearest, bins, height)
            if progress >= config.occupancy_start:
                queries = self._skip_empty(queries, generator)
            with self._mixed():
                view = field.encode_view(directions)
                # The coarse network's colours only teach it.
                needs_colour = field is self.fine or generator is not None
                network = Network(field, field.project(features), view, own_colour, needs_colour)
            length = edges.diff(dim=-1)
            length[:, -1] += batch.solid
            passes.append(evaluate(network, anchor_place, queries, length, distance, self._mixed()))
        return passes[0], passes[1]

    def _mixed(self) -> torch.autocast:
        """bfloat16 for the networks; places and compositing stay in float32."""
        device = self.shell.thickness_m.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.config.mixed_precision)

    def _queries(
        self,
        batch: RayBatch,
        posed: list[Posed],
        distance: Float[Tensor, "ray sample"],
        warp: _WarpState,
    ) -> Queries:
        places = batch.origin[:, None] + batch.direction[:, None] * distance[..., None]
        places = places.reshape(-1, 3)
        places = warp.apply(places, distance.shape[1])
        count = [n * distance.shape[1] for n in batch.count]
        nearest = find_neighbours(posed, places, count, self.config.neighbours)
        slot = torch.arange(len(places), device=places.device)
        return Queries(slot, places, nearest, slot, distance.flatten())

    def _skip_empty(self, queries: Queries, generator: torch.Generator | None) -> Queries:
        if self._open is None:
            self._open = self.occupancy.open_bins().flatten()
        if generator is None:
            return keep_open(queries, self._open, None)
        explore = (
            torch.rand(len(queries.slot), generator=generator, device=queries.slot.device) < EXPLORE
        )
        return keep_open(queries, self._open, explore)

    def _choose_frames(self, data: SubjectData, generator: torch.Generator) -> list[int]:
        n = self.config.frames_per_step
        places = torch.randint(
            len(data.train_frames), (n,), generator=generator, device=generator.device
        )
        return data.train_frames[places.cpu()].tolist()

    def _draw_rays(
        self,
        data: SubjectData,
        frames: list[int],
        prepared: list[PreparedFrame],
        generator: torch.Generator,
    ) -> tuple[RayBatch, RayTarget]:
        """Random rays of each frame, and what they should see."""
        per_frame = max(1, self.config.rays // (self.config.parts * len(frames)))
        parts: list[tuple[Tensor, ...]] = []
        for frame, ready in zip(frames, prepared, strict=True):
            n = len(ready.rays.pixel)
            chosen = torch.randint(n, (per_frame,), generator=generator, device=data.device)
            pixel = ready.rays.pixel.index_select(0, chosen).long()
            origin, direction = rays_of(ready.driving, pixel)
            row, column = pixel // data.image_size[0], pixel % data.image_size[0]
            image = data.image_bytes(frame)[row, column].float() / 255
            alpha = data.alpha_bytes(frame)[row, column].float()[:, None] / 255
            region = data.head_region(frame)[row, column]
            torso = self.torso.sample(ready.driving, torch.stack([column, row], -1).float())
            # Any colour may lie behind the person: over one fixed colour, fog of that colour would hide errors.
            backdrop = torch.rand(per_frame, 3, generator=generator, device=data.device)
            is_sure = sure_of_region(region)
            bounds = ready.rays.near, ready.rays.far, ready.rays.solid
            rays = origin, direction, *(bound[chosen] for bound in bounds)
            parts.append(
                (
                    *rays,
                    image * alpha + (1 - alpha) * backdrop,
                    torso[:, :3] + (1 - torso[:, 3:]) * backdrop,
                    alpha[:, 0] * region,
                    is_sure,
                )
            )
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        count = (per_frame,) * len(frames)
        origin, direction, near, far, solid = columns[:5]
        batch = RayBatch(origin, direction, near, far, solid, count)
        return batch, RayTarget(*columns[5:])

    def _open_bands(self, progress: float) -> float:
        """Open bands of the warp; negative while it is off."""
        if progress < self.config.warp_start:
            return -1.0
        return BANDS * min(1.0, progress / self.config.warp_bands_end)

    def _warp_losses(self, warp: _WarpState, progress: float) -> dict[str, Tensor]:
        config = self.config
        zero = torch.zeros((), device=self.shell.thickness_m.device)
        network, warped = warp.warp, warp.warped
        if network is None or warped is None or warp.queries is None or warp.frame is None:
            return {"warp_elastic": zero, "warp_magnitude": zero}
        stride = max(1, len(warp.queries) // config.elastic_points)
        jacobian = warp_jacobian(
            network, warp.queries[::stride], warp.frame[::stride], warp.open_bands
        )
        late = progress >= config.elastic_late
        elastic = config.elastic_weight_late if late else config.elastic_weight
        unit = config.warp_unit_m
        return {
            "warp_elastic": elastic * elastic_loss(jacobian),
            "warp_magnitude": config.magnitude_weight
            * magnitude_loss(warp.queries / unit, warped / unit),
        }


@dataclass(frozen=True)
class RayTarget:
    """What the rays of one step should see.

    Attributes:
        person: Colour of the person over a random backdrop, (ray, 3).
        behind: Torso over the same, as the torso layer now has it; gradients reach its texture, (ray, 3).
        opacity: The head's share of the matte, (ray,).
        is_sure: 1 where the pixel is clearly the head's or clearly not, 0 where head and torso blend, (ray,).
    """

    person: Float[Tensor, "ray 3"]
    behind: Float[Tensor, "ray 3"]
    opacity: Float[Tensor, " ray"]
    is_sure: Float[Tensor, " ray"]


class _WarpState:
    """The warp of one step, and what its losses look at (the last queries it moved)."""

    def __init__(
        self,
        warp: ErrorCorrectionWarp | None,
        open_bands: float,
        frames: list[int],
        count: tuple[int, ...],
    ) -> None:
        self.warp, self.open_bands = warp, open_bands
        self.frames, self.count = frames, count
        self.queries: Tensor | None = None
        self.warped: Tensor | None = None
        self.frame: Tensor | None = None

    def apply(self, places: Float[Tensor, "query 3"], n_samples: int) -> Float[Tensor, "query 3"]:
        """Warped places; the same places while the warp is off."""
        if self.warp is None or self.open_bands < 0:
            return places
        frame = torch.tensor(self.frames, device=places.device)
        repeats = torch.tensor(self.count, device=places.device) * n_samples
        self.frame = frame.repeat_interleave(repeats)
        self.queries = places
        warped = self.warp(places, self.frame, self.open_bands)
        self.warped = warped
        return warped


def field_sizes(config: MonoAvatarConfig, width: int) -> FieldSizes:
    """Sizes of a field of a given width."""
    return FieldSizes(
        feature=config.feature_size,
        width=width,
        colour_width=config.colour_width,
        position_bands=config.position_bands,
        view_bands=config.view_bands,
        position_unit_m=config.position_unit_m,
    )


def make_predictor(config: MonoAvatarConfig, n_vertices: int, code_size: int) -> nn.Module:
    """The feature predictor that the options name."""
    if config.predictor == "static":
        return StaticPredictor(n_vertices, config.feature_size)
    uv = UvMap(config.uv_size, n_vertices)
    if config.predictor == "code":
        return CodePredictor(uv, config.channels, config.feature_size, code_size)
    return DisplacementPredictor(uv, config.channels, config.feature_size)


def build_model(config: MonoAvatarConfig, data: SubjectData) -> MonoAvatar:
    """The untrained model of a subject; torso, background and the shell come from its training frames."""
    shell = Shell.of(data.head_model)
    model = MonoAvatar(
        config,
        n_vertices=len(data.neutral),
        n_faces=len(shell.triangle),
        code_size=data.clip.code.shape[1],
        n_frames=data.clip.n_frames,
        torso=TorsoLayer.estimate(data),
        background=BackgroundLayer.estimate(data),
    ).to(data.device)
    model.shell.load_state_dict(shell.state_dict())
    fit_shell(data, model.shell)
    model.view_range.measure(data)
    if model.vertex_colour is not None:
        model.vertex_colour.data.copy_(seen_colours(data, model.shell))
    model.occupancy.fill(data.neutral)
    for module in model.modules():
        if isinstance(module, UvMap):
            module.fill(data.head_model)
    return model


def restore_model(config: MonoAvatarConfig, state: dict[str, Tensor]) -> MonoAvatar:
    """A model of the shapes in ``state``; its values follow by ``load_state_dict``."""
    code_size = 0
    if config.predictor == "code":
        code_size = state["predictor.coarsest.weight"].shape[1]
    return MonoAvatar(
        config,
        n_vertices=len(state["shell.thickness_m"]),
        n_faces=len(state["shell.triangle"]),
        code_size=code_size,
        n_frames=len(state["warp.code.weight"]) if config.warp else 0,
        torso=TorsoLayer.restore(state, "torso"),
        background=BackgroundLayer.restore(state, "background"),
    )
