# SPDX-License-Identifier: GPL-3.0-or-later
"""Child processes that never make Blender wait: standard library only, no threads."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

LOG_BYTES = 1_000_000
READ_BYTES = 1 << 18  # at a time: a child that never stops writing must not stop Blender
LOG_VARIABLE = "PENUMBRA_LOG"  # tells the child which file its messages can point at


def spawn(
    command: Sequence[str], log: Path, cwd: Path | None = None, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a program with a pipe from its standard output and its standard error appended to a log file.

    Python's own variables are kept from it, as Blender's Python is not the child's. Raises OSError.
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")}
    environment |= {"PYTHONUTF8": "1", LOG_VARIABLE: str(log)}
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size >= LOG_BYTES:
        log.unlink()
    with log.open("ab") as errors:  # what the child starts may append to it as well
        errors.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n".encode())
        errors.flush()
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=errors,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )


class Reader:
    """Reads what a pipe holds, without waiting, on every platform and Python of Blender."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        if os.name != "nt":
            os.set_blocking(descriptor, False)

    def read(self) -> tuple[bytes, bool]:
        """(bytes, whether the other side has closed the pipe); where it holds very much, the rest comes next time."""
        data = b""
        try:
            while len(data) < READ_BYTES:
                chunk = self._read_some()
                if not chunk:
                    return data, True
                data += chunk
        except BlockingIOError:
            pass
        return data, False

    def _read_some(self) -> bytes:
        if os.name != "nt":
            return os.read(self.descriptor, 65536)
        # Python 3.11 cannot make a pipe of Windows non-blocking, so look how much it holds before reading.
        import msvcrt
        from ctypes import wintypes

        held = wintypes.DWORD()
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(self.descriptor))
        if not ctypes.windll.kernel32.PeekNamedPipe(handle, None, 0, None, ctypes.byref(held), None):
            return b""
        if not held.value:
            raise BlockingIOError
        return os.read(self.descriptor, held.value)
