# SPDX-License-Identifier: GPL-3.0-or-later
"""Panoramas, skies and plates: axes, energy and exposure."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.protocol import PenumbraError
from backend.rays.camera import look_at, perspective
from backend.rays.directions import pixel_directions
from backend.shading import environments
from backend.shading.environments import Environment, ground_albedo, load, sample, sky, upward_shading
from backend.shading.photograph import background, expose, photograph
from backend.shading.probe import Sun

RED, GREEN, BLUE = np.eye(3, dtype=np.float32)


def coloured() -> Environment:
    """Red toward +x, green toward +y, blue above; black elsewhere, and a sun at +y."""
    directions = pixel_directions(128, 256)
    image = np.stack([directions @ axis > 0.8 for axis in np.eye(3)], axis=-1).astype(np.float32)
    return Environment("coloured", image, image, (Sun(np.array([0, 0.8, 0.6]), np.ones(3), 0.01),))


def looking(direction: np.ndarray) -> np.ndarray:
    """What the middle of a plate shows of `coloured`."""
    camera = perspective(300, 200, np.radians(40), world_from_camera=look_at(np.zeros(3), direction))
    return background(coloured().image, camera, 64)


def test_a_camera_sees_the_panorama_the_right_way_round() -> None:
    for axis, colour in ((0, RED), (1, GREEN), (2, BLUE)):
        assert looking(np.eye(3)[axis])[32, 32] == pytest.approx(colour, abs=0.01)
    between = looking(np.array([1.0, 1.0, 0.2]) / np.sqrt(2))  # +y lies left of +x
    wide = background(
        coloured().image, perspective(300, 100, np.radians(100), world_from_camera=look_at(np.zeros(3), [1, 1, 0])), 64
    )
    assert between[32, 32] == pytest.approx([0, 0, 0], abs=0.01)
    assert wide[32, 3] == pytest.approx(GREEN, abs=0.01)
    assert wide[32, 60] == pytest.approx(RED, abs=0.01)


def test_turning_and_mirroring_move_picture_and_suns_together() -> None:
    turned = coloured().rotated(0.25)  # +x to +y, +y to -x
    assert sample(turned.image, np.array([0.0, 1, 0])) == pytest.approx(RED, abs=0.01)
    assert sample(turned.picture, np.array([-1.0, 0, 0])) == pytest.approx(GREEN, abs=0.01)
    assert turned.suns[0].direction == pytest.approx([-0.8, 0, 0.6])
    mirrored = coloured().mirrored()
    assert sample(mirrored.image, np.array([0.0, -1, 0])) == pytest.approx(GREEN, abs=0.01)
    assert mirrored.suns[0].direction == pytest.approx([0, -0.8, 0.6])


def test_even_light_shades_a_level_surface_one() -> None:
    white = np.ones((64, 128, 3), np.float32)
    assert upward_shading(white) == pytest.approx([1, 1, 1], abs=1e-3)
    sun = Sun(np.array([0, 0.8, 0.6]), np.array([2.0, 1.0, 0.5]), 0.01)
    assert upward_shading(white * 0, (sun,)) == pytest.approx([1.2, 0.6, 0.3])


def test_the_ground_takes_its_albedo_from_the_lower_half() -> None:
    image = np.ones((64, 128, 3), np.float32)
    image[32:] = [0.3, 0.2, 0.9]
    assert ground_albedo(Environment("", image, image)) == pytest.approx([0.3, 0.2, 0.6], abs=1e-3)


def test_a_panorama_file_keeps_its_colours_and_its_suns_energy(tmp_path: Path) -> None:
    image = np.full((512, 1024, 3), [0.4, 0.2, 0.1], np.float32)
    directions = pixel_directions(512, 1024)
    toward = np.array([0.6, 0.0, 0.8])
    image[directions @ toward > np.cos(np.radians(1.5))] = 4000.0
    cv2.imwrite(str(tmp_path / "place.hdr"), image[..., ::-1])
    environment = load(tmp_path / "place.hdr")
    assert len(environment.suns) == 1
    sun = environment.suns[0]
    assert np.degrees(np.arccos(sun.direction @ toward)) < 0.5
    assert sun.irradiance == pytest.approx(np.full(3, 4000 * np.sin(np.radians(1.5)) ** 2), rel=0.05)
    assert environment.image[-1, 0] == pytest.approx([0.4, 0.2, 0.1], rel=0.02)
    assert environment.image.max() < 1 < environment.picture.max()


def test_what_is_no_panorama_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.hdr").write_bytes(b"nothing")
    with pytest.raises(PenumbraError, match=r"no\.hdr"):
        load(tmp_path / "no.hdr")


def test_skies_are_bright_above_and_show_their_sun() -> None:
    skies = [sky(seed) for seed in range(12)]
    sunny = [s for s in skies if s.suns and s.suns[0].irradiance.max() > 1]
    assert 3 < len(sunny) < 12
    for each in skies:
        assert np.isfinite(each.picture).all()
        assert each.image.min() >= 0
        assert each.image[:128].mean() > each.image[128:].mean()
    for each in sunny:
        sun = each.suns[0]
        assert sun.direction[2] > 0
        assert sample(each.picture, sun.direction).mean() > 20 * np.median(each.picture)
    assert (sky(3).picture == skies[3].picture).all()


def test_an_exposure_scales_with_the_light_and_spares_the_person() -> None:
    plates = np.random.default_rng(0).uniform(0.01, 2, (3, 32, 32, 3))
    person = np.array([0.5, 0.6, 0.7])
    gain = expose(plates, person, np.random.default_rng(1))
    assert expose(plates * 10, person * 10, np.random.default_rng(1)) == pytest.approx(gain / 10, rel=1e-6)
    for seed in range(20):  # a dark person before bright windows, and a bright one before the night
        for plate, subject in ((100.0, 0.1), (0.001, 5.0)):
            chosen = expose(plates * plate, np.full(3, subject), np.random.default_rng(seed))
            assert 0.05 < (chosen * subject).mean() < 2.5


def test_photographs_clip_and_encode_for_display() -> None:
    for seed in range(10):
        steps = np.repeat(np.array([0.0, 0.02, 0.2, 0.9, 5.0], np.float32), 32)[None, :, None] * np.ones((64, 1, 3))
        photo = photograph(steps, np.random.default_rng(seed))
        levels = [int(photo[:, i * 32 + 8 : i * 32 + 24].mean()) for i in range(5)]
        assert photo.dtype == np.uint8
        assert levels == sorted(levels)
        assert levels[0] < 20
        assert 80 < levels[2] < 165
        assert levels[4] > 235


def test_blenders_studio_panoramas_are_found() -> None:
    pytest.importorskip("bpy")
    assert len(environments.studio_panoramas()) == 8
