# SPDX-License-Identifier: GPL-3.0-or-later
"""A desktop Blender with the packaged extension, for tests and measurements.

The environment variable PENUMBRA_BLENDER names a launcher with two verbs: `run ARGUMENTS` runs Blender without a
screen, and `gui OUT.png SCRIPT.py ARGUMENTS` opens its window on a virtual screen with --enable-event-simulate, runs
the script, and leaves one screenshot a second as OUT-NNN.png. The backend runs on the calling Python.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAUNCHER = os.environ.get("PENUMBRA_BLENDER", "")
TIMEOUT_S = 1000


class Desktop:
    """Blender with user files of its own in `folder`, where the extension is packaged, installed and enabled.

    visible: further folders with files that Blender is to read or write.
    Raises RuntimeError, with what Blender printed, where that fails.
    """

    def __init__(self, folder: Path, visible: tuple[Path, ...] = ()) -> None:
        (folder / "user").mkdir(parents=True)
        bound = [str(folder), *map(str, visible), os.environ.get("REAL_BLENDER_BIND", "")]
        self._environment = {
            **os.environ,
            "BLENDER_USER_RESOURCES": str(folder / "user"),
            "REAL_BLENDER_BIND": ":".join(filter(None, bound)),
            "REAL_BLENDER_S": "900",
            "PENUMBRA_BACKEND_PYTHON": os.environ.get("PENUMBRA_BACKEND_PYTHON", sys.executable),
        }
        package = folder / "penumbra.zip"
        for arguments in (
            ("build", "--source-dir", str(ROOT), "--output-filepath", str(package)),
            ("install-file", "-r", "user_default", "-e", str(package)),
        ):
            ended = self.run("--command", "extension", *arguments)
            if ended.returncode:
                raise RuntimeError(ended.stdout)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Blender without a screen; what it prints is the result's stdout."""
        return self._launch("run", *arguments)

    def gui(
        self, picture: Path, script: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a script in Blender's window; see above."""
        return self._launch("gui", str(picture), str(script), *arguments, environment=environment)

    def processes(self) -> list[int]:
        """Identifiers of what runs on behalf of this Blender, itself included (Linux only)."""
        mark = f"BLENDER_USER_RESOURCES={self._environment['BLENDER_USER_RESOURCES']}".encode()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it may end meanwhile; what is dead already has no environment
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
        return found

    def _launch(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LAUNCHER, *arguments],
            env={**self._environment, **(environment or {})},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
