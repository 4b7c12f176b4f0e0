# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns of an object that no picture can tell apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.objects import metrics, views
from backend.objects.evaluate import symmetries_of
from backend.objects.harmonics import directional
from backend.objects.projection import projection, viewpoint
from backend.objects.shapes import make_shape
from backend.objects.symmetry import (
    AZIMUTHS,
    TURNS,
    alike_azimuths,
    azimuth_of,
    symmetries,
    turned_camera,
    turned_light,
)
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
    for turn in torch.arange(0, AZIMUTHS, 4):
        camera = turned_camera(torch.from_numpy(matrix)[None], turn[None])[0].numpy()
        turned = turned_light(torch.from_numpy(light)[None], turn[None])[0].numpy()
        again = views.shade(views.see(shape, scene, camera, 64), turned)
        assert np.abs(again - first).mean() < 0.03 * first.mean()
        if turn == 4:
            wrong = views.shade(views.see(shape, scene, camera, 64), light)
            assert np.abs(wrong - first).mean() > 0.1 * first.mean()


def test_the_azimuth_is_the_turn_that_brings_the_camera_to_the_front():
    azimuth = np.array([0.3, 1.2, -2.0, 3.1])
    matrix = torch.from_numpy(np.stack([projection(a, 0.4, 0.05, 4.0, 0.6) for a in azimuth]))
    number = azimuth_of(matrix)
    assert number.tolist() == np.round(azimuth / (np.pi / 8)).astype(int).__mod__(16).tolist()
    before = [viewpoint(m.numpy())[0] for m in turned_camera(matrix, number)]
    assert np.abs(before).max() <= np.pi / 16
    torch.testing.assert_close(turned_camera(turned_camera(matrix, number), -number), matrix)
    quarter = np.zeros((4, TURNS), bool)
    quarter[:, [0, 2]] = True
    turned = turned_camera(matrix, torch.tensor([4] * 4))  # two of TURNS
    expected = torch.zeros(4, AZIMUTHS, dtype=torch.bool)
    for seen in (number, azimuth_of(turned)):
        expected[torch.arange(4), seen] = True
    assert (alike_azimuths(number, torch.from_numpy(quarter)) == expected).all()


@pytest.mark.parametrize(("found", "error"), [(10, 10), (100, 80), (170, 10), (-95, 85)])
def test_azimuth_errors_count_from_the_nearest_view_that_looks_the_same(found, error):
    half = np.zeros(TURNS, bool)
    half[[0, 4]] = True
    assert metrics.azimuth_error(np.radians(found), 0.0, half) == pytest.approx(error)
