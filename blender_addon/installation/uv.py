# SPDX-License-Identifier: GPL-3.0-or-later
"""Running uv with everything of its own in our folder, and telling how far it is. Standard library only."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ...backend.protocol import Cancelled
from . import failures
from .store import Store

WATCH_S = 0.5
MEGABYTE = 1_000_000
OWN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_CACHE_DIR", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT")

Report = Callable[[str, float], None]  # (the package that is being downloaded or "", share of the expected megabytes)


class Uv:
    """The program uv, with its cache and its Pythons in the store.

    wheels: a folder in which everything is found, so that nothing is asked of the network; None without one.
    log: what uv says is appended to it. stop: set from elsewhere to end what runs, which raises Cancelled.
    """

    def __init__(self, program: Path, store: Store, log: Path, wheels: Path | None, stop: threading.Event) -> None:
        self.program, self.store, self.log, self.wheels, self.stop = program, store, log, wheels, stop

    def run(self, *arguments: str | Path, report: Report = lambda said, share: None, expected_mb: int = 0) -> None:
        """Run uv to its end; `expected_mb` is what its cache will hold then.

        Raises PenumbraError where it fails, and Cancelled.
        """
        output = self.try_run(*arguments, report=report, expected_mb=expected_mb)
        if output is not None:
            raise failures.explain(output)

    def try_run(
        self, *arguments: str | Path, report: Report = lambda said, share: None, expected_mb: int = 0
    ) -> str | None:
        """Run uv to its end; returns what it wrote where it failed, else None. Raises Cancelled."""
        return self.run_command([str(self.program), *map(str, arguments), "--no-progress"], report, expected_mb)

    def run_command(
        self, command: Sequence[str], report: Report = lambda said, share: None, expected_mb: int = 0
    ) -> str | None:
        """Run a program in uv's environment; as `try_run`."""
        begin = self._log_command(command)
        with self.log.open("ab") as errors:
            process = subprocess.Popen(
                list(command),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        try:
            while process.poll() is None:
                if self.stop.wait(WATCH_S):
                    raise Cancelled
                share = min(1.0, _size_mb(self.store.cache) / expected_mb) if expected_mb else 0.0
                report(_last_package(self._said(begin)), share)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return self._said(begin) if process.returncode else None

    def _environment(self) -> dict[str, str]:
        ours = {
            "UV_CACHE_DIR": str(self.store.cache),
            "UV_PYTHON_INSTALL_DIR": str(self.store.python),
            "UV_PYTHON_INSTALL_BIN": "0",
            "UV_PYTHON_INSTALL_REGISTRY": "0",
            "UV_NO_CONFIG": "1",
            "UV_SYSTEM_CERTS": "1",  # certificates of companies and antivirus programs stand in the system's store
            "UV_HTTP_TIMEOUT": "120",
        }
        if self.wheels:
            ours |= {"UV_OFFLINE": "1", "UV_PYTHON_INSTALL_MIRROR": self.wheels.resolve().as_uri()}
        return {**{name: value for name, value in os.environ.items() if name not in OWN}, **ours}

    def _log_command(self, command: Sequence[str]) -> int:
        with self.log.open("ab") as file:
            file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n".encode())
            return file.tell()

    def _said(self, begin: int) -> str:
        with self.log.open("rb") as file:
            file.seek(begin)
            return file.read().decode(errors="replace")


def _last_package(text: str) -> str:
    """The package that uv said last that it is downloading: "torch (183.0MiB)"."""
    found = re.findall(r"^\s*Downloading (\S+ \([^)]*\))", text, re.MULTILINE)
    return found[-1] if found else ""


def _size_mb(folder: Path) -> float:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118 (thousands of files, twice a second)
            except OSError:
                continue  # uv has moved it away
    return total / MEGABYTE
