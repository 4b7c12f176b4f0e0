# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations in torch: axis-angle, matrices, and the continuous six numbers of Zhou et al. 2019."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def rotation_matrices(axis_angle: Tensor) -> Tensor:
    """(..., 3) axis times angle in radians → (..., 3, 3); differentiable at zero as well."""
    squared = (axis_angle**2).sum(-1)[..., None, None]
    small = squared < 1e-8
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    first = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    second = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / angle**2)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.eye(3, dtype=cross.dtype, device=cross.device) + first * cross + second * cross @ cross


def axis_angles(matrices: Tensor) -> Tensor:
    """(..., 3, 3) rotations → (..., 3) axis times angle in [0, π]; by way of quaternions, so exact near π as well."""
    trace = matrices.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    odd = torch.stack([matrices[..., i, j] - matrices[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], -1)[..., None]
    even = matrices + matrices.mT + (1 - trace) * torch.eye(3, dtype=matrices.dtype, device=matrices.device)
    # Four times the outer product of the quaternion (w, x, y, z) with itself: its longest row is the safest.
    product = torch.cat([torch.cat([1 + trace, odd], -2), torch.cat([odd.mT, even], -2)], -1)
    longest = product.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None].expand(*product.shape[:-2], 1, 4)
    quaternion = F.normalize(product.gather(-2, longest)[..., 0, :], dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = quaternion[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[..., :1])
    return quaternion[..., 1:] * torch.where(sine < 1e-7, torch.full_like(sine, 2.0), angle / sine.clamp(min=1e-7))


def matrices_from_six(six: Tensor) -> Tensor:
    """(..., 6) any numbers → (..., 3, 3) rotations: as a (3, 2) matrix, whose columns Gram and Schmidt make square.

    The third column is the cross product of the first two.
    """
    first, second = six.unflatten(-1, (3, 2)).unbind(-1)
    first = F.normalize(first, dim=-1)
    second = F.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def six_from_matrices(matrices: Tensor) -> Tensor:
    """(..., 3, 3) rotations → (..., 6): the first two columns."""
    return matrices[..., :2].flatten(-2)
