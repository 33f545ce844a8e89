"""The glTF binary, parsed by another library and posed by the rules of the specification."""

import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from exported import SIDE, make_clip
from scipy.spatial.transform import Rotation

from artifacts.kinds import FACE_FIT
from artifacts.store import read_artifact, write_artifact
from preprocessing.export import Options, main
from preprocessing.exporting.gltf import four_influences

WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
KIND = {5126: np.float32, 5121: np.uint8, 5125: np.uint32}


@pytest.fixture(scope="module", params=[True, False], ids=["head_is_root", "neck_is_root"])
def clip(request, tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip"), request.param)


class Scene:
    """A parsed file, evaluated at one of its key frames."""

    def __init__(self, path):
        self.gltf = pygltflib.GLTF2().load(str(path))
        self.blob = self.gltf.binary_blob()
        self.parent = {
            child: place
            for place, node in enumerate(self.gltf.nodes)
            for child in node.children or []
        }

    def array(self, index):
        accessor = self.gltf.accessors[index]
        view = self.gltf.bufferViews[accessor.bufferView]
        flat = np.frombuffer(
            self.blob,
            KIND[accessor.componentType],
            accessor.count * WIDTH[accessor.type],
            view.byteOffset,
        )
        assert flat.nbytes == view.byteLength
        rows = flat.reshape(accessor.count, -1)
        np.testing.assert_array_equal(rows.min(0), np.array(accessor.min, rows.dtype))
        np.testing.assert_array_equal(rows.max(0), np.array(accessor.max, rows.dtype))
        return rows

    def node(self, name):
        return next(i for i, node in enumerate(self.gltf.nodes) if node.name == name)

    def tracks(self, key):
        """(node, path) to the value of a key frame."""
        animation = self.gltf.animations[0]
        found = {}
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            count = self.gltf.accessors[sampler.input].count
            values = self.array(sampler.output).reshape(count, -1)
            found[channel.target.node, channel.target.path] = values[key]
        return found

    def globals(self, tracks):
        """World from each node."""
        worlds = []
        for place in range(len(self.gltf.nodes)):
            world = np.eye(4)
            step = place
            while step is not None:
                world = self.local(step, tracks) @ world
                step = self.parent.get(step)
            worlds.append(world)
        return worlds

    def local(self, place, tracks):
        node, matrix = self.gltf.nodes[place], np.eye(4)
        matrix[:3, 3] = tracks.get((place, "translation"), node.translation or [0, 0, 0])
        quaternion = tracks.get((place, "rotation"), node.rotation or [0, 0, 0, 1])
        matrix[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
        return matrix

    def posed(self, tracks):
        """Vertices in the world: morph targets, then skin."""
        mesh_node = self.node("head_mesh")
        primitive = self.gltf.meshes[0].primitives[0]
        position = self.array(primitive.attributes.POSITION).astype(np.float64)
        weights = tracks[mesh_node, "weights"]
        for weight, target in zip(weights, primitive.targets, strict=True):
            position = position + weight * self.array(target["POSITION"])
        skin = self.gltf.skins[0]
        bind = self.array(skin.inverseBindMatrices).reshape(-1, 4, 4).swapaxes(1, 2)
        worlds = self.globals(tracks)
        joint = np.stack([worlds[node] @ bind[i] for i, node in enumerate(skin.joints)])
        index = self.array(primitive.attributes.JOINTS_0)
        share = self.array(primitive.attributes.WEIGHTS_0)
        np.testing.assert_allclose(share.sum(1), 1, atol=1e-5)
        matrix = np.einsum("vk,vkab->vab", share, joint[index])
        return (matrix[:, :3, :3] @ position[..., None])[..., 0] + matrix[:, :3, 3]


def nearest_distance(points, others):
    return np.linalg.norm(points[:, None] - others[None], axis=-1).min(1)


def test_morphed_and_skinned_vertices_and_the_camera(clip):
    scene = Scene(clip.write("gltf") / "head.glb")
    flip = np.diag([1.0, -1, -1, 1])
    assert scene.gltf.meshes[0].extras["targetNames"] == list(clip.head.expression_name)
    for key, frame in enumerate(clip.kept):
        tracks = scene.tracks(key)
        posed = scene.posed(tracks)
        world = flip @ clip.fit["world_from_head"][frame]
        expected = clip.vertices[frame] @ world[:3, :3].T + world[:3, 3]
        # Vertices are split at the seams of the texture, so that the order is another.
        assert nearest_distance(posed, expected).max() < 2e-6
        assert nearest_distance(expected, posed).max() < 2e-6
        seen = projected(scene, tracks, posed)
        offset = np.linalg.norm(posed[:, None] - expected[None], axis=-1).argmin(1)
        np.testing.assert_allclose(seen, clip.pixels[frame][offset], atol=2e-3)


def projected(scene, tracks, points):
    """Pixels of the picture through glTF's perspective matrix."""
    camera = scene.gltf.cameras[0]
    matrix = np.linalg.inv(scene.globals(tracks)[scene.node("camera")])
    x, y, z = (points @ matrix[:3, :3].T + matrix[:3, 3]).T
    tan = np.tan(camera.perspective.yfov / 2)
    ndc = np.stack([x / (-z * tan * camera.perspective.aspectRatio), y / (-z * tan)], 1)
    width, height = camera.extras["view_size"]
    view = np.stack([(ndc[:, 0] + 1) * width / 2, (1 - ndc[:, 1]) * height / 2], 1) - 0.5
    assert camera.extras["picture_size"] == [SIDE, SIDE]
    return view - camera.extras["picture_offset"]


def test_the_texture_coordinates_and_triangles(clip):
    scene = Scene(clip.write("gltf") / "head.glb")
    primitive = scene.gltf.meshes[0].primitives[0]
    triangle = scene.array(primitive.indices).reshape(-1, 3)
    uv = scene.array(primitive.attributes.TEXCOORD_0)[triangle]
    np.testing.assert_array_equal(uv, clip.head.uv[clip.head.triangle_uv])
    neutral = clip.head.neutral(torch.from_numpy(clip.fit["identity"])).numpy()
    position = scene.array(primitive.attributes.POSITION)[triangle]
    np.testing.assert_array_equal(position, neutral[clip.head.triangle])
    normal = scene.array(primitive.attributes.NORMAL)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)


def test_times_and_neighbouring_rotations(clip):
    scene = Scene(clip.write("gltf") / "head.glb")
    animation = scene.gltf.animations[0]
    times = scene.array(animation.samplers[0].input)[:, 0]
    np.testing.assert_allclose(times, clip.kept / 25, atol=1e-6)
    for channel in animation.channels:
        if channel.target.path == "rotation":
            turns = scene.array(animation.samplers[channel.sampler].output)
            assert ((turns[1:] * turns[:-1]).sum(1) > 0).all()


def test_trimesh_reads_it(clip):
    loaded = trimesh.load(clip.write("gltf") / "head.glb")
    assert len(loaded.geometry["head"].faces) == len(clip.head.triangle)


def test_the_albedo_becomes_the_texture(clip, tmp_path):
    fit = read_artifact(clip.options["face_fit"], FACE_FIT)
    fit["albedo"] = np.full((8, 8, 3), 200, np.uint8)
    fit["albedo_seen"] = np.full((8, 8), 255, np.uint8)
    path = tmp_path / "fit.h5"
    write_artifact(path, FACE_FIT, fit, {"step": "tests", "options": {}})
    options = clip.options | {"face_fit": path}
    main(Options(format="gltf", out=tmp_path / "gltf", **options))
    main(Options(format="obj", out=tmp_path / "obj", **options))
    material = trimesh.load(tmp_path / "gltf/head.glb").geometry["head"].visual.material
    assert material.baseColorTexture.size == (8, 8)
    assert "map_Kd albedo.png" in (tmp_path / "obj/meshes/head.mtl").read_text()
    assert (tmp_path / "obj/meshes/albedo.png").is_file()


def test_more_than_four_influences_are_said_to_be_cut(caplog):
    weight = torch.tensor([[0.3, 0.25, 0.2, 0.15, 0.1], [1.0, 0, 0, 0, 0]])
    joint, share = four_influences(weight)
    assert "0.1000 of a vertex's weight is left out" in caplog.text
    torch.testing.assert_close(share.sum(1), torch.ones(2))
    assert joint.tolist() == [[0, 1, 2, 3], [0, 0, 0, 0]]
