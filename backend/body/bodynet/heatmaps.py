# SPDX-License-Identifier: GPL-3.0-or-later
"""Heatmaps of joints in the image and in depth: drawing them, and reading joints off them (section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from .parts import DEPTH_STEP, DEPTHS

SPREAD = 1.0  # pixels and depths of the heatmaps' Gaussians
REACH = 3  # beyond which they are zero


def heatmaps2d(joints: Tensor, grid: int) -> Tensor:
    """(B, 16, G, G) Gaussians of height 1 about joints (B, 16, 2 or 3), x and y from 0 to 1."""
    x, y = (_profile(joints[..., k] * grid, grid) for k in (0, 1))
    return y[..., :, None] * x[..., None, :]


def heatmaps3d(joints: Tensor, grid: int) -> Tensor:
    """(B, 16, 19, G, G) of joints (B, 16, 3); one beyond the range of depths is drawn at its end."""
    return _profile(_depths(joints), DEPTHS)[..., None, None] * heatmaps2d(joints, grid)[:, :, None]


def around(joints: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """The 27 places of `heatmaps3d`, flattened, about each joint (B, 16, 27), and their shares of the heatmap there; of
    a joint that is outside, the nearest."""
    near, share = [], []
    row, column = (joints[..., k] * grid for k in (1, 0))
    for place, size in ((_depths(joints), DEPTHS), (row.clamp(0, grid), grid), (column.clamp(0, grid), grid)):
        bins = place.long().clamp(1, size - 2)[..., None] + torch.arange(-1, 2, device=joints.device)
        value = _profile(place, size).gather(2, bins)
        near.append(bins)
        share.append(value / value.sum(2, keepdim=True))
    (d, y, x), (wd, wy, wx) = near, share
    index = (d[..., :, None, None] * grid + y[..., None, :, None]) * grid + x[..., None, None, :]
    weight = wd[..., :, None, None] * wy[..., None, :, None] * wx[..., None, None, :]
    return index.flatten(2), weight.flatten(2)


def _depths(joints: Tensor) -> Tensor:
    """(B, 16) in depths of a heatmap, within its range."""
    return (joints[..., 2] / DEPTH_STEP + DEPTHS / 2).clamp(0.5, DEPTHS - 0.5)


def _profile(place: Tensor, size: int) -> Tensor:
    """(…, size) a Gaussian about places (…) in pixels."""
    away = torch.arange(size, device=place.device) + 0.5 - place[..., None]
    return torch.exp(-0.5 * (away / SPREAD) ** 2) * (away.abs() <= REACH + 0.5)


def peaks2d(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `heatmaps2d`: (B, J, 2) from 0 to 1, and heights (B, J) of the peaks.

    The paper takes the highest pixel; the centre of mass of it and its neighbours tells more (ours).
    """
    found, height = peaks3d(maps[:, :, None])
    return found[..., :2], height


def peaks3d(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `heatmaps3d` (B, J, D, G, G): (B, J, 3) x, y from 0 to 1 and metres, and heights (B, J)."""
    sizes = maps.shape[2:]
    flat = maps.flatten(2)
    height, where = flat.max(2)
    best = torch.stack([where // (sizes[1] * sizes[2]), where // sizes[2] % sizes[1], where % sizes[2]], 2)
    places, mass = torch.zeros_like(best, dtype=maps.dtype), torch.zeros_like(height)
    for step in torch.cartesian_prod(*[torch.arange(-1, 2, device=maps.device)] * 3):
        at = best + step
        inside = ((at >= 0) & (at < torch.tensor(sizes, device=maps.device))).all(2)
        index = (at[..., 0] * sizes[1] + at[..., 1]) * sizes[2] + at[..., 2]
        value = flat.gather(2, index.clamp(0, flat.shape[2] - 1)[..., None])[..., 0].clamp(min=0) * inside
        places, mass = places + value[..., None] * at, mass + value
    centre = torch.where(mass[..., None] > 0, places / mass[..., None].clamp(min=1e-8), best.to(maps.dtype)) + 0.5
    depth = (centre[..., 0] - sizes[0] / 2) * DEPTH_STEP
    return torch.stack([centre[..., 2] / sizes[2], centre[..., 1] / sizes[1], depth], 2), height
