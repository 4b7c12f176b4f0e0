# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing, repairing and verifying a backend environment, in a process of its own. Standard library only."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...backend.protocol import Cancelled, PenumbraError
from . import failures, fetch
from .store import READY, Environment, Store
from .targets import Target
from .uv import Uv

PYTHON = "3.11"
DOCTOR_S = 600.0
# Where each step begins, as fractions of the whole.
UV, PACKAGES, VERIFYING = 0.01, 0.08, 0.9

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Installation:
    """What to install and where from.

    root: the extension's folder. store: where it goes. wheels: a folder of wheels; None for the package index.
    log: what uv and the check say. stop: set from elsewhere to end it.
    """

    root: Path
    store: Store
    target: Target
    wheels: Path | None
    log: Path
    progress: Progress
    stop: threading.Event

    def install(self) -> Environment:
        """Make a new environment and use it once it is verified; the one in use stays until then.

        What an interrupted installation finished is not done again. Raises PenumbraError and Cancelled.
        """
        started = time.monotonic()
        self._check_space()
        if self.target.accelerator == "cuda":
            _check_nvidia()
        environment = self.store.begin(self.target)
        uv = self._uv()
        self._make_python(uv, environment)
        self._install_packages(uv, environment)
        return self._finish(environment, started)

    def repair(self) -> Environment:
        """Install those packages of the environment in use again that are not as they were installed.

        Raises PenumbraError and Cancelled.
        """
        started = time.monotonic()
        environment = self.store.current()
        if environment is None or environment.fingerprint != self.target.fingerprint or not _runs(environment):
            return self.install()
        self.progress("Looking for damaged files", UV)
        broken = sorted(damaged(environment))
        environment = environment.set_state("incomplete")
        if broken:
            again = [part for name in broken for part in ("--reinstall-package", name)]
            self._install_packages(self._uv(), environment, *again)
        return self._finish(environment, started)

    def _check_space(self) -> None:
        parent = next(path for path in (self.store.folder, *self.store.folder.parents) if path.is_dir())
        needed = self.target.disk_mb
        free = shutil.disk_usage(parent).free // 1_000_000
        if free < needed:
            raise failures.out_of_space(needed, free)

    def _uv(self) -> Uv:
        self.progress("Getting uv, which installs the rest", UV)
        uv = Uv(Path(), self.store, self.log, self.wheels, self.stop)
        uv.program = fetch.fetch_uv(self.root, self.store.uv, self.wheels, uv.run_command)
        return uv

    def _make_python(self, uv: Uv, environment: Environment) -> None:
        """An empty environment on a Python of our own; where none can be fetched, on the computer's."""
        if _runs(environment):
            return
        self.progress(f"Getting Python {PYTHON}", UV + (PACKAGES - UV) / 2)
        not_fetched = uv.try_run("python", "install", PYTHON)
        make = ("venv", "--python", PYTHON, "--no-python-downloads", "--allow-existing", "--no-project")
        not_made = uv.try_run(*make, environment.folder)
        if not_made is not None:
            raise failures.explain(not_fetched or not_made)

    def _install_packages(self, uv: Uv, environment: Environment, *options: str) -> None:
        def report(said: str, share: float) -> None:
            stage = f"Downloading {said}" if said and share < 1 else "Installing packages"
            self.progress(stage, PACKAGES + (VERIFYING - PACKAGES) * share)

        report("", 0.0)
        source = ["--no-index", "--find-links", self.wheels] if self.wheels else []
        for lock in self.target.locks:
            index = ["--index-url", self.target.torch_index] if "torch" in lock.stem and not self.wheels else []
            # The locks name all that is needed; what else a package asks for was left out on purpose.
            shape = ["--no-deps", "--only-binary", ":all:"]
            arguments = ["--python", environment.python, *shape, *source, *index, *options]
            uv.run("pip", "install", *arguments, "-r", lock, report=report, expected_mb=self.target.disk_mb)

    def _finish(self, environment: Environment, started: float) -> Environment:
        self.progress("Checking the installation", VERIFYING)
        if broken := sorted(damaged(environment)):
            raise PenumbraError(f"Files of {', '.join(broken[:4])} are damaged.", "Click Repair.")
        findings = self._doctor(environment)
        problems = [finding for finding in findings if finding["level"] == "problem"]
        if problems:
            raise PenumbraError(problems[0]["text"], problems[0]["remedy"])
        seconds = round(time.monotonic() - started)
        environment = environment.set_state(READY, seconds=seconds, findings=findings)
        self.store.use(environment)
        self.progress("Installed", 1.0)
        return environment

    def _doctor(self, environment: Environment) -> list[dict[str, str]]:
        """What the backend finds about itself in its new environment."""
        command = [str(environment.python), "-s", "-m", "backend", "doctor", "--json"]
        answer = self._output(command)
        with contextlib.suppress(ValueError, KeyError):
            return json.loads(answer)["findings"]
        raise PenumbraError("The installed backend does not run.", "Click Repair; the log says more.")

    def _output(self, command: list[str]) -> str:
        """What a program in the extension's folder prints; the log keeps all that it says."""
        until = time.monotonic() + DOCTOR_S
        with self.log.open("ab") as log, tempfile.TemporaryFile() as printed:
            log.write(f"--- {' '.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                command,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=log,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            while process.poll() is None and time.monotonic() < until:
                if self.stop.wait(0.1):
                    process.kill()
                    raise Cancelled
            process.kill()
            printed.seek(0)
            text = printed.read()
            log.write(text)
        return text.decode(errors="replace")


def damaged(environment: Environment) -> Iterator[str]:
    """The installed packages with files that are missing or have not the size that they were installed with."""
    for record in environment.folder.glob("**/site-packages/*.dist-info/RECORD"):
        with record.open(newline="", encoding="utf-8") as file:
            if any(_differs(record.parent.parent / row[0], row[2]) for row in csv.reader(file) if len(row) == 3):
                yield record.parent.name.partition("-")[0].replace("_", "-").lower()


def _differs(path: Path, size: str) -> bool:
    if path.suffix == ".pyc":
        return False
    try:
        return bool(size) and path.stat().st_size != int(size)
    except OSError:
        return True


def _runs(environment: Environment) -> bool:
    try:
        command = [str(environment.python), "-c", "import encodings"]
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _check_nvidia() -> None:
    """Raises PenumbraError where the NVIDIA card or its driver cannot run the CUDA environment."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise PenumbraError("No NVIDIA driver was found.", "Install it, or choose CPU.")
    query = [program, "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired, ValueError):
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False).stdout
        cards = [[part.strip() for part in line.split(",")] for line in answer.splitlines()]
        unfit = [failures.unfit_card(name, driver, float(capability)) for name, driver, capability in cards]
        if unfit and all(unfit):
            raise unfit[0]
