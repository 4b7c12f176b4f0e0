# SPDX-License-Identifier: GPL-3.0-or-later
"""ShadingNet's training losses: equations 1 to 4 of the RiCS paper, with the weights of its appendix C.

All of them look at the foreground only. Three departures, all in the weights and off by `PAPER`:

* x_w is zero away from the edges of the shading, so that literally only L_recon,g, which the albedo weighs, teaches
  the shading of smooth surfaces, and that of black cloth hardly at all. `everywhere` is added to x_w.
* A path tracer's targets are noisy, and an L1 loss learns the darker median of noise. Below `smooth` the absolute
  error is squared (Huber), which learns the mean.
* `light` teaches f's map the code of the plate's true light (`light_code`), by cross-entropy.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .network import ShadingDiscriminator

CANNY = (40, 120)  # thresholds on the display-encoded shading, 0 … 255


@dataclass(frozen=True)
class LossWeights:
    """Weights of equation 4's terms; see the module for the last three."""

    shading: float = 1.0
    rgb: float = 10.0
    features: float = 1000.0
    adversarial: float = 1.0
    everywhere: float = 1.0
    smooth: float = 0.1
    light: float = 30.0


PAPER = LossWeights(everywhere=0.0, smooth=0.0, light=0.0)


def edge_importance(shading: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """x_w of equation 1: gradient magnitude on the Canny edges of the true shading, at most 1 per channel, else 0.

    shading: (H, W, 3) linear. covered: (H, W) bool; the silhouette is no edge. Returns (H, W, 3) float32.
    """
    display = np.clip(shading.astype(np.float32), 0, 4) / 4
    grey = (cv2.cvtColor(display, cv2.COLOR_RGB2GRAY) ** (1 / 2.4) * 255).astype(np.uint8)
    inner = cv2.erode(covered.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    edges = (cv2.Canny(grey, *CANNY, L2gradient=True) > 0) & inner
    x, y = (cv2.Sobel(shading.astype(np.float32), cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    magnitude = np.hypot(x, y) * edges[..., None]
    return magnitude / np.maximum(magnitude.max((0, 1)), 1e-6)


def reconstruction(
    predicted: Tensor, true: Tensor, albedo: Tensor, importance: Tensor, alpha: Tensor, weights: LossWeights
) -> dict[str, Tensor]:
    """L_recon,s (equation 1) and L_recon,g (section 3.3), weighted, means over the foreground.

    predicted, true, albedo, importance: (B, 3, H, W), alpha: (B, 1, H, W).
    """
    area = 3 * alpha.sum().clamp(min=1)
    shading = _distance(predicted, true, weights.smooth) * (importance + weights.everywhere)
    rgb = _distance(predicted * albedo, true * albedo, weights.smooth)
    return {
        "shading": weights.shading * (shading * alpha).sum() / area,
        "rgb": weights.rgb * (rgb * alpha).sum() / area,
    }


def judgement(
    critic: ShadingDiscriminator,
    predicted: Tensor,
    true: Tensor,
    object_maps: Tensor,
    light: Tensor,
    alpha: Tensor,
    weights: LossWeights,
) -> tuple[dict[str, Tensor], Tensor]:
    """What D teaches f and G, weighted, and D's own loss, from one pass; D teaches nothing about the light map.

    The first: L_FM (equation 3) after φ's second and third convolution (appendix C), and the generator's side of
    equation 2, non-saturating. The second: D's side, with GAN-CLS: real shading beside another moment's light is as
    wrong as a fake. A batch holds moments of three views each, so three elements further on is another moment.
    The caller lets the first descend for f and G alone, the second for D alone.
    """
    covered = (alpha > 0).to(predicted.dtype)
    both = torch.cat([true, predicted]) * covered.repeat(2, 1, 1, 1)
    features = critic.features(both, object_maps.repeat(2, 1, 1, 1))
    real, fake = zip(*(feature.chunk(2) for feature in features), strict=True)
    projection = critic.omega(light.detach())
    judged_fake = critic.verdict(fake[-1], projection)
    matching = sum((F.l1_loss(fake[k], real[k].detach()) for k in (1, 2)), predicted.new_zeros(()))
    taught = {
        "features": weights.features * matching,
        "adversarial": weights.adversarial * _patch_mean(F.softplus(-judged_fake), covered),
    }
    right = _patch_mean(F.softplus(-critic.verdict(real[-1], projection)), covered)
    wrong = _patch_mean(F.softplus(judged_fake), covered)
    if len(light) > 3:
        mismatched = _patch_mean(F.softplus(critic.verdict(real[-1], projection.roll(3, 0))), covered)
        wrong = (wrong + mismatched) / 2
    return taught, right + wrong


def _distance(a: Tensor, b: Tensor, smooth: float) -> Tensor:
    return F.huber_loss(a, b, reduction="none", delta=smooth) / smooth if smooth else (a - b).abs()


def _patch_mean(values: Tensor, covered: Tensor) -> Tensor:
    """Mean of D's patches (B, 1, 8, 8) over those that the foreground touches."""
    touched = F.adaptive_max_pool2d(covered, values.shape[-2:])
    return (values * touched).sum() / touched.sum().clamp(min=1)
