# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work in small steps: one job, driven by a blocking loop in scripts and by a timer in the interface.

A job is a generator that yields its `Progress` and returns its `Outcome`. It never waits: where
another process works it yields, so that Blender stays responsive. Cancelling throws `protocol.Cancelled` into the
generator, which ends its processes politely and may go on yielding while it does; dropping closes the generator, which
ends them at once. A job changes the scene in its last step only.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from ..backend import protocol
from ..backend.protocol import Cancelled, PenumbraError
from . import backend_process, translations
from .backend_process import BackendProcess

TICK_S = 0.1
STEP_S = 0.02
CANCEL_S = 5.0
IDLE_S = 120.0


@dataclass(frozen=True)
class Progress:
    """stage: what the artist reads; fraction: of the whole job, in [0, 1]; preview: a picture of what is being made."""

    stage: str
    fraction: float
    preview: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """message: what was done; notices: what the artist should know about it."""

    message: str
    notices: tuple[str, ...] = ()


Steps = Generator[Progress, None, Outcome]


class Job:
    """A job and what became of it.

    title: what it is called. of_file: whether it belongs to the open file, and ends where another one is loaded.
    state: "running", "done", "cancelled" or "failed"; outcome: what was done; problem: why it failed; left: what a
    cancelled job has left, as its Cancelled says.
    """

    def __init__(self, steps: Steps, title: str = "Harmonize Shading", of_file: bool = True) -> None:
        self.title, self.of_file = title, of_file
        self.progress = Progress("Starting", 0.0)
        self.state = "running"
        self.outcome: Outcome | None = None
        self.problem: PenumbraError | None = None
        self.left = ""
        self.cancelling = False
        self._steps = steps
        self._thrown = False
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def seconds_left(self) -> float | None:
        """An estimate, or None while it would be a guess."""
        fraction = self.progress.fraction
        return self.seconds * (1.0 - fraction) / fraction if fraction > 0.05 and self.seconds > 2.0 else None

    def cancel(self) -> None:
        """Ask the job to end; it is over when its state says so."""
        self.cancelling = True

    def drop(self) -> None:
        """End the job at once."""
        if self.state == "running":
            self.state = "cancelled"
            self._steps.close()

    def step(self) -> bool:
        """Do a little of the work. True while there is more to do."""
        try:
            if self.cancelling and not self._thrown:
                self._thrown = True
                self.progress = self._steps.throw(Cancelled())
            else:
                self.progress = next(self._steps)
            return True
        except StopIteration as end:
            self.state, self.outcome = "done", end.value
        except Cancelled as end:
            self.state, self.left = "cancelled", str(end)
        except PenumbraError as problem:
            self.state, self.problem = "failed", problem
        except Exception as problem:
            traceback.print_exc()
            self.state = "failed"
            self.problem = PenumbraError(
                f"Penumbra met an unexpected error: {type(problem).__name__}: {problem}.",
                "The system console has the details.",
            )
        return False


def stage_text(job: Job) -> str:
    """What a running job does."""
    return translations.label("Cancelling" if job.cancelling else job.progress.stage)


def progress_text(job: Job) -> str:
    """How far a running job is, and how long it will take."""
    share, left = f"{job.progress.fraction:.0%}", job.seconds_left
    return translations.label("{0}, {1} left").format(share, _duration(left)) if left else share


def status_text(job: Job) -> str:
    """Both in one line."""
    return f"{stage_text(job)}  {progress_text(job)}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


# The blocking driver: scripts, `blender -b`, tests.


def run_blocking(job: Job, line: TerminalLine) -> Outcome:
    """Run a job to its end, with its progress on the terminal; Ctrl-C cancels it.

    Raises PenumbraError where it fails and Cancelled where it was cancelled.
    """
    while True:
        try:
            if not job.step():
                break
            line.show(job.progress)
            time.sleep(STEP_S)
        except KeyboardInterrupt:
            job.cancel()
    line.end()
    if job.problem:
        raise job.problem
    if job.outcome is None:
        raise Cancelled
    return job.outcome


class TerminalLine:
    """Progress on a terminal, each text over the last one; elsewhere, as in a log, one line a stage."""

    def __init__(self) -> None:
        self.text = ""
        self.terminal = sys.stdout.isatty()

    def show(self, progress: Progress) -> None:
        text = f"Penumbra: {progress.stage}" + (f" {progress.fraction:.0%}" if self.terminal else "")
        if text != self.text:
            print(
                f"\r{text:<{len(self.text)}}" if self.terminal else text, end="" if self.terminal else "\n", flush=True
            )
        self.text = text

    def end(self) -> None:
        if self.text and self.terminal:
            print()


