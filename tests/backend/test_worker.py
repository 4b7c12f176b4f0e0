# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend as a process: messages only on its output, polite cancelling, plain errors, and no orphans.

The pipeline behind it is replaced by one that does what the job's `character` says; everything else is real.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend import protocol
from backend.protocol import HarmonizeJob, HarmonizeResult

PIPELINE = """
import os, sys, time, types
import torch
from backend import device
from backend.protocol import HarmonizeJob, HarmonizeResult, PenumbraError

def harmonize(folder, progress, show):
    job = HarmonizeJob.load(folder)
    (task,) = job.characters
    if task == "loud":
        print("from Python")
        os.system("echo from C")
        for k in range(5):
            progress("Tracing", k / 5)
            show and show(f"{k}.npy")
    if task == "slow":
        for k in range(600):
            progress("Tracing", k / 600)
            time.sleep(0.05)
    if task == "deaf":  # never looks up
        progress("Tracing", 0.5)
        time.sleep(60)
    if task == "refuse":
        raise PenumbraError("The character is outside the frame.", "Move it.")
    if task == "bug":
        return 1 / 0
    if task == "full":
        raise OSError(28, "No space left on device")
    if task == "big":
        raise torch.OutOfMemoryError("tried to allocate")
    if task == "small card" and job.device == "cuda":
        raise torch.OutOfMemoryError("tried to allocate")
    if task == "tight card":
        def halves(part):
            if len(part) > 3000:
                raise torch.OutOfMemoryError("tried to allocate")
            return part
        device.in_chunks(torch.arange(9000), halves, device.CHUNK)
    result = HarmonizeResult((), {"trace": 1.0}, job.device, {})
    result.save(folder)
    return result

module = types.ModuleType("backend.shading.harmonize")
module.harmonize = harmonize
sys.modules[module.__name__] = module
from backend.__main__ import main
sys.exit(main())
"""


