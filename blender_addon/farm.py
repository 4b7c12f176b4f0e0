# SPDX-License-Identifier: GPL-3.0-or-later
"""Harmonize Shading for many computers: frame by frame into one folder, with nothing locked and nothing done twice.

First the light is estimated that a whole range of frames agrees on, then each frame is lit by it. Every task that is
given the same range finds the same light, so that chunks make the files that one run makes. All files are written
atomically and a frame's record comes last: what an interruption leaves is completed by the next run. The .blend file
stays as it is; a copy of it beside the images shows them in its compositor.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..backend.protocol import (
    GENERATED,
    SHADOW_NETWORKS,
    HarmonizeJob,
    HarmonizeResult,
    PenumbraError,
    replacing,
    write_json,
)
from . import export, gloss, jobs, looks, passes, preferences, result_files
from .backend_process import weights_folder
from .harmonize import Request
from .jobs import Outcome, Progress

LIGHT_SHARE = 0.3  # of the whole work


@dataclass(frozen=True)
class Task:
    """A request for some frames of an unbroken range, `light_frames`, whose light is one."""

    request: Request
    light_frames: tuple[int, ...]

    @property
    def target(self) -> Path:
        """The folder that all tasks write into. Raises PenumbraError where it has no place."""
        return result_files.folder_of(self.request.cast.name, self.request.output)

    @property
    def is_whole(self) -> bool:
        """Whether no other task makes frames of the range."""
        return self.request.frames == self.light_frames


def estimate_light(task: Task) -> jobs.Steps:
    """Write the light of the range, and leave the frames to other tasks."""
    export.make_writable(task.target)
    with _new_folder() as exported:
        yield from _light_of_range(task, Path(exported), 1.0)
    return Outcome(f"The light of {_named(task.light_frames)} is in {task.target}")


def harmonize(task: Task) -> jobs.Steps:
    """Write the light of the range and the images of the frames that are not in the task's folder yet.

    A task that is the whole range also writes the copy of the .blend file that shows them.
    """
    export.make_writable(task.target)
    frames = task.request.frames
    made, notices = 0, {}
    with _new_folder() as exported:
        lights = yield from _light_of_range(task, Path(exported), LIGHT_SHARE)
        for i, number in enumerate(frames):
            begin, end = (LIGHT_SHARE + (1 - LIGHT_SHARE) * (i + part) / len(frames) for part in (0, 1))
            found = yield from _frame(task, number, lights[number], Path(exported), (begin, end))
            made += found is not None
            notices |= dict.fromkeys(found or ())
    if task.is_whole and (made or not copy_path(task.target).is_file()):
        shown = yield from collect(task.request, task.target)
        notices |= dict.fromkeys(shown.notices)
    counts = f"{made} made, {len(frames) - made} there already"
    return Outcome(f"{_named(frames).capitalize()}: {counts}, in {task.target}", tuple(notices))


def collect(request: Request, target: Path) -> jobs.Steps:
    """Show the images of a folder in the compositor, and save that as a copy of the .blend file beside them.

    The open file is not written. Needs no backend. Raises PenumbraError where there are no images.
    """
    yield Progress("Saving a copy of the .blend file", 1.0)
    applied = passes.load_result(request.scene, request.cast.name, target, request.settings)
    path = copy_path(target)
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True)
    except RuntimeError as problem:
        raise PenumbraError(
            f"{path} could not be written: {str(problem).strip()}", "Free its disk, or choose another folder."
        ) from problem
    return Outcome(f"{path} shows the result in its compositor", applied.notices)


def copy_path(target: Path) -> Path:
    """The copy of the open .blend file that shows the images in `target`; never the open file itself."""
    return target / f"{Path(bpy.data.filepath).stem or 'scene'}_penumbra.blend"


def _light_of_range(task: Task, exported: Path, share: float) -> Generator[Progress, None, dict[int, Path]]:
    """The file of each frame's light; estimated together where they are not there for this scene."""
    place = task.target / f"light_{task.light_frames[0]:04d}_to_{task.light_frames[-1]:04d}"
    paths = {number: place / f"light_{number:04d}.json" for number in task.light_frames}
    index = place / "made_of.json"
    settings = task.request.settings
    choice = [  # other weights tell another light
        settings.estimator,
        settings.match,
        settings.light,
        _trained(settings.estimator),
        *([settings.shadow_softness, *map(_trained, SHADOW_NETWORKS)] if settings.shadow == GENERATED else ()),
    ]
    told_by = hashlib.sha256(json.dumps(choice).encode()).hexdigest()
    known = json.loads(index.read_text("utf-8")) if index.is_file() and all(p.is_file() for p in paths.values()) else {}
    known = known if known.get("told_by") == told_by else {}
    keys = {int(number): key for number, key in known.get("keys", {}).items()}
    blend = looks.file_digest(Path(bpy.data.filepath))
    # Where it is the same file, our own frames tell whether what it refers to has changed; else all have to be seen.
    looked_at = task.request.frames if known.get("blend") == blend else task.light_frames
    yield Progress("Looking for the light", 0.0)
    if not _export(task, looked_at, exported, keys).frames:
        return paths
    with _new_folder() as folder:
        job = _export(task, task.light_frames, exported, {})  # each frame's light depends on all of them
        dataclasses.replace(_moved(job, exported), only_light=True).save(Path(folder))
        yield from _run(Path(folder), (share * 0.5, share))
        place.mkdir(exist_ok=True)
        index.unlink(missing_ok=True)
        for path in paths.values():
            _copy(Path(folder) / path.name, path)
    write_json(
        index, {"blend": blend, "told_by": told_by, "keys": {str(frame.number): frame.key for frame in job.frames}}
    )
    return paths


