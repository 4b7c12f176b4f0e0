# SPDX-License-Identifier: GPL-3.0-or-later
"""ProbeNet: a plate to the light it was taken in, straight as a light probe.

ShadingNet answers with a smooth picture, in which no sun can be found again. ProbeNet says of the sun what it knows:
how likely there is one, from which of the 62 directions, how strong; and of all other light, the cells' radiance. A sun
that it is sure of stands in the probe as a sun; of one it is not sure of, every cell gets its share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..rays.directions import MIRRORED, RICS_DIRECTIONS, SOLID_ANGLES
from ..weights import NetworkConfig
from . import overview, probe_fit
from .network import whole_plate
from .overview import Overview
from .panorama import LUMINANCE
from .probe import CELLS, LightProbe, Sun

NEAR = 30.0  # degrees: LightProbe.confidence is how likely the dominant direction is within them
LIKELY, KNOWN = 0.5, 0.65  # a likelier sun, with a longer mean direction, stands in the probe as a sun
HARD = 0.7  # share of it that does; the rest is spread, as it may stand elsewhere. Shadows in the plate have it all
_PEAK = 8.0  # concentration of the kernel under which a sun's likeliest direction is looked for
_BESIDE = 4.0  # concentration, in azimuth, of what counts as on its side
_HALF_ANGLE = 0.0047  # radians; the sun's
_DARK = -1.0  # log radiance where the network says 0


@dataclass(frozen=True)
class ProbeNetConfig(NetworkConfig):
    """width: of the first layer; the second has a third of it."""

    width: int = 768


class Light(NamedTuple):
    """What ProbeNet tells of B plates' light; camera space, linear Rec.709 at the plates' exposure."""

    cells: Tensor  # (B, 62, 3) radiance of all but the strongest sun
    sunny: Tensor  # (B,) logit: is there a sun?
    towards: Tensor  # (B, 62) logits of the direction next to which it stands
    irradiance: Tensor  # (B, 3) of the sun, if there is one

    @property
    def has_sun(self) -> Tensor:
        """(B,) bool: whether there is a sun whose direction is known well enough for shadows with an edge."""
        return (self.sunny.sigmoid() > LIKELY) & (self.mean_direction.norm(dim=1) > KNOWN)

    @property
    def mean_direction(self) -> Tensor:
        """(B, 3) of the sun, the shorter the less is known of it."""
        return self.towards.softmax(1) @ directions(self.towards)

    @property
    def all_cells(self) -> Tensor:
        """(B, 62, 3) radiance with what is to be expected of the sun in it."""
        share = self.sunny.sigmoid()[:, None] * self.towards.softmax(1) / self.cells.new_tensor(SOLID_ANGLES)
        return self.cells + np.pi * share[..., None] * self.irradiance[:, None]


class ProbeNet(nn.Module):
    """Plates to `Light`.

    certainty: (4,) of the logistic regression that makes a confidence of sunny, of the mean direction's length, of
        their product, and of 1; fitted to plates that were held out from training.
    """

    certainty: Tensor

    def __init__(self, config: ProbeNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or ProbeNetConfig()
        self.overview = Overview(self.config.width, 3 * CELLS + 1 + CELLS + 3)
        self.register_buffer("certainty", torch.zeros(4))

    def forward(self, features: Tensor) -> Light:
        """features: (B, 4096) of `overview.features`."""
        cells, sunny, towards, sun = self.overview.read(features).float().split([3 * CELLS, 1, CELLS, 3], 1)
        radiance = (cells.view(-1, CELLS, 3) + _DARK).clamp(-8, 6).exp()
        return Light(radiance, sunny[:, 0], towards, sun.clamp(-6, 5).exp())

    def look(self, features: Tensor) -> Light:
        """What the plates and their mirror images tell together."""
        straight, turned, back = self(features), self(overview.mirrored(features)), list(MIRRORED)
        towards = (straight.towards.softmax(1) + turned.towards.softmax(1)[:, back]).log()
        return Light(
            (straight.cells * turned.cells[:, back]).sqrt(),
            (straight.sunny + turned.sunny) / 2,
            towards,
            (straight.irradiance * turned.irradiance).sqrt(),
        )

    def confidence(self, light: Light) -> Tensor:
        """(B,) calibrated likelihood that the dominant direction is within `NEAR` of the true one."""
        return (evidence(light) @ self.certainty).sigmoid()

    @torch.inference_mode()
    def read(self, plate: np.ndarray) -> Light:
        """What a whole plate (H, W, 3), display-encoded sRGB in [0, 1], tells; B = 1."""
        pixels = torch.from_numpy(whole_plate(plate)).permute(2, 0, 1)[None].to(self.certainty.device)
        return self.look(overview.features(pixels))

    @torch.inference_mode()
    def predict(self, plate: np.ndarray, world_from_camera: np.ndarray | None = None, suns: bool = True) -> LightProbe:
        """The light of a whole plate (H, W, 3), display-encoded sRGB in [0, 1], any size and aspect.

        world_from_camera: (3, 3) or (4, 4), kept with the probe; default the identity. suns: see `to_probe`.
        """
        light = self.read(plate)
        rotation = np.eye(3) if world_from_camera is None else np.array(world_from_camera, np.float64)[:3, :3]
        return to_probe(light, rotation, float(self.confidence(light)), suns)


def to_probe(light: Light, world_from_camera: np.ndarray, confidence: float, suns: bool = True) -> LightProbe:
    """The light of one plate (B = 1) as a probe. Not `suns`: also a sun that is known becomes soft light."""
    constant = np.zeros(3, np.float32)
    if not (suns and light.has_sun):
        return LightProbe(light.all_cells[0].cpu().numpy(), constant, (), world_from_camera, confidence)
    direction = likeliest(light.towards)[0].cpu().numpy().astype(np.float64)
    radiance = hazy(light)
    whole = 1 + (1 - HARD) * float(light.sunny.sigmoid()) / HARD
    sun = Sun(direction, HARD * light.irradiance[0].cpu().numpy().astype(np.float64), _HALF_ANGLE, whole)
    radiance, spread = (cells[0].cpu().numpy() for cells in (radiance, radiance - light.cells))
    return LightProbe(radiance, constant, (sun,), world_from_camera, confidence, spread=spread)


def hazy(light: Light) -> Tensor:
    """(B, 62, 3) radiance of the cells beside a sun that stands in the probe as one."""
    return HARD * light.cells + (1 - HARD) * light.all_cells


def likeliest(towards: Tensor) -> Tensor:
    """(B, 3) the directions around which most of the likelihood lies.

    Where the azimuth is little known, that peak leans toward the zenith, and the mean elevation of what is likely on
    its side leans away from it; half-way between them, shadows are neither too short nor too long.
    """
    likely = towards.softmax(1)
    candidates, near = _candidates()
    peak = candidates.to(towards)[(likely @ near.to(towards)).argmax(1)]
    azimuth = torch.atan2(peak[:, 0], peak[:, 2])
    elevation, around = _elevations(towards)
    beside = likely.square() * (_BESIDE * ((azimuth[:, None] - around).cos() - 1)).exp() * (elevation.cos() > 0.1)
    mean = (beside @ elevation) / beside.sum(1)
    raised = (mean + peak[:, 1].clamp(-1, 1).asin()) / 2
    level = raised.cos()
    return torch.stack([level * azimuth.sin(), raised.sin(), level * azimuth.cos()], 1)


def _elevations(like: Tensor) -> tuple[Tensor, Tensor]:
    """(62,) elevation, and azimuth from +z to +x, of the 62 directions, in radians."""
    x, y, z = directions(like).unbind(1)
    return y.clamp(-1, 1).asin(), torch.atan2(x, z)


def dominant(light: Light) -> Tensor:
    """(B, 3) unit: `LightProbe.dominant_direction` of the probes that `to_probe` makes."""
    sun = HARD * luminance(light.irradiance)[:, None] * likeliest(light.towards)
    pointed, spread = light_vector(hazy(light), sun), light_vector(light.all_cells, torch.zeros_like(sun))
    return nn.functional.normalize(torch.where(light.has_sun[:, None], pointed, spread), dim=1)


def light_vector(cells: Tensor, sun: Tensor) -> Tensor:
    """(B, 3) luminance of `LightProbe.light_vector`. cells: (B, 62, 3). sun: (B, 3) direction times luminance."""
    return (luminance(cells) * cells.new_tensor(SOLID_ANGLES) / np.pi) @ directions(cells) + sun


def luminance(colour: Tensor) -> Tensor:
    """(…) of linear Rec.709 (…, 3)."""
    return colour @ colour.new_tensor(LUMINANCE)


def evidence(light: Light) -> Tensor:
    """(B, 4) what `ProbeNet.certainty` weighs."""
    likely, length = light.sunny.sigmoid(), light.mean_direction.norm(dim=1)
    return torch.stack([likely, length, likely * length, torch.ones_like(likely)], 1)


def directions(like: Tensor) -> Tensor:
    """(62, 3) RICS_DIRECTIONS on the device of another tensor."""
    return like.new_tensor(RICS_DIRECTIONS)


@lru_cache(maxsize=1)
def _candidates() -> tuple[Tensor, Tensor]:
    """(K, 3) directions 5° apart, and (62, K) how near each of the 62 is to them."""
    candidates = probe_fit.fibonacci_sphere(2000)
    near = np.exp(_PEAK * (RICS_DIRECTIONS @ candidates.T - 1))
    return torch.from_numpy(candidates).float(), torch.from_numpy(near).float()
