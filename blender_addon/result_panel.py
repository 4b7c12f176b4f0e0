# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the Penumbra tab that shows what came of a job: the light that was found, and how strong it is."""

from __future__ import annotations

import functools
from typing import Any

import bpy
from mathutils import Vector

from ..backend.protocol import PenumbraError
from . import balls, drawing, exact_plate, grain, jobs, pass_nodes, passes, properties, scene_light
from .translations import label


class PENUMBRA_PT_result(bpy.types.Panel):  # noqa: N801
    """The result of the character: how strong, or not at all."""

    bl_label = "Result"
    bl_category = "Penumbra"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(passes.result_nodes(context.scene))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.enabled = not jobs.running()
        for name, node in passes.result_nodes(context.scene).items():
            column = layout.column()
            column.label(text=name, icon="ARMATURE_DATA", translate=False)
            if changed := passes.outdated(context, name, properties.export_settings(context.scene)):
                text = label("Outdated: {0} changed since").format(_all(changed))
                drawing.text(column, context, text, "ERROR")
            if other := frame_text(context.scene, name):
                drawing.text(column, context, other, "INFO")
            if light := light_text(passes.record(node, context.scene.frame_current), context.scene.camera):
                drawing.text(column, context, light, "LIGHT_SUN")
            if found := balls.icons(context.scene, name):
                row = column.row()
                for icon in found:
                    row.template_icon(icon, scale=4)
            _draw_strengths(column, node)
            if not any(output.is_linked for output in node.outputs):
                column.operator("penumbra.connect").character = name
            column.operator("penumbra.relight", icon="LIGHT").character = name
            column.operator(
                "penumbra.light_from_plate",
                icon="LIGHT_SUN",
                text="Back to the Light Found" if scene_light.is_given(context.scene, name) else "Light from Plate",
            ).character = name
            column.operator("penumbra.remove", icon="TRASH").character = name
        layout.operator("penumbra.match_light", icon="OUTLINER_OB_LIGHT")
        layout.operator("penumbra.compare", icon="SPLIT_VERTICAL")
        layout.prop(context.scene.penumbra, "compare", slider=True)
        if context.scene.penumbra.compare:
            drawing.text(layout, context, "Renders show the comparison too", "INFO")
        if not exact_plate.is_plate_exact(context.scene):
            warning = layout.column()
            drawing.text(warning, context, "The plate is not shown exactly as it is", "INFO")
            warning.operator("penumbra.use_standard_view")


def _draw_strengths(layout: bpy.types.UILayout, node: bpy.types.Node) -> None:
    """Sliders of the result; of several characters, each one's own."""
    names = passes.members(node)
    controls = zip(names, pass_nodes.strength_sockets(names), pass_nodes.tint_sockets(names), strict=True)
    for name, (shading, shadow), tint in controls:
        if len(names) > 1:
            layout.label(text=name, icon="OUTLINER_OB_ARMATURE", translate=False)
        layout.prop(node.inputs[shading], "default_value", text="Shading", slider=True)
        layout.prop(node.inputs[shadow], "default_value", text="Shadow", slider=True)
        if tint in node.inputs:  # results of before there were tints get it when they are harmonized again
            layout.prop(node.inputs[tint], "default_value", text="Shadow Tint")
    if set(grain.SOCKETS) <= set(node.inputs.keys()):  # an earlier version's result has none
        layout.prop(node.inputs["Grain"], "default_value", text="Grain", slider=True)
        layout.prop(node.inputs["Blur"], "default_value", text="Blur", slider=True)
    if pass_nodes.GLOSS in node.inputs:
        layout.prop(node.inputs[pass_nodes.GLOSS], "default_value", text="Gloss", slider=True)
    layout.prop(node.inputs["Mute"], "default_value", text="Mute", slider=True)


def frame_text(scene: bpy.types.Scene, character: str) -> str:
    """Says where a character's result is of another frame than the current one; else empty."""
    try:
        shown = passes.shown_frame(scene, character)
    except PenumbraError:  # its images are gone
        return ""
    if shown == scene.frame_current:
        return ""
    return label("Frame {0} has no result; {1} is shown").format(scene.frame_current, shown)


def light_text(record: dict[str, Any], camera: bpy.types.Object | None) -> str:
    """The light that was found, as the camera sees it, and how sure it is; empty where that is not known."""
    light = record.get("light", {})
    if camera is None or not light.get("dominant_direction_world"):
        return ""
    to_light = camera.matrix_world.to_3x3().normalized().transposed() @ Vector(light["dominant_direction_world"])
    sides = zip(to_light, (("right", "left"), ("above", "below"), ("the camera's side", "behind")), strict=True)
    parts = sorted(((abs(part), names[0] if part > 0 else names[1]) for part, names in sides), reverse=True)
    where = _all([name for size, name in parts[:2] if size > 0.3])
    if light["confidence"] == 1.0:  # it was given, and not found
        return label("Light from {0}").format(where)
    return label("Light from {0}, {1} sure").format(where, f"{light['confidence']:.0%}")


def _all(names: list[str]) -> str:
    """Words of ours as a list in the artist's language."""
    return functools.reduce(lambda a, b: label("{0} and {1}").format(a, b), map(label, names))
