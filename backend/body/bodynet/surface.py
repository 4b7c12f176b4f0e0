# SPDX-License-Identifier: GPL-3.0-or-later
"""From a volume of probabilities to the body's surface, with the part that each place belongs to (section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates
from skimage.measure import marching_cubes

from ...protocol import PenumbraError

INSIDE = 0.5  # the paper's threshold


@dataclass(frozen=True)
class Surface:
    """An isosurface in grid coordinates, see `voxels`.

    vertices (V, 3) float32; faces (F, 3) int32, counter-clockwise from outside (the grid's axes, x right, y down,
    z away, are right-handed); part (F,) uint8 from 1, all 0 where no parts are known; confidence (V,) of the voxels
    there, w of equation 6.
    """

    vertices: np.ndarray
    faces: np.ndarray
    part: np.ndarray
    confidence: np.ndarray


def occupancy(part_probabilities: np.ndarray) -> np.ndarray:
    """(V, V, V) probability of any of the parts, from those of the background and six parts (7, V, V, V)."""
    return 1 - part_probabilities[0]


def extract(probability: np.ndarray, parts: np.ndarray | None = None) -> Surface:
    """The isosurface of occupancy probabilities (V, V, V), [z, y, x]; closed also where the body leaves the grid.

    parts: (7, V, V, V) class probabilities. Raises PenumbraError where nothing is inside.
    """
    if probability.max() <= INSIDE:
        raise PenumbraError("The network sees no body there.", "Choose a picture in which the person is seen whole.")
    padded = np.pad(probability, 1)
    corners, faces, _, _ = marching_cubes(padded, INSIDE, gradient_direction="ascent")
    at = corners - 1  # [z, y, x] indices of voxels
    vertices = np.ascontiguousarray(at[:, ::-1] + 0.5, np.float32)
    # [z, y, x] has the opposite handedness of (x, y, z).
    faces = np.ascontiguousarray(faces[:, ::-1], np.int32)
    return Surface(vertices, faces, _part_of(at[faces].mean(1), probability, parts), confidence(at, probability))


def confidence(at: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """(N,) float32: the highest probability among the eight voxels about places (N, 3), in indices [z, y, x].

    On the isosurface itself the interpolated probability is 0.5 everywhere and says nothing.
    """
    low = np.floor(at).astype(int)
    best = np.zeros(len(at), np.float32)
    for corner in np.ndindex(2, 2, 2):
        index = np.clip(low + corner, 0, np.array(probability.shape) - 1)
        best = np.maximum(best, probability[tuple(index.T)])
    return best


def _part_of(at: np.ndarray, probability: np.ndarray, parts: np.ndarray | None) -> np.ndarray:
    """(F,) the most probable part of the voxel inside that is nearest to places (F, 3)."""
    if parts is None:
        return np.zeros(len(at), np.uint8)
    label = 1 + parts[1:].argmax(0)
    nearest = distance_transform_edt(probability <= INSIDE, return_distances=False, return_indices=True)
    index = np.clip(np.round(at).astype(int), 0, np.array(probability.shape) - 1)
    inside = nearest[(slice(None), *index.T)]
    return label[tuple(inside)].astype(np.uint8)


def enlarged(probability: np.ndarray, side: int) -> np.ndarray:
    """(side, side, side) trilinear samples of probabilities (V, V, V), to be compared at another resolution."""
    scale = probability.shape[0] / side
    axis = (np.arange(side) + 0.5) * scale - 0.5
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    return map_coordinates(probability, grid, order=1, mode="constant", cval=0.0)
