# SPDX-License-Identifier: GPL-3.0-or-later
"""A joint field whose surface is known exactly: an egg of two halves, each a part with its colour."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backend.objects.network import Codes
from backend.objects.shapes import Part, Shape
from backend.objects.solids import lathe

RADII = (0.6, 0.8, 0.6)  # of the egg, along x, y and z
COLOURS = torch.tensor([[0.7, 0.3, 0.1], [0.1, 0.4, 0.8]])  # above and below
STEEP = 12.0


class EggField:
    """What `JointField` offers; f_S[0] scales the egg, so that there is something to differentiate."""

    steep = STEEP

    def shape(self, codes: Codes, points: Tensor) -> Tensor:
        egg = self.steep * (codes.shape[:, :1] - (points / torch.tensor(RADII).to(points)).norm(dim=-1))
        side = 20 * points[..., 1]
        return torch.sigmoid(torch.stack([torch.minimum(egg, egg + side), torch.minimum(egg, egg - side)], -1))

    def occupancy(self, codes: Codes, points: Tensor) -> Tensor:
        return self.shape(codes, points).amax(-1)

    def __call__(self, codes: Codes, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        occupancy, branch = self.shape(codes, points).max(-1)
        return occupancy, branch, self.chosen_albedo(codes, points, branch)

    def chosen_albedo(self, codes: Codes, points: Tensor, branch: Tensor) -> Tensor:
        return COLOURS.to(points)[branch] * codes.albedo[:, None, :1]


def egg_codes(count: int = 1, scale: float = 1.0) -> Codes:
    return Codes(torch.zeros(count, 0), torch.full((count, 1), scale), torch.ones(count, 1))


def egg_shape() -> Shape:
    """The same egg as a finely made mesh, in object space."""
    halves = []
    for k, (low, high) in enumerate(((0.0, np.pi / 2), (-np.pi / 2, 0.0))):
        t = np.linspace(low, high, 24)
        profile = np.stack([RADII[0] * np.cos(t), RADII[1] * np.sin(t)], 1)
        halves.append(Part(("cabin", "body")[k], lathe(profile), COLOURS[k].double().numpy()))
    return Shape("car", 0, tuple(halves))
