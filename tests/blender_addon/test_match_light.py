# SPDX-License-Identifier: GPL-3.0-or-later
"""Match Light to Person: whose meshes the job names, and who is lit by them."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest
from penumbra.backend.protocol import PROP, HarmonizeJob, PenumbraError, load_meshes
from penumbra.blender_addon import export, passes, properties
from penumbra.blender_addon.character import everybody


@pytest.fixture
def person(scene: bpy.types.Scene) -> bpy.types.Object:
    """A rigged mesh beside the character, selected alone; returns its armature."""
    source = bpy.data.objects["Rig"]
    rig = bpy.data.objects.new("Person 1", source.data.copy())
    body = bpy.data.objects.new("Person 1 Body", bpy.data.objects["Body"].data.copy())
    rig.location.x = body.location.x = 1.0
    for obj in (rig, body):
        scene.collection.objects.link(obj)
    body.modifiers.new("Armature", "ARMATURE").object = rig
    source.select_set(False)
    body.select_set(True)
    bpy.context.view_layer.objects.active = body
    return rig


def test_the_selected_person_lights_the_other_character(person, harmonized_by, scene, tmp_path: Path) -> None:
    harmonized_by("render")
    assert bpy.ops.penumbra.match_light() == {"FINISHED"}
    assert list(passes.result_nodes(scene)) == ["Rig"]
    settings = scene.penumbra
    assert (settings.estimator, settings.person.name) == ("person", "Person 1 Body")
    assert properties.chosen_cast(bpy.context).names == ("Rig",)
    settings.person = person
    asked = properties.lit_settings(scene, "Rig")
    layer = bpy.context.view_layer
    cast = properties.to_be_lit(scene, everybody(layer))
    job = export.export_frames(scene, layer, cast, (1,), tmp_path / "job", asked).job
    assert job.match == ("Person 1 Body",)
    assert HarmonizeJob.load(tmp_path / "job").match == job.match
    roles = {mesh.name: mesh.role for mesh in load_meshes(tmp_path / "job" / job.frames[0].meshes)}
    assert roles["Person 1 Body"] == PROP
    assert job.characters == {"Rig": ["Body", "Hat"]}
    settings.estimator = "probenet"
    assert properties.lit_settings(scene, "Rig").match == ()
    assert set(everybody(layer).names) == set(properties.to_be_lit(scene, everybody(layer)).names)


def test_what_is_missing_is_said_and_the_settings_stay(person, harmonized_by, scene) -> None:
    harmonized_by("render")
    bpy.data.objects["Person 1 Body"].hide_render = True
    with pytest.raises(RuntimeError, match="no mesh that is rendered"):
        bpy.ops.penumbra.match_light()
    assert (scene.penumbra.estimator, scene.penumbra.person) == ("probenet", None)
    scene.penumbra.estimator = "person"
    with pytest.raises(PenumbraError, match="No mesh is chosen"):
        properties.lit_settings(scene, "Rig")
    bpy.data.objects["Person 1 Body"].hide_render = False
    scene.penumbra.person = person
    for name in ("Body", "Hat"):
        bpy.data.objects.remove(bpy.data.objects[name])
    with pytest.raises(PenumbraError):
        properties.chosen_cast(bpy.context)
    bpy.context.view_layer.objects.active = None
    assert not bpy.ops.penumbra.match_light.poll()
