# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns about the vertical axis that bring an object onto itself: its pictures cannot tell such viewpoints apart.

A network that is asked for the one azimuth which the camera happened to have learns the mean of all that look the same,
and that is no camera. Stage 2 therefore compares with the nearest of them, and the azimuth error counts from it.
"""

from __future__ import annotations

import numpy as np
import torch

from .harmonics import harmonics_of
from .voxels import NEAR, centres

TURNS = 8  # of 45 degrees
SAME = 0.99  # share of a turned object's voxels that must meet its own


def _turns() -> np.ndarray:
    angle = np.arange(TURNS) * (2 * np.pi / TURNS)
    zero, one, s, c = np.zeros(TURNS), np.ones(TURNS), np.sin(angle), np.cos(angle)
    return np.stack([c, zero, s, zero, one, zero, -s, zero, c], 1).reshape(TURNS, 3, 3)


def _light_turns(turns: np.ndarray) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(64, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    inverse = np.linalg.pinv(harmonics_of(directions))
    return np.stack([inverse @ harmonics_of(directions @ turn.T) for turn in turns])


ROTATIONS = _turns()
_LIGHT = _light_turns(ROTATIONS)


def symmetries(grid: np.ndarray, albedo: np.ndarray) -> np.ndarray:
    """(TURNS,) bool: which turns leave form and colour as they are, to a voxel's breadth; the first always does.

    grid: (S, S, S), `voxels.piece_grid`. albedo: (Q, 3) of its pieces.
    """
    where = np.argwhere((grid > 0) & (grid < NEAR))
    colour = albedo[grid[tuple(where.T)].astype(int) - 1]
    found = np.ones(TURNS, bool)
    for k in range(1, TURNS):
        turned = centres(where, len(grid)) @ ROTATIONS[k].T
        index = np.floor((turned + 1) * (len(grid) / 2)).astype(int).clip(0, len(grid) - 1)
        met = grid[tuple(index.T)]
        same = (met > 0) & (np.abs(albedo[met.astype(int) % NEAR - 1] - colour).max(1) < 0.02)
        found[k] = same.mean() >= SAME  # rotations are rigid: what covers itself one way does so the other
    return found


def turned_cameras(matrix: torch.Tensor) -> torch.Tensor:
    """(B, 3, 4) projections → (B, TURNS, 3, 4) of the object turned: P[Rx, 1]."""
    turns = torch.from_numpy(ROTATIONS).to(matrix)
    left = matrix[:, None, :, :3] @ turns
    return torch.cat([left, matrix[:, None, :, 3:].expand(-1, TURNS, -1, -1)], -1)


def turned_lights(light: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """(B, 9, 3) light that shades the object turned (B,) as `light` shades it: H(Rn) · L = H(n) · L'."""
    return torch.from_numpy(_LIGHT).to(light)[turn] @ light
