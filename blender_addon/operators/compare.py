# SPDX-License-Identifier: GPL-3.0-or-later
"""Before and after, by one key: the viewport's own light, or the result through the viewport's compositor."""

from __future__ import annotations

import bpy

from .. import passes, translations

_keymaps: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []


class PENUMBRA_OT_compare(bpy.types.Operator):  # noqa: N801
    """Look through the camera and change between the character as it was and as it is harmonized"""

    bl_idname = "penumbra.compare"
    bl_label = "Before / After"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not passes.result_nodes(context.scene):
            cls.poll_message_set(translations.tooltip("There is no result yet"))
            return False
        if context.space_data is None or context.space_data.type != "VIEW_3D":
            cls.poll_message_set(translations.tooltip("This works in the 3D View"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        shading, view = context.space_data.shading, context.space_data.region_3d
        was_after = shows_result(context.space_data)
        if shading.type not in {"MATERIAL", "RENDERED"}:
            shading.type = "MATERIAL"
        view.view_perspective = "CAMERA"
        shading.use_compositor = "DISABLED" if was_after else "CAMERA"
        self.report({"INFO"}, translations.report("Before" if was_after else "After"))
        return {"FINISHED"}


def shows_result(space: bpy.types.SpaceView3D) -> bool:
    """Whether a view shows the compositor's image in its camera."""
    shading = space.shading
    composited = shading.type in {"MATERIAL", "RENDERED"} and shading.use_compositor != "DISABLED"
    return composited and space.region_3d.view_perspective == "CAMERA"


def add_key() -> None:
    """Alt Shift B in the 3D View, where there is a keyboard."""
    configuration = bpy.context.window_manager.keyconfigs.addon
    if configuration is not None:
        keymap = configuration.keymaps.new(name="3D View", space_type="VIEW_3D")
        item = keymap.keymap_items.new(PENUMBRA_OT_compare.bl_idname, "B", "PRESS", alt=True, shift=True)
        _keymaps.append((keymap, item))


def remove_key() -> None:
    for keymap, item in _keymaps:
        keymap.keymap_items.remove(item)
    _keymaps.clear()


CLASSES = (PENUMBRA_OT_compare,)
