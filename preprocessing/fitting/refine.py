"""Photometric fit: from a clip fitted to landmarks to the subject's own mesh, colour and light, and steadier frames.

Coarse to fine: outline from the mattes, colour from keyframes, then shape, camera and every frame by what the
pictures show. Landmarks and the smoothness in time stay in the solution throughout.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from artifacts.store import ArtifactReader
from head_geometry.head_model import HeadModel
from head_geometry.head_region import vertices_above_cut
from head_geometry.surface_points import SurfacePoints, spread_points
from preprocessing.cores import claim_cores
from preprocessing.fitting.appearance import Appearance, estimate_appearance
from preprocessing.fitting.clip import (
    FitSettings,
    FittedFrames,
    correct_start,
    improve_frames,
    make_prior,
    offset_precision,
    weigh,
)
from preprocessing.fitting.doubt import PHOTOMETRIC_DOUBT, find_doubtful
from preprocessing.fitting.expressions import find_own_expressions, spread_over_mesh
from preprocessing.fitting.model import FitState, LandmarkModel, make_landmark_model
from preprocessing.fitting.normal import (
    Normal,
    NormalBuilder,
    Observations,
    Quadratic,
    SharedBlocks,
)
from preprocessing.fitting.outline import OutlineSolver, RimRows
from preprocessing.fitting.photometric import (
    FrameTerm,
    Skin,
    View,
    explain,
    linearise,
    view_points,
)
from preprocessing.fitting.pictures import PictureReader
from preprocessing.fitting.posed_head import Poser, outline_iou
from preprocessing.fitting.solve import solve_shared
from preprocessing.fitting.start import choose_keyframes
from preprocessing.fitting.texture import Texture, paint_texture

log = logging.getLogger(__name__)

# What is inside or turns by itself says nothing about the skin.
_INTERIOR_PARTS = ("eye_left", "eye_right", "teeth", "tongue", "mouth_cavity")
_FOLLOWED_PARTS = ("face", "lips", "ear", "scalp")


@dataclass(frozen=True)
class PhotometricSettings:
    """How much work a photometric fit does."""

    levels: tuple[int, ...]
    """Sides of the working pictures, coarse to fine, pixels."""
    points: int
    """Points of the skin that are followed."""
    keyframes: int
    """Frames that shape, camera and colour are estimated from."""
    rounds: int
    """Times that shape and colour are estimated in turn."""
    texture_side: int
    """Side of the albedo's texture, texels."""
    outline_rounds: int = 4
    """Times that the outline is drawn and the mesh displaced."""
    evidence: float = 1200.0
    """A frame's pixels count as this many independent measurements: their errors go together."""


PHOTOMETRIC = {
    "light": PhotometricSettings((128,), 4000, 16, 1, 256),
    "full": PhotometricSettings((128, 256), 8000, 24, 2, 512),
}


@dataclass(frozen=True)
class Track:
    """A clip fitted so far.

    Attributes:
        head: The subject's own head model, float32.
        vertex_offset: What makes it the subject's own, metres, neutral head axes.
        expression_offset: The same of its expressions; no rows without.
        model: Its landmarks, weighed.
        state: All frames.
    """

    head: HeadModel
    vertex_offset: Float[Tensor, "vertex 3"]
    expression_offset: Float[Tensor, "own_expression own_vertex 3"]
    model: LandmarkModel
    state: FitState


@dataclass(frozen=True)
class Looks:
    """What a photometric fit adds to a ``face_fit``."""

    texture: Texture
    light: Float[np.ndarray, "frame 9 3"]
    photometric_error: Float[np.ndarray, " frame"]
    outline_iou: Float[np.ndarray, " frame"]


