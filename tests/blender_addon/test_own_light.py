# SPDX-License-Identifier: GPL-3.0-or-later
"""Light From Scene with the artist's own World and Suns: what Cycles makes of them is what lights the character."""

from __future__ import annotations

import json
import math
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Vector
from penumbra.backend.protocol import HarmonizeJob, PenumbraError
from penumbra.backend.rays.directions import RICS_DIRECTIONS
from penumbra.blender_addon import cli, compat, export, own_light, properties
from penumbra.blender_addon.character import find_cast

from tests.blender_addon import pixels

PICTURE = np.random.default_rng(3).uniform(0.1, 2.0, (8, 16, 3)).astype(np.float32)


def world_of(scene: bpy.types.Scene, turn: float = 0.0) -> bpy.types.World:
    """Give the scene a World of coarse blocks, turned about z, that shows the camera something red instead."""
    scene.world = world = bpy.data.worlds.new("Mine")
    compat.use_nodes(world)
    tree = world.node_tree
    image = bpy.data.images.new("blocks", 16, 8, float_buffer=True)
    image.colorspace_settings.name = "Linear Rec.709"
    image.pixels.foreach_set(np.dstack([PICTURE, np.ones((8, 16), np.float32)])[::-1].ravel())
    nodes = {kind: tree.nodes.new(f"ShaderNode{kind}") for kind in ("TexEnvironment", "Mapping", "TexCoord")}
    nodes["TexEnvironment"].image, nodes["TexEnvironment"].interpolation = image, "Closest"
    nodes["Mapping"].inputs["Rotation"].default_value[2] = turn
    background, output = tree.nodes["Background"], tree.nodes["World Output"]
    backdrop, path, mix = (tree.nodes.new(f"ShaderNode{kind}") for kind in ("Background", "LightPath", "MixShader"))
    backdrop.inputs["Color"].default_value = (9, 0, 0, 1)
    for source, target in (
        (nodes["TexCoord"].outputs["Generated"], nodes["Mapping"].inputs["Vector"]),
        (nodes["Mapping"].outputs["Vector"], nodes["TexEnvironment"].inputs["Vector"]),
        (nodes["TexEnvironment"].outputs["Color"], background.inputs["Color"]),
        (path.outputs["Is Camera Ray"], mix.inputs[0]),
        (background.outputs["Background"], mix.inputs[1]),
        (backdrop.outputs["Background"], mix.inputs[2]),
        (mix.outputs["Shader"], output.inputs["Surface"]),
    ):
        tree.links.new(source, target)
    return world


def sun_of(scene: bpy.types.Scene, toward: tuple[float, float, float]) -> bpy.types.Object:
    obj = bpy.data.objects.new("My Sun", bpy.data.lights.new("My Sun", "SUN"))
    obj.rotation_mode = "QUATERNION"
    obj.rotation_quaternion = Vector(toward).to_track_quat("Z", "Y")
    obj.data.energy, obj.data.color, obj.data.angle = 3.0, (1.0, 0.8, 0.6), math.radians(2)
    scene.collection.objects.link(obj)
    return obj


