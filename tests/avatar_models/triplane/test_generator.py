"""The tri-plane generator against reference numbers of the published one, and against closed forms."""

import ast

import numpy as np
import pytest
import torch
from small_layout import TINY

from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.layers import ModulatedConvolution, double_size
from avatar_models.triplane.layout import Layout
from avatar_models.triplane.strips import smoothing_filter
from avatar_models.triplane.volume import PlaneTable
from avatar_models.triplane.weights import build_generator

LABEL = torch.tensor(
    [1.0, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 2.7, 0, 0, 0, 1, 4.26, 0, 0.5, 0, 4.26, 0.5, 0, 0, 1]
)[None]


def tiny(**changes):
    from dataclasses import replace

    torch.manual_seed(0)
    return TriPlaneGenerator(replace(TINY, **changes)).requires_grad_(False)


def relative(found, reference):
    reference = torch.from_numpy(reference).double()
    return float((found.double() - reference).norm() / reference.norm())


@pytest.fixture(params=["hybrid8xdc_512", "hybrid2x_128_label_off"])
def published(request, shared_fixtures):
    numbers = np.load(shared_fixtures / "eg3d" / f"{request.param}.npz")
    meta = ast.literal_eval(str(numbers["meta"]))
    layout = Layout(
        channel_base=meta["channel_base"],
        channel_max=meta["channel_max"],
        neural_side=meta["neural_rendering_resolution"],
        image_side=meta["img_resolution"],
        superresolution=meta["superresolution"].lower().removeprefix("superresolution"),
        label_off=meta["rendering"]["c_gen_conditioning_zero"],
    )
    state = {
        name.removeprefix("state/"): torch.from_numpy(numbers[name].astype(np.float32))
        for name in numbers.files
        if name.startswith("state/")
    }
    return numbers, meta, build_generator(layout, state, request.param)


def test_every_stage_is_that_of_the_published_generator(published):
    numbers, meta, generator = published
    given = {name: torch.from_numpy(numbers[name]) for name in ("z", "c", "ws_plus", "points")}
    latents = generator.backbone.mapping(given["z"], given["c"], meta["truncation_psi"])
    planes = generator.planes(given["ws_plus"])
    made = generator.render(planes, given["ws_plus"], given["c"])
    decoded = [
        generator.renderer().decode(PlaneTable.of(own), points)
        for own, points in zip(planes, given["points"], strict=True)
    ]
    found = {
        "ws": latents,
        "planes": planes.flatten(1, 2)[:, ::8, ::4, ::4],
        "image_raw": made.rendered.features[:, :3],
        "image_depth": made.rendered.depth,
        "image": made.image[:, :, ::4, ::4],
        "sample_sigma": torch.stack([density for density, _ in decoded])[..., None],
        "sample_rgb": torch.stack([colour for _, colour in decoded]),
    }
    errors = {name: relative(value, numbers[name]) for name, value in found.items()}
    assert max(errors.values()) < 1e-5, errors


def test_one_sample_of_a_batch_is_rendered_as_it_is_alone():
    generator = tiny()
    latents = torch.randn(3, TINY.n_latents, TINY.w_dim)
    label = LABEL.repeat(3, 1)
    together = generator(latents, label).image
    alone = torch.cat(
        [generator(own[None], seen[None]).image for own, seen in zip(latents, label, strict=True)]
    )
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=0)


