"""The own prior: pictures and cameras it learns from, its training, its test, its files."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from toy import toy_head_model

from artifacts.errors import InputError
from artifacts.kinds import HEAD_MODEL, PRIOR_PICTURES
from artifacts.store import write_artifact
from avatar_models import train_prior
from avatar_models.prior import held_out
from avatar_models.prior.decoder import PriorDecoder
from avatar_models.prior.known import Known, count_of_person, importance, largest_movement_m
from avatar_models.prior.options import prior_options
from avatar_models.prior.pictures import PriorPictures
from avatar_models.trainer import Training
from avatar_models.triplane.framing import label_of_head
from avatar_models.triplane.rays import rays_from_label
from avatar_models.triplane.weights import load_generator, read_record
from avatar_models.triplane.windows import Window
from head_geometry.head_model import HeadModel

CPU = torch.device("cpu")
SIDE, PEOPLE, VIEWS = 32, 40, 2
PIVOT = np.array([0.0, 0.02, 0.01])
NAMES = ("hair_r", "hair_g", "hair_b", "expression0", "joint0", "light0")


def camera(turn):
    """OpenCV camera from head, a metre away and turned around the upright axis."""
    sine, cosine = np.sin(turn), np.cos(turn)
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([1.0, -1, -1]) @ [[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]]
    matrix[:3, 3] = np.array([0, 0, 1.0]) - matrix[:3, :3] @ PIVOT
    return matrix


def write_balls(path, first_seed=0, people=PEOPLE):
    """Balls, whose colour is known and whose size is the expression, over black."""
    random = np.random.default_rng(first_seed)
    focal = 2.8 * SIDE
    centre = (SIDE - 1) / 2
    y, x = np.mgrid[:SIDE, :SIDE] - centre
    image, cameras, known = [], [], []
    for _ in range(people):
        values = random.uniform(0, 1, len(NAMES))
        known.append(values)
        for _ in range(VIEWS):
            cameras.append(camera(random.uniform(-1, 1)))
            radius = focal * (0.06 + 0.06 * values[3])
            cover = (x**2 + y**2 < radius**2)[..., None]
            image.append(np.concatenate([cover * (55 + 200 * values[:3]), cover * 255], -1))
    pixels = np.array(image).astype(np.uint8)
    intrinsics = np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1]])
    arrays = {
        "image": pixels[..., :3],
        "alpha": pixels[..., 3],
        "moment": np.repeat(np.arange(people, dtype=np.int32), VIEWS),
        "camera_from_head": np.array(cameras),
        "intrinsics": np.tile(intrinsics, (len(cameras), 1, 1)),
        "person_seed": np.arange(first_seed, first_seed + people, dtype=np.int32),
        "known_name": np.array(NAMES),
        "known": np.array(known, np.float32),
        "pivot": PIVOT,
    }
    write_artifact(path, PRIOR_PICTURES, arrays, {"step": "test"})
    return path


@pytest.fixture(scope="module")
def balls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("balls")
    return [write_balls(folder / "a.h5"), write_balls(folder / "b.h5", PEOPLE)]


@pytest.fixture(scope="module")
def head_model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "toy.h5"
    write_artifact(path, HEAD_MODEL, toy_head_model(), {"step": "test"})
    return path


@pytest.fixture(autouse=True)
def quick_test(monkeypatch):
    """The test that runs along with a training draws few heads."""
    monkeypatch.setattr(held_out, "RANDOM", 6)
    monkeypatch.setattr(held_out, "COMPARED", 4)


def small_options(**changes):
    options = prior_options("tiny")
    layout = replace(
        options.layout,
        w_dim=16,
        plane_side=16,
        plane_channels=4,
        channel_base=256,
        channel_max=16,
        coarse_samples=12,
        fine_samples=8,
        image_side=16,
        neural_side=16,
    )
    return replace(options, layout=layout, patch=16, patches=2, max_minutes=0.0, **changes)


def test_the_ray_of_a_pixel_passes_what_the_pixel_shows():
    units = 2.5
    intrinsics = torch.tensor([[80.0, 0, 15.5], [0, 80.0, 15.5], [0, 0, 1]]).double()
    seen_from = torch.from_numpy(camera(0.4))
    label = label_of_head(seen_from, intrinsics, SIDE, units, tuple(PIVOT))
    row, column = 9, 21
    seen = torch.linalg.inv(intrinsics) @ torch.tensor([column, row, 1.0]).double()
    camera_from_head = seen_from[:3, :3]
    point_m = camera_from_head.T @ (0.7 * seen - seen_from[:3, 3])
    pixel = Window(1, row, column, 1).label(label, SIDE)
    origin, direction = rays_from_label(pixel[None], 1)
    towards = (point_m - torch.from_numpy(PIVOT)) * units - origin[0]
    torch.testing.assert_close(direction[0, 0], towards / towards.norm(), atol=1e-9, rtol=0)


def test_a_window_sees_its_part_of_the_picture():
    intrinsics = torch.tensor([[80.0, 0, 15.5], [0, 80.0, 15.5], [0, 0, 1]]).double()
    label = label_of_head(torch.from_numpy(camera(0.4)), intrinsics, SIDE, 2.5, tuple(PIVOT))
    _, whole = rays_from_label(label[None], 8)
    window = Window(SIDE // 8, 4, 2, 4)
    _, part = rays_from_label(window.label(label, SIDE)[None], 4)
    torch.testing.assert_close(part.view(4, 4, 3), whole.view(8, 8, 3)[4:, 2:6])


def test_patches_are_parts_of_their_pictures_at_three_sizes(balls):
    data = PriorPictures(balls, 2.5, CPU)
    generator = torch.Generator().manual_seed(0)
    pictures = data.views(3)
    widths = set()
    for _ in range(30):
        patches = data.patches(pictures, 8, generator)
        for index, picture in enumerate(pictures):
            whole = data.whole(picture[None], SIDE)
            focal, wanted = (float(label[16]) for label in (patches.label[index], whole.label[0]))
            level = round(SIDE / (8 * focal / wanted))
            widths.add(level)
            coarse = data.whole(picture[None], SIDE // level)
            shift = (whole.label[0, 18] - patches.label[index, 18] * wanted / focal) * SIDE / level
            column = round(float(shift))
            columns = coarse.alpha[0, 0].unfold(1, 8, 1)[:, column]
            assert any(
                torch.allclose(columns[row : row + 8], patches.alpha[index, 0], atol=1e-6)
                for row in range(SIDE // level - 7)
            )
    assert widths == {1, 2, 4}


def test_files_that_do_not_belong_together_are_refused(balls, tmp_path):
    few = write_balls(tmp_path / "few.h5", people=5)
    with pytest.raises(InputError, match="at least 20"):
        PriorPictures([few], 2.5, CPU)
    from artifacts.store import read_artifact

    arrays = read_artifact(few, PRIOR_PICTURES) | {"pivot": PIVOT + 1}
    write_artifact(tmp_path / "other.h5", PRIOR_PICTURES, arrays, {"step": "test"})
    with pytest.raises(InputError, match="pivot"):
        PriorPictures([*balls, tmp_path / "other.h5"], 2.5, CPU)


def test_training_learns_what_is_known_of_people_it_has_not_seen(balls, head_model_file):
    options = small_options(steps=120, learning_rate=1e-2)
    data = PriorPictures(balls, options.layout.units_per_metre, CPU)
    torch.manual_seed(0)
    model = PriorDecoder(options, data, HeadModel.load(head_model_file))
    before, _ = model.test()
    training = Training(model, options, data, seed=0)
    for _ in range(options.steps):
        training.take_step()
    after, _ = model.test()
    assert after > before + 3
    known = data.known[:4]
    latents = model.latents(known)
    model.finish()
    assert model.generator.backbone.mapping.w_avg.abs().sum() > 0
    # From now on z is in standard deviations, and the latents are what they were.
    torch.testing.assert_close(model.latents(known), latents)
    z = (known - model.known_mean) / model.known_std
    made = model.generator.backbone.mapping(z, z.new_zeros(4, 25))
    torch.testing.assert_close(made, latents)
    assert model.generator.layout.person_z == 3


def test_what_random_heads_are_made_of(balls):
    data = PriorPictures(balls, 2.5, CPU)
    found = held_out.recombined(data, 50, torch.Generator().manual_seed(0))
    known = data.known[torch.from_numpy(data.train_moments)]
    groups = ([0, 1, 2], [3, 4], [5])
    sources = [
        (known[:, group][None] == found[:, group][:, None]).all(-1).int().argmax(1)
        for group in groups
    ]
    for group, source in zip(groups, sources, strict=True):
        assert torch.equal(known[source][:, group], found[:, group])
    assert not torch.equal(sources[0], sources[1])


def test_large_movements_matter_more_than_small_ones(head_model_file):
    model = HeadModel.load(head_model_file)
    names = ("identity0", "identity1", "hair_r", "expression1", "light0")
    found = largest_movement_m(model, names)
    for place, basis in (
        (0, model.identity_basis[0] * model.identity_std[0]),
        (3, model.expression_basis[1]),
    ):
        assert found[place] == basis.norm(dim=-1).max()
    assert found[[2, 4]].isnan().all()
    with pytest.raises(InputError, match=r"identity900.*drawn with"):
        largest_movement_m(model, ("identity900",))
    scale = importance(torch.tensor([0.03, 0.003, torch.nan]))
    assert scale.square().mean() == pytest.approx(1)
    assert scale[0] == pytest.approx(10 * scale[1])
    assert scale[2] == pytest.approx(scale[1])


def test_person_comes_before_moment():
    assert count_of_person(("identity0", "hair_r", "expression0", "light3")) == 2
    with pytest.raises(ValueError, match="before"):
        count_of_person(("expression0", "identity0"))


def test_what_numbers_mean_is_kept_and_damage_is_refused():
    known = Known(
        ("identity0", "expression0", "joint0", "joint1", "joint2", "light0"),
        (0.0, 0.1, 0.0, 0.0, 0.0, 1.0),
        (1.0, 0.2, 0.5, 0.5, 0.5, 2.0),
        ("jawOpen",),
        ("neck",),
    )
    assert Known.from_json(known.to_json(), "p") == known
    code = torch.tensor([[0.5, 0.0, 0.25, 9.0]])
    # Shapes that the prior does not know are left out, those that the fit does not know are 0.
    for identity in (torch.tensor([-3.0, 7.0]), torch.tensor([-3.0])):
        z = known.z_of_codes(identity, code)
        torch.testing.assert_close(z, torch.tensor([[-3.0, 2.0, 0.0, 0.5, 4.0, 0.0]]))
    z = known.z_of_codes(torch.zeros(0), code)
    torch.testing.assert_close(z, torch.tensor([[0.0, 2.0, 0.0, 0.5, 4.0, 0.0]]))
    for damaged in ("{", "[]", '{"name": ["a"]}', known.to_json().replace('["jawOpen"]', "[]")):
        with pytest.raises(InputError, match=r"prior.safetensors: .* train it again"):
            Known.from_json(damaged, "prior.safetensors")


def test_frechet_distance_of_normal_distributions():
    random = np.random.default_rng(0)
    one = random.normal(0, 1, (4000, 3))
    assert held_out.frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    other = random.normal([2, 0, 0], [1, 2, 1], (4000, 3))
    assert held_out.frechet_distance(one, other) == pytest.approx(4 + 1, rel=0.1)


def test_the_step_writes_weights_preview_and_curve_and_goes_on_after_a_stop(
    balls, head_model_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(train_prior, "prior_options", lambda size: small_options(steps=6))

    def run(folder, **changes):
        options = train_prior.Options(
            pictures=tuple(balls),
            head_model=head_model_file,
            out=folder / "tiny.safetensors",
            preview=folder / "tiny.png",
            curve=folder / "tiny.csv",
            device="cpu",
            max_minutes=0.0,
            **changes,
        )
        train_prior.main(options)
        return options

    whole = run(tmp_path / "whole")
    generator = load_generator(whole.out)
    assert generator.layout.z_dim == len(NAMES)
    assert generator.layout.origin_m == tuple(PIVOT)
    assert "--seed 0" in read_record(whole.out)["made_by"]
    with Image.open(whole.preview) as preview:
        assert preview.size == (8 * 128, 6 * 128)
    rows = list(csv.DictReader(whole.curve.read_text().splitlines()))
    assert len(rows) == 6
    assert all(float(row["psnr"]) > 3 for row in rows)
    assert not list((tmp_path / "whole").glob("*.pt"))

    taken = []
    step = Training.take_step

    def stopped(self):
        if self.step == 3 and not taken:
            taken.append(1)
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Training, "take_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", checkpoint_every_s=0.0)
    parts = run(tmp_path / "parts", checkpoint_every_s=0.0)
    found, expected = load_generator(parts.out).state_dict(), generator.state_dict()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_an_unknown_size_is_refused():
    with pytest.raises(InputError, match="huge"):
        prior_options("huge")
