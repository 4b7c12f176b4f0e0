# SPDX-License-Identifier: GPL-3.0-or-later
"""Motions of other skeletons for a body with SMPL's joints.

A BVH file may have any skeleton, scale, up axis and rest pose: joints are found by name, the axes by the rest pose, and
the limbs are turned from the body's T-pose to the file's rest pose before the file's rotations apply.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..protocol import PenumbraError
from .bvh import Bvh, load_bvh
from .motion import INDEX, JOINTS, PARENTS, REST_JOINTS, Motion, resample, standing

# The names that BVH writers give to SMPL's joints, lower case, {s} for the side ("l" and "left"). The first that is
# there wins; "shoulder" is the collar bone in some skeletons and the upper arm in others, so "arm" comes before it.
_NAMES = {
    "pelvis": ("hips", "root", "pelvis", "hip"),
    "spine1": ("lowerback", "spine", "spine1"),
    "spine2": ("upperback", "chest", "spine1", "spine2"),
    "spine3": ("thorax", "spine3", "spine2", "chest2", "upperchest"),
    "neck": ("lowerneck", "neck"),
    "head": ("head",),
    "hip": ("{s}femur", "{s}upleg", "{s}hip", "{s}thigh"),
    "knee": ("{s}tibia", "{s}leg", "{s}knee", "{s}shin"),
    "ankle": ("{s}foot", "{s}ankle"),
    "foot": ("{s}toes", "{s}toebase", "{s}toe"),
    "collar": ("{s}clavicle", "{s}collar", "{s}shoulder"),
    "shoulder": ("{s}humerus", "{s}arm", "{s}uparm", "{s}shoulder"),
    "elbow": ("{s}radius", "{s}forearm", "{s}elbow", "{s}lowarm"),
    "wrist": ("{s}hand", "{s}wrist"),
}
_NEEDED = ("pelvis", "left_hip", "right_hip", "left_knee", "right_knee", "left_shoulder", "right_shoulder", "head")


def load_motion(path: Path, rest_joints: np.ndarray = REST_JOINTS, fps: float = 30.0) -> Motion:
    """A BVH file as a motion of the body whose T-pose joints are `rest_joints` (24, 3).

    Raises PenumbraError where the file cannot be read or its skeleton's joints have unknown names.
    """
    motion = retarget(load_bvh(path), rest_joints, Path(path).stem)
    return resample(motion, fps)


def find_joints(names: list[str]) -> dict[str, int]:
    """Which of a skeleton's joints stand for SMPL's. Raises PenumbraError where one that is needed is missing."""
    index = {name.lower().split(":")[-1].replace("_", ""): i for i, name in reversed(list(enumerate(names)))}
    found: dict[str, int] = {}
    for joint in JOINTS:
        side, _, part = joint.partition("_")
        for name in _NAMES.get(part or joint, ()):
            candidates = [name.format(s=s) for s in ([side, side[0]] if part else [""])]
            match = next((index[c] for c in candidates if c in index and index[c] not in found.values()), None)
            if match is not None:
                found[joint] = match
                break
    missing = [joint for joint in _NEEDED if joint not in found]
    if missing:
        raise PenumbraError(
            f"The motion's skeleton has no joint that stands for the {missing[0].replace('_', ' ')}.",
            "Use a BVH file with the joint names of CMU, Mixamo or Biovision.",
        )
    return found


def retarget(bvh: Bvh, rest_joints: np.ndarray = REST_JOINTS, name: str = "motion") -> Motion:
    """Turn a BVH motion into poses of the body whose T-pose joints are `rest_joints` (24, 3).

    Every joint's global rotation is the file's, after a rotation that brings the body's T-pose limb to the file's rest
    limb; feet follow their shins' roll and hands their forearms, as both stand level in any rest pose. Half of a hand's
    twist goes to the forearm. The root's path is scaled by the length of the legs.
    """
    found = find_joints(bvh.names)
    rest = _rest_positions(bvh)
    axes = _body_axes(rest, found)
    globals_ = _global_rotations(bvh)
    rest = rest @ axes.T
    target: dict[int, np.ndarray] = {}
    for joint, source in found.items():
        target[INDEX[joint]] = axes @ globals_[:, source] @ axes.T @ _rest_correction(joint, rest, found, rest_joints)
    locals_ = _local_rotations(target, len(bvh.positions))
    _share_twist(locals_, rest_joints)

    legs = _leg_length(rest, found["left_hip"], found["left_knee"], found.get("left_ankle"))
    own = _leg_length(rest_joints, INDEX["left_hip"], INDEX["left_knee"], INDEX["left_ankle"])
    pelvis = bvh.positions @ axes.T * (own / legs)
    pose = locals_.as_rotvec().reshape(-1, 24, 3)
    return standing(
        Motion(name, pose.astype(np.float32), (pelvis - rest_joints[0]).astype(np.float32), bvh.fps), rest_joints
    )


def _rest_positions(bvh: Bvh) -> np.ndarray:
    rest = np.zeros_like(bvh.offsets)
    for joint, parent in enumerate(bvh.parents):
        if parent >= 0:
            rest[joint] = rest[parent] + bvh.offsets[joint]
    return rest


def _global_rotations(bvh: Bvh) -> np.ndarray:
    result = bvh.rotations.copy()
    for joint, parent in enumerate(bvh.parents):
        if parent >= 0:
            result[:, joint] = result[:, parent] @ result[:, joint]
    return result


def _body_axes(rest: np.ndarray, found: dict[str, int]) -> np.ndarray:
    """(3, 3) rotation from the file's axes to ours (left x, up y, forward z), from the rest pose, snapped to axes."""

    def snap(v: np.ndarray) -> np.ndarray:
        axis = np.zeros(3)
        axis[np.argmax(np.abs(v))] = np.sign(v[np.argmax(np.abs(v))])
        return axis

    up = snap(rest[found["head"]] - rest[found["left_knee"]])
    left = snap(rest[found["left_hip"]] - rest[found["right_hip"]])
    return np.stack([left, up, np.cross(left, up)])


