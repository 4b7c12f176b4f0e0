# SPDX-License-Identifier: GPL-3.0-or-later
"""The light probe's shading formula: what 62 directions, a constant and a few suns make of a surface.

Blender imports this module to light again from a cached map without the backend, so it needs NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..rays.directions import RICS_DIRECTIONS, SOLID_ANGLES

_CHUNK = 1 << 15  # points at a time: a (chunk, 62) float32 array is 8 MB


class DirectionalLight(Protocol):
    """What `shade` needs to know of a sun: see `probe.Sun`."""

    direction: np.ndarray
    irradiance: np.ndarray


def shade(
    radiance: np.ndarray,
    constant: np.ndarray,
    visibility: np.ndarray,
    normals: np.ndarray,
    suns: Sequence[DirectionalLight] = (),
    sun_visibility: np.ndarray | None = None,
) -> np.ndarray:
    """Diffuse shading (π-normalised: a white surface under constant radiance 1 has shading 1), linear Rec.709.

    (1/π) Σ_k ω_k L_k v_k max(0, n·d_k) + c + Σ_s E_s v_s max(0, n·d_s), with d_k the RiCS directions and ω_k their
    solid angles. Under an unhidden even sky the sum over directions is off by at most 4 %, 1 % in the mean.

    radiance: (62, 3) mean radiance L of each direction's cell. constant: (3,) c, unshadowed.
    visibility: (…, 62) v in [0, 1], or bool: 1 where the light of a direction arrives (the complement of RiCS).
    normals: (…, 3) unit, in the directions' frame (camera space). Both may be any strided or half-float array.
    suns: each with .direction (3,), toward the light, and .irradiance (3,), E: shading = E where it stands overhead.
    sun_visibility: (…, S) in [0, 1] or bool; None means that nothing hides a sun.
    Returns (…, 3) float32. Memory is bounded: beyond the result, a few (32768, 62) float32 arrays.
    Raises ValueError where shapes do not belong together.
    """
    shape = normals.shape[:-1]
    if visibility.shape != (*shape, len(RICS_DIRECTIONS)):
        raise ValueError(f"visibility {visibility.shape} does not belong to normals {normals.shape}")
    if sun_visibility is not None and sun_visibility.shape != (*shape, len(suns)):
        raise ValueError(f"sun visibility {sun_visibility.shape} does not belong to {len(suns)} suns, {normals.shape}")
    normals = normals.reshape(-1, 3)
    visibility = visibility.reshape(-1, len(RICS_DIRECTIONS))
    cell_light = np.asarray(radiance, np.float32) * (SOLID_ANGLES / np.pi).astype(np.float32)[:, None]
    directions = np.asarray(RICS_DIRECTIONS, np.float32).T
    sun_directions = np.array([sun.direction for sun in suns], np.float32).reshape(-1, 3).T
    sun_light = np.array([sun.irradiance for sun in suns], np.float32).reshape(-1, 3)
    if sun_visibility is not None:
        sun_visibility = sun_visibility.reshape(len(normals), len(suns))

    shading = np.empty((len(normals), 3), np.float32)
    for start in range(0, len(normals), _CHUNK):
        part = slice(start, start + _CHUNK)
        n = normals[part].astype(np.float32)
        received = n @ directions
        np.maximum(received, 0, out=received)
        received *= visibility[part]
        shading[part] = received @ cell_light + np.asarray(constant, np.float32)
        if len(suns):
            received = np.maximum(n @ sun_directions, 0)
            if sun_visibility is not None:
                received *= sun_visibility[part]
            shading[part] += received @ sun_light
    return shading.reshape(*shape, 3)
