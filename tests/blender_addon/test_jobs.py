# SPDX-License-Identifier: GPL-3.0-or-later
"""Job control against a backend that works, hangs, crashes, and talks nonsense."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.backend.protocol import Cancelled, PenumbraError
from penumbra.blender_addon import backend_process, jobs, pictures
from penumbra.blender_addon.backend_process import BackendProcess
from penumbra.blender_addon.jobs import Job, Outcome, Progress, TerminalLine

EMULATED = Path(__file__).with_name("emulated_backend.py")


def backend_job(process: BackendProcess, folder: Path) -> Job:
    def steps() -> jobs.Steps:
        yield from jobs.run_backend(process, folder, "job", (0.2, 1.0))
        return Outcome("Done")

    return Job(steps())


def run_until(job: Job, condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Step the job until the condition holds or the job is over."""
    until = time.monotonic() + seconds
    while job.step() and not condition():
        assert time.monotonic() < until, "the job takes too long"
        time.sleep(0.01)


def ended(process: BackendProcess) -> bool:
    return not process.alive


def test_job_reports_stages_and_the_backend_stays_warm(backend, tmp_path):
    process = backend("finish")
    seen = []
    for _ in range(2):
        job = backend_job(process, tmp_path)
        while job.step():
            seen.append(job.progress)
            time.sleep(0.005)
        assert (job.state, job.outcome) == ("done", Outcome("Done"))
    assert {p.stage for p in seen} == {"Starting the backend", "Shading"}
    assert max(p.fraction for p in seen) == pytest.approx(0.2 + 0.8 * 0.75)
    assert process.alive
    assert not process.busy


def test_a_preview_is_told_and_drawn_anew_when_it_changes(extension, backend, tmp_path):
    job, seen = backend_job(backend("paint"), tmp_path), []
    while job.step():
        if job.progress.preview and pictures.of_file(job.progress.preview) is not None:
            preview = pictures._collection["file"]
            assert tuple(preview.image_size) == (8, 6)
            seen.append(np.array(preview.image_pixels).view(np.uint8)[0])
        time.sleep(0.02)
    assert job.state == "done"
    assert sorted(set(seen)) == [10, 50, 90, 130]
    (tmp_path / "preview.npy").write_bytes(b"no picture")
    assert pictures.of_file(tmp_path / "preview.npy") is None
    assert pictures.of_file(tmp_path / "gone.npy") is None


def test_stepping_never_waits(backend, tmp_path):
    job = backend_job(backend("work"), tmp_path)
    slowest = 0.0
    for _ in range(100):
        start = time.perf_counter()
        job.step()
        slowest = max(slowest, time.perf_counter() - start)
        time.sleep(0.005)
    job.drop()
    assert slowest < 0.1


def test_a_flood_of_messages_neither_stops_blender_nor_esc(backend, tmp_path):
    job = backend_job(backend("flood"), tmp_path)
    run_until(job, lambda: job.progress.fraction > 0.5)
    start = time.perf_counter()
    for _ in range(5):
        job.step()
    assert time.perf_counter() - start < 5 * 0.5
    job.cancel()
    run_until(job, lambda: False)
    assert job.state == "cancelled"


def test_cancel_is_polite_first(backend, tmp_path):
    process = backend("work")
    job = backend_job(process, tmp_path)
    run_until(job, lambda: job.progress.stage == "Shading")
    job.cancel()
    run_until(job, lambda: False)
    assert job.state == "cancelled"
    assert process.alive, "a backend that answers stays warm"
    again = backend_job(process, tmp_path)
    run_until(again, lambda: again.progress.stage == "Shading")
    assert again.state == "running"
    again.drop()


def test_cancel_uses_force_on_a_backend_that_does_not_answer(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "CANCEL_S", 0.3)
    process = backend("stubborn")
    job = backend_job(process, tmp_path)
    run_until(job, lambda: job.progress.stage == "Shading")
    job.cancel()
    run_until(job, lambda: False)
    assert job.state == "cancelled"
    assert ended(process)


def test_dropping_ends_the_backend_at_once(backend, tmp_path):
    process = backend("stubborn")
    job = backend_job(process, tmp_path)
    run_until(job, lambda: job.progress.stage == "Shading")
    job.drop()
    assert job.state == "cancelled"
    assert ended(process)


