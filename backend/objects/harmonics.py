# SPDX-License-Identifier: GPL-3.0-or-later
"""Nine spherical harmonics of the normal: JOF's light (equation 3, B = 3).

The basis is the real, orthonormal one, in the order Y00, Y1(y, z, x), Y2(xy, yz, 3z²−1, xz, x²−y²), in object space.
Coefficients are those of the *shading* of a white surface (π-normalised irradiance): radiance 1 from everywhere gives
shading 1. They are (9, 3), linear RGB; the public order of the encoder's 27 outputs is the flattened one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_C0, _C1 = 0.28209479, 0.48860251
_C2 = (1.09254843, 1.09254843, 0.31539157, 1.09254843, 0.54627421)
# What a cosine lobe leaves of each band, over π (Ramamoorthi and Hanrahan).
LAMBERT = np.array([1.0] + [2 / 3] * 3 + [1 / 4] * 5)


def harmonics(normals: Tensor) -> Tensor:
    """(…, 3) unit vectors → (…, 9)."""
    x, y, z = normals.unbind(-1)
    return torch.stack(
        [
            torch.full_like(x, _C0),
            _C1 * y,
            _C1 * z,
            _C1 * x,
            _C2[0] * x * y,
            _C2[1] * y * z,
            _C2[2] * (3 * z * z - 1),
            _C2[3] * x * z,
            _C2[4] * (x * x - y * y),
        ],
        -1,
    )


def harmonics_of(normals: np.ndarray) -> np.ndarray:
    """`harmonics` in NumPy."""
    return harmonics(torch.from_numpy(np.ascontiguousarray(normals))).numpy()


def directional(direction: np.ndarray, shading: np.ndarray) -> np.ndarray:
    """(9, 3) of a distant light. direction: (3,) unit, toward it. shading: (3,) of a white surface that faces it."""
    # A sun's irradiance E gives shading E/π·cos; as radiance it is a delta of weight E.
    return np.pi * (LAMBERT * harmonics_of(np.asarray(direction, np.float64)))[:, None] * np.asarray(shading)


def ambient(shading: np.ndarray) -> np.ndarray:
    """(9, 3) of even light that gives every white surface the shading (3,)."""
    light = np.zeros((9, 3))
    light[0] = np.asarray(shading) / _C0
    return light
