# SPDX-License-Identifier: GPL-3.0-or-later
"""Training LASOR from synthesized proxies; a run can be interrupted and gone on with at any time."""

from __future__ import annotations

import copy
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import device as devices
from ...images import write_png
from ...training import Learner, MuonAndAdam, RunPlan, Stateful
from ...weights import save_model
from ..model import BodyModel
from . import evaluate, lifting
from .camera import to_pixels, weak_perspective
from .losses import WEIGHTS, Losses
from .network import BUNDLED, Lasor, LasorConfig
from .person import mean_numbers
from .proxy import SIZE
from .raster import coverage
from .synthesis import LEARNT, TARGET, Batch, Synthesis, Synthesizer


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """One training run.

    clear: share of the run on unoccluded, exactly seen people.
    sizes: of the proxies in pixels, and after which share of the run each begins.
    batch: people. average: of the weights' mean. squares: of the paper's losses, see `Losses`.
    """

    network: LasorConfig = BUNDLED
    synthesis: Synthesis = LEARNT
    losses: dict[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    clear: float = 0.15
    sizes: tuple[tuple[int, float], ...] = ((64, 0.0), (128, 0.45))
    batch: int = 32
    average: float = 0.998
    squares: bool = False


class Trainer(Learner):
    """A run in its folder; goes on from the folder's checkpoint where there is one."""

    clip = 1.0

    def __init__(self, plan: Plan, poses: np.ndarray, folder: Path, device: torch.device) -> None:
        """poses: (N, 24, 3) axis-angle. Raises PenumbraError where the checkpoint is another network's or damaged, or
        no lifter was trained in the folder.
        """
        super().__init__(plan, folder, device)
        body = BodyModel.load(coarse=True).to(device)
        self.synthesizer = Synthesizer(body, poses)
        self.losses = Losses(body, plan.losses, plan.squares).to(device)
        network = Lasor(plan.network)
        network.mean.copy_(mean_numbers(poses, body))
        if network.lifter is not None:
            network.lifter.load_state_dict(lifting.trained(folder, plan.network.lifter))
            network.lifter.requires_grad_(False)
        network.to(device, memory_format=torch.channels_last)
        learned = [p for p in network.parameters() if p.requires_grad]
        hidden = [network.encoder.layers[1:], network.regressor[2]]
        self.begin(network, MuonAndAdam([*learned, *self.losses.parameters()], hidden, plan.rate))
        # A resumed run draws other people than those it has seen.
        self.random = torch.Generator(device).manual_seed(plan.seed + self.run.step)

    @property
    def parts(self) -> dict[str, Stateful]:
        return {**super().parts, "losses": self.losses.log_variance}  # the body belongs to the program

    @property
    def same(self) -> dict[str, Any]:
        return {**super().same, "losses": sorted(self.plan.losses)}

    def draw(self) -> Batch:
        """The next batch, as the run's phase has it."""
        plan = self.plan
        drawn = plan.synthesis.clear() if self.run.done < plan.clear else plan.synthesis
        return self.synthesizer.batch(plan.batch, drawn, self.random, self.size)

    @property
    def size(self) -> int:
        """Of the proxies at this time of the run."""
        return [size for size, begin in self.plan.sizes if self.run.done >= begin][-1]

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One step. Returns the unweighted losses."""
        self.network.train()
        with self.plan.half(self.device):
            estimate = self.network(batch.proxy.to(memory_format=torch.channels_last))
        losses = self.losses(estimate, batch)
        self.descend(self.losses.total(losses))
        return {name: loss.detach() for name, loss in losses.items()}


def train(trainer: Trainer, test_poses: np.ndarray, every: float = 60.0) -> None:
    """Train until the plan ends. Every `every` seconds: a line in ``log.jsonl`` with the errors on 40 unseen people,
    a picture, a checkpoint.
    """

    def report() -> dict[str, Any]:
        trainer.save()
        return {"tested": _tested(trainer, test_poses)}

    trainer.run.go_on(lambda: trainer.train_step(trainer.draw()), report, every)


def _tested(trainer: Trainer, poses: np.ndarray) -> dict[str, dict[str, float]]:
    """Errors of the averaged weights by condition; leaves a picture in the run's folder."""
    network = copy.deepcopy(trainer.average).cpu()
    names = ("exact 2D", "a detector's 2D, behind people and objects")
    conditions = {name: evaluate.CONDITIONS[name] for name in names}
    pictures = trainer.run.folder / "pictures"
    pictures.mkdir(exist_ok=True)
    write_png(pictures / f"{trainer.run.step:07d}.png", sheet(network, poses, trainer.size))
    rows = evaluate.evaluate({"LASOR": evaluate.by_network(network)}, poses, conditions, 40, size=trainer.size)
    return {row["split"]: {metric: round(row[metric], 4) for metric in evaluate.COLUMNS} for row in rows}


@torch.inference_mode()
def sheet(network: Lasor, poses: np.ndarray, size: int = SIZE, count: int = 8) -> np.ndarray:
    """(H, W, 3) linear: above, proxies (silhouette blue, keypoints white) of unseen people, clear and occluded; below,
    the true silhouette green and the estimated body red, yellow where they agree.
    """
    body = BodyModel.load(coarse=True)
    synthesizer = Synthesizer(body, poses)
    rows = []
    for plan in (Synthesis().clear(), Synthesis()):
        batch = synthesizer.batch(count, plan, torch.Generator().manual_seed(2), size)
        estimate = network(batch.proxy)
        vertices, _ = body(estimate.betas, estimate.rotations)
        found = coverage(to_pixels(weak_perspective(vertices, estimate.camera), TARGET), body.faces, TARGET).float()
        small = F.interpolate(batch.proxy, (TARGET, TARGET), mode="area")
        seen, points = small[:, 0], small[:, 1:].amax(1)
        rows.append(torch.stack([points, points, torch.maximum(0.5 * seen, points)], -1))
        rows.append(torch.stack([found, batch.silhouette, torch.zeros_like(found)], -1) * 0.7)
    return torch.cat([torch.cat(list(row), 1) for row in rows]).numpy()


def export(trainer: Trainer, folder: Path, motions: list[str], command: str) -> None:
    """Write the averaged weights, their config and their card, and the lifter's beside them.

    motions: names of the folders of motion files.
    """
    plan = trainer.plan
    network = copy.deepcopy(trainer.average)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.num_batches_tracked is not None:
            module.num_batches_tracked.zero_()  # counts nothing that is used, and float16 could not hold it
    run = trainer.run
    shared = {"lifter": "lifter"} if network.lifter is not None else {}
    if shared:
        lifting.export(run.folder, folder.parent / "lifter")
    facts = {"steps": run.step, "people": run.step * plan.batch, "minutes": round(run.seconds / 60, 1)}
    card = f"""# LASOR

Encoder and iterative regressor of *LASOR* (occlusion-aware silhouettes and keypoints to a posed, shaped body), trained
by this project from random weights on proxies that it synthesized itself from the body in `assets/body`.
Licence: GPL-3.0-or-later.

* Command: `{command}`
* {facts["steps"]} steps of {plan.batch} people ({facts["people"]} in all), {facts["minutes"]:.0f} minutes on
  {devices.describe(trainer.device)}, seed {plan.seed}.
* For {plan.clear:.0%} of the run people were clearly seen. Sides of the proxies, from which share of the run:
  {", ".join(f"{size} from {begin:.0%}" for size, begin in plan.sizes)}.
* Poses: motion files of {", ".join(motions) or "no folder"} that are not held out, the built-in motions, and draws
  within the joints' limits.
* Muon for the hidden layers, Adam for the rest, learning rate {plan.rate:g} falling along a cosine; the weights are a
  moving average ({plan.average:g}).
* Losses, of {"squares" if plan.squares else "distances"}, and their first weights: {json.dumps(plan.losses)}.
* Synthesis: {json.dumps(dataclasses.asdict(plan.synthesis))}
* Sizes: {json.dumps(plan.network.to_json())}
"""
    save_model(folder, "lasor", network, {"network": plan.network.to_json(), "trained": facts}, card, shared)
