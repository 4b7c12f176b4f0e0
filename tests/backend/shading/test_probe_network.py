# SPDX-License-Identifier: GPL-3.0-or-later
"""ProbeNet: what it tells becomes a probe without loss and mirrors with the plate; it learns, and holds elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from backend import weights
from backend.rays.directions import RICS_DIRECTIONS, SOLID_ANGLES
from backend.shading import overview, plates, probe_network, probe_train
from backend.shading.moments import Sources
from backend.shading.plate_data import Lesson, PlateData
from backend.shading.probe import CELLS, LightProbe, Sun
from backend.shading.probe_network import Light, ProbeNet, ProbeNetConfig

CPU = torch.device("cpu")
RIGHT_ABOVE = np.array([0.6, 0.64, 0.48])


def told(likely: float, concentration: float) -> Light:
    """A sun to the right and above, beside dim blue cells."""
    cells = torch.tensor([0.1, 0.15, 0.3]).expand(1, CELLS, 3)
    towards = concentration * torch.from_numpy(RICS_DIRECTIONS @ RIGHT_ABOVE).float()[None]
    return Light(cells, torch.logit(torch.tensor([likely])), towards, torch.tensor([[2.0, 1.8, 1.5]]))


def test_a_sun_that_is_sure_stands_in_the_probe_and_another_is_spread_without_loss() -> None:
    sure = probe_network.to_probe(told(0.95, 20.0), np.eye(3), 0.8)
    assert len(sure.suns) == 1
    assert np.degrees(np.arccos(sure.suns[0].direction @ RIGHT_ABOVE)) < 6
    np.testing.assert_allclose(sure.suns[0].irradiance, probe_network.HARD * np.array([2.0, 1.8, 1.5]), rtol=1e-6)
    assert sure.confidence == 0.8
    energy = SOLID_ANGLES @ (sure.radiance - [0.1, 0.15, 0.3]) + np.pi * sure.suns[0].irradiance
    likely = probe_network.HARD + 0.95 * (1 - probe_network.HARD)
    np.testing.assert_allclose(energy, likely * np.pi * np.array([2.0, 1.8, 1.5]), rtol=1e-4)
    gathered = sure.gathered
    np.testing.assert_allclose(gathered.radiance, np.broadcast_to([0.1, 0.15, 0.3], (CELLS, 3)), atol=1e-5)
    np.testing.assert_allclose(gathered.suns[0].irradiance, likely * np.array([2.0, 1.8, 1.5]), rtol=1e-5)
    for likely, concentration in ((0.95, 0.5), (0.3, 20.0)):
        spread = probe_network.to_probe(told(likely, concentration), np.eye(3), 0.4)
        assert not spread.suns
        assert spread.gathered is spread
        energy = SOLID_ANGLES @ (spread.radiance - [0.1, 0.15, 0.3])
        np.testing.assert_allclose(energy, likely * np.pi * np.array([2.0, 1.8, 1.5]), rtol=1e-4)
        assert spread.dominant_direction @ RIGHT_ABOVE > 0.97


@pytest.mark.parametrize("concentration", [20.0, 0.5])
def test_the_dominant_direction_is_the_probes(concentration: float) -> None:
    light = told(0.9, concentration)
    probe = probe_network.to_probe(light, np.eye(3), 1.0)
    np.testing.assert_allclose(probe_network.dominant(light)[0].numpy(), probe.dominant_direction, atol=1e-5)


def test_a_mirrored_plate_has_the_mirrored_light() -> None:
    torch.manual_seed(0)
    net = ProbeNet(ProbeNetConfig(width=24)).eval()
    features = torch.randn(2, 4096)
    with torch.no_grad():
        light, turned = net.look(features), net.look(overview.mirrored(features))
    torch.testing.assert_close(turned.cells, light.cells[:, list(probe_network.MIRRORED)])
    mirror = torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(turned.mean_direction, light.mean_direction * mirror, atol=1e-5, rtol=1e-4)


def test_cells_and_sun_shade_as_the_probe_does() -> None:
    light = told(0.95, 20.0)
    probe = probe_network.to_probe(light, np.eye(3), 1.0)
    sun = probe.suns[0]
    direction, irradiance = (torch.from_numpy(np.float32(v))[None] for v in (sun.direction, sun.irradiance))
    lit = probe_train.shading(probe_network.hazy(light), direction, irradiance)[0].numpy()
    normals = np.asarray(RICS_DIRECTIONS)
    np.testing.assert_allclose(lit, probe.shade(np.ones((CELLS, CELLS)), normals), atol=1e-5)


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plates of places of the test split."""
    folder = tmp_path_factory.mktemp("plates")
    np.savez(folder / "shard_00000.npz", **plates.shard(Sources("test", [], []), 11, 0, 288))
    return folder


