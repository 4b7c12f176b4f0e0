# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains ShadingNet: a run is a folder with a checkpoint that it goes on from, a log of losses, and pictures.

A run has phases, each a share of it. First f learns alone to read the code of the light from plates; it has the most to
learn. Then G learns, from the code of the true light, what shading it makes; then to make do with what f tells; last,
both learn together. f's lessons go on throughout: what G asks of a beginner would undo them. A run begins on half-size
pictures. D joins late, when there is something to judge. The bulk tier teaches first; the share of the reference tier
grows. The weights that a run exports are a moving average.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import device as devices
from ..images import srgb_decode, write_png
from ..splits import TEST_PLACES
from ..training import Run, RunPlan, data_cards, follow
from ..weights import load_state, save_model
from .dataset import VIEWS, Batch, ShadingData, collate, mixed, view
from .light_code import light_code, told_wrong
from .losses import LossWeights, judgement, reconstruction
from .network import ShadingConfig, ShadingDiscriminator, ShadingNet, crop_map
from .plate_data import Lesson, PlateData

BUNDLED = ShadingConfig(
    encoder_stem=8,
    encoder_widths=(32, 64),
    encoder_fuse=8,
    encoder_overview=384,
    stem=24,
    widths=(24, 48, 64, 96),
    norm="layer",
    critic_stem=8,
)


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """One training run.

    alone: share of the run in which only f learns, where there are plates. lessons: share up to which G is given the
        code of the true light. together: share after which G's losses teach f as well. halved: share on half-size
        pictures. critic_from: share after which D takes part.
    moments: of three views each in a batch. plates: of a lesson.
    average: share of the averaged weights that a step keeps.
    share: of the reference tier among the drawn moments, at the run's begin and end.
    """

    network: ShadingConfig = BUNDLED
    losses: LossWeights = field(default_factory=LossWeights)
    alone: float = 0.3
    lessons: float = 0.5
    together: float = 0.85
    halved: float = 0.75
    critic_from: float = 0.85
    moments: int = 4
    plates: int = 128
    rate: float = 2e-3
    average: float = 0.998
    share: tuple[float, float] = (0.1, 0.7)


LACKS: dict[str, Callable[[Plan], bool]] = {
    "features": lambda plan: not plan.losses.features,
    "recon_s": lambda plan: not plan.losses.shading,
    "recon_g": lambda plan: not plan.losses.rgb,
    "rics": lambda plan: not plan.network.uses_rics,
}
"""The ablations of the paper's Table 1: without L_FM, L_recon,s, L_recon,g, r_i."""