# The joint whose position ends each limb that must be turned from the T-pose to the file's rest pose.
_LIMBS = {"shoulder": "elbow", "elbow": "wrist", "hip": "knee", "knee": "ankle"}


def _rest_correction(joint: str, rest: np.ndarray, found: dict[str, int], rest_joints: np.ndarray) -> np.ndarray:
    """(3, 3) rotation from the body's T-pose limb to the file's rest limb."""
    side, _, part = joint.partition("_")
    start = {"wrist": "elbow", "ankle": "knee", "foot": "knee"}.get(part, part)
    end = f"{side}_{_LIMBS.get(start, '')}"
    start = f"{side}_{start}"
    if end not in found or start not in found:
        return np.eye(3)
    file_limb = rest[found[end]] - rest[found[start]]
    own_limb = rest_joints[INDEX[end]] - rest_joints[INDEX[start]]
    if part in ("ankle", "foot"):  # only its roll: a sole is level whatever the shin's pitch
        file_limb[2] = own_limb[2] = 0
    return _rotation_between(own_limb, file_limb)


def _rotation_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation that turns direction a into direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        return np.eye(3)
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, a @ b)).as_matrix()


def _local_rotations(target: dict[int, np.ndarray], frames: int) -> Rotation:
    """Global rotations of some joints to local ones of all 24; a joint without its own follows its parent."""
    complete: list[np.ndarray] = []
    result = np.empty((frames, 24, 3, 3))
    for joint, parent in enumerate(PARENTS):
        parent_rotation = complete[parent] if parent >= 0 else np.broadcast_to(np.eye(3), (frames, 3, 3))
        complete.append(target.get(joint, parent_rotation))
        result[:, joint] = np.swapaxes(parent_rotation, 1, 2) @ complete[joint]
    return Rotation.from_matrix(result.reshape(-1, 3, 3))


def _share_twist(locals_: Rotation, rest_joints: np.ndarray) -> None:
    """Move half of each hand's twist about the forearm into the forearm, in place, so that the skin does not wring."""
    quaternions = locals_.as_quat().reshape(-1, 24, 4)
    for side in ("left", "right"):
        elbow, wrist = INDEX[f"{side}_elbow"], INDEX[f"{side}_wrist"]
        axis = rest_joints[wrist] - rest_joints[elbow]
        axis = axis / np.linalg.norm(axis)
        hand = Rotation.from_quat(quaternions[:, wrist])
        q = hand.as_quat()
        angle = 2 * np.arctan2(q[:, :3] @ axis, q[:, 3])
        angle = (angle + np.pi) % (2 * np.pi) - np.pi
        half = Rotation.from_rotvec(axis * (angle / 2)[:, None])
        quaternions[:, elbow] = (Rotation.from_quat(quaternions[:, elbow]) * half).as_quat()
        quaternions[:, wrist] = (half.inv() * hand).as_quat()
    locals_[:] = Rotation.from_quat(quaternions.reshape(-1, 4))


def _leg_length(joints: np.ndarray, hip: int, knee: int, ankle: int | None) -> float:
    thigh = float(np.linalg.norm(joints[knee] - joints[hip]))
    return thigh + (float(np.linalg.norm(joints[ankle] - joints[knee])) if ankle is not None else thigh)
