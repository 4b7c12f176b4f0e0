# SPDX-License-Identifier: GPL-3.0-or-later
"""What a picture leaves open: how far, and together in which directions, the image encoder's answers are off the truth.

Refinement moves an answer along these directions alone. All that it says of what the picture does not show, as the legs
at the back, then follows what the picture does show as it did in training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .encoder import Fit, ImageEncoder, Views
from .network import Codes, ObjectConfig
from .symmetry import turned_light

RANK = 64  # directions that are kept
CAMERA, LIGHT = 12, 27  # numbers of an answer beside its codes


class Doubt(nn.Module):
    """directions: (RANK, K) main ones of the errors in the K numbers of an answer, one standard deviation long."""

    directions: Tensor

    def __init__(self, config: ObjectConfig) -> None:
        super().__init__()
        self.lengths = [*config.code_lengths, CAMERA, LIGHT]
        self.register_buffer("directions", torch.zeros(RANK, sum(self.lengths)))

    @torch.no_grad()
    def measure(self, errors: Tensor) -> None:
        """From the errors (N, K) of many answers: truth less answer, in the order of `numbers`."""
        _, spread, axes = torch.linalg.svd(errors / len(errors) ** 0.5, full_matrices=False)
        count = min(RANK, len(axes))
        self.directions.zero_()
        self.directions[:count] = spread[:count, None] * axes[:count]

    def moved(self, encoder: ImageEncoder, fit: Fit, way: Tensor) -> Fit:
        """An answer (B = 1) that is `way` (1, RANK) standard deviations along the directions away."""
        azimuth = fit.views.logits.argmax(1)
        parts = (numbers(fit.codes, fit.views, azimuth) + way @ self.directions).split(self.lengths, 1)
        matrix = encoder.projection(parts[3], azimuth)
        light = turned_light(parts[4].unflatten(1, (9, 3)), -azimuth)
        return fit._replace(codes=Codes(*parts[:3]), matrix=matrix, light=light)


def numbers(codes: Codes, views: Views, azimuth: Tensor) -> Tensor:
    """(B, K) of answers: codes, standardised projection with the object seen from `azimuth` (B,), and light."""
    camera = views.numbers[torch.arange(len(azimuth)), azimuth]
    return torch.cat([*codes, camera, views.light.flatten(1)], 1)