class Trainer:
    """f, G and D in training; goes on from the folder's checkpoint where there is one."""

    def __init__(self, plan: Plan, folder: Path, device: torch.device) -> None:
        """Raises PenumbraError where the checkpoint was made by another network or is damaged."""
        torch.manual_seed(plan.seed)
        self.run = Run(plan, folder)
        self.plan, self.device = plan, device
        self.network = ShadingNet(plan.network).to(device)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.critic = ShadingDiscriminator(plan.network).to(device, memory_format=torch.channels_last)
        self.optimizers = {
            "network": torch.optim.Adam(self.network.parameters(), plan.rate, (0.9, 0.99)),
            "critic": torch.optim.Adam(self.critic.parameters(), plan.rate, (0.5, 0.99)),
        }
        self.seen = {"images": 0, "plates": 0}
        self.before: dict[str, Any] = {}  # what the weights that it began with had seen
        self.seen = self.run.resume(self._parts, self._same).get("seen", self.seen)

    @property
    def _parts(self) -> dict[str, Any]:
        modules = {name: getattr(self, name) for name in ("network", "average", "critic")}
        return {**modules, **{f"optimizer.{name}": optimizer for name, optimizer in self.optimizers.items()}}

    @property
    def _same(self) -> dict[str, Any]:
        return {"network": self.plan.network.to_json()}

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        self.run.save(self._parts, {"seen": self.seen, **self._same})

    def train_step(self, batch: Batch | None, lesson: Lesson | None) -> dict[str, Tensor]:
        """One step of f by a lesson, of f and G by a batch, of D where it takes part. Returns the weighted losses."""
        torch.manual_seed(self.plan.seed + self.run.step)  # what is dropped out, too, is the same in a resumed run
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] = self.run.rate
        losses = self._lesson(lesson) if lesson and self.plan.losses.light else {}
        self.seen["plates"] += len(lesson.features) if lesson else 0
        if batch is None:
            self._descend("network", losses["lesson"])
        else:
            self.seen["images"] += len(batch.plate)
            losses |= self._batch(batch.halved() if self.run.done < self.plan.halved else batch, losses)
        follow(self.average, self.network, self.plan.average, self.run.step)
        self.run.step += 1
        return {name: loss.detach() for name, loss in losses.items()}

    def _lesson(self, lesson: Lesson) -> dict[str, Tensor]:
        """What f's overview reads from plates alone."""
        with self.plan.half(self.device):
            read = self.network.encoder.read(lesson.features)
        return {"lesson": self.plan.losses.light * told_wrong(read, lesson.facing)}

    def _batch(self, batch: Batch, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Learn from a batch and from what was lost before; returns the batch's losses."""
        plan = self.plan
        judged = self.run.done >= plan.critic_from and plan.losses.adversarial + plan.losses.features > 0
        with self.plan.half(self.device):
            maps = self.network.object_maps(batch.normal, batch.albedo, batch.bits)
            size = maps.shape[-1]
            told = self.network.encoder(batch.plate)
            if self.run.done < plan.lessons:
                light = light_code(batch.facing)[:, :, None, None].expand(-1, -1, size, size)
            else:
                light = crop_map(told if self.run.done >= plan.together else told.detach(), batch.box, size)
            predicted = self.network.generator(maps, light)
        predicted, light = predicted.float(), light.float()
        mine = reconstruction(predicted, batch.shading, batch.albedo, batch.importance, batch.alpha, plan.losses)
        if plan.losses.light:
            mine["light"] = plan.losses.light * told_wrong(told, batch.facing)
        if judged:
            with self.plan.half(self.device):
                taught, verdict = judgement(
                    self.critic, predicted, batch.shading, maps, light, batch.alpha, plan.losses
                )
            mine |= taught
        whole = torch.stack([loss.float() for loss in (*losses.values(), *mine.values())]).sum()
        self._descend("network", whole, judged)
        if judged:
            self._descend("critic", verdict)
            mine["critic"] = verdict
        return mine

    def _descend(self, name: str, loss: Tensor, again: bool = False) -> None:
        """One step of one optimizer's parameters alone. again: the graph is needed once more."""
        optimizer = self.optimizers[name]
        parameters = optimizer.param_groups[0]["params"]
        optimizer.zero_grad(set_to_none=True)
        # What takes no part in this step keeps no gradient, and the optimizer leaves it as it is.
        loss.backward(inputs=parameters, retain_graph=again)
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()

    def begin_with(self, folder: Path) -> None:
        """Begin a new run with a trained network's weights, as far as the sizes agree; a run under way keeps its own.

        Raises PenumbraError where the weights are missing or damaged.
        """
        trained, config = load_state(folder.name, folder.parent)
        self.before = config["trained"]
        if self.run.step == 0:
            for network in (self.network, self.average):
                mine = network.state_dict()
                fitting = {name: v for name, v in trained.items() if name in mine and v.shape == mine[name].shape}
                network.load_state_dict({**mine, **fitting})


def train(
    trainer: Trainer,
    bulk: ShadingData | None,
    reference: ShadingData | None = None,
    plates: PlateData | None = None,
    workers: int = 1,
    every: float = 60.0,
) -> None:
    """Train until the plan ends. Every `every` seconds: a line in ``log.jsonl``, a picture, a checkpoint.

    plates: for f's lessons; without data of the other kinds, f learns alone.
    """
    plan, run = trainer.plan, trainer.run
    sources = [data for data in (bulk, reference) if data is not None]
    shown = sources[-1].frames if sources else []
    examples = [(f, 0) for f in shown[:: max(1, len(shown) // 6)][:6]]
    random = np.random.default_rng([plan.seed, run.step])

    def step() -> dict[str, Tensor]:
        lesson = plates.draw(random, plan.plates).to(trainer.device) if plates else None
        alone = plates and (not sources or run.done < plan.alone)
        return trainer.train_step(None if alone else draw().to(trainer.device), lesson)

    def report() -> dict[str, Any]:
        if examples:
            (run.folder / "pictures").mkdir(exist_ok=True)
            write_png(run.folder / "pictures" / f"{run.step:07d}.png", sheet(trainer.average, examples))
        trainer.save()
        return {}

    with mixed(sources, plan.share, plan.moments, run, workers) as draw:
        run.go_on(step, report, every)


@torch.inference_mode()
def sheet(network: ShadingNet, examples: list) -> np.ndarray:
    """Linear RGB picture: plate, predicted and true shading (halved), albedo, predicted and true image, by row.

    examples: (dataset.Frame, index of a light) pairs.
    """
    device = next(network.parameters()).device
    views = [view(frame, light) for frame, light in examples]
    batch = collate(views).to(device)
    predicted = (
        network(batch.plate, batch.normal, batch.albedo, batch.bits, batch.box).permute(0, 2, 3, 1).cpu().numpy()
    )
    rows = []
    for shading, v in zip(np.maximum(predicted, 0), views, strict=True):
        plate = srgb_decode(v["plate"])
        images = (v["alpha"] * v["albedo"] * s + (1 - v["alpha"]) * 0.2 for s in (shading, v["shading"]))
        shadings = (0.5 * v["alpha"] * s for s in (shading, v["shading"]))
        rows.append(np.concatenate([plate, *shadings, v["albedo"], *images], 1))
    return np.concatenate(rows)


def export(trainer: Trainer, folder: Path, data: list[Path], command: str) -> None:
    """Write the averaged weights, their config and their card. data: the folders that taught them."""
    plan = trainer.plan
    facts: dict[str, Any] = {"steps": trainer.run.step, **trainer.seen, "minutes": round(trainer.run.seconds / 60, 1)}
    facts |= {"seed": plan.seed, "command": command, "data": [path.name for path in data]}
    facts["without"] = [name for name, lacks in LACKS.items() if lacks(plan)]
    if trainer.before:
        facts["before"] = trainer.before
    judged = plan.losses.adversarial + plan.losses.features > 0
    critic = f"D joined after {plan.critic_from:.0%} of the run" if judged else "trained without D"
    card = f"""# ShadingNet

The light encoder f and the shading generator G of *Ray-marching in Camera Space* (RiCS), trained by this project
on pictures that it rendered itself. Licence: GPL-3.0-or-later.

* Runs, the last one first; each began with the weights of the one below, and the first with random ones:
{history(facts)}
* The last on {devices.describe(trainer.device)}, seed {plan.seed}, {plan.moments} moments × {VIEWS} views a step. f
  learnt alone for {plan.alone:.0%} of it; up to {plan.lessons:.0%} G was given the true light; after
  {plan.together:.0%} f and G learnt together. {plan.halved:.0%} was on half-size pictures.
* Adam, learning rate {plan.rate:g} falling along a cosine; {critic}.
  The weights are a moving average ({plan.average:g}).
* Loss weights: {json.dumps(dataclasses.asdict(plan.losses))}. `everywhere` is added to the edge importance
  x_w, `smooth` is the Huber threshold, and `light` weighs f's lessons; the three are 0 in the paper.
* No light of {", ".join(TEST_PLACES)} was among them.
* Sizes: {json.dumps(plan.network.to_json())}

{data_cards(data)}"""
    save_model(folder, "shadingnet", trainer.average, {"network": plan.network.to_json(), "trained": facts}, card)


def history(facts: dict[str, Any] | None) -> str:
    """A line for each run that led to some weights, the last one first. facts: what their config says of training."""
    lines = []
    while facts:
        command = facts.get("command", "an earlier command")
        seen = f"G saw {facts['images']} images, f {facts['plates']} plates"
        lines.append(f"  * `{command}`: {facts['steps']} steps, {facts['minutes']:.0f} minutes, {seen}")
        facts = facts.get("before")
    return "\n".join(lines)
