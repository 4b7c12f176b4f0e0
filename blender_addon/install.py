# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing the backend as a job beside the interface: what can be installed, and the process that does it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import bpy

from ..backend.protocol import Cancelled, PenumbraError
from . import backend_process, child_process, jobs, preferences
from .installation import targets
from .installation.targets import Target
from .jobs import Outcome, Progress

SCRIPT = Path(__file__).with_name("install_process.py")
CANCEL_S = 8.0
QUIT_S = 2.0
LOG = "install"


def choose(accelerator: str) -> Target:
    """The target of this platform and accelerator, by default the fitting one. Raises PenumbraError."""
    available = targets.available(backend_process.ROOT)
    found = next((t for t in available if t.accelerator == accelerator), None) or targets.suggested(available)
    if found is None:
        raise PenumbraError(
            f"There is no ready backend for {targets.here()}.", "Choose Use Existing Python in the preferences."
        )
    return found


def check(wheels: Path | None) -> None:
    """Raises PenumbraError where Blender may not go online, and there is no folder of wheels to do without."""
    if wheels is None and not bpy.app.online_access:
        remedy = "Allow Online Access in Preferences, System, Network, or install from a folder of wheels."
        if bpy.app.online_access_override:
            remedy = "Start Blender without --offline-mode, or install from a folder of wheels."
        raise PenumbraError("Blender is not allowed to go online.", remedy)
    if wheels is not None and not any(wheels.glob("*.whl")):
        raise PenumbraError(f"There are no wheels in {wheels}.", "Choose the folder that holds them.")


def install(target: Target, wheels: Path | None, repairing: bool = False) -> jobs.Steps:
    """Install the backend, or repair the one that is installed; the one in use stays until the new one is verified."""
    check(wheels)
    backend_process.stop_shared()
    request = {
        "root": str(backend_process.ROOT),
        "store": str(preferences.store().folder),
        "accelerator": target.accelerator,
        "wheels": str(wheels) if wheels else None,
        "log": str(preferences.log_file(LOG)),
    }
    command = [sys.executable, "-s", str(SCRIPT), "repair" if repairing else "install", json.dumps(request)]
    try:
        child = child_process.spawn(command, preferences.log_file(LOG), stdin=subprocess.PIPE)
    except OSError as problem:
        raise PenumbraError(
            f"The installation could not be started: {problem.strerror or problem}.", "Start Blender again."
        ) from problem
    try:
        yield from _follow(child)
    except Cancelled:
        yield from _cancel(child)
        raise
    finally:
        _end(child)
    installed = preferences.store().current()
    return Outcome(f"The backend is installed ({target.label}, {installed.mark['seconds'] if installed else 0} s)")


def _follow(child: subprocess.Popen[bytes]) -> Generator[Progress, None, None]:
    """Yield the progress of the process until it is done. Raises PenumbraError."""
    reader = child_process.Reader(child.stdout.fileno())  # type: ignore[union-attr]
    shown, rest, at_end = Progress("Starting", 0.0), b"", False
    while not at_end:
        yield shown
        data, at_end = reader.read()
        *lines, rest = (rest + data).split(b"\n")
        for message in map(json.loads, filter(None, lines)):
            if message["type"] == "progress":
                shown = Progress(message["stage"], message["fraction"])
            elif message["type"] == "error":
                raise PenumbraError(message["message"], message["remedy"])
            elif message["type"] == "done":
                return
    raise PenumbraError("The installation ended unexpectedly.", "Click Install Backend again; the log says more.")


def _cancel(child: subprocess.Popen[bytes]) -> Generator[Progress, None, None]:
    """The end of its input ends the process and all that it started."""
    child.stdin.close()  # type: ignore[union-attr]
    until = time.monotonic() + CANCEL_S
    while child.poll() is None and time.monotonic() < until:
        yield Progress("Cancelling", 1.0)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.stdin.close()  # type: ignore[union-attr]
    try:
        child.wait(QUIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()  # type: ignore[union-attr]
