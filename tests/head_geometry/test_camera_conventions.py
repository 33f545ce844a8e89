import numpy as np
import pytest
import torch

from head_geometry import camera_conventions as conventions
from head_geometry.cameras import pixel_rays, project, transform
from head_geometry.rotations import matrix_from_axis_angle

SIZE = (200, 160)


@pytest.fixture
def cameras():
    generator = torch.Generator().manual_seed(3)
    matrix = torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
    matrix[:, :3, :3] = matrix_from_axis_angle(torch.randn(5, 3, generator=generator).double())
    matrix[:, :3, 3] = torch.randn(5, 3, generator=generator).double()
    intrinsics = torch.tensor([[300.0, 0, 101.0], [0, 310.0, 77.0], [0, 0, 1]]).double()
    return matrix, intrinsics.repeat(5, 1, 1)


def test_eg3d_round_trip_and_its_own_rays(cameras):
    matrix, intrinsics = cameras
    intrinsics[:, 0, 1] = 4.0
    label = conventions.eg3d_label_from_camera(matrix, intrinsics, SIZE)
    again = conventions.camera_from_eg3d_label(label, SIZE)
    torch.testing.assert_close(again, (matrix, intrinsics))
    # The published sampler: cell centres in 0..1, lifted with the normalised intrinsics.
    pixel = np.array([17.0, 140.0])
    u, v = (pixel + 0.5) / SIZE
    (fx, sk, cx), (_, fy, cy) = label[0, 16:].reshape(3, 3)[:2].tolist()
    lifted = torch.tensor([(u - cx + cy * sk / fy - sk * v / fy) / fx, (v - cy) / fy, 1.0, 1.0])
    world_from_camera = label[0, :16].reshape(4, 4)
    there = (world_from_camera @ lifted.double())[:3]
    direction = torch.nn.functional.normalize(there - world_from_camera[:3, 3], dim=0)
    ours = pixel_rays(torch.tensor(pixel)[None], intrinsics[0], torch.linalg.inv(matrix[0]))
    torch.testing.assert_close(ours[1][0], direction)
    torch.testing.assert_close(ours[0][0], world_from_camera[:3, 3])


def test_nerface_round_trip_and_its_own_rays(cameras):
    matrix, intrinsics = cameras
    pose, numbers = conventions.nerface_from_camera(matrix, intrinsics, SIZE)
    torch.testing.assert_close(
        conventions.camera_from_nerface(pose, numbers, SIZE), (matrix, intrinsics)
    )
    column, row = 30.0, 90.0
    fx, fy, cx, cy = numbers[0].tolist()
    local = torch.tensor([(column - SIZE[0] * cx) / fx, -(row - SIZE[1] * cy) / fy, -1.0]).double()
    ours = pixel_rays(
        torch.tensor([[column, row]]).double(), intrinsics[0], torch.linalg.inv(matrix[0])
    )
    expected = torch.nn.functional.normalize(pose[0, :3, :3] @ local, dim=0)
    torch.testing.assert_close(ours[1][0], expected)


def test_imavatar_round_trip_and_its_own_rays(cameras):
    matrix, intrinsics = cameras
    world_mat, numbers = conventions.imavatar_from_camera(matrix, intrinsics, SIZE)
    again = conventions.camera_from_imavatar(world_mat, numbers, SIZE)
    torch.testing.assert_close(again, (matrix, intrinsics))
    column, row = 30.0, 90.0
    fx, fy, cx, cy = (numbers[0] * torch.tensor([SIZE[0], SIZE[1], *SIZE])).tolist()
    # lift: z = -1, x = (column - cx) / fx * z, y = (row - cy) / fy * z; pose is the inverse of world_mat.
    local = torch.tensor([-(column - cx) / fx, -(row - cy) / fy, -1.0]).double()
    turn = torch.linalg.inv(world_mat[0, :, :3])
    ours = pixel_rays(
        torch.tensor([[column, row]]).double(), intrinsics[0], torch.linalg.inv(matrix[0])
    )
    expected = torch.nn.functional.normalize(turn @ local, dim=0)
    torch.testing.assert_close(ours[1][0], expected)


def test_opengl_and_edge_round_trips(cameras):
    matrix, intrinsics = cameras
    there = conventions.opengl_from_camera(matrix)
    torch.testing.assert_close(conventions.camera_from_opengl(there), matrix)
    # What lies one unit before the camera is at z = -1 in OpenGL axes.
    before = torch.linalg.inv(matrix) @ torch.tensor([0.0, 0, 1, 1]).double()
    local = torch.linalg.inv(there) @ before[..., None]
    torch.testing.assert_close(local[..., 0], torch.tensor([0.0, 0, -1, 1]).double().expand(5, 4))
    edge = conventions.edge_from_pixel_intrinsics(intrinsics)
    assert edge[0, 0, 2] == intrinsics[0, 0, 2] + 0.5
    torch.testing.assert_close(conventions.pixel_from_edge_intrinsics(edge), intrinsics)


def test_pytorch3d_round_trip_and_its_own_projection(cameras):
    matrix, intrinsics = cameras
    rotation, translation, focal, principal = conventions.pytorch3d_from_camera(
        matrix, intrinsics, SIZE
    )
    again = conventions.camera_from_pytorch3d(rotation, translation, (focal, principal), SIZE)
    torch.testing.assert_close(again, (matrix, intrinsics))
    point = torch.tensor([0.2, -0.1, 0.3]).double()
    x, y, z = (point @ rotation[0] + translation[0]).tolist()
    ndc = np.array([x, y]) / z * focal[0].numpy() + principal[0].numpy()
    # NDC to screen: the shorter side spans 2, x runs left, y up, pixel edges at integers.
    screen = np.array(SIZE) / 2 - ndc * min(SIZE) / 2
    ours = project(transform(matrix[0], point[None]), intrinsics[0])[0]
    np.testing.assert_allclose(screen - 0.5, ours)


@pytest.mark.parametrize(
    "convert",
    [
        conventions.nerface_from_camera,
        conventions.imavatar_from_camera,
        conventions.pytorch3d_from_camera,
    ],
)
def test_skew_is_refused_where_it_cannot_be_said(cameras, convert):
    matrix, intrinsics = cameras
    intrinsics[:, 0, 1] = 1.0
    with pytest.raises(ValueError, match="skew"):
        convert(matrix, intrinsics, SIZE)
