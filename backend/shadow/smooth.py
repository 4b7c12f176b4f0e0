# SPDX-License-Identifier: GPL-3.0-or-later
"""Smoothing of a sky's shadow by as much as its light is smooth.

A probe's sky has no detail finer than a cell, so the shadow that it casts has none finer than a share of the distance
to what casts it. What the finite number of rays draws below that size is error, and is averaged away.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.spatial import KDTree

from ..protocol import CHARACTER
from ..rays.scene import RayScene
from ..shading.visibility import Surface

SHARE = 0.12  # of the distance to the character; the sky's own blur is 0.2 radians
CASTER_POINTS = 30_000
LEVELS = 6  # up to 32 pixels apart
TAPS = [(down, right, 0.5 ** (abs(down) + abs(right))) for down in (-1, 0, 1) for right in (-1, 0, 1)]
_CHUNK = 1 << 15


def caster_distance(scene: RayScene, points: np.ndarray) -> np.ndarray:
    """(N,) metres from points (N, 3) to the nearest of many points spread evenly over the character."""
    corners = np.concatenate([m.vertices[m.triangles] for m in scene.meshes if m.role == CHARACTER])
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    random = np.random.default_rng(0)
    chosen = random.choice(len(corners), CASTER_POINTS, p=area / area.sum())
    u, v = random.random((2, CASTER_POINTS, 1))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    a, b, c = corners[chosen].transpose(1, 0, 2)
    return KDTree(a + u * (b - a) + v * (c - a)).query(points, workers=-1)[0].astype(np.float32)


def smooth(values: np.ndarray, surface: Surface, radius: np.ndarray) -> np.ndarray:
    """Values (N, C) of the valid points, averaged on their surface over about `radius` (N,) metres.

    An à-trous filter (Dammertz et al., 2010): 3 × 3 taps, further apart at each level; taps count by their distance
    on the surface, by how near the point's tangent plane they are, and by how alike the normals are.
    """
    row, column = (axis.astype(np.int32) for axis in np.nonzero(surface.valid))
    margin = 1 << (LEVELS - 1)
    index = np.full(np.add(surface.valid.shape, 2 * margin), -1, np.int32)
    index[row + margin, column + margin] = np.arange(len(row), dtype=np.int32)
    point, normal = surface.point[surface.valid], surface.normal[surface.valid]
    for level in range(LEVELS):
        source, result = values, values.copy()

        def average(start: int, step: int = 1 << level, source=source, result=result) -> None:
            rows = slice(start, start + _CHUNK)
            p, n, reach = point[rows], normal[rows], radius[rows]
            total = np.zeros((len(p), 1), np.float32)
            mean = np.zeros((len(p), source.shape[1]), np.float32)
            for down, right, weight in TAPS:
                other = index[row[rows] + margin + down * step, column[rows] + margin + right * step]
                apart = point[other] - p
                off = np.einsum("nc,nc->n", apart, n)
                distance2 = np.einsum("nc,nc->n", apart, apart) + 100 * off * off
                alike = np.maximum(np.einsum("nc,nc->n", normal[other], n), 0) ** 8
                w = np.where(other >= 0, weight * alike * np.exp(-0.5 * distance2 / (reach * reach + 1e-12)), 0)
                total += w[:, None]
                mean += w[:, None] * source[other]
            result[rows] = mean / total

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(average, range(0, len(row), _CHUNK)):
                pass  # raises what a chunk raised
        values = result
    return values


def enlarge(values: np.ndarray, half: Surface, full: Surface) -> np.ndarray:
    """Values (N, C) of the valid points of `half`, every second pixel of `full`, at the valid points of `full`.

    Bilinear between those neighbours that lie on the same smooth surface. Points without any get the mean of all.
    """
    index = np.full(np.add(half.valid.shape, 1), -1, np.int32)
    index[:-1, :-1][half.valid] = np.arange(len(values), dtype=np.int32)
    source_point, source_normal = half.point[half.valid], half.normal[half.valid]
    row, column = (axis.astype(np.int32) for axis in np.nonzero(full.valid))
    point, normal = full.point[full.valid], full.normal[full.valid]
    everywhere = values.mean(0)
    result = np.empty((len(row), values.shape[1]), np.float32)

    def interpolate(start: int) -> None:
        rows = slice(start, start + _CHUNK)
        total = np.full((len(row[rows]), 1), 1e-9, np.float32)
        mean = total * everywhere
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            other = index[row[rows] // 2 + down, column[rows] // 2 + right]
            near = np.abs(1 - down - row[rows] % 2 / 2) * np.abs(1 - right - column[rows] % 2 / 2)
            apart = source_point[other] - point[rows]
            slant = np.einsum("nc,nc->n", apart, normal[rows]) ** 2 / (np.einsum("nc,nc->n", apart, apart) + 1e-12)
            alike = np.maximum(np.einsum("nc,nc->n", source_normal[other], normal[rows]), 0) ** 8
            weight = np.where(other >= 0, (near + 1e-4) * alike * np.exp(-8 * slant), 0)[:, None]
            total += weight
            mean += weight * values[other]
        result[rows] = mean / total

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(interpolate, range(0, len(row), _CHUNK)):
            pass  # raises what a chunk raised
    return result
