"""Read a published EG3D pickle without running anything it contains.

Such a pickle holds whole networks, to be rebuilt from source text that lies in the file. Here nothing of it is
imported or executed: stand-ins keep what they are given, and only tensors and sizes are taken from them.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from artifacts.errors import InputError
from avatar_models.triplane.layout import Layout
from head_geometry.legacy_pickle import (
    PICKLE_ERRORS,
    Function,
    Keeper,
    RestrictedUnpickler,
)

# Modules whose classes are networks or parts of them; all get the same stand-in.
_NETWORKS = ("torch.nn.modules.", "training.")
_MAX_DEPTH = 20


class _Network(Keeper):
    """Stands in for any network: keeps its attributes."""

    __slots__ = ()


class _Options(dict[str, Any]):
    """Stands in for ``dnnlib.EasyDict``; keeps no state besides its entries."""

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a dictionary is given a state")


def _network(meta: object = None) -> _Network:
    """What is kept of a persistent object: its attributes, not its source text."""
    if not (isinstance(meta, dict) and meta.get("type") == "class"):
        raise pickle.UnpicklingError("it holds a network of an unknown kind")
    network = _Network()
    network.state = meta.get("state")
    return network


def _storage(data: object = b"") -> object:
    if not isinstance(data, bytes):
        raise pickle.UnpicklingError("it holds a tensor without numbers")
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_rest: object) -> Tensor:  # noqa: ANN401
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError("it holds a tensor without storage")
    flat = torch.empty(0, dtype=storage.dtype).set_(storage)  # type: ignore[arg-type]
    return torch.as_strided(flat, size, stride, offset)


def _parameter(data: object = None, *_rest: object) -> Tensor:
    if not isinstance(data, Tensor):
        raise pickle.UnpicklingError("it holds a parameter that is no tensor")
    return data


_NAMES: dict[tuple[str, str], object] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Function(_network),
    ("dnnlib.util", "EasyDict"): _Options,
    ("dnnlib", "EasyDict"): _Options,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch._utils", "_rebuild_tensor_v2"): Function(_tensor),
    ("torch._utils", "_rebuild_parameter"): Function(_parameter),
    ("torch.storage", "_load_from_bytes"): Function(_storage),
}


class _Reader(RestrictedUnpickler):
    def stand_in(self, module: str, name: str) -> object:
        if module.startswith(_NETWORKS):
            return _Network
        return _NAMES.get((module, name)) or super().stand_in(module, name)


def read_published(path: Path) -> tuple[Layout, dict[str, Tensor]]:
    """Sizes and tensors of the averaged generator (``G_ema``) of a published pickle, float32.

    Raises:
        InputError: the file is missing, truncated, asks for a name that is not expected, or holds no EG3D generator.
    """
    try:
        with path.open("rb") as file:
            content = _Reader(file).load()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the path of a file"
        ) from error
    except (*PICKLE_ERRORS, RuntimeError) as error:
        raise InputError(
            f"{path}: is no published EG3D generator or is damaged ({error}); fetch it again"
        ) from error
    network = content.get("G_ema") if isinstance(content, dict) else None
    if not isinstance(network, _Network):
        raise InputError(f"{path}: holds no network G_ema; give a published EG3D pickle")
    try:
        state = dict(_tensors(network, "", 0))
        return layout_of(_attributes(network), state), state
    except PICKLE_ERRORS as error:
        raise InputError(f"{path}: G_ema is no EG3D generator ({error})") from error


def _attributes(network: Keeper) -> dict[str, Any]:
    state = getattr(network, "state", None)
    if not isinstance(state, dict):
        raise pickle.UnpicklingError("a network without attributes")
    return state


def _tensors(network: Keeper, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by their dotted names."""
    if depth > _MAX_DEPTH:
        raise pickle.UnpicklingError("it is nested too deep")
    attributes = _attributes(network)
    for kind in ("_parameters", "_buffers"):
        for name, value in dict(attributes.get(kind) or {}).items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value.detach().float().contiguous()
    for name, part in dict(attributes.get("_modules") or {}).items():
        if isinstance(part, Keeper):
            yield from _tensors(part, f"{prefix}{name}.", depth + 1)


def layout_of(attributes: dict[str, Any], state: dict[str, Tensor]) -> Layout:
    """Sizes from the tensors themselves, the rest from the options the network was made with.

    Args:
        attributes: Of the network: ``rendering_kwargs`` and ``neural_rendering_resolution``.
        state: Its tensors.

    Raises:
        KeyError: no generator of this kind.
        InputError: it renders in a way that is not known here.
    """
    options = attributes["rendering_kwargs"]
    for name, expected in (("disparity_space_sampling", False), ("clamp_mode", "softplus")):
        if options.get(name, expected) != expected:
            raise InputError(
                f"this generator was made with {name}={options[name]!r}; only {expected!r} is known"
            )
    sides = sorted(
        int(name.split(".")[2][1:])
        for name in state
        if name.endswith(".torgb.weight") and "synthesis.b" in name
    )
    last = f"backbone.synthesis.b{sides[-1]}"
    mapping = "backbone.mapping."
    w_dim, label_dim = state[f"{mapping}embed.weight"].shape
    module = str(options["superresolution_module"]).rpartition(".")[2]
    return Layout(
        z_dim=state[f"{mapping}fc0.weight"].shape[1] - w_dim,
        w_dim=w_dim,
        label_dim=label_dim,
        mapping_layers=sum(name.startswith(f"{mapping}fc") for name in state) // 2,
        plane_side=sides[-1],
        plane_channels=state[f"{last}.torgb.weight"].shape[0] // 3,
        channel_base=state[f"{last}.conv1.weight"].shape[0] * sides[-1],
        channel_max=state["backbone.synthesis.b4.const"].shape[0],
        decoder_hidden=state["decoder.net.0.weight"].shape[0],
        feature_channels=state["decoder.net.2.weight"].shape[0] - 1,
        decoder_lr_mul=float(options.get("decoder_lr_mul", 1.0)),
        superresolution=module.lower().removeprefix("superresolution"),
        image_side=int(attributes["img_resolution"]),
        neural_side=int(attributes["neural_rendering_resolution"]),
        near=float(options["ray_start"]),
        far=float(options["ray_end"]),
        box_width=float(options["box_warp"]),
        coarse_samples=int(options["depth_resolution"]),
        fine_samples=int(options["depth_resolution_importance"]),
        white_back=bool(options.get("white_back", False)),
        label_scale=float(options.get("c_scale", 1.0)),
        label_off=bool(options.get("c_gen_conditioning_zero", False)),
        camera_radius=float(options.get("avg_camera_radius", 2.7)),
        camera_pivot=tuple(float(x) for x in options.get("avg_camera_pivot", (0.0, 0.0, 0.2))),
    )
