import h5py
import numpy as np
import pytest
import torch

from artifacts.errors import InputError
from assets.fetch import fetch_asset
from head_geometry.head_model import HeadModel
from head_geometry.rotations import matrix_from_axis_angle
from preprocessing.detection.mesh import FaceLandmarker
from preprocessing.head_model import Options, main, make_model
from preprocessing.head_models.basis import mirrored
from preprocessing.head_models.build import build_head_arrays
from preprocessing.head_models.mesh import PARTS
from preprocessing.head_models.points import LOWER_LID, UPPER_LID

COMPONENTS = 100


@pytest.fixture(scope="module")
def arrays():
    return build_head_arrays(sample_count=110, component_count=COMPONENTS, seed=0)


@pytest.fixture(scope="module")
def model(arrays):
    return make_model(arrays)


def test_identity_directions_are_orthonormal_and_ordered(arrays):
    flat = arrays["identity_basis"].reshape(COMPONENTS, -1).astype(np.float64)
    np.testing.assert_allclose(flat @ flat.T, np.eye(COMPONENTS), atol=1e-5)
    std = arrays["identity_std"]
    assert (np.diff(std) <= 0).all()
    assert std[-1] > 0


def test_mirror_is_an_involution_and_keeps_the_model(arrays):
    mirror = arrays["mirror_vertex"]
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(mirror)))
    template = arrays["template"].astype(np.float64)
    np.testing.assert_allclose(mirrored(template, mirror), template, atol=1e-6)
    for direction in arrays["identity_basis"].astype(np.float64):
        image = mirrored(direction, mirror)
        sign = np.sign((image * direction).sum())
        np.testing.assert_allclose(sign * image, direction, atol=1e-5)
    triangles = {tuple(sorted(t)) for t in arrays["triangle"].tolist()}
    assert triangles == {tuple(sorted(t)) for t in mirror[arrays["triangle"]].tolist()}


def test_left_and_right_actions_mirror_each_other(arrays):
    names, basis = arrays["expression_name"], arrays["expression_basis"].astype(np.float64)
    assert len(names) == 52
    for name in (n for n in names if n.endswith("Left") and n not in ("jawLeft", "mouthLeft")):
        other = basis[names.index(name.removesuffix("Left") + "Right")]
        image = mirrored(basis[names.index(name)], arrays["mirror_vertex"])
        assert np.abs(image - other).max() < 1.5e-3, name


def test_eyeballs_are_turned_by_their_joints_alone(arrays, model):
    eyes = model.part_vertices("eye_left", "eye_right").numpy()
    assert (arrays["expression_basis"][:, eyes] == 0).all()
    rotation = torch.zeros(1, 4, 3)
    rotation[0, model.joint_name.index("eye_left")] = torch.tensor([0.0, 0.3, 0.0])
    posed = model.vertices(torch.zeros(1), torch.zeros(1, 52), rotation)[0]
    moved = (posed - model.template).norm(dim=-1) > 1e-6
    assert set(moved.nonzero()[:, 0].tolist()) <= set(model.part_vertices("eye_left").tolist())
    centre = (model.joint_regressor @ model.template)[model.joint_name.index("eye_left")]
    left = model.part_vertices("eye_left")
    before, after = (v[left] - centre for v in (model.template, posed))
    torch.testing.assert_close(before.norm(dim=-1), after.norm(dim=-1))


def test_neck_counters_the_head_and_leaves_the_face(model):
    rotation = torch.zeros(1, 4, 3)
    rotation[0, model.joint_name.index("neck")] = torch.tensor([0.4, 0.0, 0.0])
    posed = model.vertices(torch.zeros(1), torch.zeros(1, 52), rotation)[0]
    moved = (posed - model.template).norm(dim=-1)
    inner = model.part_vertices("lips", "eye_left", "eye_right", "teeth", "tongue", "ear")
    assert moved[inner].max() < 1e-4
    lowest = model.template[:, 1] < model.template[:, 1].quantile(0.003)
    pivot = (model.joint_regressor @ model.template)[model.joint_name.index("neck")]
    turned = (model.template - pivot) @ matrix_from_axis_angle(rotation[0, 1]).T + pivot
    torch.testing.assert_close(posed[lowest], turned[lowest], atol=1e-5, rtol=0)
    assert model.joint_parent[model.joint_name.index("head")] == -1


def test_weights_and_regressors_sum_to_one(arrays):
    np.testing.assert_allclose(arrays["skin_weight"].sum(1), 1, atol=1e-6)
    assert arrays["skin_weight"].min() >= 0
    np.testing.assert_allclose(arrays["joint_regressor"].sum(1), 1, atol=1e-5)


def test_head_frame_and_size_are_those_of_a_person(arrays, model):
    joints = dict(zip(model.joint_name, model.joint_regressor @ model.template, strict=True))
    assert joints["head"].norm() < 5e-4
    assert 0.060 < joints["eye_left"][0] - joints["eye_right"][0] < 0.066
    nose = model.template[model.template[:, 2].argmax()]
    assert nose[2] > 0.1
    assert joints["neck"][1] < -0.02 < joints["eye_left"][1]
    assert list(model.part_name) == list(PARTS)
    assert (np.bincount(arrays["vertex_part"], minlength=len(PARTS)) > 0).all()


