# SPDX-License-Identifier: GPL-3.0-or-later
"""One light of the probe's and the predicted one: about the vertical, the surer one's way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from backend.rays.camera import look_at
from backend.rays.directions import RICS_DIRECTIONS
from backend.shading.probe import CELLS, LightProbe, Sun
from backend.shadow.combined_light import casting_light, combined

CAMERA = look_at((3.0, -5.0, 2.0), (0.0, 0.0, 1.0))[:3, :3]


def world(azimuth: float, elevation: float) -> np.ndarray:
    a, e = np.radians([azimuth, elevation])
    return np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])


def sunny(azimuth: float, confidence: float) -> LightProbe:
    """An even sky, and a warm sun at 40°, seen by CAMERA."""
    sun = Sun(CAMERA.T @ world(azimuth, 40), np.array([2.0, 1.8, 1.5]), 0.01)
    radiance = np.full((CELLS, 3), 0.3, np.float32)
    return LightProbe(radiance, np.zeros(3, np.float32), (sun,), CAMERA, confidence)


def azimuth(direction: np.ndarray) -> float:
    return float(np.degrees(np.arctan2(direction[1], direction[0])))


@pytest.mark.parametrize(("own", "predicted", "expected"), [(10, 90, 70), (90, 10, 30), (170, -150, -160)])
def test_the_sun_moves_toward_the_surer_prediction_the_short_way(own: float, predicted: float, expected: float) -> None:
    probe = sunny(own, 0.2)
    found = combined(probe, CAMERA.T @ world(predicted, 10), 0.6)
    turned = CAMERA @ found.suns[0].direction
    assert azimuth(turned) == pytest.approx(expected, abs=0.01)
    assert np.degrees(np.arcsin(turned[2])) == pytest.approx(40, abs=0.01)
    assert azimuth(found.dominant_direction_world) == pytest.approx(expected, abs=1)
    assert found.strength == pytest.approx(probe.strength, rel=0.01)
    np.testing.assert_array_equal(found.world_from_camera, CAMERA)
    assert found.confidence == pytest.approx(0.75 * 0.6 + 0.25 * 0.2)


def test_the_cells_turn_with_the_sun() -> None:
    radiance = np.full((CELLS, 3), 0.1, np.float32)
    probe = LightProbe(radiance, np.zeros(3, np.float32), (), CAMERA, 0.1)
    bright = np.argmax(RICS_DIRECTIONS @ (CAMERA.T @ world(0, 20)))
    radiance[bright] = 5.0
    start = azimuth(CAMERA @ RICS_DIRECTIONS[bright])
    found = combined(probe, CAMERA.T @ world(start + 80, 30), 0.9)
    assert azimuth(found.dominant_direction_world) == pytest.approx(start + 72, abs=6)  # a cell is 30° wide


def test_a_less_sure_prediction_and_one_from_no_side_change_nothing() -> None:
    probe = sunny(10, 0.6)
    assert combined(probe, CAMERA.T @ world(90, 10), 0.6) is probe
    unsure = dataclasses.replace(probe, confidence=0.0)
    assert combined(unsure, CAMERA.T @ np.array([0.0, 0.0, 1.0]), 0.9) is unsure


def test_a_sun_casts_the_shadow_from_where_it_stands_whatever_the_sky_beside_it() -> None:
    """A bright sky on the other side draws the dominant direction away from the sun, but no shadow."""
    probe = sunny(20, 1.0)
    opposite = (RICS_DIRECTIONS @ CAMERA.T @ world(200, 40) > 0.5)[:, None]
    probe = dataclasses.replace(probe, radiance=probe.radiance + np.float32(4) * opposite.astype(np.float32))
    light, distinct = casting_light(probe)
    assert distinct
    np.testing.assert_allclose(light, probe.suns[0].direction)
    assert light @ probe.dominant_direction < np.cos(np.radians(30))
    faint = dataclasses.replace(probe, suns=(dataclasses.replace(probe.suns[0], irradiance=np.full(3, 0.05)),))
    np.testing.assert_allclose(casting_light(faint)[0], faint.dominant_direction)
    even = dataclasses.replace(faint, radiance=np.full((CELLS, 3), 0.3, np.float32))
    assert not casting_light(even)[1]
