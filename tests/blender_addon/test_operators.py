# SPDX-License-Identifier: GPL-3.0-or-later
"""Harmonize Shading as scripts and the interface run it, with real export and nodes and an emulated backend."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest
from penumbra.backend.protocol import PenumbraError
from penumbra.blender_addon import export, harmonize, jobs, passes, result_files
from penumbra.blender_addon.jobs import Job
from penumbra.blender_addon.operators.harmonize import requested

from tests.blender_addon.scenes import contents


def test_a_script_gets_nodes(harmonized_by, scene):
    harmonized_by("render")
    assert bpy.ops.penumbra.harmonize() == {"FINISHED"}
    node = passes.result_node(scene, "Rig")
    assert node.inputs["Shading Strength"].default_value == 1.0
    assert bpy.ops.penumbra.harmonize() == {"FINISHED"}
    assert len(passes.result_nodes(scene)) == 1, "running again updates the result"


def test_one_step_of_undo(harmonized_by, scene):
    harmonized_by("render")
    before = contents()
    bpy.ops.ed.undo_push(message="Before")
    bpy.ops.penumbra.harmonize()
    assert contents() != before
    bpy.ops.ed.undo()
    assert contents() == before


def test_removing_leaves_the_file_as_it_was(harmonized_by, scene):
    harmonized_by("render")
    before = contents()
    bpy.ops.penumbra.harmonize()
    assert bpy.ops.penumbra.remove() == {"FINISHED"}
    assert contents() == before
    assert not bpy.ops.penumbra.remove.poll()


@pytest.mark.parametrize(
    ("behaviour", "remedy"),
    [
        ("refuse", "Choose another image"),
        ("crash", "Run again"),
        ("garbage", "Its log is"),
        ("stranger", "Choose the backend that belongs"),
        ("leaves", "Run again"),
        ("memory", "Lower the render size"),
        ("killed", "Lower the render size"),
        ("disk", "Check the free space"),
        ("truncated", "Run again"),
        ("incomplete", "Run Harmonize Shading again"),
    ],
)
def test_a_failure_leaves_scene_and_earlier_result_alone(harmonized_by, scene, tmp_path, behaviour, remedy):
    harmonized_by("render")
    bpy.ops.penumbra.harmonize()
    before, images = contents(), kept(tmp_path)
    harmonized_by(behaviour)
    with pytest.raises(RuntimeError, match=remedy) as told:
        bpy.ops.penumbra.harmonize()
    assert "unexpected error" not in str(told.value)
    assert contents() == before
    assert kept(tmp_path) == images
    assert passes.result_node(scene, "Rig")
    assert not list(Path(bpy.app.tempdir).glob("penumbra-*")), "nothing is left on the disk"
    harmonized_by("render")
    assert bpy.ops.penumbra.harmonize() == {"FINISHED"}


def kept(folder: Path) -> dict[str, bytes]:
    """The files of Rig's result, beside the .blend file."""
    files = {path.name: path.read_bytes() for path in (folder / "penumbra" / "Rig").iterdir()}
    assert "shading_0001.exr" in files
    return files


def test_a_disk_that_is_full_when_the_images_are_kept_spoils_no_earlier_one(
    harmonized_by, scene, tmp_path, monkeypatch
):
    harmonized_by("render")
    bpy.ops.penumbra.harmonize()
    before, images = contents(), kept(tmp_path)
    copies, copy = itertools.count(), shutil.copyfile

    def full_after_two(source, target):
        if next(copies) < 2:
            return copy(source, target)
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "penumbra" / "Rig" / "albedo_0001.exr").write_bytes(b"an earlier one")
    images["albedo_0001.exr"] = b"an earlier one"
    with monkeypatch.context() as patched:
        patched.setattr(result_files.shutil, "copyfile", full_after_two)
        with pytest.raises(RuntimeError, match=r"No space left on device.*Free some space"):
            bpy.ops.penumbra.harmonize()
    assert contents() == before
    assert kept(tmp_path) == images
    assert bpy.ops.penumbra.harmonize() == {"FINISHED"}


def test_poll_says_what_is_missing(scene):
    assert bpy.ops.penumbra.harmonize.poll()
    scene.camera = None
    with pytest.raises(RuntimeError, match="camera"):
        bpy.ops.penumbra.harmonize()


