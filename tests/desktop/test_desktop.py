# SPDX-License-Identifier: GPL-3.0-or-later
"""The packaged extension in a real desktop Blender, headless and with a simulated mouse.

See scripts/desktop.py for the launcher that PENUMBRA_BLENDER names. PENUMBRA_SCREENSHOTS names a folder that keeps the
screenshots.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import pytest
from skimage import data

from scripts.desktop import LAUNCHER, ROOT, Desktop

HERE = Path(__file__).parent

pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(not LAUNCHER, reason="PENUMBRA_BLENDER does not name a desktop Blender"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desktop, Path]:
    """Blender with the packaged extension, and a folder for files beside a copy of the demo."""
    folder = tmp_path_factory.mktemp("desktop")
    blender = Desktop(folder / "blender", visible=(folder,))
    shutil.copytree(ROOT / "assets" / "demo", folder / "demo")
    return blender, folder


def test_command_line(installed):
    blender, folder = installed
    out = folder / "out"
    ended = blender.run("-b", str(demo(folder)), "--command", "penumbra", "harmonize", "--out", str(out))
    assert ended.returncode == 0, ended.stdout
    assert "1 made, 0 there already" in ended.stdout
    assert list(out.rglob("shading_*.exr"))
    assert list(out.rglob("*_penumbra.blend"))


def test_command_line_fails_with_a_status(installed):
    blender, folder = installed
    ended = blender.run("-b", str(demo(folder)), "--command", "penumbra", "harmonize", "--character", "Nobody")
    assert ended.returncode == 3, ended.stdout
    assert "Nobody" in ended.stdout


def test_harmonize_button(installed):
    names = run_scenario(installed, "click_harmonize.py")
    assert names == ["ready", "progress", "cancelled", "done", "compositor", "undone"]


def test_the_sun_of_the_plate_can_be_turned(installed):
    assert run_scenario(installed, "click_light.py") == ["given", "turned"]


def test_import_button(installed):
    folder = installed[1]
    photograph = folder / "astronaut.png"
    cv2.imwrite(str(photograph), data.astronaut()[..., ::-1])
    names = run_scenario(installed, "click_import.py", str(photograph))
    assert names == ["file browser", "file browser", "importing", "imported"]


def run_scenario(installed: tuple[Desktop, Path], script: str, *arguments: str) -> list[str]:
    """Run a script of this folder in Blender's window on the demo; returns the names of what it has shown."""
    blender, folder = installed
    pictures = Path(os.environ.get("PENUMBRA_SCREENSHOTS", folder / "screenshots"))
    pictures.mkdir(parents=True, exist_ok=True)
    events = folder / f"{Path(script).stem}.json"
    ended = blender.gui(folder / "screen.png", HERE / script, str(demo(folder)), str(events), *arguments)
    names = [] if not events.exists() else [str(event["name"]) for event in keep_screenshots(events, folder, pictures)]
    assert ended.returncode == 0, f"after {names}: {ended.stdout}"
    return names


def demo(folder: Path) -> Path:
    return next((folder / "demo").glob("*.blend"))


def keep_screenshots(events: Path, taken: Path, kept: Path) -> list[dict[str, object]]:
    """Name the last screenshot taken during each event after it."""
    log = json.loads(events.read_text())
    for event in log:
        during = [p for p in taken.glob("screen-*.png") if event["start"] + 0.5 < p.stat().st_mtime < event["end"]]
        if during:
            shutil.copy(max(during, key=lambda p: p.stat().st_mtime), kept / f"{event['name']}.png")
    return log