class Backend:
    """A serving process, spoken to as Blender does."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PIPELINE, "serve"],
            cwd=root,
            env={**os.environ, "PENUMBRA_LOG": "penumbra.log"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.hello = self.receive()

    def send(self, message: dict[str, Any]) -> None:
        self.process.stdin.write(protocol.encode(message))
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        return json.loads(self.process.stdout.readline())

    def until(self, *types: str) -> list[dict[str, Any]]:
        messages = [self.receive()]
        while messages[-1]["type"] not in types:
            messages.append(self.receive())
        return messages

    def run(self, folder: Path, task: str, job_id: str = "1", device: str = "cpu") -> None:
        folder.mkdir(exist_ok=True)
        HarmonizeJob({task: []}, (), device=device).save(folder)
        self.send(protocol.run(job_id, folder))


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    served = Backend(Path(protocol.__file__).parent.parent)
    yield served
    served.process.stdin.close()
    assert served.process.wait(10) == 0
    served.process.stdout.close()


def test_greets_and_runs_with_messages_only_on_its_output(backend: Backend, tmp_path: Path) -> None:
    assert backend.hello["type"] == "hello"
    assert backend.hello["protocol"] == protocol.PROTOCOL_VERSION
    assert "torch" in backend.hello["versions"]
    backend.run(tmp_path, "loud")
    messages = backend.until("done", "error")
    assert messages[-1] == {"type": "done", "id": "1"}
    assert {"type": "progress", "id": "1", "stage": "Tracing", "fraction": 0.0} in messages
    assert [m["preview"] for m in messages if "preview" in m] == [f"{k}.npy" for k in range(5)]
    assert HarmonizeResult.load(tmp_path).device == "cpu"


def test_cancel_stops_the_job_and_keeps_the_process(backend: Backend, tmp_path: Path) -> None:
    backend.run(tmp_path, "slow", "a")
    backend.until("progress")
    backend.send(protocol.cancel("other"))  # not this one
    while backend.receive()["fraction"] < 0.01:
        pass
    started = time.monotonic()
    backend.send(protocol.cancel("a"))
    assert backend.until("cancelled", "done", "error")[-1] == {"type": "cancelled", "id": "a"}
    assert time.monotonic() - started < 2
    assert not (tmp_path / "result.json").exists()
    backend.run(tmp_path, "nothing", "b")
    assert backend.until("done", "error")[-1]["type"] == "done"


def test_cancel_reaches_a_job_that_waits(backend: Backend, tmp_path: Path) -> None:
    backend.run(tmp_path / "first", "slow", "first")
    backend.run(tmp_path / "second", "nothing", "second")
    backend.send(protocol.cancel("second"))
    backend.send(protocol.cancel("first"))
    ends = [backend.until("cancelled", "done")[-1], backend.until("cancelled", "done")[-1]]
    assert ends == [{"type": "cancelled", "id": "first"}, {"type": "cancelled", "id": "second"}]


@pytest.mark.parametrize(
    ("task", "message", "remedy"),
    [
        ("refuse", "The character is outside the frame.", "Move it."),
        ("bug", "unexpected error: ZeroDivisionError", "The details are in penumbra.log."),
        ("full", "No space left on device", "Check the free space"),
        ("big", "memory was not enough", "Lower the render size"),
    ],
)
def test_failures_become_plain_errors(backend: Backend, tmp_path: Path, task: str, message: str, remedy: str) -> None:
    backend.run(tmp_path, task)
    end = backend.until("error", "done")[-1]
    assert end["type"] == "error"
    assert message in end["message"]
    assert remedy in end["remedy"]


def test_a_card_without_enough_memory_leaves_the_work_to_the_processor(backend: Backend, tmp_path: Path) -> None:
    backend.run(tmp_path, "small card", device="cuda")
    assert backend.until("error", "done")[-1]["type"] == "done"
    result = HarmonizeResult.load(tmp_path)
    assert result.device == "cpu"
    assert "processor" in result.notices[0]


def test_a_card_with_little_memory_works_in_smaller_parts(backend: Backend, tmp_path: Path) -> None:
    backend.run(tmp_path, "tight card", device="cuda")
    assert backend.until("error", "done")[-1]["type"] == "done"
    result = HarmonizeResult.load(tmp_path)
    assert result.device == "cuda"
    assert "smaller parts" in result.notices[0]
    backend.run(tmp_path, "nothing")
    backend.until("done")
    assert HarmonizeResult.load(tmp_path).notices == ()


def test_a_missing_job_and_nonsense_do_no_harm(backend: Backend, tmp_path: Path) -> None:
    backend.process.stdin.write(b'nonsense\n{"type":"dance"}\n[]\n')
    backend.send(protocol.run("1", tmp_path / "absent"))
    assert "missing" in backend.until("error")[-1]["message"]


@pytest.mark.parametrize("ending", ["quit", "end of input"])
def test_ends_in_the_middle_of_a_job(root: Path, tmp_path: Path, ending: str) -> None:
    backend = Backend(root)
    backend.run(tmp_path, "slow")
    backend.until("progress")
    if ending == "quit":
        backend.send({"type": "quit"})
    else:
        backend.process.stdin.close()
    assert backend.process.wait(4) == 0
    backend.process.stdout.close()


def test_a_job_that_never_looks_up_is_ended_by_force(root: Path, tmp_path: Path) -> None:
    backend = Backend(root)
    backend.run(tmp_path, "deaf")
    while backend.until("progress")[-1]["stage"] != "Tracing":
        pass
    backend.process.stdin.close()
    assert backend.process.wait(10) == 1
    backend.process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_dies_with_its_parent_though_its_input_stays_open(root: Path) -> None:
    parent = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'backend', 'serve'])\n"
        "print(child.pid, file=sys.stderr, flush=True)\n"
        "time.sleep(60)"
    )
    reading, writing = os.pipe()
    pipes = {"stdin": reading, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", parent], cwd=root, **pipes) as process:
        child = int(process.stderr.readline())
        assert b"hello" in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        # The child holds both pipes: they end only when it has.
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.kill(child, signal.SIGKILL)
            pytest.fail("the backend outlived its parent")
    os.close(reading)
    os.close(writing)


def test_one_job_from_the_command_line(root: Path, tmp_path: Path) -> None:
    def run(task: str) -> subprocess.CompletedProcess[str]:
        HarmonizeJob({task: []}, (), device="cpu").save(tmp_path)
        command = [sys.executable, "-c", PIPELINE, "run", str(tmp_path)]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    done = run("loud")
    assert done.returncode == 0
    assert "0%  Tracing" in done.stdout
    assert HarmonizeResult.load(tmp_path).seconds == {"trace": 1.0}
    refused = run("refuse")
    assert refused.returncode == 1
    assert refused.stderr == "The character is outside the frame. Move it.\n"
