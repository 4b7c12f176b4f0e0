# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets of the Harmonize Shading panel: Blender's own menu, with ours beside those that the user has saved.

What belongs to one scene is left out: the character, the plate, and where the images go.
"""

from __future__ import annotations

from pathlib import Path

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

FOLDER = "penumbra/harmonize"
SETTINGS = (
    "frames",
    "estimator",
    "shadow",
    "softness_automatic",
    "softness",
    "ground",
    "ground_automatic",
    "ground_height",
    "gloss",
    "multilayer",
)


class PENUMBRA_PT_harmonize_presets(PresetPanel, bpy.types.Panel):  # noqa: N801 (Blender's naming)
    """The menu behind the icon in the panel's header."""

    bl_label = "Harmonize Presets"
    preset_subdir = FOLDER
    preset_operator = "script.execute_preset"
    preset_add_operator = "penumbra.harmonize_preset_add"


class PENUMBRA_OT_harmonize_preset_add(AddPresetBase, bpy.types.Operator):  # noqa: N801
    """Add or remove a preset of these settings"""

    bl_idname = "penumbra.harmonize_preset_add"
    bl_label = "Add Harmonize Preset"
    preset_menu = "PENUMBRA_PT_harmonize_presets"
    preset_subdir = FOLDER
    preset_defines = ["settings = bpy.context.scene.penumbra"]  # noqa: RUF012
    preset_values = [f"settings.{name}" for name in SETTINGS]  # noqa: RUF012


CLASSES = (PENUMBRA_PT_harmonize_presets, PENUMBRA_OT_harmonize_preset_add)
_OURS = str(Path(__file__).resolve().parent.parent)  # the folder that holds our "presets"


def add_folder() -> None:
    bpy.utils.register_preset_path(_OURS)


def remove_folder() -> None:
    bpy.utils.unregister_preset_path(_OURS)
