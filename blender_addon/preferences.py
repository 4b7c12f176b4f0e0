# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to this machine and not to a scene: the backend's Python, its device, and where its files go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from ..backend.protocol import PenumbraError
from . import backend_process, drawing, jobs
from .backend_process import BackendProcess
from .installation import targets
from .installation.store import Environment, Store
from .translations import label, tooltip

PACKAGE = __package__.rpartition(".")[0]
LOGS = ("install", "backend", "export")
_accelerators: list[tuple[str, str, str]] = []  # Blender wants the items of an enumeration kept


@dataclass(frozen=True)
class InstallChoice:
    """accelerator: what to install, empty for the fitting one; wheels: folder to install from, empty for the index."""

    accelerator: str = ""
    wheels: str = ""


def _accelerator_items(_preferences: object, _context: object) -> list[tuple[str, str, str]]:
    if not _accelerators:
        available = targets.available(backend_process.ROOT)
        fitting = targets.suggested(available)
        for target in sorted(available, key=lambda t: t != fitting):
            name = label("{0} (suggested)").format(target.label) if target == fitting else target.label
            parts = [tooltip(targets.DESCRIPTIONS[target.accelerator]), tooltip(target.sizes)]
            parts += [] if target.tested else [tooltip("untested")]
            _accelerators.append((target.accelerator, name, "; ".join(parts)))
        if not _accelerators:
            _accelerators.append(("none", label("None"), tooltip("There is no ready backend for this computer")))
    return _accelerators


