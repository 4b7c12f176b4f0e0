# SPDX-License-Identifier: GPL-3.0-or-later
"""Coloured occupancy grids of shapes, and the points that training samples from them (IM-NET's and BAE-NET's way).

A grid is indexed [x, y, z]; voxel i of N has its centre at (i + 0.5) / N · 2 − 1.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_cdt, maximum_filter, minimum_filter

from .shapes import Shape
from .solids import Solid

SIDE = 64
POINTS = {16: 16**3, 32: 8192, 64: 32768}  # how many points each resolution gives
NEAR = 128  # added to the piece of an empty voxel that touches it


def centres(indices: np.ndarray, side: int) -> np.ndarray:
    """Voxel indices (…, 3) → points (…, 3) float32 in (-1, 1)."""
    return ((np.asarray(indices, np.float32) + 0.5) * (2 / side) - 1).astype(np.float32)


def pieces_of(shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts of one label and one colour are one piece: (P,) piece of each part, (Q,) labels, (Q, 3) albedos."""
    keys = np.concatenate([shape.labels[:, None], shape.albedos], 1)
    unique, piece = np.unique(keys, axis=0, return_inverse=True)
    return piece.ravel(), unique[:, 0].astype(np.int64), unique[:, 1:]


def piece_grid(shape: Shape, side: int = SIDE) -> np.ndarray:
    """(side, side, side) uint8: 1 + piece where a voxel's centre lies inside; NEAR + 1 + the nearest piece where only
    a neighbour (of 26) does; else 0. Where parts overlap, the smallest one shows."""
    piece, _, _ = pieces_of(shape)
    grid = np.zeros((side, side, side), np.uint8)
    for index in sorted(range(len(shape.parts)), key=lambda i: -shape.parts[i].solid.volume):
        grid[inside(shape.parts[index].solid, side)] = 1 + piece[index]
    distance, nearest = distance_transform_cdt(grid == 0, "chessboard", return_indices=True)
    touching = distance == 1
    grid[touching] = NEAR + grid[tuple(nearest[:, touching])]
    return grid


def inside(solid: Solid, side: int) -> np.ndarray:
    """(side, side, side) bool: voxel centres inside a closed mesh, by its winding number along columns of y."""
    corners = (solid.vertices[solid.faces] + 1) * (side / 2) - 0.5  # in voxels; centres at whole numbers
    corners = corners[:, :, [0, 2, 1]] + (3.1e-5, 1.7e-5, 0.0)  # columns never run through an edge
    low = np.clip(np.ceil(corners[..., :2].min(1)), 0, side).astype(int)
    high = np.clip(np.floor(corners[..., :2].max(1)) + 1, 0, side).astype(int)
    extent = np.maximum(high - low, 0)
    counts = extent[:, 0] * extent[:, 1]
    triangle = np.repeat(np.arange(len(corners)), counts)
    within = np.arange(len(triangle)) - np.repeat(np.cumsum(counts) - counts, counts)
    wide = extent[triangle, 1]
    column = low[triangle] + np.stack([within // np.maximum(wide, 1), within % np.maximum(wide, 1)], 1)
    a, b, c = (corners[triangle, k] for k in range(3))
    area = _cross(b - a, c - a)
    with np.errstate(divide="ignore", invalid="ignore"):
        v, w = _cross(column - a[:, :2], c - a) / area, _cross(b - a, column - a[:, :2]) / area
        hit = (v >= 0) & (w >= 0) & (v + w <= 1) & (area != 0)
        height = a[:, 2] + v * (b - a)[:, 2] + w * (c - a)[:, 2]
    below = np.clip(np.ceil(height[hit]), 0, side).astype(int)  # voxels 0 … below − 1 lie under this crossing
    winding = np.zeros((side, side + 1, side), np.int32)
    # (x, z) has the opposite sense of rotation to (z, x), in which the normal's y is positive.
    np.add.at(winding, (column[hit, 0], below, column[hit, 1]), -np.sign(area[hit]).astype(np.int32))
    return np.cumsum(winding[:, ::-1], 1)[:, ::-1][:, 1:] > 0


def pyramid(occupied: np.ndarray) -> dict[int, np.ndarray]:
    """Side → occupancy, halved by 2×2×2 maxima from 64 to 32 and 16."""
    levels = {len(occupied): occupied}
    while (side := min(levels)) > 16:
        half = side // 2
        levels[half] = levels[side].reshape(half, 2, half, 2, half, 2).max((1, 3, 5))
    return levels


def sample(occupied: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(POINTS[side], 3) distinct voxel indices, uint8, most of them near the surface.

    All voxels at 16³. Above, every voxel whose 7³ neighbourhood is neither all empty nor all full, and random ones to
    make the number full; where those are too many, one of each block of 2³ that holds any (its first occupied voxel,
    else its corner), and random ones.
    """
    side, number = len(occupied), POINTS[len(occupied)]
    if number == occupied.size:
        return np.stack(np.unravel_index(np.arange(number), occupied.shape), 1).astype(np.uint8)
    mixed = maximum_filter(occupied, 7) != minimum_filter(occupied, 7)
    core = np.zeros_like(mixed)
    core[3:-3, 3:-3, 3:-3] = True
    chosen = np.flatnonzero(mixed & core)
    if len(chosen) > number:
        chosen = _one_of_each_block(mixed & core, occupied)
        chosen = random.permutation(chosen)[:number]
    left = np.ones(occupied.size, bool)
    left[chosen] = False
    more = random.choice(np.flatnonzero(left), number - len(chosen), replace=False)
    return np.stack(np.unravel_index(np.concatenate([chosen, more]), (side,) * 3), 1).astype(np.uint8)


def _one_of_each_block(mixed: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """Flat indices, one for each 2³ block that has a mixed voxel."""
    side = len(mixed)
    half = side // 2

    def blocks(grid: np.ndarray) -> np.ndarray:
        return grid.reshape(half, 2, half, 2, half, 2).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 8)

    index = blocks(np.arange(side**3).reshape(mixed.shape))
    full = blocks(occupied)
    first = np.where(full.any(1), full.argmax(1), 0)
    return index[np.arange(len(index)), first][blocks(mixed).any(1)]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