def test_modulation_is_that_of_the_weights():
    torch.manual_seed(0)
    layer = ModulatedConvolution(3, 4, 5, 8)
    image, latent = torch.randn(2, 3, 8, 8), torch.randn(2, 5)
    style = layer.affine(latent)
    for own, scales, found in zip(image, style, layer(image, latent, "none"), strict=True):
        weight = layer.weight * scales[:, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected = torch.nn.functional.conv2d(own[None], weight, padding=1)[0]
        expected = torch.nn.functional.leaky_relu(expected, 0.2) * 2**0.5
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_filter_is_1331():
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    image = torch.randn(1, 1, 9, 7)
    expected = torch.nn.functional.conv2d(image, (line[:, None] * line)[None, None])
    torch.testing.assert_close(smoothing_filter(image), expected)


def test_doubling_weighs_neighbours_by_a_quarter():
    found = double_size(torch.tensor([[[[4.0, 8.0]]]]))[0, 0]
    # Each row has a zero row on one side, so it keeps three quarters.
    row = torch.tensor([3.0, 5.0, 7.0, 6.0]) * 0.75
    torch.testing.assert_close(found, torch.stack([row, row]))


@pytest.mark.parametrize(("axes", "third"), [("published", (2, 0)), ("orthogonal", (2, 1))])
def test_a_plane_is_looked_up_at_its_two_axes(axes, third):
    columns = (torch.arange(4) + 0.5) / 4 - 0.5
    ramp = columns.expand(4, 4)
    for plane, (column, row) in enumerate(((0, 1), (0, 2), third)):
        planes = torch.zeros(3, 2, 4, 4)
        planes[plane, 0], planes[plane, 1] = ramp, ramp.T
        points = torch.rand(10, 3) * 0.7 - 0.35
        found = PlaneTable.of(planes).look_up(points, 1.0, axes) * 3
        torch.testing.assert_close(found, points[:, [column, row]], atol=1e-6, rtol=1e-5)


def test_outside_of_the_box_there_are_no_features():
    table = PlaneTable.of(torch.ones(3, 2, 4, 4))
    for far in (9.0, -9.0, 0.6251, -0.6251):
        points = torch.tensor([[far, far, far]])
        assert not table.look_up(points, 1.0, "published").any()


def test_a_white_background_fills_what_the_volume_leaves_open():
    black, white = (
        tiny(white_back=back)(torch.zeros(1, TINY.n_latents, 8), LABEL) for back in (False, True)
    )
    opening = 2 * (1 - black.rendered.opacity)
    torch.testing.assert_close(white.rendered.features, black.rendered.features + opening)


def test_the_label_counts_as_far_as_the_layout_says():
    z, other = torch.randn(1, 8), LABEL * 2
    for changes, same in (({}, False), ({"label_off": True}, True), ({"label_scale": 0.5}, False)):
        mapping = tiny(**changes).backbone.mapping
        mapping.embed.bias.data.fill_(0.3)
        assert torch.equal(mapping(z, LABEL), mapping(z, other)) == same
    half, whole = tiny(label_scale=0.5).backbone.mapping, tiny().backbone.mapping
    assert torch.equal(half(z, other), whole(z, LABEL))


@pytest.mark.parametrize(
    ("name", "side"), [("hybrid2x", 128), ("hybrid4x", 256), ("hybrid8x", 512), ("hybrid8xdc", 512)]
)
def test_every_published_superresolution_has_its_size(name, side):
    generator = tiny(superresolution=name, image_side=side)
    made = generator(torch.randn(1, TINY.n_latents, 8), LABEL)
    assert made.image.shape == (1, 3, side, side)


def test_samples_at_random_places_scatter_around_the_picture_of_fixed_ones():
    generator = tiny(coarse_samples=48, fine_samples=48)
    latents = torch.randn(1, TINY.n_latents, 8)
    rng = torch.Generator().manual_seed(1)
    fixed = generator(latents, LABEL).image
    random = torch.stack([generator(latents, LABEL, generator=rng).image for _ in range(8)])
    assert not torch.equal(random[0], random[1])
    torch.testing.assert_close(random.mean(0), fixed, atol=0.02, rtol=0)


def test_gradients_reach_every_parameter_of_the_backbone_and_decoder():
    generator = tiny().requires_grad_(True)
    z = torch.randn(2, 8)
    label = LABEL.repeat(2, 1)
    latents = generator.backbone.mapping(z, label)
    generator(latents, label).image.square().sum().backward()
    without = [
        name
        for name, value in generator.named_parameters()
        if value.grad is None or not value.grad.any()
    ]
    # The last toRGB's latent row is all there is without super-resolution.
    assert without == []
