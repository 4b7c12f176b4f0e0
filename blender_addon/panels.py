# SPDX-License-Identifier: GPL-3.0-or-later
"""The Penumbra tab in the 3D View's sidebar."""

from __future__ import annotations

import bpy

from ..backend.protocol import PenumbraError
from . import (
    backend_process,
    drawing,
    export,
    jobs,
    notices,
    passes,
    plate,
    preferences,
    properties,
    reshape,
)
from .character import Cast
from .operators.imports import IMPORTS
from .operators.presets import PENUMBRA_PT_harmonize_presets
from .result_panel import PENUMBRA_PT_result
from .translations import label

_OF_IMPORTS = (*IMPORTS, reshape.TITLE)  # jobs that the panel of imports shows


class PENUMBRA_PT_harmonize(bpy.types.Panel):  # noqa: N801 (Blender's naming)
    """What goes in, the button, and the job that runs."""

    bl_label = "Harmonize Shading"
    bl_category = "Penumbra"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"

    def draw_header_preset(self, _context: bpy.types.Context) -> None:
        PENUMBRA_PT_harmonize_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        cast, problem = _look(context)
        inputs = layout.column()
        inputs.enabled = not jobs.running()
        _draw_inputs(inputs, context, cast)
        job = jobs.latest()
        job = None if job and job.title in _OF_IMPORTS else job
        if job and job.state == "running":
            drawing.progress(layout, job)
            return
        button = layout.row()
        button.scale_y = 1.6
        has_result = cast and passes.result_node(context.scene, cast.name)
        button.operator(
            "penumbra.harmonize", icon="SHADING_RENDERED", text="Harmonize Again" if has_result else "Harmonize Shading"
        )
        outcome = job.outcome if job and has_result else None
        if not has_result:
            layout.operator("penumbra.load_result", icon="FILE_FOLDER")
        failed = bool(job and job.problem and job.of_file)
        _draw_findings(layout, context, cast, job.problem if failed else problem, outcome, failed)
        if backend_process.running():
            layout.operator("penumbra.release_backend", icon="MEMORY")


class PENUMBRA_PT_import(bpy.types.Panel):  # noqa: N801
    """What comes into the scene from photographs."""

    bl_label = "Import from Image"
    bl_category = "Penumbra"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"

    def draw(self, context: bpy.types.Context) -> None:
        layout, job = self.layout, jobs.latest()
        job = job if job and job.title in _OF_IMPORTS else None
        if job and job.state == "running":
            drawing.progress(layout, job)
            return
        layout.operator("penumbra.import_body", text="Body", icon="OUTLINER_OB_ARMATURE")
        layout.operator("penumbra.import_object", text="Object", icon="OUTLINER_OB_MESH")
        if job and job.problem:
            _draw_problem(layout, context, job.problem, job_failed=True)
        elif job and job.outcome:
            drawing.text(layout, context, job.outcome.message, "CHECKMARK")
            for notice in job.outcome.notices:
                drawing.text(layout, context, notice, "INFO")


class PENUMBRA_PT_reshape(bpy.types.Panel):  # noqa: N801
    """What an imported object can still become."""

    bl_label = "Imported Object"
    bl_category = "Penumbra"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_parent_id = "PENUMBRA_PT_import"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return reshape.imported(context.object)

    def draw(self, context: bpy.types.Context) -> None:
        layout, mesh = self.layout, context.object.data
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        try:
            reshape.check([mesh])
        except PenumbraError as problem:  # sliders that nothing follows
            _draw_problem(layout, context, problem, job_failed=False)
            column.enabled = False
        column.prop(mesh.penumbra_shape, "sliders", slider=True)
        column.prop(mesh.penumbra_shape, "toward")
        column.prop(mesh.penumbra_shape, "amount", slider=True)
        layout.operator("penumbra.reshape_object", icon="FILE_REFRESH")
        row = layout.row(align=True)
        row.operator("penumbra.exchange_codes", text="Exchange Shape").what = "SHAPE"
        row.operator("penumbra.exchange_codes", text="Exchange Albedo").what = "ALBEDO"


