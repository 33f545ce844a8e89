"""Joints for a head that is published without any, made from its geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from preprocessing.head_models.basis import fit_joint_regressor, sphere_centres
from preprocessing.head_models.published import ALL_PARTS, JOINTS, PublishedHead, Rig

EYES = ("eye_left", "eye_right")
# Typical places of an adult's head, metres, relative to others; measured on the default model's mean head.
EYE_FROM_NOSE_TIP_M = np.array([0.0314, 0.044, -0.047])
HEAD_FROM_EYES_M = np.array([0.0, -0.044, -0.085])
NECK_FROM_HEAD_M = np.array([0.0, -0.038, -0.0126])
CHIN_BELOW_EYES_M, CHIN_BEFORE_EYES_M = 0.114, 0.0175
# The throat runs backwards from under the chin up to the hairline: height falls by this much per metre forwards.
NECK_SLOPE = 0.6
# The neck begins this far below the chin along that plane, and moves entirely this much further down.
NECK_START_M, NECK_LENGTH_M = 0.02, 0.07
RANDOM_HEADS = 40
EYE_REACH_M = 0.03


@dataclass(frozen=True)
class FacePlaces:
    """Where a few things are on the mean head, metres: found, or guessed before anything was found."""

    eyes: Float[np.ndarray, "2 3"]
    chin: Float[np.ndarray, "3"]


def has_eyeballs(head: PublishedHead) -> bool:
    """Whether both eyes are meshes of their own."""
    return all(bool((head.part == ALL_PARTS.index(name)).any()) for name in EYES)


def guess_places(head: PublishedHead) -> FacePlaces:
    """Eyes from the eyeballs where there are any, else from the tip of the nose; the chin from the eyes."""
    if has_eyeballs(head):
        balls = [head.part == ALL_PARTS.index(name) for name in EYES]
        eyes = np.stack([sphere_centres(head.template[None, ball])[0] for ball in balls])
    else:
        tip = head.template[head.template[:, 2].argmax()]
        eyes = tip * [0, 1, 1] + EYE_FROM_NOSE_TIP_M * [[1, 1, 1], [-1, 1, 1]]
    chin = eyes.mean(0) * [0, 1, 1] + [0, -CHIN_BELOW_EYES_M, CHIN_BEFORE_EYES_M]
    return FacePlaces(eyes, chin)


def geometric_rig(head: PublishedHead, places: FacePlaces) -> Rig:
    """Head, neck and eyes of a model without joints.

    The eyes turn about the middle of their balls, or, where the model has none, about where they would be, and
    move nothing. The neck moves what lies below the chin; where nothing does, it moves nothing.

    Source: own.
    """
    head_joint = places.eyes.mean(0) + HEAD_FROM_EYES_M
    neck_joint = head_joint + NECK_FROM_HEAD_M
    skin = np.flatnonzero(~np.isin(head.part, [ALL_PARTS.index(name) for name in EYES]))
    behind = skin[head.template[skin, 2] < places.eyes[:, 2].mean()]
    rows = [
        fit_joint_regressor(head.template[None], joint[None], behind if len(behind) else skin)
        for joint in (head_joint, neck_joint)
    ]
    rows += [_eye_row(head, name, eye) for name, eye in zip(EYES, places.eyes, strict=True)]
    neck = _neck_share(head.template, places)
    neck[head.part >= 0] = 0
    weight = np.zeros((len(neck), len(JOINTS)))
    weight[:, 0], weight[:, 1] = 1 - neck, neck
    for column, name in enumerate(JOINTS[2:], start=2):
        weight[head.part == ALL_PARTS.index(name)] = np.eye(len(JOINTS))[column]
    return Rig(
        joint_name=JOINTS,
        joint_regressor=np.stack(rows),
        skin_weight=weight,
        corrective_joint=(),
        pose_corrective=np.zeros((0, 9, len(neck), 3)),
        joint_expression=np.zeros((0, len(JOINTS), 3)),
    )


def _eye_row(
    head: PublishedHead, name: str, eye: Float[np.ndarray, "3"]
) -> Float[np.ndarray, " vertex"]:
    """Regression weights of one eye's centre."""
    ball = np.flatnonzero(head.part == ALL_PARTS.index(name))
    if len(ball) == 0:
        near = np.flatnonzero(np.linalg.norm(head.template - eye, axis=1) < EYE_REACH_M)
        return fit_joint_regressor(head.template[None], eye[None], near)
    random = np.random.default_rng(0)
    draws = random.normal(size=(RANDOM_HEADS, len(head.identity)))
    few = head.template[ball] + np.tensordot(draws, head.identity[:, ball], axes=1)
    row = np.zeros(len(head.template))
    row[ball] = fit_joint_regressor(few, sphere_centres(few), np.arange(len(ball)))
    return row


def neck_depth_m(
    template: Float[np.ndarray, "vertex 3"], chin: Float[np.ndarray, "3"]
) -> Float[np.ndarray, " vertex"]:
    """How far each vertex lies below the sloping plane through the chin, metres."""
    return chin[1] - template[:, 1] + NECK_SLOPE * (chin[2] - template[:, 2])


def _neck_share(
    template: Float[np.ndarray, "vertex 3"], places: FacePlaces
) -> Float[np.ndarray, " vertex"]:
    depth = neck_depth_m(template, places.chin) - NECK_START_M
    along = np.clip(depth / NECK_LENGTH_M, 0, 1)
    return along**2 * (3 - 2 * along)


def stack_rig(
    joints: dict[str, int],
    joint_regressor: Float[np.ndarray, "published vertex"],
    skin_weight: Float[np.ndarray, "vertex published"],
) -> tuple[tuple[str, ...], Int[np.ndarray, " joint"], Float[np.ndarray, "vertex joint"]]:
    """Names, published rows and skinning of our joints for a tree whose root is the base of the neck.

    Args:
        joints: Published index of ``base``, ``carrier`` (what carries the head), the eyes and, maybe, ``jaw``.
        joint_regressor: Published rows, only for their number.
        skin_weight: Published weights.

    Our ``head`` takes the carrier's weights, our ``neck`` the base's, and both lie where the carrier does.
    """
    names = ("head", "neck", *(name for name in (*EYES, "jaw") if name in joints))
    if len(joint_regressor) != len(names):
        raise ValueError(f"{len(joint_regressor)} published joints for {len(names)} of ours")
    row = {"head": joints["carrier"], "neck": joints["carrier"], **joints}
    column = {"head": joints["carrier"], "neck": joints["base"], **joints}
    rows = np.array([row[name] for name in names])
    return names, rows, skin_weight[:, [column[name] for name in names]]
