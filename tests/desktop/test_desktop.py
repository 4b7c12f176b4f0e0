# SPDX-License-Identifier: GPL-3.0-or-later
"""The packaged extension in a real desktop Blender, headless and with a simulated mouse.

PENUMBRA_BLENDER names a launcher with two verbs: `run ARGUMENTS` runs Blender without a screen, and `gui OUT.png
SCRIPT.py ARGUMENTS` opens its window on a virtual screen with --enable-event-simulate, runs the script, and leaves one
screenshot a second as OUT-NNN.png. The backend runs on this test's own Python. PENUMBRA_SCREENSHOTS names a folder
that keeps the screenshots.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = os.environ.get("PENUMBRA_BLENDER", "")
HERE = Path(__file__).parent
ROOT = HERE.parents[1]

pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(not LAUNCHER, reason="PENUMBRA_BLENDER does not name a desktop Blender"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Blender's user files, in which the packaged extension is installed and enabled."""
    folder = tmp_path_factory.mktemp("desktop")
    (folder / "user").mkdir()
    package = folder / "penumbra.zip"
    blender(folder, "--command", "extension", "build", "--source-dir", str(ROOT), "--output-filepath", str(package))
    blender(folder, "--command", "extension", "install-file", "-r", "user_default", "-e", str(package))
    shutil.copytree(ROOT / "assets" / "demo", folder / "demo")
    return folder


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "BLENDER_USER_RESOURCES": str(folder / "user"),
        "REAL_BLENDER_BIND": ":".join(filter(None, (str(folder), os.environ.get("REAL_BLENDER_BIND")))),
        "REAL_BLENDER_S": "900",
        "PENUMBRA_BACKEND_PYTHON": os.environ.get("PENUMBRA_BACKEND_PYTHON", sys.executable),
    }


def blender(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run Blender without a screen; returns what it printed."""
    ended = subprocess.run(
        [LAUNCHER, "run", *arguments],
        env=environment(folder),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert ended.returncode == status, ended.stdout
    return ended.stdout


def test_command_line(installed):
    out = installed / "out"
    shown = blender(installed, "-b", str(demo(installed)), "--command", "penumbra", "harmonize", "--out", str(out))
    assert "Penumbra: Shading and shadow of" in shown
    assert list(out.rglob("*.exr"))


def test_command_line_fails_with_a_status(installed):
    shown = blender(
        installed, "-b", str(demo(installed)), "--command", "penumbra", "harmonize", "--character", "Nobody", status=1
    )
    assert "Nobody" in shown


def test_button(installed):
    pictures = Path(os.environ.get("PENUMBRA_SCREENSHOTS", installed / "screenshots"))
    pictures.mkdir(parents=True, exist_ok=True)
    events = installed / "events.json"
    script, screen = HERE / "click_harmonize.py", installed / "screen.png"
    ended = subprocess.run(
        [LAUNCHER, "gui", str(screen), str(script), str(demo(installed)), str(events)],
        env=environment(installed),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1000,
    )
    names = [] if not events.exists() else [event["name"] for event in keep_screenshots(events, installed, pictures)]
    assert ended.returncode == 0, f"after {names}: {ended.stdout}"
    assert names == ["ready", "progress", "cancelled", "done", "compositor", "undone"]


def demo(installed: Path) -> Path:
    return next((installed / "demo").glob("*.blend"))


def keep_screenshots(events: Path, taken: Path, kept: Path) -> list[dict[str, object]]:
    """Name the last screenshot taken during each event after it."""
    log = json.loads(events.read_text())
    for event in log:
        during = [p for p in taken.glob("screen-*.png") if event["start"] + 0.5 < p.stat().st_mtime < event["end"]]
        if during:
            shutil.copy(max(during, key=lambda p: p.stat().st_mtime), kept / f"{event['name']}.png")
    return log
