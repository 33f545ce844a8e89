"""MonoAvatar's parts against brute force, direct formulas and the published sizes."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from avatar_models.monoavatar.config import (
    MonoAvatarCConfig,
    MonoAvatarConfig,
    MonoAvatarDConfig,
    MonoAvatarStaticConfig,
)
from avatar_models.monoavatar.field import (
    DENSITY_SCALE,
    AnchoredField,
    FieldSizes,
    anchor,
)
from avatar_models.monoavatar.model import field_sizes, make_predictor
from avatar_models.monoavatar.neighbours import build_tree, nearest_vertices, tree_order
from avatar_models.monoavatar.occupancy import VertexOccupancy
from avatar_models.monoavatar.predictors import DisplacementPredictor
from avatar_models.monoavatar.sampling import ROUND_NUMBER, Queries, keep_open
from avatar_models.monoavatar.shell import (
    BASE_THICKNESS_M,
    Shell,
    anchor_offsets,
    reach_of_pixels,
    spread_thickness,
)
from avatar_models.monoavatar.uv import UvMap
from avatar_models.monoavatar.view_range import ViewRange
from avatar_models.monoavatar.warp import (
    BANDS,
    ErrorCorrectionWarp,
    elastic_loss,
    magnitude_loss,
    warp_jacobian,
)
from avatar_models.rendering.encoding import positional_encoding
from head_geometry.head_model import HeadModel
from head_geometry.rotations import matrix_from_axis_angle


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def head_like(n, g):
    shape = torch.tensor([0.08, 0.12, 0.1])
    return nn.functional.normalize(torch.randn(n, 3, generator=g), dim=-1) * shape


# --- neighbours ----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 4, 8])
@pytest.mark.parametrize("spread_m", [0.003, 0.02, 0.3])
def test_nearest_vertices_equal_brute_force(k, spread_m):
    g = generator()
    vertices = head_like(900, g)
    queries = vertices[:200] + spread_m * torch.randn(200, 3, generator=g)
    found = nearest_vertices(build_tree(vertices), queries, k)
    distance = torch.cdist(queries.double(), vertices.double())
    expected = distance.topk(k, largest=False).values
    got = distance.gather(1, found.long())
    assert torch.allclose(got, expected, atol=1e-6)
    assert len({tuple(sorted(row)) for row in found.tolist()}) > 1
    assert all(len(set(row)) == k for row in found.tolist())


@pytest.mark.parametrize("n", [8, 31, 1000])
def test_nearest_vertices_stay_exact_in_the_order_of_another_pose(n):
    g = generator()
    neutral = head_like(n, g)
    posed = neutral + 0.02 * torch.randn(n, 3, generator=g)
    order = tree_order(neutral)
    assert sorted(order.tolist()) == list(range(n))
    tree = build_tree(posed, order)
    queries = head_like(300, g)
    found = nearest_vertices(tree, queries, 4)
    distance = torch.cdist(queries.double(), posed.double())
    expected = distance.topk(4, largest=False).values
    assert torch.allclose(distance.gather(1, found.long()), expected, atol=1e-6)
    # A split by place, not by chance: halves of the head hardly share space.
    halves = build_tree(neutral, order)
    if halves.n_levels:
        overlap = (halves.high[2] - halves.low[3]).minimum(halves.high[3] - halves.low[2]).amin()
        assert overlap <= 0


def test_nearest_vertices_of_a_scan():
    g = generator()
    vertices = head_like(200_000, g)
    queries = vertices[-50:] + 1e-3 * torch.randn(50, 3, generator=g)
    found = nearest_vertices(build_tree(vertices), queries, 4)
    distance = torch.cdist(queries.double(), vertices.double())
    expected = distance.topk(4, largest=False).values
    assert torch.allclose(distance.gather(1, found.long()), expected, atol=1e-6)


def test_nearest_vertices_of_few_and_of_none():
    vertices = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]])
    tree = build_tree(vertices)
    assert nearest_vertices(tree, torch.tensor([[5.0, 0.1, 0]]), 3).tolist() == [[1, 0, 2]]
    assert nearest_vertices(tree, torch.zeros(0, 3), 2).shape == (0, 2)
    with pytest.raises(ValueError, match="k must be"):
        nearest_vertices(tree, torch.zeros(1, 3), 4)


# --- field ---------------------------------------------------------------------------------------


def direct_field(field, features, vertices, queries, nearest, directions):
    """The published formula, one query and one neighbour at a time, nothing rearranged."""
    sizes = field.sizes
    densities, colours = [], []
    for query, row, direction in zip(queries, nearest, directions, strict=True):
        outputs, inverse = [], []
        for j in row.tolist():
            offset = vertices[j] - query
            code = positional_encoding(offset / sizes.position_unit_m, sizes.position_bands)
            joint = torch.cat([code, features[j]])
            weight = torch.cat([field.position_in.weight, field.feature_in.weight], 1)
            hidden = torch.relu(weight @ joint + field.position_in.bias)
            hidden = torch.relu(field.neighbour_hidden(hidden))
            outputs.append(field.neighbour_out(hidden))
            inverse.append(1 / offset.norm())
        share = torch.stack(inverse) / torch.stack(inverse).sum()
        trunk = field.trunk((share[:, None] * torch.stack(outputs)).sum(0))
        view = positional_encoding(direction, sizes.view_bands)
        weight = torch.cat([field.colour_in.weight, field.view_in.weight], 1)
        shade = torch.relu(weight @ torch.cat([trunk, view]) + field.colour_in.bias)
        densities.append(DENSITY_SCALE * nn.functional.softplus(field.density_out(trunk)[0] - 1))
        colours.append(torch.sigmoid(field.colour_out(shade)))
    return torch.stack(densities), torch.stack(colours)


def test_rearranged_field_equals_direct_formula():
    g = generator(1)
    torch.manual_seed(1)
    field = AnchoredField(FieldSizes(feature=8, width=16, colour_width=8)).double()
    vertices = head_like(60, g).double()
    queries = vertices[:12] + 0.01 * torch.randn(12, 3, generator=g, dtype=torch.float64)
    nearest = torch.cdist(queries, vertices).topk(4, largest=False).indices
    features = torch.randn(60, 8, generator=g, dtype=torch.float64)
    directions = nn.functional.normalize(torch.randn(12, 3, generator=g).double(), dim=-1)
    view, ray = field.encode_view(directions), torch.arange(12)
    anchors = anchor(queries, vertices, nearest)
    density, colour = field(field.project(features), anchors, view, ray)
    expected = direct_field(field, features, vertices, queries, nearest, directions)
    assert torch.allclose(density, expected[0], rtol=1e-10)
    assert torch.allclose(colour, expected[1], rtol=1e-10)


def test_weights_are_inverse_distances_and_survive_a_query_on_a_vertex():
    vertices = torch.tensor([[0.01, 0, 0], [0, 0.03, 0]])
    nearest = torch.tensor([[0, 1]])
    weight = anchor(torch.zeros(1, 3), vertices, nearest).weight
    assert weight[:, 0].tolist() == pytest.approx([0.75, 0.25])
    on_it = anchor(vertices[:1], vertices, nearest).weight
    assert torch.isfinite(on_it).all()
    assert float(on_it[0, 0]) > 0.99


# --- published sizes -----------------------------------------------------------------------------


def test_paper_preset_has_the_published_numbers():
    paper = MonoAvatarDConfig.preset("paper")
    assert paper.steps == 400_000
    assert paper.rays == 1024
    assert (paper.lr, paper.lr_end, paper.warp_lr, paper.warp_lr_end) == (1e-3, 1e-4, 1e-4, 1e-5)
    assert (paper.feature_size, paper.neighbours) == (64, 4)
    assert (paper.width, paper.coarse_width, paper.colour_width) == (128, 128, 64)
    assert (paper.position_bands, paper.view_bands) == (10, 4)
    assert paper.uv_size == 256
    assert paper.channels == (8, 16, 32, 64, 128, 256)
    assert paper.warp
    assert paper.warp_start * 400_000 == 5_000
    assert paper.warp_bands_end * 400_000 == 80_000
    assert paper.elastic_late * 400_000 == 155_000
    assert (paper.elastic_weight, paper.elastic_weight_late) == (1e-4, 1e-5)
    assert paper.magnitude_weight == 1e-2
    assert not paper.vertex_feature
    assert BANDS == 6


def test_paper_field_has_the_published_layers():
    field = AnchoredField(field_sizes(MonoAvatarConfig(), 128))
    assert field.position_in.weight.shape == (128, 3 + 3 * 2 * 10)
    assert field.feature_in.weight.shape == (128, 64)
    assert field.neighbour_hidden.weight.shape == (128, 128)
    assert field.neighbour_out.weight.shape == (128, 128)
    trunk = [layer.weight.shape for layer in field.trunk if isinstance(layer, nn.Linear)]
    assert trunk == [(128, 128)] * 3
    assert field.density_out.weight.shape == (1, 128)
    assert field.colour_in.weight.shape == (64, 128)
    assert field.view_in.weight.shape == (64, 3 + 3 * 2 * 4)
    assert field.colour_out.weight.shape == (3, 64)


def test_paper_unet_shapes_level_by_level():
    predictor = make_predictor(MonoAvatarDConfig.preset("paper"), 10, 60)
    assert isinstance(predictor, DisplacementPredictor)
    sizes = []
    for block in predictor.encoder:
        block.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape[1:])))
    for up in predictor.decoder.up:
        assert isinstance(up, nn.ConvTranspose2d)
        up.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape[1:])))
    with torch.inference_mode():
        features = predictor(torch.zeros(1, 10, 3), torch.zeros(1, 60))
    down = [(8 * 2**level, 256 // 2**level, 256 // 2**level) for level in range(6)]
    assert sizes == down + down[-2::-1]
    assert features.shape == (1, 10, 64)


@pytest.mark.parametrize("config", [MonoAvatarDConfig, MonoAvatarCConfig, MonoAvatarStaticConfig])
@pytest.mark.parametrize("preset", ["tiny", "fast"])
def test_predictors_give_one_feature_per_vertex(config, preset):
    options = replace(config.preset(preset), uv_size=64)
    predictor = make_predictor(options, 20, 30)
    found = predictor(torch.zeros(2, 20, 3), torch.zeros(2, 30))
    assert found.shape == (2, 20, options.feature_size)


# --- UV ------------------------------------------------------------------------------------------


def test_uv_round_trip_returns_vertex_values(toy):
    model = HeadModel.load(toy.head_model)
    uv = UvMap(256, len(model.template))
    uv.fill(model)
    values = torch.stack([model.template[:, 1], torch.ones(len(model.template))], -1)
    image = uv.rasterise(values[None])
    back = uv.sample(image)[0]
    inner = back[:, 1] > 0.999  # no uncovered pixel among the four around
    assert float(inner.float().mean()) > 0.5
    # A value varies within a pixel and where a seam cuts it.
    assert float((back[inner, 0] - values[inner, 0]).abs().median()) < 1e-3
    assert float(image[0, 1].amax()) == pytest.approx(1, abs=1e-5)
    assert float(image[0, 1].amin()) == 0


# --- warp ----------------------------------------------------------------------------------------


def test_warp_starts_as_the_identity():
    warp = ErrorCorrectionWarp(3, 8, 0.1)
    queries = 0.1 * torch.randn(50, 3, generator=generator())
    warped = warp(queries, torch.zeros(50, dtype=torch.long), 6.0).detach()
    assert float((warped - queries).abs().max()) < 1e-5


def test_warp_is_the_published_motion():
    warp = ErrorCorrectionWarp(1, 4, 1.0)
    axis = torch.tensor([0.0, 0.0, math.pi / 4])  # half the axis-angle of a quarter turn
    for name, value in (
        ("log_quaternion", axis),
        ("centre", torch.tensor([1.0, 0, 0])),
        ("translation", torch.tensor([0.0, 0, 2.0])),
    ):
        last = warp.branches[name][-1]
        nn.init.zeros_(last.weight)
        last.bias.data.copy_(value)
    found = warp(torch.zeros(1, 3), torch.zeros(1, dtype=torch.long), 6.0)
    # R (0 + c) - c + t with c = x, R: x -> y.
    assert found[0].tolist() == pytest.approx([-1, 1, 2], abs=1e-5)


def test_elastic_loss_of_rigid_and_stretching_motions():
    angle = 0.7
    rotation = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    )
    assert float(elastic_loss(rotation[None])) < 1e-10
    stretch = torch.diag(torch.tensor([2.0, 1, 1]))
    assert float(elastic_loss(stretch[None])) == pytest.approx(math.log(2) ** 2, rel=1e-5)


def test_jacobian_equals_finite_differences_and_trains():
    torch.manual_seed(0)
    warp = ErrorCorrectionWarp(2, 4, 0.1, width=16).double()
    for branch in warp.branches.values():
        nn.init.normal_(branch[-1].weight, std=0.3)
    queries = 0.1 * torch.randn(4, 3, generator=generator(), dtype=torch.float64)
    frame = torch.tensor([0, 1, 0, 1])
    jacobian = warp_jacobian(warp, queries, frame, 2.0)
    for axis in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[axis] = 1e-5
        slope = (warp(queries + step, frame, 2.0) - warp(queries - step, frame, 2.0)) / 2e-5
        assert torch.allclose(jacobian[:, :, axis], slope, atol=1e-5)
    elastic_loss(jacobian).backward()
    assert warp.code.weight.grad is not None
    assert float(warp.code.weight.grad.abs().max()) > 0


def test_magnitude_is_the_squared_length():
    queries = torch.zeros(2, 3)
    warped = torch.tensor([[3.0, 4, 0], [0, 0, 0]])
    assert float(magnitude_loss(queries, warped)) == 12.5


# --- range of views ------------------------------------------------------------------------------


def view_fan(n, yaw_deg, pitch_deg):
    angles = torch.zeros(n, 3)
    angles[:, 0] = pitch_deg * torch.linspace(-1, 1, n)[torch.randperm(n, generator=generator())]
    angles[:, 1] = yaw_deg * torch.linspace(-1, 1, n)
    towards = torch.tensor([0.0, 0.0, -1.0])
    return matrix_from_axis_angle(torch.deg2rad(angles)) @ towards


def test_views_inside_the_range_stay_and_those_beyond_move_to_its_rim():
    seen = view_fan(400, 30.0, 10.0)
    views = ViewRange()
    views.enclose(seen)
    moved = views(seen)
    assert torch.allclose(moved.norm(dim=-1), torch.ones(400), atol=1e-5)
    stays = (moved - seen).abs().amax(-1) < 1e-5
    assert 0.93 <= float(stays.float().mean()) <= 0.97
    far = view_fan(3, 80.0, 0.0)[[0, 2]]
    angle = torch.rad2deg(torch.acos(views(far) @ torch.tensor([0.0, 0, -1])))
    # The same side as before, as far out as training saw, and not further however far it turns.
    assert (torch.sign(views(far)[:, 0]) == torch.sign(far[:, 0])).all()
    assert ((angle > 25) & (angle < 36)).all()
    assert torch.allclose(views(view_fan(3, 120.0, 0.0)[[0, 2]]), views(far), atol=1e-3)


def test_views_of_a_still_head_leave_the_rays_of_one_picture_apart():
    views = ViewRange()
    views.enclose(torch.tensor([[0.0, 0, -1]]).expand(5, 3))
    found = views(view_fan(5, 20.0, 0.0))
    assert torch.isfinite(found).all()
    assert float((found - torch.tensor([0.0, 0, -1])).norm(dim=-1).max()) < 0.01


# --- shell and occupancy -------------------------------------------------------------------------


def test_reach_of_pixels_finds_the_nearest_vertex():
    vertices = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]])
    origins = torch.tensor([[0.13, 0, -1.0]])
    directions = torch.tensor([[0.0, 0, 1.0]])
    distance, vertex = reach_of_pixels(vertices, origins, directions, n_samples=201)
    assert float(distance) == pytest.approx(0.03, abs=1e-3)
    assert vertex.tolist() == [1]


def test_thickness_spreads_and_fades():
    x = torch.linspace(0, 0.1, 101)
    vertices = torch.stack([x, torch.zeros(101), torch.zeros(101)], -1)
    wanted = torch.zeros(101)
    wanted[50] = 0.04
    found = spread_thickness(vertices, wanted)
    assert float(found[50]) >= 0.036
    assert float(found[0]) == pytest.approx(BASE_THICKNESS_M, abs=5e-4)
    assert (found[25:50].diff() >= -1e-6).all()


def test_anchors_follow_the_hair_and_stay_on_bare_skin():
    g = generator()
    vertices = head_like(600, g)
    shell = Shell(200, 600)
    shell.triangle.copy_(torch.arange(600).view(200, 3))
    shell.is_outer.fill_(True)
    assert anchor_offsets(vertices, shell).abs().max() == 0
    is_hair = vertices[:, 1] > 0.03
    shell.thickness_m[is_hair] = 0.06
    # Ten vertices that ask for less than those around them, as an ear in long hair does.
    low = torch.nonzero(vertices[:, 1] > 0.08)[:10, 0]
    shell.thickness_m[low] = BASE_THICKNESS_M
    offset = anchor_offsets(vertices, shell)
    lift = torch.linalg.vector_norm(offset, dim=-1)
    assert (lift[~is_hair] == 0).all()
    assert (lift[low] == 0).all()
    assert (lift <= 0.05).all()
    assert float(lift[is_hair].max()) > 0.03
    # Outwards: the head gets larger.
    grown = torch.linalg.vector_norm(vertices + offset, dim=-1)
    radius = torch.linalg.vector_norm(vertices, dim=-1)
    assert (grown[is_hair] - radius[is_hair] >= 0.9 * lift[is_hair]).all()


def test_occupancy_opens_what_was_seen_and_its_surroundings():
    occupancy = VertexOccupancy(5, 4, 1)
    occupancy.around.copy_(torch.arange(5)[:, None])
    thickness = torch.full((5,), 0.01)
    # Bins are 6.25 mm thick here, from 15 mm inside to 10 mm outside.
    bins = occupancy.bins(torch.tensor([-0.014, -0.001, 0.5]), torch.tensor([0, 1, 2]), thickness)
    assert bins.tolist() == [0, 6, 11]
    occupancy.record(bins[:1], torch.tensor([0.5]))
    assert occupancy.open_bins()[0].tolist() == [True, True, False, False]
    assert not occupancy.open_bins()[1:].any()
    for _ in range(100):
        occupancy.record(bins[1:2], torch.tensor([0.0]))
    assert occupancy.open_bins()[0, 0]
    for _ in range(100):
        occupancy.record(bins[:1], torch.tensor([0.0]))
    assert not occupancy.open_bins().any()


def test_open_queries_are_kept_and_their_number_is_made_round():
    n = 3 * ROUND_NUMBER
    slot = torch.arange(n)
    queries = Queries(slot, torch.zeros(n, 3), torch.zeros(n, 1).long(), slot % 7, torch.zeros(n))
    is_open = torch.tensor([True, False, False, False, False, False, True])
    kept = keep_open(queries, is_open, None).slot
    wanted = slot[is_open[slot % 7]]
    assert torch.equal(kept[: len(wanted)], wanted)
    assert len(kept) == ROUND_NUMBER
    assert len(kept.unique()) == len(kept)