def _look(context: bpy.types.Context) -> tuple[Cast | None, PenumbraError | None]:
    """The characters, and what stands in the way of the job."""
    cast = None
    try:
        cast = properties.chosen_cast(context)
        settings = properties.lit_settings(context.scene, cast.name)
        export.check(context.scene, cast, settings)
        passes.check(context.scene)
        preferences.backend_python()
    except PenumbraError as problem:
        return cast, problem
    return cast, None


def _draw_inputs(layout: bpy.types.UILayout, context: bpy.types.Context, cast: Cast | None) -> None:
    settings = context.scene.penumbra
    layout.use_property_split = True
    layout.use_property_decorate = False
    layout.prop(settings, "character", placeholder=cast.name if cast else label("Select a character"))
    layout.prop(context.scene, "camera")
    _draw_plate(layout, context)
    layout.row().prop(settings, "frames", expand=True)
    layout.prop(settings, "estimator")
    if settings.estimator == properties.PERSON:
        layout.prop(settings, "person")
    layout.prop(settings, "gloss")
    layout.prop(settings, "shadow")
    header, softness = layout.panel("penumbra_softness", default_closed=True)
    header.label(text="Softness")
    if softness:
        softness.prop(settings, "softness_automatic")
        angle = softness.row()
        angle.enabled = not settings.softness_automatic
        angle.prop(settings, "softness")
    header, ground = layout.panel("penumbra_ground", default_closed=True)
    header.use_property_split = False
    header.prop(settings, "ground")
    if ground:
        ground.enabled = settings.ground
        ground.prop(settings, "ground_automatic")
        height = ground.row()
        height.enabled = not settings.ground_automatic
        height.prop(settings, "ground_height")
    header, output = layout.panel("penumbra_output", default_closed=True)
    header.label(text="Output")
    if output:
        output.prop(settings, "output", text="Folder", placeholder=label("Beside the file"))
        output.prop(settings, "multilayer")


def _draw_plate(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The image that is picked, or a way to pick one beside the camera's own."""
    settings = context.scene.penumbra
    split = layout.split(factor=0.4)
    name = split.row()
    name.alignment = "RIGHT"
    name.label(text="Plate")
    column = split.column()
    column.template_ID(settings, "plate", open="image.open")
    if not settings.plate:
        try:
            found = plate.find_plate(context.scene, properties.export_settings(context.scene))
            column.label(text=found.image.name, icon="CAMERA_DATA", translate=False)
        except PenumbraError:
            column.label(text="None in the camera")


def _draw_findings(
    layout: bpy.types.UILayout,
    context: bpy.types.Context,
    cast: Cast | None,
    problem: PenumbraError | None,
    outcome: jobs.Outcome | None,
    job_failed: bool,
) -> None:
    """What is missing or failed, or what came of the last job and is known about the next one."""
    if problem:
        _draw_problem(layout, context, problem, job_failed)
        return
    if outcome:
        drawing.text(layout, context, outcome.message, "CHECKMARK")
    settings = properties.export_settings(context.scene)
    known = notices.scene_notices(context.scene, cast, settings)
    for notice in dict.fromkeys((*known, *(outcome.notices if outcome else ()))):
        drawing.text(layout, context, notice, "INFO")


def _draw_problem(
    layout: bpy.types.UILayout, context: bpy.types.Context, problem: PenumbraError, job_failed: bool
) -> None:
    """What is wrong, its remedy, and the button that mends or reports it."""
    drawing.text(layout, context, problem.message, "ERROR")
    drawing.text(layout, context, problem.remedy, "BLANK1")
    if problem.fix:
        layout.operator(problem.fix, icon="TOOL_SETTINGS")
    elif job_failed:  # below each other: a sidebar has no room for both words
        column = layout.column(align=True)
        column.operator("penumbra.open_log", icon="TEXT")
        column.operator("penumbra.report_problem", icon="URL")


register, unregister = bpy.utils.register_classes_factory(
    (PENUMBRA_PT_harmonize, PENUMBRA_PT_result, PENUMBRA_PT_import, PENUMBRA_PT_reshape)
)
