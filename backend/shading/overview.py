# SPDX-License-Identifier: GPL-3.0-or-later
"""What a whole plate tells of its light, beside what f's convolutions see of each place.

The brighter side of things, the way their shadows fall and the glow of a sky are faint, smooth slopes of brightness,
which strong edges drown. So the slopes are counted by strength and by direction, in each part of the plate; that alone,
with the colours, goes to a small network. Convolutions as Table A's did not find it in a hundred times as many plates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRENGTHS = (0.015, 0.04, 0.1, 0.25, 0.6)  # of a slope: change of the logarithm from one pixel to the next
WAYS = 8  # directions of slopes; way k points 45°·k from +x to +y (up)
SCALES = 3  # at 128, 64 and 32 pixels
PARTS = 4  # of the plate, each way, in which slopes are counted
COLOURS = 8  # the same for mean colours
FLOOR = 0.01  # of linear radiance; logarithms are taken above it
_CLIPPED = 0.98
_FEATURES = SCALES * 2 * PARTS**2 * len(STRENGTHS) * WAYS + 4 * COLOURS**2


class Overview(nn.Module):
    """Plates to numbers about their light."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(0.2),
            nn.Linear(_FEATURES, width),
            nn.SiLU(),
            nn.Dropout(0.3),
            nn.Linear(width, width // 3),
            nn.SiLU(),
            nn.Linear(width // 3, outputs),
        )

    def forward(self, plate: Tensor) -> Tensor:
        """plate: (B, 3, 128, 128) display-encoded. Returns (B, outputs), not bounded."""
        return self.read(features(plate))

    def read(self, features: Tensor) -> Tensor:
        """The same from `features` (B, 4096), for those who have counted them."""
        return self.layers(features)


@torch.no_grad()
def features(plate: Tensor) -> Tensor:
    """(B, 4096) of plates (B, 3, 128, 128): slopes of brightness and of blue against red, and colours; about −2…2."""
    return torch.cat([_features(some) for some in plate.float().split(8)])  # as many as a processor's cache holds


def mirrored(features: Tensor) -> Tensor:
    """What `features` (B, 4096) of the mirrored plates would be."""
    ways = [(WAYS // 2 - way) % WAYS for way in range(WAYS)]
    slopes, colours = features.split([_FEATURES - 4 * COLOURS**2, 4 * COLOURS**2], 1)
    slopes = slopes.view(-1, SCALES, 2, PARTS, PARTS, len(STRENGTHS), WAYS).flip(4)[..., ways]
    return torch.cat([slopes.flatten(1), colours.view(-1, 4, COLOURS, COLOURS).flip(3).flatten(1)], 1)


def _features(plate: Tensor) -> Tensor:
    linear = torch.where(plate < 0.04045, plate / 12.92, ((plate + 0.055) / 1.055) ** 2.4)
    log = torch.log(linear + FLOOR)
    luminance = (linear * linear.new_tensor([0.2126, 0.7152, 0.0722])[:, None, None]).sum(1)
    image = torch.stack([torch.log(luminance + FLOOR), log[:, 2] - log[:, 0]], 1)
    counted = []
    for scale in range(SCALES):
        image = _blurred(F.avg_pool2d(image, 2) if scale else image)
        counted.append(torch.log(_slopes(image) + 0.003).flatten(1) / 1.2 + 3.5)
    clipped = (plate >= _CLIPPED).float().mean(1, keepdim=True)
    colours = F.adaptive_avg_pool2d(torch.cat([log / 1.2 + 1.7, clipped], 1), COLOURS)
    return torch.cat([*counted, colours.flatten(1)], 1)


def _blurred(image: Tensor) -> Tensor:
    """Binomial, 5 × 5."""
    for axis in (2, 3):  # sums of views: for so few channels a convolution takes longer
        ends = (0, 0, 2, 2) if axis == 2 else (2, 2, 0, 0)
        size = image.shape[axis]
        wide = F.pad(image, ends, mode="replicate")
        image = sum(share / 16 * wide.narrow(axis, i, size) for i, share in enumerate((1, 4, 6, 4, 1)))  # type: ignore
    return image


def _slopes(image: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, parts, strengths, ways): the share of each part that slopes so strongly that way."""
    batch, channels, height, width = image.shape
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    right = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    up = (padded[:, :, :-2, 1:-1] - padded[:, :, 2:, 1:-1]) / 2
    strength = torch.log((right.square() + up.square()).sqrt() + 1e-6)
    # Strengths are counted by where they lie between two of STRENGTHS, ways likewise; what hardly slopes, not at all.
    first, last = math.log(STRENGTHS[0]), math.log(STRENGTHS[-1])
    level = ((strength - first) / (last - first) * (len(STRENGTHS) - 1)).clamp(-1, len(STRENGTHS) - 1)
    turn = torch.atan2(up, right) * (WAYS / (2 * math.pi))
    low, way = level.floor(), turn.floor()
    whole = torch.int32
    part = PARTS * torch.arange(height, device=image.device)[:, None] // height * PARTS
    part = part + PARTS * torch.arange(width, device=image.device) // width
    base = torch.arange(batch * channels, device=image.device).view(batch, channels, 1, 1) * PARTS**2 + part
    base = (base * (len(STRENGTHS) + 2) + 1).to(whole) + low.to(whole)
    counts = image.new_zeros(batch * channels * PARTS**2 * (len(STRENGTHS) + 2) * WAYS)
    for upper in (0, 1):
        share = level - low if upper else 1 - (level - low)
        for onward in (0, 1):
            weight = share * (turn - way if onward else 1 - (turn - way))
            # & is the remainder for a power of two, and of negative numbers too
            index = (base + upper) * WAYS + ((way.to(whole) + onward) & (WAYS - 1))
            counts.index_add_(0, index.flatten(), weight.flatten())
    counts = counts.view(batch, channels, PARTS**2, len(STRENGTHS) + 2, WAYS)
    return counts[:, :, :, 1:-1] * (PARTS**2 / (height * width))
