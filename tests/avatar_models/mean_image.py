"""The smallest avatar model, for tests of the trainer."""

from __future__ import annotations

import torch
from torch import nn

from avatar_models.interface import AvatarModel, Driving, Layers


class MeanImage(AvatarModel):
    """One image for all frames, learned from noisy pixels; ``spoilt_at`` makes the loss NaN from that step on."""

    def __init__(self, learning_rate: float = 0.05, spoilt_at: int = -1) -> None:
        super().__init__()
        self.image = nn.Parameter(torch.full((64, 64, 3), 0.5))
        self.learning_rate, self.spoilt_at, self.n_calls = learning_rate, spoilt_at, 0

    def parameter_groups(self):
        return [{"params": [self.image], "lr": self.learning_rate, "lr_end": 0.01}]

    def training_losses(self, data, progress, generator):
        pick = torch.randint(len(data.train_frames), (1,), generator=generator)
        error = (self.image - data.image(int(data.train_frames[pick]))) ** 2
        self.n_calls += 1
        spoilt = self.spoilt_at >= 0 and self.n_calls > self.spoilt_at
        return {"colour": error.mean() * (torch.nan if spoilt else 1), "size": 0 * error.sum()}

    def render(self, driving: Driving) -> Layers:
        nothing, zero = torch.zeros(64, 64, 3), torch.zeros(64, 64)
        return Layers(nothing, zero, nothing, zero, self.image.detach())
