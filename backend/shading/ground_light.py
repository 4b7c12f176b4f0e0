# SPDX-License-Identifier: GPL-3.0-or-later
"""Spill: the ground's light on shoes, legs and chins has the ground's own colour, as far as the plate shows it.

Of the light that comes from below a network guesses what a plate mostly shows: the ground. The matched camera, whose
horizon is the world's, tells which pixels show it.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from ..images import srgb_encode
from ..protocol import Camera
from ..rays.camera import plate_directions
from ..rays.directions import RICS_DIRECTIONS, SOLID_ANGLES
from .probe import LightProbe
from .probe_network import ProbeNet

GROUND = 0.12  # sine of the angle below the horizon from where on a plate's pixels are taken for the ground
LEAST = 0.05  # share of the frame that must show it
TRUST = 0.5  # of what is seen, beside what was estimated, in the logarithm: each errs by about a quarter
_FULL = 0.3  # sine below the horizon from where on light is the ground's alone
_DARK, _BRIGHTEST = 1e-3, 4.0  # radiance: logarithms need a floor, and means no glints


def light_of(network: ProbeNet, plate: np.ndarray, camera: Camera, suns: bool = True) -> LightProbe:
    """What ProbeNet reads off a plate (H, W, 3), linear, with the ground's light as the plate shows it.

    camera: the whole plate's. suns: see `probe_network.to_probe`.
    """
    told = network.predict(srgb_encode(plate.clip(0, 1)), camera.world_from_camera, suns)
    return with_ground(told, plate, camera)


def with_ground(probe: LightProbe, plate: np.ndarray, camera: Camera) -> LightProbe:
    """The probe, whose light from below has as much of the ground's colour and brightness as the plate shows.

    plate: (H, W, 3) linear, as the whole frame of `camera` sees it. Where it shows hardly any ground, nothing changes.
    """
    up = np.asarray(camera.world_from_camera)[2, :3]
    shown = seen(plate, camera, up)
    if shown is None:
        return probe
    below = np.maximum(-(RICS_DIRECTIONS @ up), 0)
    weight = SOLID_ANGLES * below
    told = weight @ probe.radiance / weight.sum()
    gain = (np.maximum(shown, _DARK) / np.maximum(told, _DARK)) ** TRUST
    gains = (gain ** np.minimum(below / _FULL, 1)[:, None]).astype(np.float32)
    spread = None if probe.spread is None else probe.spread * gains
    return dataclasses.replace(probe, radiance=probe.radiance * gains, spread=spread)


def seen(plate: np.ndarray, camera: Camera, up: np.ndarray) -> np.ndarray | None:
    """(3,) mean linear radiance of the ground in a plate (H, W, 3), or None where it shows too little of it.

    up: (3,) camera space.
    """
    ground = plate_directions(camera) @ up < -GROUND
    if ground.mean() <= LEAST:
        return None
    small = cv2.resize(np.clip(plate, 0, _BRIGHTEST).astype(np.float32), ground.shape, interpolation=cv2.INTER_AREA)
    return small[ground].mean(0)
