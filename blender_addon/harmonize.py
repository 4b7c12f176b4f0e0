# SPDX-License-Identifier: GPL-3.0-or-later
"""Harmonize Shading as a job: the scene is exported, the backend works, the result becomes nodes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..backend.protocol import Cancelled, HarmonizeResult, PenumbraError
from . import child_process, export, jobs, passes, preferences
from .character import Cast
from .jobs import Outcome, Progress
from .scenes import scene_of

EXPORTED, COMPUTED = 0.35, 0.98  # where the parts end, as fractions of the whole job
KEPT_DAYS = 7
EXPORT_QUIT_S = 2.0

# Exports the scene into the folder and returns its notices: `(request, folder, job id)`.
Export = Callable[["Request", Path, str], Generator[Progress, None, tuple[str, ...]]]


@dataclass(frozen=True)
class Request:
    """What is asked for; `output` is the folder for the images, None beside the .blend file."""

    scene: bpy.types.Scene
    view_layer: bpy.types.ViewLayer
    cast: Cast
    frames: tuple[int, ...]
    settings: export.ExportSettings
    output: Path | None = None


def check(request: Request) -> None:
    """Find at once what would stop the job. Raises PenumbraError."""
    export.check(request.scene, request.cast, request.settings)
    passes.check(request.scene)


def harmonize(request: Request, exporting: Export) -> jobs.Steps:
    """The whole job. The scene changes in the last step, and as one step of undo.

    A range of frames keeps its folder when it is interrupted, so that the next run continues it.
    """
    started = time.monotonic()
    # Undo moves the data while a job runs, so only names and identifiers are kept across a yield.
    scene_uid, name, settings, output = (
        request.scene.session_uid,
        request.cast.name,
        request.settings,
        request.output,
    )
    folder, resumable = _job_folder(request)
    try:
        check(request)
        backend = preferences.backend()  # warms up while the scene is exported
        job_id = uuid.uuid4().hex
        notices = yield from exporting(request, folder, job_id)
        yield from jobs.run_backend(backend, folder, job_id, (EXPORTED, COMPUTED))
        yield Progress("Writing the result", COMPUTED)
        result = HarmonizeResult.load(folder)
        applied = passes.apply_result(scene_of(scene_uid), name, result, folder, settings, output)
        if bpy.ops.ed.undo_push.poll():  # there is no undo without a window
            bpy.ops.ed.undo_push(message="Harmonize Shading")
        resumable = False
    except Cancelled:
        raise Cancelled("the frames that are done are kept for the next run" if resumable else "") from None
    finally:
        if not resumable:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - started
    notices = tuple(dict.fromkeys((*notices, *result.notices, *applied.notices)))
    return Outcome(f"Shading and shadow of {name} are in the compositor ({seconds:.0f} s)", notices)


def export_here(show: Callable[[Progress], None]) -> Export:
    """Export in this process, which waits for it: for scripts and `blender -b`. `show` gets the progress."""

    def steps(request: Request, folder: Path, _job_id: str) -> Generator[Progress, None, tuple[str, ...]]:
        yield Progress("Exporting", 0.0)
        exported = export.export_frames(
            request.scene,
            request.view_layer,
            request.cast,
            request.frames,
            folder,
            request.settings,
            lambda stage, fraction: show(Progress(stage, EXPORTED * fraction)),
        )
        return exported.notices

    return steps


def export_beside(request: Request, folder: Path, job_id: str) -> Generator[Progress, None, tuple[str, ...]]:
    """Export in a background Blender on a copy of the scene, so that the interface stays responsive."""
    yield Progress("Copying the scene", 0.0)
    command = export.spawn_export(
        request.scene, request.view_layer, request.cast, request.frames, folder, request.settings, job_id
    )
    log = preferences.log_file("export")
    child = child_process.spawn(command, log)
    try:
        return (yield from _follow_export(child, log))
    finally:
        _end(child)


def _follow_export(child: subprocess.Popen[bytes], log: Path) -> Generator[Progress, None, tuple[str, ...]]:
    reader = child_process.Reader(child.stdout.fileno())  # type: ignore[union-attr]
    shown, rest, at_end = Progress("Exporting", 0.0), b"", False
    while not at_end:
        yield shown
        data, at_end = reader.read()
        *lines, rest = (rest + data).split(b"\n")
        for message in filter(None, map(export.parse_message, lines)):
            if message["type"] == "progress":
                shown = Progress(message["stage"], EXPORTED * message["fraction"])
            elif message["type"] == "error":
                raise PenumbraError(message["message"], message["remedy"])
            elif message["type"] == "done":
                return tuple(message["notices"])
    raise PenumbraError(
        f"The background Blender that exports the scene ended unexpectedly (exit status {child.wait()}).",
        f"Run again; its log is {log}.",
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    child.stdout.close()  # type: ignore[union-attr]
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(EXPORT_QUIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _job_folder(request: Request) -> tuple[Path, bool]:
    """(a new or interrupted job's folder, whether an interruption keeps it)"""
    if len(request.frames) == 1 or not bpy.data.filepath:
        return Path(tempfile.mkdtemp(prefix="penumbra-", dir=bpy.app.tempdir)), False
    folders = preferences.user_folder("jobs")
    for old in folders.iterdir():
        if time.time() - old.stat().st_mtime > KEPT_DAYS * 86400:
            shutil.rmtree(old, ignore_errors=True)
    what = [bpy.data.filepath, request.scene.name, request.cast.name, request.frames]
    folder = folders / hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    folder.mkdir(exist_ok=True)
    return folder, True
