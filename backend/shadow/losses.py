# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shadow predictors learn by (physical shadow paper, equations 1, 5 and 6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LIGHT_SCALE = 0.15  # τ_q of the light's error 1 − cos, 32°: the paper's is lost
MASK_SCALE = 0.6  # of the mask's Dice error
SHARP = 25.0  # concentration of the likelihood around a true light; 11°
MARGIN = 0.05  # by which the better of two samples should score higher
RANKING = 1.0  # weight beside Smooth-L1


def light_loss(predicted: Tensor, true: Tensor, known: Tensor) -> Tensor:
    """Mean of 1 − cos over the samples whose light is known. (B, 3) unit, (B, 3) unit, (B,) 0 or 1."""
    return ((1 - (predicted * true).sum(1)) * known).sum() / known.sum().clamp(min=1)


def search_loss(logits: Tensor, directions: Tensor, true: Tensor, known: Tensor) -> Tensor:
    """Mean cross-entropy of the directions' (B, K, 3) scores (B, K), over the samples whose light (B, 3) is known.

    Likely are those around the true one; less the least that it can be.
    """
    aside = torch.einsum("bkc,bc->bk", directions, true) - 1
    likely = (SHARP * aside).softmax(1)
    lost = F.kl_div(logits.log_softmax(1), likely, reduction="none").sum(1)
    return (lost * known).sum() / known.sum().clamp(min=1)


def dice_error(mask: Tensor, true: Tensor) -> Tensor:
    """(B,) 1 − soft Dice of (B, 1, H, W)."""
    both = (mask * true).sum((1, 2, 3))
    return 1 - (2 * both + 1) / (mask.sum((1, 2, 3)) + true.sum((1, 2, 3)) + 1)


def mask_loss(logits: Tensor, true: Tensor) -> Tensor:
    """Binary cross-entropy and Dice, in equal parts."""
    return F.binary_cross_entropy_with_logits(logits, true) + dice_error(torch.sigmoid(logits), true).mean()


def quality_target(error: Tensor, scale: float) -> Tensor:
    """exp(−error / scale): 1 for a perfect prediction."""
    return torch.exp(-error / scale)


def ranking_loss(quality: Tensor, error: Tensor) -> Tensor:
    """Mean hinge over the pairs whose first has the smaller error: its quality should be larger by MARGIN."""
    ahead = error[:, None] < error[None] - 1e-6
    hinge = (MARGIN - (quality[:, None] - quality[None])).clamp(min=0)
    return (hinge * ahead).sum() / ahead.sum().clamp(min=1)


def quality_loss(quality: Tensor, error: Tensor, scale: float) -> Tensor:
    """Smooth-L1 to the target, and the ranking."""
    return F.smooth_l1_loss(quality, quality_target(error, scale)) + RANKING * ranking_loss(quality, error)
