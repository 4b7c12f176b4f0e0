# SPDX-License-Identifier: GPL-3.0-or-later
"""Built-in places: the sun in their panoramas, their shadows and their light agree; plates carry that light."""

from __future__ import annotations

import numpy as np
import pytest

from backend.images import srgb_decode
from backend.shading import landscapes, plates
from backend.shading.environments import HEIGHT, sample
from backend.shading.moments import Sources
from backend.shading.panorama import LUMINANCE
from backend.shading.place_light import CHEST, DAYLIT, Place, sunlight
from backend.shading.probe import Sun


@pytest.fixture(scope="module")
def square() -> Place:
    return Place(2)


def test_shadows_lie_where_the_sun_does_not_reach(square: Place) -> None:
    sun = Sun(np.array([0.6, 0.0, 0.8]), np.ones(3), 0.005)
    lit = sunlight(square.scene, square.point, square.normal, sun)
    blocked = square.scene.occluded(square.point, np.array([[0.6, 0.0, 0.8]], np.float32))
    facing = np.maximum(square.normal @ sun.direction, 0)
    assert (lit[blocked] < facing[blocked] + 1e-5).all()
    clear = (~blocked) & (facing > 0.5)
    assert np.median(lit[clear] / facing[clear]) > 0.99
    assert blocked[facing > 0.1].mean() > 0.01


def test_an_open_ground_under_an_even_sky_is_lit_as_the_formula_says() -> None:
    """Under a sky of radiance 1 a level surface in the open has shading 1, whatever else is far away."""
    place = Place(4)
    even = place.lit(0).scaled(0)
    even.image[:] = 1
    shading = place.gathering.light(even, (), np.zeros_like(place.point))
    up = (place.normal[:, 2] > 0.99) & (np.abs(place.point[:, 2]) < 0.01)
    near = up & (np.linalg.norm(place.point[:, :2], axis=1) < 1.5)
    assert np.median(shading[near]) == pytest.approx(1.0, abs=0.08)


def test_a_panorama_shows_the_place_at_its_true_directions(square: Place) -> None:
    environment = square.lit(1)
    chosen = np.random.default_rng(0).choice(len(square.seen), 500, replace=False)
    toward = square.point[chosen] - CHEST
    shown = sample(environment.picture, toward)
    pixels = environment.picture.reshape(-1, 3)[square.seen[chosen]]
    assert np.median(np.abs(shown - pixels) / (pixels + 1e-3)) < 0.02


def test_the_sun_is_where_its_disc_is() -> None:
    found = 0
    for seed in range(4):
        environment = Place(1).lit(seed)
        brightest = np.unravel_index(np.argmax(environment.picture @ LUMINANCE), (HEIGHT, 2 * HEIGHT))
        if not environment.suns:
            continue
        row, column = brightest
        polar, azimuth = (row + 0.5) * np.pi / HEIGHT, np.pi - (column + 0.5) * np.pi / HEIGHT
        there = [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)]
        assert there @ environment.suns[0].direction > np.cos(np.radians(2.5))
        found += 1
    assert found


def test_plates_come_with_the_light_of_their_camera() -> None:
    shard = plates.shard(Sources("test", [], []), 0, 0, 48)
    assert shard["plate"].shape == (48, 128, 128, 3)
    assert shard["radiance"].shape == (48, 62, 3)
    lengths = np.linalg.norm(shard["suns"][..., :3], axis=-1)
    assert np.isin(np.round(lengths, 4), (0.0, 1.0)).all()
    luminance = srgb_decode(shard["plate"].astype(np.float32) / 255) @ LUMINANCE
    # What lies straight ahead lights what faces it: a bright plate and a bright −z cell go together.
    ahead = (shard["radiance"] @ LUMINANCE)[:, _toward([0, 0, -1])]
    assert np.corrcoef(np.log(luminance.mean((1, 2)) + 0.01), np.log(ahead + 0.01))[0, 1] > 0.3


def _toward(direction: list[float]) -> int:
    from backend.rays.directions import RICS_DIRECTIONS

    return int(np.argmax(RICS_DIRECTIONS @ np.array(direction)))


def test_meadows_are_bright_away_from_a_low_sun() -> None:
    meadow = Place(DAYLIT + 1)
    land = (meadow.thing == 0) & (meadow.distance > 4) & (meadow.distance < 60)
    lit = meadow.sunlight(Sun(np.array([0.966, 0.0, 0.259]), np.ones(3), 0.005))
    toward, away = (land & (side * meadow.point[:, 0] > 3) & (lit > 0) for side in (1, -1))
    assert lit[away].mean() > 1.15 * lit[toward].mean()


def test_leaves_are_lit_through() -> None:
    wood = Place(DAYLIT + 2)
    assert wood.things.land
    thin = np.array(wood.things.thin)[wood.thing]
    leaves = (thin > 0) & (wood.thing > 0)
    sun = Sun(np.array([0.5, 0.0, 0.866]), np.ones(3), 0.005)
    behind = leaves & (wood.normal @ sun.direction < -0.3)
    lit = wood.sunlight(sun)[behind]
    assert lit.max() == pytest.approx(-thin[behind][0] * (wood.normal[behind] @ sun.direction).min(), rel=0.1)
    assert 0.02 < (lit > 0).mean() < 0.9  # other leaves are in the way of most


def test_the_land_is_level_where_the_person_stands() -> None:
    for seed in range(4):
        land = landscapes.build(DAYLIT + seed).land
        assert land
        near = np.random.default_rng(0).uniform(-2, 2, (100, 2))
        assert not land.height(near).any()
        assert np.abs(land.height(near * 60)).max() > 0.02
