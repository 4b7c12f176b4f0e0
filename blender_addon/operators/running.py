# SPDX-License-Identifier: GPL-3.0-or-later
"""Base of the operators that start a job: wait for it in scripts, show it and hear Esc in the interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import bpy

from ...backend.protocol import Cancelled, PenumbraError
from .. import jobs, translations
from ..jobs import Job


def possible(operator: Any, check: Callable[[], object]) -> bool:
    """What a poll answers: whether `check` raises no PenumbraError; where it does, the button's tooltip says it."""
    try:
        check()
    except PenumbraError as problem:
        operator.poll_message_set(translations.tooltip(problem))
        return False
    return True


def check_free() -> None:
    """Raises PenumbraError while a job runs in the interface."""
    if jobs.running():
        raise PenumbraError("Penumbra is already at work.")


class RunsJob:
    """An operator whose work is the job that `job(context, waiting)` makes, which may raise PenumbraError."""

    if TYPE_CHECKING:  # what the operators bring along
        bl_label: str

        def report(self, kind: set[str], text: str) -> None: ...

    def job(self, context: bpy.types.Context, waiting: jobs.TerminalLine | None) -> Job:
        """The job; `waiting` is the line that shows the progress where the caller waits for it."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Wait for the job: scripts and `blender -b`."""
        line = jobs.TerminalLine()
        try:
            outcome = jobs.run_blocking(self.job(context, line), line)
        except PenumbraError as problem:
            self.report({"ERROR"}, translations.report(problem))
            return {"CANCELLED"}
        except Cancelled:
            return {"CANCELLED"}
        self._tell(outcome)
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Start the job beside the interface; this operator then only shows it and waits for Esc."""
        if bpy.app.background:
            return self.execute(context)
        try:
            self._job = self.job(context, None)
            jobs.start(self._job)
        except PenumbraError as problem:
            self.report({"ERROR"}, translations.report(problem))
            return {"CANCELLED"}
        self._timer = context.window_manager.event_timer_add(jobs.TICK_S, window=context.window)
        self._text = ""
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        job = self._job
        if event.type == "ESC" and event.value == "PRESS" and job.state == "running":
            job.cancel()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        if job.state == "running":
            text = translations.label("{0}  –  Esc to cancel").format(jobs.status_text(job))
            if text != self._text:
                context.workspace.status_text_set(text)
                self._text = text
            return {"PASS_THROUGH"}
        self.cancel(context)
        if job.problem:
            self.report({"ERROR"}, translations.report(job.problem))
        elif job.outcome:
            self._tell(job.outcome)
            return {"FINISHED"}
        else:
            text = translations.report("{0} was cancelled; {1}")
            left = translations.report(job.left or "nothing was changed")
            self.report({"INFO"}, text.format(translations.report(self.bl_label), left))
        return {"CANCELLED"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Stop showing the job; the job itself goes on, and the panel shows it."""
        context.window_manager.event_timer_remove(self._timer)
        if context.workspace:
            context.workspace.status_text_set(None)

    def _tell(self, outcome: jobs.Outcome) -> None:
        for notice in outcome.notices:
            self.report({"WARNING"}, translations.report(notice))
        self.report({"INFO"}, translations.report(outcome.message))
