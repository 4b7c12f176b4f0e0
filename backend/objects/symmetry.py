# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns of an object about its vertical axis, and which of them bring it onto itself.

A picture cannot tell the viewpoints apart from which an object looks the same. A network that is asked for the one
azimuth which the camera happened to have learns the mean of them all, and that is no camera. So any of them is right
in stage 2, and the azimuth error counts from the nearest.
"""

from __future__ import annotations

import numpy as np
import torch

from .harmonics import harmonics_of
from .voxels import NEAR, centres

AZIMUTHS = 16  # turns that are known, of 22.5 degrees
TURNS = 8  # those that may bring an object onto itself, of 45 degrees
SAME = 0.99  # share of a turned object's voxels that must meet its own


def _turns() -> np.ndarray:
    angle = np.arange(AZIMUTHS) * (2 * np.pi / AZIMUTHS)
    zero, one, s, c = np.zeros(AZIMUTHS), np.ones(AZIMUTHS), np.sin(angle), np.cos(angle)
    return np.stack([c, zero, s, zero, one, zero, -s, zero, c], 1).reshape(AZIMUTHS, 3, 3)


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
        turned = centres(where, len(grid)) @ ROTATIONS[k * AZIMUTHS // TURNS].T
        index = np.floor((turned + 1) * (len(grid) / 2)).astype(int).clip(0, len(grid) - 1)
        met = grid[tuple(index.T)]
        same = (met > 0) & (np.abs(albedo[met.astype(int) % NEAR - 1] - colour).max(1) < 0.02)
        found[k] = same.mean() >= SAME  # rotations are rigid: what covers itself one way does so the other
    return found


def turned_camera(matrix: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """(B, 3, 4) projections of the object turned by `turn` (B,), in 22.5 degrees: P[Rx, 1]."""
    rotation = torch.from_numpy(ROTATIONS).to(matrix)[turn % AZIMUTHS]
    return torch.cat([matrix[..., :3] @ rotation, matrix[..., 3:]], -1)


def turned_light(light: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """(B, 9, 3) light that shades the object turned (B,) as `light` shades it: H(Rn) · L = H(n) · L'."""
    return torch.from_numpy(_LIGHT).to(light)[turn % AZIMUTHS] @ light


def azimuth_of(matrix: torch.Tensor) -> torch.Tensor:
    """(B,) int64 of the nearest of the `AZIMUTHS` from which projections (B, 3, 4) see an object: the turn that brings
    the camera to its front."""
    centre = -torch.linalg.solve(matrix[..., :3].double(), matrix[..., 3:].double())[..., 0]
    step = 2 * torch.pi / AZIMUTHS
    return torch.round(torch.atan2(centre[..., 0], centre[..., 2]) / step).long() % AZIMUTHS


def alike_azimuths(azimuth: torch.Tensor, alike: torch.Tensor) -> torch.Tensor:
    """(B, AZIMUTHS) bool: from where objects look as from `azimuth` (B,), with `symmetries` (B, TURNS)."""
    found = torch.zeros(len(azimuth), AZIMUTHS, dtype=torch.bool, device=azimuth.device)
    turn = torch.arange(TURNS, device=azimuth.device) * (AZIMUTHS // TURNS)
    return found.scatter(1, (azimuth[:, None] - turn) % AZIMUTHS, alike)
