# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras: the perspective one that synthesis looks through, and the weak-perspective one that LASOR estimates.

Camera space is x right, y up, −z forward, metres; bodies in it keep SMPL's axes, so a body without rotation faces the
camera. Normalised image coordinates run from −1 to 1 over a square crop, x right and y up.
"""

from __future__ import annotations

import torch
from torch import Tensor


def perspective(points: Tensor, focal: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Pixels (B, N, 2) and depths (B, N) metres of points (B, N, 3). focal: (B,) pixels; the axis meets the centre."""
    depth = -points[..., 2]
    flat = points[..., :2] * torch.tensor([1.0, -1.0], dtype=points.dtype, device=points.device)
    return flat * (focal[:, None] / depth)[..., None] + size / 2, depth


def weak_perspective(points: Tensor, camera: Tensor) -> Tensor:
    """Normalised (B, N, 2) of points (B, N, 3): s·(x + t). camera: (B, 3), the scale s and the shift t in metres."""
    return camera[:, None, :1] * (points[..., :2] + camera[:, None, 1:])


def to_pixels(normalised: Tensor, size: int) -> Tensor:
    """Normalised (..., 2), y up → pixels (..., 2), y down, of a square picture."""
    flip = torch.tensor([1.0, -1.0], dtype=normalised.dtype, device=normalised.device)
    return (normalised * flip + 1) * (size / 2)


def from_pixels(pixels: Tensor, size: int) -> Tensor:
    """The inverse of `to_pixels`."""
    flip = torch.tensor([1.0, -1.0], dtype=pixels.dtype, device=pixels.device)
    return (pixels * (2 / size) - 1) * flip
