# SPDX-License-Identifier: GPL-3.0-or-later
"""The soft shadow prior: which pixels an object may hide from a light (physical shadow paper, equations 2 and 3).

prior(r) = max over object pixels o of σ((⟨(P_r − P_o) / ‖P_r − P_o‖, −l⟩ − cos δ) / τ), then a small blur. The paper's
constants are lost in its text; those here let a neighbouring pixel's ray, 4° aside, count half.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 64  # pixels a side at which the prior is computed
TOLERANCE = 0.07  # δ, radians
TEMPERATURE = 0.002  # τ
OCCLUDERS = 384  # object pixels that take part, at most
_BLUR = 0.7  # pixels


def soft_prior(points: Tensor, mask: Tensor, valid: Tensor, light: Tensor) -> Tensor:
    """(B, 1, h, w) in [0, 1), 0 on the object and where there is no point.

    points: (B, 3, h, w) metres, camera space. mask: (B, 1, h, w) of the object. valid: (B, 1, h, w).
    light: (B, 3) unit, toward it.
    """
    count, _, height, width = points.shape
    place = points.flatten(2)
    blocks = ((mask > 0.5) & (valid > 0.5)).flatten(1)
    # A spread choice of object pixels: every n-th of them, the same for the same mask.
    rank = blocks.cumsum(1) - 1
    amount = blocks.sum(1, keepdim=True)
    every = (amount / OCCLUDERS).clamp(min=1.0)
    chosen = blocks & ((rank / every).floor() != ((rank - 1) / every).floor())
    order = chosen.float().topk(min(OCCLUDERS, chosen.shape[1]), dim=1)
    there = order.values > 0
    occluders = place.gather(2, order.indices[:, None].expand(-1, 3, -1))
    centre = (occluders * there[:, None]).sum(2, keepdim=True) / there.sum(1).clamp(min=1)[:, None, None]
    place, occluders = place - centre, occluders - centre  # near the origin float32 keeps distances
    apart2 = place.square().sum(1)[:, :, None] + occluders.square().sum(1)[:, None] - 2 * place.mT @ occluders
    along = -torch.einsum("bcn,bc->bn", place, light)[:, :, None]
    along = along + torch.einsum("bcn,bc->bn", occluders, light)[:, None]
    cosine = along * apart2.clamp(min=1e-6).rsqrt()
    cosine = cosine.masked_fill(~there[:, None], -1).amax(2)
    tolerance = torch.cos(torch.tensor(TOLERANCE))
    prior = torch.sigmoid((cosine - tolerance) / TEMPERATURE).view(count, 1, height, width)
    prior = prior * ((mask <= 0.5) & (valid > 0.5))
    prior = prior * there.any(1).view(-1, 1, 1, 1)
    return _blurred(prior) * (mask <= 0.5)


def _blurred(image: Tensor) -> Tensor:
    taps = torch.exp(-(torch.arange(-2, 3, device=image.device) ** 2) / (2 * _BLUR**2))
    taps = taps / taps.sum()
    image = F.conv2d(F.pad(image, (2, 2, 0, 0), mode="replicate"), taps.view(1, 1, 1, 5))
    return F.conv2d(F.pad(image, (0, 0, 2, 2), mode="replicate"), taps.view(1, 1, 5, 1))
