# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare: left of the line the character as it was, right of it the result, in what the compositor renders."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.blender_addon import passes, wipe

from tests.blender_addon import cube, pixels
from tests.blender_addon.test_passes import CLOSE, PLATE, apply, images


@pytest.fixture
def scene(extension: None, empty_scene: bpy.types.Scene, tmp_path: Path) -> bpy.types.Scene:
    cube.rigged_cube(tmp_path)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    return empty_scene


def before() -> np.ndarray:
    albedo = images(1)["albedo"]
    return albedo[..., :3] * albedo[..., 3:] + PLATE * (1 - albedo[..., 3:])


@pytest.mark.parametrize("where", [0.0, 0.3, 0.5, 1.0])
def test_the_line_parts_before_from_after(scene: bpy.types.Scene, tmp_path: Path, where: float) -> None:
    apply(scene, tmp_path / "job")
    scene.penumbra.compare = where
    assert scene.penumbra.compare == pytest.approx(where)
    rendered = pixels.render(scene, tmp_path / "made.exr")
    column = round(where * cube.WIDTH)
    after = pixels.composite(PLATE, images(1))
    np.testing.assert_allclose(rendered[:, :column, :3], before()[:, :column], **CLOSE)
    np.testing.assert_allclose(rendered[:, column:, :3], after[:, column:], **CLOSE)
    assert abs(before() - after).mean() > 0.05
    assert (rendered[..., 3] == 1).all()


def test_the_line_of_two_characters_is_one_and_is_saved(scene: bpy.types.Scene, tmp_path: Path) -> None:
    apply(scene, tmp_path / "job")
    other = apply(scene, tmp_path / "job", name="Other").node
    scene.penumbra.compare = 0.25
    assert other.inputs["Compare"].default_value == 0.25
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    assert bpy.context.scene.penumbra.compare == 0.25
    assert {node.inputs["Compare"].default_value for node in passes.result_nodes(bpy.context.scene).values()} == {0.25}


def test_the_picture_fits_a_frame_of_another_size(scene: bpy.types.Scene, tmp_path: Path) -> None:
    """As the camera's frame in a viewport is; without fitting, its middle would be shown."""
    apply(scene, tmp_path / "job")
    scene.render.resolution_percentage = 50
    rendered = pixels.render(scene, tmp_path / "made.exr")[..., :3]
    whole = pixels.composite(PLATE, images(1))
    halved = whole.reshape(cube.HEIGHT // 2, 2, cube.WIDTH // 2, 2, 3).mean(axis=(1, 3))
    top, left = cube.HEIGHT // 4, cube.WIDTH // 4
    middle = whole[top : top + cube.HEIGHT // 2, left : left + cube.WIDTH // 2]
    assert rendered.shape == halved.shape
    assert abs(rendered - halved).mean() < 0.3 * abs(middle - halved).mean()


def test_off_it_changes_no_pixel(scene: bpy.types.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(scene, tmp_path / "job")
    rendered = pixels.render(scene, tmp_path / "made.exr")
    passes.remove_result(scene, "Rig")
    monkeypatch.setattr(wipe, "limited", lambda _group, strengths, _frame: strengths)
    apply(scene, tmp_path / "job")
    np.testing.assert_array_equal(rendered, pixels.render(scene, tmp_path / "made.exr"))
