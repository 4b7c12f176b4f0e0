# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend as a child process: no threads, no ports, no bpy.

It is started on first use, stays warm between jobs, and ends with Blender: its standard input is a pipe that closes
when Blender ends for whatever reason. Its standard output carries messages only,
read without blocking; its standard error goes to a log file that error messages name.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..backend import protocol
from ..backend.protocol import PenumbraError
from . import child_process

ROOT = Path(__file__).resolve().parent.parent  # the folder that holds the backend package
START_S = 180.0  # a first import of torch from a cold disk takes minutes on some machines
SILENCE_S = 300.0  # one stage of a large frame on a slow processor stays well below this
QUIT_S = 2.0
KILLED = 9  # the signal by which Linux takes memory back
MESSAGE_BYTES = 1 << 20  # more without the end of a line is no message
PYTHON_VARIABLE = "PENUMBRA_BACKEND_PYTHON"


def find_python(*preferred: str | Path) -> Path:
    """The Python that runs the backend: the variable PENUMBRA_BACKEND_PYTHON, else the first of `preferred` that is not
    empty, else the repository's own environment. Raises PenumbraError where there is none."""
    environment = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    own = environment if environment.is_file() else ""
    for candidate in filter(None, (os.environ.get(PYTHON_VARIABLE, ""), *preferred, own)):
        python = Path(candidate).expanduser()
        if not python.is_file():
            raise PenumbraError(
                f"The backend's Python is not at {python}.",
                "Choose another one in the extension's preferences.",
                fix="penumbra.show_preferences",
            )
        return python
    raise PenumbraError(
        "The backend is not installed.", "Install it in the extension's preferences.", fix="penumbra.show_preferences"
    )


def weights_folder(model: str = "") -> Path:
    """Where the backend looks for a trained network, or for all of them."""
    return Path(os.environ.get("PENUMBRA_WEIGHTS") or ROOT / "assets" / "weights") / model


class BackendProcess:
    """One backend process.

    command: what to run, in the folder that holds the backend package.
    log: file that standard error is appended to.
    start_s, silence_s: seconds without a message after which a starting or a working backend counts as hung.
    """

    def __init__(
        self, command: Sequence[str], log: Path, start_s: float = START_S, silence_s: float = SILENCE_S
    ) -> None:
        self.command = list(command)
        self.log = log
        self.hello: dict[str, Any] | None = None
        self.busy = False
        self._limits = start_s, silence_s
        self._silent = 0.0
        self._polled = time.monotonic()
        self._buffer = b""
        self._process = self._spawn()
        self._reader = child_process.Reader(self._process.stdout.fileno())  # type: ignore[union-attr]

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Write one message. Raises PenumbraError where the backend has ended."""
        try:
            self._process.stdin.write(protocol.encode(message))  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except (OSError, ValueError) as problem:
            raise self._ended() from problem
        self._silent = 0.0

    def poll(self) -> list[dict[str, Any]]:
        """The messages that have arrived, without waiting.

        Raises PenumbraError, and ends the process, where it ended by itself, wrote something that is no message,
        speaks another version of the protocol, or has been silent for too long while it starts or works.
        """
        data, at_end = self._reader.read()
        messages = self._split(data)
        for message in messages:
            if message["type"] == "hello":
                self._greet(message)
        if at_end and not messages:
            raise self._ended()
        self._watch_silence(bool(data))
        return messages

    def stop(self, force: bool = False) -> None:
        """End the process: by request and the end of its input, then by force."""
        if self.alive and not force:
            with contextlib.suppress(PenumbraError):
                self.send({"type": "quit"})
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(0.0 if force else QUIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]

    def _spawn(self) -> subprocess.Popen[bytes]:
        try:
            return child_process.spawn(self.command, self.log, cwd=ROOT, stdin=subprocess.PIPE)
        except OSError as problem:
            raise PenumbraError(
                f"The backend could not be started: {problem.strerror or problem}.",
                "Check the backend's Python in the extension's preferences.",
            ) from problem

    def _split(self, data: bytes) -> list[dict[str, Any]]:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        messages = []
        for line in filter(bytes.strip, lines):
            try:
                message = json.loads(line)
                message["type"]
            except (ValueError, TypeError, KeyError) as problem:
                raise self._babbles(line) from problem
            messages.append(message)
        if len(self._buffer) > MESSAGE_BYTES:
            raise self._babbles(self._buffer)
        return messages

    def _babbles(self, line: bytes) -> PenumbraError:
        self.stop(force=True)
        return PenumbraError(
            f"The backend wrote something that is not a message: {line[:80].decode(errors='replace')!r}.",
            f"Its log is {self.log}.",
        )

    def _greet(self, message: dict[str, Any]) -> None:
        if message.get("protocol") != protocol.PROTOCOL_VERSION:
            self.stop(force=True)
            raise PenumbraError(
                "The backend and the extension are of different versions.",
                "Choose the backend that belongs to this extension in its preferences.",
            )
        self.hello = message

    def _watch_silence(self, spoke: bool) -> None:
        # Only time between polls that follow each other closely counts: a Blender that was itself busy or a computer
        # that slept says nothing about the backend.
        now = time.monotonic()
        self._silent = 0.0 if spoke else self._silent + min(now - self._polled, 1.0)
        self._polled = now
        limit = self._limits[0] if self.hello is None else self._limits[1]
        if (self.hello is None or self.busy) and self._silent > limit:
            self.stop(force=True)
            raise PenumbraError(
                f"The backend has not answered for {limit:.0f} seconds and was ended.",
                f"Try again with a smaller render size; its log is {self.log}.",
            )

    def _ended(self) -> PenumbraError:
        with contextlib.suppress(subprocess.TimeoutExpired):  # its output ends a moment before it does
            self._process.wait(QUIT_S)
        self.stop(force=True)
        status = self._process.returncode
        if self.hello is None:
            return PenumbraError(
                f"The backend did not start (exit status {status}).",
                f"Check the backend's Python in the extension's preferences; its log is {self.log}.",
            )
        if status == -KILLED:
            return PenumbraError(
                "The backend was ended by the system, most likely because memory ran out.",
                f"Lower the render size or close other programs, and run again. Its log is {self.log}.",
            )
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return PenumbraError(
            f"The backend ended unexpectedly ({how}).",
            f"Run again; where memory is short, lower the render size. Its log is {self.log}.",
        )


_shared: BackendProcess | None = None


def shared(python: Path, log: Path) -> BackendProcess:
    """The warm backend of this Blender, started if there is none that runs on this Python."""
    global _shared
    command = [str(python), "-s", "-u", "-m", "backend", "serve"]
    if _shared and (_shared.busy or not _shared.alive or _shared.command != command):
        stop_shared()
    if _shared is None:
        _shared = BackendProcess(command, log)
    return _shared


def running() -> BackendProcess | None:
    """The warm backend, if there is one."""
    return _shared if _shared and _shared.alive else None


def stop_shared() -> None:
    """End the warm backend, which gives all its memory back."""
    global _shared
    if _shared:
        _shared.stop(force=_shared.busy)
    _shared = None
