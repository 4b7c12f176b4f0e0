# SPDX-License-Identifier: GPL-3.0-or-later
"""LASOR's network: a residual encoder of the proxy and an iterative regressor of camera, pose and shape."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...weights import NetworkConfig
from ..model import BodyModel
from .camera import to_pixels, weak_perspective
from .lifter import Lifter
from .person import FIRST_CAMERA, NUMBERS, SHAPE, Estimate, estimate_of
from .proxy import CHANNELS, KEYPOINTS, SIZE, told_by
from .raster import coverage


@dataclass(frozen=True)
class LasorConfig(NetworkConfig):
    """Sizes. widths, blocks: of the four stages. bottleneck: three convolutions a block, four times as wide at its end.

    hidden: of the regressor. iterations: how often it corrects its estimate.
    lifter: width of the network that tells a first estimate from the heatmaps' peaks (ours), see `lifter`; 0: none, and
        the mean pose is the first.
    size: pixels; larger proxies are brought down to it.
    """

    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2)
    bottleneck: bool = False
    hidden: int = 512
    iterations: int = 3
    lifter: int = 0
    size: int = SIZE


RESNET18 = LasorConfig()
RESNET50 = LasorConfig(blocks=(3, 4, 6, 3), bottleneck=True, hidden=1024)
BUNDLED = LasorConfig(widths=(32, 64, 128, 256), lifter=512, size=128)


class Block(nn.Module):
    """A residual block (He et al. 2016)."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = 4 * width if bottleneck else width
        sizes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        if not bottleneck:
            sizes = [(inputs, width, 3, stride), (width, width, 3, 1)]
        layers: list[nn.Module] = []
        for size in sizes:
            layers += [*_convolution(*size), nn.ReLU()]
        self.body = nn.Sequential(*layers[:-1])
        nn.init.zeros_(self.body[-1].weight)  # a new block changes nothing
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Encoder(nn.Module):
    """A ResNet with 18 input channels, or 19 with the silhouette of a first estimate: (B, C, S, S) → (B, features)."""

    def __init__(self, config: LasorConfig) -> None:
        super().__init__()
        channels = CHANNELS + 1 if config.lifter else CHANNELS
        layers: list[nn.Module] = [*_convolution(channels, config.widths[0], 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        inputs = config.widths[0]
        for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
            for block in range(blocks):
                layers.append(Block(inputs, width, 2 if stage and not block else 1, config.bottleneck))
                inputs = 4 * width if config.bottleneck else width
        self.layers, self.features = nn.Sequential(*layers), inputs

    def forward(self, proxy: Tensor) -> Tensor:
        return self.layers(proxy).mean((2, 3))


class Lasor(nn.Module):
    """Lifter, encoder and iterative regressor. mean: (157,) the mean person, with whom one without a lifter begins.

    Where there is a lifter, the encoder sees the silhouette of its estimate beside the person's (ours): how they differ
    is easier to learn from than how wide one is.
    """

    mean: Tensor

    def __init__(self, config: LasorConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.lifter = Lifter(config.lifter) if config.lifter else None
        self.body = BodyModel.load(coarse=True) if config.lifter else None
        points = 3 * KEYPOINTS if config.lifter else 0
        self.regressor = nn.Sequential(
            nn.Linear(self.encoder.features + points + NUMBERS, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, NUMBERS),
        )
        nn.init.xavier_uniform_(self.regressor[-1].weight, gain=0.01)
        nn.init.zeros_(self.regressor[-1].bias)
        identity = torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(24)
        self.register_buffer("mean", torch.cat([torch.tensor(FIRST_CAMERA), identity, torch.zeros(SHAPE)]))

    def forward(self, proxy: Tensor) -> Estimate:
        """proxy: (B, 18, S, S), see `proxy`."""
        small = (
            F.interpolate(proxy, (self.config.size,) * 2, mode="area") if proxy.shape[-1] > self.config.size else proxy
        )
        numbers, told = self._begun(proxy)
        features = self.encoder(self._compared(small, numbers))
        features = torch.cat([features, told.to(features.dtype)], 1)
        for _ in range(self.config.iterations):
            numbers = numbers + self.regressor(torch.cat([features, numbers.to(features.dtype)], 1)).float()
        return estimate_of(numbers)

    def first_estimate(self, proxy: Tensor) -> Estimate:
        """What the iterations begin with: what the lifter tells from keypoints alone, or the mean person."""
        return estimate_of(self._begun(proxy)[0])

    def _begun(self, proxy: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers (B, 157), and what the regressor is told of the keypoints (B, 51), nothing without a lifter."""
        if self.lifter is None:
            return self.mean.expand(len(proxy), -1), proxy.new_zeros(len(proxy), 0)
        points, found = told_by(proxy)
        told = torch.cat([points * found[..., None], found[..., None]], 2).flatten(1)
        return self.lifter(points, found), told

    @torch.no_grad()
    def _compared(self, proxy: Tensor, numbers: Tensor) -> Tensor:
        """Proxies (B, 18, S, S), with the silhouettes of these people (B, 157) where there is a lifter."""
        if self.body is None:
            return proxy
        with torch.autocast(proxy.device.type, enabled=False):
            person, size = estimate_of(numbers), proxy.shape[-1]
            flat = weak_perspective(self.body(person.betas, person.rotations)[0], person.camera)
            drawn = coverage(to_pixels(flat, size), self.body.faces, size)
        return torch.cat([proxy, drawn[:, None].to(proxy.dtype)], 1)

    def mean_estimate(self, count: int) -> Estimate:
        """The mean person, `count` times."""
        return estimate_of(self.mean.expand(count, -1))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution, nn.BatchNorm2d(outputs)
