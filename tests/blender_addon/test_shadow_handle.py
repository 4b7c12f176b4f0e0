# SPDX-License-Identifier: GPL-3.0-or-later
"""The shadow's tip: where it is, what dragging it does to the Sun, and what the result's shadow makes of that."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Vector
from penumbra.blender_addon import passes, relight, scene_light, shadow_handle

from tests.blender_addon.test_scene_light import probe, result, settle  # noqa: F401 (a fixture)


@pytest.fixture
def cast(result: Path, scene: bpy.types.Scene) -> Path:  # noqa: F811
    """Beside the result's images a pole of 1.8 m on the ground, and light from the plate."""
    camera = scene.camera.matrix_world.normalized()
    into = np.array(camera.inverted())
    projection = np.array(scene.camera.calc_matrix_camera(bpy.context.evaluated_depsgraph_get(), x=96, y=64))
    unproject = np.linalg.inv(projection)
    row, column = np.mgrid[:64:2, :96:2] + 0.5
    ends = [
        np.stack([2 * column / 96 - 1, 1 - 2 * row / 64, np.full(row.shape, z), np.ones(row.shape)], -1) @ unproject.T
        for z in (-1.0, 1.0)
    ]
    near, far = (end[..., :3] / end[..., 3:] for end in ends)
    up = into[:3, 2]
    down = (far - near) @ up
    share = (-np.array(camera)[2, 3] - near @ up) / np.where(down < 0, down, -1e-9)
    valid = (down < 0) & (share > 0) & (share < 1)
    point = near + share[..., None] * (far - near)
    corners = np.array([(x, y, z) for z in (0.0, 1.8) for x, y in ((-0.2, 0), (0.1, 0.17), (0.1, -0.17))])
    sides = [(0, 1, 4), (0, 4, 3), (1, 2, 5), (1, 5, 4), (2, 0, 3), (2, 3, 5)]
    np.savez(
        result.parent / "cast_0001.npz",
        shape=np.array((64, 96)),
        characters=np.array(1),
        projection=projection,
        half_angle=np.array(np.nan),
        valid=valid,
        depth=-point[valid][:, 2],
        normals=np.tile(np.float16(up), (valid.sum(), 1)),
        sky0=np.ones((valid.sum(), 3), np.float16),
        vertices0=(corners @ into[:3, :3].T + into[:3, 3]).astype(np.float32),
        triangles0=np.array(sides, np.int32),
    )
    rotation = [list(row)[:3] for row in camera][:3]
    result.write_text(json.dumps({**probe(), "world_from_camera": rotation}))
    bpy.ops.penumbra.light_from_plate()
    return result.parent


def test_the_tip_is_where_the_sun_casts_the_top(cast: Path, scene: bpy.types.Scene) -> None:
    top, ground = shadow_handle.caster(scene, "Rig")
    assert top.z == pytest.approx(1.8, abs=1e-4)
    assert ground == pytest.approx(0, abs=1e-4)
    (sun,) = scene_light.suns_of(scene, "Rig")
    shadow_handle.move_tip(sun, top, ground, Vector((1.5, -0.5, 0)))
    bpy.context.view_layer.update()
    assert np.allclose(shadow_handle.tip(sun, top, ground), (1.5, -0.5, 0), atol=1e-4)
    shadow_handle.move_tip(sun, top, ground, Vector((1e4, 0, 0)))  # as low as it goes
    bpy.context.view_layer.update()
    assert np.degrees(np.arcsin(sun.matrix_world.col[2].z)) == pytest.approx(2.0, abs=0.01)


def test_a_mouse_above_the_horizon_is_far_away_on_the_ground() -> None:
    assert np.allclose(shadow_handle.ground_under(Vector((0, 0, 1)), Vector((0, 1, -1)), 0, 50), (0, 1, 0))
    assert np.allclose(shadow_handle.ground_under(Vector((0, 0, 1)), Vector((0, 1, 0.2)), 0, 50), (0, 50, 0))


def test_the_shadow_follows_and_goes_back(cast: Path, scene: bpy.types.Scene) -> None:
    valid = np.zeros((64, 96), bool)
    valid[20:40, 30:60] = True
    count = int(valid.sum())
    kept = {"normals": np.tile(np.float16((0, 0, 1)), (count, 1)), "cells": np.full((count, 62), 255, np.uint8)}
    np.savez(cast / "rics_0001.npz", valid=valid, suns=np.full((count, 1), 255, np.uint8), **kept)
    image = passes.role_image("Rig", "shadow")
    (sun,) = scene_light.suns_of(scene, "Rig")
    top, ground = shadow_handle.caster(scene, "Rig")
    for place in ((0.9, 0.4, 0.0), (-1.2, 0.3, 0.0)):
        shadow_handle.move_tip(sun, top, ground, Vector(place))
        settle(scene)
        assert Path(image.filepath).name == "relitshadow_0001.exr"
        ratio = np.array(image.pixels).reshape(64, 96, 4)[::-1, :, 0]
        half_way = _pixel(scene, 0.6 * Vector(place))
        mirrored = _pixel(scene, -0.6 * Vector(place))
        assert ratio[half_way] < 0.75
        assert ratio[mirrored] > 0.95
    bpy.ops.penumbra.light_from_plate()
    settle(scene)
    assert Path(image.filepath).name == "shadow_0001.exr"


def test_a_shadow_that_cannot_be_cast_again_stays(result: Path, scene: bpy.types.Scene) -> None:  # noqa: F811
    assert shadow_handle.caster(scene, "Rig") is None
    relight.show(scene, "Rig", {"shading"})
    assert Path(passes.role_image("Rig", "shadow").filepath).name == "shadow_0001.exr"


def _pixel(scene: bpy.types.Scene, place: Vector) -> tuple[int, int]:
    from bpy_extras.object_utils import world_to_camera_view

    at = world_to_camera_view(scene, scene.camera, place)
    return int((1 - at.y) * 64), int(at.x * 96)
