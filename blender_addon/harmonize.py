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
from typing import Protocol

import bpy

from ..backend.protocol import Cancelled, HarmonizeResult, PenumbraError
from . import child_process, export, gloss, jobs, passes, preferences
from .character import Cast
from .jobs import Outcome, Progress
from .scenes import scene_of

EXPORTED, COMPUTED = 0.35, 0.98  # where the parts end, as fractions of the whole job
GLOSS_FROM, GLOSS_TO = 0.65, 0.95
KEPT_DAYS = 7
EXPORT_QUIT_S = 2.0


class Renderer(Protocol):
    """Where Blender renders for a job."""

    def export(self, request: Request, folder: Path, job_id: str) -> Generator[Progress, None, tuple[str, ...]]:
        """Export the scene into the folder; returns notices."""
        ...

    def gloss(self, request: Request, folder: Path) -> Generator[Progress, None, None]:
        """Render the gloss of what was exported there and lit."""
        ...


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


def harmonize(request: Request, renderer: Renderer) -> jobs.Steps:
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
        notices = yield from renderer.export(request, folder, job_id)
        lit = GLOSS_FROM if settings.gloss else COMPUTED
        yield from jobs.run_backend(backend, folder, job_id, (EXPORTED, lit))
        if settings.gloss:
            yield from renderer.gloss(request, folder)
            yield from jobs.run_backend(backend, folder, uuid.uuid4().hex, (GLOSS_TO, COMPUTED))
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


@dataclass(frozen=True)
class RenderHere:
    """In this process, which waits for it: for scripts and `blender -b`. show: gets the progress."""

    show: Callable[[Progress], None]

    def export(self, request: Request, folder: Path, _job_id: str) -> Generator[Progress, None, tuple[str, ...]]:
        yield Progress("Exporting", 0.0)
        exported = export.export_frames(
            request.scene,
            request.view_layer,
            request.cast,
            request.frames,
            folder,
            request.settings,
            lambda stage, fraction: self.show(Progress(stage, EXPORTED * fraction)),
        )
        return exported.notices

    def gloss(self, request: Request, folder: Path) -> Generator[Progress, None, None]:
        yield Progress("Rendering gloss", GLOSS_FROM)
        gloss.render_gloss(
            request.scene,
            request.view_layer,
            request.cast,
            folder,
            request.settings,
            lambda stage, part: self.show(Progress(stage, GLOSS_FROM + (GLOSS_TO - GLOSS_FROM) * part)),
        )


class RenderBeside:
    """In a background Blender on a copy of the scene, so that the interface stays responsive."""

    def export(self, request: Request, folder: Path, job_id: str) -> Generator[Progress, None, tuple[str, ...]]:
        yield Progress("Copying the scene", 0.0)
        command = export.spawn_export(
            request.scene, request.view_layer, request.cast, request.frames, folder, request.settings, job_id
        )
        return (yield from _run_beside(command, Progress("Exporting", 0.0), (0.0, EXPORTED)))

    def gloss(self, request: Request, folder: Path) -> Generator[Progress, None, None]:
        first = Progress("Rendering gloss", GLOSS_FROM)
        yield from _run_beside(export.spawn_gloss(folder), first, (GLOSS_FROM, GLOSS_TO))


def _run_beside(
    command: list[str], first: Progress, share: tuple[float, float]
) -> Generator[Progress, None, tuple[str, ...]]:
    """A background Blender's work, as this share of the whole job; returns its notices. Raises PenumbraError."""
    log = preferences.log_file("export")
    child = child_process.spawn(command, log)
    try:
        return (yield from _follow(child, log, first, share))
    finally:
        _end(child)


def _follow(
    child: subprocess.Popen[bytes], log: Path, first: Progress, share: tuple[float, float]
) -> Generator[Progress, None, tuple[str, ...]]:
    reader = child_process.Reader(child.stdout.fileno())  # type: ignore[union-attr]
    shown, rest, at_end = first, b"", False
    while not at_end:
        yield shown
        data, at_end = reader.read()
        *lines, rest = (rest + data).split(b"\n")
        for message in filter(None, map(export.parse_message, lines)):
            if message["type"] == "progress":
                shown = Progress(message["stage"], share[0] + (share[1] - share[0]) * message["fraction"])
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