def step_until(job: Job, condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while job.step() and not condition():
        assert time.monotonic() < until, f"the job takes too long: {job.progress}"
        time.sleep(0.01)


@pytest.mark.parametrize("stage", ["Copying the scene", "Exporting", "Shading"])
def test_cancel_in_every_stage_changes_nothing(harmonized_by, scene, monkeypatch, stage):
    process = harmonized_by("work")
    before = contents()
    monkeypatch.setattr(export, "spawn_export", _exporter_that("waits" if stage == "Exporting" else "finishes"))
    job = Job(harmonize.harmonize(requested(bpy.context), harmonize.RenderBeside()))
    step_until(job, lambda: job.progress.stage == stage)
    job.cancel()
    step_until(job, lambda: False)
    assert job.state == "cancelled"
    assert contents() == before
    assert process.alive
    assert not list(Path(bpy.app.tempdir).glob("penumbra-*"))


@pytest.mark.parametrize(
    ("does", "sentence"), [("fails", "The disk is full."), ("dies", "ended unexpectedly (exit status 7)")]
)
def test_an_export_that_fails_is_a_plain_sentence(harmonized_by, scene, monkeypatch, does, sentence):
    harmonized_by("work")
    monkeypatch.setattr(export, "spawn_export", _exporter_that(does))
    job = Job(harmonize.harmonize(requested(bpy.context), harmonize.RenderBeside()))
    step_until(job, lambda: False)
    assert job.state == "failed"
    assert sentence in job.problem.message
    assert job.problem.remedy


def _exporter_that(does: str) -> Callable[..., list[str]]:
    """Stands in for the background Blender, which the bpy module does not have."""
    ends = {
        "finishes": "say(type='done', notices=[])",
        "waits": "time.sleep(60)",
        "fails": "say(type='error', message='The disk is full.', remedy='Make space.'); sys.exit(1)",
        "dies": "sys.exit(7)",
    }
    code = (
        "import json, sys, time\n"
        "def say(**message): print(json.dumps({**message, 'id': sys.argv[1]}), flush=True)\n"
        "print('Blender 5.2.2 LTS')\n"
        "say(type='progress', stage='Exporting', fraction=0.5)\n" + ends[does]
    )
    return lambda *arguments: [sys.executable, "-c", code, arguments[-1]]


def test_an_interrupted_range_is_continued_in_the_same_folder(harmonized_by, scene, monkeypatch):
    folders = []
    original = export.export_frames

    def remember(*arguments, **options):
        folders.append(arguments[4])
        return original(*arguments, **options)

    monkeypatch.setattr(export, "export_frames", remember)
    scene.penumbra.frames = "RANGE"
    harmonized_by("crash")
    with pytest.raises(RuntimeError):
        bpy.ops.penumbra.harmonize()
    assert folders[0].is_dir(), "what was exported is kept"
    harmonized_by("render")
    assert bpy.ops.penumbra.harmonize() == {"FINISHED"}
    assert folders[1] == folders[0]
    assert not folders[0].exists()
    assert passes.result_node(scene, "Rig")


def test_a_cancelled_range_says_what_it_has_left(harmonized_by, scene):
    harmonized_by("work")
    for frames, left in (("CURRENT", ""), ("RANGE", "the frames that are done are kept for the next run")):
        scene.penumbra.frames = frames
        job = Job(harmonize.harmonize(requested(bpy.context), harmonize.RenderHere(lambda _: None)))
        step_until(job, lambda job=job: job.progress.stage == "Shading")
        job.cancel()
        step_until(job, lambda: False)
        assert (job.state, job.left) == ("cancelled", left)


def test_a_job_survives_undo_and_notices_a_deleted_scene(harmonized_by, scene, monkeypatch):
    harmonized_by("render")
    monkeypatch.setattr(export, "spawn_export", _exporter_that("waits"))
    other = bpy.data.scenes.new("Other")
    job = Job(harmonize.harmonize(requested(bpy.context), harmonize.RenderHere(lambda _: None)))
    step_until(job, lambda: job.progress.stage == "Shading")
    bpy.context.window.scene = other
    bpy.data.scenes.remove(scene)
    step_until(job, lambda: False)
    assert isinstance(job.problem, PenumbraError)
    assert "deleted" in job.problem.message


def test_only_one_job_at_a_time(harmonized_by, scene):
    harmonized_by("work")
    jobs.start(Job(harmonize.harmonize(requested(bpy.context), harmonize.RenderHere(lambda _: None))))
    assert not bpy.ops.penumbra.harmonize.poll()
    assert bpy.ops.penumbra.cancel() == {"FINISHED"}
    step_until(jobs.latest(), lambda: False)
    assert bpy.ops.penumbra.harmonize.poll()
