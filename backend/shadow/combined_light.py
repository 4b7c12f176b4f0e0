# SPDX-License-Identifier: GPL-3.0-or-later
"""One light of two estimates: the plate's light probe, and the direction that the shadow networks predict."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..shading.probe import LightProbe

STEEP = 0.1  # length of a unit direction seen from above, below which it comes from no side


def combined(probe: LightProbe, light: np.ndarray, confidence: float) -> LightProbe:
    """The probe, turned about the vertical toward the predicted light where that is the surer one of the two.

    Its dominant azimuth moves by the share c_predicted / (c_predicted + c_probe) of the way, suns and cells with it;
    elevation, colours and strengths stay the probe's. Its confidence becomes the mean of both, weighted alike.
    light: (3,) unit, camera space, toward it. confidence: of the prediction, in [0, 1].
    """
    if confidence <= probe.confidence:
        return probe
    own, predicted = probe.dominant_direction_world, probe.world_from_camera @ light
    if min(np.hypot(*own[:2]), np.hypot(*predicted[:2])) < STEEP:
        return probe
    share = confidence / (confidence + probe.confidence)
    apart = np.arctan2(predicted[1], predicted[0]) - np.arctan2(own[1], own[0])
    apart = (apart + np.pi) % (2 * np.pi) - np.pi
    mean = share * confidence + (1 - share) * probe.confidence
    return dataclasses.replace(probe.turned(share * apart), confidence=mean)