def test_cancel_while_the_backend_starts_lets_it_get_ready_for_the_next_job(backend, tmp_path):
    process = backend("slow")
    job = backend_job(process, tmp_path)
    run_until(job, lambda: job.progress.stage == "Starting the backend")
    job.cancel()
    run_until(job, lambda: False)
    assert job.state == "cancelled"
    assert process.hello is None, "it still starts"
    again = backend_job(process, tmp_path)
    run_until(again, lambda: False)
    assert again.state == "done"


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("crash", "ended unexpectedly (exit status 9)"),
        ("garbage", "Loading checkpoint shards"),
        ("endless", "xxxx"),
        ("hang", "has not answered"),
        ("mute", "has not answered"),
        ("absent", "did not start (exit status 1)"),
        ("stranger", "different versions"),
        ("leaves", "ended unexpectedly (exit status 0)"),
        ("killed", "memory ran out"),
        ("refuse", "The plate cannot be read."),
        ("memory", "The memory was not enough"),
        ("disk", "File too large"),
    ],
)
def test_failures_are_plain_sentences_with_a_remedy(backend, tmp_path, behaviour, sentence):
    limits = {"hang": {"silence_s": 0.5}, "mute": {"start_s": 0.5}}.get(behaviour, {})
    process = backend(behaviour, **limits)
    job = backend_job(process, tmp_path)
    run_until(job, lambda: False)
    assert job.state == "failed"
    assert sentence in job.problem.message
    assert job.problem.remedy
    if behaviour in ("refuse", "memory", "disk"):
        assert process.alive, "a bad plate is no reason to lose the warm backend"
    else:
        assert ended(process)
        assert behaviour == "stranger" or str(process.log) in job.problem.remedy
    if behaviour == "absent":
        assert "No module named torch" in process.log.read_text()


def test_a_busy_blender_is_not_mistaken_for_a_hung_backend(backend, tmp_path):
    process = backend("work", silence_s=1.5)
    job = backend_job(process, tmp_path)
    run_until(job, lambda: job.progress.stage == "Shading")
    process._polled -= 3600.0  # an hour without a poll, as after sleep or a long render
    assert job.step()
    job.drop()


def test_backend_ends_with_a_killed_blender(tmp_path):
    """The parent is killed, so nothing in it gets a chance to clean up."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(EMULATED.parents[1]), str(EMULATED), str(tmp_path)], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 10.0
    while _exists(pid):
        assert time.monotonic() < until, "the backend outlives its parent"
        time.sleep(0.02)


_PARENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
import conftest
from pathlib import Path
from penumbra.blender_addon.backend_process import BackendProcess
process = BackendProcess([sys.executable, sys.argv[2], "work"], Path(sys.argv[3]) / "log")
while process.hello is None:
    process.poll()
print(process.pid, flush=True)
time.sleep(60)
"""


def _exists(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet reaped by its adoptive parent does not."""
    if Path("/proc").is_dir():
        status = Path(f"/proc/{pid}/stat")
        return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def test_blocking_driver_prints_stages_and_raises(backend, tmp_path, capfd):
    jobs.run_blocking(backend_job(backend("finish"), tmp_path), TerminalLine())
    assert "Penumbra: Shading" in capfd.readouterr().out
    with pytest.raises(PenumbraError, match="cannot be read"):
        jobs.run_blocking(backend_job(backend("refuse"), tmp_path), TerminalLine())


def test_blocking_driver_raises_when_cancelled(backend, tmp_path):
    job = backend_job(backend("work"), tmp_path)
    run_until(job, lambda: job.progress.stage == "Shading")
    job.cancel()
    with pytest.raises(Cancelled):
        jobs.run_blocking(job, TerminalLine())


def test_an_unexpected_error_is_reported_and_not_swallowed():
    def steps() -> jobs.Steps:
        yield Progress("One", 0.5)
        raise ZeroDivisionError("by zero")

    job = Job(steps())
    while job.step():
        pass
    assert job.state == "failed"
    assert "ZeroDivisionError" in job.problem.message


def test_loading_a_file_drops_the_running_job(backend, tmp_path, empty_scene):
    jobs.register()
    try:
        process = backend("work")
        job = backend_job(process, tmp_path)
        jobs.start(job)
        assert jobs.running()
        with pytest.raises(PenumbraError, match="already at work"):
            jobs.start(backend_job(process, tmp_path))
        run_until(job, lambda: job.progress.stage == "Shading")
        bpy.ops.wm.read_factory_settings(use_empty=True)
        assert jobs.latest() is None
        assert job.state == "cancelled"
        assert ended(process)
    finally:
        jobs.unregister()


def test_an_installation_goes_on_where_a_file_is_loaded(empty_scene):
    def steps() -> jobs.Steps:
        while True:
            yield Progress("Installing", 0.5)

    jobs.register()
    try:
        jobs.start(Job(steps(), "Install Backend", of_file=False))
        bpy.ops.wm.read_factory_settings(use_empty=True)
        assert jobs.running()
    finally:
        jobs.unregister()
    assert jobs.latest() is None


def test_python_of_the_backend(tmp_path, monkeypatch):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.touch()
    monkeypatch.setattr(backend_process, "ROOT", tmp_path)
    monkeypatch.delenv(backend_process.PYTHON_VARIABLE, raising=False)
    with pytest.raises(PenumbraError, match="not installed"):
        backend_process.find_python("")
    environment = tmp_path / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    environment.parent.mkdir(parents=True)
    environment.touch()
    assert backend_process.find_python("") == environment
    assert backend_process.find_python(ours) == ours
    with pytest.raises(PenumbraError, match="theirs"):
        backend_process.find_python("", str(theirs))
    monkeypatch.setenv(backend_process.PYTHON_VARIABLE, str(theirs))
    theirs.touch()
    assert backend_process.find_python(ours) == theirs, "a farm decides for its machines"
