# SPDX-License-Identifier: GPL-3.0-or-later
"""Light from Plate: what Cycles makes of its Sun and World is what the probe says; the artist's world stays."""

from __future__ import annotations

import json
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Matrix, Vector
from penumbra.backend.rays.directions import RICS_DIRECTIONS
from penumbra.backend.shading import formula
from penumbra.blender_addon import export, live_light, passes, properties, relight, scene_light

from tests.blender_addon import pixels

# A camera that looks along the world's +y and stands on its side: no axis of it is the world's.
ROLLED = np.array([(0, 0, -1), (1, 0, 0), (0, -1, 0)], float).T @ np.array([(0.6, 0, 0.8), (0, 1, 0), (-0.8, 0, 0.6)])


def probe(suns: int = 1) -> dict[str, object]:
    """Red light from the camera's right, blue from above it, and suns."""
    radiance = np.full((62, 3), 0.05)
    radiance[:, 0] += np.maximum(RICS_DIRECTIONS[:, 0], 0)
    radiance[:, 2] += np.maximum(RICS_DIRECTIONS[:, 1], 0) ** 2
    sun = {"direction": [-0.48, 0.6, 0.64], "irradiance": [0.9, 0.8, 0.5], "half_angle": 0.005}
    other = {"direction": [0.6, 0, 0.8], "irradiance": [0.2, 0.2, 0.4], "half_angle": 0.1}
    return {
        "radiance": radiance.tolist(),
        "constant": [0.02, 0.01, 0.03],
        "suns": [sun, other][:suns],
        "world_from_camera": ROLLED.tolist(),
    }


@pytest.fixture
def result(harmonized_by, scene, tmp_path: Path) -> Path:
    """The probe's file of a finished result."""
    harmonized_by("render")
    bpy.ops.penumbra.harmonize()
    path = tmp_path / "penumbra" / "Rig" / "probe_0001.json"
    path.write_text(json.dumps(probe()))
    return path


def test_cycles_agrees_with_the_probe(result: Path, scene: bpy.types.Scene, tmp_path: Path) -> None:
    assert bpy.ops.penumbra.light_from_plate() == {"FINISHED"}
    for obj in [obj for obj in scene.objects if obj.type == "MESH"]:
        bpy.data.objects.remove(obj)
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32)
    ball = bpy.context.object
    bpy.ops.object.shade_smooth()
    material = bpy.data.materials.new("white")
    if not material.node_tree:
        material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (1, 1, 1, 1)
    shader.inputs["Specular IOR Level"].default_value = 0
    shader.inputs["Roughness"].default_value = 1
    ball.data.materials.append(material)
    camera = bpy.data.objects.new("eye", bpy.data.cameras.new("eye"))
    scene.collection.objects.link(camera)
    rotation = Matrix(ROLLED.tolist())
    camera.matrix_world = Matrix.Translation(rotation @ Matrix.Translation((0, 0, 4)).translation) @ rotation.to_4x4()
    scene.camera, camera.data.type, camera.data.ortho_scale = camera, "ORTHO", 2.0
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 128, False
    scene.cycles.diffuse_bounces, scene.render.film_transparent = 0, True
    scene.render.resolution_x = scene.render.resolution_y = 48
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1
    scene.use_nodes = False
    if hasattr(scene, "compositing_node_group"):
        scene.compositing_node_group = None
    rendered = pixels.render(scene, tmp_path / "ball.exr")
    x, y = np.meshgrid((np.arange(48) + 0.5) / 24 - 1, 1 - (np.arange(48) + 0.5) / 24)
    inside = x * x + y * y < 0.8
    normals = np.stack([x, y, np.sqrt(np.maximum(1 - x * x - y * y, 0))], -1)[inside]
    said = probe()
    light = relight.changed(said, relight.Change())
    visible = np.ones((len(normals), 62))
    shaded = formula.shade(light.radiance, light.constant, visible, normals, light.lamps)
    error = rendered[inside][:, :3] - shaded
    assert np.abs(error).mean() < 0.02 * shaded.mean()
    assert np.abs(error.mean(0)).max() < 0.015 * shaded.mean()


