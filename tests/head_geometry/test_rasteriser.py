import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from head_geometry.rasteriser import cast_rays, depth_ranges, rasterise, rasterise_uv

SIZE = (48, 40)
INTRINSICS = torch.tensor([[60.0, 1.5, 22.0], [0.0, 66.0, 21.0], [0.0, 0.0, 1.0]])


def bumpy_scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Two overlapping closed shapes of random points, partly outside the image."""
    random = np.random.default_rng(0)
    shapes, triangles = [], []
    for number, centre in enumerate(([0.05, 0.0, 1.0], [-0.2, 0.1, 0.8])):
        directions = random.normal(size=(60, 3))
        points = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        triangles.append(ConvexHull(points).simplices + 60 * number)
        shapes.append(centre + 0.22 * points * random.uniform(0.8, 1.2, (60, 1)))
    return torch.tensor(np.concatenate(shapes)).float(), torch.tensor(
        np.concatenate(triangles)
    ).long()


def brute_force(vertices, triangle, intrinsics, size):
    """Nearest hit of every pixel's ray over all triangles (Möller and Trumbore), in float64."""
    v, k = vertices.double().numpy(), intrinsics.double().numpy()
    a, b, c = (v[triangle[:, i].numpy()] for i in range(3))
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    rays = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3) @ np.linalg.inv(k).T
    e1, e2 = b - a, c - a
    p = np.cross(rays[:, None], e2[None])
    det = (e1 * p).sum(-1)
    s = -a
    u = (s * p).sum(-1) / det
    q = np.cross(s, e1)
    w = (rays[:, None] * q).sum(-1) / det
    t = (e2 * q).sum(-1) / det
    inside = (u >= 0) & (w >= 0) & (u + w <= 1) & (t > 0)
    t = np.where(inside, t, np.inf)
    face = np.where(inside.any(1), t.argmin(1), -1)
    rows = np.arange(len(rays))
    best = np.maximum(face, 0)
    weights = np.stack([1 - u - w, u, w], -1)[rows, best] * (face >= 0)[:, None]
    margin = np.minimum(
        np.minimum(u, w), 1 - u - w
    )  # distance from the nearest edge of any triangle
    unsure = (np.abs(margin) < 1e-4).any(1)
    shape = (size[1], size[0])
    depth = np.where(face >= 0, t[rows, best], 0)
    return (
        face.reshape(shape),
        weights.reshape(*shape, 3),
        depth.reshape(shape),
        unsure.reshape(shape),
    )


def test_equals_brute_force_in_double_precision():
    vertices, triangle = bumpy_scene()
    raster = rasterise(vertices, triangle, INTRINSICS, SIZE)
    face, weights, depth, unsure = brute_force(vertices, triangle, INTRINSICS, SIZE)
    assert 0.2 < (face >= 0).mean() < 0.9
    assert unsure.mean() < 0.01
    np.testing.assert_array_equal(raster.face_id.numpy()[~unsure], face[~unsure])
    np.testing.assert_allclose(raster.barycentric.numpy()[~unsure], weights[~unsure], atol=2e-4)
    np.testing.assert_allclose(raster.depth.numpy()[~unsure], depth[~unsure], atol=1e-5)


def test_double_precision_vertices_give_double_precision_barycentrics():
    vertices, triangle = bumpy_scene()
    raster = rasterise(vertices.double(), triangle, INTRINSICS.double(), SIZE)
    _, weights, _, unsure = brute_force(vertices, triangle, INTRINSICS, SIZE)
    assert raster.barycentric.dtype == torch.float64
    np.testing.assert_allclose(raster.barycentric.numpy()[~unsure], weights[~unsure], atol=1e-6)


def test_interpolated_positions_lie_on_the_pixels_rays():
    vertices, triangle = bumpy_scene()
    raster = rasterise(vertices, triangle, INTRINSICS, SIZE)
    places = raster.interpolate(vertices, triangle)
    seen = raster.face_id >= 0
    pixels = places[seen] @ INTRINSICS.T
    row, column = torch.nonzero(seen, as_tuple=True)
    expected = torch.stack([column, row], -1).float()
    torch.testing.assert_close(pixels[:, :2] / pixels[:, 2:], expected, atol=2e-3, rtol=0)
    assert (places[~seen] == 0).all()