def test_size_is_not_a_shape(model):
    """Random heads keep the size of their faces, or distance and shape could not be told apart."""
    random = torch.Generator().manual_seed(0)
    heads = model.neutral(torch.randn(200, 40, generator=random))
    front = (model.template[:, 2] > 0.075) & (model.template[:, 1].abs() < 0.08)
    faces = heads[:, front]
    size = (faces - faces.mean(1, keepdim=True)).square().sum((1, 2)).sqrt()
    assert size.std() / size.mean() < 0.01


def test_triangles_face_outwards(model):
    template, triangle = model.template, model.triangle
    for eye in ("eye_left", "eye_right"):
        centre = (model.joint_regressor @ template)[model.joint_name.index(eye)]
        inside = torch.zeros(len(template), dtype=torch.bool)
        inside[model.part_vertices(eye)] = True
        corners = template[triangle[inside[triangle].all(-1)]]
        normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert ((normal * (corners.mean(1) - centre)).sum(-1) > 0).float().mean() > 0.99


def test_texture_islands_fit_the_square_without_overlap(arrays):
    uv = arrays["uv"]
    assert uv.min() >= 0
    assert uv.max() <= 1
    corners = uv[arrays["triangle_uv"]].astype(np.float64)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2
    # Each texel of a fine grid is covered by the area that lies in it: no overlaps means no surplus.
    from head_geometry.rasteriser import rasterise_uv

    face, _ = rasterise_uv(torch.tensor(uv), torch.tensor(arrays["triangle_uv"]).long(), (512, 512))
    covered = (face >= 0).float().mean().item()
    assert area.sum() == pytest.approx(covered, rel=0.02)


@pytest.mark.slow
def test_the_step_finds_lips_and_lids_and_makes_equal_bytes_twice(tmp_path):
    for name in ("first.h5", "second.h5"):
        main(
            Options(
                detector=fetch_asset("face_detection_short_range.tflite"),
                mesh=fetch_asset("face_landmark_with_attention.tflite"),
                out=tmp_path / name,
                samples=60,
                components=20,
                portraits=70,
                held_out=2,
                portrait_size_px=192,
            )
        )
    with h5py.File(tmp_path / "first.h5") as first, h5py.File(tmp_path / "second.h5") as second:
        for name in first:
            np.testing.assert_array_equal(first[name][()], second[name][()])
    model = HeadModel.load(tmp_path / "first.h5")
    assert (model.mediapipe_weight > 0).sum() > 400
    for weights in (model.mediapipe_barycentric, model.sparse68_barycentric):
        torch.testing.assert_close(weights.sum(-1), torch.ones(len(weights)))
        assert weights.min() >= 0
    _check_places(model)


def _check_places(model):
    def points(**actions):
        value = torch.zeros(1, 52)
        for name, amount in actions.items():
            value[0, model.expression_name.index(name)] = amount
        vertices = model.vertices(torch.zeros(1), value, torch.zeros(1, 4, 3))[0]
        return 1e3 * model.mediapipe_points(vertices)

    neutral, opened = points(), points(jawOpen=1)
    closed = points(eyeBlinkLeft=1, eyeBlinkRight=1)
    for side in ("left", "right"):
        upper, lower = list(UPPER_LID[side]), list(LOWER_LID[side])
        gap, gap_closed = (
            (p[upper].sort(0).values - p[lower].sort(0).values)[:, 1] for p in (neutral, closed)
        )
        assert gap[2:5].min() > 4
        assert gap_closed.abs().max() < 3.5
    assert (neutral[13] - neutral[14])[1] > -1
    assert (neutral[13] - neutral[14])[1] < 4
    assert (opened[13] - opened[14])[1] > 20
    assert (opened[0] - neutral[0]).norm() < 4
    # Right is right: the subject's right eye has the smaller x, the nose is in front.
    assert neutral[33, 0] < neutral[133, 0] < 0 < neutral[362, 0] < neutral[263, 0]
    assert neutral[1, 2] == neutral[:, 2].max().item() or neutral[4, 2] > neutral[[0, 33], 2].max()


def test_networks_that_find_no_face_end_in_one_sentence(tmp_path, monkeypatch):
    from preprocessing import head_model as step

    class Blind(FaceLandmarker):
        def __init__(self): ...

        @classmethod
        def load(cls, *_paths):
            return cls()

        def detect_single(self, image):
            return None

    monkeypatch.setattr(step, "FaceLandmarker", Blind)
    out = tmp_path / "head.h5"
    with pytest.raises(InputError, match="found a face in only 0 of 3 rendered heads"):
        main(Options(out, out, out, samples=30, components=10, portraits=3, portrait_size_px=64))
    assert not out.exists()
