# SPDX-License-Identifier: GPL-3.0-or-later
"""Getting the pinned uv with whatever pip there is. Standard library only.

pip keeps to the index, proxy and certificates that this computer is set up for, and checks the hash.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ...backend.protocol import PenumbraError
from . import failures
from .targets import pinned_uv

Runs = Callable[[list[str]], str | None]  # runs a command; returns what it wrote where it failed


def fetch_uv(root: Path, folder: Path, wheels: Path | None, run: Runs) -> Path:
    """The program uv that the locks of the extension in `root` pin, fetched into `folder` unless it is there.

    wheels: a folder that holds its wheel, for computers without a connection. Raises PenumbraError.
    """
    version, lock = pinned_uv(root)
    place = folder / version
    if not _program(place):
        source = ["--no-index", "--find-links", str(wheels)] if wheels else []
        options = ["--quiet", "--upgrade", "--no-deps", "--only-binary", ":all:", "--require-hashes", *source]
        problem = _no_pip()
        for pip in _pips():
            output = run([*pip, "install", *options, "--target", str(place), "-r", str(lock)])
            if output is None:
                break
            if "No module named pip" not in output:
                problem = failures.explain(output)
        else:
            shutil.rmtree(place, ignore_errors=True)
            raise problem
    program = _program(place)
    if program is None:
        raise PenumbraError("uv, which installs the backend, is not complete.", "Click Install Backend again.")
    return program


def _program(place: Path) -> Path | None:
    return next((path for path in place.glob("*/*") if path.name in ("uv", "uv.exe")), None)


def _pips() -> Iterator[list[str]]:
    """Commands that run pip: Python's own, the one it brings along for new environments, and the computer's."""
    if importlib.util.find_spec("pip"):
        yield [sys.executable, "-m", "pip"]
    bundled = importlib.util.find_spec("ensurepip")
    for location in bundled.submodule_search_locations or [] if bundled else []:
        yield from ([sys.executable, str(wheel / "pip")] for wheel in Path(location).glob("_bundled/pip-*.whl"))
    if other := shutil.which("python3"):
        yield [other, "-m", "pip"]


def _no_pip() -> PenumbraError:
    return PenumbraError(
        "Blender's Python has no pip, which Blender from blender.org brings along.",
        "Install the package python3-pip of your system, or choose Use Existing Python.",
    )
