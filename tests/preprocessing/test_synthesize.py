"""The synthetic subject: what is drawn, and that the truth says what is seen."""

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch

from artifacts.errors import InputError
from artifacts.kinds import HEAD_MODEL, TRUTH
from artifacts.store import read_artifact, write_artifact
from head_geometry.cameras import project, transform
from head_geometry.spherical_harmonics import irradiance_basis
from media.video import decode_audio, decode_frames, probe
from preprocessing.head_model import make_model
from preprocessing.head_models.build import build_head_arrays
from preprocessing.synthesis.bust import neck_edge
from preprocessing.synthesis.light import light_reach, make_light
from preprocessing.synthesis.motion import BLINK_CLOSE_S, Motion, blink_amount
from preprocessing.synthesis.person import CLOTHES, HAIR_STYLES, make_person
from preprocessing.synthesis.render import Renderer
from preprocessing.synthesis.scene import Scene
from preprocessing.synthesis.speech import Speech
from preprocessing.synthesize import Options, main

SIZE = 96


@pytest.fixture(scope="module")
def arrays():
    """A small head model; its landmarks, which cost a detector, are all at the tip of the nose."""
    arrays = build_head_arrays(sample_count=30, component_count=12, seed=0)
    model = make_model(arrays)
    nose = int(model.template[model.triangle].mean(1)[:, 2].argmax())
    return arrays | {
        "mediapipe_face": np.full(478, nose, np.int32),
        "mediapipe_barycentric": np.full((478, 3), 1 / 3, np.float32),
        "mediapipe_weight": np.ones(478, np.float32),
        "sparse68_face": np.full(68, nose, np.int32),
        "sparse68_barycentric": np.full((68, 3), 1 / 3, np.float32),
    }


@pytest.fixture(scope="module")
def model(arrays):
    return make_model(arrays)


@pytest.fixture(scope="module")
def renderer(model):
    return make_renderer(model, "short", "crew")


def make_renderer(model, hair_style, clothes, seed=3):
    random = np.random.default_rng(seed)
    person = replace(make_person(random, 12), hair_style=hair_style, clothes=clothes)
    return Renderer(Scene(model, person, random, SIZE))


def make_motion(renderer, seed=0):
    scene = renderer.scene
    speech = Speech(np.zeros(2000, np.int16), 1000, ("", "ɑː", "m"), np.array([0.0, 0.5, 1.0]))
    return Motion(
        scene.model,
        speech,
        np.random.default_rng(seed),
        scene.camera.world_from_rest,
        scene.neck_joint,
    )


def with_actions(model, pose, **values):
    expression = pose.expression.clone()
    for name, value in values.items():
        expression[model.expression_name.index(name)] = value
    return replace(pose, expression=expression)


def count_parts(renderer, drawn, *names):
    return int(np.isin(drawn.part, [renderer.parts.index(name) for name in names]).sum())


@pytest.fixture(scope="module")
def pose(renderer):
    pose = make_motion(renderer).at(0.2)
    return with_actions(renderer.scene.model, pose, eyeBlinkLeft=0, eyeBlinkRight=0)


@pytest.fixture(scope="module")
def drawn(renderer, pose):
    return renderer.draw(pose, 0)[0]


def test_the_picture_shows_a_whole_person(renderer, drawn):
    for name in ("face", "lips", "eye_left", "eye_right", "neck", "hair", "garment", "background"):
        assert count_parts(renderer, drawn, name) > 3, name
    assert 0.2 < (drawn.alpha > 127).mean() < 0.8
    # Nothing of the person touches the upper edge.
    assert not drawn.alpha[0].any()


def test_labels_mattes_normals_and_depth_agree(drawn):
    person = drawn.part > 0
    assert (drawn.alpha[person] >= 64).all()
    np.testing.assert_array_equal(drawn.depth > 0, person)
    size = np.linalg.norm(drawn.normal.astype(float) / 127, axis=-1)
    np.testing.assert_allclose(size[person], 1, atol=0.02)
    assert not drawn.normal[~person].any()
    assert (drawn.head_alpha <= drawn.alpha).all()
    # What is seen faces the camera.
    assert (drawn.normal[person][:, 2] < 25).mean() > 0.98


def test_depth_is_that_of_the_head_drawn(renderer, pose, drawn):
    scene = renderer.scene
    vertices = renderer.draw(pose, 0)[1]
    nose = vertices[scene.model.part_vertices("face")]
    tip = transform(pose.world_from_head.float(), nose[nose[:, 2].argmax()][None])
    x, y = project(tip, scene.camera.intrinsics)[0].round().int().tolist()
    assert float(drawn.depth[y, x]) == pytest.approx(float(tip[0, 2]), abs=0.004)


def test_equal_poses_give_equal_pictures_but_for_the_sensor(renderer, pose, drawn):
    again, other = renderer.draw(pose, 0)[0], renderer.draw(pose, 1)[0]
    np.testing.assert_array_equal(again.image, drawn.image)
    noise = other.image.astype(float) - drawn.image
    assert 0.5 < noise.std() < 3
    np.testing.assert_array_equal(other.part, drawn.part)


