# SPDX-License-Identifier: GPL-3.0-or-later
"""A person as LASOR's networks tell one: 157 numbers, of a camera, a pose and a shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..model import BodyModel
from ..rotations import matrices_from_six, rotation_matrices, six_from_matrices
from .camera import Lens, likeness, weak_perspective

CAMERA, POSE, SHAPE = 3, 24 * 6, 10
TURNS = 24 * 3
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


def changed(rotations: Tensor, betas: Tensor, change: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (…, 24, 3, 3) and betas (…, 10) after a change (…, 82) in the directions of a `Lifter.spread`."""
    turned, grown = (change @ spread.T).tensor_split([TURNS], -1)
    return rotations @ rotation_matrices(turned.unflatten(-1, (-1, 3))), betas + grown


@torch.no_grad()
def with_shape(estimate: Estimate, betas: Tensor, lens: Lens | None = None) -> Estimate:
    """Of other shapes (B, 10) or (10,), through cameras that see their keypoints where they were.

    lens: what the estimate is seen through; none for those of a camera that looks straight at them.
    """
    seen = (lens or weak_perspective)(_keypoints(estimate.betas, estimate.rotations), estimate.camera)
    betas = betas.expand_as(estimate.betas)
    points = _keypoints(betas, estimate.rotations)
    return Estimate((lens.likeness if lens else likeness)(points, seen), estimate.rotations, betas)


@torch.no_grad()
def through(lens: Lens, estimate: Estimate) -> Estimate:
    """Estimates of a camera that looks straight at each body, in the space of the photograph's own.

    Its keypoints are seen as nearly as can be where they were.
    """
    seen = weak_perspective(_keypoints(estimate.betas, estimate.rotations), estimate.camera)
    rotations = estimate.rotations.clone()
    rotations[:, 0] = lens.turns @ rotations[:, 0]
    return Estimate(lens.likeness(_keypoints(estimate.betas, rotations), seen), rotations, estimate.betas)


def _keypoints(betas: Tensor, rotations: Tensor) -> Tensor:
    """(B, 17, 3) metres about the bodies' origins."""
    model = BodyModel.load(coarse=True)
    return model.keypoints(*model(betas, rotations))


def rows_of(estimate: Estimate, rows: list[int]) -> Estimate:
    """Those of several people who have these numbers."""
    return Estimate(estimate.camera[rows], estimate.rotations[rows], estimate.betas[rows])


def joined(parts: Sequence[Estimate]) -> Estimate:
    """Estimates of several people as one, in their order."""
    columns = ([getattr(part, name) for part in parts] for name in ("camera", "rotations", "betas"))
    return Estimate(*(torch.cat(column) for column in columns))
