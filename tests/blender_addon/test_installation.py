# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing the backend from tiny made-up wheels: resumed, verified, repaired, upgraded, and in plain words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import bpy
import pytest
from penumbra.backend.protocol import PenumbraError
from penumbra.blender_addon import backend_process, child_process, install, jobs, preferences
from penumbra.blender_addon.installation import failures, targets
from penumbra.blender_addon.installation.install import Installation, damaged
from penumbra.blender_addon.installation.store import Environment, Store
from penumbra.blender_addon.jobs import Job

from tests.blender_addon.made_up_wheels import Folder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the made-up uv is a script with a first line")


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up uv, fetched once."""
    folder = Folder(tmp_path_factory.mktemp("fetched"))
    job = installation(folder, Store(folder.root))
    assert job._uv().program.is_file()
    return job.store.uv


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def store(tmp_path: Path, fetched: Path) -> Store:
    shutil.copytree(fetched, tmp_path / "user" / "backend" / "uv")
    return Store(tmp_path / "user" / "backend")


def installation(folder: Folder, store: Store) -> Installation:
    target = targets.available(folder.root)[0]
    log = folder.root / "log"
    return Installation(folder.root, store, target, folder.wheels, log, lambda stage, part: None, threading.Event())


def word(environment: Environment) -> str:
    """What the second package of an environment says."""
    return next(environment.folder.glob("lib/python*/site-packages/second.py")).read_text()


def test_installs_verifies_and_uses(folder: Folder, store: Store) -> None:
    assert store.current() is None
    environment = installation(folder, store).install()
    assert store.current() == environment
    assert environment.is_ready
    assert environment.python.is_file()
    assert environment.mark["findings"] == [{"level": "ok", "text": "It is 1.0", "remedy": "Rest."}]
    assert store.unfinished() is None


def test_an_interrupted_installation_is_incomplete_and_goes_on(folder: Folder, store: Store) -> None:
    folder.misbehave("full")
    with pytest.raises(PenumbraError, match="The disk is full"):
        installation(folder, store).install()
    assert store.current() is None
    assert store.unfinished()
    folder.misbehave("")
    assert folder.calls() == ["venv", "first 1.0"]
    environment = installation(folder, store).install()
    assert folder.calls() == ["second 1.0"], "what was finished is not done again"
    assert store.current() == environment
    assert len(store.environments()) == 1


def test_an_upgrade_stands_beside_the_old_one_until_it_is_verified(folder: Folder, store: Store) -> None:
    old = installation(folder, store).install()
    folder.lock("2.0")
    (folder.root / "sick").touch()
    with pytest.raises(PenumbraError, match=r"It is 2\.0"):
        installation(folder, store).install()
    assert store.current() == old, "the old one is still in use"
    assert word(old) == "WORD = '1.0'"
    (folder.root / "sick").unlink()
    new = installation(folder, store).install()
    assert store.current() == new
    assert word(new) == "WORD = '2.0'"
    assert not old.folder.exists()


def test_repair_installs_the_damaged_package_again(folder: Folder, store: Store) -> None:
    environment = installation(folder, store).install()
    folder.calls()
    next(environment.folder.glob("lib/python*/site-packages/second.py")).write_text("damaged")
    assert list(damaged(environment)) == ["second"]
    repaired = installation(folder, store).repair()
    assert folder.calls() == ["second 1.0"]
    assert repaired.is_ready
    assert word(repaired) == "WORD = '1.0'"


def test_repair_makes_a_new_environment_where_python_is_gone(folder: Folder, store: Store) -> None:
    broken = installation(folder, store).install()
    broken.python.unlink()
    repaired = installation(folder, store).repair()
    assert repaired.folder != broken.folder
    assert not broken.folder.exists()
    assert store.current() == repaired


def test_a_wheel_that_was_tampered_with_is_refused(folder: Folder, store: Store) -> None:
    folder.wheel("second", "1.0", {"second.py": "import evil"})
    with pytest.raises(PenumbraError, match="not what it should be"):
        installation(folder, store).install()
    assert store.current() is None


def test_uv_comes_out_of_its_wheel_for_this_computer_alone(folder: Folder, tmp_path: Path) -> None:
    store = Store(tmp_path / "bare")
    wheel = folder.wheels / "uv-9.9-py3-none-any.whl"
    other = wheel.with_name("uv-9.9-py3-none-manylinux_2_17_riscv64.whl")
    wheel.rename(other)
    with pytest.raises(PenumbraError, match="is not there for this computer"):
        installation(folder, store)._uv()
    other.rename(wheel)
    folder.wheel("uv", "9.9", {"uv-9.9.data/scripts/uv": "#!evil"})
    with pytest.raises(PenumbraError, match="not what it should be"):
        installation(folder, store)._uv()
    assert not list(tmp_path.rglob("bare/**/uv"))


def test_removing_touches_only_what_is_ours(folder: Folder, store: Store) -> None:
    installation(folder, store).install()
    foreign = store.folder / "environments" / "mine" / "data"
    foreign.parent.mkdir()
    foreign.touch()
    store.remove()
    assert foreign.exists()
    assert store.environments() == []
    assert not list(store.folder.glob("uv/*"))


def test_too_little_space_is_told_before_anything_is_made(folder: Folder, store: Store) -> None:
    entry = (folder.root / targets.LOCKS / "locks.json").read_text()
    (folder.root / targets.LOCKS / "locks.json").write_text(entry.replace('"disk_mb": 1,', '"disk_mb": 900000000,'))
    with pytest.raises(PenumbraError, match="GB free"):
        installation(folder, store).install()
    assert store.environments() == []


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("error: Failed to extract\n cause: No space left on device (os error 28)", "The disk is full."),
        ("error: There is not enough space on the disk. (os error 112)", "The disk is full."),
        ("error: failed to lookup address information: Name or service not known", "cannot be reached"),
        ("error: Failed to fetch: `torch`\n cause: operation timed out", "cannot be reached"),
        ("error sending request\n cause: 407 Proxy Authentication Required", "proxy"),
        ("cause: invalid peer certificate: UnknownIssuer", "could not be verified"),
        ("error: failed to remove file: Access is denied. (os error 5)", "antivirus"),
        ("Operation did not complete because the file contains a virus (os error 225)", "antivirus"),
        ("error: failed to create directory: Permission denied (os error 13)", "cannot be written"),
        ("error: Hash mismatch for `torch==2.13.0`", "not what it should be"),
        ("error: No solution found when resolving dependencies", "not there for this computer"),
        ("error: Failed to install cpython-3.11.18-linux-x86_64-gnu", "no Python 3.11"),
        ("error: Something new", "Something new"),
    ],
)
def test_failures_in_an_artists_words(output: str, sentence: str) -> None:
    problem = failures.explain(output)
    assert sentence in problem.message
    assert problem.remedy
    assert "os error" not in problem.message


@pytest.mark.parametrize(
    ("driver", "capability", "sentence"), [("535.104.05", 8.6, "too old"), ("581.10", 6.1, "too old"), ("580", 7.5, "")]
)
def test_a_card_or_driver_that_is_too_old(driver: str, capability: float, sentence: str) -> None:
    problem = failures.unfit_card("GTX", driver, capability)
    assert (sentence in problem.message) if problem else not sentence


def test_every_platform_has_locks_that_say_whether_they_were_tried(root: Path) -> None:
    for platform, wanted in (
        ("linux-x64", {"cpu", "cuda", "rocm"}),
        ("windows-x64", {"cpu", "cuda"}),
        ("macos-arm64", {"metal"}),
    ):
        found = targets.available(root, platform)
        assert {target.accelerator for target in found} == wanted
        for target in found:
            text = "".join(lock.read_text() for lock in target.locks)
            assert "torch==" in text
            assert ("UNTESTED" in text) != target.tested
            files = ("requirements.txt", "requirements-alone.txt")
            requirements = "".join((root / name).read_text().lower() for name in files).split("\n")
            for line in filter(lambda line: "==" in line and not line.startswith("torch"), requirements):
                assert line in text.lower(), f"{line}: run scripts/compile_locks.py"


# The same from Blender's side, where the installation is a process of its own.


@pytest.fixture
def artist(scene, folder: Folder, store: Store, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(backend_process, "ROOT", folder.root)
    monkeypatch.delenv(backend_process.PYTHON_VARIABLE, raising=False)
    return folder


def test_the_button_installs_and_the_backend_is_found(artist: Folder) -> None:
    with pytest.raises(PenumbraError, match="not installed"):
        preferences.backend_python()
    assert bpy.ops.penumbra.install_backend(wheels=str(artist.wheels)) == {"FINISHED"}
    assert preferences.backend_python() == preferences.store().current().python
    assert preferences.outdated() is None
    artist.lock("2.0")
    assert preferences.outdated() == preferences.store().current()
    assert bpy.ops.penumbra.remove_backend() == {"FINISHED"}
    with pytest.raises(PenumbraError, match="not installed"):
        preferences.backend_python()


def test_cancelling_ends_every_process_and_keeps_what_was_done(artist: Folder) -> None:
    artist.misbehave("hang")
    job = Job(install.install(install.choose(""), artist.wheels), "Install Backend", of_file=False)
    hung = step_until_hung(job, artist)
    job.cancel()
    while job.step():
        time.sleep(0.02)
    assert job.state == "cancelled"
    assert not Path(f"/proc/{hung}").exists() or os.name != "posix"
    with pytest.raises(PenumbraError, match="interrupted"):
        preferences.backend_python()
    artist.misbehave("")
    assert bpy.ops.penumbra.install_backend(wheels=str(artist.wheels)) == {"FINISHED"}
    assert "first 1.0" not in artist.calls()


def test_dropping_leaves_no_process_behind(artist: Folder) -> None:
    artist.misbehave("hang")
    job = Job(install.install(install.choose(""), artist.wheels), "Install Backend", of_file=False)
    hung = step_until_hung(job, artist)
    job.drop()
    assert not Path(f"/proc/{hung}").exists()


def step_until_hung(job: Job, folder: Folder) -> int:
    until = time.monotonic() + 60
    while job.step():
        hung = [line.split()[1] for line in folder.calls() if line.startswith("hang")]
        if hung:
            return int(hung[0])
        assert time.monotonic() < until
        time.sleep(0.05)
    raise AssertionError(job.problem)


def test_nothing_is_downloaded_unless_blender_may_go_online(artist: Folder) -> None:
    assert not bpy.app.online_access
    with pytest.raises(RuntimeError, match=r"not allowed to go online.*folder of wheels"):
        bpy.ops.penumbra.install_backend()
    assert preferences.store().environments() == []


def test_the_log_keeps_what_uv_said_and_what_went_wrong(folder: Folder, tmp_path: Path) -> None:
    folder.misbehave("full")
    log = tmp_path / "new" / "log"
    request = {"root": str(folder.root), "store": str(tmp_path / "store"), "accelerator": "cpu"}
    request |= {"wheels": str(folder.wheels), "log": str(log)}
    command = [sys.executable, "-s", str(install.SCRIPT), "install", json.dumps(request)]
    with child_process.spawn(command, log, stdin=subprocess.PIPE) as child:  # it ends with its input
        assert b"The disk is full" in child.stdout.read()
    said = log.read_text()
    assert "No space left on device" in said, "by uv"
    assert "failed to lookup address" in said, "by uv, before that"
    assert said.index("No space left on device") < said.index("The disk is full"), "and then by us"


def test_a_failure_names_the_log(artist: Folder) -> None:
    artist.misbehave("full")
    with pytest.raises(RuntimeError, match="The disk is full"):
        bpy.ops.penumbra.install_backend(wheels=str(artist.wheels))
    assert preferences.newest_log() == preferences.log_file("install")
    assert "os error 28" in preferences.newest_log().read_text()
    assert not jobs.running()
