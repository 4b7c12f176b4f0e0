# SPDX-License-Identifier: GPL-3.0-or-later
"""One direction of light for shadows: what of a light probe casts them, and a probe with what the networks predict."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..shading.panorama import LUMINANCE
from ..shading.probe import LightProbe

CASTS = 0.15  # share of the ground's light from which on a sun is taken for what casts the shadow
DISTINCT = 0.25  # share that other light's direction must bring to be worth learning
STEEP = 0.1  # length of a unit direction seen from above, below which it comes from no side


def casting_light(probe: LightProbe) -> tuple[np.ndarray, bool]:
    """(3,) unit, toward what casts the shadows on level ground, and whether it is distinct enough to be learnt from.

    The sun that gives the ground most light, as that is what a shadow tells (physical shadow paper, supplement section
    6); the sky beside it draws the dominant direction aside. Where no sun gives enough, that direction. Camera space.
    """
    up = probe.world_from_camera[2]
    level = float(probe.shade(np.ones((1, 62)), up[None])[0] @ LUMINANCE)
    brought = [float(sun.irradiance @ LUMINANCE * max(sun.direction @ up, 0)) for sun in probe.suns]
    if brought and max(brought) > CASTS * level:
        return probe.suns[int(np.argmax(brought))].direction, True
    return probe.dominant_direction, probe.strength > DISTINCT * max(level, 1e-9)


def combined(probe: LightProbe, light: np.ndarray, confidence: float) -> LightProbe:
    """The probe, turned about the vertical toward the predicted light where that is the surer one of the two.

    What casts its shadows moves in azimuth by the share c_predicted / (c_predicted + c_probe) of the way, suns and
    cells with it; elevation, colours and strengths stay the probe's. Its confidence becomes the mean of both, weighted
    alike.
    light: (3,) unit, camera space, toward it. confidence: of the prediction, in [0, 1].
    """
    if confidence <= probe.confidence:
        return probe
    own, predicted = (probe.world_from_camera @ direction for direction in (casting_light(probe)[0], light))
    if min(np.hypot(*own[:2]), np.hypot(*predicted[:2])) < STEEP:
        return probe
    share = confidence / (confidence + probe.confidence)
    apart = np.arctan2(predicted[1], predicted[0]) - np.arctan2(own[1], own[0])
    apart = (apart + np.pi) % (2 * np.pi) - np.pi
    mean = share * confidence + (1 - share) * probe.confidence
    return dataclasses.replace(probe.turned(share * apart), confidence=mean)
