# SPDX-License-Identifier: GPL-3.0-or-later
"""A person as LASOR's networks tell one: 157 numbers, of a camera, a pose and a shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..model import BodyModel
from ..rotations import matrices_from_six, rotation_matrices, six_from_matrices

CAMERA, POSE, SHAPE = 3, 24 * 6, 10
NUMBERS = CAMERA + POSE + SHAPE
FIRST_CAMERA = (0.9, 0.0, 0.0)


@dataclass(frozen=True)
class Estimate:
    """camera (B, 3): scale and shift of `camera.weak_perspective`; rotations (B, 24, 3, 3); betas (B, 10)."""

    camera: Tensor
    rotations: Tensor
    betas: Tensor


def estimate_of(numbers: Tensor) -> Estimate:
    """Numbers (B, 157) as what they mean."""
    camera, six, betas = numbers.split((CAMERA, POSE, SHAPE), 1)
    return Estimate(camera, matrices_from_six(six.unflatten(1, (24, 6))), betas)


def mean_numbers(poses: np.ndarray, body: BodyModel) -> Tensor:
    """(157,) the first camera, the mean of poses (N, 24, 3) axis-angle, facing it upright, and adults' mean betas."""
    rotations = rotation_matrices(torch.from_numpy(poses)).mean(0)
    rotations[0] = torch.eye(3)
    betas = torch.from_numpy(body.body.shape_range()[0])
    return torch.cat([torch.tensor(FIRST_CAMERA), six_from_matrices(rotations).flatten(), betas.float()])
