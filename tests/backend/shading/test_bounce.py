# SPDX-License-Identifier: GPL-3.0-or-later
"""What a character throws on itself: nothing where nothing is hidden, its neighbours' colour where much is."""

from __future__ import annotations

import numpy as np
import pytest

from backend.rays.directions import RICS_DIRECTIONS
from backend.shading.bounce import WEIGHT, Surroundings, bounced, hidden_share

SIDE = 100
PIXELS = np.arange(SIDE * SIDE)
GREEN, RED = np.array([0.1, 0.5, 0.1]), np.array([0.6, 0.1, 0.1])


@pytest.fixture
def halves() -> tuple[np.ndarray, np.ndarray, Surroundings]:
    """A square, red on the left and green on the right, evenly lit by 0.8."""
    albedo = np.where((PIXELS % SIDE < SIDE // 2)[:, None], RED, GREEN).astype(np.float32)
    return np.full((len(PIXELS), 3), 0.8, np.float32), albedo, Surroundings(PIXELS, SIDE)


def test_an_open_surface_gets_nothing_and_a_hidden_one_its_neighbours_colour(halves) -> None:
    shading, albedo, around = halves
    hidden = np.where(PIXELS // SIDE < SIDE // 2, 0.0, 0.5).astype(np.float32)
    light = bounced(shading, albedo, hidden, around).reshape(SIDE, SIDE, 3)
    assert not light[: SIDE // 2].any()
    np.testing.assert_allclose(light[-1, 5], 0.5 * WEIGHT * 0.8 * RED, rtol=0.02)
    np.testing.assert_allclose(light[-1, -5], 0.5 * WEIGHT * 0.8 * GREEN, rtol=0.02)
    np.testing.assert_allclose(light[-1, SIDE // 2], 0.25 * WEIGHT * 0.8 * (GREEN + RED), rtol=0.15)


def test_the_reach_goes_with_the_character_not_with_the_pixels(halves) -> None:
    shading, albedo, _ = halves
    hidden = np.full(len(PIXELS), 0.3, np.float32)
    small = bounced(shading, albedo, hidden, Surroundings(PIXELS, SIDE)).reshape(SIDE, SIDE, 3)
    finer = [image.reshape(SIDE, SIDE, 3).repeat(2, 0).repeat(2, 1).reshape(-1, 3) for image in (shading, albedo)]
    elsewhere = (np.arange(2 * SIDE)[:, None] + 300) * 1000 + np.arange(2 * SIDE) + 77
    large = bounced(*finer, np.full(4 * SIDE**2, 0.3, np.float32), Surroundings(elsewhere.ravel(), 1000))
    np.testing.assert_allclose(large.reshape(2 * SIDE, 2 * SIDE, 3)[::2, ::2], small, atol=0.01)


def test_the_hidden_share_is_weighted_by_the_cosine() -> None:
    up, side = np.array([[0, 1, 0]], np.float32), np.array([[0, 0, 1]], np.float32)
    above = np.where(RICS_DIRECTIONS[:, 1] > 0.01, 0.0, 1.0)[None]
    assert hidden_share(above, up)[0] == pytest.approx(1)
    assert hidden_share(above, -up)[0] == pytest.approx(0, abs=1e-6)
    assert 0.3 < hidden_share(above, side)[0] < 0.5, "half, but for the cells on the horizon"


def test_one_point_and_no_point() -> None:
    one = Surroundings(np.array([7]), 10)
    light = bounced(np.full((1, 3), 0.5), np.full((1, 3), 0.4), np.ones(1), one)
    np.testing.assert_allclose(light, WEIGHT * 0.2, rtol=1e-5)
    nothing = np.zeros((0, 3))
    assert bounced(nothing, nothing, np.zeros(0), Surroundings(np.zeros(0, int), 10)).shape == (0, 3)
