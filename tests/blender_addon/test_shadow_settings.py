# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist chooses of the shadow: it reaches the job, by the panel and by the command line, and is refused early
where its networks are missing."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.backend.protocol import GENERATED, PHYSICAL, SHADOW_NETWORKS, HarmonizeJob
from penumbra.blender_addon import cli, export, farm, panels, properties
from penumbra.blender_addon.character import everybody
from penumbra.blender_addon.farm import Task

from tests.blender_addon import pixels


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the bundled weights."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("PENUMBRA_WEIGHTS", str(folder))
    return folder


def pretend(folder: Path) -> None:
    """Files where the networks' weights would be."""
    for name in SHADOW_NETWORKS:
        (folder / name).mkdir()
        (folder / name / "model.safetensors").write_bytes(b"")


def test_what_is_chosen_reaches_the_job(scene, no_weights: Path, tmp_path: Path) -> None:
    pretend(no_weights)
    settings = scene.penumbra
    plain = properties.export_settings(scene)
    assert (plain.shadow, plain.shadow_softness) == (PHYSICAL, None)
    settings.shadow, settings.softness_automatic, settings.softness = GENERATED, False, math.radians(7)
    layer = bpy.context.view_layer
    export.export_frames(scene, layer, everybody(layer), [1], tmp_path / "job", properties.export_settings(scene))
    job = HarmonizeJob.load(tmp_path / "job")
    assert job.shadow == GENERATED
    assert job.shadow_softness == pytest.approx(7, abs=1e-4)
    settings.softness = math.radians(90)
    assert properties.export_settings(scene).shadow_softness == pytest.approx(30, abs=1e-4)


def test_missing_networks_are_said_before_the_work(scene, harmonized_by, no_weights: Path, capsys) -> None:
    harmonized_by("render")
    assert bpy.ops.penumbra.harmonize.poll()
    scene.penumbra.shadow = GENERATED
    assert not bpy.ops.penumbra.harmonize.poll()
    _, problem = panels._look(bpy.context)
    assert problem.message.endswith("no trained network for it (assets/weights/shadow-predictors).")
    assert problem.remedy == "Choose Physical under Shadow."
    assert cli.main(["harmonize"]) == cli.SCENE
    assert problem.message in capsys.readouterr().err
    assert cli.main(["harmonize", "--softness", "31"]) == cli.SCENE
    pretend(no_weights)
    assert bpy.ops.penumbra.harmonize.poll()
    (no_weights / SHADOW_NETWORKS[1] / "model.safetensors").unlink()
    assert SHADOW_NETWORKS[1] in panels._look(bpy.context)[1].message


def test_the_command_line_goes_before_the_file(scene, no_weights: Path, monkeypatch) -> None:
    pretend(no_weights)
    asked: list[Task] = []
    monkeypatch.setattr(farm, "harmonize", lambda task: asked.append(task) or iter(()))
    scene.penumbra.softness_automatic, scene.penumbra.softness = False, math.radians(3)
    parse = cli._parser().parse_args
    for arguments in ([], ["--shadow", "generated", "--softness", "0"]):
        cli._job(parse(["harmonize", *arguments]))
    found = [(task.request.settings.shadow, round(task.request.settings.shadow_softness, 3)) for task in asked]
    assert found == [(PHYSICAL, 3.0), (GENERATED, 0.0)]


def test_a_frame_of_another_softness_is_made_anew(scene, harmonized_by, tmp_path: Path, capsys) -> None:
    harmonized_by("render")
    command = ["harmonize", "--frames", "1", "--out", str(tmp_path / "out")]
    made = []
    for softness in ([], [], ["--softness", "5"], ["--softness", "5"]):
        assert cli.main([*command, *softness]) == cli.DONE
        made.append("1 made" in capsys.readouterr().out)
    assert made == [True, False, True, False]


@pytest.mark.slow
def test_networks_tell_the_traced_shadows_depth(scene, real_backend, tmp_path: Path) -> None:
    """From the click to the images, with the real backend and the bundled networks.

    The light is the artist's the second time: what the networks think of it does not turn it.
    """
    pytest.importorskip("torch")
    made = {}
    for kind in (PHYSICAL, GENERATED):
        scene.penumbra.shadow, scene.penumbra.output = kind, str(tmp_path / kind)
        bpy.ops.penumbra.harmonize()
        bpy.ops.penumbra.light_from_plate(character="Rig")
        scene.penumbra.estimator = properties.SCENE
        made[kind] = {n: pixels.load(tmp_path / kind / "Rig" / f"{n}_0001.exr") for n in ("shadow", "shading")}
    physical, told = (made[kind]["shadow"][..., :3] for kind in (PHYSICAL, GENERATED))
    outside, deep = (physical == 1).all(-1), physical.max(-1) < 0.9
    assert 0.05 < outside.mean() < 0.99
    assert told[outside].min() > 0.95  # half floats round the faintest of the traced shadow to 1
    assert deep.sum() > 50
    power = np.log(told[deep]) / np.log(physical[deep])
    low, middle, high = np.quantile(power, [0.1, 0.5, 0.9], axis=0)
    assert ((high - low) < 0.1 * middle).all(), "one power of the traced shadow, by colour"
    assert ((middle > 0.4) & (middle < 2.5)).all()
    assert (np.abs(middle - 1) > 1e-3).any(), "the networks were asked"
    np.testing.assert_array_equal(made[PHYSICAL]["shading"], made[GENERATED]["shading"])
