# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the parts network (RiCS paper, 4.2) on one kind of pictures, from nothing or from what another taught it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ... import device as devices
from ...training import Learner, RunPlan, data_cards
from ...weights import load_state, save_model
from .data import PartsData
from .network import PartsConfig, PartsNet


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """One training run. kind: of the pictures. average: share of the averaged weights that a step keeps."""

    kind: str
    network: PartsConfig = field(default_factory=PartsConfig)
    batch: int = 4
    average: float = 0.99


class Trainer(Learner):
    """A parts network in training; goes on from the folder's checkpoint where there is one."""

    def __init__(self, plan: Plan, folder: Path, device: torch.device) -> None:
        """Raises PenumbraError where the checkpoint was made by another network or is damaged."""
        super().__init__(plan, folder, device)
        network = PartsNet(plan.network).to(device)
        self.before: dict[str, Any] = {}
        self.begin(network, torch.optim.RMSprop(network.parameters(), plan.rate, 0.99, 1e-8))  # SURREAL's

    @property
    def same(self) -> dict[str, Any]:
        return {**super().same, "kind": self.plan.kind}

    def begin_with(self, folder: Path) -> None:
        """Fine-tune a trained network; a run under way keeps its own weights. Raises PenumbraError."""
        trained, config = load_state(folder.name, folder.parent)
        self.before = config["trained"]
        if self.run.step == 0:
            for network in (self.network, self.average):
                network.load_state_dict(trained)

    def train_step(self, pictures: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step by pictures (B, 3, S, S) and labels (B, S, S): cross-entropy of every stack, summed."""
        self.network.train()
        with self.plan.half(self.device):
            found = self.network(pictures)
        loss = torch.stack([F.cross_entropy(logits.float(), labels) for logits in found]).sum()
        self.descend(loss)
        return {"parts": loss.detach()}


def train(trainer: Trainer, data: PartsData, every: float = 60.0) -> None:
    """Train until the plan ends."""
    random = np.random.default_rng([trainer.plan.seed, trainer.run.step])

    def step() -> dict[str, Tensor]:
        pictures, labels = data.batch(random, trainer.plan.batch)
        return trainer.train_step(pictures.to(trainer.device), labels.to(trainer.device))

    def report() -> dict[str, Any]:
        trainer.save()
        return {}

    trainer.run.go_on(step, report, every)


def export(trainer: Trainer, folder: Path, data: list[Path], command: str) -> None:
    """Write the averaged weights, their config and their card."""
    plan, run = trainer.plan, trainer.run
    facts: dict[str, Any] = {"kind": plan.kind, "steps": run.step, "minutes": round(run.seconds / 60, 1)}
    facts |= {"seed": plan.seed, "command": command, "data": [path.name for path in data]}
    if trainer.before:
        facts["before"] = trainer.before
    begun = f"weights that {trainer.before['kind']} had taught" if trainer.before else "random weights"
    card = f"""# {plan.network.parts} parts of bodies, taught by {plan.kind}

For the comparison of data sets in section 4.2 of *Ray-marching in Camera Space*; no part of Penumbra uses it.
Licence: GPL-3.0-or-later.

* `{command}`: {run.step} steps of {plan.batch} pictures on {devices.describe(trainer.device)}, seed {plan.seed},
  from {begun}. RMSprop, rate {plan.rate:g} falling along a cosine.

{data_cards(data)}"""
    save_model(folder, "parts", trainer.average, {"network": plan.network.to_json(), "trained": facts}, card)
