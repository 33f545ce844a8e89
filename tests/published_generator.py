"""Writes a generator as EG3D publishes it: a pickle of whole networks, with source text inside."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from avatar_models.triplane.layout import Layout

SOURCE = "raise SystemExit('the source text of a pickle was executed')"


def _reconstruct_persistent_obj(meta):
    raise AssertionError("only its name matters")


class Persistent:
    """Pickles as a decorated network does."""

    def __init__(self, name, attributes):
        self.name, self.attributes = name, attributes

    def __reduce__(self):
        meta = {
            "type": "class",
            "version": 6,
            "module_src": SOURCE,
            "class_name": self.name,
            "state": self.attributes,
        }
        return _reconstruct_persistent_obj, (meta,)


class EasyDict(dict):
    pass


class Plain:
    """A network that is pickled by the name of its class (the decoder, the renderer)."""


_NAMES = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _reconstruct_persistent_obj,
    ("dnnlib.util", "EasyDict"): EasyDict,
    ("training.triplane", "OSGDecoder"): Plain,
}


@contextmanager
def _published_names():
    """The stand-ins under the names that published files ask for."""
    made = {}
    for (module, name), value in _NAMES.items():
        for depth in range(1, module.count(".") + 2):
            part = ".".join(module.split(".")[:depth])
            made.setdefault(part, types.ModuleType(part))
        setattr(made[module], name, value)
        value.__module__, value.__qualname__, value.__name__ = module, name, name
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def _module(name, parameters, parts, **more):
    attributes = {
        "training": False,
        "_parameters": OrderedDict((k, v) for k, v in parameters.items() if not _is_buffer(k)),
        "_buffers": OrderedDict((k, v) for k, v in parameters.items() if _is_buffer(k)),
        "_non_persistent_buffers_set": set(),
        "_modules": OrderedDict(parts),
        **more,
    }
    if name == "OSGDecoder":
        plain = Plain()
        plain.__dict__.update(attributes)
        return plain
    return Persistent(name, attributes)


def _is_buffer(name):
    return name in {"noise_const", "resample_filter", "w_avg"}


def _tree(state, name, **more):
    own = {key: value for key, value in state.items() if "." not in key}
    parts = {}
    for key in state:
        head, dot, _ = key.partition(".")
        if dot and head not in parts:
            below = {k[len(head) + 1 :]: v for k, v in state.items() if k.startswith(f"{head}.")}
            parts[head] = _tree(below, "OSGDecoder" if head == "decoder" else "AnyLayer")
    if name == "AnyLayer" and set(parts) == {"0", "2"}:
        layers = nn.Sequential(nn.Identity(), nn.Softplus(), nn.Identity())
        layers._modules.update(parts)  # a plain container, as in the decoder
        return layers
    return _module(name, own, parts, **more)


def options_of(layout: Layout) -> dict:
    """``rendering_kwargs`` of a layout."""
    module = f"training.superresolution.Superresolution{layout.superresolution.capitalize()}"
    return EasyDict(
        disparity_space_sampling=False,
        clamp_mode="softplus",
        superresolution_module=module.replace("xdc", "XDC"),
        c_gen_conditioning_zero=layout.label_off,
        c_scale=np.float64(layout.label_scale),
        decoder_lr_mul=layout.decoder_lr_mul,
        depth_resolution=layout.coarse_samples,
        depth_resolution_importance=layout.fine_samples,
        ray_start=layout.near,
        ray_end=layout.far,
        box_warp=layout.box_width,
        white_back=layout.white_back,
        avg_camera_radius=layout.camera_radius,
        avg_camera_pivot=list(layout.camera_pivot),
    )


def write_published(path: Path, layout: Layout, state: dict[str, torch.Tensor], **options) -> None:
    """Write a pickle of the published layout.

    Args:
        path: File to write.
        layout: Sizes.
        state: Tensors under the published names.
        options: Entries of ``rendering_kwargs`` to change.
    """
    parameters = {
        name: value if _is_buffer(name.rpartition(".")[2]) else nn.Parameter(value)
        for name, value in state.items()
    }
    network = _tree(
        parameters,
        "TriPlaneGenerator",
        img_resolution=layout.image_side,
        neural_rendering_resolution=layout.neural_side,
        rendering_kwargs=EasyDict({**options_of(layout), **options}),
        _init_kwargs=EasyDict(z_dim=layout.z_dim),
    )
    buffer = io.BytesIO()
    with _published_names():
        pickle.dump({"G": None, "D": None, "G_ema": network, "training_set_kwargs": {}}, buffer, 4)
    path.write_bytes(buffer.getvalue())
