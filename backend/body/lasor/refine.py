# SPDX-License-Identifier: GPL-3.0-or-later
"""An estimated body, fitted to the keypoints and the silhouette that it was estimated from; never worse than before."""

from __future__ import annotations

from functools import lru_cache
from math import cos, pi
from typing import cast

import torch
from torch import Tensor

from ...weights import load_model
from ..model import BodyModel
from .camera import Projection, from_pixels, to_pixels, weak_perspective
from .lifter import Lifter
from .person import TURNS, Estimate, changed
from .proxy import SIZE
from .raster import Silhouettes
from .synthesis import TARGET

STEPS = 40
CAMERA_RATE, RATE, LAST = 0.01, 0.05, 0.1  # of Adam, and the share of them that is left at the end
SOFTNESS = 1.0  # pixels of 128
# Of the energy: keypoints as the mean absolute distance in the crop's half-sides, silhouette as the mean square of what
# differs; and, for what keeps the body near the estimate, the square of how unlikely an error it would have been.
KEYPOINTS, SILHOUETTE, NEAR = 1.0, 4.0, 0.002
CLOTHED = 0.3  # of the shapes' spread: what an outline adds to a body is clothes as well


class Refiner:
    """Fits batches of estimates on the device of `body`, a coarse body model.

    spread: (82, 82) of the estimates' errors, see `Lifter.spread`: what is changed, is changed in their directions and
    by their lengths, so that limbs give way where keypoints tell them least, and together.
    """

    def __init__(self, body: BodyModel, spread: Tensor) -> None:
        self.body, self.spread, self.silhouettes = body, spread, Silhouettes(body.faces)

    @classmethod
    @lru_cache(maxsize=2)
    def load(cls, clothed: bool = True) -> Refiner:
        """With the errors of the bundled lifter, with which all estimates begin. clothed: as people in photographs are.

        Raises PenumbraError where the lifter is missing or damaged.
        """
        spread = cast(Lifter, load_model("lifter")[0]).spread
        if clothed:
            spread[TURNS:] *= CLOTHED
        return cls(BodyModel.load(coarse=True), spread)

    def energy(
        self,
        estimate: Estimate,
        points: Tensor,
        confidence: Tensor,
        mask: Tensor,
        unknown: Tensor,
        project: Projection = weak_perspective,
    ) -> Tensor:
        """(B,) how far the body is from what was seen.

        points: (B, 17, 2) pixels of the 256 × 256 crop. confidence: (B, 17). mask: (B, 128, 128) the seen silhouette.
        unknown: (B, 128, 128) 1 where another person or the picture's end hides what may be there.
        """
        vertices, joints = self.body(estimate.betas, estimate.rotations)
        flat = project(self.body.keypoints(vertices, joints), estimate.camera)
        away = (flat - from_pixels(points, SIZE)).norm(dim=2)
        drawn = self.silhouettes(to_pixels(project(vertices, estimate.camera), TARGET), TARGET, SOFTNESS)
        wrong = ((drawn - mask).square() * (1 - unknown)).mean((1, 2))
        return KEYPOINTS * (confidence * away).sum(1) / confidence.sum(1).clamp(min=1) + SILHOUETTE * wrong

    @torch.enable_grad()
    def __call__(
        self,
        start: Estimate,
        points: Tensor,
        confidence: Tensor,
        mask: Tensor,
        unknown: Tensor,
        project: Projection = weak_perspective,
        steps: int = STEPS,
        keep_shape: bool = False,
    ) -> Estimate:
        """The likeliest estimate met in `steps` steps of Adam: what it explains better than the start weighs more than
        how far it is from it, so that its energy is no greater.

        keep_shape: fit camera and pose alone.
        """
        camera = start.camera.detach().clone().requires_grad_()
        change = camera.new_zeros(len(camera), len(self.spread), requires_grad=True)
        rates = [{"params": [camera], "lr": CAMERA_RATE}, {"params": [change], "lr": RATE}]
        descent = torch.optim.Adam(rates, betas=(0.9, 0.99))
        falling = torch.optim.lr_scheduler.LambdaLR(descent, lambda step: fallen(step / steps))
        best, least = start, torch.full_like(start.camera[:, 0], torch.inf)
        for step in range(steps + 1):
            rotations, betas = changed(start.rotations, start.betas, change, self.spread)
            now = Estimate(camera, rotations, start.betas if keep_shape else betas)
            cost = self.energy(now, points, confidence, mask, unknown, project) + NEAR * change.square().sum(1)
            better = cost.detach() < least
            best, least = _chosen(better, now, best), torch.where(better, cost.detach(), least)
            if step == steps:
                break
            descent.zero_grad()
            cost.sum().backward()
            descent.step()
            falling.step()
        return best


def fallen(done: float) -> float:
    """What is left of a fit's rates after this share of its steps: a cosine, down to `LAST`."""
    return LAST + (1 - LAST) * (1 + cos(pi * done)) / 2


@torch.no_grad()
def _chosen(rows: Tensor, one: Estimate, other: Estimate) -> Estimate:
    """`one` in these rows (B,) bool, `other` elsewhere."""
    camera = torch.where(rows[:, None], one.camera, other.camera)
    rotations = torch.where(rows[:, None, None, None], one.rotations, other.rotations)
    return Estimate(camera, rotations, torch.where(rows[:, None], one.betas, other.betas))
