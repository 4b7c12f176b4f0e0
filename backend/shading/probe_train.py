# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains ProbeNet on plates whose light is known: minutes on one processor core, as plates are counted once.

A run is a folder with a checkpoint that it goes on from and a log. A part of the plates is held out: what its log calls
"tested" is measured there, and there the exported network's confidence is calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .. import device as devices
from ..rays.directions import SOLID_ANGLES
from ..splits import TEST_PLACES
from ..training import Learner, RunPlan, data_cards
from ..weights import save_model
from .evaluate import BRIGHTEST
from .plate_data import Lesson, PlateData
from .probe_network import (
    NEAR,
    Light,
    ProbeNet,
    ProbeNetConfig,
    directions,
    dominant,
    evidence,
    light_vector,
    luminance,
)

SUNNY = 0.5  # irradiance of a sun over the mean shading by all other light, from which on a plate counts as sunny
HELD_OUT = 0.04  # of the plates, the last ones: neighbours show the same light
_WIDTH_OF_SUN = 12.0  # concentration of the likelihood around a true sun


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """One training run. plates: of a batch. average: share of the averaged weights that a step keeps."""

    network: ProbeNetConfig = field(default_factory=ProbeNetConfig)
    plates: int = 128
    decay: float = 1e-2
    average: float = 0.998


class Trainer(Learner):
    """ProbeNet in training; goes on from the folder's checkpoint where there is one."""

    def __init__(self, plan: Plan, folder: Path, device: torch.device) -> None:
        """Raises PenumbraError where the checkpoint was made by another network or is damaged."""
        super().__init__(plan, folder, device)
        network = ProbeNet(plan.network).to(device)
        self.begin(network, torch.optim.AdamW(network.parameters(), plan.rate, weight_decay=plan.decay, fused=True))

    def train_step(self, lesson: Lesson) -> dict[str, Tensor]:
        """One step. Returns the weighted losses."""
        torch.manual_seed(self.plan.seed + self.run.step)  # what is dropped out is the same in a resumed run
        with self.plan.half(self.device):
            told = self.network(lesson.features)
        losses = light_losses(told, lesson)
        self.descend(torch.stack(list(losses.values())).sum())
        return {name: loss.detach() for name, loss in losses.items()}


def light_losses(told: Light, lesson: Lesson) -> dict[str, Tensor]:
    """What the told light lacks, by what it does to white surfaces that face each of the 62 directions."""
    direction, irradiance = lesson.sun.split(3, 1)
    rest, true = shading(lesson.cells), shading(lesson.cells, direction, irradiance)
    sunny = is_sunny(lesson).float()
    told_rest = shading(told.cells)
    around = F.softmax(_WIDTH_OF_SUN * direction @ directions(direction).T, 1)
    missed = -(around * told.towards.log_softmax(1)).sum(1)
    strength = F.smooth_l1_loss(told.irradiance.log(), irradiance.clamp(min=1e-3).log(), reduction="none").sum(1)
    return {
        "shading": 4 * _clipped_loss(shading(told.all_cells), true),
        "rest": 2 * _clipped_loss(told_rest, rest),
        "log": F.smooth_l1_loss((told_rest + 0.03).log(), (rest + 0.03).log()),
        "cells": 0.2 * F.smooth_l1_loss((told.cells + 0.05).log(), (lesson.cells + 0.05).log()),
        "sunny": F.binary_cross_entropy_with_logits(told.sunny, sunny),
        "direction": 0.5 * (sunny * missed).sum() / sunny.sum().clamp(min=1),
        "irradiance": 0.5 * (sunny * strength).sum() / sunny.sum().clamp(min=1),
    }


def shading(cells: Tensor, direction: Tensor | None = None, irradiance: Tensor | None = None) -> Tensor:
    """(B, 62, 3) of unhidden white surfaces that face the 62 directions, by cells (B, 62, 3) and a sun (B, 3)."""
    facing = directions(cells)
    lit = (facing @ facing.T).clamp(min=0) * cells.new_tensor(SOLID_ANGLES) / np.pi @ cells
    if direction is None or irradiance is None:
        return lit
    return lit + (direction @ facing.T).clamp(min=0)[..., None] * irradiance[:, None]


def is_sunny(lesson: Lesson) -> Tensor:
    """(B,) bool: whether a sun gives enough of the light."""
    return luminance(lesson.sun[:, 3:]) > SUNNY * luminance(shading(lesson.cells)).mean(1)


