# SPDX-License-Identifier: GPL-3.0-or-later
"""Motions for a body with SMPL's 24 joints: read from BVH files, or made by a few formulas.

Everything here is y up, metres, the body's left toward +x and its face toward +z, as in SMPL's T-pose. A BVH file may
have any skeleton, scale, up axis and rest pose: joints are found by name, the axes by the rest pose, and the limbs are
turned from the body's T-pose to the file's rest pose before the file's rotations apply.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

from ..protocol import PenumbraError

JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
INDEX = {name: i for i, name in enumerate(JOINTS)}
MIRRORED = [INDEX[n.replace("left", "?").replace("right", "left").replace("?", "right")] for n in JOINTS]

SOLE = 0.025  # metres from the toes' joints down to the ground that they stand on

# A T-pose of 1.7 m, used where no body's own joints are given.
_HALF_SKELETON = {
    "pelvis": (0, 0.93, 0), "spine1": (0, 1.03, -0.01), "spine2": (0, 1.16, 0), "spine3": (0, 1.22, 0.01),
    "neck": (0, 1.42, -0.03), "head": (0, 1.51, 0.01), "left_hip": (0.08, 0.85, 0), "left_knee": (0.1, 0.47, 0),
    "left_ankle": (0.1, 0.08, -0.03), "left_foot": (0.11, 0.02, 0.09), "left_collar": (0.07, 1.36, -0.02),
    "left_shoulder": (0.17, 1.38, -0.03), "left_elbow": (0.43, 1.38, -0.04), "left_wrist": (0.68, 1.38, -0.04),
    "left_hand": (0.76, 1.38, -0.04),
}  # fmt: skip
REST_JOINTS = np.array(
    [
        _HALF_SKELETON[n] if n in _HALF_SKELETON else np.multiply(_HALF_SKELETON["left" + n[5:]], (-1, 1, 1))
        for n in JOINTS
    ],
    np.float64,
)

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


@dataclass(frozen=True)
class Motion:
    """A sequence of poses.

    pose: (F, 24, 3) float32 axis-angle, relative to the parent joint, as SMPL's; row 0 is the root's orientation.
    trans: (F, 3) float32 metres, added to the posed body, so that it stands on y = 0 and starts near x = z = 0.
    """

    name: str
    pose: np.ndarray
    trans: np.ndarray
    fps: float = 30.0

    def __len__(self) -> int:
        return len(self.pose)

    def slice(self, start: int, stop: int, step: int = 1) -> Motion:
        """Some of its frames."""
        return dataclasses.replace(self, pose=self.pose[start:stop:step], trans=self.trans[start:stop:step])


@dataclass(frozen=True)
class Bvh:
    """A BVH file: J joints without end sites, offsets (J, 3), root positions (F, 3), local rotations (F, J, 3, 3)."""

    names: list[str]
    parents: list[int]
    offsets: np.ndarray
    positions: np.ndarray
    rotations: np.ndarray
    fps: float


def load_bvh(path: Path) -> Bvh:
    """Read a BVH file. Raises PenumbraError where it is not one."""
    try:
        return _parse_bvh(Path(path).read_text("utf-8", "replace").split())
    except (ValueError, IndexError) as problem:
        raise PenumbraError(
            f"{Path(path).name} is not a BVH motion that can be read.", "Choose another file."
        ) from problem


def _parse_bvh(words: list[str]) -> Bvh:
    names, parents, offsets, channels = [], [], [], []
    stack: list[int] = []
    i = words.index("ROOT")
    while words[i] != "MOTION":
        word = words[i]
        if word in ("ROOT", "JOINT"):
            names.append(words[i + 1])
            parents.append(stack[-1] if stack else -1)
            stack.append(len(names) - 1)
            i += 3
        elif word == "End":  # "End Site { OFFSET x y z }"
            i = words.index("}", i) + 1
        elif word == "OFFSET":
            offsets.append([float(w) for w in words[i + 1 : i + 4]])
            i += 4
        elif word == "CHANNELS":
            count = int(words[i + 1])
            channels.append(words[i + 2 : i + 2 + count])
            i += 2 + count
        elif word == "}":
            stack.pop()
            i += 1
        else:
            raise ValueError(word)
    frames = int(words[words.index("Frames:", i) + 1])
    time = words.index("Time:", i)
    values = np.array(words[time + 2 :], np.float64).reshape(frames, -1)
    return _decode_channels(names, parents, np.array(offsets), channels, values, 1.0 / float(words[time + 1]))


def _decode_channels(
    names: list[str], parents: list[int], offsets: np.ndarray, channels: list[list[str]], values: np.ndarray, fps: float
) -> Bvh:
    rotations = np.empty((len(values), len(names), 3, 3))
    positions = np.tile(offsets[0], (len(values), 1))
    column = 0
    for joint, kinds in enumerate(channels):
        axes, angles = "", []
        for kind in kinds:
            if kind.endswith("position"):
                if joint == 0:
                    positions[:, "XYZ".index(kind[0])] = values[:, column]
            else:
                axes += kind[0]
                angles.append(values[:, column])
            column += 1
        rotations[:, joint] = Rotation.from_euler(axes, np.stack(angles, 1), degrees=True).as_matrix()
    if column != values.shape[1]:
        raise ValueError("wrong number of channels")
    return Bvh(names, parents, offsets, positions, rotations, fps)


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
    return _stand(
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


def forward_kinematics(pose: np.ndarray, trans: np.ndarray, rest_joints: np.ndarray = REST_JOINTS) -> np.ndarray:
    """Joint positions (F, 24, 3) of poses (F, 24, 3) axis-angle with translations (F, 3), metres."""
    rotations = Rotation.from_rotvec(np.reshape(pose, (-1, 3))).as_matrix().reshape(-1, 24, 3, 3)
    positions = np.empty((len(pose), 24, 3))
    orientation: list[np.ndarray] = []
    for joint, parent in enumerate(PARENTS):
        if parent < 0:
            positions[:, joint] = rest_joints[0] + trans
            orientation.append(rotations[:, 0])
        else:
            offset = rest_joints[joint] - rest_joints[parent]
            positions[:, joint] = positions[:, parent] + orientation[parent] @ offset
            orientation.append(orientation[parent] @ rotations[:, joint])
    return positions


def _stand(motion: Motion, rest_joints: np.ndarray) -> Motion:
    """Put the clip's lowest steps on y = 0 and its start at x = z = 0.

    The ground is a low percentile of the feet over the clip, not each frame's lowest point: jumps must leave it.
    """
    feet = [INDEX[n] for n in ("left_ankle", "right_ankle", "left_foot", "right_foot")]
    clearance = forward_kinematics(motion.pose, motion.trans, rest_joints)[:, feet, 1] - (
        rest_joints[feet, 1] - rest_joints[feet, 1].min()
    )
    ground = np.percentile(clearance.min(1), 10) - SOLE
    start = motion.trans[0] + rest_joints[0]
    return dataclasses.replace(motion, trans=(motion.trans - (start[0], ground, start[2])).astype(np.float32))


def mirror(motion: Motion) -> Motion:
    """Swap left and right."""
    return Motion(
        motion.name + "-mirrored",
        motion.pose[:, MIRRORED] * np.array([1, -1, -1], np.float32),
        motion.trans * np.array([-1, 1, 1], np.float32),
        motion.fps,
    )


def resample(motion: Motion, fps: float = 30.0) -> Motion:
    """The same motion at another frame rate; rotations are interpolated along the shortest way."""
    if abs(motion.fps - fps) < 0.01 * fps or len(motion) < 2:
        return dataclasses.replace(motion, fps=fps)
    times = np.arange(len(motion)) / motion.fps
    wanted = np.arange(0, times[-1] + 1e-9, 1 / fps)
    pose = np.stack(
        [Slerp(times, Rotation.from_rotvec(motion.pose[:, j]))(wanted).as_rotvec() for j in range(24)], axis=1
    )
    trans = np.stack([np.interp(wanted, times, motion.trans[:, k]) for k in range(3)], axis=1)
    return Motion(motion.name, pose.astype(np.float32), trans.astype(np.float32), fps)


# Built-in motions. Angles in degrees, as functions of the phase; flexion is positive toward the front for shoulders and
# hips, elbows bend forward, knees backward, `raise` lifts an arm sideways from hanging (0) to overhead (180).

Angles = dict[str, np.ndarray | float]


def builtin(name: str, seed: int = 0, seconds: float = 6.0, rest_joints: np.ndarray = REST_JOINTS) -> Motion:
    """One of the BUILTIN motions at 30 frames/s; another seed gives another tempo, amplitude and habit."""
    random = np.random.default_rng([seed, *name.encode()])
    time = np.arange(round(seconds * 30)) / 30
    angles = _BUILTIN[name](time, random)
    sway = gaussian_filter1d(random.standard_normal((len(time), 24, 3)), 20, axis=0, mode="wrap") * 12
    sway *= np.array([1.0 if "spine" in n or n in ("neck", "head") else 0.6 for n in JOINTS])[None, :, None]
    pose = pose_from_angles(angles, len(time))
    pose += np.radians(sway) * (np.arange(24) > 0)[None, :, None]
    return _follow_feet(
        Motion(name, pose.astype(np.float32), np.zeros((len(time), 3), np.float32)), angles, rest_joints
    )


def pose_from_angles(angles: Angles, frames: int) -> np.ndarray:
    """Named angles to axis-angle poses."""

    def get(key: str, default: float = 0.0) -> np.ndarray:
        return np.radians(np.broadcast_to(np.asarray(angles.get(key, default), np.float64), (frames,)))

    pose = np.zeros((frames, 24, 3))

    def put(joint: str, axes: str, *values: np.ndarray) -> None:
        pose[:, INDEX[joint]] = Rotation.from_euler(axes, np.stack(values, 1)).as_rotvec()

    put("pelvis", "YXZ", get("turn"), get("lean"), get("sway"))
    for spine in ("spine1", "spine2", "spine3"):
        put(spine, "YXZ", get("twist") / 3, get("bend") / 3, get("side") / 3)
    put("neck", "YX", get("look") / 2, get("nod") / 2)
    put("head", "YX", get("look") / 2, get("nod") / 2)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        put(
            f"{side}_hip",
            "XYZ",
            -get(f"{side}_hip"),
            sign * get(f"{side}_toes_out", 6),
            sign * get(f"{side}_spread", 3),
        )
        put(f"{side}_knee", "X", get(f"{side}_knee"))
        put(f"{side}_ankle", "X", get(f"{side}_ankle"))
        # From the T-pose: bring the arm down sideways, twist it about its own axis, then swing it forward about x.
        raised = get(f"{side}_raise", 8) - np.pi / 2
        put(f"{side}_shoulder", "XZX", -get(f"{side}_arm"), sign * raised, get(f"{side}_arm_twist"))
        put(f"{side}_elbow", "Y", -sign * get(f"{side}_elbow", 15))
        put(f"{side}_wrist", "Z", sign * get(f"{side}_wrist"))
    return pose


def _follow_feet(motion: Motion, angles: Angles, rest_joints: np.ndarray) -> Motion:
    """Give the root the height, and the path, that keep the lower foot where it stands."""
    feet = [INDEX["left_foot"], INDEX["right_foot"]]
    positions = forward_kinematics(motion.pose, motion.trans, rest_joints)[:, feet]
    trans = np.zeros((len(motion), 3))
    trans[:, 1] = gaussian_filter1d(SOLE - positions[:, :, 1].min(1), 1.0)
    if angles.get("travels"):
        lower = positions[:, :, 1].argmin(1)
        standing = positions[np.arange(len(motion)), lower]
        before = positions[np.maximum(np.arange(len(motion)) - 1, 0), lower]
        trans[:, [0, 2]] = np.cumsum(gaussian_filter1d(before - standing, 2.0, axis=0)[:, [0, 2]], axis=0)
    return dataclasses.replace(motion, trans=trans.astype(np.float32))


def _walk(t: np.ndarray, random: np.random.Generator) -> Angles:
    phase = 2 * np.pi * t * random.uniform(0.75, 1.0)
    stride, swing = random.uniform(22, 30), random.uniform(15, 35)
    angles: Angles = {"travels": 1.0, "lean": random.uniform(0, 5), "turn": random.uniform(-60, 60) * t / t[-1]}
    angles["twist"] = -8 * np.sin(phase)
    for side, shift in (("left", 0.0), ("right", np.pi)):
        p = phase + shift
        angles[f"{side}_hip"] = stride * np.sin(p) + 5
        swing_phase = np.maximum(0, np.cos(p + 0.5))  # the hip moves forward
        angles[f"{side}_knee"] = 7 + 55 * swing_phase**1.5
        angles[f"{side}_ankle"] = -10 * np.sin(p - 0.6)
        angles[f"{side}_arm"] = -swing * np.sin(p)
        angles[f"{side}_elbow"] = 25 - 12 * np.sin(p)
    return angles


def _idle(t: np.ndarray, random: np.random.Generator) -> Angles:
    shift = np.sin(2 * np.pi * t * random.uniform(0.12, 0.25))
    angles: Angles = {
        "sway": 3 * shift,
        "side": -4 * shift,
        "look": 25 * np.sin(2 * np.pi * t * 0.17 + 1),
        "nod": 6 * shift,
    }
    for side in ("left", "right"):
        hip = random.uniform(0, 1) < 0.35  # a hand on the hip, else a hanging arm
        angles[f"{side}_raise"] = (45 if hip else 10) + 3 * shift
        angles[f"{side}_elbow"] = 95 if hip else random.uniform(8, 35)
        angles[f"{side}_arm"] = -25 if hip else random.uniform(0, 15)
        angles[f"{side}_arm_twist"] = 60 if hip else 0
        angles[f"{side}_spread"] = random.uniform(3, 10)
        angles[f"{side}_knee"] = random.uniform(2, 12)
        angles[f"{side}_hip"] = random.uniform(2, 8)
    return angles


def _wave(t: np.ndarray, random: np.random.Generator) -> Angles:
    angles = _idle(t, random)
    side = random.choice(["left", "right"])
    up = np.clip(np.minimum(t, t[-1] - t) / 0.8, 0, 1)
    up = up * up * (3 - 2 * up)
    angles[f"{side}_raise"] = 10 + random.uniform(80, 130) * up
    angles[f"{side}_elbow"] = 20 + (60 + 25 * np.sin(2 * np.pi * t * random.uniform(1.2, 2))) * up
    angles[f"{side}_arm_twist"] = -90 * up  # the forearm upward
    angles[f"{side}_arm"] = 10 * up
    return angles


def _sit(t: np.ndarray, random: np.random.Generator) -> Angles:
    down = np.clip(t / 1.5, 0, 1)
    down = down * down * (3 - 2 * down)
    angles: Angles = {"lean": 18 * np.sin(np.pi * down) - 4 * down, "look": 20 * np.sin(t), "bend": 10 * down}
    for side in ("left", "right"):
        angles[f"{side}_hip"] = random.uniform(80, 92) * down
        angles[f"{side}_knee"] = random.uniform(80, 98) * down
        angles[f"{side}_spread"] = random.uniform(3, 14)
        angles[f"{side}_arm"] = random.uniform(25, 45) * down
        angles[f"{side}_elbow"] = 15 + random.uniform(25, 55) * down
    return angles


def _reach(t: np.ndarray, random: np.random.Generator) -> Angles:
    angles = _idle(t, random)
    for k, side in enumerate(("left", "right")):
        effort = np.maximum(0, np.sin(2 * np.pi * t / t[-1] * random.uniform(0.8, 1.6) + 2.2 * k))
        angles[f"{side}_arm"] = random.uniform(60, 170) * effort
        angles[f"{side}_raise"] = 8 + random.uniform(0, 40) * effort
        angles[f"{side}_elbow"] = 20 + random.uniform(-10, 40) * effort
        angles[f"{side}_arm_twist"] = 0.0
        angles["bend"] = np.asarray(angles.get("bend", 0.0)) + random.uniform(-10, 35) * effort
        angles["twist"] = np.asarray(angles.get("twist", 0.0)) + (25 - 50 * k) * -effort
    return angles


def _dance(t: np.ndarray, random: np.random.Generator) -> Angles:
    beat = 2 * np.pi * t * random.uniform(0.8, 1.3)
    angles: Angles = {
        "turn": 40 * np.sin(beat / 4),
        "sway": 7 * np.sin(beat),
        "side": -12 * np.sin(beat),
        "nod": 10 * np.sin(2 * beat),
        "twist": random.uniform(10, 25) * np.sin(beat / 2),
    }
    for k, side in enumerate(("left", "right")):
        p = beat / random.choice([1, 2]) + np.pi * k * random.choice([0, 1])
        angles[f"{side}_hip"] = 18 + 14 * np.sin(beat + np.pi * k)
        angles[f"{side}_knee"] = 32 + 26 * np.sin(beat + np.pi * k)
        angles[f"{side}_ankle"] = -14 - 12 * np.sin(beat + np.pi * k)
        angles[f"{side}_spread"] = random.uniform(4, 16)
        angles[f"{side}_raise"] = random.uniform(30, 90) + random.uniform(20, 70) * np.sin(p)
        angles[f"{side}_arm"] = random.uniform(0, 60) * np.sin(p + 1)
        angles[f"{side}_elbow"] = 60 + random.uniform(20, 55) * np.sin(beat + 2 * k)
        angles[f"{side}_arm_twist"] = random.uniform(-90, 40)
    return angles


_BUILTIN: dict[str, Callable[[np.ndarray, np.random.Generator], Angles]] = {
    "walk": _walk, "idle": _idle, "wave": _wave, "sit": _sit, "reach": _reach, "dance": _dance,
}  # fmt: skip
BUILTIN = tuple(_BUILTIN)
