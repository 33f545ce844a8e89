"""Where a generator's picture of a head lies in a frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.nn import functional

from avatar_models.prior.options import prior_options
from avatar_models.triplane.framing import (
    canonical_view,
    frame_view,
    from_canonical,
    front_label,
    label_of_head,
    to_canonical,
)
from avatar_models.triplane.layout import Layout
from avatar_models.triplane.rays import rays_from_label
from head_geometry.camera_conventions import camera_from_eg3d_label
from head_geometry.cameras import project, transform

PUBLISHED = Layout(origin_m=(0.0, 0.02, -0.05))
SIDE = 480


def pivot_m(layout=PUBLISHED):
    return np.array(layout.camera_pivot) / layout.units_per_metre + np.array(layout.origin_m)


def camera(turn_deg, place_m):
    """A head turned by Euler angles, whose pivot is at ``place_m`` in camera axes."""
    matrix = np.eye(4)
    turn = Rotation.from_euler("yxz", turn_deg, degrees=True).as_matrix()
    matrix[:3, :3] = np.diag([1.0, -1, -1]) @ turn
    matrix[:3, 3] = np.array(place_m) - matrix[:3, :3] @ pivot_m()
    return torch.from_numpy(matrix)


def pinhole(focal, x=251.0, y=233.0):
    return torch.tensor([[focal, 0, x], [0, focal, y], [0, 0, 1]], dtype=torch.float64)


def see(points, matrix, intrinsics):
    return project(transform(matrix, points), intrinsics)


def in_frame(view, points_px):
    return points_px @ view.frame_from_picture[:2, :2].T + view.frame_from_picture[:2, 2]


def drawn(view, layout, points):
    """Where a generator draws head points: pixels of its picture."""
    size = (view.picture_side, view.picture_side)
    camera_from_scene, intrinsics = camera_from_eg3d_label(view.label, size)
    scene = (points - points.new_tensor(layout.origin_m)) * layout.units_per_metre
    return see(scene, camera_from_scene, intrinsics)


def head_points(count=400):
    """Points of a ball around the pivot that holds a head with its hair."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return 0.13 * functional.normalize(points, dim=-1) + torch.from_numpy(pivot_m())


def off_axis_deg(place):
    return np.degrees(np.arctan2(np.hypot(*place[:2]), place[2]))


PLACES = [(0.0, 0.0, 1.0), (0.0, 0.0, 0.5), (0.0, 0.0, 2.5), (0.15, -0.1, 1.0), (-0.2, 0.1, 0.6)]


