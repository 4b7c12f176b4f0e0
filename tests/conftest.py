# SPDX-License-Identifier: GPL-3.0-or-later
"""How the tests see the project, on either interpreter.

The repository root is the Blender extension. Its folder may have any name, so it is loaded here as the package
`penumbra`: `from penumbra.blender_addon import export`. The backend is its own package: `from backend import images`.
The two spellings give separate modules (as the two processes have), so a test keeps to one of them for its classes.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts import extension

if TYPE_CHECKING:
    import bpy

BACKEND_PACKAGES = ("torch", "cv2", "embreex", "OpenEXR", "scipy", "skimage", "safetensors")


def missing(*packages: str) -> list[str]:
    return [name for name in packages if importlib.util.find_spec(name) is None]


STATUS = pytest.StashKey[int]()
MISSING_BACKEND = missing(*BACKEND_PACKAGES)
MISSING_BPY = missing("bpy")

extension.load()
collect_ignore: list[str] = []
if MISSING_BACKEND:
    collect_ignore.append("backend")
if MISSING_BPY:
    collect_ignore.append("blender_addon")


def pytest_report_header() -> list[str]:
    notices = []
    if MISSING_BACKEND:
        notices.append(f"tests/backend is not run: this Python has no {', '.join(MISSING_BACKEND)}")
    if MISSING_BPY:
        notices.append("tests/blender_addon is not run: this Python has no bpy")
    else:
        notices.append(f"bpy {importlib.metadata.version('bpy')}")
    return notices


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Everything is reported by now. bpy 4.5 sometimes hangs where it frees its memory at the end: leave without."""
    if "bpy" in sys.modules and STATUS in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[STATUS])


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root."""
    return extension.ROOT


@pytest.fixture
def empty_scene() -> Iterator[bpy.types.Scene]:
    """Blender with factory settings and nothing in the file; skips the test where there is no bpy."""
    bpy = pytest.importorskip("bpy")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    yield bpy.context.scene
    bpy.ops.wm.read_factory_settings(use_empty=True)
