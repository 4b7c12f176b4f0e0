# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepares the Python environments of this repository: `.venv`, and `.venv-bpy52` for tests on Blender 5.2.

Needs Python 3.9 or newer and nothing else. Both environments are reused as long as the requirement files stay as they
are; an installation that was interrupted is completed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAIN = ROOT / ".venv"
BLENDER_52 = ROOT / ".venv-bpy52"
BOOTSTRAP = ROOT / ".cache" / "bootstrap"
MAIN_REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
BLENDER_52_REQUIREMENTS = ("requirements-bpy52.txt",)
ALONE = "requirements-alone.txt"  # goes with requirements.txt, without dependencies
STAMP = "penumbra-requirements.sha256"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Fails where a shared library of the system is missing, which pip cannot see.
TRY_IMPORTS = {MAIN: "import torch, cv2, embreex, bpy", BLENDER_52: "import bpy"}


class Unprepared(Exception):
    """An environment cannot be prepared; the text is one plain sentence and what to do."""


def prepare() -> Path:
    """Prepare `.venv` with Python 3.11 and return its interpreter. Raises Unprepared."""
    return _prepare(MAIN, MAIN_REQUIREMENTS, "3.11", fetch=True)


def prepare_blender_52() -> Path | None:
    """Prepare `.venv-bpy52` where a Python 3.13 is at hand and return its interpreter, else None. Raises Unprepared."""
    if not _works(_interpreter(BLENDER_52), "3.13", "pip") and find_python("3.13") is None:
        return None
    return _prepare(BLENDER_52, BLENDER_52_REQUIREMENTS, "3.13", fetch=False)


def run_inside() -> None:
    """Prepare `.venv` and go on in it: runs the calling script again with its interpreter, unless it runs there."""
    if Path(sys.prefix).resolve() == MAIN.resolve():
        return
    try:
        python = prepare()
    except Unprepared as problem:
        sys.exit(str(problem))
    if os.name == "nt":  # where exec would return to the shell at once
        sys.exit(subprocess.call([str(python), *sys.argv]))
    os.execv(str(python), [str(python), *sys.argv])


def find_python(version: str) -> Path | None:
    """A working interpreter of this version, such as "3.11": from the path, pyenv, or what uv knows."""
    return next((python for python in _candidates(version) if _works(python, version)), None)


def _prepare(folder: Path, requirements: Sequence[str], version: str, fetch: bool) -> Path:
    python, stamp = _interpreter(folder), folder / STAMP
    alone = (ALONE,) if "requirements.txt" in requirements else ()
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in (*requirements, *alone))).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted and python.is_file():
        return python
    if not _works(python, version, "pip"):
        print(f"Preparing {folder.name} with Python {version}", flush=True)
        base = find_python(version) or (_fetch_python(version) if fetch else None)
        if base is None:
            raise Unprepared(_no_python(version))
        _check([base, "-m", "venv", "--clear", folder], f"{folder} could not be made. Check that it can be written to.")
    print(f"Installing {' and '.join(requirements)} into {folder.name}; the first time takes some minutes", flush=True)
    _install(python, requirements, alone)
    _try_imports(python, TRY_IMPORTS[folder])
    stamp.write_text(wanted)
    return python


def _install(python: Path, requirements: Sequence[str], alone: Sequence[str]) -> None:
    pip: list[str | Path] = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    files = [part for name in requirements for part in ("-r", ROOT / name)]
    torch = [line for name in requirements for line in (ROOT / name).read_text().split() if line.startswith("torch==")]
    if torch and _wants_cpu_torch():
        _succeeds([*pip, "--no-deps", "--extra-index-url", TORCH_CPU_INDEX, *torch])
    message = "Packages could not be installed. Check the connection to the package index and run again."
    _check([*pip, *files], message)
    for name in alone:
        _check([*pip, "--no-deps", "-r", ROOT / name], message)


def _wants_cpu_torch() -> bool:
    """Whether PyTorch's default build for Linux would only bring gigabytes of CUDA libraries that nothing uses."""
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi")
    return sys.platform == "linux" and not driver and not os.environ.get("PIP_FIND_LINKS")


def _try_imports(python: Path, statement: str) -> None:
    tried = subprocess.run([str(python), "-c", statement], capture_output=True, text=True, check=False)
    if tried.returncode:
        reason = (tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"])[-1]
        raise Unprepared(
            f"The installed packages cannot be loaded: {reason}. Where a library of the system is missing, install it"
            " (on Debian and Ubuntu: apt install libgl1 libsm6 libxi6 libxkbcommon0 libxrender1 libxfixes3 libgomp1)"
            " and run again."
        )


def _candidates(version: str) -> Iterator[Path]:
    names = [f"python{version}", "python3", "python"] if os.name != "nt" else ["python"]
    for name in names:
        if found := shutil.which(name):
            yield Path(found)
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        yield Path(getattr(sys, "_base_executable", sys.executable))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)
    if uv := shutil.which("uv"):
        yield from _from_uv(Path(uv), version)


def _from_uv(uv: Path, version: str) -> Iterator[Path]:
    found = subprocess.run([str(uv), "python", "find", version], capture_output=True, text=True, check=False)
    if found.returncode == 0:
        yield Path(found.stdout.strip())


def _fetch_python(version: str) -> Path | None:
    """Have uv fetch an interpreter; uv itself comes from the package index. None where that fails."""
    uv = shutil.which("uv")
    if uv is None:
        scripts = _interpreter(BOOTSTRAP).parent
        made = _succeeds([sys.executable, "-m", "venv", BOOTSTRAP])
        if not made or not _succeeds([_interpreter(BOOTSTRAP), "-m", "pip", "install", "--quiet", "uv"]):
            return None
        uv = str(scripts / ("uv.exe" if os.name == "nt" else "uv"))
    if not _succeeds([uv, "python", "install", version]):
        return None
    return next((python for python in _from_uv(Path(uv), version) if _works(python, version)), None)


def _works(python: Path, version: str, needed: str = "venv, ensurepip") -> bool:
    """Whether this interpreter runs, has this version, and the modules to go on with."""
    probe = f"import sys, {needed}; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([str(python), "-c", probe], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.strip() == version


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _no_python(version: str) -> str:
    return (
        f"No Python {version} was found and none could be fetched."
        f" Install Python {version} with its venv module (python.org, pyenv, or your system's packages) and run again."
    )


def _check(command: Sequence[str | Path], message: str) -> None:
    if not _succeeds(command):
        raise Unprepared(message)


def _succeeds(command: Sequence[str | Path]) -> bool:
    try:
        return subprocess.call([str(part) for part in command], cwd=str(ROOT)) == 0
    except OSError:
        return False


if __name__ == "__main__":
    try:
        print(prepare())
    except Unprepared as problem:
        sys.exit(str(problem))
