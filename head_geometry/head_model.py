"""The one head-model type: template, identity and expression bases, joints and skinning (artifact kind ``head_model``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from artifacts.errors import InputError
from artifacts.kinds import HEAD_MODEL
from artifacts.store import read_artifact
from head_geometry.landmark_sets import MEDIAPIPE, LandmarkSet
from head_geometry.rotations import matrix_from_axis_angle


@dataclass(frozen=True)
class LandmarkPlaces:
    """Where the points of a landmark set lie on a mesh.

    Attributes:
        face: Triangle of each point.
        barycentric: Coordinates in it.
        weight: Trust in each point, 0..1; 0 where it has no stable place.
    """

    face: Int[Tensor, " landmark"]
    barycentric: Float[Tensor, "landmark 3"]
    weight: Float[Tensor, " landmark"]


@dataclass(frozen=True)
class HeadModel:
    """A parametric head. Metres, head axes (x to the subject's left, y up, z out of the face).

    The joint ``head`` is the root (parent -1) and its rotation stays zero: turning and moving the head is
    ``world_from_head``. ``neck`` is its child although it lies below it: its rotation turns the lower neck
    against the head, so a head that nods on a steady neck has ``world_from_head`` nod and ``neck`` counter
    the nod. The eyes are children of the head, so their rotation is the gaze in the head. Joints are found by
    name, their order is the model's own. The origin of the head axes is the model's own as well (the joint
    ``head`` of the mean head, between skull and spine, in the default one).

    Nothing that uses it may know which published model it came from. Attributes are the datasets of the
    ``head_model`` artifact (see :data:`artifacts.kinds.HEAD_MODEL` for units), as tensors; names as tuples.
    """

    template: Float[Tensor, "vertex 3"]
    identity_basis: Float[Tensor, "identity vertex 3"]
    identity_std: Float[Tensor, " identity"]
    expression_basis: Float[Tensor, "expression vertex 3"]
    expression_name: tuple[str, ...]
    expression_lower: Float[Tensor, " expression"]
    expression_upper: Float[Tensor, " expression"]
    joint_name: tuple[str, ...]
    joint_parent: tuple[int, ...]
    joint_regressor: Float[Tensor, "joint vertex"]
    skin_weight: Float[Tensor, "vertex joint"]
    triangle: Int[Tensor, "face 3"]
    uv: Float[Tensor, "uv_vertex 2"]
    triangle_uv: Int[Tensor, "face 3"]
    vertex_part: Int[Tensor, " vertex"]
    part_name: tuple[str, ...]
    mirror_vertex: Int[Tensor, " vertex"]
    mediapipe_face: Int[Tensor, " mediapipe"]
    mediapipe_barycentric: Float[Tensor, "mediapipe 3"]
    mediapipe_weight: Float[Tensor, " mediapipe"]
    sparse68_face: Int[Tensor, "68"]
    sparse68_barycentric: Float[Tensor, "68 3"]
    # Not every model has these; files of version 1.0 read as models without them.
    corrective_joint: Int[Tensor, " corrective"] = field(
        default_factory=lambda: torch.zeros(0, dtype=torch.long)
    )
    pose_corrective: Float[Tensor, "corrective 9 corrected_vertex 3"] = field(
        default_factory=lambda: torch.zeros(0, 9, 0, 3)
    )
    joint_expression: Float[Tensor, "moving_expression moved_joint 3"] = field(
        default_factory=lambda: torch.zeros(0, 0, 3)
    )
    albedo_mean: Float[Tensor, "albedo_vertex 3"] = field(default_factory=lambda: torch.zeros(0, 3))
    albedo_basis: Float[Tensor, "albedo albedo_vertex 3"] = field(
        default_factory=lambda: torch.zeros(0, 0, 3)
    )
    albedo_std: Float[Tensor, " albedo"] = field(default_factory=lambda: torch.zeros(0))

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> HeadModel:
        """Read a ``head_model`` artifact.

        Raises:
            ArtifactError: the file is not one.
        """
        arrays = read_artifact(path, HEAD_MODEL)
        values: dict[str, object] = {}
        for name, array in arrays.items():
            if array.dtype.kind == "U":
                values[name] = tuple(str(text) for text in array)
            elif name == "joint_parent":
                values[name] = tuple(int(parent) for parent in array)
            else:
                tensor = torch.from_numpy(array).to(device)
                values[name] = tensor.long() if array.dtype.kind == "i" else tensor
        return cls(**values)  # type: ignore[arg-type]

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> HeadModel:
        """The same model on another device and, for its real-valued arrays, in another precision."""
        moved = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Tensor):
                moved[entry.name] = value.to(device, dtype if value.is_floating_point() else None)
        return replace(self, **moved)

    def personal(
        self,
        vertex_offset: Float[Tensor, "any_vertex 3"],
        expression_offset: Float[Tensor, "own_expression own_vertex 3"] | None = None,
    ) -> HeadModel:
        """The head of one subject: template and expressions changed by what no coefficient can say.

        Args:
            vertex_offset: ``vertex_offset`` of a ``face_fit``, metres, head axes; no rows mean no displacement
                (a fit of before there was one).
            expression_offset: The same for the displacement that each expression's coefficient stands for.

        Raises:
            InputError: the offsets are those of another head model.
        """
        own = {}
        if len(vertex_offset):
            if len(vertex_offset) != len(self.template):
                raise InputError(
                    f"the face fit displaces {len(vertex_offset)} vertices, but the head model has "
                    f"{len(self.template)}; run face_fit again with this head model"
                )
            own["template"] = self.template + vertex_offset.to(self.template)
        if expression_offset is not None and len(expression_offset):
            if expression_offset.shape != self.expression_basis.shape:
                raise InputError(
                    f"the face fit has {tuple(expression_offset.shape[:2])} own expressions and vertices, but the "
                    f"head model has {tuple(self.expression_basis.shape[:2])}; run face_fit again with this head model"
                )
            moved = expression_offset.to(self.expression_basis)
            own["expression_basis"] = self.expression_basis + moved
        return replace(self, **own) if own else self

    def of_subject(
        self, fit: Mapping[str, np.ndarray], path: Path | str = "the face fit"
    ) -> HeadModel:
        """The head of the subject of a ``face_fit`` that was made with this model.

        Args:
            fit: Its arrays by name.
            path: Its file, for the message.

        Raises:
            InputError: it was made with another head model.
        """
        found = (fit["expression"].shape[1], fit["joint_rotation"].shape[1])
        expected = (len(self.expression_name), len(self.joint_name))
        identities = len(self.identity_std)
        if found != expected or len(fit["identity"]) > identities:
            raise InputError(
                f"{path}: {found[0]} expressions, {found[1]} joints and {len(fit['identity'])} identities, but the "
                f"head model has {expected[0]}, {expected[1]} and {identities}; give the head model of the fit, "
                "or run face_fit again with this one"
            )
        offsets = (fit["vertex_offset"], fit["expression_offset"])
        return self.personal(*(torch.from_numpy(offset) for offset in offsets))

    def neutral(
        self, identity: Float[Tensor, "*batch identity"]
    ) -> Float[Tensor, "*batch vertex 3"]:
        """Shaped vertices in the neutral expression; fewer coefficients than components are allowed."""
        n = identity.shape[-1]
        metres = identity * self.identity_std[:n]
        return self.template + torch.tensordot(metres, self.identity_basis[:n], dims=1)

    def vertices(
        self,
        identity: Float[Tensor, " identity"],
        expression: Float[Tensor, "frame expression"],
        joint_rotation: Float[Tensor, "frame joint 3"],
    ) -> Float[Tensor, "frame vertex 3"]:
        """Posed vertices in head axes, metres.

        Args:
            identity: Standard deviations.
            expression: Coefficients, 1 is the full action.
            joint_rotation: Axis-angle of each joint, radians, in head axes.

        Source: linear blend shapes, pose correctives where the model has them, and linear blend skinning, as
        in FLAME (Li et al. 2017, eq. 2 to 5).
        """
        neutral = self.neutral(identity)
        shaped = neutral + torch.tensordot(expression, self.expression_basis, dims=1)
        joints = self.joint_places(identity, expression)
        if len(self.corrective_joint) > 0:
            shaped = shaped + self.correct_pose(joint_rotation)
        return self.skin(shaped, joints, joint_rotation)

    def correct_pose(
        self, joint_rotation: Float[Tensor, "frame joint 3"]
    ) -> Float[Tensor, "frame vertex 3"]:
        """Displacement of the unposed vertices by the joints' rotations, metres.

        Source: pose blend shapes, Li et al. 2017 (FLAME), eq. 5.
        """
        local = matrix_from_axis_angle(joint_rotation[:, self.corrective_joint])
        identity = torch.eye(3, dtype=local.dtype, device=local.device)
        return torch.tensordot((local - identity).flatten(2), self.pose_corrective, dims=2)

    def joint_places(
        self,
        identity: Float[Tensor, " identity"],
        expression: Float[Tensor, "frame expression"],
    ) -> Float[Tensor, "frame joint 3"]:
        """Where the joints lie before any of them turns, head axes, metres."""
        joints = self.joint_regressor @ self.neutral(identity)
        joints = joints.expand(len(expression), *joints.shape)
        if len(self.joint_expression) == 0:
            return joints
        return joints + torch.tensordot(expression, self.joint_expression, dims=1)

    def skin(
        self,
        shaped: Float[Tensor, "frame vertex 3"],
        joints: Float[Tensor, "*frames joint 3"],
        joint_rotation: Float[Tensor, "frame joint 3"],
    ) -> Float[Tensor, "frame vertex 3"]:
        """Linear blend skinning of ``shaped`` vertices about ``joints`` (of all or of each frame; head axes, metres)."""
        rotations, translations = self.joint_motion(joints, joint_rotation)
        rotation = torch.einsum("vj,fjab->fvab", self.skin_weight, rotations)
        translation = torch.einsum("vj,fja->fva", self.skin_weight, translations)
        return (rotation @ shaped[..., None])[..., 0] + translation

    def joint_motion(
        self,
        joints: Float[Tensor, "*frames joint 3"],
        joint_rotation: Float[Tensor, "frame joint 3"],
    ) -> tuple[Float[Tensor, "frame joint 3 3"], Float[Tensor, "frame joint 3"]]:
        """Rotation and translation that each joint gives the points bound to it: x -> R x + t, head axes, metres."""
        local = matrix_from_axis_angle(joint_rotation)
        rotations: list[Tensor] = []
        translations: list[Tensor] = []
        for joint, parent in enumerate(self.joint_parent):
            # x -> R (x - c) + c, then the parent's motion.
            centre = joints[..., joint, :]
            shift = centre - (local[:, joint] @ centre[..., None])[..., 0]
            if parent < 0:
                rotations.append(local[:, joint])
                translations.append(shift)
            else:
                rotations.append(rotations[parent] @ local[:, joint])
                translations.append(
                    (rotations[parent] @ shift[..., None])[..., 0] + translations[parent]
                )
        return torch.stack(rotations, 1), torch.stack(translations, 1)

    def mediapipe_points(
        self, vertices: Float[Tensor, "*batch vertex 3"]
    ) -> Float[Tensor, "*batch mediapipe 3"]:
        """Places of the 478 MediaPipe points on posed vertices."""
        return self.landmark_points(vertices, MEDIAPIPE)

    def landmark_places(self, landmarks: LandmarkSet) -> LandmarkPlaces:
        """Where the points of a set lie on the mesh."""
        if landmarks is MEDIAPIPE:
            return LandmarkPlaces(
                self.mediapipe_face, self.mediapipe_barycentric, self.mediapipe_weight
            )
        trust = torch.ones_like(self.sparse68_barycentric[:, 0])
        # The jaw line slides over the skin with every turn; of its points, only the chin has a place on a mesh.
        trust[[point for point in landmarks.outline if point != landmarks.chin]] = 0
        return LandmarkPlaces(self.sparse68_face, self.sparse68_barycentric, trust)

    @property
    def jaw_joints(self) -> list[int]:
        """Indices of joints that open the mouth; empty where expressions alone do."""
        return [index for index, name in enumerate(self.joint_name) if name == "jaw"]

    def landmark_points(
        self, vertices: Float[Tensor, "*batch vertex 3"], landmarks: LandmarkSet
    ) -> Float[Tensor, "*batch landmark 3"]:
        """Places of a set's points on posed vertices."""
        places = self.landmark_places(landmarks)
        corners = vertices[..., self.triangle[places.face], :]
        return (corners * places.barycentric[..., None]).sum(-2)

    def part_vertices(self, *parts: str) -> Int[Tensor, " chosen"]:
        """Indices of the vertices that belong to any of the named parts.

        Raises:
            ValueError: the model has no such part.
        """
        labels = torch.tensor(
            [self.part_name.index(part) for part in parts], device=self.vertex_part.device
        )
        return torch.isin(self.vertex_part, labels).nonzero()[:, 0]
