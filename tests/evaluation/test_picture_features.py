import dataclasses

import numpy as np
import pytest
import torch
from arcface_network import FEATURES, write_network
from inception_weights import random_state, small_shapes
from scored_toy import make_toy_render
from toy import make_toy_subject

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, LANDMARKS, MATTE, PICTURE_FEATURES
from artifacts.store import read_artifact, write_artifact
from evaluation.picture_features import Options, main
from evaluation.regions import over_white
from head_geometry.landmark_sets import MEDIAPIPE
from image_similarity.identity import align_face, load_identity
from image_similarity.inception import load_inception


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return make_toy_subject(tmp_path_factory.mktemp("subject"), n_frames=30, size=64)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    torch.save(random_state(small_shapes()), folder / "inception.pth")
    return {
        "inception": (folder / "inception.pth",),
        "identity": (write_network(folder / "faces.onnx"),),
    }


def features(out, **options):
    main(Options(out=out, device="cpu", **options))
    return read_artifact(out, PICTURE_FEATURES)


def filmed(subject, out, **options):
    return features(
        out,
        frames=subject.frames,
        matte=subject.matte,
        landmarks=subject.landmarks,
        image_size=64,
        **options,
    )


def test_filmed_frames_are_seen_over_white_and_aligned_by_their_landmarks(
    subject, networks, tmp_path
):
    found = filmed(subject, tmp_path / "f.h5", **networks)
    assert found["inception"].shape == (30, 12)
    assert found["identity"].shape == (30, FEATURES)
    assert found["identity_valid"].all()
    picture = torch.from_numpy(read_artifact(subject.frames, FRAMES)["image"][17:18]).float() / 255
    alpha = torch.from_numpy(read_artifact(subject.matte, MATTE)["alpha"][17:18]).float() / 255
    picture = over_white(picture, alpha)
    points = read_artifact(subject.landmarks, LANDMARKS)["points"][17, :, :2]
    # Lids, tip of the nose, corners of the mouth.
    eyes = (points[list(lids)].mean(0) for lids in (MEDIAPIPE.eyelids[:16], MEDIAPIPE.eyelids[16:]))
    aligned = align_face(picture[0].double().numpy(), np.stack([*eyes, *points[[1, 61, 291]]]))
    with torch.inference_mode():
        expected = load_inception(networks["inception"][0])(picture)[0].numpy()
        face = load_identity(networks["identity"][0])(torch.from_numpy(aligned)[None].float())[0]
    np.testing.assert_allclose(found["inception"][17], expected, atol=1e-5)
    np.testing.assert_allclose(found["identity"][17], face.numpy(), atol=1e-5)


def test_what_is_not_wanted_has_no_columns(subject, networks, tmp_path):
    found = filmed(subject, tmp_path / "f.h5", inception=networks["inception"])
    assert found["identity"].shape == (30, 0)
    assert not found["identity_valid"].any()


def test_a_frame_without_a_face_has_no_identity(subject, networks, tmp_path):
    valid = np.array([True, True, False, True, True, True])
    render = make_toy_render(subject, tmp_path, valid=valid)
    found = features(
        tmp_path / "f.h5", render=render.render, landmarks=render.landmarks, **networks
    )
    assert found["identity_valid"].tolist() == valid.tolist()
    assert not found["identity"][2].any()
    np.testing.assert_allclose(np.linalg.norm(found["identity"][valid], axis=1), 1, rtol=1e-5)


def test_neither_a_render_nor_a_clip_is_refused(subject, tmp_path):
    with pytest.raises(InputError, match="name either --render, or --frames and --matte"):
        features(tmp_path / "f.h5", landmarks=subject.landmarks, frames=subject.frames)


def test_landmarks_of_another_clip_are_refused(subject, networks, tmp_path):
    short = read_artifact(subject.landmarks, LANDMARKS)
    short = {name: value[:10] if name != "image_size" else value for name, value in short.items()}
    write_artifact(tmp_path / "short.h5", LANDMARKS, short, {"step": "tests", "options": {}})
    cut = dataclasses.replace(subject, landmarks=tmp_path / "short.h5")
    with pytest.raises(InputError, match=r"short\.h5: 10 frames, but frame 29 is needed"):
        filmed(cut, tmp_path / "f.h5", **networks)