class PhotometricFit:
    """Refines the track of one clip; reads frames when it needs them and keeps none."""

    def __init__(
        self,
        head: HeadModel,
        seen: Observations,
        pictures: tuple[ArtifactReader, ArtifactReader],
        settings: tuple[FitSettings, PhotometricSettings],
        device: torch.device = torch.device("cpu"),  # noqa: B008 - immutable
    ) -> None:
        """Prepare.

        Args:
            head: The head model without anything personal.
            seen: Detected landmarks of all frames.
            pictures: Open ``frames`` and ``matte`` artifacts of the clip.
            settings: Of the fit to landmarks, and of this one.
            device: Where pictures are looked at; equations are solved on the CPU.
        """
        self.device = device
        self.base = head.to("cpu", torch.float32)
        self.seen = seen
        self.fit_settings, self.settings = settings
        crop = pictures[0].shape("image")[1]
        sides = sorted({min(side, crop) for side in self.settings.levels})
        self.readers = [PictureReader(*pictures, side, device) for side in sides]
        self.keys = choose_keyframes(seen.valid, self.settings.keyframes)
        inner = [part for part in _INTERIOR_PARTS if part in head.part_name]
        inside = torch.zeros(len(head.template), dtype=torch.bool)
        inside[self.base.part_vertices(*inner)] = True
        self.skin_faces = ~inside[self.base.triangle].any(1)
        self.outline = OutlineSolver(self.base, self.skin_faces)
        self._map: Callable[..., Iterable[Any]] = map

    def run(self, model: LandmarkModel, state: FitState) -> tuple[Track, Looks]:
        """Refine a clip that was fitted to landmarks.

        Args:
            model: The landmarks of the head model, weighed.
            state: All frames.
        """
        with claim_cores() as cores, ThreadPoolExecutor(cores) as pool:
            self._map = pool.map
            track = self._own_outline(self._start(model, state), self.settings.outline_rounds)
            track = self._own_expressions(track)
            for _ in range(self.settings.rounds):
                track = self._improve_subject(track)
                track = self._own_outline(track, 1)
            for reader in self.readers:
                track = self.improve_frames(track, reader, *self.appearance(track, reader))
            # Once more from the better frames, with each landmark's own offset; nothing else moves.
            track = self._own_expressions(track)
            return track, self._looks(track)

    def doubtful_frames(self, model: LandmarkModel, state: FitState) -> Bool[np.ndarray, " frame"]:
        """Frames whose pictures the head does not explain, before anything is refined."""
        track = self._start(model, state)
        reader, valid = self.readers[0], self.seen.valid.numpy()
        skin, appearance = self.appearance(track, reader)
        poser = self._poser(track, reader, skin.head)

        def error(frame: int) -> float:
            if not valid[frame]:
                return 0.0
            posed = poser.pose(state, frame)
            view = view_points(skin.head, skin.points, posed, reader.read(frame))
            return explain(view, appearance).error

        with claim_cores() as cores, ThreadPoolExecutor(cores) as pool:
            errors = np.array(list(pool.map(error, range(len(valid)))))
        return find_doubtful(valid, errors, PHOTOMETRIC_DOUBT)

    def _start(self, model: LandmarkModel, state: FitState) -> Track:
        """The fit to landmarks, with nothing personal yet."""
        still = torch.zeros_like(self.base.template)
        return Track(self.base, still, torch.zeros(0, 0, 3), model, state)

    # ---- the subject ------------------------------------------------------------------------

    def _own_outline(self, track: Track, rounds: int) -> Track:
        """Displace the mesh until its silhouette meets the mattes of the keyframes."""
        reader = self.readers[-1]
        for _ in range(rounds):
            poser, current = self._poser(track, reader), track

            def rows(frame: int, poser: Poser = poser, current: Track = current) -> RimRows:
                posed = poser.pose(current.state, frame)
                return self.outline.rim_rows(posed, reader.alpha(frame), current.vertex_offset)

            found = list(self._map(rows, self.keys.tolist()))
            track = self._displaced(track, self.outline.solve(found))
        return track

    def _displaced(self, track: Track, offset: Float[Tensor, "vertex 3"]) -> Track:
        """The track on a mesh displaced anew; where landmarks lie stays as it was."""
        head = self.base.personal(offset, track.expression_offset)
        model = self._landmarks_of(head, track.model)
        moved = model.mean - track.model.mean
        state = replace(track.state, offset=track.state.offset - moved)
        return replace(track, head=head, vertex_offset=offset, model=model, state=state)

    def _own_expressions(self, track: Track) -> Track:
        """The subject's own expressions and each landmark's offset, from the landmarks of all frames."""
        if self.fit_settings.offset_std_m == 0:
            return track
        precision = offset_precision(track.model, self.fit_settings)
        own, state = find_own_expressions(track.model, track.state, self.seen, precision)
        offset = spread_over_mesh(self.base, track.model, own)
        if len(track.expression_offset):
            offset = offset + track.expression_offset
        head = self.base.personal(track.vertex_offset, offset)
        model = self._landmarks_of(head, track.model)
        return replace(track, head=head, expression_offset=offset, model=model, state=state)

    def _landmarks_of(self, head: HeadModel, before: LandmarkModel) -> LandmarkModel:
        """The landmarks of a changed head, weighed as before."""
        model = make_landmark_model(head, len(before.identity), before.landmarks)
        # What an expression may do does not change with how it looks.
        model = replace(model, lower=before.lower, upper=before.upper)
        return weigh(model, self.fit_settings)

    def _improve_subject(self, track: Track) -> Track:
        """Identity, focal length and the keyframes' unknowns from landmarks and pictures together."""
        reader, settings = self.readers[-1], self.fit_settings
        skin, appearance = self.appearance(track, reader)
        terms = self._terms(track, reader, (skin, appearance), self.keys.tolist(), shared=True)
        keyed = track.state.select(self.keys)
        further = Quadratic(keyed, _stack(terms, track.model.unknowns))
        seen = self.seen.select(self.keys)
        prior = make_prior(track.model, settings, float(torch.exp(keyed.log_focal)))
        builder = NormalBuilder(track.model)
        keyed = solve_shared(builder, keyed, seen, prior, 6, further)
        frame = _carry_focal(track.state, keyed.log_focal)
        frame = correct_start(frame, FittedFrames(self.keys, keyed.frame))
        state = FitState(keyed.identity, keyed.log_focal, keyed.offset, frame)
        return replace(track, state=state)

    def appearance(self, track: Track, reader: PictureReader) -> tuple[Skin, Appearance]:
        """Points of the skin as they are on the mesh now, and how they look in the keyframes."""
        followed = [part for part in _FOLLOWED_PARTS if part in track.head.part_name]
        chosen = self._part_mask(*followed) & vertices_above_cut(self.base)
        faces = chosen[track.head.triangle].all(1) & self.skin_faces
        head = track.head
        points = spread_points(head.template, head.triangle, faces, self.settings.points)
        views = self._views(track, reader, points)
        bare = self._part_mask("face")[points.corner].all(1).float()
        skin = Skin.of(head.to(self.device), points.to(self.device), track.model)
        return skin, estimate_appearance(views, bare.to(self.device))

    def _part_mask(self, *parts: str) -> Bool[Tensor, " vertex"]:
        mask = torch.zeros(len(self.base.template), dtype=torch.bool)
        mask[self.base.part_vertices(*parts)] = True
        return mask

    def _views(self, track: Track, reader: PictureReader, points: SurfacePoints) -> list[View]:
        """The keyframes as points of the skin see them."""
        head, points = track.head.to(self.device), points.to(self.device)
        poser = self._poser(track, reader, head)

        def view(frame: int) -> View:
            posed = poser.pose(track.state, frame)
            return view_points(head, points, posed, reader.read(frame))

        return list(self._map(view, self.keys.tolist()))

    # ---- every frame ------------------------------------------------------------------------

    def improve_frames(
        self, track: Track, reader: PictureReader, skin: Skin, appearance: Appearance
    ) -> Track:
        """Expression, joints and pose of all frames, from landmarks, pictures and smoothness."""
        unknowns = track.model.unknowns

        def further(state: FitState, part: slice) -> Quadratic:
            frames = range(*part.indices(len(state.frame)))
            terms = self._terms(
                replace(track, state=state), reader, (skin, appearance), frames, shared=False
            )
            return Quadratic(state.select(part), _stack(terms, unknowns))

        builder = NormalBuilder(track.model)
        state = improve_frames(builder, track.state, self.seen, self.fit_settings, further)
        return replace(track, state=state)

    def _terms(
        self,
        track: Track,
        reader: PictureReader,
        looks: tuple[Skin, Appearance],
        frames: Iterable[int],
        shared: bool,
    ) -> list[FrameTerm]:
        """What the pictures of some frames say; frames without a face say nothing."""
        skin, appearance = looks
        poser = self._poser(track, reader, skin.head)
        evidence = self.settings.evidence

        def term(frame: int) -> FrameTerm:
            posed = poser.pose(track.state, frame)
            view = view_points(skin.head, skin.points, posed, reader.read(frame))
            seen = view, explain(view, appearance)
            valid = bool(self.seen.valid[frame])
            return linearise(skin, posed, seen, evidence if valid else 0.0, shared)

        chosen = list(frames)
        bar = tqdm(self._map(term, chosen), "pictures", total=len(chosen), leave=False)
        return list(bar)

    # ---- what came out ----------------------------------------------------------------------

    def _looks(self, track: Track) -> Looks:
        """Texture, light, and how well each frame is explained."""
        reader = self.readers[-1]
        texture = paint_texture(
            track.head,
            self.skin_faces,
            self.settings.texture_side,
            lambda points: self._views(track, reader, points),
            self._part_mask("face"),
        )
        skin, appearance = self.appearance(track, reader)
        poser = self._poser(track, reader, skin.head)

        # What is seen of each point is 0.1 MB a frame: only these are kept of a long clip.
        def measure(frame: int) -> tuple[Tensor, float, float]:
            if not bool(self.seen.valid[frame]):
                return appearance.light, 0.0, 0.0
            posed = poser.pose(track.state, frame)
            picture = reader.read(frame)
            view = view_points(skin.head, skin.points, posed, picture)
            explained = explain(view, appearance)
            iou = outline_iou(skin.head, posed, picture.channels[9])
            return explained.light, explained.error, iou

        frames = range(len(track.state.frame))
        measured = list(tqdm(self._map(measure, frames), "looks", total=len(frames), leave=False))
        light, error, iou = zip(*measured, strict=True)
        return Looks(texture, torch.stack(light).cpu().numpy(), np.array(error), np.array(iou))

    def _poser(self, track: Track, reader: PictureReader, head: HeadModel | None = None) -> Poser:
        """Poses the subject's head, or a copy of it on another device."""
        zoom = reader.side / reader.crop_size[0]
        return Poser(head or track.head, track.model, self.seen.centre, zoom)


def _carry_focal(state: FitState, log_focal: Tensor) -> Float[Tensor, "frame unknown"]:
    """Frames moved back in proportion to a longer focal length."""
    frame = state.frame.clone()
    frame[:, -1] *= torch.exp(log_focal - state.log_focal)
    return frame


def _stack(terms: list[FrameTerm], unknowns: int) -> Normal:
    """Terms of several frames as normal equations, with shared blocks where the terms have them."""
    matrix = torch.stack([term.matrix for term in terms])
    gradient = torch.stack([term.gradient for term in terms])
    own, rest = slice(None, unknowns), slice(unknowns, None)
    shared = None
    if matrix.shape[-1] > unknowns:
        shared = SharedBlocks(
            matrix[:, rest, rest].sum(0), gradient[:, rest].sum(0), matrix[:, rest, own]
        )
    return Normal(matrix[:, own, own], gradient[:, own], shared)
