# SPDX-License-Identifier: GPL-3.0-or-later
"""What f's map shall say of a plate's light: how a white surface would be shaded that faces each way.

The RiCS paper has the image-based light of every training plate at hand (section 3.1) and leaves open how f uses it.
Taught through G alone, f needs very long to find its task; taught this code as well, a fraction of the time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..rays.directions import RICS_DIRECTIONS, SOLID_ANGLES

FLOOR = 0.03  # of shading; the logarithm is taken above it
FACING = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)  # +x +y +z −x −y −z, camera space
MIRRORED = (3, 1, 2, 0, 4, 5)  # FACING in a mirror that changes the sign of x


def facing_shading(radiance: np.ndarray, suns: np.ndarray) -> np.ndarray:
    """(…, 6, 3) shading of unhidden white surfaces that face `FACING`.

    radiance: (…, 62, 3) of the probe's cells. suns: (…, 2, 7) direction, irradiance, half-angle, as in a shard.
    """
    cells = np.maximum(FACING @ RICS_DIRECTIONS.T, 0) * SOLID_ANGLES / np.pi
    cosine = np.maximum(np.einsum("fx,...sx->...fs", FACING, suns[..., :3]), 0)
    return np.einsum("fk,...kc->...fc", cells, radiance) + np.einsum("...fs,...sc->...fc", cosine, suns[..., 3:6])


def light_code(shading: Tensor) -> Tensor:
    """(B, 6, 3) shading of surfaces that face `FACING` as the 16 values in (0, 1) that f's map shall have.

    Six of them are brightness, the others red and blue against green, for all ways but −z, which no camera sees.
    """
    log = torch.log(shading + FLOOR)
    brightness = (log.mean(2) + 0.7) / 0.8
    colour = (log[:, :5, ::2] - log[:, :5, 1:2]) / 0.25
    return torch.sigmoid(torch.cat([brightness, colour.flatten(1)], 1))


def told_wrong(told: Tensor, shading: Tensor) -> Tensor:
    """Mean divergence of maps (B, 16, H, W) from the code of (B, 6, 3) `shading`; 0 where every pixel tells it."""
    right = light_code(shading)[:, :, None, None]
    entropy = F.binary_cross_entropy(right, right)
    return F.binary_cross_entropy(told.float(), right.expand_as(told)) - entropy
