# SPDX-License-Identifier: GPL-3.0-or-later
"""Penumbra in the 3D View's Object menu: Blender's search looks through menus, and not through sidebars."""

from __future__ import annotations

import bpy


class PENUMBRA_MT_object(bpy.types.Menu):  # noqa: N801 (Blender's naming)
    """What the sidebar's tab offers. The name is found by what an artist may look for."""

    bl_idname = "PENUMBRA_MT_object"
    bl_label = "Penumbra: Light and Shadow of a Photograph"

    def draw(self, _context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator("penumbra.harmonize", icon="SHADING_RENDERED")
        layout.operator("penumbra.load_result", icon="FILE_FOLDER")
        layout.operator("penumbra.compare", icon="SPLIT_VERTICAL")
        layout.separator()
        layout.operator("penumbra.open_plate", icon="IMAGE_BACKGROUND")
        layout.operator("penumbra.add_camera", icon="CAMERA_DATA")
        layout.operator("penumbra.use_standard_view")
        layout.separator()
        layout.operator("penumbra.relight", icon="LIGHT")
        layout.operator("penumbra.light_from_plate", icon="LIGHT_SUN")
        layout.separator()
        layout.operator("penumbra.release_backend", icon="MEMORY")


def _draw(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.menu(PENUMBRA_MT_object.bl_idname)


def add() -> None:
    bpy.types.VIEW3D_MT_object.append(_draw)


def remove() -> None:
    bpy.types.VIEW3D_MT_object.remove(_draw)


CLASSES = (PENUMBRA_MT_object,)
