# SPDX-License-Identifier: GPL-3.0-or-later
"""The least squares behind `probe.fit`: robust, non-negative, smooth where nothing was seen, and the search for suns.

Unknowns, per colour channel, are the 62 radiances, the constant and a sun's irradiance; each has one column of the
(N, 63 + S) design matrix: what it adds to the shading of the N points at value 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import nnls

from ..rays.directions import RICS_DIRECTIONS, SOLID_ANGLES

CELLS = len(RICS_DIRECTIONS)
ITERATIONS = 5
SMOOTHNESS = 3e-3  # weight of the prior over the mean weight of a cell's own evidence
COARSE = 300  # first sun candidates, 12° apart
STARTS = 4
HALF_ANGLES = (0.005, 0.03, 0.07, 0.14)  # radians: a clear sun, haze, a lamp, a large lamp
SUN_GAIN = 0.15  # a sun has to explain this share of what was unexplained
SUN_SHARE = 0.03  # and to give this share of the shading

SunVisibility = Callable[[np.ndarray], np.ndarray]


def design_matrix(visibility: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(N, 63) float64: the columns of the cells and of the constant. visibility (N, 62), normals (N, 3)."""
    cosine = np.maximum(normals @ RICS_DIRECTIONS.T, 0)
    cells = cosine * visibility * (SOLID_ANGLES / np.pi)
    return np.concatenate([cells, np.ones((len(cells), 1))], 1).astype(np.float64)


def roughness() -> np.ndarray:
    """(62, 62) quadratic form Σ_k (L_k − mean of its neighbours)²; its minimum continues light where none was seen."""
    near = np.exp((RICS_DIRECTIONS @ RICS_DIRECTIONS.T - 1.0) / 0.1).astype(np.float64)
    np.fill_diagonal(near, 0)
    difference = np.eye(CELLS) - near / near.sum(1, keepdims=True)
    return difference.T @ difference


