# SPDX-License-Identifier: GPL-3.0-or-later
"""What users complain about in add-ons that run a neural network, and that Penumbra gives no cause for it.

PROOFS names the tests of each complaint; those that stand nowhere else are here.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import threading
import time
import tomllib
from pathlib import Path

import bpy
import pytest
from penumbra.blender_addon import backend_process, compat, export, harmonize, jobs, passes, preferences
from penumbra.blender_addon.jobs import Job
from penumbra.blender_addon.operators.harmonize import requested

from tests.blender_addon.made_up_wheels import Folder
from tests.blender_addon.test_installation import Store, installation

PROOFS = {
    "installing fails, needs an administrator, is left half done, or breaks other add-ons": {
        "test_complaints": ["installing_leaves_blenders_own_python_alone"],
        "test_installation": [
            "an_interrupted_installation_is_incomplete_and_goes_on",
            "an_upgrade_stands_beside_the_old_one_until_it_is_verified",
            "repair_installs_the_damaged_package_again",
            "failures_in_an_artists_words",
        ],
    },
    "the Python of another Blender version does not fit": {
        "test_complaints": ["one_package_serves_the_python_of_every_blender"],
        "test_passes": ["a_later_blender_makes_the_same_pixels_and_gives_them_back"],
    },
    "Blender 5's compositor breaks it": {
        "test_compat": ["only_compat_reads_the_version", "a_compositor_is_created_and_removed"],
        "test_passes": ["the_group_makes_the_composite"],
    },
    "Blender freezes; no progress, no time left, no way out": {
        "test_complaints": ["blender_is_never_kept_waiting_and_always_told_how_far_it_is"],
        "test_jobs": ["stepping_never_waits", "cancel_uses_force_on_a_backend_that_does_not_answer"],
        "test_operators": ["cancel_in_every_stage_changes_nothing"],
    },
    "memory runs out, Blender dies with it, or it is never given back": {
        "test_complaints": ["memory_is_given_back_when_idle_and_by_a_button"],
        "../backend/test_worker": ["a_card_without_enough_memory_leaves_the_work_to_the_processor"],
    },
    "ports, addresses and servers are the artist's to set up": {
        "test_complaints": ["there_is_no_server_to_set_up"],
    },
    "backends stay behind, or end because Blender was busy": {
        "test_jobs": ["backend_ends_with_a_killed_blender", "a_busy_blender_is_not_mistaken_for_a_hung_backend"],
        "../backend/test_worker": ["dies_with_its_parent_though_its_input_stays_open"],
    },
    "threads crash Blender": {"test_complaints": ["no_thread_runs_inside_blender"]},
    "it destroys my nodes, or assumes what they are; results are lost": {
        "test_passes": [
            "the_artists_tree_is_not_cut",
            "removing_leaves_the_file_as_it_was",
            "an_unsaved_file_packs_one_frame_and_refuses_a_range",
        ],
        "test_interface": ["an_earlier_result_is_shown_without_a_backend"],
    },
    "its render handlers clash with other add-ons": {"test_complaints": ["no_handler_waits_for_renders"]},
}


def test_every_complaint_has_its_tests() -> None:
    here = Path(__file__).parent
    for complaint, files in PROOFS.items():
        for file, names in files.items():
            there = set(re.findall(r"^def test_(\w+)", (here / f"{file}.py").read_text("utf-8"), re.MULTILINE))
            assert set(names) <= there, complaint


@pytest.mark.skipif(os.name == "nt", reason="the made-up uv is a script with a first line")
def test_installing_leaves_blenders_own_python_alone(tmp_path: Path) -> None:
    def packages() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in Path(sysconfig.get_paths()["purelib"]).iterdir()}

    before = packages()
    store = Store(tmp_path / "user")
    environment = installation(Folder(tmp_path), store).install()
    assert packages() == before
    assert environment.python.is_relative_to(store.folder)
    assert environment.python != Path(sys.executable)


def test_one_package_serves_the_python_of_every_blender(root: Path) -> None:
    manifest = tomllib.loads((root / "blender_manifest.toml").read_text("utf-8"))
    assert "wheels" not in manifest
    assert "platforms" not in manifest
    assert manifest["blender_version_min"] == "4.5.0"
    compiled = {".so", ".pyd", ".dll", ".dylib", ".whl"}
    assert not [p for part in ("blender_addon", "backend") for p in (root / part).rglob("*") if p.suffix in compiled]


def test_blender_is_never_kept_waiting_and_always_told_how_far_it_is(harmonized_by, scene, monkeypatch) -> None:
    harmonized_by("finish")
    monkeypatch.setattr(export, "spawn_export", _exporter)
    job, waits, told = Job(harmonize.harmonize(requested(bpy.context), harmonize.RenderBeside())), [], []
    more = True
    while more:
        begun = time.perf_counter()
        more = job.step()
        waits.append(time.perf_counter() - begun)
        told.append((job.progress.fraction, jobs.progress_text(job)))
        time.sleep(0.02)
    assert job.state == "failed", "the stand-in exports nothing"
    assert max(waits[1:]) < 0.15, "the first step copies the scene"
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert any("left" in text for _, text in told)


def _exporter(*_: object) -> list[str]:
    """Stands in for the background Blender, which works for a few seconds."""
    code = """
import json, time
for i in range(40):
    print(json.dumps({"type": "progress", "stage": "Exporting", "fraction": i / 40}), flush=True)
    time.sleep(0.08)
print(json.dumps({"type": "done", "notices": []}), flush=True)
"""
    return [sys.executable, "-c", code]


def test_memory_is_given_back_when_idle_and_by_a_button(scene, backend, monkeypatch) -> None:
    for give_back in (jobs._stop_idle_backend, bpy.ops.penumbra.release_backend):
        process = backend("finish")
        monkeypatch.setattr(backend_process, "_shared", process)
        assert process.alive
        give_back()
        assert not process.alive
        assert backend_process.running() is None


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_there_is_no_server_to_set_up(real_backend) -> None:
    process = preferences.backend()
    until = time.monotonic() + 120
    while process.hello is None and time.monotonic() < until:
        process.poll()
        time.sleep(0.05)
    assert process.hello
    opened = [str(file.readlink()) for file in Path(f"/proc/{process.pid}/fd").iterdir()]
    assert not [name for name in opened if name.startswith("socket:")]


def test_no_thread_runs_inside_blender(harmonized_by, scene, root: Path) -> None:
    harmonized_by("render")
    before = threading.active_count()
    bpy.ops.penumbra.harmonize()
    assert threading.active_count() == before
    assert passes.result_node(scene, "Rig")
    inside = [p for p in (root / "blender_addon").glob("*.py") if p.name != "install_process.py"]
    assert not [p.name for p in inside if re.search(r"^(import|from) (threading|asyncio)", p.read_text("utf-8"), re.M)]


def test_no_handler_waits_for_renders(extension) -> None:
    ours = {
        name
        for name in dir(bpy.app.handlers)
        for handler in (getattr(bpy.app.handlers, name) if isinstance(getattr(bpy.app.handlers, name), list) else ())
        if "penumbra" in getattr(handler, "__module__", "")
    }
    assert not {name for name in ours if "render" in name or "compos" in name or "frame" in name}
    assert "load_pre" in ours, "the search would find them"
    assert compat.compositor_tree(bpy.context.scene) is None
