"""Published head models against other implementations of them, on small files in their layouts."""

import pickle

import numpy as np
import pytest
import torch
from published_files import (
    basel_content,
    flame_content,
    gnm_content,
    head_mesh,
    write_basel,
    write_flame,
)
from scipy.spatial.transform import Rotation

from artifacts.errors import InputError
from artifacts.kinds import HEAD_MODEL
from artifacts.store import write_artifact
from head_geometry.head_model import HeadModel
from head_geometry.rerooting import BasePose, from_head_root, to_head_root
from preprocessing.head_model import make_model
from preprocessing.head_models.basel import facing_outwards
from preprocessing.head_models.flame import published_joints, read_flame
from preprocessing.head_models.labels import label_skin
from preprocessing.head_models.published import PublishedHead, head_arrays
from preprocessing.head_models.rig import geometric_rig, guess_places
from preprocessing.head_models.sources import read_published

FRAMES = 4


def arrays_of(head: PublishedHead):
    places = guess_places(head)
    return head_arrays(
        head, head.rig or geometric_rig(head, places), label_skin(head, places, None)
    )


def random_pose(random, joints):
    return {name: 0.5 * random.normal(size=(FRAMES, 3)) for name in joints}


def smplx_flame(folder, content):
    """The smplx package's FLAME on a file of these arrays, in double precision."""
    import smplx

    folder.mkdir()
    write_flame(folder / "FLAME_NEUTRAL.pkl", content, chumpy=False)
    landmarks = {"lmk_face_idx": np.zeros(51, np.int64), "lmk_b_coords": np.full((51, 3), 1 / 3)}
    (folder / "flame_static_embedding.pkl").write_bytes(pickle.dumps(landmarks))
    return smplx.FLAME(
        str(folder),
        num_betas=300,
        num_expression_coeffs=100,
        batch_size=FRAMES,
        dtype=torch.float64,
    )


def our_flame(model, joints_of, pose, identity, expression):
    """Our posed vertices, moved by the world_from_head that belongs to a FLAME pose."""
    posed = BasePose(*(torch.tensor(pose[name]) for name in ("base", "neck", "translation")))
    world_from_head, neck = to_head_root(posed, *joints_of)
    rotation = torch.zeros(FRAMES, len(model.joint_name), 3, dtype=torch.float64)
    for name in ("jaw", "eye_left", "eye_right"):
        rotation[:, model.joint_name.index(name)] = torch.tensor(pose[name])
    rotation[:, model.joint_name.index("neck")] = neck
    vertices = model.vertices(torch.tensor(identity), torch.tensor(expression), rotation)
    return vertices @ world_from_head[:, :3, :3].mT + world_from_head[:, None, :3, 3]


def test_flame_moves_as_the_smplx_package_moves_it(tmp_path):
    content = flame_content()
    path = write_flame(tmp_path / "generic_model.pkl", content, chumpy=True)
    model = make_model(arrays_of(read_flame(path))).to(dtype=torch.float64)
    random = np.random.default_rng(1)
    pose = random_pose(random, ("base", "neck", "jaw", "eye_left", "eye_right", "translation"))
    identity, expression = random.normal(size=300), random.normal(size=(FRAMES, 100))
    peer = smplx_flame(tmp_path / "smplx", content)
    expected = peer(
        betas=torch.tensor(identity).expand(FRAMES, -1),
        expression=torch.tensor(expression),
        global_orient=torch.tensor(pose["base"]),
        neck_pose=torch.tensor(pose["neck"]),
        jaw_pose=torch.tensor(pose["jaw"]),
        leye_pose=torch.tensor(pose["eye_left"]),
        reye_pose=torch.tensor(pose["eye_right"]),
        transl=torch.tensor(pose["translation"]),
    ).vertices.detach()
    shaped = np.tensordot(content["shapedirs"][..., :300], identity, 1) + content["v_template"]
    shaped = shaped + np.tensordot(expression, content["shapedirs"][..., 300:], (1, 2))
    joints = np.stack([published_joints(path, frame) for frame in shaped])
    joints_of = tuple(torch.tensor(joints[:, joint]) for joint in (0, 1))
    ours = our_flame(model, joints_of, pose, identity, expression)
    assert (ours - expected).abs().max() < 1e-5
    # The test sees what it should: without the correctives the two differ.
    assert (
        expected - peer(betas=torch.tensor(identity).expand(FRAMES, -1)).vertices
    ).abs().max() > 0.1


