# SPDX-License-Identifier: GPL-3.0-or-later
"""Grain and sharpness of a plate: measured as they were made, also through 8 bits."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.images import srgb_decode, srgb_encode
from backend.shading.grain import RENDERED, Grain

FINER = 6  # each way, of the picture before it is sampled


def triangles(blur: float, size: int = 384) -> np.ndarray:
    """(size, size, 3) linear: sharp triangles through a render's pixel filter, blurred further."""
    random = np.random.default_rng(0)
    fine = np.full((size * FINER, size * FINER), 0.2, np.float32)
    for _ in range(14):
        corners = (random.uniform(0, size, (3, 2)) * FINER).astype(np.int32)
        cv2.fillPoly(fine, [corners], float(random.uniform(0.05, 0.9)))
    soft = cv2.GaussianBlur(fine, (0, 0), FINER * float(np.hypot(RENDERED, blur)))
    return soft[FINER // 2 :: FINER, FINER // 2 :: FINER, None] * np.float32([1, 0.9, 0.8])


@pytest.mark.parametrize(("blur", "slope"), [(0.0, 2e-4), (0.7, 1e-3), (1.5, 2e-4)])
def test_what_a_photograph_was_made_with_is_measured(blur: float, slope: float) -> None:
    noise = np.array([slope / 20, slope]) * np.array([[1.0], [0.5], [2.0]])
    clean = triangles(blur)
    random = np.random.default_rng(1)
    plate = clean + random.standard_normal(clean.shape) * np.sqrt(noise[:, 0] + noise[:, 1] * clean)
    stored = srgb_decode(np.round(srgb_encode(plate.clip(0, 1)) * 255) / 255)
    measured = Grain.of(stored)
    assert measured.blur == pytest.approx(blur, abs=0.2)
    for level in (0.1, 0.5):
        np.testing.assert_allclose(measured.noise @ [1, level], noise @ [1, level], rtol=0.25)


def test_the_grain_of_a_render_has_the_measured_variance_and_leaves_no_negative_light() -> None:
    grain = Grain(np.array([[1e-4, 1e-3], [0, 0], [4e-4, 0]]), 0.0)
    colour = np.full((200, 200, 3), 0.4, np.float32)
    drawn = grain.image(colour, 1)
    np.testing.assert_allclose(drawn.var((0, 1)), [5e-4, 0, 4e-4], rtol=0.05)
    dark = np.full((50, 50, 3), 1e-4, np.float32)
    assert (dark + grain.image(dark, 2)).min() >= 0
    assert (grain.image(colour, 1) == drawn).all()
    assert (grain.image(colour, 2) != drawn).any()


def test_a_clean_even_plate_has_neither() -> None:
    measured = Grain.of(np.full((64, 96, 3), 0.3, np.float32))
    assert measured.blur == 0
    assert np.abs(measured.noise).max() < 1e-9
