# SPDX-License-Identifier: GPL-3.0-or-later
"""Daylight has the strengths and colours that clear air gives it."""

from __future__ import annotations

import numpy as np
import pytest

from backend.rays.directions import pixel_directions
from backend.shading import daylight
from backend.shading.environments import LIGHT_HEIGHT, upward_shading

DIRECTIONS = pixel_directions(LIGHT_HEIGHT, 2 * LIGHT_HEIGHT)
THIN = 0.03 * daylight._WAVELENGTHS**-1.3  # haze of a clear day


def _clear(altitude: float, haze: np.ndarray = THIN) -> tuple[np.ndarray, np.ndarray]:
    """A cloudless sky, its sun toward +x, and the sun's irradiance."""
    up = np.sin(np.radians(altitude))
    toward = DIRECTIONS @ [np.cos(np.radians(altitude)), 0, up]
    beam = daylight._BEAM * np.exp(-daylight._air_mass(up) * (daylight._MOLECULES + haze))
    return daylight._clear(DIRECTIONS, toward[..., None], float(up), haze), beam


@pytest.mark.parametrize("altitude", [5, 20, 60])
def test_no_light_is_made_from_nothing(altitude: float) -> None:
    for haze in (THIN, 10 * THIN):
        sky, beam = _clear(altitude, haze)
        level = upward_shading(sky) + beam * np.sin(np.radians(altitude))
        above = daylight._BEAM * np.sin(np.radians(altitude))
        assert np.isfinite(sky).all()
        assert (level < above).all()
        assert (level > 0.5 * (0.3 if altitude < 10 else 1) * above).all()


def test_a_low_sun_in_clear_air_is_red_and_still_stronger_than_its_sky() -> None:
    low, high = _clear(12), _clear(60)
    for sky, beam in (low, high):
        assert 3 < beam.mean() / upward_shading(sky).mean() < 15
    assert low[1][0] > 1.5 * low[1][2]
    assert high[1][0] < 1.3 * high[1][2]


def test_the_sky_is_blue_overhead_white_at_the_horizon_and_brightest_about_the_sun() -> None:
    sky, _ = _clear(30)
    overhead, horizon = sky[:8].mean((0, 1)), sky[122:126].mean((0, 1))
    assert overhead[2] > 1.5 * overhead[0]
    assert horizon.mean() > 2 * overhead.mean()
    assert horizon[2] / horizon[0] < 0.7 * overhead[2] / overhead[0]
    row, column = np.unravel_index(sky[:110].sum(2).argmax(), (110, sky.shape[1]))
    assert DIRECTIONS[row, column, 0] > 0.8
    assert np.abs(np.diff(sky[20:110], axis=0) / sky[20:109]).max() < 0.2  # smooth where the two paths are alike


def test_days_differ_and_come_again() -> None:
    days = [daylight.daylight(seed) for seed in range(16)]
    suns = [day.suns[0] for day in days if day.suns]
    assert 8 < len(suns) < 16
    assert np.ptp([np.degrees(np.arcsin(sun.direction[2])) for sun in suns]) > 25
    for day in days:
        assert np.isfinite(day.picture).all()
        assert day.image.min() >= 0
    assert (daylight.daylight(3).picture == days[3].picture).all()
