# SPDX-License-Identifier: GPL-3.0-or-later
"""Stacked hourglasses that tell every pixel's part of a body (RiCS paper, section 4.2; SURREAL's "upscale" network)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...weights import NetworkConfig
from ..bodynet.network import BodyNetConfig, Stacked, Subnetwork


@dataclass(frozen=True)
class PartsConfig(NetworkConfig):
    """parts: 14 or 6. size: pixels of the square picture, a multiple of 4 · 2^depth. The defaults are the paper's."""

    parts: int = 14
    size: int = 256
    features: int = 256
    stacks: int = 2
    depth: int = 4


class PartsNet(nn.Module):
    """A picture to the logits of its pixels' parts. What hourglasses tell at a quarter of the side is enlarged."""

    def __init__(self, config: PartsConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PartsConfig()
        sizes = BodyNetConfig(
            size=config.size,
            features=config.features,
            widest=config.features,
            stacks=config.stacks,
            depth=config.depth,
        )
        classes = 1 + config.parts
        self.hourglasses = Subnetwork(sizes, 3, classes)
        self.sharpen = nn.ModuleList(nn.Conv2d(classes, classes, 3, padding=1) for _ in range(config.stacks))
        for layer in self.sharpen:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, picture: Tensor) -> Stacked:
        """picture: (B, 3, S, S) whitened. Returns logits (B, 1 + parts, S, S) of each stack, the last one last."""
        found = []
        for small, layer in zip(self.hourglasses(picture), self.sharpen, strict=True):
            large = F.interpolate(small, picture.shape[-2:], mode="bilinear", align_corners=False)
            found.append(large + layer(large))
        return tuple(found)
