# SPDX-License-Identifier: GPL-3.0-or-later
"""The plate as the frame shows it: any kind of image, in linear light, the right way up, framed as Blender does it."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.backend.protocol import PenumbraError
from penumbra.blender_addon import plate as plates
from penumbra.blender_addon.export import ExportSettings
from penumbra.blender_addon.plate import Plate, framed

from tests.blender_addon import cube, pixels

LINEAR = pixels.srgb_decode(cube.plate_codes())


@pytest.fixture
def scene(empty_scene: bpy.types.Scene, tmp_path: Path) -> bpy.types.Scene:
    cube.rigged_cube(tmp_path)
    return empty_scene


def written(scene: bpy.types.Scene, folder: Path, frame: int = 1, image: str | None = None) -> np.ndarray:
    plate = plates.find_plate(scene, ExportSettings(plate=image), frame)
    return pixels.load(plates.write_plate(plate, frame, scene.render, folder))


def test_an_8_bit_photograph_is_decoded(scene: bpy.types.Scene, tmp_path: Path) -> None:
    made = written(scene, tmp_path)
    assert made.shape == (cube.HEIGHT, cube.WIDTH, 4)
    np.testing.assert_allclose(made[..., :3], LINEAR, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(("bits", "kind"), [("16", "PNG"), ("16", "TIFF"), ("32", "OPEN_EXR")])
def test_any_bit_depth(scene: bpy.types.Scene, tmp_path: Path, bits: str, kind: str) -> None:
    image = bpy.data.images.new("Deep", cube.WIDTH, cube.HEIGHT, float_buffer=True)
    image.pixels.foreach_set(np.dstack([LINEAR, np.ones(LINEAR.shape[:2])])[::-1].astype(np.float32).ravel())
    settings = scene.render.image_settings
    settings.file_format, settings.color_depth = kind, bits
    scene.view_settings.view_transform = "Standard"
    image.save_render(str(tmp_path / "deep"), scene=scene)
    bpy.data.images.load(str(tmp_path / "deep")).name = "Loaded"
    made = written(scene, tmp_path, image="Loaded")
    np.testing.assert_allclose(made[..., :3], LINEAR, rtol=3e-3, atol=1e-4)


def test_a_sequence_has_a_file_a_frame(scene: bpy.types.Scene, tmp_path: Path) -> None:
    for number in (7, 8, 9):
        pixels.save(tmp_path / f"shot_{number:03d}.exr", np.full((cube.HEIGHT, cube.WIDTH, 3), number / 10))
    background = scene.camera.data.background_images[0]
    background.image = bpy.data.images.load(str(tmp_path / "shot_007.exr"))
    background.image.source = "SEQUENCE"
    user = background.image_user
    user.frame_start, user.frame_duration, user.frame_offset = 21, 3, 6
    for frame, value in ((21, 0.7), (22, 0.8), (23, 0.9), (30, 0.9)):
        assert written(scene, tmp_path, frame)[5, 5, 0] == pytest.approx(value, rel=1e-3), frame
    with pytest.raises(PenumbraError, match=r"frame 20 is missing: shot_006\.exr"):
        written(scene, tmp_path, 20)
    user.use_cyclic = True
    assert written(scene, tmp_path, 24)[5, 5, 0] == pytest.approx(0.7, rel=1e-3)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("STRETCH", (0, 0, 40, 20)), ("FIT", (10, 0, 30, 20)), ("CROP", (0, -10, 40, 30))],
)
def test_a_square_photograph_in_a_wide_frame(method: str, expected: tuple[int, int, int, int]) -> None:
    """A ramp from 0 to 1 across a square image shows where its edges (left, top, right, bottom) come to lie."""
    ramp = (np.arange(40) + 0.5) / 40
    photo = np.dstack([np.tile(ramp, (40, 1)), np.tile(ramp[:, None], (1, 40)), np.ones((40, 40))])
    made = framed(photo.astype(np.float32), Plate(None, method), (40, 20))
    left, top, right, bottom = expected
    x, y = np.meshgrid(np.arange(40) + 0.5, np.arange(20) + 0.5)
    inside = (x > left) & (x < right)
    np.testing.assert_array_equal(made[..., 2] > 0.5, inside)
    deep = (x > left + 2) & (x < right - 2) & (y > top + 2) & (y < bottom - 2)
    np.testing.assert_allclose(made[..., 0][deep], ((x - left) / (right - left))[deep], atol=2e-3)
    np.testing.assert_allclose(made[..., 1][deep], ((y - top) / (bottom - top))[deep], atol=2e-3)


def test_scale_offset_and_flip() -> None:
    photo = np.zeros((20, 20, 1), np.float32)
    photo[:10, :10] = 1  # the upper left quarter
    moved = framed(photo, Plate(None, "STRETCH", 0.5, (0.25, 0.25), True, False), (20, 20))
    assert np.argwhere(moved[..., 0] > 0.5).min(axis=0).tolist() == [0, 15]
    assert np.argwhere(moved[..., 0] > 0.5).max(axis=0).tolist() == [4, 19]


def test_shrinking_keeps_the_mean() -> None:
    noise = np.random.default_rng(0).uniform(0, 1, (360, 640, 3)).astype(np.float32)
    small = framed(noise, Plate(None, "STRETCH"), (64, 36))
    assert small.mean() == pytest.approx(0.5, abs=0.005)
    assert small.std() < 0.04  # each pixel is the mean of a hundred and more
