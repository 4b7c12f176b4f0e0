# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of each light reaches each pixel, soft enough to shade a full-resolution picture.

A RiCS map answers for 62 single directions: shaded by it, every cell of the probe is a point light that draws its own
hard shadow, and creases show rings. A cell is 30° wide, though, and its shadow has a penumbra that widens with the
distance of what casts it. So each pixel of a 4 × 4 tile asks for another direction of each cell, and neighbours on the
same surface share their answers (interleaved sampling: Keller and Heidrich, 2001).
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_matrix

from ..protocol import CHARACTER, HOLDOUT, PROP, ROLES
from ..rays.directions import RICS_DIRECTIONS
from ..rays.scene import RayScene
from .panorama import nearest_cell
from .probe import Sun
from .probe_fit import disc, fibonacci_sphere

T = TypeVar("T")


class Surface(Protocol):
    """What is asked of a surface: `rics.SurfaceMap` and `ground.Receiver` have it."""

    valid: np.ndarray  # (H, W) bool
    point: np.ndarray  # (H, W, 3) metres
    normal: np.ndarray  # (H, W, 3) unit
    offset: np.ndarray  # (H, W, 3) metres; rays start at point + offset


TILE = 4
SLOTS = TILE * TILE
SUN_RAYS = 4  # a pixel; with its neighbours 64
# Five taps that weigh each position of a tile alike, wherever the tile begins.
TAPS = ((-2, 0.5), (-1, 1.0), (0, 1.0), (1, 1.0), (2, 0.5))


def cell_visibility(
    scene: RayScene, surface: Surface, roles: Collection[str] = (CHARACTER, PROP, HOLDOUT)
) -> np.ndarray:
    """(N, 62) float16 in [0, 1]: the share of each cell's light that reaches each valid point, in row-major order.

    Only the part of a cell above a point's horizon counts, weighed by its cosine, so an open surface is 1 throughout.
    Memory: 124 bytes a point, and some 300 bytes a point while it works.
    """
    spread, starts = edge_aware_mean(surface), RayStarts(surface)
    samples = cell_samples()
    visibility = np.empty((starts.count, len(samples)), np.float16)

    def of_cell(k: int) -> None:
        turned = np.roll(samples[k], 5 * k, axis=0)  # no two cells share their pattern of errors
        visibility[:, k] = _share(spread, *starts.light(scene, turned[:, None], roles))

    _in_parallel(of_cell, range(len(samples)))
    return visibility


def sun_visibility(
    scene: RayScene, surface: Surface, suns: Sequence[Sun], roles: Collection[str] = ROLES
) -> np.ndarray:
    """(N, S) float32 in [0, 1]: the share of each sun's disc that each valid point sees, in row-major order."""
    spread, starts = edge_aware_mean(surface), RayStarts(surface)
    visibility = np.ones((starts.count, len(suns)), np.float32)
    for s, sun in enumerate(suns):
        samples = disc(sun.direction, sun.half_angle, SLOTS * SUN_RAYS).astype(np.float32)
        samples = samples.reshape(SUN_RAYS, SLOTS, 3).swapaxes(0, 1)
        visibility[:, s] = _share(spread, *starts.light(scene, samples, roles))
    return visibility


