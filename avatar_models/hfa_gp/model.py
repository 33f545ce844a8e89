"""HFA-GP of one subject: built from the prior and the clip, or restored from its tensors."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import Tensor

from artifacts.errors import InputError
from avatar_models.background import BackgroundLayer
from avatar_models.dataset import SubjectData
from avatar_models.driving_signals import WINDOWS
from avatar_models.hfa_gp.config import HfaGpConfig
from avatar_models.hfa_gp.drivers import ExpressionDriver, SoundDriver
from avatar_models.hfa_gp.lips import LIP_SHAPES, POSE_NUMBERS
from avatar_models.hfa_gp.network import HfaGp, square_side
from avatar_models.prior.known import read_known
from avatar_models.prior.own import prior_file
from avatar_models.torso import TorsoLayer
from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.layout import Layout
from avatar_models.triplane.weights import load_generator

LOGGER = logging.getLogger(__name__)
_MOST_NOISE = 0.5
_MOST_SOUND_NOISE = 10.0


def build_model(config: HfaGpConfig, data: SubjectData) -> HfaGp:
    """The untrained model of a subject: the prior, with torso and background of the training frames.

    Raises:
        InputError: the prior cannot be read, or the options ask for more than the clip supports.
    """
    _check(config, data)
    generator = load_generator(prior_file(config.prior))
    if generator.layout.ray_bounds == "published":
        generator.layout = replace(
            generator.layout, origin_m=canonical_origin(data, generator.layout)
        )
    signal = data.driving(int(data.train_frames[0]))
    n_signals = n_codes = len(signal.code)
    if config.driven_by == "sound":
        assert signal.sound is not None  # noqa: S101 - the data gives it to models that ask for it
        n_signals = signal.sound.shape[-1]
    torso, background = TorsoLayer.estimate(data), BackgroundLayer.estimate(data)
    model = HfaGp(config, generator, n_signals, torso, background, n_codes).to(data.device)
    if model.detail is not None:
        model.detail.measure(model.generator)
    _measure_driver(model, data)
    model.see_lips(data.clip, data.train_frames.to(data.device))
    if config.starts_at_prior:
        model.subspace.start_at(generator.backbone.mapping, torch.Generator().manual_seed(0))
    if config.taught_share > 0:
        known = read_known(prior_file(config.prior))
        if known is not None and known.fits(data.head_model):
            codes = data.clip.code[data.train_frames.to(data.device)]
            model.teach(known, data.clip.identity, codes)
        else:
            LOGGER.info(
                "the driver is not taught the prior's expressions: the prior %r knows none of this head model",
                config.prior,
            )
    return model


def _check(config: HfaGpConfig, data: SubjectData) -> None:
    """Refuse pictures that are not square, more directions than frames, and noise that is no such thing."""
    square_side(data.image_size)
    if config.directions > len(data.train_frames):
        raise InputError(
            f"directions is {config.directions}, but the clip has only {len(data.train_frames)} training frames to tell "
            f"them apart; set directions to {max(1, len(data.train_frames) // 2)} or give a longer clip"
        )
    if not 0 <= config.picture_noise <= _MOST_NOISE:
        raise InputError(
            f"picture_noise is {config.picture_noise}, but it is a share of the picture; choose 0 to {_MOST_NOISE}"
        )
    if not 0 <= config.sound_noise <= _MOST_SOUND_NOISE:
        raise InputError(
            f"sound_noise is {config.sound_noise} standard deviations of the sound; choose 0 to {_MOST_SOUND_NOISE}"
        )


def _measure_driver(model: HfaGp, data: SubjectData) -> None:
    """Let the driver standardise its signals by those of the training frames."""
    if isinstance(model.driver, ExpressionDriver):
        model.driver.measure(data.clip.code[data.train_frames.to(data.device)])
    sound = data.clip.media.sound
    if isinstance(model.driver, SoundDriver) and model.config.sound_noise > 0 and sound is not None:
        own = [sound.windows(frame)[WINDOWS // 2] for frame in data.train_frames.tolist()]
        model.driver.measure(torch.stack(own))


def canonical_origin(data: SubjectData, layout: Layout) -> tuple[float, float, float]:
    """Where a published generator's origin lies, head axes, metres: its cameras' pivot in the middle of the face."""
    points = data.head_model.landmark_points(data.neutral, data.clip.landmark_set)
    pivot_m = points.new_tensor(layout.camera_pivot) / layout.units_per_metre
    x, y, z = (points.mean(0) - pivot_m).tolist()
    return x, y, z


def restore_model(config: HfaGpConfig, state: dict[str, Tensor]) -> HfaGp:
    """A model of the shapes in ``state``; its values follow by ``load_state_dict``."""
    layout = Layout.from_json(bytes(state["layout_text"].tolist()).decode())
    n_signals = 0
    if config.driven_by == "expression":
        n_signals = len(state["driver.code_mean"])
    elif config.driven_by == "sound":
        n_signals = state["driver.convolutions.0.weight"].shape[1]
    lip_places = state.get("lip_places.linear.weight")
    return HfaGp(
        config,
        TriPlaneGenerator(layout),
        n_signals,
        TorsoLayer.restore(state, "torso"),
        BackgroundLayer.restore(state, "background"),
        0 if lip_places is None else lip_places.shape[1] - LIP_SHAPES - POSE_NUMBERS,
    )
