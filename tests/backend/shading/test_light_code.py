# SPDX-License-Identifier: GPL-3.0-or-later
"""The code of light: the formula's shading, its mirror, brightness apart from colour."""

import numpy as np
import torch

from backend.shading import formula
from backend.shading.light_code import FACING, MIRRORED, facing_shading, light_code
from backend.shading.probe import CELLS, Sun


def test_answers_are_the_formula_without_occlusion():
    random = np.random.default_rng(1)
    radiance = random.random((CELLS, 3)).astype(np.float32)
    toward = np.array([0.6, 0.64, 0.48])
    suns = np.zeros((2, 7))
    suns[0] = [*toward, 2.0, 1.5, 1.0, 0.01]
    expected = formula.shade(
        radiance, np.zeros(3), np.ones((6, CELLS)), FACING, [Sun(toward, np.array([2.0, 1.5, 1.0]), 0.01)]
    )
    np.testing.assert_allclose(facing_shading(radiance, suns), expected, rtol=1e-4)
    np.testing.assert_allclose(FACING[list(MIRRORED)], FACING * [-1, 1, 1])


def test_the_code_of_light_tells_brightness_apart_from_colour():
    grey = torch.full((1, 6, 3), 0.5)
    bright = 2 * grey
    warm = grey * torch.tensor([1.5, 1.0, 0.7])
    codes = [light_code(shading)[0] for shading in (grey, bright, warm)]
    assert all(code.shape == (16,) and 0.02 < code.min() < code.max() < 0.98 for code in codes)
    assert (codes[1][:6] > codes[0][:6] + 0.1).all()
    assert torch.allclose(codes[1][6:], codes[0][6:], atol=1e-3)
    red, blue = codes[2][6::2], codes[2][7::2]
    assert (red > 0.6).all()
    assert (blue < 0.4).all()
