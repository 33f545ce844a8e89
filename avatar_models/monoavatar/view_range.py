"""The range of view directions that training saw; colour is not asked for beyond it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avatar_models.dataset import SubjectData

# Training frames and vertices that the range is measured on, at most.
N_FRAMES, N_VERTICES = 512, 128
# Share of the measured directions inside the ellipse; those outside count as its rim, in training too.
SHARE_INSIDE = 0.95
# Standard deviation at least, radians: of a head that never moves, an ellipse must be left.
SMALLEST_SPREAD_RAD = 1e-3


class ViewRange(nn.Module):
    """An ellipse of view directions around their mean.

    Inside it a direction stays as it is; beyond it, it is moved to the rim. A head turned further than in
    its clip then keeps the shading of the last pose that training knew: a network that is asked for the
    colour seen from where it never was answers anything (turned by 20° beyond its clip, a face went white).

    Attributes:
        axes: Rows: the two axes across, then the middle; unit vectors, head axes, (3, 3).
        extent: Half-axes along the first two, radians, (2,).

    Source: own.
    """

    axes: Float[Tensor, "3 3"]
    extent: Float[Tensor, "2"]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("axes", torch.eye(3))
        self.register_buffer("extent", torch.full((2,), torch.pi))

    def measure(self, data: SubjectData) -> None:
        """Take the range from the poses of the training frames."""
        directions = []
        for frame in data.spread_train_frames(N_FRAMES):
            driving = data.driving(frame)
            eye = torch.linalg.inv(driving.camera_from_head)[:3, 3]
            stride = -(-len(driving.vertices) // N_VERTICES)
            directions.append(nn.functional.normalize(driving.vertices[::stride] - eye, dim=-1))
        self.enclose(torch.cat(directions))

    def enclose(self, directions: Float[Tensor, "direction 3"]) -> None:
        """Take the range from unit vectors (head axes)."""
        middle = nn.functional.normalize(directions.mean(0), dim=0)
        across = torch.linalg.svd(middle[None])[2][1:]
        place = _tangent(directions, torch.cat([across, middle[None]]))
        variance, turn = torch.linalg.eigh(place.T @ place / len(place))
        spread = variance.clamp_min(SMALLEST_SPREAD_RAD**2).sqrt()
        radius = torch.linalg.vector_norm(place @ turn / spread, dim=-1)
        self.axes.copy_(torch.cat([turn.T @ across, middle[None]]))
        self.extent.copy_(spread * torch.quantile(radius, SHARE_INSIDE).clamp_min(1))

    def forward(self, directions: Float[Tensor, "ray 3"]) -> Float[Tensor, "ray 3"]:
        """Unit directions (head axes), those beyond the range moved to its rim."""
        place = _tangent(directions, self.axes)
        radius = torch.linalg.vector_norm(place / self.extent, dim=-1, keepdim=True)
        place = place / radius.clamp_min(1)
        angle = torch.linalg.vector_norm(place, dim=-1, keepdim=True)
        sideways = torch.sinc(angle / torch.pi) * (place @ self.axes[:2])
        return torch.cos(angle) * self.axes[2] + sideways


def _tangent(
    directions: Float[Tensor, "ray 3"], axes: Float[Tensor, "3 3"]
) -> Float[Tensor, "ray 2"]:
    """Angles (radians) from the last of ``axes`` to unit directions, along the first two."""
    local = directions @ axes.T
    sine = torch.linalg.vector_norm(local[:, :2], dim=-1, keepdim=True)
    angle = torch.atan2(sine, local[:, 2:])
    return local[:, :2] * (angle / sine.clamp_min(1e-6))