def test_flame_2023_open_moves_as_the_smplx_package_moves_it(tmp_path, shared_data):
    path = shared_data / "head_models/flame2023_open_partial.npz"
    with np.load(path) as file:
        raw = {name: file[name].astype(np.float64) for name in file}
    shapes = np.zeros((len(raw["v_template"]), 3, 400))
    shapes[..., :60] = raw["shapedirs60"]
    content = {
        "v_template": raw["v_template"],
        "f": raw["faces"].astype(np.uint32),
        "shapedirs": shapes,
        "posedirs": raw["posedirs"].transpose(1, 2, 0),
        "J_regressor": raw["J_regressor"],
        "weights": raw["weights"],
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
    }
    model = make_model(arrays_of(read_flame(path))).to(dtype=torch.float64)
    random = np.random.default_rng(2)
    pose = random_pose(random, ("base", "neck", "jaw", "eye_left", "eye_right", "translation"))
    identity = random.normal(size=60)
    betas = torch.zeros(FRAMES, 300, dtype=torch.float64)
    betas[:, :60] = torch.tensor(identity)
    expected = smplx_flame(tmp_path / "smplx", content)(
        betas=betas,
        global_orient=torch.tensor(pose["base"]),
        neck_pose=torch.tensor(pose["neck"]),
        jaw_pose=torch.tensor(pose["jaw"]),
        leye_pose=torch.tensor(pose["eye_left"]),
        reye_pose=torch.tensor(pose["eye_right"]),
        transl=torch.tensor(pose["translation"]),
    ).vertices.detach()
    shaped = np.tensordot(raw["shapedirs60"], identity, 1) + raw["v_template"]
    joints = torch.tensor(published_joints(path, shaped))
    ours = our_flame(model, (joints[0], joints[1]), pose, identity, np.zeros((FRAMES, 0)))
    assert (ours - expected).abs().max() < 1e-5


def test_poses_of_the_two_trees_turn_into_each_other():
    random = np.random.default_rng(3)
    pose = BasePose(*(torch.tensor(0.6 * random.normal(size=(FRAMES, 3))) for _ in range(3)))
    base, carrier = (torch.tensor(0.1 * random.normal(size=3)) for _ in range(2))
    back = from_head_root(*to_head_root(pose, base, carrier), base, carrier)
    for name in ("base", "carrier", "translation"):
        torch.testing.assert_close(getattr(back, name), getattr(pose, name))


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("chumpy", [True, False])
def test_flame_reads_alike_from_every_pickle(tmp_path, protocol, chumpy):
    content = flame_content()
    head = read_flame(write_flame(tmp_path / "a.pkl", content, chumpy, protocol))
    np.testing.assert_allclose(head.template, content["v_template"])
    np.testing.assert_allclose(head.rig.skin_weight.sum(1), 1)
    columns = np.moveaxis(content["shapedirs"], -1, 0)
    np.testing.assert_allclose(np.concatenate([head.identity, head.expression]), columns)


def test_flame_reads_from_npz_with_pickled_arrays(tmp_path):
    content = flame_content()
    path = tmp_path / "flame.npz"
    np.savez(path, **{k: np.asarray(v) if k != "J_regressor" else v for k, v in content.items()})
    head = read_flame(path)
    expected = content["J_regressor"].toarray()[1]
    np.testing.assert_allclose(head.rig.joint_regressor[0], expected)


