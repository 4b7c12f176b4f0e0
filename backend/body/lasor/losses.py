# SPDX-License-Identifier: GPL-3.0-or-later
"""LASOR's losses (equations 3 to 9)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..model import BodyModel
from .camera import to_pixels, weak_perspective
from .person import Estimate
from .raster import Silhouettes
from .synthesis import TARGET, Batch

# The weights 1/σ² at the start. Read as σ, the paper's numbers would weigh four of the losses a hundredfold; STRAPS,
# from which they come, has them as weights.
WEIGHTS = {"vertices": 1.0, "joints3d": 1.0, "pose": 0.1, "shape": 0.1, "joints2d": 0.1, "silhouette": 0.1}
SOFTNESS = 0.7  # pixels of 128


class Losses(nn.Module):
    """The six losses, and their sum with learned weights: Σ exp(−s)·L + s/2 with s = log σ²."""

    def __init__(self, body: BodyModel, weights: dict[str, float] = WEIGHTS, squares: bool = False) -> None:
        """body: coarse. weights: a loss that is left out is not computed. squares: as the paper has them; distances in
        their place (ours) teach one of several bodies that keypoints allow, and not what lies between them.
        """
        super().__init__()
        self.body, self.silhouettes, self.squares = body, Silhouettes(body.faces), squares
        start = {name: torch.tensor(-math.log(weight)) for name, weight in weights.items()}
        self.log_variance = nn.ParameterDict({name: nn.Parameter(value) for name, value in start.items()})

    def forward(self, estimate: Estimate, batch: Batch) -> dict[str, Tensor]:
        """Each loss, a mean over the batch."""
        vertices, joints = self.body(estimate.betas, estimate.rotations)
        flat = weak_perspective(self.body.keypoints(vertices, joints), estimate.camera)
        losses = {
            "vertices": self._of(vertices - batch.vertices).mean(),
            "joints3d": self._of(self.body.keypoints(vertices, joints, "lsp14") - batch.joints).mean(),
            "pose": self._of((estimate.rotations - batch.rotations).flatten(2)).mean(),
            "shape": (estimate.betas - batch.betas).square().mean(),
            "joints2d": (batch.seen * self._of(flat - batch.keypoints)).mean(),
        }
        if "silhouette" in self.log_variance:
            points = to_pixels(weak_perspective(vertices, estimate.camera), TARGET)
            drawn = self.silhouettes(points, TARGET, SOFTNESS)
            losses["silhouette"] = (drawn - batch.silhouette).square().mean()
        return {name: loss for name, loss in losses.items() if name in self.log_variance}

    def _of(self, apart: Tensor) -> Tensor:
        """(...) of differences (..., D)."""
        return apart.square().mean(-1) if self.squares else apart.norm(dim=-1)

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Equation 9."""
        terms = [torch.exp(-self.log_variance[n]) * loss + self.log_variance[n] / 2 for n, loss in losses.items()]
        return torch.stack(terms).sum()
