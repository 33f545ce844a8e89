"""Train the own generative prior on drawn heads (step ``train_prior``)."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from artifacts.provenance import make_provenance
from artifacts.step import run_step
from avatar_models.checkpoint import CheckpointFile
from avatar_models.device import choose_device, describe_device
from avatar_models.prior.decoder import PriorDecoder
from avatar_models.prior.options import PriorOptions, prior_options
from avatar_models.prior.pictures import PriorPictures
from avatar_models.prior.preview import write_curve, write_preview
from avatar_models.trainer import Training, train
from avatar_models.triplane.weights import KNOWN, save_generator
from head_geometry.head_model import HeadModel

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Train a generative prior; continues from its checkpoint after an interruption."""

    pictures: tuple[Path, ...]
    """``prior_pictures`` artifacts."""
    head_model: Path
    """head_model artifact that they were drawn with."""
    out: Path
    """Weights to write (.safetensors); the checkpoint lies beside them until they are done."""
    preview: Path
    """Picture to write: heads of test people, other views, interpolations."""
    curve: Path
    """Table to write: how the test went over the training (.csv)."""
    size: str = "tiny"
    """tiny (two CPU cores, under two hours) or fast (one modern GPU)."""
    max_minutes: float | None = None
    """Training stops here (0: never); the size's own limit when not given."""
    seed: int = 0
    """Of all randomness."""
    device: str = "auto"
    """auto, cpu or cuda."""
    checkpoint_every_s: float = 60.0
    """Seconds between checkpoints."""


def main(options: Options) -> None:
    """Read the pictures, train, write weights and preview."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = prior_options(options.size)
    if options.max_minutes is not None:
        settings = replace(settings, max_minutes=options.max_minutes)
    device = choose_device(options.device)
    data = PriorPictures(list(options.pictures), settings.layout.units_per_metre, device)
    inputs = {f"pictures{i}": path for i, path in enumerate(options.pictures)}
    inputs["head_model"] = options.head_model
    recorded = replace(options, checkpoint_every_s=0.0)
    provenance = make_provenance("avatar_models.train_prior", recorded, inputs, options.seed)
    key = json.dumps({**provenance, "settings": repr(settings)}, sort_keys=True)
    checkpoint = CheckpointFile(options.out.with_suffix(".checkpoint.pt"), key)
    torch.manual_seed(options.seed)
    head_model = HeadModel.load(options.head_model)
    model = PriorDecoder(settings, data, head_model).to(device)
    LOGGER.info(
        "%d parameters, %d moments of training people, %s",
        sum(parameter.numel() for parameter in model.parameters()),
        len(data.train_moments),
        describe_device(device),
    )
    result = train(
        Training(model, settings, data, options.seed), checkpoint, options.checkpoint_every_s
    )
    LOGGER.info("trained for %.1f s", result.training_time_s)
    model.finish()
    record = {
        "made_by": _command(options, settings),
        "provenance": json.dumps(provenance, sort_keys=True),
        "training_time_s": f"{result.training_time_s:.0f}",
        "device": describe_device(device),
        KNOWN: model.known(head_model).to_json(),
    }
    write_preview(options.preview, model, data)
    write_curve(options.curve, model.curve)
    save_generator(options.out, model.generator, record, torch.float16)
    LOGGER.info("%s: SHA-256 %s", options.out, hashlib.sha256(options.out.read_bytes()).hexdigest())
    checkpoint.remove()


def _command(options: Options, settings: PriorOptions) -> str:
    return (
        f"python -m avatar_models.train_prior --size {options.size} --seed {options.seed}"
        f" --max-minutes {settings.max_minutes:g}"
    )


if __name__ == "__main__":
    run_step(Options, main)
