# SPDX-License-Identifier: GPL-3.0-or-later
"""Report Problem: what helps is in it, and nothing personal."""

from __future__ import annotations

import getpass
from pathlib import Path

import bpy
import pytest
from penumbra.backend.protocol import PenumbraError
from penumbra.blender_addon import jobs, preferences, report
from penumbra.blender_addon.jobs import Job


def test_the_report_has_what_helps_and_nothing_personal(scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def steps() -> jobs.Steps:
        raise PenumbraError(f"{tmp_path}/scene.blend cannot be read.", "Look at it.")
        yield

    monkeypatch.setattr(Path, "home", lambda: tmp_path.parent)
    preferences.log_file("backend").write_text(
        f"--- {Path.home()}/.config/python -m backend\n"
        + "C:\\Users\\Anna\\penumbra\n/Users/Otto/Desktop/x.png\n" * 200
        + f"scene.blend by {getpass.getuser()}: RuntimeError\n"
    )
    jobs.start(Job(steps()))
    while jobs.latest().step():
        pass
    assert bpy.ops.penumbra.report_problem() == {"FINISHED"}
    text = (preferences.user_folder("reports") / "penumbra-report.txt").read_text("utf-8")
    for wanted in ("Penumbra 0.", f"Blender {bpy.app.version_string}", "cannot be read", "RuntimeError", "1 ARMATURE"):
        assert wanted in text
    assert "character: 2 parts" in text
    for personal in ("Anna", "Otto", str(tmp_path), str(tmp_path.parent), "Rig", "Hat", "scene.blend", "plate.png"):
        assert personal not in text, personal
    assert len(text.splitlines()) < 200, "the end of a log is enough"


def test_a_user_is_no_part_of_a_word(monkeypatch: pytest.MonkeyPatch, empty_scene) -> None:
    monkeypatch.setattr(report, "_user", lambda: "art")
    assert report.without_personal_data("art started at 9") == "<user> started at 9"
