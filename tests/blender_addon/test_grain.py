# SPDX-License-Identifier: GPL-3.0-or-later
"""Grain and Blur of a result's node: 0 changes no pixel, 1 is what was measured in the plate, on the character only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.blender_addon import passes, result_files

from tests.blender_addon import cube, pixels
from tests.blender_addon.test_passes import CLOSE, PLATE, SETTINGS, images, result

BLUR = 1.1


@pytest.fixture
def scene(empty_scene: bpy.types.Scene, tmp_path: Path) -> bpy.types.Scene:
    cube.rigged_cube(tmp_path)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    return empty_scene


def grain() -> np.ndarray:
    """Of a character whose coverage is that of `images`."""
    drawn = np.random.default_rng(3).normal(0, 0.05, (cube.HEIGHT, cube.WIDTH, 3))
    return (drawn * images(1)["albedo"][..., 3:]).astype(np.float32)


def blurred(image: np.ndarray, deviation: float) -> np.ndarray:
    """By a Gaussian, along both axes; what lies beyond the frame is as its edge."""
    reach = int(4 * deviation)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    for axis in (0, 1):
        wide = np.pad(image, [(reach, reach) if axis == k else (0, 0) for k in range(3)], "edge")
        image = np.apply_along_axis(np.convolve, axis, wide, bell / bell.sum(), "valid")
    return image


def test_off_changes_no_pixel_and_on_is_what_was_measured(
    scene: bpy.types.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = result(tmp_path / "job")
    node = passes.apply_result(scene, "Rig", plain, tmp_path / "job", SETTINGS).node
    before = pixels.render(scene, tmp_path / "made.exr")
    pixels.save(tmp_path / "job" / "grain_1.exr", grain())
    grainy = dataclasses.replace(plain, frames=(dataclasses.replace(plain.frames[0], grain="grain_1.exr"),))
    monkeypatch.setattr(result_files, "records_of", lambda *_: {"1": {"photograph": {"blur": BLUR}}})
    passes.apply_result(scene, "Rig", grainy, tmp_path / "job", SETTINGS)
    np.testing.assert_array_equal(pixels.render(scene, tmp_path / "made.exr"), before)

    node.inputs["Grain"].default_value = 0.5
    made = pixels.render(scene, tmp_path / "made.exr")
    np.testing.assert_allclose(made[..., :3] - before[..., :3], 0.5 * grain(), **CLOSE)

    node.inputs["Grain"].default_value, node.inputs["Blur"].default_value = 0, 1
    made = pixels.render(scene, tmp_path / "made.exr")[..., :3]
    said = images(1)
    alpha = said["albedo"][..., 3:]
    parts = np.dstack([alpha * said["albedo"][..., :3] * said["shading"], alpha])
    soft = blurred(parts, BLUR)
    expected = PLATE * said["shadow"] * (1 - soft[..., 3:]) + soft[..., :3]
    away = (expected - pixels.composite(PLATE, said)) ** 2
    assert ((made - expected) ** 2).mean() < 0.01 * away.mean()
    clear = blurred(alpha, 3)[..., 0] == 0
    np.testing.assert_array_equal(made[clear], before[clear][:, :3])
