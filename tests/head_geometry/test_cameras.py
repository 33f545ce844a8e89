import numpy as np
import torch

from head_geometry.cameras import pixel_rays, project, resize_intrinsics, transform
from head_geometry.rotations import matrix_from_axis_angle

INTRINSICS = torch.tensor([[500.0, 0.0, 127.5], [0.0, 520.0, 100.0], [0.0, 0.0, 1.0]]).double()


def camera() -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = matrix_from_axis_angle(torch.tensor([0.3, -0.5, 2.9], dtype=torch.float64))
    matrix[:3, 3] = torch.tensor([0.02, -0.05, 0.7])
    return matrix


def test_project_is_the_pinhole_formula():
    points = torch.tensor([[0.1, -0.2, 2.0], [0.0, 0.0, 1.0]]).double()
    expected = [[500 * 0.05 + 127.5, 520 * -0.1 + 100], [127.5, 100.0]]
    np.testing.assert_allclose(project(points, INTRINSICS), expected)


def test_pixel_rays_pass_through_the_projected_points():
    points = (
        torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.1
    )
    pixels = project(transform(camera(), points), INTRINSICS)
    origins, directions = pixel_rays(pixels, INTRINSICS, torch.linalg.inv(camera()))
    along = ((points - origins) * directions).sum(-1, keepdim=True)
    assert (along > 0).all()
    torch.testing.assert_close(origins + along * directions, points)


def test_resized_intrinsics_keep_points_at_the_same_share_of_the_image():
    points = torch.tensor([[0.05, -0.1, 0.9], [-0.2, 0.1, 1.3]]).double()
    old, new = (256, 200), (64, 100)
    before = project(points, INTRINSICS)
    after = project(points, resize_intrinsics(INTRINSICS, old, new))
    # Image coordinates with their origin at the outer corner scale without any offset.
    scale = torch.tensor(new).double() / torch.tensor(old)
    torch.testing.assert_close(after + 0.5, (before + 0.5) * scale)


def test_resizing_there_and_back_changes_nothing():
    there = resize_intrinsics(INTRINSICS, (256, 200), (640, 480))
    torch.testing.assert_close(resize_intrinsics(there, (640, 480), (256, 200)), INTRINSICS)
