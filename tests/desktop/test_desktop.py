# SPDX-License-Identifier: GPL-3.0-or-later
"""The packaged extension in a real desktop Blender, headless and with a simulated mouse.

See scripts/desktop.py for the launcher that PENUMBRA_BLENDER names. PENUMBRA_SCREENSHOTS names a folder that keeps the
screenshots.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from backend.objects import photographs
from backend.objects.projection import projection
from backend.objects.samples import FIRST_SEED, Lights
from backend.objects.shapes import make_shape
from scripts.desktop import LAUNCHER, ROOT, Desktop

HERE = Path(__file__).parent
EMULATED = HERE.parent / "blender_addon" / "emulated_backend.py"
PYTHON = "PENUMBRA_BACKEND_PYTHON"

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


@pytest.fixture(scope="module")
def emulated(installed: tuple[Desktop, Path]) -> dict[str, str]:
    """The variable that has Blender use the emulated backend, whose behaviour a file beside that "Python" names."""
    python = installed[1] / "emulated" / "python"
    python.parent.mkdir()
    python.write_text(
        f'#!/bin/sh\nexec {shlex.join([sys.executable, str(EMULATED)])} "$(cat "$(dirname "$0")/behaviour")"\n'
    )
    python.chmod(0o755)
    return {PYTHON: str(python)}


@pytest.fixture
def photograph(installed: tuple[Desktop, Path]) -> Path:
    path = installed[1] / "astronaut.png"
    cv2.imwrite(str(path), data.astronaut()[..., ::-1])
    return path


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
    assert names == ["ready", "progress", "cancelled", "done", "compositor", "undone", "redone"]


def test_first_run(installed):
    names = run_scenario(installed, "click_first_run.py", sys.executable, environment={PYTHON: ""})
    shown = ["no_backend", "harmonized_without_backend", "preferences_install", "preferences_existing", "first_result"]
    assert names == shown


@pytest.mark.parametrize("when", ["export", "backend"])
@pytest.mark.parametrize(("way", "status"), [("quit", 0), ("crash", 128 + signal.SIGKILL)])
def test_closing_in_mid_job_leaves_no_process(installed, way, status, when):
    blender, _ = installed
    run_scenario(installed, "click_close.py", way, when, status=status)
    until = time.monotonic() + 10.0
    while left := blender.processes():
        assert time.monotonic() < until, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
        time.sleep(0.1)


def test_loading_another_file_in_mid_job(installed, emulated):
    other = installed[1] / "other" / "other.blend"
    other.parent.mkdir()
    shutil.copy(demo(installed[1]), other)
    names = run_scenario(installed, "click_load.py", str(other), environment=emulated)
    assert names == ["loaded_in_mid_job", "harmonized_after_loading"]


def test_an_animation_goes_on_where_it_was_interrupted(installed):
    names = run_scenario(installed, "click_animation.py")
    assert names == ["animation", "animation_interrupted", "animation_done"]


def test_what_the_panel_says_and_how_it_looks(installed, emulated):
    names = run_scenario(installed, "click_panel.py", environment=emulated)
    assert names == ["another_frame", "outdated", "narrow", "light_theme", "two_characters"]


def test_the_sun_of_the_plate_can_be_turned_and_its_shadow_dragged(installed):
    assert run_scenario(installed, "click_light.py") == ["given", "dragged", "turned"]


def test_import_button(installed, photograph):
    names = run_scenario(installed, "click_import.py", str(photograph))
    assert names == ["file_browser", "file_browser", "importing", "imported"]


def test_people_are_chosen_in_a_dialog(installed, emulated, photograph):
    names = run_scenario(installed, "click_choose.py", str(photograph), environment=emulated)
    assert names == ["file_browser", "people", "one_imported"]


@pytest.mark.parametrize("network", [False, True])
def test_import_object_button(installed, emulated, photograph, network):
    weights = installed[1] / f"weights_{network}"
    (weights / "reconstructor").mkdir(parents=True)
    if network:
        (weights / "reconstructor" / "model.safetensors").touch()
    environment = {**emulated, "PENUMBRA_WEIGHTS": str(weights)}
    names = run_scenario(installed, "click_object.py", str(photograph), environment=environment)
    assert names == (["file_browser", "object_imported"] if network else ["object_without_network"])


def test_an_object_is_imported_by_the_bundled_network_and_reshaped(installed):
    shape, random = make_shape("car", FIRST_SEED["real-test"]), np.random.default_rng(0)
    matrix = projection(np.radians(40), np.radians(15), 0, 4.2, np.radians(30))
    picture, alpha = photographs.take(shape, Lights().draw(random, "real-test"), matrix, random)
    path = installed[1] / "car.png"
    cv2.imwrite(str(path), np.dstack([picture[..., ::-1], np.round(255 * alpha).astype(np.uint8)]))
    names = run_scenario(installed, "click_reshape.py", str(path))
    assert names == ["file_browser", "object_imported", "reshaped"]


def run_scenario(
    installed: tuple[Desktop, Path],
    script: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    status: int = 0,
) -> list[str]:
    """Run a script of this folder in Blender's window on the demo; returns the names of what it has shown."""
    blender, folder = installed
    pictures = Path(os.environ.get("PENUMBRA_SCREENSHOTS", folder / "screenshots"))
    pictures.mkdir(parents=True, exist_ok=True)
    events = folder / f"{Path(script).stem}.json"
    for left in (events, *folder.glob("screen-*.png")):
        left.unlink(missing_ok=True)
    ended = blender.gui(
        folder / "screen.png", HERE / script, str(demo(folder)), str(events), *arguments, environment=environment
    )
    names = [] if not events.exists() else [str(event["name"]) for event in keep_screenshots(events, folder, pictures)]
    assert ended.returncode == status, f"after {names}: {ended.stdout}"
    assert "Traceback" not in ended.stdout, ended.stdout
    return names


def demo(folder: Path) -> Path:
    return next((folder / "demo").glob("*.blend"))


def keep_screenshots(events: Path, taken: Path, kept: Path) -> list[dict[str, object]]:
    """Name the last screenshot taken during each event after it."""
    log = json.loads(events.read_text())
    for event in log:
        during = [p for p in taken.glob("screen-*.png") if event["start"] < p.stat().st_mtime < event["end"]]
        assert len(during) >= 2, f"no screenshot was taken of {event['name']}"
        shutil.copy(max(during, key=lambda p: p.stat().st_mtime), kept / f"{event['name']}.png")
    return log
