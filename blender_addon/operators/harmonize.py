# SPDX-License-Identifier: GPL-3.0-or-later
"""Harmonize Shading, and the view of the job that runs."""

from __future__ import annotations

import bpy

from ...backend.protocol import PenumbraError
from .. import jobs, properties, translations
from ..harmonize import RenderBeside, RenderHere, Request, check, harmonize
from ..jobs import Job
from .running import RunsJob, check_free, possible


def requested(context: bpy.types.Context) -> Request:
    """What the scene's settings and the selection ask for. Raises PenumbraError where something is missing."""
    scene, cast = context.scene, properties.chosen_cast(context)
    return Request(
        scene,
        context.view_layer,
        cast,
        properties.chosen_frames(scene),
        properties.lit_settings(scene, cast.name),
        properties.output_folder(scene),
    )


class PENUMBRA_OT_harmonize(RunsJob, bpy.types.Operator):  # noqa: N801 (Blender's naming)
    """Light the character by its plate and cast its shadow into it"""

    bl_idname = "penumbra.harmonize"
    bl_label = "Harmonize Shading"
    bl_options = {"REGISTER"}  # the job makes its own step of undo, as it may outlive the operator  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        def checked() -> None:
            check_free()
            check(requested(context))

        return possible(cls, checked)

    def job(self, context: bpy.types.Context, waiting: jobs.TerminalLine | None) -> Job:
        return Job(harmonize(requested(context), RenderHere(waiting.show) if waiting else RenderBeside()))


class PENUMBRA_OT_match_light(RunsJob, bpy.types.Operator):  # noqa: N801
    """Light the characters as the person in the plate is lit over whom the active mesh stands"""

    bl_idname = "penumbra.match_light"
    bl_label = "Match Light to Person"
    bl_options = {"REGISTER"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if jobs.running():
            cls.poll_message_set(translations.tooltip("Penumbra is already at work."))
        elif context.object is None or context.object.type not in {"MESH", "ARMATURE"}:
            cls.poll_message_set(translations.tooltip("Select the mesh that stands over the person in the plate."))
        else:
            return True
        return False

    def job(self, context: bpy.types.Context, waiting: jobs.TerminalLine | None) -> Job:
        settings = context.scene.penumbra
        before = settings.person, settings.estimator
        settings.person, settings.estimator = context.object, properties.PERSON
        try:
            request = requested(context)
            check(request)
        except PenumbraError:
            settings.person, settings.estimator = before
            raise
        return Job(harmonize(request, RenderHere(waiting.show) if waiting else RenderBeside()))


class PENUMBRA_OT_cancel(bpy.types.Operator):  # noqa: N801
    """End the running job and leave the scene as it is"""

    bl_idname = "penumbra.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if not jobs.running():
            cls.poll_message_set(translations.tooltip("Nothing is running"))
        return jobs.running()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        job = jobs.latest()
        if job:
            job.cancel()
        return {"FINISHED"}


CLASSES = (PENUMBRA_OT_harmonize, PENUMBRA_OT_match_light, PENUMBRA_OT_cancel)
