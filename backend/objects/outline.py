# SPDX-License-Identifier: GPL-3.0-or-later
"""What a picture's silhouette says of a shape: where it shows the object something is, and beside it nothing.

One level of occupancy for all of a surface loses thin parts, as legs and wings, of which a single picture does not tell
how deep in it they stand: each place is unlikely, though one of them must be. So a point counts as inside by how likely
it is beside the likeliest point behind the same pixel. Not in the paper, which takes one level.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from .projection import project
from .rendering import INSIDE
from .voxels import centres

SIZE = 48  # pixels of the picture, each way
COVERED = 0.25  # of a pixel, from where on the object is seen there: legs are thinner than that pixel
SHARE = 0.65  # of the likeliest point's occupancy, from which on others behind its pixel are inside as well
LEAST = 0.12  # occupancy of what can be inside at all
BESIDE = 0.8  # from which on points are, that are seen clearly beside the object: cameras are guessed as well
CLEARLY = 1.0  # pixels


@dataclass(frozen=True)
class Outline:
    """matrix: (3, 4) of the picture's camera, see `projection`. levels: (48, 48) occupancy of the surface there."""

    matrix: np.ndarray
    levels: np.ndarray

    @classmethod
    def of(cls, occupancy: np.ndarray, matrix: np.ndarray, mask: np.ndarray) -> Outline:
        """occupancy: (n, n, n) at voxel centres, [x, y, z]. mask: (H, W) coverage of the square picture."""
        pixels = np.floor(_pixels(matrix, len(occupancy))).astype(int)
        within = ((pixels >= 0) & (pixels < SIZE)).all(1)
        likeliest = np.zeros(SIZE * SIZE, np.float32)
        flat = pixels[within] @ [1, SIZE]
        np.maximum.at(likeliest, flat, occupancy.ravel()[within])
        covered = cv2.resize(mask.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA) > COVERED
        levels = np.clip(SHARE * likeliest.reshape(SIZE, SIZE), LEAST, INSIDE)
        beside = cv2.distanceTransform(1 - covered.astype(np.uint8), cv2.DIST_L2, 5) > CLEARLY
        levels = np.where(beside, BESIDE, np.where(covered, levels, INSIDE))
        return cls(matrix, gaussian_filter(levels, 0.7).astype(np.float32))

    def of_voxels(self, side: int) -> np.ndarray:
        """(side, side, side) float32: the levels of voxels' centres, `INSIDE` for those outside the picture."""
        x, y = (_pixels(self.matrix, side) - 0.5).T
        levels = map_coordinates(self.levels, [y, x], order=1, mode="constant", cval=INSIDE)
        return levels.reshape(side, side, side)

    @property
    def generous(self) -> Outline:
        """For an object that has changed since: nothing is cut away."""
        return Outline(self.matrix, np.minimum(self.levels, INSIDE))


def _pixels(matrix: np.ndarray, side: int) -> np.ndarray:
    """(side³, 2) where the picture shows the centres of voxels, in pixels of the outline."""
    index = np.indices((side,) * 3).reshape(3, -1).T
    return (project(matrix, centres(index, side))[0] + 1) * (SIZE / 2)
