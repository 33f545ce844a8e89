"""What opens the mouth and closes the eyes of a head model, by names where it has them, else by its own geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.head_model import HeadModel

NAMED = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight")
JAW_OPEN_RAD = 0.4
"""Turn of a jaw joint that counts as a mouth fully open."""
OPEN_NORM = 4.0
"""Size, in standard deviations, of the mix of numbered expressions that counts as a mouth fully open."""
STRONGEST = 12
"""Numbered expressions that random faces are mixed from: the first ones vary most."""
LID_REACH_M, LID_CLOSING_M = 0.022, 0.003
OPENING_M = 0.02


@dataclass(frozen=True)
class Gesture:
    """A random expression: coefficients, joint rotations (radians), how far the mouth is open and the eyes shut (0..1)."""

    expression: Float[Tensor, " expression"]
    joint_rotation: Float[Tensor, "joint 3"]
    opening: float
    blink: float


class NamedActions:
    """A model whose expressions have ARKit names."""

    def __init__(self, model: HeadModel) -> None:
        """Use the names of ``model``."""
        self._model = model

    def opening_m(self) -> Float[np.ndarray, " vertex"]:
        """How far each vertex moves down when the mouth opens, metres."""
        return self._downward("jawOpen")

    def closing_m(self, side: str) -> Float[np.ndarray, " vertex"]:
        """How far each vertex moves down when the eye of that side closes, metres."""
        return self._downward(f"eyeBlink{side.capitalize()}")

    def _downward(self, action: str) -> Float[np.ndarray, " vertex"]:
        model = self._model
        moved = -model.expression_basis[model.expression_name.index(action), :, 1]
        return np.asarray(moved.numpy())

    def draw(self, random: np.random.Generator) -> Gesture:
        """A few mild actions; in half of the draws an open mouth, in some narrowed eyes."""
        names = self._model.expression_name
        value = np.zeros(len(names))
        mild = [
            name
            for name in names
            if name not in ("mouthClose", "tongueOut", "cheekPuff", "jawOpen")
            and not name.startswith(("eyeLook", "eyeBlink"))
        ]
        for name in random.choice(mild, min(6, len(mild)), replace=False):
            value[names.index(name)] = random.uniform(0, 0.45)
        if random.random() < 0.6:
            value[names.index("jawOpen")] = random.uniform(0.15, 0.7)
        if random.random() < 0.3:
            blink = random.uniform(0.1, 0.5)
            for name in ("eyeBlinkLeft", "eyeBlinkRight"):
                value[names.index(name)] = blink
        opening, blink = (value[names.index(name)] for name in NAMED[:2])
        rotation = torch.zeros(len(self._model.joint_name), 3)
        return Gesture(torch.from_numpy(value).float(), rotation, float(opening), float(blink))


class NumberedActions:
    """A model whose expressions are numbered components in standard deviations, maybe with a jaw joint.

    The jaw joint opens the mouth; without one, the mix of components that parts the lips most for its size; and
    without any component, nothing does, and the lips are told apart by their heights.
    """

    def __init__(self, model: HeadModel) -> None:
        """Find what opens the mouth of ``model``, which needs its lips labelled for it."""
        self._model = model
        self._jaw = model.joint_name.index("jaw") if "jaw" in model.joint_name else None
        self._lips = model.part_vertices("lips")
        self._mix = self._opening_mix()

    def _opening_mix(self) -> Float[Tensor, " expression"]:
        basis = self._model.expression_basis
        if self._jaw is not None or len(self._lips) < 2 or len(basis) == 0:
            return torch.zeros(len(basis))
        height = self._model.template[self._lips, 1]
        upper, lower = (self._lips[height > height.mean()], self._lips[height <= height.mean()])
        parted = basis[:, upper, 1].mean(1) - basis[:, lower, 1].mean(1)
        return OPEN_NORM * torch.nn.functional.normalize(parted, dim=0)

    def opening_m(self) -> Float[np.ndarray, " vertex"]:
        """How far each vertex moves down when the mouth opens, metres."""
        model = self._model
        rotation = torch.zeros(1, len(model.joint_name), 3)
        if self._jaw is not None:
            rotation[0, self._jaw, 0] = JAW_OPEN_RAD
        elif not self._mix.any():
            return self._below_lips()
        opened = model.vertices(torch.zeros(1), self._mix[None], rotation)[0]
        return np.asarray((model.template - opened)[:, 1].numpy())

    def _below_lips(self) -> Float[np.ndarray, " vertex"]:
        height = self._model.template[:, 1].numpy()
        middle = height[self._lips.numpy()].mean() if len(self._lips) else height.min()
        return np.where(height < middle, OPENING_M, 0.0).astype(np.float32)

    def closing_m(self, side: str) -> Float[np.ndarray, " vertex"]:
        """Not how far, but where: the skin around the upper half of the eye of that side."""
        model = self._model
        eye = (model.joint_regressor @ model.template)[model.joint_name.index(f"eye_{side}")]
        offset = (model.template - eye).numpy()
        lid = (np.linalg.norm(offset, axis=1) < LID_REACH_M) & (offset[:, 1] > 0)
        return np.where(lid, LID_CLOSING_M, 0.0).astype(np.float32)

    def draw(self, random: np.random.Generator) -> Gesture:
        """A mild random mix; in half of the draws an open mouth."""
        model = self._model
        value = torch.zeros(len(model.expression_basis))
        count = min(STRONGEST, len(value))
        value[:count] = torch.from_numpy(random.normal(0, 0.5, count)).float()
        rotation = torch.zeros(len(model.joint_name), 3)
        opening = random.uniform(0.15, 0.7) if random.random() < 0.6 else 0.0
        if self._jaw is not None:
            rotation[self._jaw, 0] = JAW_OPEN_RAD * opening
        elif self._mix.any():
            value = value + opening * self._mix
        else:
            opening = 0.0
        return Gesture(value, rotation, opening, 0.0)


def facial_actions(model: HeadModel) -> NamedActions | NumberedActions:
    """The actions of a model: by names where it has those of the mouth and the lids."""
    if all(name in model.expression_name for name in NAMED):
        return NamedActions(model)
    return NumberedActions(model)
