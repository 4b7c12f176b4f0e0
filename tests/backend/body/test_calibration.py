# SPDX-License-Identifier: GPL-3.0-or-later
"""MediaPipe's keypoints as the body model has them: whatever the picture's size and turn, left as right."""

from __future__ import annotations

import numpy as np
import pytest

from backend.body import calibration
from backend.body.calibration import calibrated, fitted

MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(0).normal(128, 40, (80, 17, 2))


def test_it_turns_and_grows_with_the_picture(points: np.ndarray) -> None:
    moved = calibrated(points)
    assert 0.5 < np.linalg.norm(moved - points, axis=2).mean() < 20
    turn = 1.7 * np.array([[0.6, -0.8], [0.8, 0.6]])
    np.testing.assert_allclose(calibrated(points @ turn + 50), moved @ turn + 50)


def test_left_is_as_right(points: np.ndarray) -> None:
    flipped = points[:, MIRRORED] * [-1, 1]
    np.testing.assert_allclose(calibrated(flipped), calibrated(points)[:, MIRRORED] * [-1, 1])


def test_shares_are_found_again_though_some_keypoints_are_far_off(points: np.ndarray) -> None:
    random = np.random.default_rng(1)
    true = calibrated(points)
    astray = random.random(true.shape[:2]) < 0.1
    true[astray] += random.normal(0, 60, (astray.sum(), 2))
    found = fitted(points, true)
    np.testing.assert_allclose(found, calibration.SHARES, atol=0.01)
