# SPDX-License-Identifier: GPL-3.0-or-later
"""A shadow's depth and colour follow the photograph."""

from __future__ import annotations

import numpy as np
import pytest

from backend.shadow import tone

TAKEN = np.array([0.7, 0.6, 0.5])


def ground(random: np.random.Generator) -> np.ndarray:
    """Tiles of many colours."""
    tiles = random.uniform(0.1, 0.8, (20, 20, 3)).repeat(15, 0).repeat(15, 1)
    return tiles * random.uniform(0.9, 1.1, tiles.shape)


def test_another_shadow_tells_depth_and_colour_whatever_the_ground_is() -> None:
    photograph = ground(np.random.default_rng(0))
    y, x = np.mgrid[:300, :300]
    shadow = (np.hypot((x - 150) / 2, y - 150) < 50).astype(np.float32)
    photograph *= 1 - shadow[..., None] * TAKEN
    object_ = np.zeros((300, 300), np.float32)
    object_[60:150, 140:160] = 1  # black, and in the middle of it
    photograph[object_ > 0] = 0.0
    found = tone.taken_by(photograph, shadow, object_)
    np.testing.assert_allclose(found, TAKEN, atol=0.04)
    assert tone.taken_by(ground(np.random.default_rng(1)), shadow, object_) is None  # what is marked is no shadow
    assert tone.taken_by(photograph, np.zeros((300, 300), np.float32), object_) is None


def test_light_is_taken_once_and_highlights_stay_bright() -> None:
    ratio = np.array([[[0.4, 0.5, 0.6], [0.4, 0.5, 0.6], [1.0, 1.0, 1.0]]])
    photograph = np.array([[[0.3, 0.3, 0.3], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]])
    fitted = tone.fitted(ratio, photograph)
    np.testing.assert_array_equal(fitted[0, 0], ratio[0, 0])
    np.testing.assert_allclose(fitted[0, 1], [0.6, 0.75, 0.9])
    assert (fitted[0, 2] == 1).all()
    twice = tone.fitted(ratio, photograph, np.array([[1.0, 0.0, 0.0]]))
    assert (twice[0, 0] == 1).all()
    assert twice[0, 1] == pytest.approx(fitted[0, 1])
