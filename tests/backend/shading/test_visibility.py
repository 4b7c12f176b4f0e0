# SPDX-License-Identifier: GPL-3.0-or-later
"""Soft visibility: true shares of light, penumbrae of the right width, and no mixing across edges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import trimesh

from backend.protocol import CHARACTER, PROP, Camera, Mesh
from backend.rays import camera as cameras
from backend.rays import rics
from backend.rays.directions import RICS_DIRECTIONS
from backend.rays.scene import RayScene
from backend.shading import visibility
from backend.shading.panorama import nearest_cell
from backend.shading.probe import Sun


def mesh(shape: trimesh.Trimesh, role: str = CHARACTER, smooth: bool = False) -> Mesh:
    normals = shape.vertex_normals[shape.faces] if smooth else np.repeat(shape.face_normals[:, None], 3, 1)
    return Mesh(role, role, shape.vertices.astype(np.float32), shape.faces.astype(np.int32), normals.astype(np.float32))


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> trimesh.Trimesh:
    return trimesh.creation.box(bounds=[low, high])


def looking_down(size: int = 64) -> Camera:
    """An orthographic camera with camera axes equal to the world's, that sees x and y from −1 to 1 on z < 0."""
    return cameras.orthographic(size, size, 2.0)


def traced(*meshes: Mesh, size: int = 64) -> tuple[RayScene, rics.SurfaceMap]:
    scene = RayScene(meshes)
    return scene, rics.trace(scene, looking_down(size))


FLOOR = box((-2, -2, -3), (2, 2, -2))


def test_cell_samples_lie_in_their_cells_and_surround_their_centres():
    samples = visibility.cell_samples()
    assert (nearest_cell(samples) == np.arange(62)[:, None]).all()
    mean = samples.mean(1)
    assert ((mean / np.linalg.norm(mean, axis=1, keepdims=True) * RICS_DIRECTIONS).sum(1) > np.cos(np.radians(5))).all()


def test_nothing_is_hidden_on_a_convex_body():
    """Directions under the horizon hide nothing, and a cell that the horizon cuts is not counted dark for it."""
    scene, surface = traced(mesh(trimesh.creation.icosphere(4, 0.8).apply_translation((0, 0, -2)), smooth=True))
    assert visibility.cell_visibility(scene, surface).min() > 0.98


def test_props_hide_light_as_the_character_does():
    roof = box((-5, -5, 3), (5, 5, 4))  # behind the camera, which looks down from z = 0
    scene, surface = traced(mesh(FLOOR), mesh(roof, PROP))
    share = visibility.cell_visibility(scene, surface).astype(np.float32)
    toward_camera = RICS_DIRECTIONS[:, 2] > 0.99
    assert share[:, toward_camera].max() == 0
    assert visibility.cell_visibility(scene, surface, (CHARACTER,)).min() == 1


def penumbra(visible: Callable[[RayScene, rics.SurfaceMap], np.ndarray], height: float) -> tuple[float, float]:
    """Centre and width (10 % to 90 %) along x of the shadow's edge that a half-plane `height` over a floor casts."""
    shade = box((-9, -9, -2 + height), (0, 9, -2 + height + 0.05))
    scene, surface = traced(mesh(FLOOR), mesh(shade, PROP), size=96)
    profile = visible(scene, surface).astype(np.float32).reshape(96, 96)[20:70].mean(0)
    x = (np.arange(96) + 0.5) / 48 - 1
    low, middle, high = np.interp([0.1, 0.5, 0.9], np.maximum.accumulate(profile), x)
    return float(middle), float(high - low)


def test_a_suns_penumbra_lies_right_and_grows_with_distance_and_size():
    direction = np.array([0.6, 0.0, 0.8])  # light comes from +x: the shadow's edge moves to −x

    def of(half_angle: float) -> Callable[[RayScene, rics.SurfaceMap], np.ndarray]:
        sun = Sun(direction, np.ones(3), half_angle)
        return lambda scene, surface: visibility.sun_visibility(scene, surface, [sun])[:, 0]

    middle, narrow = penumbra(of(0.1), 0.5)
    assert middle == pytest.approx(-0.5 * 0.75, abs=0.05)
    # A disc of half-angle a has 0.8 of its light within 0.687 a of its middle, and stretches by 1 / cos² of the tilt.
    # The average over neighbours adds some three pixels, 0.06, in quadrature.
    expected = 2 * 0.687 * 0.1 * 0.5 / 0.64
    assert expected < narrow < np.hypot(expected, 0.1)
    assert penumbra(of(0.2), 0.5)[1] == pytest.approx(2 * expected, rel=0.15)
    assert penumbra(of(0.1), 1.0)[1] == pytest.approx(2 * expected, rel=0.15)


def test_a_cells_light_is_as_soft_as_the_cell_is_wide():
    cell = int(np.argmax(RICS_DIRECTIONS @ [0, 0, 1]))
    _, width = penumbra(lambda scene, surface: visibility.cell_visibility(scene, surface)[:, cell], 0.8)
    assert 0.5 * 0.8 * np.radians(30) < width < 1.1 * 0.8 * np.radians(30)


def test_a_step_in_depth_keeps_its_edge():
    """Averaging stops where the surface does: a low floor's pixels do not mix with a high table's beside them."""
    _, surface = traced(mesh(FLOOR), mesh(box((-2, -2, -2), (0, 2, -1.5))))
    spread = visibility.edge_aware_mean(surface)
    on_table = surface.point[surface.valid][:, 2] > -1.75
    mixed = spread @ on_table.astype(np.float32)
    assert np.abs(mixed - on_table).max() < 0.05
    assert np.allclose(spread.sum(1), 1, atol=1e-5)
    assert (spread @ np.random.default_rng(0).random(len(mixed)).astype(np.float32)).std() < 0.08  # it does average


def test_extrapolation_fills_what_is_wanted_and_nothing_else():
    image = np.zeros((5, 6, 3), np.float32)
    valid = np.zeros((5, 6), bool)
    valid[2, 2:4] = True
    image[2, 2], image[2, 3] = 1, 2
    wanted = np.zeros((5, 6), bool)
    wanted[1:4, 1:5] = True
    filled = visibility.extrapolate(image, valid, wanted)
    assert (filled[2, 1] == 1).all()
    assert (filled[1, 4] == 2).all()
    assert (filled[~wanted] == 0).all()
    assert (filled[valid] == image[valid]).all()
    assert not visibility.extrapolate(image, np.zeros((5, 6), bool), wanted)[~valid].any()


def test_an_empty_picture_is_no_error():
    scene, surface = traced(mesh(box((50, 50, -3), (51, 51, -2))))
    assert visibility.cell_visibility(scene, surface).shape == (0, 62)
    assert visibility.sun_visibility(scene, surface, [Sun(np.array([0, 0, 1.0]), np.ones(3), 0.1)]).shape == (0, 1)
