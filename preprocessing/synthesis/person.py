"""Who is filmed: every random choice about one synthetic person, drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

IDENTITY_STD, IDENTITY_LIMIT = 0.85, 2.5
HAIR_STYLES = ("buzz", "short", "side_part", "curly", "bob", "long")
CLOTHES = ("crew", "v_neck", "jacket", "turtleneck")
# Linear RGB, from the palest to the darkest skin.
_SKIN = np.array(
    [
        [0.62, 0.38, 0.28],
        [0.52, 0.30, 0.20],
        [0.40, 0.21, 0.125],
        [0.25, 0.122, 0.068],
        [0.13, 0.062, 0.037],
        [0.068, 0.034, 0.022],
    ]
)
_HAIR = np.array(
    [
        [0.008, 0.007, 0.006],
        [0.022, 0.012, 0.007],
        [0.06, 0.03, 0.015],
        [0.15, 0.085, 0.035],
        [0.33, 0.22, 0.11],
        [0.14, 0.045, 0.018],
        [0.22, 0.21, 0.2],
    ]
)
_IRIS = np.array([[0.06, 0.03, 0.015], [0.09, 0.055, 0.02], [0.07, 0.09, 0.045], [0.09, 0.14, 0.2]])
_CLOTH = np.array(
    [
        [0.02, 0.03, 0.07],
        [0.03, 0.03, 0.035],
        [0.25, 0.03, 0.035],
        [0.05, 0.13, 0.08],
        [0.3, 0.28, 0.25],
        [0.07, 0.12, 0.25],
        [0.28, 0.18, 0.05],
        [0.13, 0.06, 0.13],
    ]
)


@dataclass(frozen=True)
class Person:
    """Looks of one synthetic person. Colours are linear RGB in 0..1.

    Attributes:
        identity: Shape coefficients of the head model, standard deviations.
        feminine: 0 (none) to 1: fuller lips, longer hair, no stubble, a higher voice.
        skin: Colour of plain skin.
        ruddy: How red cheeks, nose and ears are, 0..1.
        freckles: 0 (none) to 1.
        stubble: Beard shadow, 0..1.
        lip: Colour of the lips.
        hair: Colour of the hair.
        brow_strength: Opacity of the brows.
        iris: Colour of the iris.
        hair_style: One of HAIR_STYLES.
        clothes: One of CLOTHES.
        cloth: Colour of the outer garment.
        shirt: Colour of what is worn under a jacket.
        texture_seed: Seed of the noise fields.
    """

    identity: Float[Tensor, " identity"]
    feminine: float
    skin: Float[np.ndarray, "3"]
    ruddy: float
    freckles: float
    stubble: float
    lip: Float[np.ndarray, "3"]
    hair: Float[np.ndarray, "3"]
    brow_strength: float
    iris: Float[np.ndarray, "3"]
    hair_style: str
    clothes: str
    cloth: Float[np.ndarray, "3"]
    shirt: Float[np.ndarray, "3"]
    texture_seed: int


def make_person(random: np.random.Generator, identities: int) -> Person:
    """Draw a person.

    Args:
        random: Where the choices come from.
        identities: Identity components of the head model.
    """
    identity = np.clip(random.normal(0, IDENTITY_STD, identities), -IDENTITY_LIMIT, IDENTITY_LIMIT)
    feminine = float(random.uniform() < 0.5) * random.uniform(0.6, 1.0)
    tone = random.uniform(0, len(_SKIN) - 1)
    skin = _between(_SKIN, tone) * random.uniform(0.95, 1.05, 3)
    lip = skin * [0.86 - 0.08 * feminine, 0.52 - 0.1 * feminine, 0.58]
    lip = np.maximum(lip, [0.06, 0.022, 0.022])
    # Fair hair and light eyes are rare on dark skin.
    hair = _HAIR[random.integers(0, len(_HAIR) if tone < 2.2 else 2)] * random.uniform(0.8, 1.2)
    iris = _IRIS[random.integers(0, len(_IRIS) if tone < 2.2 else 2)]
    likelihood = (
        [0.15, 0.3, 0.3, 0.25, 0, 0] if feminine == 0 else [0.03, 0.1, 0.2, 0.15, 0.26, 0.26]
    )
    return Person(
        identity=torch.from_numpy(identity).float(),
        feminine=feminine,
        skin=skin,
        ruddy=random.uniform(0.2, 1.0),
        freckles=float(random.uniform() < 0.3) * random.uniform(0.3, 1.0) * (tone < 2),
        stubble=0.0 if feminine > 0 else random.uniform(0.0, 0.75),
        lip=lip,
        hair=hair,
        brow_strength=random.uniform(0.65, 0.95),
        iris=iris * random.uniform(0.8, 1.3),
        hair_style=str(random.choice(HAIR_STYLES, p=likelihood)),
        clothes=str(random.choice(CLOTHES)),
        cloth=_CLOTH[random.integers(len(_CLOTH))] * random.uniform(0.8, 1.2),
        shirt=np.array([0.6, 0.6, 0.62]) * random.uniform(0.6, 1.1) * random.uniform(0.85, 1, 3),
        texture_seed=int(random.integers(1 << 20)),
    )


def _between(colours: Float[np.ndarray, "colour 3"], place: float) -> Float[np.ndarray, "3"]:
    return np.array([np.interp(place, np.arange(len(colours)), column) for column in colours.T])
