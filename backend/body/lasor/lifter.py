# SPDX-License-Identifier: GPL-3.0-or-later
"""From keypoints alone to camera, pose and shape: what LASOR's iterations begin with (ours).

Numbers instead of pictures teach hundreds of times as many people in the same time, and where limbs are in depth is
told by keypoints nearly alone (Martinez et al. 2017 lift them the same way). The encoder then adds what the silhouette
tells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .proxy import KEYPOINTS

CAMERA, POSE, SHAPE = 3, 24 * 6, 10
NUMBERS = CAMERA + POSE + SHAPE
BLOCKS = 3
_USUAL_SCALE = 1.8  # of a camera that sees a person's keypoints one unit from their centre in the mean


class Block(nn.Module):
    """Two layers, normalised first, beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, width)
        )
        nn.init.zeros_(self.body[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Lifter(nn.Module):
    """A residual network over keypoints in a frame of their own, so that no crop matters.

    mean: (154,) pose and shape that its answers are added to.
    """

    mean: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * KEYPOINTS, width), *(Block(width) for _ in range(BLOCKS)), nn.LayerNorm(width)
        )
        self.head = nn.Linear(width, NUMBERS)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)
        identity = torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(24)
        self.register_buffer("mean", torch.cat([identity, torch.zeros(SHAPE)]))

    def forward(self, points: Tensor, found: Tensor) -> Tensor:
        """(B, 157) camera, six numbers of each rotation, betas.

        points: (B, 17, 2) normalised, y up; those that are not found, 0 in `found` (B, 17), are not read.
        """
        points, found = points.float(), found.float()
        centre, spread = frame(points, found)
        inside = (points - centre[:, None]) / spread[:, None, None] * found[..., None]
        change = self.head(self.layers(torch.cat([inside, found[..., None]], 2).flatten(1))).float()
        scale = _USUAL_SCALE * change[:, :1].exp() * spread[:, None]
        camera = torch.cat([scale, change[:, 1:CAMERA] + centre / scale], 1)
        return torch.cat([camera, self.mean + change[:, CAMERA:]], 1)


def frame(points: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (B, 2) of points (B, N, 2), of those that are found (B, N), and their root mean square distance (B,)."""
    count = found.sum(1).clamp(min=1)
    centre = (points * found[..., None]).sum(1) / count[:, None]
    away = ((points - centre[:, None]).square().sum(2) * found).sum(1) / count
    return centre, away.clamp(min=1e-6).sqrt()
