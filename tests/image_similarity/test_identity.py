import numpy as np
import onnx
import pytest
import torch
from arcface_network import FEATURES, small_model, write_network
from onnx import helper
from onnx.reference import ReferenceEvaluator
from skimage.data import astronaut

from artifacts.errors import InputError
from image_similarity.identity import ALIGNED_POINTS, SIDE_PX, align_face, load_identity
from image_similarity.onnx_network import OnnxNetwork

FACES = np.random.default_rng(5).random((2, SIDE_PX, SIDE_PX, 3)).astype(np.float32)


def test_embeddings_agree_with_the_reference_evaluator_of_onnx(tmp_path):
    x = np.moveaxis(FACES, -1, 1) * 2 - 1
    (expected,) = ReferenceEvaluator(small_model()).run(None, {"x": x})
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    found = load_identity(write_network(tmp_path / "faces.onnx"))(torch.from_numpy(FACES))
    assert found.shape == (2, FEATURES)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_a_loss_of_identity_reaches_the_picture(tmp_path):
    network = load_identity(write_network(tmp_path / "faces.onnx"))
    faces = torch.from_numpy(FACES).requires_grad_()
    first, second = network(faces)
    (first @ second).backward()
    assert faces.grad is not None
    assert faces.grad.abs().max() > 0
    assert not list(network.parameters())


def test_an_unknown_operator_is_named():
    graph = small_model().graph
    graph.node.append(helper.make_node("Softmax", ["y"], ["z"]))
    with pytest.raises(ValueError, match="needs the operator Softmax"):
        OnnxNetwork(graph)


def test_weights_in_another_file_are_refused():
    graph = small_model().graph
    graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(ValueError, match="in another file"):
        OnnxNetwork(graph)


@pytest.mark.parametrize("content", [b"", b"\x00not a network", b"\xff" * 100])
def test_a_damaged_file_is_refused_in_one_sentence(content, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.onnx: cannot be used as an ONNX network .*"):
        load_identity(tmp_path / "bad.onnx")


def test_a_network_for_pictures_of_another_size_is_refused(tmp_path):
    model = small_model()
    # One weight fewer for each embedding, as a network of smaller pictures has.
    for tensor in model.graph.initializer:
        if tensor.name == "g":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros((FEATURES, 9), np.float32), "g"))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(InputError, match="does not map faces of 112 x 112 px"):
        load_identity(tmp_path / "other.onnx")


def test_an_aligned_face_is_turned_scaled_and_moved_into_place():
    image = astronaut().astype(np.float64) / 255
    # A quarter turn, half the size: pixel (x, y) of the aligned picture is at (x', y') of the image.
    turned = np.array([[0.0, -2.0], [2.0, 0.0]])
    points = ALIGNED_POINTS @ turned.T + [330.0, 60.0]
    found = align_face(image, points)
    for x, y in ((20, 30), (56, 56), (90, 100)):
        column, row = (turned @ [x, y] + [330.0, 60.0]).astype(int)
        np.testing.assert_allclose(found[y, x], image[row, column], atol=1e-6)


def test_points_in_one_place_are_refused():
    with pytest.raises(ValueError, match="in one place"):
        align_face(np.zeros((8, 8, 3)), np.zeros((5, 2)))
