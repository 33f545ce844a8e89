"""Avatars on disk: the model's name, options and state tensors, with the record of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from artifacts.errors import InputError
from artifacts.kinds import AVATAR
from artifacts.store import open_artifact, write_artifact
from avatar_models.dataset import SubjectData
from avatar_models.interface import AvatarModel
from avatar_models.perceptual import perceptual_loss
from avatar_models.registry import (
    config_from_yaml,
    config_to_yaml,
    model_module,
    perceptual_kind,
)
from avatar_models.trainer import TrainingResult


@dataclass(frozen=True)
class AvatarMeta:
    """What an avatar file says about itself.

    Attributes:
        model_name: Registered name of the model.
        config: The model's options as they were used.
        image_size: Width, height of the training images, pixels.
        train_frames: Frames of the subject's clip that it was trained on, int32.
    """

    model_name: str
    config: Any
    image_size: tuple[int, int]
    train_frames: np.ndarray


def build_model(
    model_name: str,
    config: Any,  # noqa: ANN401
    data: SubjectData,
    lpips_weights: Sequence[Path] = (),
) -> AvatarModel:
    """An untrained model for a subject, on the subject's device.

    Args:
        model_name: Registered name.
        config: The model's options.
        data: The subject.
        lpips_weights: For models with a perceptual loss (:func:`avatar_models.perceptual.perceptual_loss`).

    Raises:
        InputError: the perceptual loss cannot be made.
    """
    model = import_module(model_module(model_name)).build_model(config, data).to(data.device)
    kind = perceptual_kind(config)
    if kind is not None:
        model.perceptual = perceptual_loss(kind, lpips_weights, data.device)
    return model


def save_avatar(
    path: Path,
    model: AvatarModel,
    meta: AvatarMeta,
    result: TrainingResult,
    device_name: str,
    provenance: Mapping[str, object],
) -> None:
    """Write an ``avatar`` artifact.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    losses = result.losses
    arrays = {
        "model_name": np.array(meta.model_name),
        "model_config": np.array(config_to_yaml(meta.config)),
        "image_size": np.array(meta.image_size, np.int32),
        "train_frame": meta.train_frames.astype(np.int32),
        "loss_step": np.array(losses.steps, np.int32),
        "loss_name": np.array(losses.names),
        "loss": losses.table().numpy().astype(np.float32),
        "training_time_s": np.array(result.training_time_s, np.float64),
        "peak_memory_bytes": np.array(result.peak_memory_bytes, np.int64),
        "device_name": np.array(device_name),
    }
    tensors = {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}
    write_artifact(path, AVATAR, arrays, provenance, tensors)


def load_avatar(path: Path, device: torch.device | str = "cpu") -> tuple[AvatarModel, AvatarMeta]:
    """An avatar that is ready to render; needs no training frames.

    Raises:
        InputError: not an avatar file, or of a model or options that are not here (any more).
    """
    with open_artifact(path, AVATAR) as reader:
        size = reader.read("image_size")
        name, text = str(reader.read("model_name")), str(reader.read("model_config"))
        train_frames = reader.read("train_frame")
        state = {key: torch.from_numpy(np.asarray(v)) for key, v in reader.tensors().items()}
    config = config_from_yaml(name, text)
    model: AvatarModel = import_module(model_module(name)).restore_model(config, state)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"{path}: its tensors do not fit model {name!r} as it is now; train it again"
        ) from error
    model.to(device).eval()
    return model, AvatarMeta(name, config, (int(size[0]), int(size[1])), train_frames)
