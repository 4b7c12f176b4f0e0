# SPDX-License-Identifier: GPL-3.0-or-later
"""Test-time refinement of one fit by the paper's self-supervised losses (equation 4); it never ends worse by them.

The local feature consistency compares several pictures of a category, so it has nothing to say of one. Left to itself,
the rest makes a shape that looks right from the camera and wrong from all other sides. So an answer moves only as the
encoder errs (`doubt`), and the way counts.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .encoder import Fit
from .losses import LossWeights
from .reconstructor import Reconstructor
from .rendering import Search
from .stages import picture_losses

STEPS = 10
SIDE = 32  # pixels of the rendered picture
RATE = 0.15  # standard deviations a step
NEAR = 0.003  # weight of the squared way, in standard deviations
SEARCH = Search(24, 5)


def refined(network: Reconstructor, fit: Fit, linear: Tensor, mask: Tensor, steps: int = STEPS) -> Fit:
    """The best fit met on the way. linear: (1, S, S, 3) the crop; mask: (1, S, S) in [0, 1]."""
    true, mask, pixels = scattered(linear, mask)
    way = fit.matrix.new_zeros(1, len(network.doubt.directions)).requires_grad_()
    descent = torch.optim.Adam([way], RATE)
    best, least = fit, torch.inf
    for step in range(steps + 1):
        now = network.doubt.moved(network.encoder, fit, way)
        given = now.codes, now.matrix, now.light, true, mask, LossWeights(), SEARCH, pixels
        wrong = torch.stack(list(picture_losses(network.field, *given).values())).sum() + NEAR * way.square().sum()
        if float(wrong.detach()) < least:
            best = now._replace(codes=now.codes.detach(), matrix=now.matrix.detach(), light=now.light.detach())
            least = float(wrong.detach())
        if step < steps:
            (way.grad,) = torch.autograd.grad(wrong, [way])  # of the weights none is asked for
            descent.step()
    return best


def scattered(linear: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One pixel of each block of a crop (1, S, S, 3) and its mask (1, S, S), SIDE² blocks, and where it is (SIDE², 2).

    Means over blocks would have no thin parts.
    """
    step = linear.shape[1] // SIDE
    random, first = np.random.default_rng(0), step * np.arange(SIDE)
    rows, columns = (random.integers(step, size=(SIDE, SIDE)) + start for start in (first[:, None], first))
    place = np.stack([columns, rows], -1).reshape(-1, 2)
    pixels = (torch.from_numpy(place).to(linear) + 0.5) * (2 / linear.shape[1]) - 1
    return linear[:, rows, columns], mask[:, rows, columns], pixels
