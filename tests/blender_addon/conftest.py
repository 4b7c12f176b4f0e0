# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the artist's side share: the extension, a small scene, and a backend that behaves as asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import penumbra
import pytest
from penumbra.backend.protocol import PenumbraError
from penumbra.blender_addon import backend_process, from_photograph, preferences
from penumbra.blender_addon.backend_process import BackendProcess

from tests.blender_addon.scenes import character_scene

EMULATED = Path(__file__).with_name("emulated_backend.py")
StartBackend = Callable[..., BackendProcess]


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[StartBackend]:
    """Starts emulated backends, and ends them after the test."""
    started = []

    def start(behaviour: str, **limits: float) -> BackendProcess:
        process = BackendProcess([sys.executable, str(EMULATED), behaviour], tmp_path / "backend.log", **limits)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop(force=True)


@pytest.fixture
def harmonized_by(backend: StartBackend, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], BackendProcess]:
    """Has Harmonize Shading use an emulated backend of the given behaviour, which it returns."""

    def use(behaviour: str) -> BackendProcess:
        process = backend(behaviour)
        monkeypatch.setattr(preferences, "backend", lambda: process)
        return process

    return use


@pytest.fixture
def real_backend(scene: bpy.types.Scene) -> Iterator[None]:
    """The backend that the extension finds; it ends after the test."""
    try:
        preferences.backend_python()
    except PenumbraError:
        pytest.skip("no backend is at hand")
    yield
    backend_process.stop_shared()


@pytest.fixture
def extension() -> Iterator[None]:
    """The extension is enabled."""
    penumbra.register()
    yield
    penumbra.unregister()


@pytest.fixture
def scene(
    extension: None, empty_scene: bpy.types.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> bpy.types.Scene:
    """A saved file with a rigged character before a plate; what outlives a session is kept in the test's folder."""
    monkeypatch.setattr(preferences, "user_folder", lambda name: _folder(tmp_path / "user" / name))
    character_scene(tmp_path)
    return bpy.context.scene


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def photograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of an image of 320 × 200 pixels, for imports by the emulated backend, which needs no weights."""
    monkeypatch.setattr(from_photograph, "has_weights", lambda model: True)
    image = bpy.data.images.new("photograph", 320, 200)
    image.filepath_raw, image.file_format = str(tmp_path / "photograph.png"), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return str(tmp_path / "photograph.png")