def test_a_run_learns_calibrates_exports_and_goes_on_exactly(unseen: Path, tmp_path: Path) -> None:
    data = PlateData([unseen])
    held_out = data.hold_out(0.25)
    assert len(held_out.features) == 72
    plan = probe_train.Plan(network=ProbeNetConfig(width=48), steps=150, plates=32)
    trainer = probe_train.Trainer(plan, tmp_path / "run", CPU)
    before = probe_train.test(trainer.average, data.all.to(CPU))
    probe_train.train(trainer, data, held_out, every=1e9)
    after = probe_train.test(trainer.average, data.all.to(CPU))
    assert after["shading_mse"] < 0.8 * before["shading_mse"]

    resumed = probe_train.Trainer(plan, tmp_path / "run", CPU)
    assert resumed.run.step == 150
    lesson = data.draw(np.random.default_rng(0), 16).to(CPU)
    losses, again = trainer.train_step(lesson), resumed.train_step(lesson)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, again[name], msg=name)

    probe_train.export(trainer, held_out, tmp_path / "net", [unseen], "train it")
    network, config = weights.load_model("net", tmp_path)
    assert config["trained"]["steps"] == 151
    right = (probe_train.direction_errors(look(network, held_out), held_out.to(CPU)) < probe_network.NEAR).float()
    sure = cast(ProbeNet, network).confidence(look(network, held_out))
    assert float(sure.mean()) == pytest.approx(float(right.mean()), abs=0.05), "calibrated there"


def test_the_true_light_loses_less_than_any_other(unseen: Path) -> None:
    lesson = PlateData([unseen]).all.to(CPU)
    sunny = torch.where(probe_train.is_sunny(lesson), 8.0, -8.0)
    towards = 12 * lesson.sun[:, :3] @ torch.from_numpy(np.array(RICS_DIRECTIONS)).T
    true = Light(lesson.cells, sunny, towards, lesson.sun[:, 3:].clamp(min=1e-3))
    best = probe_train.light_losses(true, lesson)
    others = {
        "cells": true._replace(cells=1.5 * true.cells),
        "sunny": true._replace(sunny=-sunny),
        "direction": true._replace(towards=towards[:, list(probe_network.MIRRORED)]),
        "irradiance": true._replace(irradiance=0.5 * true.irradiance),
    }
    for name, other in others.items():
        worse = probe_train.light_losses(other, lesson)
        assert worse[name] > 1.2 * best[name], name
        assert worse["shading"] > best["shading"], name


def test_the_bundled_weights_tell_the_light_of_unseen_places(unseen: Path) -> None:
    network = cast(ProbeNet, weights.load_model("probenet")[0])
    lesson = PlateData([unseen]).all.to(CPU)
    light = look(network, lesson)
    errors = probe_train.direction_errors(light, lesson)
    assert errors.median() < 34
    confidence = network.confidence(light)
    certain = confidence > confidence.median()
    assert errors[certain].median() < errors[~certain].median()
    sunny = probe_train.is_sunny(lesson)
    assert light.sunny[sunny].median() > 0 > light.sunny[~sunny].median()
    true = probe_train.shading(lesson.cells, lesson.sun[:, :3], lesson.sun[:, 3:]).clamp(max=4)
    even = (true - true.mean((1, 2), keepdim=True)).square().mean()
    assert probe_train.test(network, lesson)["shading_mse"] < 0.9 * even, "better than each plate's own true mean"


def test_shadows_of_unseen_places_are_as_deep_as_all_of_the_told_sun_makes_them(unseen: Path) -> None:
    """What level ground in the shadow has of the light outside it, where there is a sun and it stands in the probe."""
    network = cast(ProbeNet, weights.load_model("probenet")[0])
    lesson = PlateData([unseen]).all.to(CPU)
    light = look(network, lesson)
    suns = probe_train.is_sunny(lesson) & light.has_sun & (lesson.sun[:, 1] > 0.15)
    assert suns.sum() > 30
    hedged, gathered = [], []
    for i in np.flatnonzero(suns.numpy()):
        direction, irradiance = lesson.sun[i].numpy().reshape(2, 3)
        true = LightProbe(lesson.cells[i].numpy(), np.zeros(3), (Sun(direction, irradiance, 0.01),))
        found = probe_network.to_probe(Light(*(part[i : i + 1] for part in light)), np.eye(3), 1.0)
        hedged.append(shadowed(found) - shadowed(true))
        gathered.append(shadowed(found.gathered) - shadowed(true))
    assert np.abs(gathered).mean() < 0.75 * np.abs(hedged).mean()
    assert abs(np.mean(gathered)) < 0.5 * np.mean(hedged)


def shadowed(probe: LightProbe) -> float:
    """The sky's share of the light on level ground."""
    up, everywhere = np.array([[0.0, 1.0, 0.0]]), np.ones((1, CELLS))
    lit, dark = (probe.shade(everywhere, up, np.full((1, len(probe.suns)), share))[0].mean() for share in (1.0, 0.0))
    return float(dark / lit)


def look(network: torch.nn.Module, lesson: Lesson) -> Light:
    with torch.no_grad():
        return cast(ProbeNet, network).look(lesson.features.float())
