# SPDX-License-Identifier: GPL-3.0-or-later
"""An estimated body, fitted to the keypoints and the silhouette that it was estimated from; never worse than before."""

from __future__ import annotations

import torch
from torch import Tensor

from ..model import BodyModel
from ..rotations import matrices_from_six, six_from_matrices
from .camera import Projection, from_pixels, to_pixels, weak_perspective
from .person import Estimate
from .proxy import SIZE
from .raster import Silhouettes
from .synthesis import TARGET

STEPS = 40
RATE = 0.01
SOFTNESS = 1.0  # pixels of 128
# Of the energy: keypoints as the mean absolute distance in the crop's half-sides, silhouette as the mean square of what
# differs; and what keeps the body near the regressor's, as means of squares.
KEYPOINTS, SILHOUETTE, POSE, SHAPE = 1.0, 4.0, 20.0, 0.05


class Refiner:
    """Fits batches of estimates on the device of `body`, a coarse body model."""

    def __init__(self, body: BodyModel) -> None:
        self.body, self.silhouettes = body, Silhouettes(body.faces)

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
        """The estimate of least energy met in `steps` steps of Adam; that of the start where none was less.

        keep_shape: fit camera and pose alone.
        """
        begun = six_from_matrices(start.rotations)
        free = [x.detach().clone().requires_grad_() for x in (start.camera, begun, start.betas)]
        shape_rate = 0 if keep_shape else 5 * RATE
        descent = torch.optim.Adam([{"params": free[:2], "lr": RATE}, {"params": free[2:], "lr": shape_rate}])
        seen = (points, confidence, mask, unknown, project)
        best, least = [x.detach().clone() for x in free], torch.full_like(start.camera[:, 0], torch.inf)
        for step in range(steps + 1):
            camera, six, betas = free
            energy = self.energy(Estimate(camera, matrices_from_six(six), betas), *seen)
            with torch.no_grad():
                better = energy < least
                least = torch.where(better, energy, least)
                for kept, now in zip(best, free, strict=True):
                    kept[better] = now[better]
            if step == steps:
                break
            near = POSE * (six - begun).square().mean((1, 2)) + SHAPE * (betas - start.betas).square().mean(1)
            descent.zero_grad()
            (energy + near).sum().backward()
            descent.step()
        camera, six, betas = best
        return Estimate(camera, matrices_from_six(six), betas)