def _trained(model: str) -> str:
    """What tells a network's weights apart."""
    config = weights_folder(model) / "config.json"
    return config.read_text("utf-8") if config.is_file() else ""


def _frame(
    task: Task, number: int, light: Path, exported: Path, share: tuple[float, float]
) -> Generator[Progress, None, tuple[str, ...] | None]:
    """Write one frame's images; returns notices, or None where they are there, made of the same input and light."""
    record = result_files.record_path(task.target, number)
    done = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    settings = task.request.settings
    shadow = json.dumps([settings.shadow, settings.shadow_softness])
    fingerprint = hashlib.sha256(light.read_bytes() + shadow.encode()).hexdigest()[:16]
    whole = all((task.target / f"{role}_{number:04d}.exr").is_file() for role in _roles(task))
    finished = {number: done["key"]} if whole and done.get("fingerprint") == fingerprint else {}
    yield Progress(f"Exporting frame {number}", share[0])
    job = _export(task, (number,), exported, finished)
    if not job.frames:
        return None
    with _new_folder() as name:
        folder = Path(name)
        _moved(job, exported, light).save(folder)
        record.unlink(missing_ok=True)
        yield from _run(folder, ((share[0] + share[1]) / 2, share[1]))
        if settings.gloss:
            request = task.request
            yield Progress("Rendering gloss", share[1])
            gloss.render_gloss(request.scene, request.view_layer, request.cast, folder, settings)
            yield from _run(folder, (share[1], share[1]))
        result = HarmonizeResult.load(folder)
        result_files.keep_result(result, folder, task.target, with_plate=True, facts={"fingerprint": fingerprint})
    return result.notices


def _export(task: Task, frames: tuple[int, ...], folder: Path, finished: dict[int, str]) -> HarmonizeJob:
    request = task.request
    return export.export_frames(
        request.scene, request.view_layer, request.cast, frames, folder, request.settings, finished=finished
    ).job


def _moved(job: HarmonizeJob, exported: Path, light: Path | None = None) -> HarmonizeJob:
    """A job for another folder on files that stay where they were exported to; `light` takes the place of theirs."""
    frames = tuple(
        dataclasses.replace(
            frame,
            meshes=str(exported / frame.meshes),
            passes=str(exported / frame.passes),
            light=str(light or (frame.light and exported / frame.light)),
            world="" if light else frame.world and str(exported / frame.world),
        )
        for frame in job.frames
    )
    return dataclasses.replace(job, frames=frames)


def _run(folder: Path, share: tuple[float, float]) -> Generator[Progress, None, None]:
    yield from jobs.run_backend(preferences.backend(), folder, uuid.uuid4().hex, share)


def _roles(task: Task) -> tuple[str, ...]:
    settings = task.request.settings
    asked = {"penumbra": settings.multilayer, "gloss": settings.gloss}
    return (*result_files.roles(task.request.cast.names), *(role for role, is_asked in asked.items() if is_asked))


def _named(frames: tuple[int, ...]) -> str:
    return f"frames {frames[0]} to {frames[-1]}" if len(frames) > 1 else f"frame {frames[0]}"


def _new_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="penumbra-", dir=bpy.app.tempdir, ignore_cleanup_errors=True)


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as partial:
        shutil.copyfile(source, partial)
