"""The rasteriser against PyTorch3D's, where that is installed (it has no wheels on the package index)."""

import pytest
import torch
from test_rasteriser import SIZE, bumpy_scene

from head_geometry.camera_conventions import pytorch3d_from_camera
from head_geometry.rasteriser import rasterise

pytest.importorskip("pytorch3d", reason="PyTorch3D is not installed; it has to be built by hand")

INTRINSICS = torch.tensor([[60.0, 0.0, 22.0], [0.0, 66.0, 21.0], [0.0, 0.0, 1.0]])


def test_same_faces_barycentrics_and_depth():
    from pytorch3d.renderer import MeshRasterizer, PerspectiveCameras, RasterizationSettings
    from pytorch3d.structures import Meshes

    vertices, triangle = bumpy_scene()
    rotation, translation, focal, principal = pytorch3d_from_camera(torch.eye(4), INTRINSICS, SIZE)
    cameras = PerspectiveCameras(
        R=rotation[None],
        T=translation[None],
        focal_length=focal[None],
        principal_point=principal[None],
        in_ndc=True,
    )
    settings = RasterizationSettings(
        image_size=(SIZE[1], SIZE[0]), blur_radius=0.0, faces_per_pixel=1, bin_size=0,
        perspective_correct=True, cull_backfaces=False,
    )  # fmt: skip
    theirs = MeshRasterizer(cameras, settings)(Meshes([vertices], [triangle]))
    ours = rasterise(vertices, triangle, INTRINSICS, SIZE)
    face = theirs.pix_to_face[0, ..., 0]
    same = face == ours.face_id
    # Pixel centres on an edge may fall to either side.
    assert float(same.float().mean()) > 0.995
    both = same & (face >= 0)
    assert (
        float((theirs.bary_coords[0, ..., 0, :][both] - ours.barycentric[both]).abs().max()) < 1e-3
    )
    assert float((theirs.zbuf[0, ..., 0][both] - ours.depth[both]).abs().max()) < 1e-4