class RayStarts:
    """Where rays leave a surface's valid points, those of one slot of all tiles together, as they share directions."""

    def __init__(self, surface: Surface) -> None:
        row, column = np.nonzero(surface.valid)
        slots = row % TILE * TILE + column % TILE
        self.order = np.argsort(slots, kind="stable")  # → row-major number of the valid point
        self.ends = np.cumsum(np.bincount(slots, minlength=SLOTS))
        self.count = len(slots)
        self.origins = (surface.point[surface.valid] + surface.offset[surface.valid])[self.order]
        self.normals = np.ascontiguousarray(surface.normal[surface.valid][self.order].T)

    def light(self, scene: RayScene, samples: np.ndarray, roles: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
        """(N,) cosine-weighted light from each slot's directions (16, R, 3), and (N,) what would arrive in the open."""
        arriving, open_light = np.zeros((2, self.count), np.float32)
        for slot, directions in enumerate(samples):
            here = slice(self.ends[slot - 1] if slot else 0, self.ends[slot])
            for direction in directions:
                # Not a matrix product: BLAS would start its own threads in each of ours.
                cosine = sum(direction[axis] * self.normals[axis, here] for axis in range(3))
                up = np.flatnonzero(cosine > 0)
                clear = ~scene.occluded(self.origins[here][up], direction[None], roles)
                open_light[here] += np.maximum(cosine, 0)
                arriving[here][up] += cosine[up] * clear
        result = np.empty((2, self.count), np.float32)
        result[0, self.order], result[1, self.order] = arriving, open_light
        return result[0], result[1]


def extrapolate(image: np.ndarray, valid: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """A copy of `image` (H, W, …) in which pixels that are `wanted` (H, W) but not `valid` have their nearest valid
    pixel's value: pixels on an edge are covered in part, while their centre misses the surface."""
    missing = wanted & ~valid
    result = image.copy()
    if not missing.any() or not valid.any():
        return result
    rows, columns = (np.flatnonzero((missing | valid).any(axis)) for axis in (1, 0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    nearest = distance_transform_edt(~valid[window], return_distances=False, return_indices=True)
    source = image[window][tuple(nearest)]
    result[window][missing[window]] = source[missing[window]]
    return result


def edge_aware_mean(surface: Surface) -> csr_matrix:
    """(N, N) weights, each row of sum 1, by which valid points average over 5 × 5 pixels of their own smooth surface.

    A neighbour counts by how near it is to the point's tangent plane, in pixels, and by how alike the normals are.
    """
    row, column = (axis.astype(np.int32) for axis in np.nonzero(surface.valid))
    count = len(row)
    index = np.full(np.add(surface.valid.shape, 4), -1, np.int32)  # two pixels of nothing all around
    index[row + 2, column + 2] = np.arange(count, dtype=np.int32)
    point, normal = surface.point[surface.valid], surface.normal[surface.valid]
    pixel = _pixel_size(surface)
    neighbours = np.empty((count, len(TAPS) ** 2), np.int32)
    weights = np.empty((count, len(TAPS) ** 2), np.float32)

    def of_points(rows: slice) -> None:
        p, n = point[rows], normal[rows]
        for tap, ((down, down_weight), (right, right_weight)) in enumerate(itertools.product(TAPS, TAPS)):
            other = index[row[rows] + 2 + down, column[rows] + 2 + right]
            off = np.einsum("nc,nc->n", point[other] - p, n) * (0.5 / pixel)
            alike = np.maximum(np.einsum("nc,nc->n", normal[other], n), 0)
            weight = np.exp(-0.5 * off * off) * (alike * alike) ** 4
            weights[rows, tap] = np.where(other >= 0, down_weight * right_weight * weight, 0)
            neighbours[rows, tap] = np.maximum(other, 0)
        weights[rows] /= weights[rows].sum(1, keepdims=True)

    _in_parallel(of_points, [slice(start, start + 16384) for start in range(0, count, 16384)])
    ends = np.arange(0, neighbours.size + 1, len(TAPS) ** 2)
    return csr_matrix((weights.ravel(), neighbours.ravel(), ends), shape=(count, count))


@functools.cache
def cell_samples() -> np.ndarray:
    """(62, 16, 3) float32 unit directions that divide each RiCS cell evenly."""
    sphere = fibonacci_sphere(len(RICS_DIRECTIONS) * 300)
    cell = nearest_cell(sphere)
    samples = np.empty((len(RICS_DIRECTIONS), SLOTS, 3))
    for k in range(len(samples)):
        inside = sphere[cell == k]
        samples[k] = kmeans2(inside, inside[:: len(inside) // SLOTS][:SLOTS], iter=20, minit="matrix")[0]
    return (samples / np.linalg.norm(samples, axis=-1, keepdims=True)).astype(np.float32)


def _share(spread: csr_matrix, light: np.ndarray, open_light: np.ndarray) -> np.ndarray:
    mean, open_mean = spread @ light, spread @ open_light
    return np.where(open_mean > 1e-6, mean / np.maximum(open_mean, 1e-6), 1)


def _pixel_size(surface: Surface) -> float:
    """Metres from one pixel to the next, across the view, on the median of the surface."""
    pairs = surface.valid[:, 1:] & surface.valid[:, :-1]
    if not pairs.any():
        return 1.0
    step = surface.point[:, 1:, :2][pairs] - surface.point[:, :-1, :2][pairs]
    return float(max(np.median(np.linalg.norm(step, axis=1)), 1e-9))


def _in_parallel(task: Callable[[T], None], parts: Iterable[T]) -> None:
    with ThreadPoolExecutor(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ) as pool:
        for _ in pool.map(task, parts):
            pass  # raises what a task raised
