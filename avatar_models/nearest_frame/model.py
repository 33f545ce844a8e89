"""The nearest training frame, moved over by the similarity that aligns its landmarks."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from artifacts.errors import InputError
from avatar_models.background import BackgroundLayer
from avatar_models.dataset import SubjectData
from avatar_models.interface import AvatarModel, Driving, Layers
from avatar_models.nearest_frame.config import NearestFrameConfig
from head_geometry.images import resize_area
from head_geometry.rotations import axis_angle_from_matrix

# Expressions and angles that hardly vary in a clip would get huge z-scores; radians or coefficients.
SMALLEST_STD = 0.02


class NearestFrame(AvatarModel):
    """Stores training frames with their matte as bytes; learns only how to weigh the driving signals."""

    pixels: Tensor
    landmarks: Tensor
    code: Tensor
    rotation: Tensor
    signal_std: Tensor
    frame: Tensor

    def __init__(
        self,
        config: NearestFrameConfig,
        size: tuple[int, int],
        n_frames: int,
        n_code: int,
        n_landmarks: int,
    ) -> None:
        super().__init__()
        self.config = config
        width, height = size
        self.register_buffer("pixels", torch.zeros(n_frames, 5, height, width, dtype=torch.uint8))
        self.register_buffer("landmarks", torch.zeros(n_frames, n_landmarks, 2))
        self.register_buffer("code", torch.zeros(n_frames, n_code))
        self.register_buffer("rotation", torch.eye(3).repeat(n_frames, 1, 1))
        self.register_buffer("signal_std", torch.ones(n_code + 3))
        self.register_buffer("frame", torch.zeros(n_frames, dtype=torch.int64))
        self.log_weight = nn.Parameter(torch.zeros(n_code + 3))
        self.background = BackgroundLayer(height, width)
        # Small premultiplied images for learning the weights; made on the first step, never stored.
        self._small: Tensor | None = None

    def parameter_groups(self) -> list[dict[str, object]]:
        """The logarithms of the metric's weights."""
        return [
            {
                "params": [self.log_weight],
                "lr": self.config.learning_rate,
                "lr_end": self.config.learning_rate_end,
            }
        ]

    def distances(
        self, code: Float[Tensor, "query code"], rotation: Float[Tensor, "query 3 3"]
    ) -> Float[Tensor, "query stored"]:
        """Squared distance of driving signals to every stored frame; differentiable in the weights.

        z-scored differences of expression coefficients and joint angles (mean over them), plus those of the
        head's rotation vector (mean of three), each times its learned weight.
        """
        n_code = code.shape[1]
        turn = axis_angle_from_matrix(rotation[:, None].mT @ self.rotation)
        difference = torch.cat([code[:, None] - self.code, turn], -1) / self.signal_std
        share = torch.ones_like(self.log_weight)
        share[:n_code] /= n_code
        share[n_code:] /= 3
        return (difference**2) @ (share * self.log_weight.exp())

    def training_losses(
        self, data: SubjectData, progress: float, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Expected squared colour error of a soft choice among competitors of left-out frames, and a prior."""
        n_stored = self.code.shape[0]
        device = self.code.device
        query = torch.randint(n_stored, (self.config.queries,), generator=generator, device=device)
        away = (self.frame[query][:, None] - self.frame[None]).abs() > self.config.guard_frames
        # In a clip too short to keep guard, only the frame itself is left out.
        itself = query[:, None] == torch.arange(n_stored, device=device)
        allowed = torch.where(away.any(1, keepdim=True), away, ~itself).float()
        distance = self.distances(self.code[query], self.rotation[query])
        # Half of the competitors by chance, half near: the choice that matters is among the near ones.
        n_near = min(self.config.candidates // 2, n_stored)
        blocked = torch.where(allowed > 0, distance.detach(), torch.inf)
        near = blocked.topk(n_near, largest=False).indices
        n_random = max(1, self.config.candidates - n_near)
        chance = torch.multinomial(allowed + 1e-9, n_random, replacement=True, generator=generator)
        candidate = torch.cat([near, chance], 1)
        error = self._errors(query, candidate, data)
        choice = torch.softmax(-distance.gather(1, candidate) / self.config.temperature, 1)
        return {
            "colour": (choice * error).sum(1).mean(),
            "prior": self.config.prior * (self.log_weight**2).mean(),
        }

    @torch.no_grad()
    def _errors(
        self,
        query: Int[Tensor, " query"],
        candidate: Int[Tensor, "query candidate"],
        data: SubjectData,
    ) -> Float[Tensor, "query candidate"]:
        """Mean squared difference, over white, of each query and its aligned candidates."""
        if self._small is None:
            side = self.config.comparison_side_px
            stored = self.pixels.permute(0, 2, 3, 1)
            small = [resize_area(_premultiplied(frame), (side, side)) for frame in stored]
            self._small = torch.stack(small).permute(0, 3, 1, 2)
        height, width = self.pixels.shape[2:]
        side = self._small.shape[-1]
        scale = torch.tensor([side / width, side / height], device=query.device)
        points = (self.landmarks + 0.5) * scale - 0.5
        n_candidates = candidate.shape[1]
        source = candidate.flatten()
        target = query.repeat_interleave(n_candidates)
        moved = _warp(self._small[source], similarity(points[target], points[source]), (side, side))
        over_white = moved[:, :3] + 1 - moved[:, 3:4]
        truth = self._small[target][:, :3] + 1 - self._small[target][:, 3:4]
        return ((over_white - truth) ** 2).mean((1, 2, 3)).unflatten(0, candidate.shape)

    def choose(self, driving: Driving) -> int:
        """Index among the stored frames of the one nearest to ``driving``."""
        rotation = driving.camera_from_head[None, :3, :3]
        return int(self.distances(driving.code[None], rotation)[0].argmin())

    def render(self, driving: Driving) -> Layers:
        """Head and torso of the chosen frame under one similarity, over the static background.

        Raises:
            InputError: it was trained with another set of landmarks.
        """
        chosen = self.choose(driving)
        height, width = self.pixels.shape[2:]
        trained = driving.landmarks.new_tensor([width, height])
        wanted = driving.landmarks.new_tensor(driving.image_size)
        target = driving.landmarks
        if len(target) != self.landmarks.shape[1]:
            raise InputError(
                f"the avatar was trained on a fit of {self.landmarks.shape[1]} landmarks, but {len(target)} "
                "drive it; find both with the same landmark detector, or train it again"
            )
        source = (self.landmarks[chosen] + 0.5) * (wanted / trained) - 0.5
        source_from_target = similarity(target[None], source[None])
        stored = _premultiplied(self.pixels[chosen].permute(1, 2, 0))
        planes = resize_area(stored, driving.image_size).permute(2, 0, 1)[None]
        moved = _warp(planes, source_from_target, driving.image_size)[0].permute(1, 2, 0)
        colour, alpha, head_alpha = moved[..., :3], moved[..., 3], moved[..., 4]
        head_share = (head_alpha / alpha.clamp_min(1e-6)).clamp(max=1)
        head_alpha = head_share * alpha
        # What the torso must be so that head over torso is the frame again.
        rest = (1 - head_share) / (1 - head_alpha).clamp_min(1e-6)
        return Layers(
            head=head_share[..., None] * colour,
            head_alpha=head_alpha,
            torso=rest[..., None] * colour,
            torso_alpha=rest * alpha,
            background=self.background(driving),
        )


def build_model(config: NearestFrameConfig, data: SubjectData) -> NearestFrame:
    """Store the training frames and what the metric needs of them."""
    frames = data.spread_train_frames(config.max_frames)
    first = data.driving(frames[0])
    model = NearestFrame(
        config, data.image_size, len(frames), first.code.shape[0], first.landmarks.shape[0]
    ).to(data.device)
    for row, frame in enumerate(frames):
        driving = data.driving(frame)
        alpha = data.alpha(frame)
        planes = torch.stack([alpha, alpha * data.head_region(frame)])
        model.pixels[row, :3] = data.image_bytes(frame).permute(2, 0, 1)
        model.pixels[row, 3:] = (255 * planes).round().to(torch.uint8)
        model.landmarks[row] = driving.landmarks
        model.code[row] = driving.code
        model.rotation[row] = driving.camera_from_head[:3, :3]
        model.frame[row] = frame
    turns = axis_angle_from_matrix(model.rotation[:1].mT @ model.rotation)
    signals = torch.cat([model.code, turns], -1)
    model.signal_std.copy_(signals.std(0, unbiased=False).clamp_min(SMALLEST_STD))
    model.background = BackgroundLayer.estimate(data)
    return model


def restore_model(config: NearestFrameConfig, state: dict[str, Tensor]) -> NearestFrame:
    """An empty model of the shapes in ``state``."""
    n_frames, _, height, width = state["pixels"].shape
    return NearestFrame(
        config, (width, height), n_frames, state["code"].shape[1], state["landmarks"].shape[1]
    )


def similarity(
    source: Float[Tensor, "*batch point 2"], target: Float[Tensor, "*batch point 2"]
) -> Float[Tensor, "*batch 3 3"]:
    """Homogeneous similarity (no reflection) that takes ``source`` points nearest to ``target`` points.

    Source: least squares in closed form, with points as complex numbers (as Umeyama 1991 without reflection).
    """
    source_mean, target_mean = source.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    x, y = source - source_mean, target - target_mean
    norm = (x**2).sum((-1, -2)).clamp_min(1e-12)
    real = (x * y).sum((-1, -2)) / norm
    imaginary = (x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]).sum(-1) / norm
    turn = torch.stack([real, -imaginary, imaginary, real], -1).unflatten(-1, (2, 2))
    shift = target_mean[..., 0, :] - (turn @ source_mean[..., 0, :, None])[..., 0]
    bottom = torch.tensor([0.0, 0.0, 1.0], device=source.device).expand(*turn.shape[:-2], 1, 3)
    return torch.cat([torch.cat([turn, shift[..., None]], -1), bottom], -2)


def _premultiplied(stored: Tensor) -> Float[Tensor, "height width 5"]:
    """Colour times opacity, opacity, head's opacity, 0..1, of a stored frame in bytes."""
    planes = stored.float() / 255
    return torch.cat([planes[..., :3] * planes[..., 3:4], planes[..., 3:]], -1)


def _warp(
    planes: Float[Tensor, "batch channel height width"],
    source_from_target: Float[Tensor, "batch 3 3"],
    size: tuple[int, int],
) -> Float[Tensor, "batch channel new_height new_width"]:
    """Bilinear; the edge of the image goes on outside, for colour and opacity alike."""
    width, height = size
    rows = torch.arange(height, device=planes.device, dtype=planes.dtype)
    columns = torch.arange(width, device=planes.device, dtype=planes.dtype)
    target = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).flatten(0, 1)
    pixels = target @ source_from_target[:, :2, :2].mT + source_from_target[:, None, :2, 2]
    full = planes.new_tensor([planes.shape[3], planes.shape[2]])
    grid = ((2 * pixels + 1) / full - 1).unflatten(1, (height, width))
    return functional.grid_sample(
        planes, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
