# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated shadows at the plate's size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.shadow.full_resolution import best, enlarged


def disc(size: int, radius: float) -> np.ndarray:
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    return (np.hypot(x, y) < radius).astype(np.float32)


def test_the_outline_is_the_priors_and_the_depth_the_generators() -> None:
    prior = disc(480, 0.25)
    soft = cv2.GaussianBlur(disc(48, 0.25), (0, 0), 1.5)
    ratio = 1 - soft[..., None] * np.array([0.5, 0.4, 0.3], np.float32)
    (guided, mask), (plain, _) = (enlarged(ratio, soft, prior, trust) for trust in (1.0, 0.0))
    assert guided.shape == (480, 480, 3)
    np.testing.assert_allclose(guided[240, 240], ratio[24, 24], atol=0.06)
    row = guided[240, :, 0]
    step = np.abs(np.diff(row)).max()
    assert step > 5 * np.abs(np.diff(plain[240, :, 0])).max()  # the generated edge is ten pixels wide, the prior's one
    assert np.abs(np.diff(row)).argmax() in (119, 359)
    assert (guided[:30] == 1).all()
    assert (plain[:60] == 1).all()
    assert guided.max() == 1
    assert mask[240, 240] > 0.9
    assert ((mask == 0) == (guided == 1).all(-1)).all()


def test_without_trust_a_wrong_prior_does_nothing() -> None:
    ratio = 1 - 0.5 * disc(48, 0.2)[..., None].repeat(3, -1)
    wrong = np.zeros((480, 480), np.float32)
    wrong[:100, :100] = 1
    plain, _ = enlarged(ratio, disc(48, 0.2), wrong, 0.0)
    assert plain[240, 240, 0] == pytest.approx(0.5, abs=0.05)
    assert (plain[:90, :90] == 1).all()
    assert (
        enlarged(ratio, disc(48, 0.2), wrong, 1.0)[0][:80, :80] > 0.97
    ).all()  # and no shadow is made where the generator has none


def test_the_best_sample_is_the_one_that_physics_expects() -> None:
    expected = disc(32, 0.3)
    assert best([np.roll(expected, 9, 1), 0.9 * expected, 1 - expected], expected) == 1
