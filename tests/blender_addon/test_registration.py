# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension registers cleanly, twice, and its package is what Blender's own tools accept."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import bpy
import penumbra
import pytest


def test_register_and_unregister_leave_nothing_behind(empty_scene):
    handlers = [list(bpy.app.handlers.load_pre), list(bpy.app.handlers.exit_pre) if bpy.app.version >= (5, 1) else []]
    for _ in range(2):
        penumbra.register()
        assert bpy.ops.penumbra.harmonize.idname() == "PENUMBRA_OT_harmonize"
        assert bpy.context.scene.penumbra.ground
        assert bpy.types.PENUMBRA_PT_harmonize.bl_category == "Penumbra"
        penumbra.unregister()
        assert not hasattr(bpy.types, "PENUMBRA_OT_harmonize")
        assert not hasattr(bpy.types, "PENUMBRA_PT_harmonize")
        assert "penumbra" not in bpy.types.Scene.bl_rna.properties
    assert handlers[0] == list(bpy.app.handlers.load_pre)


def test_registering_imports_nothing_heavy(root):
    code = (
        "import sys; sys.path.insert(0, 'tests'); import conftest, bpy, penumbra; penumbra.register();"
        "print(sorted({'torch', 'cv2', 'scipy', 'embreex'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The extension's zip, built by Blender's own code from the repository root."""
    path = tmp_path_factory.mktemp("package") / "penumbra.zip"
    subprocess.run(
        [sys.executable, str(_tool()), "build", "--source-dir", str(root), "--output-filepath", str(path)], check=True
    )
    return path


def test_blender_accepts_the_package(package):
    shown = subprocess.run(
        [sys.executable, str(_tool()), "validate", "--output-type=JSON", str(package)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not [line for line in shown.stdout.splitlines() if json.loads(line)[0] in ("ERROR", "WARN", "FATAL_ERROR")]


def test_the_package_holds_what_runs_and_nothing_else(package):
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
    assert {"__init__.py", "blender_manifest.toml", "blender_addon/panels.py", "backend/worker.py"} <= names
    assert {name.split("/")[0] for name in names} <= {
        "__init__.py",
        "blender_manifest.toml",
        "blender_addon",
        "backend",
        "assets",
        "README.md",
        "requirements.txt",
        "requirements-alone.txt",
        "LICENSE",
    }
    assert not [name for name in names if name.startswith("assets/demo") or "__pycache__" in name]
    assert package.stat().st_size < 40_000_000


def _tool() -> Path:
    scripts = Path(bpy.utils.system_resource("SCRIPTS"))
    return scripts / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
