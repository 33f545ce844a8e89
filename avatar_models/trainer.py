"""The one training loop of all networks."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from tqdm import tqdm

from artifacts.errors import InputError
from avatar_models.checkpoint import CheckpointFile
from avatar_models.device import peak_memory_bytes
from avatar_models.interface import Schedule, Trainable
from avatar_models.parallel import map_parts

LOGGER = logging.getLogger(__name__)
# The logged loss curve has at most this many entries; then neighbours are merged.
MAX_LOGGED = 1000
# A GPU would stand still if every loss were looked at; a CPU computes in order anyway.
CUDA_CHECK_STEPS = 20


@dataclass
class LossLog:
    """Loss terms over the steps, each entry the mean since the one before (``every`` steps)."""

    every: int = 1
    names: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)
    running: Tensor | None = None
    count: int = 0

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Take in the terms of one step."""
        row = torch.stack([term.detach().float() for term in terms.values()])
        if not self.names:
            self.names = list(terms)
        elif self.names != list(terms):
            raise ValueError(f"loss terms changed from {self.names} to {list(terms)}")
        self.running = row if self.running is None else self.running + row
        self.count += 1
        if step % self.every == 0:
            self.flush(step)

    def flush(self, step: int) -> None:
        """End the current entry, if it holds anything."""
        if self.running is not None and self.count:
            self.steps.append(step)
            self.rows.append(self.running / self.count)
            self.running, self.count = None, 0
        if len(self.steps) == MAX_LOGGED:
            # A training may end by time, so how many steps there will be is not known beforehand.
            self.steps = self.steps[1::2]
            self.rows = [
                (one + two) / 2 for one, two in zip(self.rows[::2], self.rows[1::2], strict=True)
            ]
            self.every *= 2

    def mean(self) -> Tensor:
        """Sum of the terms, mean over the steps since the last entry (or that entry)."""
        if self.running is not None and self.count:
            return self.running.sum() / self.count
        return self.rows[-1].sum() if self.rows else torch.tensor(torch.nan)

    def table(self) -> Tensor:
        """Entries as (entry, term) on the CPU."""
        return torch.stack(self.rows).cpu() if self.rows else torch.zeros(0, len(self.names))


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training leaves besides the model."""

    losses: LossLog
    training_time_s: float
    peak_memory_bytes: int


@runtime_checkable
class TrainingData(Protocol):
    """What a network learns from; only the network itself looks into it."""

    @property
    def device(self) -> torch.device:
        """Where its tensors live."""
        ...


class Training:
    """One run of Adam over a network, which a checkpoint can interrupt and continue.

    Args:
        model: Built for ``data``, on ``data.device``.
        config: How long to train.
        data: What it learns from.
        seed: Of the generator that all randomness of the steps comes from.
    """

    def __init__(self, model: Trainable, config: Schedule, data: TrainingData, seed: int) -> None:
        self.model, self.config, self.data = model, config, data
        self.device = data.device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        # Gradients grow within tens of steps when a field starts to move; with a second moment that remembers a
        # thousand steps, Adam's steps are then far too long, and a field of ReLUs never comes back.
        self.optimiser = torch.optim.Adam(model.parameter_groups(), betas=(0.9, 0.99), fused=True)
        # A parameter's place in the graph is made anew by the first operation on it in each step. PyTorch 2.13 then holds
        # the parameter's lock and waits for Python's, while another thread that takes an entry of it, `weight[0]`, holds
        # Python's and waits for the parameter's: both for ever. A view keeps the place, so that it is never made anew.
        self._places = [
            parameter.view_as(parameter)
            for parameter in model.parameters()
            if parameter.requires_grad
        ]
        self.step, self.elapsed_s, self.peak_bytes = 0, 0.0, 0
        self.losses = LossLog()

    @property
    def progress(self) -> float:
        """Share of the training done: of the steps or of the time, whichever is further."""
        shares = [self.step / max(1, self.config.steps)]
        if self.config.max_minutes > 0:
            shares.append(self.elapsed_s / (60 * self.config.max_minutes))
        return min(1.0, max(shares))

    def take_step(self) -> Tensor:
        """One optimiser step; returns the loss. On a CPU nothing is changed where it is not finite.

        Raises:
            InputError: the loss is not a finite number.
        """
        progress = self.progress
        for group in self.optimiser.param_groups:
            start = group.setdefault("lr_start", group["lr"])
            group["lr"] = start * (group["lr_end"] / start) ** progress if start > 0 else 0.0
        self.optimiser.zero_grad(set_to_none=True)
        terms = self._backward(progress)
        loss = torch.stack(list(terms.values())).sum()
        if self.device.type == "cpu" or self.step % CUDA_CHECK_STEPS == 0:
            self._require_finite(loss)
        if self.model.max_gradient_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.model.max_gradient_norm)
        self.optimiser.step()
        self.model.after_step()
        self.step += 1
        self.losses.add(self.step, terms)
        return loss

    def _backward(self, progress: float) -> dict[str, Tensor]:
        """Gradients of one step's minibatches; returns their mean loss terms, detached.

        The minibatches' seeds come from the one generator, and two gradients add up to the same sum in either
        order, so the result depends neither on the number of cores nor on who is first.
        """
        n_parts = self.model.parts
        draw = {"generator": self.generator, "device": self.device}
        seeds = torch.randint(2**62, (n_parts,), **draw).tolist()

        def one_part(seed: int) -> dict[str, Tensor]:
            generator = torch.Generator(self.device).manual_seed(seed)
            terms = self.model.training_losses(self.data, progress, generator)
            (torch.stack(list(terms.values())).sum() / n_parts).backward()
            return {name: term.detach() / n_parts for name, term in terms.items()}

        found = map_parts(one_part, seeds, self.device)
        return {name: torch.stack([terms[name] for terms in found]).sum(0) for name in found[0]}

    def _require_finite(self, loss: Tensor) -> None:
        if not bool(torch.isfinite(loss)):
            raise InputError(
                f"the loss became {float(loss.detach())} at step {self.step}; lower the learning rate with --set or "
                "choose another preset (the last good state is kept in the checkpoint)"
            )

    def state(self) -> dict[str, Any]:
        """Everything that continuing needs.

        Raises:
            InputError: a parameter is no longer a finite number.
        """
        for name, parameter in self.model.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise InputError(
                    f"parameter {name} became infinite or NaN before step {self.step}; lower the learning "
                    "rate with --set (the last good state is kept in the checkpoint)"
                )
        log = self.losses
        self.peak_bytes = max(self.peak_bytes, peak_memory_bytes(self.device))
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "peak_bytes": self.peak_bytes,
            "loss_every": log.every,
            "loss_names": log.names,
            "loss_steps": log.steps,
            "loss_rows": log.rows,
            "loss_running": log.running,
            "loss_count": log.count,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state`."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"].cpu())
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        self.peak_bytes = state["peak_bytes"]
        log = self.losses
        log.every, log.names = state["loss_every"], state["loss_names"]
        log.steps, log.rows = state["loss_steps"], state["loss_rows"]
        log.running, log.count = state["loss_running"], state["loss_count"]


def train(
    training: Training, checkpoint: CheckpointFile, checkpoint_every_s: float = 30.0
) -> TrainingResult:
    """Run ``training`` to its end, from its checkpoint where there is one that fits.

    The checkpoint stays when an error ends the run, and also at the end: remove it once the result is safe.

    Raises:
        InputError: the loss or a parameter is no longer a finite number.
        OSError: the checkpoint cannot be written.
    """
    saved = checkpoint.load(training.device)
    if saved is not None:
        training.restore(saved)
        LOGGER.info("continuing from step %d of %s", training.step, checkpoint.path)
    training.model.train()
    begun, before = time.monotonic(), training.elapsed_s
    saved_at = shown_at = begun
    with _progress_bar(training.progress) as bar:
        while training.progress < 1:
            try:
                training.take_step()
            except InputError:
                _save_if_good(training, checkpoint)
                raise
            now = time.monotonic()
            training.elapsed_s = before + now - begun
            if now - shown_at >= bar.mininterval:
                shown_at = now
                loss = float(training.losses.mean())
                bar.set_postfix_str(f"step {training.step}, loss {loss:.4g}", refresh=False)
                bar.n = training.progress
                bar.refresh()
            if now - saved_at >= checkpoint_every_s:
                checkpoint.save(training.state())
                saved_at = time.monotonic()
        bar.n = 1.0
    training.losses.flush(training.step)
    checkpoint.save(training.state())
    training.model.eval()
    return TrainingResult(training.losses, training.elapsed_s, training.peak_bytes)


def _progress_bar(progress: float) -> tqdm:
    # Nobody watches a log file: a line every ten seconds is enough there.
    watched = sys.stderr.isatty()
    return tqdm(
        total=1.0,
        initial=progress,
        desc="train",
        mininterval=0.5 if watched else 10.0,
        bar_format="{desc} {percentage:3.0f}% |{bar:20}| {elapsed} < {remaining}{postfix}",
    )


def _save_if_good(training: Training, checkpoint: CheckpointFile) -> None:
    """Keep the state before a failed step, unless it is already spoilt (the older checkpoint stays then)."""
    try:
        state = training.state()
    except InputError:
        return
    checkpoint.save(state)
