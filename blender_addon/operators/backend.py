# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's process: is it well, and can it give its memory back."""

from __future__ import annotations

import bpy

from ...backend.protocol import PenumbraError
from .. import backend_process, jobs, preferences, translations
from ..jobs import Job, Outcome, Progress
from .running import check_free, possible


class PENUMBRA_OT_check_backend(bpy.types.Operator):  # noqa: N801
    """Start the backend and see what it runs on"""

    bl_idname = "penumbra.check_backend"
    bl_label = "Check Backend"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return possible(cls, check_free)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Wait for the backend: scripts and `blender -b`."""
        try:
            outcome = jobs.run_blocking(Job(_check()), jobs.TerminalLine())
        except PenumbraError as problem:
            self.report({"ERROR"}, translations.report(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, translations.report(outcome.message))
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Start it beside the interface; the preferences show what it answers."""
        if bpy.app.background:
            return self.execute(context)
        jobs.start(Job(_check()))
        return {"FINISHED"}


def _check() -> jobs.Steps:
    backend = preferences.backend()
    while backend.hello is None:
        yield Progress("Starting the backend", 0.0)
        backend.poll()
    return Outcome(f"The backend runs on {backend.hello['device']}")


class PENUMBRA_OT_release_backend(bpy.types.Operator):  # noqa: N801
    """End the backend, which gives all its memory back; the next job starts it again"""

    bl_idname = "penumbra.release_backend"
    bl_label = "Release Memory"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if backend_process.running() is None:
            cls.poll_message_set(translations.tooltip("The backend does not run and holds no memory"))
            return False
        return possible(cls, check_free)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        backend_process.stop_shared()
        return {"FINISHED"}


CLASSES = (PENUMBRA_OT_check_backend, PENUMBRA_OT_release_backend)
