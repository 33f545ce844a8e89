"""Pictures of synthetic heads as the prior sees them: what is known of each, patches, cameras as labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from artifacts.errors import InputError
from artifacts.kinds import PRIOR_PICTURES
from artifacts.store import read_artifact
from avatar_models.triplane.framing import label_of_head
from avatar_models.triplane.windows import choose_window

# Every so many people are kept for the test.
TEST_EVERY = 20


@dataclass(frozen=True)
class Patches:
    """Square parts of pictures.

    Attributes:
        colour: Times opacity, over black, 0..1.
        alpha: Opacity, 0..1.
        label: Camera that sees just the patch.
    """

    colour: Float[Tensor, "patch 3 side side"]
    alpha: Float[Tensor, "patch 1 side side"]
    label: Float[Tensor, "patch 25"]


class PriorPictures:
    """All pictures of some ``prior_pictures`` artifacts, in memory as bytes.

    Attributes:
        known: What is known of each moment (:attr:`known_name`).
        train_moments: Moments to train on.
        test_moments: Moments of people kept for the test.
        side: Of the pictures, pixels.
        origin_m: Middle of the cube, head axes, metres.
        device: Where everything lives.
    """

    def __init__(self, paths: list[Path], units_per_metre: float, device: torch.device) -> None:
        """Read the files.

        Raises:
            InputError: they do not belong together, or hold too few people.
        """
        parts = [read_artifact(path, PRIOR_PICTURES) for path in paths]
        first = parts[0]
        for path, part in zip(paths, parts, strict=True):
            for name in ("known_name", "pivot"):
                if not np.array_equal(part[name], first[name]):
                    raise InputError(
                        f"{path}: its {name} is not that of {paths[0]}; draw them alike"
                    )
            if part["image"].shape[1:] != first["image"].shape[1:]:
                raise InputError(f"{path}: pictures of another size than in {paths[0]}")
        self.device = device
        self.known_name = tuple(str(name) for name in first["known_name"])
        self.origin_m = tuple(float(x) for x in first["pivot"])
        self.side = first["image"].shape[1]
        known = np.concatenate([part["known"] for part in parts])
        self.known: Float[Tensor, "moment known"] = torch.from_numpy(known).to(device)
        # Channels first, opacity last.
        self._pixels = torch.cat(
            [
                torch.cat(
                    [torch.from_numpy(p["image"]), torch.from_numpy(p["alpha"])[..., None]], 3
                )
                .movedim(3, 1)
                .contiguous()
                for p in parts
            ]
        ).to(device)
        self._label = self._labels(parts, units_per_metre)
        offsets = np.cumsum([0] + [len(part["known"]) for part in parts])
        moment = np.concatenate(
            [part["moment"] + before for part, before in zip(parts, offsets, strict=False)]
        )
        order = np.argsort(moment, kind="stable")
        self._views = [
            torch.from_numpy(group)
            for group in np.split(order, np.flatnonzero(np.diff(moment[order])) + 1)
        ]
        seed = np.concatenate([part["person_seed"] for part in parts])
        if len(np.unique(seed)) < TEST_EVERY:
            raise InputError(
                f"{paths[0]}: pictures of {len(np.unique(seed))} people; a prior needs at least {TEST_EVERY}"
            )
        is_test = seed % TEST_EVERY == TEST_EVERY - 1
        self.train_moments = np.flatnonzero(~is_test)
        self.test_moments = np.flatnonzero(is_test)

    def views(self, moment: int) -> Int[Tensor, " view"]:
        """Pictures of one moment."""
        return self._views[moment]

    def whole(self, pictures: Int[Tensor, " picture"], side: int) -> Patches:
        """Whole pictures at another size (exact areas)."""
        pixels = functional.adaptive_avg_pool2d(self._pixels[pictures].float() / 255, side)
        return Patches(pixels[:, :3], pixels[:, 3:], self._label[pictures])

    def patches(
        self, pictures: Int[Tensor, " picture"], side: int, generator: torch.Generator
    ) -> Patches:
        """A random square part of each picture: at full size, or of the picture at half or at a quarter of it.

        Args:
            pictures: Which.
            side: Of the patches, pixels.
            generator: Of the choice.
        """
        pixels, labels = [], []
        for picture in pictures.tolist():
            shown = self._pixels[picture, 3].nonzero()
            window = choose_window(shown, self.side, side, generator)
            pixels.append(window.cut(self._pixels[picture]) / 255)
            labels.append(window.label(self._label[picture], self.side))
        cut = torch.stack(pixels)
        return Patches(cut[:, :3], cut[:, 3:], torch.stack(labels))

    def _labels(self, parts: list[dict[str, np.ndarray]], units_per_metre: float) -> Tensor:
        camera = torch.from_numpy(np.concatenate([part["camera_from_head"] for part in parts]))
        intrinsics = torch.from_numpy(np.concatenate([part["intrinsics"] for part in parts]))
        label = label_of_head(camera, intrinsics, self.side, units_per_metre, self.origin_m)
        return label.float().to(self.device)
