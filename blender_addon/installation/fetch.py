# SPDX-License-Identifier: GPL-3.0-or-later
"""Getting the pinned uv: from a folder of wheels, else with whatever pip there is. Standard library only.

pip keeps to the index, proxy and certificates that this computer is set up for, and checks the hash.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ...backend.protocol import PenumbraError, replacing
from . import failures
from .targets import here, pinned_uv

Runs = Callable[[list[str]], str | None]  # runs a command; returns what it wrote where it failed


def fetch_uv(root: Path, folder: Path, wheels: Path | None, run: Runs) -> Path:
    """The program uv that the locks of the extension in `root` pin, fetched into `folder` unless it is there.

    wheels: a folder that holds its wheel, for computers without a connection. Raises PenumbraError.
    """
    version, lock = pinned_uv(root)
    place = folder / version
    if not _program(place) and wheels:
        _unpack(wheels, version, lock, place)
    elif not _program(place):
        options = ["--quiet", "--upgrade", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
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


def _unpack(wheels: Path, version: str, lock: Path, place: Path) -> None:
    """Take uv out of its wheel for this computer, as pip would; some Linux packages of Blender come without pip.

    Raises PenumbraError.
    """
    fitting = [path for path in sorted(wheels.glob(f"uv-{version}-py3-none-*.whl")) if _fits(path.stem)]
    if not fitting:
        raise failures.explain(f"uv {version} was not found in the provided package locations")
    if hashlib.sha256(fitting[0].read_bytes()).hexdigest() not in re.findall(r"sha256:(\w+)", lock.read_text("utf-8")):
        raise failures.explain("hash mismatch")
    place.joinpath("bin").mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(fitting[0]) as archive:
        for name in archive.namelist():
            if name.endswith((".data/scripts/uv", ".data/scripts/uv.exe")):
                with replacing(place / "bin" / name.rpartition("/")[2]) as program:
                    # A script's first line names no Python yet.
                    program.write_bytes(re.sub(rb"\A#!python\b", f"#!{sys.executable}".encode(), archive.read(name)))
                    program.chmod(0o755)


def _fits(wheel: str) -> bool:
    """Whether the name of a wheel says that it is for this computer."""
    parts = {
        "linux-x64": ("manylinux", "x86_64"),
        "windows-x64": ("win", "amd64"),
        "macos-arm64": ("macosx", "arm64"),
    }.get(here(), (here(),))
    return wheel.endswith("-any") or all(part in wheel.rpartition("none-")[2] for part in parts)


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
