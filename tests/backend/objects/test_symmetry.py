# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns of an object that no picture can tell apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.objects import metrics, views
from backend.objects.evaluate import symmetries_of
from backend.objects.harmonics import directional
from backend.objects.projection import projection
from backend.objects.shapes import make_shape
from backend.objects.symmetry import TURNS, symmetries, turned_cameras, turned_lights
from backend.rays.scene import RayScene


def test_symmetric_grids_are_known_by_form_and_colour():
    grid = np.zeros((16, 16, 16), np.uint8)
    grid[4:12, 2:14, 6:10] = 1  # twice as broad as deep
    albedo = np.array([[0.5, 0.5, 0.5], [0.9, 0.1, 0.1]])
    assert np.flatnonzero(symmetries(grid, albedo)).tolist() == [0, 4]
    grid[4:12, 2:14, 8:10] = 2  # its front in red
    assert np.flatnonzero(symmetries(grid, albedo)).tolist() == [0]
    grid[:] = 0
    grid[4:12, 2:14, 4:12] = 1
    assert np.flatnonzero(symmetries(grid, albedo)).tolist() == [0, 2, 4, 6]


def test_a_turned_camera_and_light_give_the_same_picture():
    """The sense of the rotation: a wrong sign would pass for turns by 180 degrees, and fail here for 90."""
    seed = next(s for s in range(200) if (symmetries_of("table", s)[2] and symmetries_of("table", s)[6]))
    shape = make_shape("table", seed)
    scene = RayScene([views.mesh_of(shape)])
    matrix = projection(0.4, 0.3, 0.02, 4.0, 0.6)
    light = directional(np.array([0.6, 0.48, 0.64]), np.array([1.0, 0.8, 0.6]))
    first = views.shade(views.see(shape, scene, matrix, 64), light)
    cameras = turned_cameras(torch.from_numpy(matrix)[None])[0].numpy()
    for turn in (0, 2, 4, 6):
        turned = turned_lights(torch.from_numpy(light)[None], torch.tensor([turn]))[0].numpy()
        again = views.shade(views.see(shape, scene, cameras[turn], 64), turned)
        assert np.abs(again - first).mean() < 0.03 * first.mean()
    wrong = views.shade(views.see(shape, scene, cameras[2], 64), light)
    assert np.abs(wrong - first).mean() > 0.1 * first.mean()


@pytest.mark.parametrize(("found", "error"), [(10, 10), (100, 80), (170, 10), (-95, 85)])
def test_azimuth_errors_count_from_the_nearest_view_that_looks_the_same(found, error):
    half = np.zeros(TURNS, bool)
    half[[0, 4]] = True
    assert metrics.azimuth_error(np.radians(found), 0.0, half) == pytest.approx(error)
