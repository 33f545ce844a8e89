"""Speed of a MonoAvatar: milliseconds per rendered frame at 128² and 256², and where a training step's time goes.

    python -m benchmarks.avatar_speed --head-model H --face-fit FIT --avatar AVATAR
    python -m benchmarks.avatar_speed --head-model H --face-fit FIT --frames F --matte M [--train-s 30]

The first renders the frames that a trained avatar never saw; the second trains one briefly to time its steps too.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT
from artifacts.step import run_step
from artifacts.store import read_artifact
from avatar_models.avatar_file import load_avatar
from avatar_models.dataset import DrivingClip, SubjectData
from avatar_models.device import choose_device, describe_device, synchronise
from avatar_models.interface import AvatarModel
from avatar_models.monoavatar import model
from avatar_models.registry import make_config
from avatar_models.trainer import Training


@dataclass(frozen=True)
class Options:
    """Time the rendering, and with `frames` and `matte` the training, of a MonoAvatar."""

    head_model: Path
    """head_model artifact."""
    face_fit: Path
    """face_fit artifact of the clip."""
    avatar: Path | None = None
    """Trained avatar, whose frames held out of training are rendered."""
    frames: Path | None = None
    """Clip to train on, where no avatar is named."""
    matte: Path | None = None
    """Its matte."""
    model: str = "monoavatar_d"
    """Registered name of the model to train."""
    preset: str = "tiny"
    """Its preset."""
    split: str = "tail-20"
    """Which frames train."""
    device: str = "auto"
    """auto, cpu or cuda."""
    train_s: float = 30.0
    """Seconds of training."""
    sizes: tuple[int, ...] = (128, 256)
    """Sides of the rendered frames, pixels."""
    count: int = 50
    """Frames to render at each size."""


def main(options: Options) -> None:
    """Print the times."""
    device = choose_device(options.device)
    if options.avatar is not None:
        avatar, meta = load_avatar(options.avatar, device)
        n_frames = len(read_artifact(options.face_fit, FACE_FIT)["valid"])
        test = sorted(set(range(n_frames)) - set(meta.train_frames.tolist()))
        print(f"{meta.model_name}, {options.avatar}, {describe_device(device)}")
    elif options.frames is not None and options.matte is not None:
        print(f"{options.model}, preset {options.preset}, {describe_device(device)}")
        avatar, test = train_briefly(options, device)
    else:
        raise InputError("name --avatar, or --frames and --matte")
    for size in options.sizes:
        clip = DrivingClip.load(options.head_model, options.face_fit, (size, size), device)
        report_frames(avatar, clip, test[: options.count], size, device)


def train_briefly(options: Options, device: torch.device) -> tuple[AvatarModel, list[int]]:
    """A MonoAvatar after some seconds of training, and the frames kept from it; prints where a step's time goes."""
    side = options.sizes[0]
    data = SubjectData.load(
        options.frames,
        options.matte,
        options.head_model,
        options.face_fit,
        options.split,
        (side, side),
        device,
    )
    config = make_config(
        options.model, options.preset, [f"max_minutes={options.train_s / 60}", "steps=1000000"]
    )
    avatar = model.build_model(config, data)
    training = Training(avatar, config, data, seed=0)
    begun = time.monotonic()
    while training.progress < 1:
        training.take_step()
        training.elapsed_s = time.monotonic() - begun
    print(f"training: {training.step} steps, {training.step / training.elapsed_s:.1f} steps/s")
    report_step(training, device)
    return avatar, data.test_frames.tolist()


def report_frames(
    avatar: AvatarModel, clip: DrivingClip, test: list[int], size: int, device: torch.device
) -> None:
    """Print the median time of a frame."""
    avatar.eval()
    times = []
    with torch.inference_mode():
        avatar.render(clip.driving(test[0]))
        for frame in test:
            driving = clip.driving(frame)
            synchronise(device)
            begun = time.perf_counter()
            avatar.render(driving)
            synchronise(device)
            times.append(1e3 * (time.perf_counter() - begun))
    middle = sorted(times)[len(times) // 2]
    print(f"render {size}²: median {middle:.0f} ms, least {min(times):.0f} ms")


def report_step(training: Training, device: torch.device, steps: int = 20) -> None:
    """Print the share of a step in drawing rays, features, neighbours, networks and the rest."""
    spent: dict[str, float] = defaultdict(float)
    avatar = training.model
    with (
        timed(spent, "rays and targets", avatar, "_draw_rays", device),
        timed(spent, "vertex features", avatar, "vertex_features", device),
        timed(spent, "neighbours", model, "find_neighbours", device),
        timed(spent, "networks and compositing", model, "evaluate", device),
    ):
        synchronise(device)
        begun = time.perf_counter()
        for _ in range(steps):
            training.take_step()
        synchronise(device)
        total = time.perf_counter() - begun
    print(f"step: {1e3 * total / steps:.1f} ms")
    for name, seconds in spent.items():
        print(f"  {name}: {1e3 * seconds / steps:.1f} ms ({100 * seconds / total:.0f} %)")
    rest = total - sum(spent.values())
    print(
        f"  backward, Adam and the rest: {1e3 * rest / steps:.1f} ms ({100 * rest / total:.0f} %)"
    )


@contextmanager
def timed(
    spent: dict[str, float], label: str, owner: object, name: str, device: torch.device
) -> Iterator[None]:
    """Add the time of every call of ``owner.name`` to ``spent[label]``."""
    original: Callable[..., object] = getattr(owner, name)

    def wrapper(*args: object, **kwargs: object) -> object:
        synchronise(device)
        begun = time.perf_counter()
        result = original(*args, **kwargs)
        synchronise(device)
        spent[label] += time.perf_counter() - begun
        return result

    setattr(owner, name, wrapper)
    try:
        yield
    finally:
        setattr(owner, name, original)


if __name__ == "__main__":
    run_step(Options, main)
