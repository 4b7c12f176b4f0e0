# SPDX-License-Identifier: GPL-3.0-or-later
"""The character is found from whatever of it is selected, and the rest of the scene has its roles."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest
from penumbra.backend.protocol import PenumbraError
from penumbra.blender_addon import character as characters

from tests.blender_addon import cube


@pytest.fixture
def scene(empty_scene: bpy.types.Scene, tmp_path: Path) -> bpy.types.Scene:
    """The rigged cube below an empty, with a hat on its bone, a skirt bound to its body, and a lamp post beside."""
    rig = cube.rigged_cube(tmp_path)
    root = bpy.data.objects.new("Root", None)
    empty_scene.collection.objects.link(root)
    rig.parent = root
    hat = cube.mesh_object("Hat", cube.CORNERS * 0.2)
    hat.parent, hat.parent_type, hat.parent_bone = rig, "BONE", "Bone"
    skirt = cube.mesh_object("Skirt", cube.CORNERS * 1.1)
    skirt.modifiers.new("Bind", "SURFACE_DEFORM").target = bpy.data.objects["Body"]
    cube.mesh_object("Post", cube.CORNERS)
    bpy.context.view_layer.update()
    return empty_scene


@pytest.mark.parametrize("selected", ["Rig", "Body", "Hat", "Skirt", "Root"])
def test_any_part_finds_the_whole(scene: bpy.types.Scene, selected: str) -> None:
    found = characters.cast_named([selected], bpy.context.view_layer)
    assert found.name == "Rig"
    assert {part.name for part in found.owners} == {"Body", "Hat", "Skirt"}
    assert characters.everybody(bpy.context.view_layer) == found


@pytest.mark.parametrize("selected", ["Post", "Camera"])
def test_what_has_no_armature_is_told(scene: bpy.types.Scene, selected: str) -> None:
    with pytest.raises(PenumbraError, match="no armature") as problem:
        characters.cast_named([selected], bpy.context.view_layer)
    assert "Ctrl P" in problem.value.remedy


def test_those_selected_are_one_cast(scene: bpy.types.Scene) -> None:
    rig, body = bpy.data.objects["Rig"].copy(), cube.mesh_object("Twin", cube.CORNERS)
    rig.name, rig.parent, body.parent = "Second", None, rig
    scene.collection.objects.link(rig)
    bpy.context.view_layer.update()
    layer = bpy.context.view_layer
    one, both = characters.find_cast([body], layer), characters.find_cast([body, bpy.data.objects["Hat"]], layer)
    assert (one.name, both.name) == ("Second", "Rig & Second")
    assert both == characters.everybody(layer)
    owners = {part.name: name for part, name in both.owners.items()}
    assert owners == {**dict.fromkeys(("Body", "Hat", "Skirt"), "Rig"), "Twin": "Second"}
    roles = characters.roles(one, layer)
    assert (roles[body], roles[bpy.data.objects["Body"]]) == ("character", "prop")


def test_roles_follow_flags_and_collections(scene: bpy.types.Scene) -> None:
    layer = bpy.context.view_layer
    for name in ("Excluded", "Hidden", "Held"):
        collection = bpy.data.collections.new(name)
        scene.collection.children.link(collection)
        item = cube.mesh_object(f"In {name}", cube.CORNERS)
        scene.collection.objects.unlink(item)
        collection.objects.link(item)
    layer.layer_collection.children["Excluded"].exclude = True
    bpy.data.collections["Hidden"].hide_render = True
    layer.layer_collection.children["Held"].holdout = True
    ground = cube.mesh_object("Ground", cube.CORNERS)
    ground.is_shadow_catcher = True
    wall = cube.mesh_object("Wall", cube.CORNERS)
    wall.is_holdout = True
    found = characters.roles(characters.everybody(layer), layer)
    roles = {item.name: role for item, role in found.items() if item.type == "MESH"}
    parts = dict.fromkeys(("Body", "Hat", "Skirt"), "character")
    others = {"Post": "prop", "Ground": "receiver", "Wall": "holdout", "In Held": "holdout"}
    assert roles == parts | others


def test_what_cannot_be_traced_is_named(scene: bpy.types.Scene) -> None:
    hair = bpy.data.objects.new("Hair", bpy.data.hair_curves.new("Hair"))
    scene.collection.objects.link(hair)
    hair.parent = bpy.data.objects["Body"]
    bpy.data.objects["Body"].modifiers.new("Fur", "PARTICLE_SYSTEM")
    bpy.data.objects["Body"].particle_systems[0].settings.type = "HAIR"
    found = characters.everybody(bpy.context.view_layer).untraceable
    assert len(found) == 2
    assert any("“Hair” is hair curves" in sentence for sentence in found)
    assert any("of “Body”" in sentence for sentence in found)
