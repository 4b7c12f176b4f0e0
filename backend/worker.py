# SPDX-License-Identifier: GPL-3.0-or-later
"""Serving jobs: JSON lines on standard input and output, one job at a time.

The main thread works; a second thread reads, so that a cancel or the end of the input reaches a job that runs. Standard
output carries messages only: the descriptor is moved away before any library can print to it, and whatever is printed
goes to standard error, which is the log.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from . import protocol
from .import_jobs import (
    BodyJob,
    BodyResult,
    ObjectJob,
    ObjectResult,
    PeopleJob,
    PeopleResult,
    ReshapeJob,
    ReshapeResult,
)
from .protocol import Cancelled, HarmonizeJob, HarmonizeResult, PenumbraError

LOG_VARIABLE = "PENUMBRA_LOG"  # where our standard error goes to, for messages
END_S = 3.0  # a job gets this long to stop once the input has ended
QUIET_S = 0.1  # progress within one stage is reported no more often

Progress = Callable[[str, float], None]
Show = Callable[[str], None]  # gets the name of a new picture of the work in the job's folder
Job = HarmonizeJob | PeopleJob | BodyJob | ObjectJob | ReshapeJob
Result = HarmonizeResult | PeopleResult | BodyResult | ObjectResult | ReshapeResult
JOBS: dict[str, type[Job]] = {  # by kind
    "harmonize": HarmonizeJob,
    "people": PeopleJob,
    "body": BodyJob,
    "object": ObjectJob,
    "reshape": ReshapeJob,
}


def serve() -> int:
    """Serve jobs until "quit" or the end of the input. Returns the exit status."""
    channel = _claim_stdout()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C on a terminal reaches us too, but the parent decides
    _end_with_parent()
    server = _Server(channel)
    threading.Thread(target=server.read, args=(sys.stdin.buffer,), daemon=True).start()
    return server.work()


def run_once(folder: Path) -> int:
    """Run the job of one folder with a progress line on the terminal. Returns the exit status."""
    line = TerminalLine()
    try:
        _perform(folder, line.show)
    except PenumbraError as problem:
        line.end()
        if problem.__cause__:
            traceback.print_exc()
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        line.end()
        print("Cancelled.", file=sys.stderr)
        return 130
    line.end()
    print(f"Wrote {folder / 'result.json'}")
    return 0


class _Server:
    """The state that the reading and the working thread share."""

    def __init__(self, channel: BinaryIO) -> None:
        self._channel = channel
        self._inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._closing = threading.Event()
        self._ended = threading.Event()

    def read(self, stream: BinaryIO) -> None:
        """Sort incoming messages until the input ends; then end the process, politely first."""
        for line in stream:
            try:
                message = json.loads(line)
                kind = message["type"]
                if kind == "cancel":
                    self._cancelled.add(message["id"])
                elif kind == "run":
                    self._inbox.put(message)
                elif kind == "quit":
                    break
                else:
                    raise ValueError(kind)
            except (ValueError, KeyError, TypeError):
                print(f"not a message: {line!r}", file=sys.stderr, flush=True)
        self._closing.set()
        self._inbox.put(None)
        if not self._ended.wait(END_S):
            os._exit(1)

    def work(self) -> int:
        """Greet, then do what was asked for, in order."""
        from . import device

        self._send(protocol.hello(device.describe(device.pick("auto")), device.versions()))
        while message := self._inbox.get():
            self._send(self._run(str(message["id"]), Path(message["folder"])))
            device.release_memory()
        self._ended.set()
        return 0

    def _run(self, job_id: str, folder: Path) -> dict[str, Any]:
        """Run one job; returns the message of its end."""
        shown, told = ("", 0.0), 0.0

        def progress(stage: str, fraction: float, preview: str = "") -> None:
            nonlocal shown, told
            if job_id in self._cancelled or self._closing.is_set():
                raise Cancelled
            now = time.monotonic()
            if preview or stage != shown[0] or now - told > QUIET_S:
                shown, told = (stage, fraction), now
                self._send(protocol.progress(job_id, stage, fraction, preview))

        def show(preview: str) -> None:
            progress(*shown, preview)

        try:
            progress("Starting", 0.0)
            _perform(folder, progress, show)
        except Cancelled:
            return protocol.cancelled(job_id)
        except PenumbraError as problem:
            traceback.print_exc()
            return protocol.error(job_id, problem)
        finally:
            self._cancelled.discard(job_id)
        return protocol.done(job_id)

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._channel.write(protocol.encode(message))
            self._channel.flush()
        except OSError:  # nobody reads any more: the parent is gone
            os._exit(1)


def _perform(folder: Path, progress: Progress, show: Show | None = None) -> None:
    """Do a job folder's job, which writes its result there. Every failure becomes a PenumbraError."""
    try:
        _perform_where_memory_allows(folder, progress, show)
    except (PenumbraError, Cancelled):
        raise
    except FileNotFoundError as problem:
        raise PenumbraError(f"A file of the job is missing: {problem.filename}.", "Run again.") from problem
    except (OSError, MemoryError) as problem:
        raise _environment_failed(problem) from problem
    except Exception as problem:
        if _is_out_of_memory(problem):
            raise _environment_failed(MemoryError()) from problem
        raise PenumbraError(
            f"The backend met an unexpected error: {type(problem).__name__}: {problem}.", _where_the_details_are()
        ) from problem


