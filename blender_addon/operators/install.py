# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's installation: install, repair, remove, and its log."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...backend.protocol import PenumbraError
from .. import backend_process, install, jobs, preferences, translations
from ..jobs import Job
from .running import RunsJob


class PENUMBRA_OT_install_backend(RunsJob, bpy.types.Operator):  # noqa: N801
    """Download and install what Penumbra computes with, into a Python environment of its own."""

    bl_idname = "penumbra.install_backend"
    bl_label = "Install Backend"
    bl_description = (
        "Download and install what Penumbra computes with, into a Python environment of its own; an interrupted"
        " installation goes on where it stopped, and an older one is kept until the new one is verified"
    )

    accelerator: bpy.props.StringProperty(
        name="Accelerator", description="cpu, cuda, rocm or metal; empty takes the one in the preferences"
    )
    wheels: bpy.props.StringProperty(
        name="Folder of Wheels", description="Install from this folder without a connection", subtype="DIR_PATH"
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return _free(cls)

    def job(self, _context: bpy.types.Context, _waiting: jobs.TerminalLine | None) -> Job:
        chosen = preferences.install_choice()
        wheels = bpy.path.abspath(self.wheels) or chosen.wheels
        target = install.choose(self.accelerator or chosen.accelerator)
        folder = Path(wheels) if wheels else None
        install.check(folder)
        return Job(install.install(target, folder), self.bl_label, of_file=False)


class PENUMBRA_OT_repair_backend(RunsJob, bpy.types.Operator):  # noqa: N801
    """Look at every file of the backend, and install the damaged packages again"""

    bl_idname = "penumbra.repair_backend"
    bl_label = "Repair"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return _free(cls) and _there(cls, preferences.store().current())

    def job(self, _context: bpy.types.Context, _waiting: jobs.TerminalLine | None) -> Job:
        wheels = preferences.install_choice().wheels
        current = preferences.store().current()
        target = install.choose(current.accelerator if current else "")
        folder = Path(wheels) if wheels else None
        install.check(folder)
        return Job(install.install(target, folder, repairing=True), "Repair Backend", of_file=False)


class PENUMBRA_OT_remove_backend(bpy.types.Operator):  # noqa: N801
    """Delete the installed backend; results stay as they are"""

    bl_idname = "penumbra.remove_backend"
    bl_label = "Remove"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return _free(cls) and _there(cls, preferences.store().environments())

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        backend_process.stop_shared()
        try:
            preferences.store().remove()
        except OSError as problem:
            text = translations.report("Not all of it could be removed ({0}). Close other Blenders first.")
            self.report({"ERROR"}, text.format(problem.strerror))
            return {"CANCELLED"}
        return {"FINISHED"}


class PENUMBRA_OT_open_log(bpy.types.Operator):  # noqa: N801
    """Open the log of the installation, or of the backend where that has failed later"""

    bl_idname = "penumbra.open_log"
    bl_label = "Open Log"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if preferences.newest_log() is None:
            cls.poll_message_set(translations.tooltip("There is no log yet"))
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        return bpy.ops.wm.path_open(filepath=str(preferences.newest_log()))


class PENUMBRA_OT_show_preferences(bpy.types.Operator):  # noqa: N801
    """Open Penumbra's preferences, where the backend is installed"""

    bl_idname = "penumbra.show_preferences"
    bl_label = "Open Preferences…"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        if bpy.app.background:
            return {"CANCELLED"}
        return bpy.ops.preferences.addon_show(module=preferences.PACKAGE)


def _there(cls: type[bpy.types.Operator], installed: object) -> bool:
    if not installed:
        cls.poll_message_set(translations.tooltip("The backend is not installed."))
    return bool(installed)


def _free(cls: type[bpy.types.Operator]) -> bool:
    if jobs.running():
        cls.poll_message_set(translations.tooltip("Penumbra is already at work."))
        return False
    try:
        install.choose("")
    except PenumbraError as problem:
        cls.poll_message_set(translations.tooltip(problem))
        return False
    return True


CLASSES = (
    PENUMBRA_OT_install_backend,
    PENUMBRA_OT_repair_backend,
    PENUMBRA_OT_remove_backend,
    PENUMBRA_OT_open_log,
    PENUMBRA_OT_show_preferences,
)
