import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.layout import Layout
from benchmarks.triplane import _LABEL, computed_plainly, time_parts


def test_both_ways_draw_the_same_picture():
    torch.manual_seed(0)
    layout = replace(
        Layout(), channel_base=512, channel_max=8, neural_side=16, coarse_samples=8, fine_samples=8
    )
    generator = TriPlaneGenerator(layout).requires_grad_(False)
    latents, label = torch.randn(1, layout.n_latents, layout.w_dim), torch.tensor([_LABEL])
    with torch.inference_mode():
        with computed_plainly(label.device):
            _, plain = time_parts(generator, latents, label)
        seconds, ours = time_parts(generator, latents, label)
    assert set(seconds) == {"planes", "volume rendering", "super-resolution", "picture"}
    assert float((plain - ours).norm() / plain.norm()) < 1e-5