def _clipped_loss(told: Tensor, true: Tensor) -> Tensor:
    return F.huber_loss(told.clamp(max=2 * BRIGHTEST), true.clamp(max=BRIGHTEST))


def train(trainer: Trainer, data: PlateData, held_out: Lesson, every: float = 60.0) -> None:
    """Train until the plan ends. Every `every` seconds: a line in ``log.jsonl`` and a checkpoint."""
    random = np.random.default_rng([trainer.plan.seed, trainer.run.step])

    def step() -> dict[str, Tensor]:
        return trainer.train_step(data.draw(random, trainer.plan.plates).to(trainer.device))

    def report() -> dict[str, Any]:
        trainer.save()
        return {"tested": test(trainer.average, held_out.to(trainer.device))}

    trainer.run.go_on(step, report, every)


@torch.inference_mode()
def test(network: ProbeNet, lesson: Lesson) -> dict[str, float]:
    """Mean squared error of the clipped shading, and the dominant direction's error in the median of degrees."""
    light = network.look(lesson.features)
    told, true = shading(light.all_cells), shading(lesson.cells, lesson.sun[:, :3], lesson.sun[:, 3:])
    error = (told.clamp(max=BRIGHTEST) - true.clamp(max=BRIGHTEST)).square().mean()
    return {"shading_mse": float(error), "direction_error": float(direction_errors(light, lesson).median())}


def direction_errors(light: Light, lesson: Lesson) -> Tensor:
    """(B,) degrees between the told and the true dominant direction."""
    direction, irradiance = lesson.sun.split(3, 1)
    true = F.normalize(light_vector(lesson.cells, luminance(irradiance)[:, None] * direction), dim=1)
    return torch.rad2deg((dominant(light) * true).sum(1).clamp(-1, 1).acos())


@torch.inference_mode()
def calibrate(network: ProbeNet, held_out: Lesson) -> None:
    """Set what makes its confidence: logistic regression of "the dominant direction is within `NEAR`"."""
    light = network.look(held_out.features)
    right = (direction_errors(light, held_out) < NEAR).double()
    known = evidence(light).double()
    weights = known.new_zeros(known.shape[1])
    for _ in range(30):  # Newton's method, with a little ridge
        likely = (known @ weights).sigmoid()
        curvature = known.T @ (known * (likely * (1 - likely))[:, None]) + 0.1 * torch.eye(len(weights)).to(known)
        weights += torch.linalg.solve(curvature, known.T @ (right - likely) - 0.1 * weights)
    network.certainty.copy_(weights)


def export(trainer: Trainer, held_out: Lesson, folder: Path, data: list[Path], command: str) -> None:
    """Write the averaged weights, calibrated on plates that were held out, their config and their card."""
    lesson, network, run = held_out.to(trainer.device), trainer.average, trainer.run
    calibrate(network, lesson)
    with torch.inference_mode():
        light = network.look(lesson.features)
        sure, errors = light.has_sun, direction_errors(light, lesson)
    tested, minutes = test(network, lesson), round(run.seconds / 60, 1)
    facts = {"steps": run.step, "minutes": minutes, "command": command, "data": [path.name for path in data]}
    card = f"""# ProbeNet

From a plate's overview (slopes of brightness, counted, and colours) to its light: the radiance of 62 cells, and of the
strongest sun whether it is there, where, and how strong. Trained by this project on pictures that it rendered itself.
Licence: GPL-3.0-or-later.

* `{command}`: {run.step} steps of {trainer.plan.plates} plates, {minutes} minutes on
  {devices.describe(trainer.device)}, seed {trainer.plan.seed}. AdamW, learning rate {trainer.plan.rate:g} falling along
  a cosine, weight decay {trainer.plan.decay:g}; the weights are a moving average ({trainer.plan.average:g}).
* On {len(errors)} plates held out from training: shading MSE {tested["shading_mse"]:.3f} of white surfaces
  that face all ways; the dominant direction is off by {tested["direction_error"]:.0f}° in the median, by
  {float(errors[sure].median()):.0f}° in the {float(sure.float().mean()):.0%} where it is sure of a sun. Places of the
  test split are in `docs/results`.
* Its confidence is calibrated on the same plates: how likely that direction is within {NEAR:.0f}° of the true one.
* No light of {", ".join(TEST_PLACES)} was among them.

{data_cards(data)}"""
    save_model(folder, "probenet", network, {"network": trainer.plan.network.to_json(), "trained": facts}, card)
