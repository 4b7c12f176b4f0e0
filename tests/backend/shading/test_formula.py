# SPDX-License-Identifier: GPL-3.0-or-later
"""The shading formula against what is known in closed form."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from backend.rays.directions import RICS_DIRECTIONS
from backend.shading.formula import shade
from backend.shading.probe import Sun

BLACK = np.zeros((62, 3), np.float32)
NOTHING = np.zeros(3, np.float32)


def sphere(count: int = 500) -> np.ndarray:
    normals = np.random.default_rng(1).normal(size=(count, 3))
    return (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)


def test_even_light_on_an_unoccluded_sphere_gives_its_radiance():
    normals = sphere()
    light = np.tile(np.array([0.5, 1.0, 2.0], np.float32), (62, 1))
    shading = shade(light, NOTHING, np.ones((500, 62), bool), normals)
    assert np.allclose(shading, light[0], rtol=0.04)
    assert np.allclose(shading.mean(0), light[0], rtol=0.005)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [-1, 1])
def test_half_a_sky_lights_the_side_that_faces_it(axis: int, sign: int):
    """A hemisphere of radiance 1 about h gives (1 + n·h) / 2; a flipped axis or sign gives its mirror image."""
    normals = sphere()
    along = sign * RICS_DIRECTIONS[:, axis]
    light = np.where(along > 0.05, 1.0, np.where(along < -0.05, 0.0, 0.5))[:, None].repeat(3, 1)
    shading = shade(light, NOTHING, np.ones((500, 62)), normals)
    assert np.abs(shading[:, 0] - (1 + sign * normals[:, axis]) / 2).max() < 0.05


def test_a_hidden_direction_takes_its_light_away_and_no_more():
    normals = np.array([[0, 1, 0]], np.float32)
    light = BLACK.copy()
    light[60] = [1, 2, 3]
    light[0] = 1
    visible = np.ones((1, 62), np.float16)
    full = shade(light, NOTHING, visible, normals)
    visible[0, 60] = 0
    rest = shade(light, NOTHING, visible, normals)
    visible[0, 60] = 0.5
    half = shade(light, NOTHING, visible, normals)
    assert np.allclose(half, (full + rest) / 2, atol=1e-6)
    assert np.allclose((full - rest)[0] / (full - rest)[0, 0], [1, 2, 3], rtol=1e-5)
    assert rest.min() > 0


def test_suns_and_the_constant_add_up():
    sun = Sun(np.array([0, 0, 1.0]), np.array([3, 2, 1.0]), 0.005)
    normals = np.array([[[0, 0, 1], [0, 0, -1], [0, 0.6, 0.8]]], np.float32)
    visible = np.ones((1, 3, 62), bool)
    constant = np.array([0.1, 0.2, 0.3])
    shading = shade(BLACK, constant, visible, normals, [sun])
    assert shading.shape == (1, 3, 3)
    assert np.allclose(shading[0] - constant, [[3, 2, 1], [0, 0, 0], [2.4, 1.6, 0.8]], atol=1e-6)
    hidden = shade(BLACK, constant, visible, normals, [sun], np.zeros((1, 3, 1), bool))
    assert np.allclose(hidden, constant, atol=1e-6)


def test_shapes_that_do_not_belong_together_are_refused():
    normals = sphere(4)
    with pytest.raises(ValueError, match="visibility"):
        shade(BLACK, NOTHING, np.ones((5, 62)), normals)
    with pytest.raises(ValueError, match="sun visibility"):
        shade(BLACK, NOTHING, np.ones((4, 62)), normals, (), np.ones((4, 1)))


def test_memory_stays_bounded_for_a_large_picture():
    normals = np.tile(sphere(), (300, 1))
    visible = np.ones((len(normals), 62), np.uint8)
    tracemalloc.start()
    shade(BLACK, NOTHING, visible, normals)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48e6
