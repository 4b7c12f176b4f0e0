# SPDX-License-Identifier: GPL-3.0-or-later
"""The predictors of the physical shadow paper: light, mask and their confidences (sections 3.1 to 3.3, stages 1 and 2).

All see the hint stack H: the composite (3, display-encoded, −1…1), the object's mask (1) and the point map (3, see
`hint`). Directions are unit vectors in camera space, toward the light.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..weights import NetworkConfig
from .hints import HINT, SURFACE, hint, surface
from .light_search import LightSearch
from .prior import SIDE, soft_prior

SEEN = 128  # pixels a side that the predictors see, whatever the generator's are
CUES = 4
FEATURE = 256  # of the light predictor, which the quality estimator reads


@dataclass(frozen=True)
class PredictorConfig(NetworkConfig):
    """depths, widths: of the ConvNeXt. coarse, fine: channels of the mask correctors. quality: of its encoder.

    surface: whether the light predictor sees beside H what a light's direction can be read from without learning
    geometry first, see `surface`, and search: whether a direction is looked for where it has named one, see
    `light_search` (both ours). The default is the paper's: ConvNeXt-Small, a 64-channel quality encoder.
    """

    depths: tuple[int, ...] = (3, 3, 27, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    coarse: int = 64
    fine: int = 48
    quality: int = 64
    surface: bool = False
    search: bool = False


BUNDLED = PredictorConfig(depths=(2, 2, 5, 2), widths=(32, 64, 128, 192), coarse=32, fine=16, surface=True)


class _Norm(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """A ConvNeXt block (Liu et al., 2022) with its layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            _Norm(width, eps=1e-6),
            nn.Conv2d(width, 4 * width, 1),
            nn.GELU(),
            nn.Conv2d(4 * width, width, 1),
        )
        self.scale = nn.Parameter(torch.full((width, 1, 1), 1e-2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.body(x)


class LightPredictor(nn.Module):
    """ConvNeXt, global average pooling and a two-layer MLP (section 3.1): H → direction and 256 features."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.surface = config.surface
        layers: list[nn.Module] = []
        before = HINT + SURFACE * config.surface
        for stage, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True)):
            size = 2 if stage else 4
            if stage:
                layers.append(_Norm(before, eps=1e-6))
            layers.append(nn.Conv2d(before, width, size, size))
            if not stage:
                layers.append(_Norm(width, eps=1e-6))
            layers += [_Block(width) for _ in range(depth)]
            before = width
        self.body = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(before, eps=1e-6)
        self.hidden = nn.Linear(before, FEATURE)
        self.out = nn.Linear(FEATURE, 3)

    @property
    def inner(self) -> list[nn.Module]:
        """Everything but the first layer and the last."""
        return [self.body[1:], self.hidden]

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3) unit directions and (B, 256) features."""
        h = torch.cat([h, surface(h)], 1) if self.surface else h
        feature = F.gelu(self.hidden(self.norm(self.body(h).mean((2, 3)))))
        return F.normalize(self.out(feature), dim=1), feature


class Hourglass(nn.Module):
    """Three scales of convolutions with skips; the last layer begins at zero where `quiet`."""

    def __init__(self, inputs: int, width: int, quiet: bool, outputs: int = 1) -> None:
        super().__init__()
        widths = (width, 2 * width, 3 * width)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        before = inputs
        for w in widths:
            self.down.append(nn.Sequential(_convolution(before, w), _convolution(w, w)))
            before = w
        for w in widths[-2::-1]:
            self.up.append(_convolution(before + w, w))
            before = w
        self.last = nn.Conv2d(before, outputs, 3, padding=1)
        if quiet:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    @property
    def inner(self) -> list[nn.Module]:
        """Everything but the first layer and the last."""
        return [*self.down[0][1:], *self.down[1:], self.up]

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for level, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if level else x)
            kept.append(x)
        for block, skip in zip(self.up, kept[-2::-1], strict=True):
            x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
        return self.last(x)


def _convolution(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), nn.GroupNorm(min(8, width), width), nn.SiLU())