def test_a_world_is_seen_as_it_lights(scene, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(own_light, "ROWS", 64)
    world_of(scene, turn=-math.pi / 2)  # a quarter to the left, which is four blocks
    with own_light.panorama(scene, tmp_path) as panorama:
        seen = pixels.load(panorama.path(1))[..., :3]
        assert panorama.path(2) == panorama.path(1), "it does not move"
    middles = seen[4::8, 4::8]
    np.testing.assert_allclose(middles, np.roll(PICTURE, -4, 1), rtol=2e-3)


def test_a_world_that_moves_is_seen_in_every_frame(scene, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(own_light, "ROWS", 16)
    strength = world_of(scene).node_tree.nodes["Background"].inputs["Strength"]
    for frame in (1, 3):
        strength.default_value = frame
        strength.keyframe_insert("default_value", frame=frame)
    strength.default_value = 7.0
    with own_light.panorama(scene, tmp_path) as panorama:
        first, last = (pixels.load(panorama.path(frame))[..., :3].mean() for frame in (1, 3))
    assert last == pytest.approx(3 * first, rel=1e-3)
    assert strength.default_value == 7.0


def test_a_suns_light_is_what_cycles_makes_of_it(scene, tmp_path: Path) -> None:
    """A white plane that faces the Sun, by Cycles: exposure and temperature count."""
    toward = np.array((2, -3, 6)) / 7
    sun = sun_of(scene, tuple(toward))
    sun.data.exposure, sun.data.use_temperature, sun.data.temperature = 0.7, True, 3200
    for obj in [obj for obj in scene.objects if obj.type == "MESH"]:
        bpy.data.objects.remove(obj)
    turn = sun.rotation_quaternion
    bpy.ops.mesh.primitive_plane_add(size=4, rotation=turn.to_euler())
    material = bpy.data.materials.new("white")
    compat.use_nodes(material)
    material.node_tree.nodes.clear()
    white = material.node_tree.nodes.new("ShaderNodeBsdfDiffuse")
    white.inputs["Color"].default_value = (1, 1, 1, 1)
    output = material.node_tree.nodes.new("ShaderNodeOutputMaterial")
    material.node_tree.links.new(white.outputs["BSDF"], output.inputs["Surface"])
    bpy.context.object.data.materials.append(material)
    camera = scene.camera
    camera.location, camera.rotation_mode, camera.rotation_quaternion = Vector(toward) * 3, "QUATERNION", turn
    scene.world = None
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 16, False
    scene.render.resolution_x = scene.render.resolution_y = 8
    rendered = pixels.render(scene, tmp_path / "plane.exr")[..., :3].mean((0, 1))
    np.testing.assert_allclose(own_light.irradiance(sun.data), rendered, rtol=2e-3)


@pytest.mark.slow
def test_the_scenes_world_and_suns_light_the_result(scene, real_backend, tmp_path: Path) -> None:
    before = {name: set(getattr(bpy.data, name)) for name in ("worlds", "objects", "cameras", "materials", "scenes")}
    world_of(scene)
    toward = np.array((1, -2, 2)) / 3
    sun_of(scene, tuple(toward))
    scene.penumbra.estimator = properties.SCENE
    assert bpy.ops.penumbra.harmonize() == {"FINISHED"}
    light = json.loads((tmp_path / "penumbra" / "Rig" / "probe_0001.json").read_text())
    camera = np.array(light["world_from_camera"])
    np.testing.assert_allclose(camera, np.array(scene.camera.matrix_world)[:3, :3], atol=1e-6)
    (sun,) = light["suns"]
    np.testing.assert_allclose(camera @ sun["direction"], toward, atol=1e-6)
    np.testing.assert_allclose(sun["irradiance"], np.array((1, 0.8, 0.6)) * 3 / np.pi, rtol=1e-5)
    assert sun["half_angle"] == pytest.approx(math.radians(1))
    # The blocks as Blender's World has them: the middle column along +x, the left quarter along +y.
    x, y, z = (RICS_DIRECTIONS @ camera.T).T
    row = np.minimum(np.arccos(np.clip(z, -1, 1)) / np.pi * 8, 7.99).astype(int)
    column = ((0.5 - np.arctan2(y, x) / (2 * np.pi)) * 16).astype(int) % 16
    radiance = np.array(light["radiance"])
    assert np.corrcoef(radiance.ravel(), PICTURE[row, column].ravel())[0, 1] > 0.8
    added = {name: set(getattr(bpy.data, name)) - known for name, known in before.items()}
    assert {name: len(new) for name, new in added.items()} == {
        "worlds": 1, "objects": 1, "cameras": 0, "materials": 0, "scenes": 0,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("given", [True, False])
def test_a_farm_takes_the_scenes_light(scene, real_backend, tmp_path: Path, capsys, given: bool) -> None:
    """That of Light from Plate, or the artist's own; and all is made anew when it has changed."""
    if given:
        bpy.ops.penumbra.harmonize()
        found = tmp_path / "penumbra" / "Rig" / "probe_0001.json"
        shines = {"direction": [0.48, 0.6, 0.64], "irradiance": [1, 1, 1], "half_angle": 0.01}
        found.write_text(json.dumps({**json.loads(found.read_text()), "suns": [shines]}))
        bpy.ops.penumbra.light_from_plate()
        sun = bpy.data.objects["Sun of Rig"]
    else:
        scene.world, sun = None, sun_of(scene, (1, -2, 2))
    sun.data.color, sun.data.energy = (0.0, 1.0, 0.0), math.pi
    scene.penumbra.estimator = properties.SCENE
    bpy.ops.wm.save_mainfile()
    out, said = tmp_path / "out", []
    for energy in (math.pi, math.pi, 2 * math.pi):
        sun.data.energy = energy
        bpy.ops.wm.save_mainfile()
        assert cli.main(["harmonize", "--frames", "1", "--out", str(out)]) == cli.DONE
        light = json.loads((out / "Rig" / "probe_0001.json").read_text())
        np.testing.assert_allclose(light["suns"][0]["irradiance"], [0, energy / math.pi, 0], atol=1e-5)
        said.append("1 made" in capsys.readouterr().out)
    assert said == [True, False, True]


def test_a_world_whose_picture_is_lost_is_refused(scene, tmp_path: Path) -> None:
    image = next(n.image for n in world_of(scene).node_tree.nodes if getattr(n, "image", None))
    own_light.check(scene)
    image.filepath_raw, image.file_format = str(tmp_path / "set.hdr"), "HDR"
    image.save()
    own_light.check(scene)
    (tmp_path / "set.hdr").unlink()
    with pytest.raises(PenumbraError, match=r"set\.hdr is missing"):
        own_light.check(scene)


def test_a_scene_without_light_is_refused(scene, tmp_path: Path) -> None:
    scene.world, settings = None, export.ExportSettings(own_light=True)
    cast = find_cast([bpy.data.objects["Rig"]], bpy.context.view_layer)
    with pytest.raises(PenumbraError, match="no World and no Sun"):
        export.check(scene, cast, settings)
    sun_of(scene, (0, 0, 1))
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
    scene.collection.objects.link(lamp)
    exported = export.export_frames(scene, bpy.context.view_layer, cast, (1,), tmp_path / "job", settings)
    assert any("point, spot and area lights are left out" in notice for notice in exported.notices)
    (frame,) = HarmonizeJob.load(tmp_path / "job").frames
    assert frame.light
    assert not frame.world