def test_running_again_brings_the_same_datablocks_up_to_date(result: Path, scene: bpy.types.Scene) -> None:
    mine = scene.world or bpy.data.worlds.new("Mine")
    scene.world = mine
    result.write_text(json.dumps(probe(suns=2)))
    bpy.ops.penumbra.light_from_plate()
    world, suns = scene.world, scene_light.suns_of(scene, "Rig")
    assert world is not mine
    assert mine.users
    assert len(suns) == 2
    np.testing.assert_allclose(suns[0].data.energy, 0.9 * np.pi, rtol=1e-5)
    result.write_text(json.dumps({**probe(), "constant": [1, 1, 1]}))
    bpy.ops.penumbra.light_from_plate()
    assert scene.world == world
    assert [obj.name for obj in scene_light.suns_of(scene, "Rig")] == ["Sun of Rig"]
    assert len([w for w in bpy.data.worlds if scene_light.OWNER in w]) == 1
    picture = next(node.image for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeTexEnvironment")
    assert picture.packed_file
    assert np.array(picture.pixels)[:3].min() > 1


def test_a_turned_sun_lights_the_result_again_and_goes_back(result: Path, scene: bpy.types.Scene) -> None:
    folder, shape = result.parent, (64, 96)
    valid = np.zeros(shape, bool)
    valid[20:40, 30:60] = True
    count = int(valid.sum())
    toward_camera = np.tile(np.float16((0, 0, 1)), (count, 1))
    visible = {"cells": np.full((count, 62), 255, np.uint8), "suns": np.full((count, 1), 255, np.uint8)}
    np.savez(folder / "rics_0001.npz", valid=valid, normals=toward_camera, **visible)
    bpy.ops.penumbra.light_from_plate()
    (sun,) = scene_light.suns_of(scene, "Rig")
    light = relight.changed(probe(), relight.Change())
    sky = formula.shade(light.radiance, light.constant, np.ones((1, 62)), toward_camera[:1])[0, 0]
    # Toward the camera, which looks along the third column of its rotation turned about.
    sun.rotation_euler = Matrix(ROLLED.tolist()).col[2].to_track_quat("Z", "Y").to_euler()
    settle(scene)
    image = passes.role_image("Rig", "shading")
    assert image.filepath.endswith("relit_0001.exr")
    assert shown(valid)[0] == pytest.approx(sky + 0.9, rel=0.03)
    sun.data.energy = 0
    settle(scene)
    assert shown(valid)[0] == pytest.approx(sky, rel=0.03)
    bpy.ops.penumbra.light_from_plate()
    settle(scene)
    assert image.filepath.endswith("shading_0001.exr")


def settle(scene: bpy.types.Scene) -> None:
    """What Blender's window loop does: it evaluates, and calls timers until the light rests."""
    bpy.context.view_layer.update()
    while (wait := live_light.tick()) is not None:
        time.sleep(wait)


def shown(valid: np.ndarray) -> np.ndarray:
    """(3,) mean of the pixels that the result's shading shows."""
    image = passes.role_image("Rig", "shading")
    return np.array(image.pixels).reshape(*valid.shape, 4)[::-1][valid].mean(0)[:3]


def test_a_job_is_lit_by_the_sun_as_it_stands_in_the_scene(result: Path, scene: bpy.types.Scene, tmp_path) -> None:
    scene.penumbra.estimator = "scene"
    with pytest.raises(RuntimeError, match="use Light from Plate"):
        bpy.ops.penumbra.harmonize()
    bpy.ops.penumbra.light_from_plate()
    (sun,) = scene_light.suns_of(scene, "Rig")
    sun.rotation_euler = Vector((1, 2, 2)).to_track_quat("Z", "Y").to_euler()
    sun.data.energy, sun.data.color, sun.data.angle = 2 * np.pi, (1, 0.5, 0.25), 0.2
    scene.world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.5
    bpy.context.view_layer.update()
    cast = properties.chosen_cast(bpy.context)
    settings = properties.lit_settings(scene, cast.name)
    exported = export.export_frames(scene, bpy.context.view_layer, cast, (1,), tmp_path / "job", settings)
    light = json.loads((tmp_path / "job" / exported.job.frames[0].light).read_text())
    (lamp,) = light["suns"]
    np.testing.assert_allclose(ROLLED @ lamp["direction"], np.array((1, 2, 2)) / 3, atol=1e-6)
    np.testing.assert_allclose(lamp["irradiance"], [2, 1, 0.5], rtol=1e-5)
    assert lamp["half_angle"] == pytest.approx(0.1)
    np.testing.assert_allclose(light["radiance"], 0.5 * np.array(probe()["radiance"]), rtol=1e-5)


def test_the_artists_sun_is_not_turned_as_that_of_the_plate_was(result: Path, scene: bpy.types.Scene) -> None:
    result.write_text(json.dumps({**probe(), "told_shadow": {"turn": 30.0, "power": [1, 1, 1]}}))
    bpy.ops.penumbra.light_from_plate()
    assert "told_shadow" not in scene_light.probe_now(scene, "Rig")


def test_the_artists_sun_casts_as_deep_a_shadow_as_that_of_the_plate(result: Path, scene: bpy.types.Scene) -> None:
    found = probe()
    suns = [{**sun, "whole": 1.3} for sun in found["suns"]]
    spread = (0.1 * np.array(found["radiance"])).tolist()
    result.write_text(json.dumps({**found, "suns": suns, "spread": spread}))
    bpy.ops.penumbra.light_from_plate()
    scene.world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.5
    now = scene_light.probe_now(scene, "Rig")
    assert [sun["whole"] for sun in now["suns"]] == pytest.approx([1.3] * len(suns))
    np.testing.assert_allclose(now["spread"], 0.5 * np.array(spread), rtol=1e-5)


def test_without_the_probe_nothing_changes(result: Path, scene: bpy.types.Scene) -> None:
    result.unlink()
    before = scene.world
    with pytest.raises(RuntimeError, match="not beside its images"):
        bpy.ops.penumbra.light_from_plate()
    assert scene.world == before
    assert not scene_light.suns_of(scene, "Rig")