def test_closed_lids_hide_the_eyes_and_closed_lips_the_mouth(renderer, pose, drawn):
    model = renderer.scene.model
    eyes, mouth = ("eye_left", "eye_right"), ("teeth", "tongue", "mouth_cavity")
    shut = renderer.draw(with_actions(model, pose, eyeBlinkLeft=1, eyeBlinkRight=1), 0)[0]
    assert count_parts(renderer, drawn, *eyes) > 5
    assert count_parts(renderer, shut, *eyes) == 0
    opened = renderer.draw(with_actions(model, pose, jawOpen=0.6), 0)[0]
    assert count_parts(renderer, drawn, *mouth) == 0
    assert count_parts(renderer, opened, *mouth) > 15
    inside = np.isin(opened.part, [renderer.parts.index(name) for name in mouth])
    face = opened.part == renderer.parts.index("face")
    assert opened.image[inside].mean() < 0.6 * opened.image[face].mean()


def test_lips_have_the_colour_of_lips(renderer, drawn):
    def redness(name):
        pixels = drawn.image[drawn.part == renderer.parts.index(name)].astype(float)
        return (pixels[:, 0] / pixels[:, 1]).mean()

    assert redness("lips") > 1.15 * redness("face")


@pytest.mark.parametrize(("hair_style", "clothes"), list(zip(HAIR_STYLES, cycle(CLOTHES))))
def test_every_haircut_covers_the_scalp_and_every_garment_the_shoulders(
    model, pose, hair_style, clothes
):
    renderer = make_renderer(model, hair_style, clothes)
    still = replace(pose, world_from_head=renderer.scene.camera.world_from_rest)
    drawn = renderer.draw(still, 0)[0]
    person = np.flatnonzero((drawn.alpha > 127).any(1))
    crown = drawn.part[person[0] : person[0] + 5]
    # A buzz cut is shorter than these pixels are high: the forehead begins below it.
    least = 0.5 if hair_style == "buzz" else 0.9
    assert (crown[crown > 0] == renderer.parts.index("hair")).mean() > least
    assert count_parts(renderer, drawn, "garment") > 0.03 * SIZE**2
    # No hole: the person is one piece without gaps from the chin down to the lower edge.
    middle = SIZE // 2
    assert (drawn.alpha[middle:, middle - 2 : middle + 2] == 255).all()


def test_the_neck_stays_on_the_torso_however_the_head_turns(renderer):
    scene, model = renderer.scene, renderer.scene.model
    motion, edge = make_motion(renderer), neck_edge(renderer.scene.model)
    for time_s in (0.0, 0.7, 1.9, 31.0):
        pose = motion.at(time_s)
        head = model.vertices(scene.person.identity, torch.zeros(1, 52), pose.joint_rotation[None])[
            0
        ]
        by_head = transform(pose.world_from_head.float(), head[edge])
        by_torso = transform(pose.world_from_torso.float(), scene.neutral[edge])
        torch.testing.assert_close(by_head, by_torso, atol=2e-5, rtol=0)


def test_motion_is_lively_within_bounds_and_the_same_again(renderer):
    model = renderer.scene.model
    motion, again = make_motion(renderer), make_motion(renderer)
    poses = [motion.at(t) for t in np.arange(0, 12, 0.04)]
    expression = torch.stack([pose.expression for pose in poses])
    assert float(expression.min()) >= 0
    assert float(expression.max()) <= 1
    blink = expression[:, model.expression_name.index("eyeBlinkLeft")]
    assert float(blink.max()) > 0.9
    assert float((blink > 0.5).float().mean()) < 0.2
    gaze = torch.stack([pose.joint_rotation[2] for pose in poses])
    assert float(gaze[:, :2].std(0).min()) > 0.01
    place = torch.stack([pose.world_from_torso[:3, 3] for pose in poses])
    assert 0.0005 < float(place.std(0).max()) < 0.02
    torch.testing.assert_close(again.at(7.0).world_from_head, motion.at(7.0).world_from_head)


def test_a_blink_closes_wholly_and_opens_again():
    starts = np.array([1.0, 4.0])
    assert blink_amount(0.5, starts) == 0
    assert blink_amount(1.0 + BLINK_CLOSE_S + 0.02, starts) == 1
    assert blink_amount(2.0, starts) == 0
    assert blink_amount(4.0 + BLINK_CLOSE_S + 0.02, starts) == 1


