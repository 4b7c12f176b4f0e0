# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line as a farm runs it: chunks, repetition, interruption, exit codes; once with the real backend."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import bpy
import pytest
from penumbra.backend.protocol import Cancelled
from penumbra.blender_addon import backend_process, cli, farm, jobs, passes


def harmonize(*arguments: object) -> int:
    return cli.main(["harmonize", *map(str, arguments)])


def images(folder: Path) -> dict[str, str]:
    """What lies in the character's folder, by name, but for copies of the .blend file."""
    files = (path for path in sorted((folder / "Rig").rglob("*.*")) if path.suffix in (".exr", ".json", ".npz"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def farm_scene(harmonized_by, scene, tmp_path: Path) -> Path:
    """The scene, a backend that writes flat images, and a folder."""
    harmonized_by("render")
    return tmp_path


def test_two_chunks_make_the_files_of_one_run(farm_scene: Path) -> None:
    assert harmonize("--frames", "1-3", "--out", farm_scene / "one") == cli.DONE
    assert harmonize("--frames", "3", "--light", "1-3", "--out", farm_scene / "two") == cli.DONE
    assert harmonize("--frames", "1-2", "--light", "1-3", "--out", farm_scene / "two") == cli.DONE
    one, two = images(farm_scene / "one"), images(farm_scene / "two")
    assert {"Rig/shading_0001.exr", "Rig/light_0001_to_0003/light_0002.json", "Rig/frame_0003.json"} <= set(one)
    assert one == two
    assert (farm_scene / "one" / "Rig" / "probe_0003.json").read_text().count('", "') == 2, "of three frames' light"


@pytest.mark.slow
def test_two_chunks_make_the_files_of_one_run_with_the_real_backend(real_backend, tmp_path: Path) -> None:
    assert harmonize("--frames", "1-2", "--out", tmp_path / "one", "--multilayer") == cli.DONE
    for number in ("2", "1"):
        chunk = ("--frames", number, "--light", "1-2", "--out", tmp_path / "two", "--multilayer")
        assert harmonize(*chunk) == cli.DONE
    assert images(tmp_path / "one") == images(tmp_path / "two")
    image = bpy.data.images.load(str(tmp_path / "one" / "Rig" / "penumbra_0001.exr"))
    assert tuple(image.size) == (0, 0), "layers have no image of their own"
    assert image.type == "MULTILAYER"


@pytest.mark.skipif(sys.platform == "win32", reason="the backend's launcher is a shell script")
def test_ten_frames_in_two_chunks_at_once_make_the_files_of_one_run(scene, tmp_path: Path) -> None:
    here, python = Path(__file__).parent, sys.executable
    backend = script(tmp_path / "backend", python, here / "emulated_backend.py", "render")

    def start(out: str, frames: str) -> subprocess.Popen[str]:
        told = ["harmonize", "--frames", frames, "--light", "1-10", "--out", str(tmp_path / out)]
        return subprocess.Popen(
            [python, here / "bpy_launcher.py", "-b", bpy.data.filepath, "--command", "penumbra", *told],
            env={**os.environ, backend_process.PYTHON_VARIABLE: str(backend)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    for out, chunks in (("one", ("1-10",)), ("two", ("1-5", "6-10"))):
        running = [start(out, frames) for frames in chunks]  # each finds the light by itself
        said = [process.communicate(timeout=300)[0] for process in running]
        assert [process.returncode for process in running] == [cli.DONE] * len(chunks), said
    assert len([name for name in images(tmp_path / "one") if "shading" in name]) == 10
    assert images(tmp_path / "one") == images(tmp_path / "two")


def test_a_repetition_does_nothing_and_a_missing_frame_is_made(farm_scene: Path, capsys) -> None:
    out = farm_scene / "out"
    assert harmonize("--frames", "1-2", "--out", out) == cli.DONE
    made = images(out)
    times = {path: path.stat().st_mtime_ns for path in (out / "Rig").rglob("*")}
    assert harmonize("--frames", "1-2", "--out", out) == cli.DONE
    assert {path: path.stat().st_mtime_ns for path in (out / "Rig").rglob("*")} == times
    assert "0 made, 2 there already" in capsys.readouterr().out
    (out / "Rig" / "shading_0002.exr").unlink()
    assert harmonize("--frames", "1-2", "--out", out) == cli.DONE
    assert "1 made, 1 there already" in capsys.readouterr().out
    assert images(out) == made


def test_a_scene_that_has_changed_is_lit_anew(farm_scene: Path) -> None:
    out = farm_scene / "out"
    assert harmonize("--frames", "1-2", "--out", out) == cli.DONE
    before = images(out)
    bpy.data.objects["Rig"].location.x = 0.1
    bpy.ops.wm.save_mainfile()
    assert harmonize("--frames", "1", "--light", "1-2", "--out", out) == cli.DONE
    after = images(out)
    changed = {name for name in before if before[name] != after[name]}
    assert {"Rig/light_0001_to_0002/light_0002.json", "Rig/frame_0001.json"} <= changed
    assert "Rig/frame_0002.json" not in changed, "another task's"


def test_another_estimator_is_asked_anew(farm_scene: Path) -> None:
    light = farm_scene / "out" / "Rig" / "light_0001_to_0001" / "light_0001.json"
    assert harmonize("--frames", "1", "--out", farm_scene / "out") == cli.DONE
    told = light.stat().st_mtime_ns
    bpy.context.scene.penumbra.estimator = "shadingnet"
    assert harmonize("--frames", "1", "--out", farm_scene / "out") == cli.DONE
    asked = light.stat().st_mtime_ns
    assert asked > told
    assert harmonize("--frames", "1", "--out", farm_scene / "out") == cli.DONE
    assert light.stat().st_mtime_ns == asked


def test_a_frame_that_failed_leaves_no_record(harmonized_by, scene, tmp_path: Path) -> None:
    harmonized_by("crash")
    assert harmonize("--out", tmp_path / "out") == cli.FAILED
    assert not list((tmp_path / "out").rglob("frame_*.json"))
    assert not list(Path(bpy.app.tempdir).glob("penumbra-*"))


def test_a_copy_of_the_file_shows_the_result_and_the_file_stays(farm_scene: Path) -> None:
    blend = Path(bpy.data.filepath)
    before = blend.read_bytes()
    assert harmonize("--frames", "1", "--light", "1-2", "--out", farm_scene / "out") == cli.DONE
    copy = farm_scene / "out" / "Rig" / "scene_penumbra.blend"
    assert not copy.exists(), "chunks leave it to `collect`"
    assert harmonize("--frames", "1-2", "--out", farm_scene / "out") == cli.DONE
    assert copy.is_file()
    copy.unlink()
    assert cli.main(["collect", "--out", str(farm_scene / "out")]) == cli.DONE
    assert blend.read_bytes() == before
    bpy.ops.wm.open_mainfile(filepath=str(copy))
    node = passes.result_node(bpy.context.scene, "Rig")
    assert list(node.node_tree[passes.FRAMES]) == [1, 2]
    shading = passes.role_image("Rig", "shading")
    assert (shading.filepath, tuple(shading.size)) == ("//shading_0001.exr", (96, 64))
    plate = bpy.context.scene.camera.data.background_images[0].image
    assert Path(bpy.path.abspath(plate.filepath)).is_file(), "relative paths lead to the same files"


def test_exit_codes(scene, tmp_path: Path, monkeypatch, capsys) -> None:
    assert harmonize("--frames", "1-3", "--light", "2-3") == cli.SCENE
    assert harmonize("--frames", "x") == cli.USAGE
    monkeypatch.setattr(farm, "harmonize", lambda task: interrupted())
    assert harmonize("--out", tmp_path) == cli.CANCELLED
    monkeypatch.setattr(backend_process, "ROOT", tmp_path)
    monkeypatch.delenv(backend_process.PYTHON_VARIABLE, raising=False)
    assert harmonize("--out", tmp_path) == cli.NO_BACKEND
    scene.camera = None
    monkeypatch.undo()
    assert harmonize("--out", tmp_path) == cli.SCENE


def interrupted() -> jobs.Steps:
    raise Cancelled
    yield


def test_help_tells_what_a_farm_must_know(capsys) -> None:
    assert harmonize("--help") == 0
    shown = capsys.readouterr().out
    for word in ("exit code", "PENUMBRA_BACKEND_PYTHON", "PENUMBRA_WEIGHTS", "--light", "not written"):
        assert word in shown


def script(path: Path, *command: object) -> Path:
    """A program that runs another one with more arguments."""
    path.write_text("#!/bin/sh\nexec " + " ".join(f'"{part}"' for part in command) + "\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="the launchers are shell scripts")
def test_the_open_job_description_runs(scene, tmp_path: Path, root: Path) -> None:
    here, python = Path(__file__).parent, sys.executable
    openjd = shutil.which("openjd", path=str(Path(python).parent))
    if openjd is None:
        pytest.skip("openjd is not installed")
    blender = tmp_path / "blender"
    blender.write_text(f'#!/bin/sh\nexec "{python}" "{here / "bpy_launcher.py"}" "$@"\n')
    blender.chmod(0o755)
    backend = script(tmp_path / "backend", python, here / "emulated_backend.py", "render")
    given = {
        "Scene": bpy.data.filepath,
        "Output": tmp_path / "out",
        "Frames": "1-3",
        "ChunkSize": 2,
        "Blender": blender,
    }
    parameters = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
    template = root / "assets" / "farm" / "penumbra.openjd.yaml"
    ended = subprocess.run(
        [openjd, "run", str(template), "--step", "Collect", "--run-dependencies", *parameters],
        env={**os.environ, backend_process.PYTHON_VARIABLE: str(backend)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(list((tmp_path / "out" / "Rig").glob("shading_000?.exr"))) == 3
    assert (tmp_path / "out" / "Rig" / "scene_penumbra.blend").is_file()
    assert "Frames 1 to 2: 2 made" in ended.stdout


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_flamenco_job_type_compiles_to_light_chunks_and_copy(root: Path) -> None:
    emulated = """
    const tasks = [];
    const author = {
        Task: (name, type) => ({name, type, commands: [], needs: [],
            addCommand(c) { this.commands.push(c); }, addDependency(t) { this.needs.push(t.name); }}),
        Command: (name, parameters) => ({name, ...parameters}),
    };
    const frameChunker = (range, size) => ["1-2", "3"];
    """
    settings = '{frames: "1-3", chunk_size: 2, blendfile: "a.blend", output: "out"}'
    code = emulated + (root / "assets" / "farm" / "penumbra_harmonize.flamenco.js").read_text()
    code += f"compileJob({{settings: {settings}, addTask: (t) => tasks.push(t)}}); console.log(JSON.stringify(tasks))"
    shown = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True).stdout
    light, first, last, collect = json.loads(shown)
    assert [task["needs"] for task in (light, first, last)] == [[], ["light"], ["light"]]
    assert collect["needs"] == [first["name"], last["name"]]
    for task, what in ((light, "1-3"), (first, "1-2"), (last, "3"), (collect, "")):
        arguments = task["commands"][0]["args"]
        assert arguments[:4] == ["-b", "a.blend", "--command", "penumbra"]
        options = cli._parser().parse_args(arguments[4:])
        assert not what or options.frames == cli._frames(what)
