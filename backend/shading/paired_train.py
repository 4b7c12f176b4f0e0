# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains ShadingNet's rivals (`paired`) on ShadingNet's own batches: a run is a folder, as ShadingNet's is.

The same moments, pictures, mirrorings and exposures as an ablation of the same seed, and as many; the loss is
L_recon,g's distance on colours, and L_recon,s's and L_recon,g's on shading.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import device as devices
from ..display import encode_display
from ..splits import TEST_PLACES
from ..training import Learner, RunPlan, data_cards
from ..weights import save_model
from .dataset import VIEWS, Batch, ShadingData, mixed
from .losses import LossWeights, reconstruction
from .paired import Inputs, PairedConfig, PairedNet

SMOOTH = LossWeights.smooth  # Huber's threshold, as in ShadingNet's losses


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """One training run. moments, halved, average, share, rate: as in ShadingNet's plan."""

    network: PairedConfig = field(default_factory=PairedConfig)
    moments: int = 4
    halved: float = 0.75
    rate: float = 2e-3
    average: float = 0.998
    share: tuple[float, float] = (0.1, 0.7)


class Trainer(Learner):
    """A rival in training; goes on from the folder's checkpoint where there is one."""

    def __init__(self, plan: Plan, folder: Path, device: torch.device) -> None:
        """Raises PenumbraError where the checkpoint was made by another network or is damaged."""
        super().__init__(plan, folder, device)
        network = PairedNet(plan.network).to(device)
        self.begin(network, torch.optim.Adam(network.parameters(), plan.rate, (0.9, 0.99)))

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One step. Returns the weighted losses."""
        batch = batch.halved() if self.run.done < self.plan.halved else batch
        with self.plan.half(self.device):
            told = self.network(inputs(batch))
        losses = self._losses(told.float(), batch)
        self.descend(torch.stack(list(losses.values())).sum())
        return {name: loss.detach() for name, loss in losses.items()}

    def _losses(self, told: Tensor, batch: Batch) -> dict[str, Tensor]:
        if not self.network.colours:
            return reconstruction(told, batch.shading, batch.albedo, batch.importance, batch.alpha, LossWeights())
        distance = F.huber_loss(
            told, encode_display((batch.shading * batch.albedo).clamp(0, 1)), reduction="none", delta=SMOOTH
        )
        area = 3 * batch.alpha.sum().clamp(min=1)
        return {"rgb": LossWeights.rgb * (distance / SMOOTH * batch.alpha).sum() / area}


def train(trainer: Trainer, sources: list[ShadingData], workers: int = 1, every: float = 60.0) -> None:
    """Train until the plan ends; sources: bulk, then reference, if any. See `train.train`."""

    def report() -> dict[str, Any]:
        trainer.save()
        return {}

    plan, run = trainer.plan, trainer.run
    with mixed(sources, plan.share, plan.moments, run, workers) as draw:
        run.go_on(lambda: trainer.train_step(draw().to(trainer.device)), report, every)


def inputs(batch: Batch) -> Inputs:
    """What a rival sees of a batch."""
    return Inputs(batch.plate, batch.normal, encode_display(batch.albedo), batch.alpha, batch.box)


def export(trainer: Trainer, folder: Path, data: list[Path], command: str) -> None:
    """Write the averaged weights, their config and their card. data: the folders that taught them."""
    plan, run = trainer.plan, trainer.run
    facts = {"steps": run.step, "minutes": round(run.seconds / 60, 1), "seed": plan.seed, "command": command}
    card = f"""# A rival of ShadingNet: {plan.network.kind}

What `backend/shading/paired.py` describes, for the comparison with ShadingNet; no part of Penumbra uses it.
Licence: GPL-3.0-or-later.

* `{command}`: {run.step} steps of {plan.moments} moments × {VIEWS} views on {devices.describe(trainer.device)}, seed
  {plan.seed}; {plan.halved:.0%} of them on half-size pictures. Adam, learning rate {plan.rate:g} falling along a
  cosine; the weights are a moving average ({plan.average:g}).
* No light of {", ".join(TEST_PLACES)} was among them.

{data_cards(data)}"""
    facts |= {"data": [path.name for path in data]}
    save_model(folder, "paired", trainer.average, {"network": plan.network.to_json(), "trained": facts}, card)
