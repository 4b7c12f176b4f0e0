# SPDX-License-Identifier: GPL-3.0-or-later
"""What the repository promises about itself: sizes, licence headers, and which side imports what."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MEGABYTE = 1_000_000
LARGEST_FILE, LARGEST_TOTAL = 16 * MEGABYTE, 40 * MEGABYTE
BLENDER_MODULES = {"bpy", "mathutils", "bmesh", "bpy_extras", "gpu", "blf", "addon_utils", "bl_operators", "bl_ui"}
# What Blender imports of the backend: the contract, and what re-lights without a backend.
SHARED = [
    "backend/protocol.py",
    "backend/import_jobs.py",
    "backend/body/data.py",
    "backend/rays/camera.py",
    "backend/rays/directions.py",
    "backend/shading/bounce.py",
    "backend/shading/formula.py",
    "backend/shadow/recast.py",
]
FOLDERS = {"blender_addon", "backend", "assets", "scripts", "tests", "docs"}


@pytest.fixture(scope="module")
def tracked(root: Path) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := root / name).is_file()]


def test_tracked_files_are_small(tracked: list[Path]) -> None:
    sizes = {path: path.stat().st_size for path in tracked}
    assert {path.name: size for path, size in sizes.items() if size > LARGEST_FILE} == {}
    assert sum(sizes.values()) <= LARGEST_TOTAL


def test_the_top_level_keeps_its_folders(root: Path, tracked: list[Path]) -> None:
    folders = {path.relative_to(root).parts[0] for path in tracked if path.parent != root}
    assert {name for name in folders if not name.startswith(".")} == FOLDERS


def test_python_files_name_their_licence_and_purpose(root: Path, tracked: list[Path]) -> None:
    for path in tracked:
        if path.suffix == ".py" and path.stat().st_size:
            text = path.read_text("utf-8")
            assert text.startswith("# SPDX-License-Identifier: GPL-3.0-or-later\n"), path
            assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert "GNU GENERAL PUBLIC LICENSE" in (root / "LICENSE").read_text("utf-8")[:200]


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """(module, relative level) of all imports of a file, nested ones included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


def packages(path: Path) -> set[str]:
    return {module.partition(".")[0] for module, level in imported(path) if level == 0}


def test_the_backend_knows_nothing_of_blender(root: Path) -> None:
    files = sorted((root / "backend").rglob("*.py"))
    assert files
    for path in files:
        assert not packages(path) & (BLENDER_MODULES | {"backend", "blender_addon"}), path


def test_the_extension_needs_only_blender_and_numpy(root: Path) -> None:
    files = [root / "__init__.py", *sorted((root / "blender_addon").rglob("*.py")), *(root / name for name in SHARED)]
    for path in files:
        assert packages(path) <= BLENDER_MODULES | {"numpy"} | sys.stdlib_module_names, path


def test_the_extension_imports_only_the_shared_part_of_the_backend(root: Path) -> None:
    """Each import of the backend, resolved to a file, is one of the shared modules or a package without code."""
    for path in sorted((root / "blender_addon").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = path.parents[node.level - 1]
                base = folder.joinpath(*(node.module or "").split("."))
                for target in (base.with_suffix(".py"), *(base / f"{alias.name}.py" for alias in node.names)):
                    if target.is_file() and root / "backend" in target.parents:
                        assert target.relative_to(root).as_posix() in SHARED, path
    assert all(not path.read_text().strip() for path in (root / "backend").rglob("__init__.py"))
