"""Every format with a camera, read by the other tool's convention: each vertex lands on our own pixel."""

import csv
import json

import numpy as np
import pytest
import torch
import trimesh
from exported import SIDE, flame_vertices, gradient_frames, make_clip
from PIL import Image

from preprocessing.export import Options, main

# Far below the promised 0.01 px; only texts with six decimals need more.
CLOSE_PX = 2e-3


@pytest.fixture(
    scope="module",
    params=[(True, True), (False, True), (True, False)],
    ids=["head_is_root", "neck_is_root", "flame_root_unknown"],
)
def clip(request, tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip"), *request.param)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def homogeneous(points):
    return np.concatenate([points, np.ones((len(points), 1))], 1)


def shaped_vertices(clip, expression, shape):
    shape = torch.tensor(shape)[: len(clip.fit["identity"])].float()
    expression = torch.tensor(expression)[: len(clip.head.expression_name)].float()
    moved = torch.tensordot(expression, clip.head.expression_basis, 1)
    return (clip.head.neutral(shape) + moved).double().numpy()


def test_nerface(clip):
    folder = clip.write("nerface")
    for split, frames in (("train", clip.train), ("test", clip.test)):
        content = read_json(folder / f"transforms_{split}.json")
        fx, fy, cx, cy = content["intrinsics"]
        assert len(content["frames"]) == len(frames)
        for entry, frame in zip(content["frames"], frames, strict=True):
            matrix = np.array(entry["transform_matrix"])
            points = clip.vertices[frame] * content["scene_units_per_metre"]
            x, y, z, _ = np.linalg.inv(matrix) @ homogeneous(points).T
            # get_ray_bundle: ((column - W cx) / fx, -(row - H cy) / fy, -1).
            seen = np.stack([SIDE * cx - fx * x / z, SIDE * cy + fy * y / z], 1)
            np.testing.assert_allclose(seen, clip.pixels[frame], atol=CLOSE_PX)
            np.testing.assert_allclose(entry["expression"], clip.fit["expression"][frame])
            top, bottom, left, right = entry["bbox"]
            inside = clip.pixels[frame].clip(0, SIDE - 1) / SIDE
            assert left <= inside[:, 0].min()
            assert inside[:, 0].max() <= right
            assert top <= inside[:, 1].min()
            assert inside[:, 1].max() <= bottom
            with Image.open(folder / f"{entry['file_path']}.png") as picture:
                assert picture.size == (SIDE, SIDE)
    distance = [
        np.linalg.norm(np.array(entry["transform_matrix"])[:3, 3])
        for split in ("train", "test")
        for entry in read_json(folder / f"transforms_{split}.json")["frames"]
    ]
    assert np.mean(distance) == pytest.approx(0.5)
    train = {entry["file_path"] for entry in read_json(folder / "transforms_train.json")["frames"]}
    validation = read_json(folder / "transforms_val.json")["frames"]
    assert {entry["file_path"] for entry in validation} <= train
    with Image.open(folder / "bg/00050.png") as background:
        assert background.mode == "RGB"


def test_insta(clip):
    folder = clip.write("insta")
    content = read_json(folder / "transforms.json")
    assert len(content["frames"]) == len(clip.kept)
    assert content["x_fov"] == pytest.approx(np.degrees(2 * np.arctan(SIDE / 2 / content["fl_x"])))
    for entry, frame in zip(content["frames"], clip.kept, strict=True):
        mesh = trimesh.load(folder / entry["mesh_path"], process=False, maintain_order=True)
        points = np.array(
            [
                line.split()[1:]
                for line in (folder / entry["mesh_path"]).read_text().splitlines()
                if line.startswith("v ")
            ],
            float,
        )
        assert len(mesh.faces) == len(clip.head.triangle)
        camera = np.linalg.inv(np.array(entry["transform_matrix"]))
        x, y, z, _ = camera @ homogeneous(points).T
        # instant-ngp: direction ((u - cx / w) w / fl_x, (v - cy / h) h / fl_y, 1) at u = (column + 0.5) / w.
        seen = [
            x / z * content["fl_x"] + content["cx"] - 0.5,
            y / z * content["fl_y"] + content["cy"] - 0.5,
        ]
        np.testing.assert_allclose(np.stack(seen, 1), clip.pixels[frame], atol=CLOSE_PX)
        np.testing.assert_allclose(
            np.loadtxt(folder / entry["exp_path"]), clip.fit["expression"][frame], atol=1e-7
        )
        check_depth(folder / entry["depth_path"], clip.pixels[frame], z)
    with Image.open(folder / content["frames"][0]["file_path"]) as picture:
        assert picture.mode == "RGBA"
    with Image.open(folder / content["frames"][0]["seg_mask_path"]) as classes:
        found = set(np.unique(np.asarray(classes)[..., 0]))
    assert {0, 90, 250} <= found <= {0, 80, 90, 110, 130, 140, 180, 200, 210, 250}
    lists = [read_json(folder / f"transforms_{name}.json")["frames"] for name in ("train", "test")]
    assert [entry["file_path"] for part in lists for entry in part] == [
        entry["file_path"] for entry in content["frames"]
    ]
    assert (folder / "canonical.obj").read_text().startswith("v ")


def check_depth(path, pixels, depth_m):
    """The vertex nearest to the camera is seen: its pixel holds about its depth."""
    with Image.open(path) as picture:
        levels = np.asarray(picture)
    assert levels.dtype == np.uint16
    nearest = depth_m.argmin()
    column, row = pixels[nearest].round().astype(int)
    assert levels[row, column] / 1000 == pytest.approx(depth_m[nearest], abs=0.004)


def test_metrical_tracker_checkpoints(clip):
    folder = clip.write("insta")
    # Nothing but NumPy arrays, text and numbers: torch reads it without executing anything.
    numpy_arrays = [
        np._core.multiarray._reconstruct,
        np.ndarray,
        np.dtype,
        np.dtypes.Float32DType,
        np.dtypes.Int64DType,
    ]
    for frame in clip.kept:
        with torch.serialization.safe_globals(numpy_arrays):
            payload = torch.load(folder / f"checkpoint/{frame:05d}.frame", weights_only=True)
        first, second = payload["camera"]["R"][0].reshape(2, 3)
        turn = np.stack([first, second, np.cross(first, second)])
        # PyTorch3D: points are rows, x left, y up; the shorter side spans 2 in NDC.
        placed = clip.vertices[frame] @ turn + payload["camera"]["t"][0]
        ndc = placed[:, :2] / placed[:, 2:] * payload["camera"]["fl"][0] + payload["camera"]["pp"]
        # One focal length for both axes is all that the tracker has.
        seen = SIDE / 2 - ndc * SIDE / 2 - 0.5
        np.testing.assert_allclose(seen[:, 0], clip.pixels[frame, :, 0], atol=CLOSE_PX)
        opencv = payload["opencv"]
        placed = clip.vertices[frame] @ opencv["R"][0].T + opencv["t"][0]
        edge = placed @ opencv["K"][0].T
        np.testing.assert_allclose(
            edge[:, :2] / edge[:, 2:] - 0.5, clip.pixels[frame], atol=CLOSE_PX
        )
        assert payload["flame"]["exp"].shape == (1, 100)
        assert payload["flame"]["eyes"].shape == (1, 12)


def test_imavatar(clip):
    folder = clip.write("imavatar")
    for split, frames in (("train", clip.train), ("test", clip.test)):
        content = read_json(folder / split / "flame_params.json")
        fx, fy, cx, cy = np.array(content["intrinsics"]) * SIDE
        for entry, frame in zip(content["frames"], frames, strict=True):
            shaped = shaped_vertices(clip, entry["expression"], content["shape_params"])
            mesh = 4 * flame_vertices(clip, shaped, np.array(entry["pose"]))
            # load_K_Rt_from_P and get_camera_params: rays through z = -1, fx negative.
            x, y, z = np.array(entry["world_mat"]) @ homogeneous(mesh).T
            assert (z < 0).all()
            seen = np.stack([x / z * fx + cx, y / z * fy + cy], 1)
            np.testing.assert_allclose(seen, clip.pixels[frame], atol=CLOSE_PX)
            points = (np.array(entry["flame_keypoints"]) + 1) / 2 * SIDE
            corners = clip.pixels[frame][clip.head.triangle[clip.head.sparse68_face]]
            chosen = clip.head.sparse68_barycentric.argmax(1)
            nearby = corners[np.arange(68), chosen]
            assert np.abs(points[:68] - nearby).max() < 12
            assert entry["bbox"] == pytest.approx(
                [*np.min(entry["flame_keypoints"], 0), *np.max(entry["flame_keypoints"], 0)]
            )
            number = int(entry["file_path"].split("/")[-1])
            for name in ("image", "mask"):
                with Image.open(folder / split / name / f"{number}.png") as picture:
                    assert picture.size == (SIDE, SIDE)


def test_vhap(clip):
    folder = clip.write("vhap")
    content = read_json(folder / "transforms.json")
    assert content["timestep_indices"] == list(range(len(clip.kept)))
    for entry, frame in zip(content["frames"], clip.kept, strict=True):
        with np.load(folder / entry["flame_param_path"], allow_pickle=False) as parameters:
            values = dict(parameters)
        pose = np.concatenate(
            [values[name][0] for name in ("rotation", "neck_pose", "jaw_pose", "eyes_pose")]
        )
        shaped = shaped_vertices(clip, values["expr"][0], values["shape"])
        mesh = flame_vertices(clip, shaped, pose) + values["translation"]
        # GaussianAvatars: OpenGL axes turned to COLMAP's, then only the field of view.
        matrix = np.array(entry["transform_matrix"])
        matrix[:3, 1:3] *= -1
        x, y, z, _ = np.linalg.inv(matrix) @ homogeneous(mesh).T
        tan = np.tan([entry["camera_angle_x"] / 2, entry["camera_angle_y"] / 2])
        ndc = np.stack([x / z, y / z], 1) / tan
        size = np.array([entry["w"], entry["h"]])
        seen = ((ndc + 1) * size - 1) / 2
        shift = np.array([(entry["w"] - 1) / 2 - 50.25, (entry["h"] - 1) / 2 - 45.5])
        np.testing.assert_allclose(seen, clip.pixels[frame] + shift, atol=CLOSE_PX)
        # VHAP itself: the whole matrix, from the image's edge.
        edge = np.stack(
            [x / z * entry["fl_x"] + entry["cx"], y / z * entry["fl_y"] + entry["cy"]], 1
        )
        np.testing.assert_allclose(edge - 0.5, clip.pixels[frame] + shift, atol=CLOSE_PX)
        np.testing.assert_allclose(values["static_offset"][0], clip.fit["vertex_offset"])
        for name in ("file_path", "fg_mask_path"):
            with Image.open(folder / entry[name]) as picture:
                assert picture.size == (entry["w"], entry["h"])
    assert values["shape"].shape == (300,)
    assert values["expr"].shape == (1, 100)
    counts = [
        len(read_json(folder / f"transforms_{name}.json")["frames"])
        for name in ("train", "val", "test")
    ]
    assert counts == [len(clip.train), 0, len(clip.test)]


def test_eg3d_labels_and_what_the_crops_show(clip):
    out = clip.folder / "eg3d"
    main(Options(format="eg3d", out=out, **clip.options | {"frames": gradient_frames(clip)}))
    content = read_json(out / "dataset.json")
    assert content["train"] + content["test"] == [name for name, _ in content["labels"]]
    points = (clip.vertices - np.array(content["origin_in_head_m"])) * 2.7
    for (name, label), frame in zip(content["labels"], clip.kept, strict=True):
        camera = np.linalg.inv(np.reshape(label[:16], (4, 4)))
        intrinsics = np.reshape(label[16:], (3, 3))
        np.testing.assert_allclose(intrinsics[:2, 2], 0.5)
        np.testing.assert_allclose(camera[:2, 3], 0, atol=1e-9)
        # EG3D's sampler: the centre of pixel i lies at (i + 0.5) / 512.
        placed = (camera @ homogeneous(points[frame]).T)[:3].T @ intrinsics.T
        seen = placed[:, :2] / placed[:, 2:] * 512 - 0.5
        inside = ((seen > 3) & (seen < 508)).all(1)
        inside &= ((clip.pixels[frame] > 3) & (clip.pixels[frame] < SIDE - 4)).all(1)
        assert inside.sum() > 50
        with Image.open(out / name) as picture:
            crop = np.asarray(picture).astype(float)
        column, row = seen[inside].round().astype(int).T
        shown = crop[row, column, :2] / 2
        # Half a level of the picture, and half a pixel of the crop, which is finer.
        assert np.abs(shown - clip.pixels[frame][inside]).max() < 0.4
        assert np.abs((shown - clip.pixels[frame][inside]).mean(0)).max() < 0.05


def test_eg3d_crops_are_exact(clip):
    from preprocessing.exporting.eg3d import look_at

    camera = torch.from_numpy(clip.fit["camera_from_world"] @ clip.fit["world_from_head"])
    middle = torch.tensor([0.01, -0.02, 0.03]).double()
    for frame in clip.kept:
        view = look_at(camera[frame], torch.from_numpy(clip.fit["intrinsics"]), middle, 900.0)
        points = torch.from_numpy(clip.vertices[frame]).double()
        placed = (points - middle) * 2.7 @ view.camera_from_world[:3, :3].T
        crop = (placed + view.camera_from_world[:3, 3]) @ view.intrinsics.T
        source = (crop / crop[:, 2:] @ view.source_from_crop.T).numpy()
        np.testing.assert_allclose(source[:, :2] / source[:, 2:], clip.pixels[frame], atol=1e-4)


def test_obj(clip):
    folder = clip.write("obj")
    camera = read_json(folder / "camera.json")
    for frame in clip.kept:
        path = folder / f"meshes/{frame:05d}.obj"
        mesh = trimesh.load(path, process=False)
        text = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        points = np.array([words[1:] for words in text if words[0] == "v"], float)
        matrix = np.array(camera["camera_from_obj"][f"{frame:05d}"])
        placed = (matrix @ homogeneous(points).T)[:3].T @ np.array(camera["intrinsics"]).T
        seen = placed[:, :2] / placed[:, 2:]
        np.testing.assert_allclose(seen, clip.pixels[frame], atol=CLOSE_PX)
        # trimesh reads texture coordinates with v up.
        corners = np.array(
            [[word.split("/") for word in words[1:]] for words in text if words[0] == "f"], int
        )
        uv = np.array([words[1:] for words in text if words[0] == "vt"], float)
        expected = clip.head.uv[clip.head.triangle_uv].numpy() * [1, -1] + [0, 1]
        np.testing.assert_allclose(uv[corners[..., 1] - 1], expected, atol=1e-6)
        np.testing.assert_array_equal(corners[..., 0] - 1, clip.head.triangle)
        assert mesh.visual.uv is not None
        assert len(mesh.faces) == len(clip.head.triangle)


def test_arkit_columns(clip):
    folder = clip.write("arkit")
    with (folder / "live_link_face.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    header = rows[0]
    assert header[:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    assert len(header) == 63
    assert header[-9:-6] == ["HeadYaw", "HeadPitch", "HeadRoll"]
    assert len(rows) == 1 + len(clip.fit["valid"])
    assert [row[1] for row in rows[1:]].count("0") == 1
    jaw = header.index("JawOpen")
    names = clip.head.expression_name
    for frame in clip.kept:
        row = rows[1 + frame]
        assert row[0] == f"00:00:00:{frame:02d}.000"
        expected = clip.fit["expression"][frame, names.index("jawOpen")]
        assert float(row[jaw]) == pytest.approx(expected, abs=1e-6)
        assert float(row[header.index("BrowInnerUp")]) == 0
