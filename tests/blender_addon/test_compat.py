# SPDX-License-Identifier: GPL-3.0-or-later
"""One spelling for every supported Blender."""

from __future__ import annotations

import re
from pathlib import Path

import bpy
import pytest
from penumbra.blender_addon import compat

ADDON = Path(compat.__file__).parent


def test_only_compat_reads_the_version() -> None:
    readers = {path.name for path in ADDON.rglob("*.py") if re.search(r"app\.version\b", path.read_text("utf-8"))}
    assert readers <= {"compat.py"}


def test_a_compositor_is_created_and_removed(empty_scene: bpy.types.Scene) -> None:
    groups, images = len(bpy.data.node_groups), len(bpy.data.images)
    assert compat.compositor_tree(empty_scene) is None
    tree = compat.create_compositor_tree(empty_scene)
    assert compat.compositor_tree(empty_scene) == tree
    assert compat.final_input(tree) is None
    assert compat.create_final_input(tree) == compat.final_input(tree)
    assert len(tree.nodes) == 1
    compat.remove_compositor_tree(empty_scene)
    assert compat.compositor_tree(empty_scene) is None
    assert (len(bpy.data.node_groups), len(bpy.data.images)) == (groups, images)


def test_every_pass_exists(empty_scene: bpy.types.Scene) -> None:
    for switch, _ in compat.PASSES.values():
        setattr(empty_scene.view_layers[0], switch, True)
        assert getattr(empty_scene.view_layers[0], switch)


def test_curves_of_actions_strips_and_drivers_are_found(empty_scene: bpy.types.Scene) -> None:
    item = bpy.data.objects.new("Item", None)
    item.keyframe_insert("location", frame=1)
    item.driver_add("scale", 0)
    assert sorted(curve.data_path for curve in compat.fcurves(item.animation_data)) == ["location"] * 3 + ["scale"]
    track = item.animation_data.nla_tracks.new()
    track.strips.new("Strip", 1, item.animation_data.action)
    item.animation_data.action = None
    assert len(compat.fcurves(item.animation_data)) == pytest.approx(4)
