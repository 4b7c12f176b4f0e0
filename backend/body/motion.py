# SPDX-License-Identifier: GPL-3.0-or-later
"""Motions of a body with SMPL's 24 joints.

Everything here is y up, metres, the body's left toward +x and its face toward +z, as in SMPL's T-pose.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

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


def standing(motion: Motion, rest_joints: np.ndarray) -> Motion:
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
