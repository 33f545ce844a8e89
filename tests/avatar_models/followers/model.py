"""One picture, whose colours follow the driver's picture or sound."""

from __future__ import annotations

import torch
from torch import nn

from avatar_models.interface import AvatarModel, Driving, Layers


class Follower(AvatarModel):
    def __init__(self, config, image_shape, weight_shape) -> None:
        super().__init__()
        self.signal = config.driven_by
        self.image = nn.Parameter(torch.full(image_shape, 0.5))
        self.weight = nn.Parameter(torch.zeros(weight_shape))

    def features(self, driving: Driving):
        if self.signal == "picture":
            assert driving.sound is None
            return driving.picture[16::32, 16::32].flatten() / 8
        assert driving.picture is None
        # The vector of the frame itself.
        return driving.sound[4, 8]

    def parameter_groups(self):
        return [
            {"params": [self.image], "lr": 0.02, "lr_end": 0.002},
            {"params": [self.weight], "lr": 5e-3, "lr_end": 5e-4},
        ]

    def picture(self, driving: Driving):
        return self.image + torch.tensordot(self.features(driving), self.weight, dims=1)

    def training_losses(self, data, progress, generator):
        pick = int(torch.randint(len(data.train_frames), (1,), generator=generator))
        frame = int(data.train_frames[pick])
        error = self.picture(data.driving(frame)) - data.image(frame)
        return {"colour": (error**2).mean()}

    def render(self, driving: Driving) -> Layers:
        picture = self.picture(driving).clamp(0, 1)
        nothing, alpha = torch.zeros_like(picture), torch.ones_like(picture[..., 0])
        return Layers(picture, alpha, nothing, 0 * alpha, nothing)


def build_model(config, data):
    frame = int(data.train_frames[0])
    shape = tuple(data.image(frame).shape)
    n_features = len(Follower(config, shape, (1,)).features(data.driving(frame)))
    return Follower(config, shape, (n_features, *shape))


def restore_model(config, state):
    return Follower(config, state["image"].shape, state["weight"].shape)
