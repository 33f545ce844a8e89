"""Write docs/metrics.md from the definitions of the metrics: ``python docs/make_metrics_page.py``."""

from __future__ import annotations

from pathlib import Path

from evaluation.metric_names import IMAGE_METRICS, REGIONS, other_metrics

PAGE = Path(__file__).parent / "metrics.md"

HEAD = """# Metrics

<!-- Made by `python docs/make_metrics_page.py`; edit evaluation/metric_names.py or that file instead. -->

One name, one definition: two numbers compare where they have one name, one `image_side_px` and the same frames. What a paper calls AED, APD, NME or FID
may be any of several of these; docs/tables.md says which one stands beside which published number.

## What needs a network

| metric | in config.yaml | network |
|---|---|---|
| `lpips_alex_*`, `lpips_vgg_*`, `lpips_squeeze_*` | `scores: {lpips: [alex, vgg, squeeze]}` | downloaded: 244, 553, 5 MB |
| `fid_person` | `scores: {fid: true}` | downloaded: 96 MB |
| `csim_*`, `identity_drift*` | `scores: {csim: true}` | `w600k_r50.onnx` (174 MB) of InsightFace's `buffalo_l`, for non-commercial research only, by hand: the error says where from and where to |

The code that runs them was compared with the published one: LPIPS with the package lpips 0.1.4, Inception with pytorch-fid 0.3.0 (the same numbers, with
random weights), ArcFace's file format with the reference evaluator of the package onnx. The published weights themselves are pinned by SHA-256.

"""


def metrics_page() -> str:
    """The page as Markdown."""
    lines = [
        "## Pictures",
        "",
        "Each is measured in every region, whose name follows it (`psnr_person`); LPIPS not in mesh, MS-SSIM not in mouth.",
        "",
    ]
    lines += ["| region | pixels |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in REGIONS.items()]
    lines += ["", "| metric | unit | better | definition |", "|---|---|---|---|"]
    lines += [f"| `{n}` | {u} | {b} | {d} |" for n, (u, b, d) in IMAGE_METRICS.items()]
    lines += [
        "",
        "## Everything else",
        "",
        "| metric | unit | better | definition |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{n}` | {i.unit} | {i.better} | {i.definition} |" for n, i in other_metrics().items()
    ]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(metrics_page(), encoding="utf-8")
