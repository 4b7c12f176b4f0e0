# SPDX-License-Identifier: GPL-3.0-or-later
"""Light that a character throws on itself: what hides the sky from a crevice is not black but skin and cloth.

A light probe sees none of it, and a collar or a sleeve would gape black. Where a share of the hemisphere is hidden,
that share is taken to shine as the character's surfaces around do, as far as the picture shows them. Its weight, by
least squares on Cycles' frames of the training split, is above the 1 of a single bounce.

Blender imports this module to light again from a cached map without the backend, so it needs NumPy only.
"""

from __future__ import annotations

import numpy as np

from ..rays.directions import RICS_DIRECTIONS, SOLID_ANGLES

WEIGHT = 1.28
REACH = 0.05  # of the character's longer side in the picture: the standard deviation of "around"
_GRID = 64  # cells along that side, in which surfaces are averaged
_EVERYWHERE = 1e-3  # weight of the whole character beside what is around


def hidden_share(visibility: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(N,) cosine-weighted share of the hemisphere that is hidden. visibility: (N, 62) in [0, 1]. normals: (N, 3)."""
    facing = np.maximum(np.float32(normals) @ RICS_DIRECTIONS.T, 0) * SOLID_ANGLES
    return (1 - (facing * visibility).sum(1) / np.maximum(facing.sum(1), 1e-9)).astype(np.float32)


class Surroundings:
    """Who is around whom among a picture's points.

    pixels: (N,) flat indices, row-major, of the points in a picture of this width.
    """

    def __init__(self, pixels: np.ndarray, width: int) -> None:
        place = np.stack(np.divmod(pixels.astype(np.int64), width)).astype(np.float32)
        place -= place.min(1, keepdims=True, initial=np.inf)
        place *= (_GRID - 1) / max(float(place.max(initial=0)), 1.0)
        self.cell = _flat(np.round(place).astype(np.int64))
        self.count = np.bincount(self.cell, minlength=_GRID**2)
        low = np.minimum(place.astype(np.int64), _GRID - 2)
        self.corner = _flat(low)
        down, right = place - low
        self.shares = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """(N, C) of values (N, C): what they are in the mean around each point."""
        sums = [np.bincount(self.cell, channel, _GRID**2) for channel in values.T]
        grid = np.stack([*sums, self.count], 1).reshape(_GRID, _GRID, -1)
        apart = np.arange(_GRID)[:, None] - np.arange(_GRID)
        near = np.exp(-0.5 * (apart / (REACH * _GRID)) ** 2)
        around = np.tensordot(near, np.tensordot(near, grid, (1, 1)), (1, 1))
        around += _EVERYWHERE * grid.sum((0, 1)) / _GRID
        flat = np.float32(around[..., :-1] / around[..., -1:]).reshape(_GRID**2, -1)
        corners = (self.corner + step for step in (0, 1, _GRID, _GRID + 1))
        return sum(flat[c] * share[:, None] for c, share in zip(corners, self.shares, strict=True))  # type: ignore


def bounced(shading: np.ndarray, albedo: np.ndarray, hidden: np.ndarray, around: Surroundings) -> np.ndarray:
    """(N, 3) shading to be added to that by the light itself.

    shading, albedo: (N, 3) linear. hidden: (N,) of `hidden_share`.
    """
    if not len(shading):
        return np.zeros_like(shading)
    return (WEIGHT * hidden)[:, None] * around.mean(albedo * shading)


def bounced_in(
    shading: np.ndarray, albedo: np.ndarray, visibility: np.ndarray, normals: np.ndarray, pixels: np.ndarray, width: int
) -> np.ndarray:
    """`bounced` where points are lit only once; the arguments are those of the pieces that it takes."""
    return bounced(shading, albedo, hidden_share(visibility, normals), Surroundings(pixels, width))


def _flat(place: np.ndarray) -> np.ndarray:
    """(N,) numbers of the grid's cells, of rows and columns (2, N)."""
    return place[0] * _GRID + place[1]