def test_without_obstacles_all_light_arrives():
    light = make_light(np.random.default_rng(0))
    normal = torch.nn.functional.normalize(
        torch.tensor([[0.2, -0.5, -1.0], [0.0, 1.0, 0.0]]), dim=1
    )
    far = torch.tensor([[0.0, 0, 1e3], [1.0, 0, 1e3], [0, 1.0, 1e3]])
    triangle = torch.tensor([[0, 1, 2]])
    reach = light_reach(torch.zeros(2, 3), normal, far, triangle, directions=4000)
    torch.testing.assert_close(reach @ light, irradiance_basis(normal) @ light, atol=0.01, rtol=0)
    # A wall close to the first point's face takes all of it.
    wall = torch.tensor([[-9.0, -9, -0.01], [9.0, -9, -0.01], [0, 18.0, -0.01]])
    shadow = light_reach(torch.zeros(2, 3), normal * torch.tensor([0, 0, 1.0]), wall, triangle)
    assert float((shadow @ light)[0].abs().max()) < 0.02


# --- the step ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def head_model_path(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "anny.h5"
    write_artifact(path, HEAD_MODEL, arrays, {"step": "test"})
    return path


def synthesize(folder, head_model, **changes):
    given = {"duration_s": 0.4, "size_px": 64, "seed": 5, "texture_px": 64} | changes
    options = Options(
        head_model=head_model, video=folder / "clip.mp4", out=folder / "truth.h5", **given
    )
    main(options)
    return options


@pytest.fixture(scope="module")
def made(head_model_path, tmp_path_factory):
    return synthesize(tmp_path_factory.mktemp("made"), head_model_path)


def test_clip_and_truth_belong_together(made):
    info, truth = probe(made.video), read_artifact(made.out, TRUTH)
    assert (info.size, info.has_audio) == ((64, 64), True)
    frames = np.stack(list(decode_frames(info)))
    assert len(frames) == 10
    assert truth["vertex"].shape[:1] == truth["time_s"].shape == (10,)
    np.testing.assert_allclose(np.diff(truth["time_s"]), 0.04)
    # The person is where the matte says: there the picture moves, elsewhere it stands still but for noise.
    still = truth["alpha"].max(0) == 0
    change = np.abs(np.diff(frames.astype(float), axis=0)).max(0).mean(-1)
    assert change[~still].mean() > 2 * change[still].mean()
    sound = decode_audio(info, 16000)
    assert len(sound) == pytest.approx(6400, abs=800)
    assert np.abs(sound.astype(int)).max() > 1000
    assert truth["phoneme_end_s"][-1] == pytest.approx(0.4, abs=1e-3)
    assert truth["albedo"].max() > 60


def test_the_truth_is_what_determines_the_vertices(made, model):
    truth = read_artifact(made.out, TRUTH)
    tensors = [torch.from_numpy(truth[n]) for n in ("identity", "expression", "joint_rotation")]
    torch.testing.assert_close(
        model.vertices(*tensors), torch.from_numpy(truth["vertex"]), atol=1e-6, rtol=0
    )


def test_equal_options_give_equal_bytes_and_another_seed_another_person(
    made, head_model_path, tmp_path
):
    again = synthesize(tmp_path / "again", head_model_path)
    first, second = (read_artifact(path, TRUTH) for path in (made.out, again.out))
    for name in first:
        np.testing.assert_array_equal(second[name], first[name], err_msg=name)
    assert again.out.read_bytes() == made.out.read_bytes()
    assert again.video.read_bytes() == made.video.read_bytes()
    other = synthesize(tmp_path / "other", head_model_path, seed=6)
    first, second = (read_artifact(path, TRUTH) for path in (made.out, other.out))
    assert np.abs(first["identity"] - second["identity"]).max() > 0.5
    assert first["text"] != second["text"]


def test_a_longer_clip_begins_with_the_shorter_one(made, head_model_path, tmp_path):
    longer = synthesize(tmp_path, head_model_path, duration_s=0.6)
    first, second = (read_artifact(path, TRUTH) for path in (made.out, longer.out))
    np.testing.assert_array_equal(second["part"][:10], first["part"])
    np.testing.assert_array_equal(second["identity"], first["identity"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"duration_s": 0.0}, "duration-s 0"),
        ({"duration_s": float("nan")}, "duration-s nan"),
        ({"duration_s": 1e6}, "at most 3600"),
        ({"size_px": 65}, "size-px 65"),
        ({"size_px": 10}, "from 64"),
        ({"size_px": 100000}, "to 2048"),
        ({"frame_rate_hz": 1000.0}, "frame-rate-hz 1000"),
        ({"seed": -1}, "seed -1"),
        ({"texture_px": 0}, "texture-px 0"),
        ({"text": " ?! "}, "text to speak is empty"),
        ({"voice": "martian"}, "no voice 'martian'"),
    ],
)
def test_impossible_options_are_named_in_one_sentence(head_model_path, tmp_path, changes, words):
    with pytest.raises(InputError, match=words) as caught:
        synthesize(tmp_path, head_model_path, **changes)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_another_head_model_is_refused(arrays, tmp_path):
    names = [f"shape{index}" for index in range(len(arrays["expression_name"]))]
    path = tmp_path / "other.h5"
    write_artifact(path, HEAD_MODEL, arrays | {"expression_name": names}, {"step": "test"})
    with pytest.raises(InputError, match="no facial actions jawOpen"):
        synthesize(tmp_path / "out", path)