def test_flame_takes_its_texture_coordinates_and_colours(tmp_path):
    path = write_flame(tmp_path / "flame.pkl", flame_content(), chumpy=False)
    vertices, faces, _ = head_mesh()
    random = np.random.default_rng(4)
    uv = random.random((len(vertices), 2))
    mean = random.integers(0, 255, (16, 16, 3)).astype(np.float64)
    basis = random.normal(size=(16, 16, 3, 5))
    texture = tmp_path / "FLAME_texture.npz"
    np.savez(texture, vt=uv, ft=faces, mean=mean, tex_dir=basis)
    head = read_flame(path, texture)
    np.testing.assert_allclose(head.texture.uv, np.stack([uv[:, 0], 1 - uv[:, 1]], 1))
    column, row = (16 * uv[7, 0]).astype(int), (16 * (1 - uv[7, 1])).astype(int)
    np.testing.assert_allclose(head.albedo.mean[7], mean[row, column, ::-1] / 255)
    np.testing.assert_allclose(head.albedo.basis[:, 7], basis[row, column, ::-1].T / 255)
    obj = tmp_path / "head_template.obj"
    rows = [f"v {x} {y} {z}" for x, y, z in vertices] + [f"vt {u} {v}" for u, v in uv]
    rows += ["f " + " ".join(f"{i + 1}/{i + 1}" for i in face) for face in faces]
    obj.write_text("\n".join(rows))
    np.testing.assert_allclose(read_flame(path, obj).texture.uv, head.texture.uv)
    np.savez(texture, vt=uv, ft=faces[:-1])
    with pytest.raises(InputError, match="'ft' has the shape"):
        read_flame(path, texture)


def test_gnm_moves_as_its_definition_says(tmp_path):
    """Against linear blend skinning written out for the published tree: neck, head, eyes."""
    content = gnm_content()
    path = tmp_path / "gnm_head.npz"
    np.savez(path, **content)
    head = read_published("gnm", path, None)
    model = make_model(arrays_of(head)).to(dtype=torch.float64)
    random = np.random.default_rng(5)
    identity, expression = random.normal(size=6), random.normal(size=5)
    turns = 0.5 * random.normal(size=(4, 3))
    turns[0] = 0  # the root's own turn is ours to move the head by
    rotation = Rotation.from_rotvec(turns).as_matrix()
    shaped = content["template_vertex_positions"] + np.tensordot(
        identity, content["vertex_identity_basis"], 1
    )
    shaped = shaped + np.tensordot(expression, content["expression_basis"], 1)
    shaped = shaped + (
        (rotation - np.eye(3)).ravel() @ content["pose_correctives_regressor"]
    ).reshape(-1, 3)
    joints = content["template_joint_positions"] + np.tensordot(
        identity, content["joint_identity_basis"], 1
    )
    world = []
    for joint, parent in enumerate(content["joint_parent_indices"]):
        own = np.eye(4)
        own[:3, :3] = rotation[joint]
        own[:3, 3] = joints[joint] - rotation[joint] @ joints[joint]
        world.append(own if parent < 0 else world[parent] @ own)
    blended = np.einsum("jv,jab->vab", content["skinning_weights"], np.stack(world))
    expected = np.einsum("vab,vb->va", blended[:, :3], np.c_[shaped, np.ones(len(shaped))])

    origin = content["template_joint_positions"][1]
    base, carrier = (torch.tensor(joints[j] - origin) for j in (0, 1))
    pose = BasePose(*(torch.tensor(turn)[None] for turn in (turns[0], turns[1], np.zeros(3))))
    world_from_head, neck = to_head_root(pose, base, carrier)
    ours = torch.zeros(1, 4, 3, dtype=torch.float64)
    ours[0, model.joint_name.index("neck")] = neck[0]
    for name, joint in (("eye_left", 2), ("eye_right", 3)):
        ours[0, model.joint_name.index(name)] = torch.tensor(turns[joint])
    vertices = model.vertices(torch.tensor(identity), torch.tensor(expression)[None], ours)
    moved = vertices @ world_from_head[:, :3, :3].mT + world_from_head[:, None, :3, 3]
    np.testing.assert_allclose(moved[0], expected - origin, atol=1e-5)


