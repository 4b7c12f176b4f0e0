# SPDX-License-Identifier: GPL-3.0-or-later
"""The 62 light directions of a RiCS map, and its packing into one integer a pixel (RiCS paper, section 3.2, figure 3).

Blender imports this module too, so it needs nothing but NumPy.
"""

from __future__ import annotations

import numpy as np

COUNT = 62  # five rings of twelve, and the two poles
_STEP = np.radians(30.0)
_NEARNESS = np.float32(0.04)  # of 1 less the cosine, where the share has fallen to 1/e


def _directions() -> np.ndarray:
    polar, azimuth = (a.ravel() for a in np.meshgrid(_STEP * np.arange(1, 6), _STEP * np.arange(12), indexing="ij"))
    rings = np.stack([np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], axis=-1)
    directions = np.vstack([rings, [[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]])
    return np.where(np.abs(directions) < 1e-12, 0, directions).astype(np.float32)


def _solid_angles() -> np.ndarray:
    """Areas of the directions' Voronoi cells on the unit sphere, in closed form.

    By symmetry the corners of all cells lie on the meridians half-way between two azimuths, one between each two
    neighbouring rings. The corners above a ring span a regular spherical twelve-gon about +y; the difference of two
    such twelve-gons is shared equally by the twelve cells between them.
    """
    ring = _STEP * np.arange(4)
    # The polar angle whose point on that meridian is as far from one ring's direction as from the next ring's.
    corner = np.arctan2(
        np.cos(ring[:-1]) - np.cos(ring[1:]), np.cos(_STEP / 2) * (np.sin(ring[1:]) - np.sin(ring[:-1]))
    )
    t = np.tan(corner / 2) ** 2
    cap = 24 * np.arctan2(t * np.sin(_STEP), 1 + t * np.cos(_STEP))  # twelve isosceles triangles, by spherical excess
    pole, first, second = np.diff(cap, prepend=0.0) / [1, 12, 12]
    equator = (4 * np.pi - 2 * cap[-1]) / 12
    return np.concatenate([np.repeat([first, second, equator, second, first], 12), [pole, pole]]).astype(np.float32)


RICS_DIRECTIONS = _directions()
"""(62, 3) float32 unit vectors in camera space, from the surface toward the light.

Index 12·i + j has the polar angle 30°·(i + 1) from +y, and the azimuth 30°·j from +z (toward the camera) to +x; 60 is
+y, 61 is −y.
"""

SOLID_ANGLES = _solid_angles()
"""(62,) float32 steradians: the Voronoi cell of each direction; their sum is 4π."""

MIRRORED = np.argmax((RICS_DIRECTIONS * [-1, 1, 1]) @ RICS_DIRECTIONS.T, axis=1)
"""(62,) int: the index of each direction's image in a mirror that changes the sign of x."""

for _table in (RICS_DIRECTIONS, SOLID_ANGLES, MIRRORED):
    _table.setflags(write=False)


def cell_shares(directions: np.ndarray) -> np.ndarray:
    """(…, 62) float32: how near each of the 62 is to unit directions (…, 3), as shares whose sum is 1.

    Smooth in the direction, and narrow enough that one of the 62 has most of its own.
    """
    near = np.exp((np.asarray(directions, np.float32) @ RICS_DIRECTIONS.T - 1) / _NEARNESS)
    return near / near.sum(-1, keepdims=True)


def pixel_directions(height: int, width: int) -> np.ndarray:
    """(H, W, 3) world-space unit vectors of the pixel centres of an equirectangular image.

    As Blender's World has it: the top row looks along +z, the centre column along +x, the left quarter along +y.
    """
    polar = (np.arange(height) + 0.5) * np.pi / height
    azimuth = np.pi - (np.arange(width) + 0.5) * 2 * np.pi / width
    ring = np.sin(polar)[:, None]
    return np.stack(
        [ring * np.cos(azimuth), ring * np.sin(azimuth), np.broadcast_to(np.cos(polar)[:, None], (height, width))], -1
    )


def pack_bits(bits: np.ndarray) -> np.ndarray:
    """(…, 62) bool → (…) uint64, direction k in bit k."""
    bits = np.asarray(bits, bool)
    if bits.shape[-1] != COUNT:
        raise ValueError(f"expected {COUNT} directions, not {bits.shape[-1]}")
    packed = np.packbits(bits, axis=-1, bitorder="little")
    return packed.view("<u8")[..., 0].astype(np.uint64, copy=False)


def unpack_bits(packed: np.ndarray) -> np.ndarray:
    """(…) uint64 → (…, 62) bool."""
    octets = np.asarray(packed, "<u8", order="C")[..., None].view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=COUNT, bitorder="little").view(bool)
