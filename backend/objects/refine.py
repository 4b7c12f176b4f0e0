# SPDX-License-Identifier: GPL-3.0-or-later
"""Test-time refinement of one fit by the paper's self-supervised losses (equation 4); it never ends worse by them.

The local feature consistency compares several pictures of a category, so it has nothing to say of one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .encoder import Fit, ImageEncoder
from .losses import LossWeights
from .network import Codes, JointField
from .rendering import Search, valid_camera
from .stages import picture_losses, reduced
from .symmetry import azimuth_of

STEPS = 10
SIDE = 32  # pixels of the rendered picture
RATE = 0.02
NEAR = 0.02  # weight of the squared way from the encoder's codes
SEARCH = Search(24, 5)


def refined(
    field: JointField, encoder: ImageEncoder, fit: Fit, linear: Tensor, mask: Tensor, steps: int = STEPS
) -> Fit:
    """The best fit met on the way. linear: (1, S, S, 3) the crop; mask: (1, S, S) in [0, 1]."""
    true, mask = reduced(linear, mask, SIDE)
    azimuth = azimuth_of(valid_camera(fit.matrix))
    start = [*fit.codes, encoder.numbers(fit.matrix, azimuth), fit.light]
    free = [x.detach().clone().requires_grad_() for x in start]
    descent = torch.optim.Adam([x for x in free if x.numel()], RATE)
    best, least = fit, torch.inf
    for step in range(steps + 1):
        matrix = encoder.projection(free[3], azimuth)
        now = fit._replace(codes=Codes(*free[:3]), matrix=matrix, light=free[4])
        terms = picture_losses(field, now.codes, matrix, now.light, true, mask, LossWeights(), SEARCH)
        wrong = torch.stack(list(terms.values())).sum()
        if float(wrong.detach()) < least:
            kept = Codes(*(code.detach().clone() for code in now.codes))
            best = fit._replace(codes=kept, matrix=matrix.detach(), light=now.light.detach().clone())
            least = float(wrong.detach())
        if step < steps:
            near = torch.stack([(a - b).square().sum() for a, b in zip(free[:3], start[:3], strict=True)]).sum()
            descent.zero_grad()
            (wrong + NEAR * near).backward()
            descent.step()
    return best
