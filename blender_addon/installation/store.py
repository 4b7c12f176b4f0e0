# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of a user's backend environments: which one is in use, and which is not finished.

    FOLDER/current.json               names the environment in use; always one that was verified
    FOLDER/environments/NAME/         a Python environment, with its state in penumbra.json
    FOLDER/uv, python, cache          what makes environments

A new environment is built beside the one in use, and takes its place once it is verified. Standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...backend.protocol import write_json
from .targets import Target

MARK = "penumbra.json"
INCOMPLETE, READY = "incomplete", "ready"


@dataclass(frozen=True)
class Environment:
    """An environment in the store: its folder, and what its mark says."""

    folder: Path
    mark: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def accelerator(self) -> str:
        return self.mark["accelerator"]

    @property
    def fingerprint(self) -> str:
        """Of the locks that it was made from; see `targets.Target`."""
        return self.mark["fingerprint"]

    @property
    def is_ready(self) -> bool:
        return self.mark["state"] == READY

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def set_state(self, state: str, **facts: Any) -> Environment:
        """Write the mark; returns the environment as it is then."""
        mark = {**self.mark, "state": state, "time": time.strftime("%Y-%m-%d %H:%M:%S"), **facts}
        write_json(self.folder / MARK, mark)
        return Environment(self.folder, mark)


class Store:
    """The environments below one folder, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uv, self.python, self.cache = folder / "uv", folder / "python", folder / "cache"

    def environments(self) -> list[Environment]:
        """All that carry a mark, the newest first."""
        marks = sorted((self.folder / "environments").glob(f"*/{MARK}"), key=lambda p: p.stat().st_mtime, reverse=True)
        return [Environment(path.parent, _read(path)) for path in marks if _read(path)]

    def current(self) -> Environment | None:
        """The environment in use."""
        name = _read(self.folder / "current.json").get("environment")
        return next((e for e in self.environments() if e.name == name), None)

    def unfinished(self) -> Environment | None:
        """The newest environment whose installation was interrupted."""
        return next((e for e in self.environments() if not e.is_ready), None)

    def begin(self, target: Target) -> Environment:
        """An environment to install into: the interrupted one of this target, or a new one. It is incomplete."""
        for environment in self.environments():
            if not environment.is_ready and environment.fingerprint == target.fingerprint:
                return environment
        name = f"{target.accelerator}-{target.fingerprint}"
        taken = {e.name for e in self.environments()}
        name = next(n for n in (name, *(f"{name}-{i}" for i in range(2, 99))) if n not in taken)
        folder = self.folder / "environments" / name
        folder.mkdir(parents=True, exist_ok=True)
        mark = {"accelerator": target.accelerator, "fingerprint": target.fingerprint}
        return Environment(folder, mark).set_state(INCOMPLETE)

    def use(self, environment: Environment) -> None:
        """Put a ready environment in the place of the former one, and remove all others."""
        write_json(self.folder / "current.json", {"environment": environment.name})
        for other in self.environments():
            if other.name != environment.name:
                _remove(other)
        shutil.rmtree(self.cache, ignore_errors=True)

    def remove(self) -> None:
        """Remove every environment and what made them. Raises OSError where a file is in use."""
        (self.folder / "current.json").unlink(missing_ok=True)
        for environment in self.environments():
            _remove(environment)
        for part in (self.uv, self.python, self.cache):
            if part.is_dir():
                shutil.rmtree(part)


def _remove(environment: Environment) -> None:
    """Remove a folder that carries our mark, the mark at last: what an interruption leaves is found again."""
    environment.set_state(INCOMPLETE)
    for item in environment.folder.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        elif item.name != MARK:
            item.unlink()
    shutil.rmtree(environment.folder)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
