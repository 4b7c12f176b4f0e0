# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to this machine and not to a scene: the backend's Python, its device, and where its files go."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..backend.protocol import PenumbraError
from . import backend_process
from .backend_process import BackendProcess

PACKAGE = __package__.rpartition(".")[0]


class PenumbraPreferences(bpy.types.AddonPreferences):
    """The extension's preferences."""

    bl_idname = PACKAGE

    backend_python: bpy.props.StringProperty(
        name="Backend Python",
        description="The python program of the environment that the backend is installed in; empty finds it",
        subtype="FILE_PATH",
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="What the backend computes on",
        items=(
            ("auto", "Automatic", "A CUDA device if there is one, else the processor"),
            ("cpu", "Processor", "Always the processor"),
            ("cuda", "CUDA", "Always the CUDA device"),
        ),
    )

    def draw(self, _context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "backend_python")
        layout.prop(self, "device")
        status = layout.column(heading="Backend")
        for text, icon in backend_status():
            status.label(text=text, icon=icon)
        row = layout.row(align=True)
        row.operator("penumbra.check_backend")
        row.operator("penumbra.release_backend")


def backend_status() -> list[tuple[str, str]]:
    """What is known about the backend without starting it: (text, icon) lines."""
    try:
        python = backend_process.find_python(_preferred_python())
    except PenumbraError as problem:
        return [(problem.message, "ERROR"), (problem.remedy, "BLANK1")]
    process = backend_process.running()
    if process is None or process.hello is None:
        return [(f"{'Not running' if process is None else 'Starting'}; Python is {python}", "INFO")]
    versions = ", ".join(f"{name} {version}" for name, version in process.hello["versions"].items())
    return [(f"Running on {process.hello['device']}", "CHECKMARK"), (versions, "BLANK1")]


def preferred_device() -> str:
    """ "auto", "cpu" or "cuda"."""
    preferences = _preferences()
    return preferences.device if preferences else "auto"


def backend() -> BackendProcess:
    """The warm backend, started if need be. Raises PenumbraError where its Python is not known or does not start."""
    return backend_process.shared(backend_process.find_python(_preferred_python()), log_file("backend"))


def log_file(name: str) -> Path:
    """Where a child process's messages are kept."""
    return user_folder("logs") / f"{name}.log"


def user_folder(name: str) -> Path:
    """A folder of this user that outlives the session and updates of the extension."""
    try:
        return Path(bpy.utils.extension_path_user(PACKAGE, path=name, create=True))
    except ValueError:  # not installed as an extension: the bpy module in tests and scripts
        return Path(bpy.utils.user_resource("DATAFILES", path=f"penumbra/{name}", create=True))


def _preferred_python() -> str:
    preferences = _preferences()
    return bpy.path.abspath(preferences.backend_python) if preferences and preferences.backend_python else ""


def _preferences() -> PenumbraPreferences | None:
    addon = bpy.context.preferences.addons.get(PACKAGE)
    return addon.preferences if addon else None


def register() -> None:
    bpy.utils.register_class(PenumbraPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(PenumbraPreferences)
