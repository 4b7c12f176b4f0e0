# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the installable extension: `python3 scripts/build_extension.py` writes dist/penumbra-VERSION.zip.

Blender's own extension code, of every Blender that is prepared here, builds and validates it by the manifest; then its
contents are checked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import environment

OUTPUT = environment.ROOT / "dist"
COMMAND_LINE = "scripts/addons_core/bl_pkg/cli/blender_ext.py"
# What an artist's installation consists of. Anything else in the zip is a file that only this checkout has.
BELONGS = (
    "blender_manifest.toml",
    "__init__.py",
    "LICENSE",
    "README.md",
    "requirements.txt",
    "requirements-alone.txt",
    "backend/",
    "blender_addon/",
    "assets/body/",
    "assets/farm/",
    "assets/weights/",
)
REQUIRED = (
    "blender_manifest.toml",
    "__init__.py",
    "LICENSE",
    "backend/worker.py",
    "blender_addon/panels.py",
    "assets/weights/probenet/model.safetensors",
    "assets/weights/shadingnet/model.safetensors",
)


def build() -> Path:
    """Write the zip and return its path. Raises SystemExit with a plain sentence where it is not right."""
    pythons = [environment.prepare(), environment.prepare_blender_52()]
    command_lines = [(python, _command_line(python)) for python in pythons if python]
    OUTPUT.mkdir(exist_ok=True)
    for old in OUTPUT.glob("penumbra-*.zip"):
        old.unlink()
    _run(*command_lines[0], "build", "--source-dir", environment.ROOT, "--output-dir", OUTPUT)
    (package,) = OUTPUT.glob("penumbra-*.zip")
    for python, command_line in command_lines:
        _run(python, command_line, "validate", package)
    _check_contents(package)
    return package


def _check_contents(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
    if strays := [name for name in names if not name.startswith(BELONGS)]:
        sys.exit(f"These files do not belong in the extension: {', '.join(strays[:10])}. Exclude them in the manifest.")
    if missing := [name for name in REQUIRED if name not in names]:
        sys.exit(f"The extension lacks {', '.join(missing)}. Restore them from the repository.")


def _command_line(python: Path) -> Path:
    """The command line of Blender's extension system inside the bpy package of an environment."""
    finding = "import importlib.util as u; print(u.find_spec('bpy').submodule_search_locations[0])"
    folder = subprocess.run([str(python), "-c", finding], capture_output=True, text=True, check=True).stdout.strip()
    return next(Path(folder).glob(f"*/{COMMAND_LINE}"))


def _run(python: Path, command_line: Path, *arguments: str | Path) -> None:
    command = [str(part) for part in (python, command_line, *arguments)]
    if subprocess.call(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}):
        sys.exit(f"Blender's extension code refused to {arguments[0]} the extension; it says why above.")


if __name__ == "__main__":
    try:
        print(build())
    except environment.Unprepared as problem:
        sys.exit(str(problem))
