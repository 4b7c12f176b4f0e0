# SPDX-License-Identifier: GPL-3.0-or-later
"""From keypoints alone to camera, pose and shape: what LASOR's iterations begin with (ours).

Numbers instead of pictures teach hundreds of times as many people in the same time, and where limbs are in depth is
told by keypoints nearly alone (Martinez et al. 2017 lift them the same way). The encoder then adds what the silhouette
tells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..model import BodyModel
from .camera import weak_perspective
from .person import CAMERA, NUMBERS, SHAPE, TURNS, estimate_of
from .proxy import KEYPOINTS

BLOCKS = 3
PASSES = 3
READ = 3 * KEYPOINTS + 2 * KEYPOINTS + NUMBERS
_USUAL_SCALE = 1.8  # of a camera that sees a person's keypoints one unit from their centre in the mean
_MAGNIFIED = 3.0  # how far keypoints are off, for the network: less than how far they are apart


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
    """A residual network over keypoints in a frame of their own, so that no crop matters, asked several times: each
    time it sees how far the keypoints of its last answer are from those that were found, and corrects it (a descent
    that is learnt, as Song et al. 2020 fit bodies).

    mean: (154,) pose and shape that it begins with.
    spread: (82, 82) a root of its errors' mean products, lower triangular, measured once it has learnt: times
        independent numbers of variance 1, what its answers lack, as rotations of the 24 joints about their own axes,
        axis-angle in radians, and 10 betas.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(READ, width), *(Block(width) for _ in range(BLOCKS)), nn.LayerNorm(width))
        self.head = nn.Linear(width, NUMBERS)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)
        identity = torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(24)
        self.register_buffer("mean", torch.cat([identity, torch.zeros(SHAPE)]))
        self.register_buffer("spread", torch.eye(TURNS + SHAPE))
        self.body = BodyModel.load(coarse=True).landmarks_only()

    def forward(self, points: Tensor, found: Tensor) -> Tensor:
        """(B, 157) camera, six numbers of each rotation, betas.

        points: (B, 17, 2) normalised, y up; those that are not found, 0 in `found` (B, 17), are not read.
        """
        return self.passes(points, found)[-1]

    def passes(self, points: Tensor, found: Tensor) -> list[Tensor]:
        """The answers one after another, as `forward` returns them; no gradient goes from one to the one before."""
        points, found = points.float(), found.float()
        centre, spread = frame(points, found)
        inside = (points - centre[:, None]) / spread[:, None, None] * found[..., None]
        seen = torch.cat([inside, found[..., None]], 2).flatten(1)
        # In the keypoints' frame: the logarithm of the scale over its usual one, the shift, pose and shape.
        state = torch.cat([self.mean.new_zeros(len(points), CAMERA), self.mean.expand(len(points), -1)], 1)
        answers = []
        for _ in range(PASSES):
            state = state.detach()
            away = (inside - self._projected(state)) * found[..., None]
            read = torch.cat([seen, _MAGNIFIED * away.flatten(1), state], 1)
            state = state + self.head(self.layers(read)).float()
            answers.append(_placed(state, centre, spread))
        return answers

    @torch.no_grad()
    def _projected(self, state: Tensor) -> Tensor:
        """(B, 17, 2) where the keypoints of an answer are, in the frame of those that were found."""
        with torch.autocast(state.device.type, enabled=False):
            person = estimate_of(_placed(state, torch.zeros_like(state[:, :2]), torch.ones_like(state[:, 0])))
            vertices, joints = self.body(person.betas, person.rotations)
            return weak_perspective(self.body.keypoints(vertices, joints), person.camera)


def _placed(state: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    """(B, 157) an answer with its camera in the frame that centre (B, 2) and spread (B,) are in."""
    scale = _USUAL_SCALE * state[:, :1].exp() * spread[:, None]
    return torch.cat([scale, state[:, 1:CAMERA] + centre / scale, state[:, CAMERA:]], 1)


def frame(points: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (B, 2) of points (B, N, 2), of those that are found (B, N), and their root mean square distance (B,)."""
    count = found.sum(1).clamp(min=1)
    centre = (points * found[..., None]).sum(1) / count[:, None]
    away = ((points - centre[:, None]).square().sum(2) * found).sum(1) / count
    return centre, away.clamp(min=1e-6).sqrt()
