# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion smoothed over time without lag: robust local regression, weighted by how well each frame was seen.

Cleveland 1979 (LOWESS), with a Gaussian in time in place of the tricube. A rotation is regressed as its matrix, and the
nearest rotation is taken: the chordal mean (Hartley et al. 2013, section 5.3), which knows no signs of quaternions.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

DEGREE = 2  # of the polynomials: a mean would flatten what swings
ROUNDS = 2  # of robust reweighting
OUTLYING = 6.0  # median residuals at which a frame counts no more (Cleveland's)
LEAST_ANGLE, LEAST_CHANGE = np.radians(2.0), 0.002  # residuals that are never outlying
BRIDGED = 0.02  # weight of what is filled in between frames
_RIDGE = 1e-4


def smooth_rotations(rotations: np.ndarray, weights: np.ndarray, sigma: float) -> np.ndarray:
    """(F, J, 3, 3) rotations of each frame, smoothed. weights: (F, J), 0 where a frame tells nothing. sigma: frames."""
    measured = bridge_rotations(rotations, weights)
    trust, smooth = np.maximum(weights, BRIDGED), measured
    for robust in range(ROUNDS + 1):
        if robust:
            trust = np.maximum(weights, BRIDGED) * _bisquare(angles_between(measured, smooth), LEAST_ANGLE)
        flat = _regressed(measured.reshape(*measured.shape[:2], 9), trust, sigma)
        smooth = nearest_rotations(flat.reshape(measured.shape))
    return smooth


def smooth_curves(values: np.ndarray, weights: np.ndarray, sigma: float) -> np.ndarray:
    """(F, C) curves, smoothed. weights: (F,), 0 where a frame tells nothing. sigma: frames."""
    seen, frames = weights > 0, np.arange(len(values))
    measured = np.stack([np.interp(frames, frames[seen], curve[seen]) for curve in values.T], 1)
    trust, smooth = np.maximum(weights, BRIDGED)[:, None].repeat(values.shape[1], 1), measured
    begun = trust
    for robust in range(ROUNDS + 1):
        if robust:
            trust = begun * _bisquare(np.abs(measured - smooth), LEAST_CHANGE)
        smooth = _regressed(measured[..., None], trust, sigma)[..., 0]
    return smooth


def bridge_rotations(rotations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(F, J, 3, 3) with frames of weight 0 filled by spherical interpolation; at the ends, by the nearest frame."""
    bridged, frames = rotations.copy(), np.arange(len(rotations))
    for joint in range(rotations.shape[1]):
        seen = np.flatnonzero(weights[:, joint] > 0)
        if 1 < len(seen) < len(frames):
            turn = Slerp(seen, Rotation.from_matrix(rotations[seen, joint]))
            bridged[:, joint] = turn(frames.clip(seen[0], seen[-1])).as_matrix()
        elif len(seen) == 1:
            bridged[:, joint] = rotations[seen[0], joint]
    return bridged


def nearest_rotations(matrices: np.ndarray) -> np.ndarray:
    """(…, 3, 3) → the nearest rotations, by singular values."""
    u, _, vt = np.linalg.svd(matrices)
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return u @ vt


def angles_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(…,) radians between rotations (…, 3, 3)."""
    cosine = (np.einsum("...ij,...ij->...", a, b) - 1) / 2
    return np.arccos(cosine.clip(-1, 1))


def _bisquare(residual: np.ndarray, least: float) -> np.ndarray:
    """(F, J) Cleveland's robustness weights of residuals (F, J)."""
    scale = OUTLYING * np.maximum(np.median(residual, 0), least / OUTLYING)
    return np.maximum(1 - (residual / scale).clip(max=1) ** 2, 0) ** 2 + 1e-6


def _regressed(values: np.ndarray, weights: np.ndarray, sigma: float) -> np.ndarray:
    """(F, J, C) the value at each frame of a polynomial of DEGREE about it, fitted to values (F, J, C).

    weights: (F, J). sigma: of the Gaussian in time, frames.
    """
    count, reach = len(values), int(np.ceil(4 * sigma))
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    padded = np.pad(weights, ((reach, reach), (0, 0)))
    around = np.stack([padded[reach + o : reach + o + count] * k for o, k in zip(offsets, kernel, strict=True)], -1)
    powers = (offsets / sigma)[:, None] ** np.arange(2 * DEGREE + 1)
    moments = around @ powers  # (F, J, 2 · DEGREE + 1)
    index = np.add.outer(np.arange(DEGREE + 1), np.arange(DEGREE + 1))
    ridge = np.diag(np.arange(DEGREE + 1) > 0) * _RIDGE  # where few frames count, a mean is left
    system = moments[..., index] + ridge * moments[..., :1, None]
    first = np.linalg.solve(system, np.eye(DEGREE + 1)[:, :1])[..., 0]  # (F, J, DEGREE + 1)
    taps = around * (first @ powers[:, : DEGREE + 1].T)
    padded = np.pad(values, ((reach, reach), (0, 0), (0, 0)))
    return sum(taps[..., k, None] * padded[reach + o : reach + o + count] for k, o in enumerate(offsets))