class MaskCorrector(nn.Module):
    """Coarse and fine correction of the soft prior (section 3.2, equation 4): mask = σ(up(z) + Δz(up(z), H, l))."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.coarse = Hourglass(1 + 1 + 3, config.coarse, quiet=False)
        self.fine = Hourglass(1 + HINT + 3, config.fine, quiet=True)

    @property
    def inner(self) -> list[nn.Module]:
        """Everything but the first layers and the last."""
        return [*self.coarse.inner, *self.fine.inner]

    def forward(self, prior: Tensor, h: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
        """Logits at full size (B, 1, H, W), corrected and coarse, of the prior (B, 1, 64, 64), H, and light (B, 3)."""
        small = F.interpolate(h[:, 3:], prior.shape[-2:], mode="area")
        size = h.shape[-2:]
        coarse = self.coarse(torch.cat([prior, small], 1))
        coarse = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
        light_map = light[:, :, None, None].expand(-1, -1, *size)
        return coarse + self.fine(torch.cat([coarse, h, light_map], 1)), coarse


class QualityEstimator(nn.Module):
    """Two confidences in (0, 1), of the light and of the mask (section 3.3, supplement section 4)."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        width = config.quality
        self.encoder = nn.Sequential(
            _convolution(HINT + 2, width // 2),
            nn.MaxPool2d(2),
            _convolution(width // 2, width),
            nn.MaxPool2d(2),
            _convolution(width, width),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.light = _head(2 * width + 3 + FEATURE)
        self.mask = _head(2 * width + 3 + CUES)

    @property
    def inner(self) -> list[nn.Module]:
        """Everything but the first layers and the last."""
        return [*self.encoder[1:]]

    def forward(self, h: Tensor, mask: Tensor, prior: Tensor, light: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) q of the light and (B,) q of the mask. h and mask at any size, prior (B, 1, 64, 64)."""
        size = prior.shape[-2:]
        h, mask = (F.interpolate(x, size, mode="area") for x in (h, mask))
        maps = self.encoder(torch.cat([h, mask, prior], 1)).flatten(2)
        pooled = torch.cat([maps.mean(2), maps.std(2)], 1)
        of_light = self.light(torch.cat([pooled, light, feature], 1))
        of_mask = self.mask(torch.cat([pooled, light, geometry_cues(mask, h[:, 3:4], prior)], 1))
        return torch.sigmoid(of_light[:, 0]), torch.sigmoid(of_mask[:, 0])


def _head(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.GELU(), nn.Linear(64, 1))


def geometry_cues(mask: Tensor, object_: Tensor, prior: Tensor) -> Tensor:
    """(B, 4): the mask's centroid less the object's, x and y in widths of the picture; the mask's elongation
    1 − √(λ₂/λ₁) of its second moments; mean absolute difference of mask and prior over their union."""
    height, width = mask.shape[-2:]
    y, x = torch.meshgrid(
        *(torch.linspace(-0.5, 0.5, n, device=mask.device) for n in (height, width)), indexing="ij"
    )  # fmt: skip
    grid = torch.stack([x, y])[None]

    def centroid(image: Tensor) -> Tensor:
        return (image * grid).sum((2, 3)) / image.sum((2, 3)).clamp(min=1e-3)

    middle = centroid(mask)
    apart = grid - middle[:, :, None, None]
    weight = mask / mask.sum((1, 2, 3), keepdim=True).clamp(min=1e-3)
    xx, yy, xy = ((weight[:, 0] * apart[:, i] * apart[:, j]).sum((1, 2)) for i, j in ((0, 0), (1, 1), (0, 1)))
    root = ((xx - yy) ** 2 / 4 + xy**2 + 1e-12).sqrt()
    long, short = (xx + yy) / 2 + root, ((xx + yy) / 2 - root).clamp(min=0)
    elongation = 1 - (short / long.clamp(min=1e-9) + 1e-9).sqrt()
    union = torch.maximum(mask, prior).sum((1, 2, 3)).clamp(min=1e-3)
    differs = (mask - prior).abs().sum((1, 2, 3)) / union
    return torch.cat([middle - centroid(object_), elongation[:, None], differs[:, None]], 1)


class Prediction(NamedTuple):
    """light (B, 3); mask (B, 1, H, W) in [0, 1]; prior (B, 1, 64, 64); light_quality, mask_quality (B,)."""

    light: Tensor
    mask: Tensor
    prior: Tensor
    light_quality: Tensor
    mask_quality: Tensor


class ShadowPredictors(nn.Module):
    """Stages 1 and 2 together: what the generator is conditioned on."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.config = config
        self.light = LightPredictor(config)
        self.mask = MaskCorrector(config)
        self.quality = QualityEstimator(config)
        self.search = LightSearch() if config.search else None

    def searching(self) -> ShadowPredictors:
        """The same, with a search for the light; where there is none yet, an untrained one."""
        if self.search is not None:
            return self
        other = ShadowPredictors(replace(self.config, search=True))
        other.load_state_dict(self.state_dict(), strict=False)
        return other

    def forward(
        self, composite: Tensor, mask: Tensor, points: Tensor, valid: Tensor, light: Tensor | None = None
    ) -> Prediction:
        """As `hint`. light: (B, 3), where it is known from elsewhere; the mask then follows it."""
        h = hint(composite, mask, points, valid)
        predicted, feature = self.light(h)
        sure = None
        if light is None:
            light, sure = self.search(h) if self.search else (predicted, None)
        prior = prior_at_low_resolution(points, mask, valid, light)
        shadow = torch.sigmoid(self.mask(prior, h, light)[0]) * (1 - mask)
        judged, mask_quality = self.quality(h, shadow, prior, light, feature)
        return Prediction(light, shadow, prior, judged if sure is None else sure, mask_quality)


@torch.no_grad()
def prior_at_low_resolution(points: Tensor, mask: Tensor, valid: Tensor, light: Tensor) -> Tensor:
    """(B, 1, 64, 64) the soft prior. No gradient: the light learns from its own loss and through its map."""
    small = [F.interpolate(x.float(), (SIDE, SIDE), mode="nearest-exact") for x in (points, mask, valid)]
    return soft_prior(*small, light.float())
