"""Square parts of pictures, at full size or smaller, that a step compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

# Share of the windows that lie around a point worth looking at.
ON_POINTS_SHARE = 0.8
LEVELS = (1, 2, 4)


@dataclass(frozen=True)
class Window:
    """A square part of a square picture that was made smaller.

    Attributes:
        level: Pixels of the picture in the side of one of the window's.
        row: Where it begins, in pixels of the smaller picture.
        column: The same.
        side: Of the window, pixels of its own.
    """

    level: int
    row: int
    column: int
    side: int

    def cut(
        self, image: Shaped[Tensor, "channel height width"]
    ) -> Float[Tensor, "channel side side"]:
        """The window's pixels, each the mean of those it stands for."""
        rows, columns = (
            slice(self.level * at, self.level * (at + self.side)) for at in (self.row, self.column)
        )
        return functional.avg_pool2d(image[:, rows, columns].float(), self.level)

    def label(self, label: Float[Tensor, " 25"], picture_side: int) -> Float[Tensor, " 25"]:
        """The camera that sees the window, from that of the whole picture."""
        own = picture_side / self.level
        rows = [[1, 0, -self.column / own], [0, 1, -self.row / own], [0, 0, self.side / own]]
        moved = label.new_tensor(rows) * (own / self.side)
        return torch.cat([label[:16], (moved @ label[16:].view(3, 3)).flatten()])


def choose_window(
    points: Int[Tensor, "n 2"],
    picture_side: int,
    side: int,
    generator: torch.Generator,
    levels: Sequence[int] = LEVELS,
) -> Window:
    """A random window at a random level: mostly around one of some points, else anywhere.

    Args:
        points: Row and column of what is worth looking at, pixels of the whole picture; there may be none.
        picture_side: Of the whole picture, pixels.
        side: Of the window, pixels.
        generator: Of the choice.
        levels: To choose from, where the picture is large enough.
    """
    draw = {"generator": generator, "device": points.device}
    fitting = [level for level in levels if picture_side // level >= side]
    level = fitting[int(torch.randint(len(fitting), (1,), **draw))]
    free = picture_side // level - side + 1
    if float(torch.rand((), **draw)) < ON_POINTS_SHARE and len(points):
        chosen = points[int(torch.randint(len(points), (1,), **draw))] // level - side // 2
        row, column = chosen.clamp(0, free - 1).tolist()
        return Window(level, row, column, side)
    row, column = torch.randint(free, (2,), **draw).tolist()
    return Window(level, row, column, side)
