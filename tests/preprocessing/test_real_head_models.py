"""ICT-FaceKit and FLAME 2023 Open as published: built, looked at by the detector, converted into each other."""

import numpy as np
import pytest
import torch

from artifacts.kinds import FACE_FIT
from artifacts.store import read_artifact, write_artifact
from assets.fetch import fetch_asset
from head_geometry.convert import Options as ConvertOptions
from head_geometry.convert import main as convert
from head_geometry.correspondence import align, face_vertices
from head_geometry.head_model import HeadModel
from preprocessing.head_model import Options, main

FILES = {"ict": "ict_facekit_light.npz", "flame": "flame2023_open_partial.npz"}


@pytest.fixture(scope="module")
def built(tmp_path_factory, shared_data):
    folder = tmp_path_factory.mktemp("models")
    for source, name in FILES.items():
        main(
            Options(
                detector=fetch_asset("face_detection_short_range.tflite"),
                mesh=fetch_asset("face_landmark_with_attention.tflite"),
                out=folder / f"{source}.h5",
                source=source,
                file=shared_data / "head_models" / name,
                portraits=50,
                held_out=0,
                portrait_size_px=192,
            )
        )
    return {source: folder / f"{source}.h5" for source in FILES}


@pytest.mark.slow
def test_ict_has_names_eyes_and_parts(built):
    model = HeadModel.load(built["ict"])
    assert (len(model.identity_std), len(model.expression_name)) == (100, 57)
    assert {"jawOpen", "eyeBlinkLeft", "mouthSmileRight"} <= set(model.expression_name)
    assert (model.mediapipe_weight > 0).sum() > 340
    joints = model.joint_regressor @ model.template
    for eye in ("eye_left", "eye_right"):
        joint, ball = model.joint_name.index(eye), model.part_vertices(eye)
        rotation = torch.zeros(1, len(model.joint_name), 3)
        rotation[0, joint, 1] = 0.4
        turned = model.vertices(torch.zeros(1), torch.zeros(1, 57), rotation)[0]
        before, after = (
            torch.linalg.vector_norm(v[ball] - joints[joint], dim=1)
            for v in (model.template, turned)
        )
        torch.testing.assert_close(before, after, atol=1e-5, rtol=0)
        # The ball's surface stays where it was: it turns about its middle.
        assert before.max() - before.quantile(0.2) < 0.004
    corners = model.mediapipe_points(model.template)
    assert corners[33, 0] < corners[133, 0] < 0 < corners[362, 0] < corners[263, 0]


@pytest.mark.slow
def test_flame_places_agree_with_the_published_ones(built, shared_data):
    """The 105 points that FLAME publishes for the same detector, found here without them."""
    model = HeadModel.load(built["flame"])
    with np.load(shared_data / "head_models" / FILES["flame"]) as file:
        index = file["mp_landmark_indices"]
        corners = file["v_template"][file["faces"][file["mp_lmk_face_idx"]]]
        published = (corners * file["mp_lmk_b_coords"][..., None]).sum(1)
    ours = model.mediapipe_points(model.template).numpy()[index]
    usable = model.mediapipe_weight.numpy()[index] > 0
    distance = np.linalg.norm(ours - published, axis=1)[usable]
    assert usable.mean() > 0.7
    assert np.median(distance) < 0.004


@pytest.mark.slow
def test_a_subject_goes_to_flame_and_back(built, tmp_path):
    ict = HeadModel.load(built["ict"])
    random = np.random.default_rng(0)
    identity = np.zeros(100, np.float32)
    identity[:15] = 2 * np.sign(random.normal(size=15))
    expression = np.zeros((2, 57), np.float32)
    expression[1, ict.expression_name.index("jawOpen")] = 0.6
    pose = np.tile(np.diag([1.0, -1, -1, 1]), (2, 1, 1))
    pose[:, 2, 3] = 0.7
    fit = {
        "identity": identity,
        "expression": expression,
        "joint_rotation": np.zeros((2, 4, 3), np.float32),
        "world_from_head": pose,
        "camera_from_world": np.tile(np.eye(4), (2, 1, 1)),
        "intrinsics": np.array([[600.0, 0, 128], [0, 600, 128], [0, 0, 1]]),
        "image_size": np.array([256, 256], np.int32),
        "landmark_offset": np.zeros((478, 3), np.float32),
        "nme": np.zeros(2, np.float32),
        "valid": np.ones(2, bool),
        "torso_from_reference": np.tile(np.eye(3), (2, 1, 1)),
        "torso_reference_frame": np.array(0, np.int32),
        "torso_valid": np.ones(2, bool),
        "vertex_offset": np.zeros((len(ict.template), 3), np.float32),
        "expression_offset": np.zeros((0, 0, 3), np.float32),
        "outline_iou": np.zeros(2, np.float32),
        "albedo": np.zeros((0, 0, 3), np.uint8),
        "albedo_seen": np.zeros((0, 0), np.uint8),
        "light": np.zeros((0, 9, 3), np.float32),
        "photometric_error": np.zeros(0, np.float32),
    }
    files = [tmp_path / f"fit{i}.h5" for i in range(3)]
    write_artifact(files[0], FACE_FIT, fit, {})
    kept = [tmp_path / f"correspondence{i}.h5" for i in range(2)]
    convert(ConvertOptions(files[0], built["ict"], built["flame"], kept[0], files[1]))
    convert(ConvertOptions(files[1], built["flame"], built["ict"], kept[1], files[2]))
    flame = HeadModel.load(built["flame"])
    jaw = read_artifact(files[1], FACE_FIT)["joint_rotation"][:, flame.joint_name.index("jaw")]
    assert abs(jaw[0, 0]) < 0.02
    assert 0.05 < jaw[1, 0] < 0.5
    back = read_artifact(files[2], FACE_FIT)
    assert back["expression"][1, ict.expression_name.index("jawOpen")] > 0.2
    face = face_vertices(ict)
    old, new = (
        ict.neutral(torch.from_numpy(i)).numpy()[face].astype(float)
        for i in (identity, back["identity"])
    )
    moved = align(new, old, np.ones(len(old)))(new)
    mean_face = ict.template.numpy()[face].astype(float)
    from_mean = np.linalg.norm(align(mean_face, old, np.ones(len(old)))(mean_face) - old, axis=1)
    error = np.linalg.norm(moved - old, axis=1)
    # FLAME's 60 components hold most of the person, not all of it.
    assert error.mean() < 0.003
    assert error.mean() < 0.7 * from_mean.mean()