class PenumbraPreferences(bpy.types.AddonPreferences):
    """The extension's preferences."""

    bl_idname = PACKAGE

    source: bpy.props.EnumProperty(
        name="Backend",
        description="Where the program comes from that Penumbra computes with",
        items=(
            ("INSTALL", "Install Backend", "Penumbra installs it into a Python environment of its own"),
            ("EXISTING", "Use Existing Python", "A Python 3.11 environment that somebody prepared"),
        ),
    )
    accelerator: bpy.props.EnumProperty(
        name="Computes on", description="What the backend is installed for", items=_accelerator_items
    )
    wheels: bpy.props.StringProperty(
        name="Folder of Wheels",
        description="Install without a connection, from a folder that holds every wheel; empty downloads them",
        subtype="DIR_PATH",
    )
    backend_python: bpy.props.StringProperty(
        name="Python",
        description="The python program of the environment that requirements.txt was installed into",
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

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.row().prop(self, "source", expand=True)
        if self.source == "INSTALL":
            self._draw_installation(layout, context)
        else:
            layout.prop(self, "backend_python")
        layout.prop(self, "device")
        status = layout.column(align=True)
        for text, icon in backend_status():
            drawing.text(status, context, text, icon)
        row = layout.row(align=True)
        row.operator("penumbra.check_backend")
        row.operator("penumbra.release_backend")
        row.operator("penumbra.open_log")
        row.operator("penumbra.report_problem")

    def _draw_installation(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        """What is installed, and the button for what can be done next."""
        job = jobs.latest()
        if job and not job.of_file and job.state == "running":
            drawing.progress(layout, job)
            return
        layout.prop(self, "accelerator")
        layout.prop(self, "wheels", placeholder="Download")
        chosen = _target(self.accelerator)
        if chosen is None:
            return
        size = layout.column(align=True)
        size.label(text=label("Needs {0}").format(label(chosen.sizes)))
        if not chosen.tested:
            size.label(text="Untested: nobody has tried this installation yet", icon="INFO")
        if job and not job.of_file and job.problem:
            drawing.text(layout, context, job.problem.message, "ERROR")
            drawing.text(layout, context, job.problem.remedy, "BLANK1")
        if not self.wheels and not bpy.app.online_access:
            drawing.text(layout, context, "Blender is not allowed to go online.", "INTERNET_OFFLINE")
            layout.prop(context.preferences.system, "use_online_access")
        row = layout.row(align=True)
        row.scale_y = 1.4
        row.operator("penumbra.install_backend", text=_install_label(chosen, store()), icon="IMPORT")
        row.operator("penumbra.repair_backend", icon="TOOL_SETTINGS")
        row.operator("penumbra.remove_backend", icon="TRASH")


def _install_label(chosen: targets.Target, at: Store) -> str:
    """What the button would do."""
    unfinished, current = at.unfinished(), at.current()
    if unfinished and unfinished.fingerprint == chosen.fingerprint:
        return label("Continue Installation")
    if current is None:
        return label("Install Backend")
    if current.fingerprint == chosen.fingerprint:
        return label("Install Again")
    same = current.accelerator == chosen.accelerator
    return label("Update Backend") if same else label("Change to {0}").format(chosen.label)


def backend_status() -> list[tuple[str, str]]:
    """What is known about the backend without starting it: (text, icon) lines in the artist's language."""
    try:
        python = backend_python()
    except PenumbraError as problem:
        here = problem.fix == "penumbra.show_preferences"  # what mends it stands above these lines
        remedy = [] if here else [(label(problem.remedy), "BLANK1")]
        return [(label(problem.message), "ERROR"), *remedy]
    process = backend_process.running()
    lines = [(label("A newer backend belongs to this version of Penumbra: update it"), "INFO")] if outdated() else []
    if process is None or process.hello is None:
        text = label("Not running; Python is {0}") if process is None else label("Starting; Python is {0}")
        return [*lines, (text.format(python), "INFO")]
    versions = ", ".join(f"{name} {version}" for name, version in process.hello["versions"].items())
    return [*lines, (label("Running on {0}").format(process.hello["device"]), "CHECKMARK"), (versions, "BLANK1")]


def backend_python() -> Path:
    """The Python that runs the backend. Raises PenumbraError where there is none."""
    preferences = _preferences()
    if preferences and preferences.source == "EXISTING":
        return backend_process.find_python(bpy.path.abspath(preferences.backend_python))
    current = store().current()
    try:
        return backend_process.find_python(current.python if current else "")
    except PenumbraError:
        if store().unfinished():
            raise PenumbraError(
                "The backend's installation was interrupted.",
                "Continue it in the extension's preferences.",
                fix="penumbra.show_preferences",
            ) from None
        raise


def outdated() -> Environment | None:
    """The installed backend, where another one belongs to this version of the extension."""
    preferences = _preferences()
    current = store().current()
    target = _target(current.accelerator) if current else None
    unused = preferences is not None and preferences.source == "EXISTING"
    return current if target and not unused and current.fingerprint != target.fingerprint else None


def store() -> Store:
    """The backend environments of this user."""
    return Store(user_folder("backend"))


def install_choice() -> InstallChoice:
    """What is chosen to be installed."""
    preferences = _preferences()
    if preferences is None:
        return InstallChoice()
    return InstallChoice(preferences.accelerator, bpy.path.abspath(preferences.wheels) if preferences.wheels else "")


def preferred_device() -> str:
    """ "auto", "cpu" or "cuda"."""
    preferences = _preferences()
    return preferences.device if preferences else "auto"


def backend() -> BackendProcess:
    """The warm backend, started if need be. Raises PenumbraError where its Python is not known or does not start."""
    return backend_process.shared(backend_python(), log_file("backend"))


def log_file(name: str) -> Path:
    """Where a child process's messages are kept."""
    return user_folder("logs") / f"{name}.log"


def newest_log() -> Path | None:
    """The log that was written last."""
    logs = [path for path in map(log_file, LOGS) if path.is_file()]
    return max(logs, key=lambda path: path.stat().st_mtime, default=None)


def user_folder(name: str) -> Path:
    """A folder of this user that outlives the session and updates of the extension; a temporary one where the user
    has no home that can be written, as on a farm."""
    try:
        return Path(bpy.utils.extension_path_user(PACKAGE, path=name, create=True))
    except ValueError:  # not installed as an extension: the bpy module in tests and scripts
        found = bpy.utils.user_resource("DATAFILES", path=f"penumbra/{name}", create=True)
    except OSError:
        found = ""
    folder = Path(found or Path(bpy.app.tempdir) / "penumbra" / name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _target(accelerator: str) -> targets.Target | None:
    return next((t for t in targets.available(backend_process.ROOT) if t.accelerator == accelerator), None)


def _preferences() -> PenumbraPreferences | None:
    addon = bpy.context.preferences.addons.get(PACKAGE)
    return addon.preferences if addon else None


def register() -> None:
    bpy.utils.register_class(PenumbraPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(PenumbraPreferences)
    _accelerators.clear()