# The timer driver: the interface. The job belongs to this module and not to an operator, as Blender ends operators when
# it loads a file or changes a workspace.

_latest: Job | None = None


def latest() -> Job | None:
    """The job that runs in the interface, or the last one that did since the file was loaded."""
    return _latest


def running() -> bool:
    """Whether a job runs in the interface."""
    return _latest is not None and _latest.state == "running"


def start(job: Job) -> None:
    """Run a job beside the interface. Raises PenumbraError where one runs already."""
    global _latest
    if running():
        raise PenumbraError("Penumbra is already at work.", "Wait for it to end, or cancel it.")
    _latest = job
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=0.0, persistent=True)
    _redraw()


def _tick() -> float | None:
    job = _latest
    if job and job.state == "running":
        before = _seen(job)
        more = job.step()
        if not more or _seen(job) != before:
            _redraw()
        if more:
            return TICK_S
    if not bpy.app.timers.is_registered(_stop_idle_backend):
        bpy.app.timers.register(_stop_idle_backend, first_interval=IDLE_S, persistent=True)
    return None


def _seen(job: Job) -> tuple[object, ...]:
    """What panels draw of a job."""
    preview = job.progress.preview
    return status_text(job), preview and preview.is_file() and preview.stat().st_mtime_ns


def _stop_idle_backend() -> float | None:
    if running():
        return IDLE_S
    backend_process.stop_shared()
    return None


@persistent
def _drop(*_: object) -> None:
    """Another file is about to be loaded: what the running job was asked for is gone."""
    if _latest and _latest.of_file:
        _drop_latest()


def _drop_latest() -> None:
    global _latest
    if _latest:
        _latest.drop()
    _latest = None


def _redraw() -> None:
    """Draw the panels that show the job again, and not the view beside them."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                if (area.type, region.type) in (("VIEW_3D", "UI"), ("PREFERENCES", "WINDOW")):
                    region.tag_redraw()


# The part that every job has in common: the backend's run on a job folder.


def run_backend(
    backend: BackendProcess, folder: Path, job_id: str, share: tuple[float, float]
) -> Generator[Progress, None, None]:
    """Have the backend work on a job folder; `share` is the part of the whole job's progress that this is.

    Raises PenumbraError where the backend says so, dies or hangs. Thrown Cancelled, it asks the backend to stop and
    ends it after CANCEL_S seconds; closed, it ends it at once.
    """
    try:
        while backend.hello is None:
            yield Progress("Starting the backend", share[0])
            backend.poll()
        backend.busy = True
        backend.send(protocol.run(job_id, folder))
        yield from _follow(backend, folder, job_id, share)
    except Cancelled:
        yield from _cancel(backend, job_id)
        raise
    except GeneratorExit:
        backend.stop(force=True)
        raise
    finally:
        backend.busy = False


def _follow(
    backend: BackendProcess, folder: Path, job_id: str, share: tuple[float, float]
) -> Generator[Progress, None, None]:
    """Yield the backend's progress until it is done."""
    shown = Progress("Starting the backend", share[0])
    while True:
        for message in backend.poll():
            if message.get("id") != job_id:
                continue
            if message["type"] == "progress":
                fraction = share[0] + (share[1] - share[0]) * float(message["fraction"])
                preview = folder / message["preview"] if "preview" in message else shown.preview
                shown = Progress(message["stage"], fraction, preview)
            elif message["type"] == "error":
                raise PenumbraError(message["message"], message["remedy"])
            elif message["type"] in ("done", "cancelled"):
                backend.busy = False
                if message["type"] == "cancelled":
                    raise Cancelled
                return
        yield shown


def _cancel(backend: BackendProcess, job_id: str) -> Generator[Progress, None, None]:
    """Wait until the backend has stopped this job; end it where that takes too long."""
    if not backend.busy or not backend.alive:
        return
    until = time.monotonic() + CANCEL_S
    try:
        backend.send(protocol.cancel(job_id))
        while time.monotonic() < until:
            if any(m.get("id") == job_id and m["type"] in ("cancelled", "done", "error") for m in backend.poll()):
                return
            yield Progress("Cancelling", 1.0)
    except PenumbraError:
        return  # it ended instead
    backend.stop(force=True)


def register() -> None:
    bpy.app.handlers.load_pre.append(_drop)


def unregister() -> None:
    _drop_latest()
    for timer in (_tick, _stop_idle_backend):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    if _drop in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.remove(_drop)
    backend_process.stop_shared()