def test_gradients_to_attributes_and_vertices_agree_with_finite_differences():
    vertices, triangle = bumpy_scene()
    vertices = vertices.double()
    attributes = torch.randn(len(vertices), 2, generator=torch.Generator().manual_seed(1)).double()
    size = (12, 10)
    intrinsics = torch.tensor([[14.0, 0.0, 5.6], [0.0, 14.0, 4.3], [0.0, 0.0, 1.0]]).double()
    face = rasterise(vertices, triangle, intrinsics, size).face_id

    def total(places: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        raster = rasterise(places, triangle, intrinsics, size)
        # A step must not change what is visible, else differences are no derivatives.
        assert torch.equal(raster.face_id, face)
        weight = torch.linspace(0, 1, 240).double().reshape(10, 12, 2)
        return (raster.interpolate(values, triangle) * weight).sum() + raster.depth.sum()

    inputs = (vertices.requires_grad_(), attributes.requires_grad_())
    assert torch.autograd.gradcheck(total, inputs, eps=1e-7, atol=1e-4)


def test_depth_ranges_agree_with_cast_rays():
    vertices, triangle = bumpy_scene()
    depth = rasterise(vertices, triangle, INTRINSICS, SIZE).depth
    found = depth_ranges(vertices, triangle, INTRINSICS, SIZE)
    met = torch.isfinite(found.last)
    assert 0.1 < float(met.float().mean()) < 1
    # Rays through an edge may fall to either side.
    assert float((met == (depth > 0)).float().mean()) > 0.995
    both = met & (depth > 0)
    nearest = torch.minimum(found.front, found.back)
    assert torch.allclose(nearest[both], depth[both].float(), atol=1e-4)
    assert (found.last[both] >= nearest[both]).all()


def test_depth_ranges_tell_fronts_from_backs():
    # Two parallel triangles, wound the opposite ways, and one that reaches behind the camera.
    x, y = torch.tensor([-9.0, 9, 0]), torch.tensor([-9.0, -9, 9])
    near, far = (torch.stack([x, y, torch.full((3,), z)], -1) for z in (2.0, 5.0))
    behind = torch.tensor([[-9.0, -9, 1], [9, -9, 1], [0, 9, -1]])
    vertices = torch.cat([near, far, behind])
    triangle = torch.tensor([[0, 2, 1], [3, 4, 5], [6, 7, 8]])
    camera = torch.tensor([[10.0, 0, 4], [0, 10, 4], [0, 0, 1]])
    found = depth_ranges(vertices, triangle, camera, (9, 9))
    # Seen in the image, y down, the first turns left: a front.
    assert float(found.front[4, 4]) == pytest.approx(2)
    assert float(found.back[4, 4]) == pytest.approx(5)
    assert float(found.last[4, 4]) == pytest.approx(5)
    nothing = depth_ranges(vertices, triangle[:0], camera, (9, 9))
    assert torch.isinf(nothing.front).all()


def test_depth_ranges_of_a_triangle_that_nearly_touches_the_camera():
    # Two corners project billions of pixels away.
    vertices = torch.tensor([[-1.0, -1, 1e-9], [1, -1, 1e-9], [0, 4, 2]])
    camera = torch.tensor([[10.0, 0, 4], [0, 10, 4], [0, 0, 1]])
    found = depth_ranges(vertices, torch.tensor([[0, 1, 2]]), camera, (9, 9))
    assert torch.isfinite(found.last).any()
    assert float(found.last.max()) <= 2


def test_what_is_behind_the_camera_is_not_seen():
    vertices, triangle = bumpy_scene()
    raster = rasterise(vertices * torch.tensor([1.0, 1.0, -1.0]), triangle, INTRINSICS, SIZE)
    assert (raster.face_id == -1).all()
    assert (raster.depth == 0).all()


def test_a_mesh_outside_the_image_leaves_it_empty():
    vertices, triangle = bumpy_scene()
    raster = rasterise(vertices + torch.tensor([50.0, 0, 0]), triangle, INTRINSICS, SIZE)
    assert raster.face_id.shape == (40, 48)
    assert (raster.face_id == -1).all()


def test_rays_meet_the_nearest_triangle_from_any_side():
    vertices = torch.tensor([[0.0, 0, 1], [1, 0, 1], [0, 1, 1], [0, 0, 2], [1, 0, 2], [0, 1, 2]])
    triangle = torch.tensor([[0, 1, 2], [3, 4, 5]])
    origins = torch.tensor([[0.2, 0.3, 0.0], [0.2, 0.3, 5.0], [0.9, 0.9, 0.0]])
    directions = torch.tensor([[0.0, 0, 3], [0, 0, -0.5], [0, 0, 1]])
    face, weights = cast_rays(vertices, triangle, origins, directions)
    assert face.tolist() == [0, 1, -1]
    np.testing.assert_allclose(weights[:2], [[0.5, 0.2, 0.3]] * 2, atol=1e-6)
    assert (weights[2] == 0).all()


def test_texels_know_their_triangle():
    uv = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    triangle_uv = torch.tensor([[0, 1, 2]])
    face, weights = rasterise_uv(uv, triangle_uv, (4, 8))
    column, row = np.meshgrid(np.arange(4), np.arange(8))
    u, v = (column + 0.5) / 4, (row + 0.5) / 8
    np.testing.assert_array_equal((face >= 0).numpy(), u + v <= 1)
    inside = (face >= 0).numpy()
    np.testing.assert_allclose(
        weights.numpy()[inside], np.stack([1 - u - v, u, v], -1)[inside], atol=1e-6
    )


@pytest.mark.slow
def test_warp_is_silent_and_processes_share_its_kernel_cache(tmp_path):
    code = (
        "import torch; from head_geometry.rasteriser import rasterise;"
        "v = torch.tensor([[0.,0,1],[1,0,1],[0,1,1]]);"
        "r = rasterise(v, torch.tensor([[0,1,2]]), torch.eye(3), (2, 2));"
        "assert r.face_id[0, 0] == 0"
    )
    environment = {"WARP_CACHE_PATH": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in running:
        out, err = process.communicate(timeout=300)
        assert (process.returncode, out, err) == (0, "", "")