@pytest.mark.parametrize("place", PLACES)
def test_the_pivot_goes_where_the_frame_has_it(place):
    intrinsics = pinhole(1300.0)
    matrix = camera([35, -10, 8], place)
    view = canonical_view(matrix, intrinsics, PUBLISHED)
    pivot = torch.from_numpy(pivot_m())[None]
    middle = torch.full((1, 2), (PUBLISHED.image_side - 1) / 2, dtype=torch.float64)
    torch.testing.assert_close(drawn(view, PUBLISHED, pivot), middle, atol=1e-9, rtol=0)
    torch.testing.assert_close(
        in_frame(view, middle), see(pivot, matrix, intrinsics), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("place", PLACES)
def test_head_points_are_off_by_no_more_than_weak_perspective(place):
    """The bound of each point: other relative depths, and the stretch of a picture away from its middle."""
    focal = 1300.0
    intrinsics, matrix = pinhole(focal), camera([35, -10, 8], place)
    points = head_points()
    view = canonical_view(matrix, intrinsics, PUBLISHED)
    error = in_frame(view, drawn(view, PUBLISHED, points)) - see(points, matrix, intrinsics)

    distance = float(np.linalg.norm(place))
    training = float((view.label[[3, 7, 11]] - points.new_tensor(PUBLISHED.camera_pivot)).norm())
    training /= PUBLISHED.units_per_metre
    offset = transform(matrix, points) - points.new_tensor(place)
    behind = offset @ (points.new_tensor(place) / distance)
    aside = (offset.square().sum(-1) - behind**2).clamp_min(0).sqrt()
    tangent = np.tan(np.radians(off_axis_deg(place)))
    stretch = np.hypot(1, tangent)
    depths = 1 / (distance + behind) - training / (distance * (training + behind))
    slope = aside / (distance + behind)
    away = stretch**2 / (1 - tangent * slope) - stretch
    bound = focal * (stretch * aside * depths.abs() + slope * away)
    assert (error.norm(dim=-1) <= bound + 1e-9).all()
    # The bound says something: the largest error is not far from it.
    assert error.norm(dim=-1).max() >= 0.4 * bound.max() - 1e-9


def test_the_turn_onto_the_axis_does_not_roll():
    """Near the pivot the frame is the picture scaled, stretched away from the principal point, and not turned."""
    place, focal = (-0.2, 0.1, 0.6), 1300.0
    intrinsics, matrix = pinhole(focal), camera([20, 5, -12], place)
    view = canonical_view(matrix, intrinsics, PUBLISHED)
    aside = 1e-5 * torch.eye(3, dtype=torch.float64)
    # Steps at the pivot's distance: in the plane that the generator's camera sees face on.
    world_from_camera = view.label[:16].view(4, 4)[:3, :3]
    points = torch.from_numpy(pivot_m()) + (world_from_camera @ aside[:, :2]).T
    pivot = torch.from_numpy(pivot_m())[None]
    local = torch.stack(
        [
            where(points) - where(pivot)
            for where in (
                lambda p: see(p, matrix, intrinsics),
                lambda p: in_frame(view, drawn(view, PUBLISHED, p)),
            )
        ]
    ).mT
    stretch = local[0] @ torch.linalg.inv(local[1])
    torch.testing.assert_close(stretch, stretch.T, atol=1e-4, rtol=0)
    values, vectors = torch.linalg.eigh(stretch)
    longer = 1 / np.cos(np.radians(off_axis_deg(place)))
    torch.testing.assert_close(values, torch.tensor([1.0, longer]).double(), atol=1e-4, rtol=0)
    outwards = functional.normalize(torch.tensor(place[:2]).double(), dim=0)
    assert abs(float(vectors[:, 1] @ outwards)) == pytest.approx(1, abs=1e-3)


def head_camera(label):
    """A label's camera as a fit would have it: head axes in metres, pixels of a frame."""
    camera_from_scene, intrinsics = camera_from_eg3d_label(label, (SIDE, SIDE))
    units, origin = PUBLISHED.units_per_metre, label.new_tensor(PUBLISHED.origin_m)
    camera_from_head = camera_from_scene.clone()
    camera_from_head[:3, 3] = camera_from_scene[:3, 3] / units - camera_from_scene[:3, :3] @ origin
    return camera_from_head, intrinsics


PINHOLE = (4.2647, 0.0, 0.5, 0.0, 4.2647, 0.5, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (0.7, 0.0), (-0.4, 0.3)])
def test_a_published_camera_has_its_published_label_and_fills_the_frame(yaw, pitch):
    """A label made by hand: on the sphere of 2.7 around the origin, upright, looking at the pivot."""
    place = 2.7 * np.array(
        [np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)]
    )
    forward = np.array(PUBLISHED.camera_pivot) - place
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3] = np.stack([right, np.cross(forward, right), forward, place], 1)
    label = torch.tensor([*matrix.ravel(), *PINHOLE], dtype=torch.float64)
    if (yaw, pitch) == (0.0, 0.0):
        front = [1.0, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 2.7, 0, 0, 0, 1]
        torch.testing.assert_close(label[:16], torch.tensor(front, dtype=torch.float64))
    camera_from_head, intrinsics = head_camera(label)
    view = frame_view(camera_from_head, intrinsics, SIDE, PUBLISHED).resized(SIDE)
    torch.testing.assert_close(view.label, label, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(view.frame_from_picture, torch.eye(3).double(), atol=1e-4, rtol=1e-6)
    # At the training distance weak perspective is the perspective.
    points = head_points()
    found = in_frame(view, drawn(view, PUBLISHED, points))
    assert float((found - see(points, camera_from_head, intrinsics)).abs().max()) < 1e-3


def test_the_label_of_a_published_picture_is_nearly_its_own():
    """The label of FFHQ's first picture, whose axis passes the pivot at .01 units."""
    published = [
        *(0.94228339, 0.03428959, 0.33305603, -0.83679997),
        *(0.03984850, -0.99915707, -0.00987190, 0.01701839),
        *(0.33243677, 0.02257391, -0.94285536, 2.56699750),
        *(0.0, 0.0, 0.0, 1.0),
        *PINHOLE,
    ]
    label = torch.tensor(published, dtype=torch.float64)
    view = frame_view(*head_camera(label), SIDE, PUBLISHED).resized(SIDE)
    assert float((view.label - label).abs().max()) < 0.01
    assert float(view.frame_from_picture[0, 0]) == pytest.approx(1, abs=1e-3)
    assert float(view.frame_from_picture[:2, 2].abs().max()) < 0.01 / 2.5 * 4.2647 * SIDE


def test_an_own_prior_sees_what_the_camera_sees():
    """Any pinhole, skew and all, in single precision."""
    layout = replace(prior_options("tiny").layout, origin_m=(0.01, 0.03, -0.02))
    assert layout.ray_bounds == "box"
    intrinsics = torch.tensor([[900.0, 3, 200], [0, 940, 260], [0, 0, 1]])
    matrix = camera([30, -12, 20], (-0.1, 0.05, 0.7)).float()
    view = frame_view(matrix, intrinsics, SIDE, layout)
    assert view.picture_side == SIDE
    assert torch.equal(view.frame_from_picture, torch.eye(3))
    points = head_points()
    found, expected = drawn(view, layout, points.float()), see(points.float(), matrix, intrinsics)
    assert float((found - expected).abs().max()) < 1e-5 * SIDE
    double = frame_view(matrix.double(), intrinsics.double(), SIDE, layout)
    exact = see(points, matrix.double(), intrinsics.double())
    torch.testing.assert_close(drawn(double, layout, points), exact, atol=1e-5, rtol=0)


def test_the_ray_of_a_pixel_passes_what_the_pixel_shows():
    side, units, origin = 32, 2.5, (0.0, 0.02, 0.01)
    intrinsics = torch.tensor([[80.0, 0, 15.5], [0, 80.0, 15.5], [0, 0, 1]]).double()
    seen_from = camera([20, 0, 0], (0.0, 0.0, 1.0))
    label = label_of_head(seen_from, intrinsics, side, units, origin)
    _, directions = rays_from_label(label[None], side)
    row, column = 13, 20
    # A point of the head on the ray through that pixel.
    ray = torch.linalg.inv(intrinsics) @ torch.tensor([column, row, 1.0]).double()
    point_m = torch.linalg.inv(seen_from) @ torch.cat([0.9 * ray, torch.ones(1)])
    towards = (point_m[:3] - torch.tensor(origin).double()) * units - label[:16].view(4, 4)[:3, 3]
    torch.testing.assert_close(
        directions[0, row * side + column], towards / towards.norm(), atol=1e-9, rtol=0
    )


def test_the_front_label_is_that_of_a_head_looked_at_from_before():
    found = front_label(PUBLISHED).double()
    expected = frame_view(camera([0, 0, 0], (0.0, 0.0, 0.8)), pinhole(900.0), SIDE, PUBLISHED).label
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_a_head_behind_the_camera_is_refused():
    with pytest.raises(ValueError, match="behind the camera"):
        canonical_view(camera([0, 0, 0], (0.0, 0.0, -1.0)), pinhole(1300.0), PUBLISHED)


def smooth_frame():
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / 25
    picture = 0.5 + 0.4 * np.sin(np.stack([rows, columns, 0.6 * (rows + columns)], -1))
    return torch.from_numpy(picture).float()


@pytest.mark.parametrize("place", [(0.0, 0.0, 0.5), (0.02, -0.01, 1.3)])
def test_pictures_come_back_to_their_place(place):
    """A head that is larger and one that is smaller than in the generator's picture."""
    frame = smooth_frame()
    layout = replace(PUBLISHED, image_side=256)
    view = canonical_view(camera([10, 0, 0], place).float(), pinhole(900.0).float(), layout)
    picture = to_canonical(frame, view)
    assert picture.shape == (256, 256, 3)
    back = from_canonical(picture, view, (SIDE, SIDE))
    cover = from_canonical(torch.ones(256, 256, 1), view, (SIDE, SIDE))
    inside = cover[..., 0] > 0.999
    inside[:9], inside[-9:], inside[:, :9], inside[:, -9:] = False, False, False, False
    shown = functional.max_pool2d((~inside)[None].float(), 9, 1, 4)[0] == 0
    assert shown.sum() > 10_000
    error = (back - frame).abs()[shown]
    assert error.max() < 0.02
    # The picture was moved: it is not simply the frame that came back.
    assert float((picture[100:110, 100:110] - frame[100:110, 100:110]).abs().max()) > 0.1


def test_a_smaller_picture_goes_to_the_same_place():
    view = canonical_view(camera([10, 0, 0], (0.0, 0.02, 0.7)), pinhole(900.0), PUBLISHED)
    half = view.resized(PUBLISHED.image_side // 2)
    corners = torch.tensor([[-0.5, -0.5], [511.5, 100.0]]).double()
    torch.testing.assert_close(
        in_frame(half, (corners + 0.5) / 2 - 0.5), in_frame(view, corners), atol=1e-9, rtol=0
    )
    frame = smooth_frame().double()
    small = to_canonical(frame, half)
    large = to_canonical(frame, view)
    pooled = functional.avg_pool2d(large.movedim(-1, 0), 2).movedim(0, -1)
    assert float((small - pooled)[8:-8, 8:-8].abs().max()) < 0.01
    placed = [from_canonical(picture, view, (SIDE, SIDE)) for picture in (small, large)]
    assert float((placed[0] - placed[1])[8:-8, 8:-8].abs().mean()) < 0.005
