"""Generators in files: round trips, published pickles, and files that are truncated, hostile or of another size."""

import os
import pickle
from dataclasses import replace

import pytest
import torch
from published_generator import SOURCE, write_published
from safetensors.torch import save_file
from test_generator import LABEL, TINY, tiny

from artifacts.errors import InputError
from avatar_models.triplane.layout import Layout
from avatar_models.triplane.weights import load_generator, read_record, save_generator

PUBLISHED = replace(TINY, superresolution="hybrid2x", image_side=128, label_scale=0.5)
FILTER = torch.tensor([1.0, 3, 3, 1])[:, None] * torch.tensor([1.0, 3, 3, 1]) / 64


def published_state(generator):
    return {**generator.state_dict(), "backbone.synthesis.b4.resample_filter": FILTER}


@pytest.fixture
def published(tmp_path):
    generator = tiny(superresolution="hybrid2x", image_side=128, label_scale=0.5)
    path = tmp_path / "ffhq.pkl"
    write_published(path, PUBLISHED, published_state(generator))
    return generator, path


def assert_same(found, expected):
    assert found.layout == expected.layout
    state = expected.state_dict()
    assert found.state_dict().keys() == state.keys()
    for name, value in found.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_published_pickle_is_read_and_none_of_it_runs(published):
    generator, path = published
    assert SOURCE.encode() in path.read_bytes()
    found = load_generator(path)
    assert_same(found, generator)
    latents = torch.randn(1, TINY.n_latents, 8)
    assert torch.equal(found(latents, LABEL).image, generator(latents, LABEL).image)


def test_a_generator_of_ours_comes_back(tmp_path):
    generator = tiny()
    save_generator(tmp_path / "g.safetensors", generator, {"command": "made by hand"})
    assert_same(load_generator(tmp_path / "g.safetensors"), generator)
    assert read_record(tmp_path / "g.safetensors")["command"] == "made by hand"


def test_half_precision_halves_the_file_and_loads_as_single(tmp_path):
    generator = tiny()
    for name, dtype in (("full", torch.float32), ("half", torch.float16)):
        save_generator(tmp_path / f"{name}.safetensors", generator, {}, dtype)
    assert (
        load_generator(tmp_path / "half.safetensors").decoder.net[0].weight.dtype == torch.float32
    )
    full, half = ((tmp_path / f"{n}.safetensors").stat().st_size for n in ("full", "half"))
    assert half < 0.75 * full


class Runs:
    def __reduce__(self):
        return os.system, ("touch HACKED",)


def hostile_network(module, name):
    # A state for the name: what a stand-in that is a function or a class must refuse.
    return b"\x80\x02}U\x05G_emac" + f"{module}\n{name}\n".encode() + b"}U\x08__call__K\x01sbs."


HOSTILE = {
    "system": pickle.dumps({"G_ema": Runs()}),
    "a loader of torch": b"\x80\x02ctorch\nload\n(U\x01atR.",
    "the code of another package": b"\x80\x02ctorch_utils.misc\nassert_shape\n(tR.",
    "storage that is a pickle": b"\x80\x02ctorch.storage\n_load_from_bytes\n(C"
    + bytes([len(pickle.dumps(Runs(), 2))])
    + pickle.dumps(Runs(), 2)
    + b"tR.",
    "state for a function": hostile_network("torch._utils", "_rebuild_tensor_v2"),
    "state for a class": hostile_network("training.triplane", "OSGDecoder"),
    "state for a dictionary": hostile_network("dnnlib.util", "EasyDict"),
    "state for an ordered dictionary": hostile_network("collections", "OrderedDict"),
    "persistent id": b"Pevil\n.",
    "no dictionary": pickle.dumps([1, 2]),
    "no network": pickle.dumps({"G_ema": {"a": 1}}),
    "a network of nothing": b"\x80\x02}U\x05G_emactraining.triplane\nOSGDecoder\n)\x81s.",
    "empty": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_in_a_sentence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pkl").write_bytes(HOSTILE[name])
    with pytest.raises(InputError, match=r"evil\.pkl"):
        load_generator(tmp_path / "evil.pkl")
    assert not (tmp_path / "HACKED").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files_are_refused(share, published, tmp_path):
    generator, path = published
    save_generator(tmp_path / "g.safetensors", generator, {})
    for whole in (path, tmp_path / "g.safetensors"):
        data = whole.read_bytes()
        whole.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError, match=whole.name):
            load_generator(whole)


def test_files_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_generator(tmp_path / "absent.pkl")
    with pytest.raises(InputError, match="cannot be read"):
        load_generator(tmp_path / "absent.safetensors")
    with pytest.raises(InputError, match=r"is a \.safetensors or"):
        load_generator(tmp_path / "weights.pth")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="no sizes"):
        load_generator(tmp_path / "other.safetensors")


def test_a_checkpoint_of_another_size_is_refused(tmp_path):
    generator = tiny()
    generator.layout = replace(TINY, decoder_hidden=6)
    save_generator(tmp_path / "g.safetensors", generator, {})
    with pytest.raises(InputError, match=r"decoder\.net\.0\.bias has shape \(5,\).*\(6,\)"):
        load_generator(tmp_path / "g.safetensors")


def test_sizes_of_another_version_are_refused():
    with pytest.raises(InputError, match="another version"):
        Layout.from_json('{"z_dim": 512}')
    with pytest.raises(InputError, match="another version"):
        Layout.from_json(Layout().to_json().replace("512", '"512"', 1))
    assert Layout.from_json(TINY.to_json()) == TINY


@pytest.mark.parametrize("options", [{"clamp_mode": "relu"}, {"disparity_space_sampling": True}])
def test_options_that_are_not_known_are_refused(options, tmp_path):
    generator = tiny(superresolution="hybrid2x", image_side=128)
    write_published(tmp_path / "g.pkl", generator.layout, published_state(generator), **options)
    with pytest.raises(InputError, match=next(iter(options))):
        load_generator(tmp_path / "g.pkl")


def test_another_filter_is_refused(tmp_path):
    generator = tiny(superresolution="hybrid2x", image_side=128)
    state = {**published_state(generator), "backbone.synthesis.b4.resample_filter": FILTER * 2}
    write_published(tmp_path / "g.pkl", generator.layout, state)
    with pytest.raises(InputError, match="1-3-3-1"):
        load_generator(tmp_path / "g.pkl")


@pytest.mark.parametrize(
    "changes", [{"plane_side": 24}, {"superresolution": "hybrid3x"}, {"image_side": 7}]
)
def test_impossible_sizes_are_refused(changes):
    with pytest.raises(InputError):
        replace(TINY, **changes)
