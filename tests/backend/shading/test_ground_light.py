# SPDX-License-Identifier: GPL-3.0-or-later
"""The ground that a plate shows colours the light from below, and no other."""

from __future__ import annotations

import numpy as np

from backend.protocol import Camera
from backend.rays.camera import look_at, perspective, pointing
from backend.rays.directions import RICS_DIRECTIONS, SOLID_ANGLES
from backend.shading.ground_light import TRUST, seen, with_ground
from backend.shading.panorama import cell_radiance
from backend.shading.photograph import background
from backend.shading.probe import LightProbe

EVEN = LightProbe(np.full((62, 3), 0.5, np.float32), np.zeros(3))
RED = np.array([0.8, 0.1, 0.1])


def tilted(degrees: float) -> Camera:
    """A camera that looks down by so much."""
    pose = look_at(pointing(0.4, np.radians(degrees)), np.zeros(3))
    return perspective(300, 200, np.radians(50), world_from_camera=pose)


def red_ground() -> np.ndarray:
    """A panorama of a blue sky over red ground."""
    panorama = np.tile(np.array([0.2, 0.3, 0.9], np.float32), (64, 128, 1))
    panorama[32:] = RED
    return panorama


def test_what_is_below_takes_the_grounds_colour_and_what_is_above_stays() -> None:
    camera = tilted(12)
    found = with_ground(EVEN, background(red_ground(), camera), camera)
    up = camera.world_from_camera[2, :3]
    above, below = RICS_DIRECTIONS @ up > 0, RICS_DIRECTIONS @ up < -0.3
    np.testing.assert_array_equal(found.radiance[above], EVEN.radiance[above])
    np.testing.assert_allclose(found.radiance[below], np.tile(0.5 * (RED / 0.5) ** TRUST, (below.sum(), 1)), rtol=0.05)
    shading = found.shade(np.ones((2, 62)), np.stack([-up, up]))
    assert shading[0, 0] > 1.5 * shading[0, 2], "what faces the ground is red"
    assert shading[1, 0] < 1.1 * shading[1, 2], "what faces the sky is not"


def test_light_from_below_comes_nearer_to_the_truth() -> None:
    camera = tilted(12)
    true = cell_radiance(red_ground(), camera.world_from_camera[:3, :3].T)
    found = with_ground(EVEN, background(red_ground(), camera), camera)
    weight = SOLID_ANGLES * np.maximum(-(RICS_DIRECTIONS @ camera.world_from_camera[2, :3]), 0)
    before, after = (np.abs(weight @ (probe.radiance - true)).sum() for probe in (EVEN, found))
    assert after < 0.65 * before


def test_a_plate_without_ground_tells_nothing_of_it() -> None:
    camera = tilted(-35)
    plate = background(red_ground(), camera)
    assert seen(plate, camera, camera.world_from_camera[2, :3]) is None
    assert with_ground(EVEN, plate, camera) is EVEN


def test_what_a_sun_spreads_stays_a_part_of_the_cells() -> None:
    camera = tilted(12)
    spread = np.full((62, 3), 0.1, np.float32)
    probe = LightProbe(EVEN.radiance, EVEN.constant, spread=spread)
    found = with_ground(probe, background(red_ground(), camera), camera)
    assert found.spread is not None
    np.testing.assert_allclose(found.spread / found.radiance, 0.2, rtol=1e-5)
