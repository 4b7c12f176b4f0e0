# SPDX-License-Identifier: GPL-3.0-or-later
"""sRGB's transfer curve on tensors, differentiable; `images` has the same for arrays."""

from __future__ import annotations

import torch
from torch import Tensor


def encode_display(linear: Tensor) -> Tensor:
    """Linear light ≥ 0 → sRGB values, as `images.srgb_encode`, but not clipped."""
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def decode_display(encoded: Tensor) -> Tensor:
    """sRGB values → linear light, as `images.srgb_decode`."""
    encoded = encoded.clamp(0, 1)
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