def _prior(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    evidence = (weights @ columns[:, :CELLS] ** 2).mean()
    prior = 1e-9 * max(evidence, 1e-12) * np.eye(columns.shape[1])
    prior[:CELLS, :CELLS] += SMOOTHNESS * evidence * roughness()
    # Even light reaches an open surface as radiance or as the constant alike: lean to radiance, which casts shadows.
    prior[CELLS, CELLS] += SMOOTHNESS * weights.sum()
    return prior


def solve(columns: np.ndarray, shading: np.ndarray, weights: np.ndarray, iterations: int = ITERATIONS) -> np.ndarray:
    """Huber-robust non-negative least squares.

    columns (N, C), shading (N, 3), weights (N,) ≥ 0. Returns the solution (C, 3). Points that fit badly in any channel
    count less after the first iteration.
    """
    prior = _prior(columns, weights)
    robust = weights
    for _ in range(iterations):
        weighted = columns * robust[:, None]
        factor = cholesky(columns.T @ weighted + prior)
        target = solve_triangular(factor, weighted.T @ shading, trans="T")
        solution = np.stack([nnls(factor, target[:, c], maxiter=1000)[0] for c in range(3)], 1)
        error = np.linalg.norm(shading - columns @ solution, axis=1)
        scale = 1.4826 * np.median(error[weights > 0])
        robust = weights * np.minimum(1, 2 * scale / np.maximum(error, 1e-9)) if scale > 1e-9 else weights
    return solution


def squared_error(columns: np.ndarray, solution: np.ndarray, shading: np.ndarray, weights: np.ndarray) -> float:
    return float((weights[:, None] * (shading - columns @ solution) ** 2).sum())


class SunSearch:
    """How much better the shading is explained when one more column joins those in use.

    Solving again for each of hundreds of candidates is not needed: with r the residual, B the columns that are not
    held at zero, and M = BᵀWB + prior, a further column a lowers the objective by (aᵀWr)² / (aᵀWa − aᵀWB M⁻¹ BᵀWa).
    """

    def __init__(
        self,
        columns: np.ndarray,
        shading: np.ndarray,
        weights: np.ndarray,
        solution: np.ndarray,
        prior: np.ndarray | None = None,
    ) -> None:
        """prior: (C, C) of the solution; default that of `solve`."""
        used = solution.max(1) > 0
        prior = (_prior(columns, weights) if prior is None else prior)[np.ix_(used, used)]
        self.columns, self.weights = columns[:, used], weights
        self.factor = cho_factor(self.columns.T @ (self.columns * weights[:, None]) + prior)
        self.residual = weights[:, None] * (shading - columns @ solution)

    def gain(self, candidates: np.ndarray) -> np.ndarray:
        """(K,) decrease of the squared error, over all channels, for candidate columns (N, K)."""
        weighted = candidates * self.weights[:, None]
        shared = self.columns.T @ weighted
        own = (candidates * weighted).sum(0)
        rest = np.maximum(own - (shared * cho_solve(self.factor, shared)).sum(0), 1e-3 * own + 1e-12)
        return (np.maximum(candidates.T @ self.residual, 0) ** 2).sum(1) / rest


def sun_columns(directions: np.ndarray, normals: np.ndarray, visible: SunVisibility) -> np.ndarray:
    """(N, K) shading by suns of irradiance 1 from directions (K, 3)."""
    return np.maximum(normals @ directions.T, 0) * visible(directions)


def find_sun(search: SunSearch, normals: np.ndarray, visible: SunVisibility) -> np.ndarray:
    """(3,) unit direction of the best single sun: over the whole sphere, then closer and closer around the best."""
    coarse = fibonacci_sphere(COARSE)
    coarse = coarse[(normals @ coarse.T > 0.05).mean(0) > 0.005]
    gains = search.gain(sun_columns(coarse, normals, visible))
    best = coarse[np.argsort(gains)[::-1][:STARTS]]
    for degrees in (6.0, 4.0, 2.0):
        best = refine(search, best, degrees, normals, visible)
    winner = best[np.argmax(search.gain(sun_columns(best, normals, visible)))][None]
    for degrees in (1.5, 1.0, 0.5, 0.25):
        winner = refine(search, winner, degrees, normals, visible)
    return winner[0]


def refine(
    search: SunSearch, starts: np.ndarray, degrees: float, normals: np.ndarray, visible: SunVisibility
) -> np.ndarray:
    """(S, 3): each start, or the best of the six directions this many degrees around it."""
    around = np.stack([ring(start, np.radians(degrees), 6) for start in starts])  # S × 7 × 3
    gains = search.gain(sun_columns(around.reshape(-1, 3), normals, visible)).reshape(len(starts), -1)
    return around[np.arange(len(starts)), gains.argmax(1)]


def find_half_angle(search: SunSearch, direction: np.ndarray, normals: np.ndarray, visible: SunVisibility) -> float:
    """Radians: the softness of a sun that explains the shading best, from `HALF_ANGLES`."""
    gains = []
    for half_angle in HALF_ANGLES:
        columns = sun_columns(disc(direction, half_angle, 12), normals, visible).mean(1, keepdims=True)
        gains.append(search.gain(columns)[0])
    return HALF_ANGLES[int(np.argmax(gains))]


def frame_of(direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors that complete `direction` (3,) to an orthonormal frame."""
    helper = np.eye(3)[np.argmin(np.abs(direction))]
    tangent = np.cross(helper, direction)
    tangent /= np.linalg.norm(tangent)
    return tangent, np.cross(direction, tangent)


def ring(direction: np.ndarray, angle: float, count: int) -> np.ndarray:
    """(1 + count, 3): `direction` itself, then `count` directions `angle` radians from it."""
    turn = np.arange(count) * 2 * np.pi / count
    tangent, bitangent = frame_of(direction)
    around = np.cos(turn)[:, None] * tangent + np.sin(turn)[:, None] * bitangent
    return np.concatenate([direction[None], np.cos(angle) * direction + np.sin(angle) * around])


def disc(direction: np.ndarray, half_angle: float, count: int, turn: float = 0.0) -> np.ndarray:
    """(count, 3) directions spread evenly over the disc of a sun, turned by `turn` of a full turn."""
    index = np.arange(count) + 0.5
    radius = half_angle * np.sqrt(index / count)
    azimuth = 2 * np.pi * (index * 0.6180339887498949 + turn)
    tangent, bitangent = frame_of(direction)
    around = np.cos(azimuth)[:, None] * tangent + np.sin(azimuth)[:, None] * bitangent
    return np.cos(radius)[:, None] * direction + np.sin(radius)[:, None] * around


def fibonacci_sphere(count: int) -> np.ndarray:
    """(count, 3) evenly spread unit vectors."""
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    azimuth = 2 * np.pi * 0.6180339887498949 * index
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], 1)
