# SPDX-License-Identifier: GPL-3.0-or-later
"""The gloss is what Cycles renders under the light that was found, and lies on the character as one more pass."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.blender_addon import compat, pass_nodes, passes, scene_light

from tests.blender_addon import cube, pixels
from tests.blender_addon import test_passes as made_up

SIZE = (96, 64)


@pytest.fixture
def shiny(scene, real_backend) -> bpy.types.Scene:
    """The scene with a metal hat and a polished body, and the real backend."""
    for name, metallic, roughness in (("Hat", 1.0, 0.3), ("Body", 0.0, 0.25)):
        shader = _shader(bpy.data.objects[name])
        shader.inputs["Metallic"].default_value, shader.inputs["Roughness"].default_value = metallic, roughness
    scene.penumbra.gloss = True
    return scene


def _shader(obj: bpy.types.Object) -> bpy.types.Node:
    material = obj.active_material
    return next(node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")


def _rendered_gloss(scene: bpy.types.Scene, path: Path) -> np.ndarray:
    """(H, W, 3) of the scene as it stands, by Cycles."""
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 256, False
    scene.cycles.use_adaptive_sampling = False
    scene.render.film_transparent, scene.render.use_compositing, scene.render.use_file_extension = True, False, False
    scene.cycles.filter_width = 1.5
    for switch, _ in compat.GLOSS_PASSES.values():
        setattr(scene.view_layers[0], switch, True)
    compat.set_exr(scene.render.image_settings, "32", multilayer=True)
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    layer = scene.view_layers[0].name
    found = {name: pixels.read_pass(path, f"{layer}.{label}", SIZE) for name, (_, label) in compat.GLOSS_PASSES.items()}
    return (found["gloss_direct"] + found["gloss_indirect"])[..., :3] * found["gloss_color"][..., :3]


@pytest.mark.slow
def test_gloss_is_that_of_the_light_found_and_metals_have_nothing_else(shiny, tmp_path: Path) -> None:
    assert bpy.ops.penumbra.harmonize() == {"FINISHED"}
    images = {role: pixels.load(tmp_path / "penumbra" / "Rig" / f"{role}_0001.exr") for role in ("albedo", "gloss")}
    alpha = images["albedo"][..., 3]
    inside = alpha > 0.99
    hat = inside & (images["albedo"][..., :3].max(-1) < 0.02)
    assert hat.sum() > 2, "a metal has no diffuse colour"
    assert np.flatnonzero(hat.any(1))[-1] < np.flatnonzero(inside.any(1))[0] + 6, "and the body below has one"
    assert images["gloss"][hat][:, :3].mean() > 0.02
    node = passes.result_node(shiny, "Rig")
    assert node.inputs[pass_nodes.GLOSS].default_value == 1
    scene_light.add(shiny, "Rig")
    expected = _rendered_gloss(shiny, tmp_path / "expected.exr")
    found = images["gloss"][..., :3]
    assert abs(found[inside].mean() / expected[inside].mean() - 1) < 0.05
    rows = [np.s_[k : k + 8, :] for k in range(0, 64, 8)]
    for row in rows:
        if inside[row].sum() > 30:
            assert found[row][inside[row]].mean() == pytest.approx(
                expected[row][inside[row]].mean(), rel=0.15, abs=2e-3
            )
    passes.remove_result(shiny, "Rig")
    assert bpy.ops.penumbra.load_result(directory=str(tmp_path / "penumbra" / "Rig")) == {"FINISHED"}
    assert pass_nodes.GLOSS in passes.result_node(shiny, "Rig").inputs
    shiny.penumbra.gloss = False
    assert bpy.ops.penumbra.harmonize() == {"FINISHED"}
    assert pass_nodes.GLOSS not in passes.result_node(shiny, "Rig").inputs


def test_the_compositor_adds_the_gloss_as_strong_as_its_slider_says(
    empty_scene: bpy.types.Scene, tmp_path: Path
) -> None:
    cube.rigged_cube(tmp_path)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    images = made_up.images(1)
    gloss = np.random.default_rng(5).uniform(0, 2, (cube.HEIGHT, cube.WIDTH, 3)).astype(np.float32)
    found = made_up.result(tmp_path / "job")
    pixels.save(tmp_path / "job" / "gloss_1.exr", gloss)
    frame = dataclasses.replace(found.frames[0], gloss="gloss_1.exr")
    found = dataclasses.replace(found, frames=(frame,))
    node = passes.apply_result(empty_scene, "Rig", found, tmp_path / "job", made_up.SETTINGS).node
    for strength in (0.0, 0.5, 1.0):
        node.inputs[pass_nodes.GLOSS].default_value = strength
        image = pixels.render(empty_scene, tmp_path / "image.exr")
        expected = pixels.composite(made_up.PLATE, images) + strength * gloss * images["albedo"][..., 3:]
        np.testing.assert_allclose(image[..., :3], expected, **made_up.CLOSE)
