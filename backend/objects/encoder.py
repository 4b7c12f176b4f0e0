# SPDX-License-Identifier: GPL-3.0-or-later
"""The image encoder E: a ResNet-18 with group normalization and five heads (JOF, section 3.1; sizes of public code).

The paper regresses the projection's twelve numbers. Ours are those of the object as seen from its front, one set for
each of 16 azimuths, with their probabilities: a picture that leaves the azimuth open then has several answers in place
of their mean. The light turns with the camera, so it is that of the object seen from its front as well.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .network import Codes, ObjectConfig
from .symmetry import AZIMUTHS, azimuth_of, turned_camera, turned_light

GROUPS = 32


class Views(NamedTuple):
    """What E reads off a picture about its viewpoint.

    logits: (B, AZIMUTHS) of the azimuths. numbers: (B, AZIMUTHS, 12) the standardised projection with each, and light
    (B, 9, 3), both of the object turned so that the camera is before it.
    """

    logits: Tensor
    numbers: Tensor
    light: Tensor


class Fit(NamedTuple):
    """What E reads off a picture.

    matrix: (B, 3, 4) projection P of the picture. light: (B, 9, 3) harmonics of the shading, object space.
    features: the trunk's first three maps, which the local feature consistency samples.
    views: what matrix and light were chosen from.
    """

    codes: Codes
    matrix: Tensor
    light: Tensor
    features: tuple[Tensor, Tensor, Tensor]
    views: Views


class Block(nn.Module):
    """Two 3×3 convolutions beside a short cut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = _norm(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = _norm(outputs)
        self.short: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.short(x))


class ImageEncoder(nn.Module):
    """E. Projections from the front are standardised number by number, by `camera_mean` and `camera_scale`."""

    camera_mean: Tensor
    camera_scale: Tensor

    def __init__(self, config: ObjectConfig) -> None:
        super().__init__()
        w = config.encoder_width
        self.stem = nn.Conv2d(4 if config.sees_mask else 3, w, 7, 2, 3, bias=False)
        self.stem_norm = _norm(w)
        widths = (w, w, 2 * w, 4 * w, 8 * w)
        self.stages = nn.ModuleList(
            nn.Sequential(Block(a, b, 1 if k == 0 else 2), Block(b, b, 1))
            for k, (a, b) in enumerate(itertools.pairwise(widths))
        )
        outputs = {"category": config.category_code, "shape": config.shape_code, "albedo": config.albedo_code}
        outputs |= {"camera": AZIMUTHS * 13, "light": 27}
        self.heads = nn.ModuleDict({name: _head(8 * w, config.head_width, n) for name, n in outputs.items()})
        self.register_buffer("camera_mean", torch.zeros(12))
        self.register_buffer("camera_scale", torch.ones(12))
        # Even white light to begin with, so that rendered pictures are neither black nor inverted.
        with torch.no_grad():
            last = self.heads["light"][-1]
            last.weight *= 0.1
            last.bias[:3] = 1 / 0.28209479

    @property
    def inner(self) -> list[nn.Module]:
        """Everything but the first layer and the last ones."""
        return [self.stages, *(cast(nn.Sequential, head)[2] for head in self.heads.values())]

    def forward(self, picture: Tensor) -> Fit:
        """picture: (B, 4 or 3, 128, 128): display-encoded RGB, cut out by its mask, and the mask."""
        x = F.relu(self.stem_norm(self.stem(picture * 2 - 1)))
        features = [x]
        x = F.max_pool2d(x, 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        pooled = x.mean((2, 3)).float()
        with torch.autocast(pooled.device.type, enabled=False):  # a camera needs more digits than bfloat16 has
            out = {name: head(pooled) for name, head in self.heads.items()}
        codes = Codes(out["category"], out["shape"], out["albedo"])
        logits, numbers = out["camera"].unflatten(1, (AZIMUTHS, 13)).split([1, 12], -1)
        views = Views(logits[..., 0], numbers, out["light"].unflatten(1, (9, 3)))
        return Fit(codes, *self.seen(views, views.logits.argmax(1)), (features[0], features[1], features[2]), views)

    def seen(self, views: Views, azimuth: Tensor) -> tuple[Tensor, Tensor]:
        """Projections (B, 3, 4) and lights (B, 9, 3) with the object seen from `azimuth` (B,)."""
        numbers = views.numbers[torch.arange(len(azimuth)), azimuth]
        return self.projection(numbers, azimuth), turned_light(views.light, -azimuth)

    def standardise(self, matrices: Tensor) -> None:
        """Take mean and spread of projections (K, 3, 4) over the training pictures."""
        flat = turned_camera(matrices, azimuth_of(matrices)).flatten(1)
        self.camera_mean.copy_(flat.mean(0))
        self.camera_scale.copy_(flat.std(0).clamp(min=1e-3))

    def numbers(self, matrix: Tensor, azimuth: Tensor) -> Tensor:
        """(B, 12) standardised, of projections (B, 3, 4) from near `azimuth` (B,)."""
        return (turned_camera(matrix, azimuth).flatten(1) - self.camera_mean) / self.camera_scale

    def projection(self, numbers: Tensor, azimuth: Tensor) -> Tensor:
        """(B, 3, 4) that has these standardised numbers (B, 12)."""
        return turned_camera((numbers * self.camera_scale + self.camera_mean).unflatten(1, (3, 4)), -azimuth)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(GROUPS, channels), channels)


def _head(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )
