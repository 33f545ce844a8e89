import numpy as np
import pytest
import torch
from inception_weights import (
    pictures,
    published_shapes,
    random_state,
    reference_features,
    small_shapes,
)

from artifacts.errors import InputError
from image_similarity.inception import InceptionFeatures, load_inception


def test_it_computes_what_the_package_pytorch_fid_computes():
    with torch.inference_mode():
        found = InceptionFeatures(random_state(published_shapes()))(pictures())
    assert found.shape == (2, 2048)
    expected = reference_features()
    assert (expected > 0.01).mean() > 0.5
    np.testing.assert_allclose(found[:, ::8].numpy(), expected, rtol=1e-3, atol=1e-4)


def test_a_file_with_few_channels_is_the_same_network(tmp_path):
    torch.save(random_state(small_shapes()), tmp_path / "small.pth")
    with torch.inference_mode():
        found = load_inception(tmp_path / "small.pth")(pictures())
    assert found.shape == (2, 12)
    assert found.isfinite().all()
    assert not torch.allclose(found[0], found[1])


@pytest.mark.parametrize(
    "lost", ["Mixed_6c.branch7x7_2.bn.running_var", "Mixed_7c.branch_pool.conv.weight"]
)
def test_a_file_without_one_of_its_tensors_is_refused(lost, tmp_path):
    state = random_state(small_shapes())
    del state[lost]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(InputError, match=rf"cut\.pth: not the Inception weights of FID .*{lost}"):
        load_inception(tmp_path / "cut.pth")