@pytest.mark.parametrize("layout", ["deep3d", "2009", "2019"])
def test_basel_layouts_give_metres_and_colours(tmp_path, layout):
    head = read_published("basel", write_basel(tmp_path, layout), None)
    content = basel_content(layout)
    assert np.ptp(head.template[:, 1]) == pytest.approx(0.18, rel=0.02)
    identity, expression, colours = {"deep3d": (80, 64, 80), "2009": (9, 0, 9), "2019": (7, 4, 3)}[
        layout
    ]
    assert (len(head.identity), len(head.expression)) == (identity, expression)
    assert len(head.albedo.basis) == colours
    assert 0.2 < head.albedo.mean.mean() < 0.8
    assert (facing_outwards(head.template, head.triangle) == head.triangle).all()
    if layout == "deep3d":
        np.testing.assert_allclose(
            head.identity[3].ravel(), 0.1 * content["idBase"][:, 3], rtol=1e-6
        )
        np.testing.assert_array_equal(head.sparse68, content["keypoints"][0] - 1)
    if layout == "2009":
        wanted = 1e-6 * content["shapePC"][:, 2] * content["shapeEV"][2]
        np.testing.assert_allclose(head.identity[2].ravel(), wanted, rtol=1e-6)
    if layout == "2019":
        wanted = (
            1e-3
            * content["shape/model/pcaBasis"][:, 2]
            * np.sqrt(content["shape/model/pcaVariance"][2])
        )
        np.testing.assert_allclose(head.identity[2].ravel(), wanted, rtol=1e-6)


@pytest.mark.parametrize("source", ["flame", "gnm", "deep3d", "2009", "2019"])
def test_every_model_becomes_a_whole_artifact(tmp_path, source):
    if source == "flame":
        head = read_flame(write_flame(tmp_path / "a.pkl", flame_content(), chumpy=True))
    elif source == "gnm":
        np.savez(tmp_path / "a.npz", **gnm_content())
        head = read_published("gnm", tmp_path / "a.npz", None)
    else:
        head = read_published("basel", write_basel(tmp_path, source), None)
    arrays = arrays_of(head)
    whole = arrays | {
        "mediapipe_face": np.zeros(478, np.int32),
        "mediapipe_barycentric": np.full((478, 3), 1 / 3, np.float32),
        "mediapipe_weight": np.zeros(478, np.float32),
        "sparse68_face": np.zeros(68, np.int32),
        "sparse68_barycentric": np.full((68, 3), 1 / 3, np.float32),
    }
    texts = {k: np.array(v, "U") for k, v in whole.items() if isinstance(v, list)}
    write_artifact(tmp_path / "head.h5", HEAD_MODEL, whole | texts, {})
    model = HeadModel.load(tmp_path / "head.h5")
    assert model.joint_name[:4] == ("head", "neck", "eye_left", "eye_right")
    assert model.joint_parent == (-1,) + (0,) * (len(model.joint_name) - 1)
    torch.testing.assert_close(model.skin_weight.sum(1), torch.ones(len(model.template)))
    torch.testing.assert_close(
        model.joint_regressor.sum(1), torch.ones(len(model.joint_name)), atol=1e-4, rtol=0
    )
    assert 0 <= model.uv.min() < model.uv.max() <= 1
    neutral = model.vertices(
        torch.zeros(2),
        torch.zeros(1, len(model.expression_name)),
        torch.zeros(1, len(model.joint_name), 3),
    )
    torch.testing.assert_close(neutral[0], model.template, atol=1e-6, rtol=0)
