# SPDX-License-Identifier: GPL-3.0-or-later
"""Harmonize Shading, and the view of the job that runs."""

from __future__ import annotations

import bpy

from ...backend.protocol import Cancelled, PenumbraError
from .. import export, jobs, properties
from ..harmonize import Request, export_beside, export_here, harmonize
from ..jobs import Job


def requested(context: bpy.types.Context) -> Request:
    """What the scene's settings and the selection ask for. Raises PenumbraError where something is missing."""
    scene = context.scene
    return Request(
        scene,
        context.view_layer,
        properties.chosen_character(context),
        properties.chosen_frames(scene),
        properties.export_settings(scene),
        properties.output_folder(scene),
    )


class PENUMBRA_OT_harmonize(bpy.types.Operator):  # noqa: N801 (Blender's naming)
    """Light the character by its plate and cast its shadow into it"""

    bl_idname = "penumbra.harmonize"
    bl_label = "Harmonize Shading"
    bl_options = {"REGISTER"}  # the job makes its own step of undo, as it may outlive the operator  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        try:
            if jobs.running():
                raise PenumbraError("Penumbra is already at work.")
            request = requested(context)
            export.check(request.scene, request.view_layer, request.character, request.settings)
        except PenumbraError as problem:
            cls.poll_message_set(str(problem))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Wait for the job: scripts and `blender -b`."""
        line = jobs.TerminalLine()
        try:
            outcome = jobs.run_blocking(Job(harmonize(requested(context), export_here(line.show))), line)
        except PenumbraError as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        except Cancelled:
            return {"CANCELLED"}
        _report(self, outcome)
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Start the job beside the interface; this operator then only shows it and waits for Esc."""
        if bpy.app.background:
            return self.execute(context)
        try:
            self._job = Job(harmonize(requested(context), export_beside))
            jobs.start(self._job)
        except PenumbraError as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self._timer = context.window_manager.event_timer_add(jobs.TICK_S, window=context.window)
        self._text = ""
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        job = self._job
        if event.type == "ESC" and event.value == "PRESS":
            job.cancel()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        if job.state == "running":
            text = f"{jobs.status_text(job)}  –  Esc to cancel"
            if text != self._text:
                context.workspace.status_text_set(text)
                self._text = text
            return {"PASS_THROUGH"}
        self.cancel(context)
        if job.problem:
            self.report({"ERROR"}, str(job.problem))
        elif job.outcome:
            _report(self, job.outcome)
            return {"FINISHED"}
        else:
            self.report({"INFO"}, "Harmonize Shading was cancelled; nothing was changed")
        return {"CANCELLED"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Stop showing the job; the job itself goes on, and the panel shows it."""
        context.window_manager.event_timer_remove(self._timer)
        if context.workspace:
            context.workspace.status_text_set(None)


class PENUMBRA_OT_cancel(bpy.types.Operator):  # noqa: N801
    """End the running job and leave the scene as it is"""

    bl_idname = "penumbra.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return jobs.running()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        job = jobs.latest()
        if job:
            job.cancel()
        return {"FINISHED"}


def _report(operator: bpy.types.Operator, outcome: jobs.Outcome) -> None:
    for notice in outcome.notices:
        operator.report({"WARNING"}, notice)
    operator.report({"INFO"}, outcome.message)


CLASSES = (PENUMBRA_OT_harmonize, PENUMBRA_OT_cancel)