def _perform_where_memory_allows(folder: Path, progress: Progress, show: Show | None) -> None:
    """On the job's device, or with a notice on the processor where a graphics card has too little memory."""
    from . import device

    job = JOBS[protocol.read_job(folder)[0]].load(folder)
    device.has_halved()
    try:
        result = _do(job, folder, progress, show)
        if device.has_halved():
            _noted(result, "The graphics card has little memory: the work was done in smaller parts.").save(folder)
        return
    except Exception as problem:
        if not _is_out_of_memory(problem) or job.device == "cpu":
            raise
        traceback.print_exc()
    device.release_memory()  # outside the exception, which holds on to what was computed
    on_processor = dataclasses.replace(job, device="cpu")
    on_processor.save(folder)
    result = _do(on_processor, folder, progress, show)
    _noted(result, "The graphics card has too little memory for this job: the processor did it.").save(folder)


def _noted(result: Result, notice: str) -> Result:
    return dataclasses.replace(result, notices=(notice, *result.notices))


def _do(job: Job, folder: Path, progress: Progress, show: Show | None) -> Result:
    """The imports are here, so that a first "hello" does not wait for them."""
    if isinstance(job, PeopleJob):
        from .body.choice import find_people

        return find_people(folder, progress)
    if isinstance(job, BodyJob):
        from .body.bodies import import_bodies

        return import_bodies(folder, progress)
    if isinstance(job, ObjectJob):
        from .objects.objects import import_object

        return import_object(folder, progress)
    if isinstance(job, ReshapeJob):
        from .objects.reshape import reshape

        return reshape(folder, progress)
    from .shading.harmonize import harmonize

    return harmonize(folder, progress, show=show)


def _is_out_of_memory(problem: BaseException) -> bool:
    return type(problem).__name__ == "OutOfMemoryError"  # torch's, which is no MemoryError


def _environment_failed(problem: OSError | MemoryError) -> PenumbraError:
    if isinstance(problem, MemoryError):
        return PenumbraError("The memory was not enough for this frame.", "Lower the render size, or choose the CPU.")
    return PenumbraError(
        f"A file could not be read or written: {problem.strerror or problem}.",
        f"Check the free space of the disk and its permissions. {_where_the_details_are()}",
    )


def _where_the_details_are() -> str:
    log = os.environ.get(LOG_VARIABLE)
    return f"The details are in {log}." if log else "The details are on the terminal."


def _claim_stdout() -> BinaryIO:
    """Take standard output for messages; whatever else writes to it, Python or C, writes to standard error."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return channel


def _end_with_parent() -> None:
    """Have Linux end this process with its parent, even in the middle of a long call that lets no thread run."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class TerminalLine:
    """Progress for people: one line that is written over on a terminal, else one line a stage."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._stage = ""

    def show(self, stage: str, fraction: float) -> None:
        if self._terminal:
            print(f"\r\x1b[K{fraction:4.0%}  {stage}", end="", flush=True)
        elif stage != self._stage:
            print(f"{fraction:4.0%}  {stage}", flush=True)
        self._stage = stage

    def end(self) -> None:
        if self._terminal and self._stage:
            print()
