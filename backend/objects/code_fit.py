# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes of a known shape, found through a frozen field: the test of what the field can say (JOF, section 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from . import losses
from .network import Codes, JointField


def fit_codes(
    field: JointField,
    points: Tensor,
    occupied: Tensor,
    colour: Tensor,
    coloured: Tensor,
    steps: int = 300,
    rate: float = 0.02,
    prior: float = 1e-4,
    start: Codes | None = None,
) -> Codes:
    """(B, …) codes that explain point-value pairs, by Adam; the field does not change and no encoder is involved.

    points, occupied, colour, coloured: as `losses.stage1` has them. start: codes to begin with; zeros by default.
    """
    count, device = len(points), points.device
    begin = start or Codes(*(torch.zeros(count, length, device=device) for length in field.config.code_lengths))
    codes = Codes(*(code.detach().clone().requires_grad_() for code in begin))
    free = [code for code in codes if code.shape[1]]
    optimizer = torch.optim.Adam(free, rate)
    label = torch.zeros(count, dtype=torch.long, device=device)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - 0.9 * step / steps)
        found = losses.stage1(field, codes, points, occupied, colour, coloured, label)
        loss = found["occupancy"] + found["albedo"] + prior * sum(code.square().mean() for code in free)
        gradients = torch.autograd.grad(loss, free)
        for code, gradient in zip(free, gradients, strict=True):
            code.grad = gradient
        optimizer.step()
    return codes.detach()
