# SPDX-License-Identifier: GPL-3.0-or-later
"""MediaPipe's keypoints, moved to where the body model has them: the one's hip is not quite the other's.

A keypoint moves by shares of vectors between keypoints, so that nothing depends on the picture's size, nor on how the
person is turned in it. The shares were measured by ``scripts/calibrate_detector.py``.
"""

from __future__ import annotations

import numpy as np

# Of COCO's order: left and right share a row, in whose vectors they are exchanged.
KINDS = ("nose", "eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_KIND = (0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8)
# Each joint's own vector ends at it and begins here: at the other end of its limb, or for the face at the nose.
_BEGINS = (0, 0, 0, 0, 0, 7, 8, 5, 6, 7, 8, 13, 14, 11, 12, 13, 14)
VECTORS = ("trunk", "shoulders", "hips", "ears", "face", "own")
# trunk, shoulders, hips, ears, face, own
SHARES = np.array([
    [-0.045, 0.000, 0.000, 0.000, 0.139, 0.000],  # nose
    [-0.016, 0.022, 0.007, -0.031, 0.139, -0.103],  # eye
    [-0.028, 0.059, 0.001, -0.077, -0.183, 0.144],  # ear
    [-0.057, 0.083, -0.078, -0.037, -0.040, 0.046],  # shoulder
    [-0.010, 0.014, -0.034, 0.030, -0.066, 0.029],  # elbow
    [-0.014, 0.041, -0.044, 0.027, -0.051, -0.054],  # wrist
    [-0.021, 0.055, -0.037, -0.036, -0.269, 0.060],  # hip
    [-0.015, 0.008, 0.086, -0.094, -0.006, -0.075],  # knee
    [-0.009, -0.011, 0.001, 0.007, -0.057, 0.016],  # ankle
])  # fmt: skip
_ROUNDS = 10
_STIFF = 50.0  # squared pixels, of vectors that hardly count
_FAR = 4.0  # pixels that a keypoint is off, from which on it counts less


def vectors(points: np.ndarray) -> np.ndarray:
    """(N, 17, 2, 6) what each of COCO's keypoints (N, 17, 2) may move along, in pixels, as `VECTORS` names it.

    Those across the body point to the keypoint's own side.
    """
    shoulders, hips, ears = (points[:, left] - points[:, left + 1] for left in (5, 11, 3))
    trunk = (points[:, 5] + points[:, 6] - points[:, 11] - points[:, 12]) / 2
    face = points[:, 0] - (points[:, 3] + points[:, 4]) / 2
    side = np.array([0, *([1, -1] * 8)])[:, None]
    across = [side * vector[:, None] for vector in (shoulders, hips, ears)]
    middle = [np.broadcast_to(vector[:, None], points.shape) for vector in (trunk, face)]
    return np.stack([middle[0], *across, middle[1], points - points[:, list(_BEGINS)]], -1)


def calibrated(points: np.ndarray, shares: np.ndarray = SHARES) -> np.ndarray:
    """COCO's keypoints (N, 17, 2) in pixels, as the body model has them. shares: (9, 6)."""
    return points + np.einsum("njcv,jv->njc", vectors(points), shares[list(_KIND)])


def fitted(points: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The shares (9, 6) that bring found keypoints (N, 17, 2) nearest to true ones; some may be far off.

    Both in pixels of LASOR's crop.
    """
    shares, ways = np.zeros_like(SHARES), vectors(points)
    for kind in range(len(KINDS)):
        mine = [number for number, of in enumerate(_KIND) if of == kind]
        along = ways[:, mine].reshape(-1, len(VECTORS))
        wanted = (true - points)[:, mine].reshape(-1)
        weight = np.ones_like(wanted)
        for _ in range(_ROUNDS):  # those that are far off count less and less (Cauchy)
            weighted = along * weight[:, None]
            normal = weighted.T @ along + _STIFF * np.eye(len(VECTORS))
            shares[kind] = np.linalg.solve(normal, weighted.T @ wanted)
            weight = 1 / (1 + ((wanted - along @ shares[kind]) / _FAR) ** 2)
    return shares
