# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets: ours are there, a user's own is saved in the user's folder, and neither touches what belongs to a scene."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bpy
from penumbra.blender_addon.operators import presets

SCENE_SPECIFIC = {"character", "person", "plate", "output", "compare"}


def test_every_setting_is_in_the_presets_or_belongs_to_one_scene(scene: bpy.types.Scene) -> None:
    own = {p.identifier for p in scene.penumbra.bl_rna.properties} - {"rna_type", "name"}
    assert own == SCENE_SPECIFIC | set(presets.SETTINGS)


def test_ours_are_listed_and_set_what_they_say(scene: bpy.types.Scene) -> None:
    found = {p.stem: p for folder in bpy.utils.preset_paths(presets.FOLDER) for p in Path(folder).glob("*.py")}
    assert {"Still", "Animation", "Animation_for_Nuke"} <= set(found)
    scene.penumbra.output, scene.penumbra.ground = "//kept", False
    bpy.ops.script.execute_preset(
        filepath=str(found["Animation_for_Nuke"]), menu_idname="PENUMBRA_PT_harmonize_presets"
    )
    settings = scene.penumbra
    assert (settings.frames, settings.multilayer, settings.ground, settings.output) == ("RANGE", True, True, "//kept")
    bpy.ops.script.execute_preset(filepath=str(found["Still"]), menu_idname="PENUMBRA_PT_harmonize_presets")
    assert (settings.frames, settings.multilayer) == ("CURRENT", False)


def test_a_users_preset_is_kept_in_the_users_folder_and_removed(root: Path, tmp_path: Path) -> None:
    """In a Blender of its own, as the user's folder is known from the start."""
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path), "PYTHONPATH": str(root)}
    ended = subprocess.run(
        [sys.executable, "-c", _USER],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "as it was saved" in ended.stdout, ended.stdout + ended.stderr
    assert not list(tmp_path.rglob("Mine.py"))


_USER = """
import os
from pathlib import Path
from scripts import extension
package = extension.load()
import bpy
package.register()
settings = bpy.context.scene.penumbra
settings.frames, settings.ground_automatic, settings.ground_height = "RANGE", False, 1.5
bpy.ops.penumbra.harmonize_preset_add(name="Mine")
(saved,) = Path(os.environ["BLENDER_USER_RESOURCES"]).rglob("presets/penumbra/harmonize/Mine.py")
settings.frames, settings.ground_automatic, settings.ground_height = "CURRENT", True, 0.0
bpy.ops.script.execute_preset(filepath=str(saved), menu_idname="PENUMBRA_PT_harmonize_presets")
assert (settings.frames, settings.ground_automatic, settings.ground_height) == ("RANGE", False, 1.5)
bpy.ops.penumbra.harmonize_preset_add(name="Mine", remove_name=True)
assert not saved.exists()
print("as it was saved", flush=True)
os._exit(0)
"""
