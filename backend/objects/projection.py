# SPDX-License-Identifier: GPL-3.0-or-later
"""JOF's camera: one 3×4 matrix P with P[x, 1] = (u·d, v·d, d) (equation 2), in NumPy.

Object space is x right, y up, +z the object's front. u runs right and v down over the square picture, both from -1 to
1; d is the depth along the viewing direction in object units, so the third row of P has a rotation's norm.
"""

from __future__ import annotations

import numpy as np


def projection(azimuth: float, elevation: float, roll: float, distance: float, fov: float) -> np.ndarray:
    """(3, 4) float64 of a camera that looks at the object's centre.

    azimuth: radians from +z toward +x. elevation: radians above the ground. roll: radians, clockwise picture.
    distance: object units. fov: radians across the picture.
    """
    sa, ca, se, ce = np.sin(azimuth), np.cos(azimuth), np.sin(elevation), np.cos(elevation)
    back = np.array([sa * ce, se, ca * ce])
    right = np.array([ca, 0.0, -sa])
    down = -np.cross(back, right)
    right, down = np.cos(roll) * right - np.sin(roll) * down, np.sin(roll) * right + np.cos(roll) * down
    rotation = np.stack([right, down, -back])
    translation = np.array([0, 0, distance])
    focal = 1 / np.tan(fov / 2)
    return np.diag([focal, focal, 1.0]) @ np.concatenate([rotation, translation[:, None]], 1)


def project(matrix: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (…, 3) → (…, 2) picture coordinates in [-1, 1] and (…) depths."""
    u = points @ matrix[:, :3].T + matrix[:, 3]
    return u[..., :2] / u[..., 2:], u[..., 2]


def cropped(matrix: np.ndarray, centre: np.ndarray, half: float) -> np.ndarray:
    """The camera of a square part of the picture: its middle (2,) and half its side, in picture coordinates."""
    crop = np.array([[1 / half, 0, -centre[0] / half], [0, 1 / half, -centre[1] / half], [0, 0, 1]])
    return crop @ matrix


def pixel_rays(matrix: np.ndarray, size: int, jitter: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The camera's centre (3,) and the directions (size, size, 3) through a picture's pixels, depth 1 each.

    jitter: (2,) shift in pixels from the pixels' centres.
    """
    shift = np.zeros(2) if jitter is None else jitter
    grid = np.arange(size) + 0.5
    u, v = np.meshgrid((grid + shift[0]) * 2 / size - 1, (grid + shift[1]) * 2 / size - 1)
    inverse = np.linalg.inv(matrix[:, :3])
    return -inverse @ matrix[:, 3], np.stack([u, v, np.ones_like(u)], -1) @ inverse.T


def viewpoint(matrix: np.ndarray) -> tuple[float, float]:
    """Azimuth in (-π, π] and elevation of any projection's camera centre, radians."""
    x, y, z = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    return float(np.arctan2(x, z)), float(np.arctan2(y, np.hypot(x, z)))
