# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras against Blender's own: its matrices, its projection helper, and the positions that Cycles' pixels see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.protocol import Camera
from backend.rays.camera import (
    crop_camera,
    fov_from_lens,
    look_at,
    orthographic,
    perspective,
    pixel_centres,
    primary_rays,
    project,
)

CASES = {
    "plain": {},
    "tall frame": {"size": (96, 160)},
    "shift": {"shift": (0.13, -0.21)},
    "vertical fit": {"fit": "VERTICAL", "shift": (-0.1, 0.2)},
    "horizontal fit of a tall frame": {"fit": "HORIZONTAL", "size": (96, 160), "shift": (0.1, 0.05)},
    "wide pixels": {"pixel_aspect": (2.0, 1.0), "shift": (0.1, 0.1)},
    "tall pixels": {"pixel_aspect": (1.0, 1.5), "size": (120, 100), "shift": (0.1, 0.1)},
    "tall pixels, vertical fit": {"pixel_aspect": (1.0, 1.5), "fit": "VERTICAL", "shift": (-0.2, 0.1)},
}
EYE, TARGET = (2.0, -5.0, 3.0), (0.2, 0.1, 0.8)


def _ours(kind: str, case: dict) -> Camera:
    width, height = case.get("size", (160, 90))
    options = {k: v for k, v in case.items() if k != "size"}
    options |= {"clip": (0.2, 80.0), "world_from_camera": look_at(EYE, TARGET)}
    if kind == "PERSP":
        sensor = 20.0 if case.get("fit") == "VERTICAL" else 36.0
        return perspective(width, height, fov_from_lens(42.0, sensor), **options)
    return orthographic(width, height, 3.7, **options)


def _blender_scene(kind: str, case: dict):
    bpy = pytest.importorskip("bpy")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene, camera = bpy.context.scene, bpy.data.cameras.new("Camera")
    camera.type, camera.lens, camera.ortho_scale = kind, 42.0, 3.7
    camera.sensor_width, camera.sensor_height, camera.sensor_fit = 36.0, 20.0, case.get("fit", "AUTO")
    camera.shift_x, camera.shift_y = case.get("shift", (0.0, 0.0))
    camera.clip_start, camera.clip_end = 0.2, 80.0
    render = scene.render
    render.resolution_x, render.resolution_y = case.get("size", (160, 90))
    render.resolution_percentage = 100
    render.pixel_aspect_x, render.pixel_aspect_y = case.get("pixel_aspect", (1.0, 1.0))
    scene.camera = bpy.data.objects.new("Camera", camera)
    scene.collection.objects.link(scene.camera)
    scene.camera.matrix_world = look_at(EYE, TARGET).T.tolist()
    bpy.context.view_layer.update()
    return bpy, scene


@pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
@pytest.mark.parametrize("name", CASES)
def test_matrix_and_projection_are_blenders(kind: str, name: str) -> None:
    case = CASES[name]
    bpy, scene = _blender_scene(kind, case)
    from bpy_extras.object_utils import world_to_camera_view
    from mathutils import Vector

    ours, render = _ours(kind, case), scene.render
    theirs = scene.camera.calc_matrix_camera(
        bpy.context.evaluated_depsgraph_get(),
        x=render.resolution_x,
        y=render.resolution_y,
        scale_x=render.pixel_aspect_x,
        scale_y=render.pixel_aspect_y,
    )
    np.testing.assert_allclose(ours.projection, np.array(theirs), rtol=2e-5, atol=2e-6)

    world = np.random.default_rng(0).uniform(-1, 1, (50, 3)) + TARGET
    view = np.array([world_to_camera_view(scene, scene.camera, Vector(p)) for p in world])
    in_camera = (np.c_[world, np.ones(50)] @ np.linalg.inv(ours.world_from_camera).T)[:, :3]
    pixels, depth = project(ours, in_camera)
    np.testing.assert_allclose(pixels, np.c_[view[:, 0], 1 - view[:, 1]] * [ours.width, ours.height], atol=2e-3)
    np.testing.assert_allclose(depth, view[:, 2], rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "name"), [("PERSP", "shift"), ("PERSP", "tall pixels, vertical fit"), ("ORTHO", "wide pixels")]
)
def test_rays_meet_what_cycles_pixels_see(kind: str, name: str, tmp_path: Path) -> None:
    """A plane whose emission is its position, rendered through a filter that is almost a point."""
    case = {**CASES[name], "size": (24, 16)}
    bpy, scene = _blender_scene(kind, case)
    mesh = bpy.data.meshes.new("Ground")
    mesh.from_pydata([(-50, -50, 0), (50, -50, 0), (50, 50, 0), (-50, 50, 0)], [], [(0, 1, 2, 3)])
    material = bpy.data.materials.new("Position")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    emission = nodes.new("ShaderNodeEmission")
    position = nodes.new("ShaderNodeNewGeometry").outputs["Position"]
    shift = nodes.new("ShaderNodeVectorMath")  # keeps positions positive, as light is
    shift.inputs[1].default_value = (50, 50, 0)
    links.new(position, shift.inputs[0])
    links.new(shift.outputs[0], emission.inputs["Color"])
    links.new(emission.outputs[0], nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    mesh.materials.append(material)
    scene.collection.objects.link(bpy.data.objects.new("Ground", mesh))

    render, settings = scene.render, scene.render.image_settings
    render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 4, False
    scene.cycles.pixel_filter_type, scene.cycles.filter_width = "GAUSSIAN", 0.01
    settings.file_format, settings.color_depth = "OPEN_EXR", "32"
    render.filepath = str(tmp_path / "position.exr")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(render.filepath)
    seen = np.array(image.pixels[:], np.float64).reshape(16, 24, 4)[::-1, :, :2] - 50

    ours = _ours(kind, case)
    origins, directions = primary_rays(ours, pixel_centres(ours))
    pose = ours.world_from_camera
    origins, directions = origins @ pose[:3, :3].T + pose[:3, 3], directions @ pose[:3, :3].T
    expected = origins - directions * (origins[..., 2:] / directions[..., 2:])
    hit = (directions[..., 2] < 0) & (np.abs(expected[..., :2]).max(axis=-1) < 40)
    assert hit.mean() > 0.5
    pixel = np.linalg.norm(expected[:, 1:, :2] - expected[:, :-1, :2], axis=-1)[hit[:, 1:] & hit[:, :-1]].min()
    error = np.linalg.norm(seen - expected[..., :2], axis=-1)[hit]
    assert np.median(error) < 0.05 * pixel  # half a pixel's error, or a flipped axis, is ten times more


def test_rays_invert_projection() -> None:
    for camera in (_ours("PERSP", CASES["tall pixels"]), _ours("ORTHO", CASES["shift"])):
        pixels = np.random.default_rng(2).uniform(-10, 130, (40, 2))
        origins, directions = primary_rays(camera, pixels)
        back, depth = project(camera, origins + 3.0 * directions)
        np.testing.assert_allclose(back, pixels, atol=1e-6)
        assert (depth > 0.2).all()
        np.testing.assert_allclose(origins[:, 2], -0.2, atol=1e-9)  # on the near clipping plane


def test_a_crop_sees_its_box() -> None:
    camera = _ours("PERSP", CASES["shift"])
    box = (10.25, -4.5, 74.25, 59.5)
    crop = crop_camera(camera, box, (128, 128))
    origins, directions = primary_rays(crop, np.array([[0.0, 0.0], [128.0, 128.0], [32.0, 96.0]]))
    pixels, _ = project(camera, origins + directions)
    np.testing.assert_allclose(pixels, [[10.25, -4.5], [74.25, 59.5], [26.25, 43.5]], atol=1e-6)


def test_points_behind_the_camera_have_no_pixel() -> None:
    pixels, depth = project(_ours("PERSP", {}), np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]))
    assert np.isnan(pixels[0]).all()
    assert depth[0] < 0
    np.testing.assert_allclose(pixels[1], [80, 45])


def test_look_at() -> None:
    pose = look_at((0, -3, 1), (0, 0, 1))  # Blender's front view
    np.testing.assert_allclose(pose[:3, :3] @ [1, 0, 0], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(pose[:3, :3] @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(pose[:3, :3] @ [0, 0, -1], [0, 1, 0], atol=1e-12)
    down = look_at((0, 0, 5), (0, 0, 0))[:3, :3]
    np.testing.assert_allclose(down.T @ down, np.eye(3), atol=1e-12)
    assert np.linalg.det(down) > 0
    with pytest.raises(ValueError, match="same point"):
        look_at((1, 2, 3), (1, 2, 3))
