"""Train one avatar model on one subject (step ``train_avatar``)."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from artifacts.code_digest import code_digest
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from avatar_models.avatar_file import AvatarMeta, build_model, save_avatar
from avatar_models.checkpoint import CheckpointFile
from avatar_models.dataset import SubjectData
from avatar_models.device import choose_device, describe_device
from avatar_models.registry import config_to_yaml, driven_by, input_files, make_config, model_module
from avatar_models.trainer import Training, train

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Train an avatar; continues from its checkpoint after an interruption."""

    model: str
    """Registered name of the model."""
    frames: Path
    """``frames`` artifact of the subject."""
    matte: Path
    """``matte`` artifact of the subject."""
    head_model: Path
    """``head_model`` artifact that the fit was made with."""
    face_fit: Path
    """``face_fit`` artifact of the subject."""
    out: Path
    """Avatar file to write; the checkpoint lies beside it until it is done."""
    preset: str = "tiny"
    """Scale of the method: paper, fast or tiny."""
    image_size: int = 128
    """Side of the training images, pixels."""
    split: str = "tail-20"
    """Which frames train and which are held out."""
    seed: int = 0
    """Of all randomness."""
    device: str = "auto"
    """auto, cpu or cuda."""
    set: tuple[str, ...] = ()
    """Options of the model that differ from the preset, as key=value."""
    lpips_weights: tuple[Path, ...] = ()
    """Weight files of LPIPS, AlexNet and the linear heads; without them models with a perceptual loss learn by a substitute."""
    checkpoint_every_s: float = 30.0
    """Seconds between checkpoints."""
    audio_features: Path | None = None
    """``audio_features`` artifact of the subject; read only where the model is driven by sound."""


def checkpoint_path(avatar: Path) -> Path:
    """``avatar.h5`` has its checkpoint in ``avatar.checkpoint.pt``."""
    return avatar.with_suffix(".checkpoint.pt")


def main(options: Options) -> None:
    """Read the subject, train, write the avatar."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = make_config(options.model, options.preset, options.set)
    device = choose_device(options.device)
    size = (options.image_size, options.image_size)
    data = SubjectData.load(
        options.frames,
        options.matte,
        options.head_model,
        options.face_fit,
        options.split,
        size,
        device,
    )
    data.drive_by(driven_by(options.model), options.audio_features)
    provenance = _provenance(options, config)
    checkpoint = CheckpointFile(checkpoint_path(options.out), _checkpoint_key(provenance, config))
    torch.manual_seed(options.seed)
    model = build_model(options.model, config, data, options.lpips_weights)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    LOGGER.info(
        "%s: %d parameters, %d training frames at %dx%d, %s",
        options.model,
        n_parameters,
        len(data.train_frames),
        *size,
        describe_device(device),
    )
    result = train(
        Training(model, config, data, options.seed), checkpoint, options.checkpoint_every_s
    )
    LOGGER.info("trained for %.1f s", result.training_time_s)
    meta = AvatarMeta(options.model, config, size, data.train_frames.numpy())
    save_avatar(options.out, model, meta, result, describe_device(device), provenance)
    checkpoint.remove()


def _provenance(options: Options, config: Any) -> dict[str, Any]:  # noqa: ANN401
    inputs = {
        "frames": options.frames,
        "matte": options.matte,
        "head_model": options.head_model,
        "face_fit": options.face_fit,
        **{f"lpips_weights{i}": path for i, path in enumerate(options.lpips_weights)},
    }
    if driven_by(options.model) == "sound" and options.audio_features is not None:
        inputs["audio_features"] = options.audio_features
    inputs |= input_files(config)
    # How often a checkpoint is written changes no result.
    recorded = replace(options, checkpoint_every_s=0.0)
    provenance = make_provenance("avatar_models.train", recorded, inputs, options.seed)
    provenance["code"] = code_digest("avatar_models.train", model_module(options.model))
    return provenance


def _checkpoint_key(provenance: dict[str, Any], config: Any) -> str:  # noqa: ANN401
    return json.dumps({**provenance, "config": config_to_yaml(config)}, sort_keys=True)


if __name__ == "__main__":
    run_step(Options, main)
