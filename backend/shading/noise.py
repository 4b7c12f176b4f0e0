# SPDX-License-Identifier: GPL-3.0-or-later
"""Smooth noise that repeats without a seam, for what nature scatters."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = 256  # pixels of a tile, each way


def tile(random: np.random.Generator, coarsest: int, roughness: float) -> np.ndarray:
    """(257, 257) float32 of mean about 0 and deviation 1; its last row and column are those of the beginning.

    coarsest: cells of the first of five octaves. roughness: how strong an octave is beside the one before.
    """
    noise = np.zeros((SIZE, SIZE), np.float32)
    for octave in range(5):
        cells = random.standard_normal((coarsest << octave, coarsest << octave)).astype(np.float32)
        wide = cv2.resize(np.tile(cells, (3, 3)), (3 * SIZE, 3 * SIZE), interpolation=cv2.INTER_CUBIC)
        noise += wide[SIZE : 2 * SIZE, SIZE : 2 * SIZE] * roughness**octave
    return np.pad(noise / noise.std(), (0, 1), "wrap")


def look_up(noise: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(N,) of a tile at pixels u, v (N,), however far away."""
    result = np.empty(len(u), np.float32)
    for start in range(0, len(u), 32_000):  # cv2.remap takes fewer than 32768 rows
        rows = slice(start, start + 32_000)
        maps = [(np.asarray(x[rows], np.float64) % SIZE).astype(np.float32)[:, None] for x in (u, v)]
        result[rows] = cv2.remap(noise, *maps, cv2.INTER_LINEAR)[:, 0]
    return result
