"""Who is in a picture: ArcFace embeddings of aligned faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from skimage.transform import SimilarityTransform, warp
from torch import Tensor, nn

from artifacts.errors import InputError
from image_similarity.onnx_network import load_onnx

WEIGHT_FILE = "w600k_r50.onnx"
SIDE_PX = 112
# Where the subject's right and left eye, nose tip, right and left corner of the mouth lie in an aligned picture, pixels.
# Source: the alignment of the package insightface (Deng, Guo, Xue and Zafeiriou 2019).
ALIGNED_POINTS = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)


def align_face(
    image: Float[np.ndarray, "height width 3"], points: Float[np.ndarray, "5 2"]
) -> Float[np.ndarray, "112 112 3"]:
    """A face turned, scaled and moved so that its five points come to lie where ArcFace expects them.

    Args:
        image: sRGB in 0..1.
        points: As :data:`ALIGNED_POINTS` lists them; x, y in pixels of ``image``, (0, 0) the centre of the first pixel.

    Raises:
        ValueError: the points all lie in one place.

    Source: Umeyama 1991 (least-squares similarity); the package insightface.
    """
    found = SimilarityTransform.from_estimate(points, ALIGNED_POINTS)
    if not found:
        raise ValueError("the points of the face lie in one place")
    return warp(image, found.inverse, output_shape=(SIDE_PX, SIDE_PX), order=1, cval=0.0)


class IdentityNetwork(nn.Module):
    """ArcFace: unit vectors whose cosine says how alike two faces are.

    Source: Deng, Guo, Xue and Zafeiriou 2019.
    """

    def __init__(self, network: nn.Module) -> None:
        """Take a network that maps (n, 3, 112, 112) RGB in -1..1 to embeddings."""
        super().__init__()
        self.network = network

    def forward(self, aligned: Float[Tensor, "frame 112 112 3"]) -> Float[Tensor, "frame feature"]:
        """Unit embeddings of faces from :func:`align_face`; sRGB in 0..1."""
        found = self.network(aligned.movedim(-1, 1) * 2 - 1)
        return found / torch.linalg.vector_norm(found, dim=1, keepdim=True).clamp_min(1e-12)


def load_identity(path: Path) -> IdentityNetwork:
    """Read an ArcFace network (ONNX, as the package insightface has them).

    Raises:
        InputError: the file is missing or damaged, or is no network of this kind.
    """
    network = IdentityNetwork(load_onnx(path))
    try:
        with torch.inference_mode():
            found = network(torch.zeros(1, SIDE_PX, SIDE_PX, 3))
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: does not map faces of {SIDE_PX} x {SIDE_PX} px to embeddings ({error}); give {WEIGHT_FILE}"
        ) from error
    if found.ndim != 2:
        raise InputError(
            f"{path}: gives {tuple(found.shape)} for one face, not one embedding; give {WEIGHT_FILE}"
        )
    return network
