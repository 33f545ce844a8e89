r"""How much of a person's lips a sound can tell: HFA-GP's driver by sound alone, on blocks that it was not taught.

    python -m benchmarks.sound_lips --subject results/obama --head-model results/head_models/anny.h5 \
        --out results/benchmarks/sound_lips.txt

The training frames of the split are cut into blocks in order. Each is left out in turn (with the frames whose windows of
sound reach into it), the driver is taught the fitted lips of the others, in the way of ``lips_alone``, and tells those of
the block. Nothing is drawn, so this takes a minute a way. Given are, over all blocks together, the error of the lips as a share of
how far they move (1: as good as a mouth that never moves), and the correlation along the three axes that the lips move along most.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

from artifacts.splits import split_frames
from artifacts.step import run_step
from artifacts.text_files import write_whole
from avatar_models.dataset import DrivingClip
from avatar_models.driver_media import DriverSound
from avatar_models.driving_signals import WINDOWS
from avatar_models.hfa_gp.config import HfaGpAudioConfig, HfaGpConfig
from avatar_models.hfa_gp.drivers import SoundDriver
from avatar_models.hfa_gp.lips import LIP_SHAPES, LipPlaces, fitted_lips, lips_of

LOGGER = logging.getLogger(__name__)
# Frames around a block whose windows reach into it: those before and after (WINDOWS), each 16 slots of 20 ms long.
_REACH = WINDOWS + 8
_SIDE = (128, 128)


@dataclass(frozen=True)
class Options:
    """Tell the lips of blocks of training frames from their sound."""

    subject: Path
    """Folder of the subject: face_fit, audio_features."""
    head_model: Path
    """head_model artifact."""
    out: Path
    """Text file for the table."""
    split: str = "adnerf-10-1"
    """Whose training frames are used; its test frames are not looked at."""
    preset: str = "tiny"
    """Sizes and rates of the driver."""
    blocks: int = 4
    """How many blocks."""
    steps: int = 2500
    """Steps of each teaching, eight frames a step."""
    seed: int = 0
    """Of networks, frames and noise."""


def main(options: Options) -> None:
    """Teach and tell, for each way."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    clip = DrivingClip.load(options.head_model, options.subject / "face_fit.h5", _SIDE)
    sound = DriverSound.load(options.subject / "audio_features.h5")
    windows = torch.stack([sound.windows(frame) for frame in range(clip.n_frames)])
    train, _ = split_frames(options.split, clip.n_frames)
    frames = torch.from_numpy(train[clip.valid[train]])
    config = HfaGpAudioConfig.preset(options.preset)
    ways = {
        "as in the preset": (config, True),
        "no noise, features as they are": (replace(config, sound_noise=0.0), True),
        "the same, all shapes count the same": (replace(config, sound_noise=0.0), False),
    }
    rows = []
    for name, (way, weighted) in ways.items():
        told, wanted = [], []
        for block in frames.chunk(options.blocks):
            near = (frames > block[0] - _REACH) & (frames < block[-1] + _REACH)
            one, other = tell(way, clip, windows, frames[~near], block, weighted, options)
            told.append(one)
            wanted.append(other)
        rows.append([name, len(frames), *judge(torch.cat(told), torch.cat(wanted))])
        LOGGER.info("%s", rows[-1])
    titles = ("way", "frames", "error / movement", "r, axis 1", "axis 2", "axis 3")
    table = tabulate(rows, titles, floatfmt=".2f")
    write_whole(options.out, table + "\n")
    LOGGER.info("%s", table)


def tell(
    config: HfaGpConfig,
    clip: DrivingClip,
    windows: Tensor,
    taught: Tensor,
    block: Tensor,
    weighted: bool,
    options: Options,
) -> tuple[Tensor, Tensor]:
    """Lips of a block as they are told and as they were fitted, in metres along the principal shapes of the others."""
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    places = LipPlaces(clip.code.shape[1], 1)
    numbers = places.measure(clip, taught)
    driver = SoundDriver(config, windows.shape[-1], LIP_SHAPES)
    if config.sound_noise > 0:
        driver.measure(windows[taught, WINDOWS // 2])
    if not weighted:
        places.lip_share.fill_(1.0)
    optimiser = torch.optim.Adam(driver.parameters(), betas=(0.9, 0.99))
    for step in range(options.steps):
        progress = step / options.steps
        for group in optimiser.param_groups:
            group["lr"] = config.lr * (config.lr_end / config.lr) ** progress
        chosen = torch.randint(len(taught), (config.taught_frames,), generator=generator)
        heard = driver.with_noise(windows[taught[chosen]], config.sound_noise, generator)
        error = places.lip_error(driver(heard, progress), numbers[chosen])
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    with torch.no_grad():
        found = driver(windows[block], 1.0)
    lips = fitted_lips(clip, taught)
    # Shapes are orthogonal over the taught frames: this is what one deviation of each moves.
    shapes = lips_of(numbers).mT @ (lips - lips.mean(0)) / len(taught)
    return found @ shapes, fitted_lips(clip, block) - lips.mean(0)


def judge(told: Tensor, wanted: Tensor) -> list[float]:
    """Share of the movement that is told wrongly, and correlations along what moves most."""
    error = float((told - wanted).norm() / wanted.norm())
    axes = torch.linalg.svd(wanted - wanted.mean(0), full_matrices=False)[2][:3]
    pairs = zip((told @ axes.mT).mT.numpy(), (wanted @ axes.mT).mT.numpy(), strict=True)
    return [error, *(float(np.corrcoef(one, other)[0, 1]) for one, other in pairs)]


if __name__ == "__main__":
    run_step(Options, main)
