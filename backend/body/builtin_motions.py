# SPDX-License-Identifier: GPL-3.0-or-later
"""Motions made by a few formulas.

Angles are in degrees, as functions of the phase; flexion is positive toward the front for shoulders and hips, elbows
bend forward, knees backward, `raise` lifts an arm sideways from hanging (0) to overhead (180).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from .motion import INDEX, JOINTS, REST_JOINTS, SOLE, Motion, forward_kinematics

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
