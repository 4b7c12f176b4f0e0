# SPDX-License-Identifier: GPL-3.0-or-later
"""What ShadingNet is compared with: light, or colours, read off the plate without learning."""

from __future__ import annotations

import numpy as np

from ..images import srgb_decode
from .crop import CROP

# What the cosine lobe leaves of the bands of radiance, over π (Ramamoorthi and Hanrahan, 2001): 1, 2/3, 1/4.
COSINE = np.repeat([1.0, 2 / 3, 1 / 4], [1, 3, 5])
# Cone responses of RGB, and Ruderman's axes of their logarithms (Reinhard et al. 2001, equations 4 and 6).
LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
LAB = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]])
DARKEST = 1 / 255  # display-encoded: logarithms need a floor
RIDGE = 0.3  # pulls what the plate does not show toward even light


def harmonics(directions: np.ndarray) -> np.ndarray:
    """The nine real spherical harmonics of bands 0 to 2 at unit directions (…, 3): (…, 9), orthonormal × √(4π)."""
    x, y, z = np.moveaxis(directions, -1, 0)
    first = np.stack([np.ones_like(x), *(np.sqrt(3) * axis for axis in (x, y, z))], -1)
    second = [x * y, y * z, (3 * z * z - 1) / (2 * np.sqrt(3)), x * z, (x * x - y * y) / 2]
    return np.concatenate([first, np.sqrt(15) * np.stack(second, -1)], -1)


def fit_harmonics(plate: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(9, 3) radiance coefficients of a plate (128, 128, 3), display-encoded, seen in directions (S, S, 3).

    The half of the world behind the camera is taken for the mirror image of the half in front.
    """
    size = len(directions)
    linear = srgb_decode(plate).reshape(size, CROP // size, size, CROP // size, 3).mean((1, 3)).reshape(-1, 3)
    front = directions.reshape(-1, 3)
    basis = harmonics(np.concatenate([front, front * [1, 1, -1]]))
    # A pixel away from the middle of the frame subtends less.
    weight = np.tile(np.abs(front[:, 2]) ** 3, 2)[:, None]
    weight = weight / weight.sum()
    ridge = RIDGE * np.diag([0.0] + [1.0] * 8)
    return np.linalg.solve(basis.T @ (basis * weight) + ridge, basis.T @ (weight * np.tile(linear, (2, 1))))


def shade_harmonics(coefficients: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Shading (…, 3) ≥ 0 of normals (…, 3) under radiance coefficients (9, 3)."""
    return np.maximum(harmonics(normals) @ (COSINE[:, None] * coefficients), 0)


def transfer_colours(colours: np.ndarray, plate: np.ndarray) -> np.ndarray:
    """Reinhard et al. 2001: colours (N, 3) with the mean and deviation of a plate's (…, 3) in lαβ; display-encoded."""
    mine, theirs = (np.log10(np.maximum(c.reshape(-1, 3), DARKEST) @ LMS.T) @ LAB.T for c in (colours, plate))
    scale = theirs.std(0) / np.maximum(mine.std(0), 1e-6)
    moved = (mine - mine.mean(0)) * scale + theirs.mean(0)
    return np.clip(10 ** (moved @ np.linalg.inv(LAB).T) @ np.linalg.inv(LMS).T, 0, 1)
