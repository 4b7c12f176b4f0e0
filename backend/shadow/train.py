# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the shadow networks in the paper's three stages: predictors, confidences, generator; and in one of ours.

A run is a folder with one checkpoint a stage, from which it goes on, and a log. Stages 2 and 3 read the weights that
the stage before exported, and keep them as they are; so does stage 4, which teaches stage 1's predictors to look for
the light.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import device as devices
from ..shading.panorama import LUMINANCE
from ..shading.probe_fit import fibonacci_sphere
from ..training import Learner, MuonAndAdam, RunPlan, data_cards
from ..weights import save_model
from . import losses
from .examples import Batch, collate, example
from .generator import DEEPEST, Conditions, ShadowGenerator, clear_day, condition, shaded
from .hints import some_unshaded
from .light_search import features
from .networks import ShadowPredictors, hint, prior_at_low_resolution
from .tuples import ShadowTuple

GREY = 0.25  # share of examples of stages 1 and 4 whose object tells nothing by its shading
TEACHING = 0.5  # share of stage 1's masks that follow the true light, so that they learn from the first step
LED = 0.5  # share of stage 2's masks that follow a light somewhere between the predicted and the true one
TOLD = 0.5  # share of examples that stage 3 sees with the true mask and light, beside the paper's predicted ones
MISJUDGED = 0.35  # deviation of the logarithm of a shadow's depth, itself a logarithm, of an estimated light
TRIED = 48  # directions of an example in stage 4
REMEMBERED = 2000  # batches whose features stage 4 keeps
REPEATED = 32  # of these, that it learns from in a step
TRAINED = {1: ("light", "mask"), 2: ("quality",), 4: ("search",)}  # parts of the predictors


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """One stage's run. size: pixels a side of its examples. average: of the exported moving average.

    masked: of a batch, how many stage 1's masks learn from, at most; the light costs a quarter as much to learn, and
    needs to see more.
    """

    stage: int
    size: int
    batch: int = 8
    masked: int = 4
    average: float = 0.999


class Trainer(Learner):
    """A stage's run in its folder; goes on from the folder's checkpoint where there is one."""

    clip = 1.0

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        device: torch.device,
        predictors: ShadowPredictors,
        generator: ShadowGenerator | None = None,
    ) -> None:
        """predictors: in stage 3 frozen, in stage 2 but for the confidences. generator: stage 3's.

        Raises PenumbraError where the checkpoint is of other networks, or damaged.
        """
        super().__init__(plan, folder, device, f"stage{plan.stage}")
        self._tried: list[tuple[Tensor, ...]] = []
        self.predictors = predictors.to(device).requires_grad_(False)
        self.generator = generator.to(device) if generator is not None else None
        if self.generator is None:
            parts = {name: getattr(predictors, name).requires_grad_(True) for name in TRAINED[plan.stage]}
            network: nn.Module = nn.ModuleDict(parts)
            inner = [layer for part in parts.values() for layer in part.inner]
            self.begin(network, MuonAndAdam(network.parameters(), inner, plan.rate))
        else:  # Stable Diffusion's own weights stay as they are
            network = self.generator if self.generator.vae is None else self.generator.added()
            learned = [p for p in network.parameters() if p.requires_grad]
            self.begin(network, torch.optim.AdamW(learned, plan.rate, weight_decay=0.01))

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the stage. Returns its losses."""
        with self.plan.half(self.device):
            terms = self.losses(batch)
        self.descend(torch.stack([t.float() for t in terms.values()]).sum())
        return {name: term.detach() for name, term in terms.items()}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The stage's losses, to be added."""
        return {1: self._predict, 2: self._judge, 3: self._generate, 4: self._search}[self.plan.stage](batch)

    def _predict(self, batch: Batch) -> dict[str, Tensor]:
        h = some_unshaded(hint(batch.composite, batch.object, batch.points, batch.valid), GREY)
        light, _ = self.predictors.light(h)
        of_light = losses.light_loss(light.float(), batch.light, batch.known)
        batch, h, light = (
            Batch(*(x[: self.plan.masked] for x in batch)),
            h[: self.plan.masked],
            light[: self.plan.masked],
        )
        taught = (torch.rand(len(light), device=light.device) < TEACHING) & (batch.known > 0)
        used = torch.where(taught[:, None], batch.light, light)
        prior = prior_at_low_resolution(batch.points, batch.object, batch.valid, used.detach())
        logits, coarse = self.predictors.mask(prior, h, used)
        return {
            "light": of_light,
            "mask": losses.mask_loss(logits.float(), batch.shadow),
            "coarse": 0.5 * losses.mask_loss(coarse.float(), batch.shadow),
        }

    def _judge(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            h = hint(batch.composite, batch.object, batch.points, batch.valid)
            predicted, feature = self.predictors.light(h)
            known, led = batch.known > 0, torch.rand_like(batch.light[:, :1]) < LED
            toward = torch.rand_like(batch.light[:, :1]) * (led & known[:, None])
            light = nn.functional.normalize(predicted.float().lerp(batch.light, toward), dim=1)
            prior = prior_at_low_resolution(batch.points, batch.object, batch.valid, light)
            mask = torch.sigmoid(self.predictors.mask(prior, h, light)[0]) * (1 - batch.object)
            of_mask = losses.dice_error(mask, batch.shadow)
            of_light = 1 - (light * batch.light).sum(1)
        light_quality, mask_quality = self.predictors.quality(h, mask, prior, light, feature)
        known &= ~led[:, 0]
        terms = {"mask quality": losses.quality_loss(mask_quality.float(), of_mask, losses.MASK_SCALE)}
        if known.any():
            terms["light quality"] = losses.quality_loss(
                light_quality[known].float(), of_light[known], losses.LIGHT_SCALE
            )
        return terms

    def _generate(self, batch: Batch) -> dict[str, Tensor]:
        generator = self.generator
        assert generator is not None
        which = (torch.rand(len(batch.known), device=self.device) < TOLD) & (batch.known > 0)
        c = conditions(self.predictors, batch, which)
        terms = {"noise": generator.noise_loss(batch.target, batch.ratio, c)}
        # The post-processing network learns on shadows that are as wrong as generated ones: blurred, too weak.
        ratio, logits = generator.post(spoil(batch.ratio), batch.composite, batch.object)
        terms["picture"] = (shaded(batch.composite, ratio) - batch.target).abs().mean()
        terms["post mask"] = (torch.tanh(logits / 2) - (2 * batch.shadow - 1)).abs().mean()
        return terms

    def _search(self, batch: Batch) -> dict[str, Tensor]:
        search = self.predictors.search
        assert search is not None
        h = some_unshaded(hint(batch.composite, batch.object, batch.points, batch.valid), GREY)
        directions = tried(len(h)).to(self.device)
        # What costs is to compute the features, not to learn from them: each picture is learnt from several times.
        self._tried.append((features(h, directions), directions, batch.light, batch.known))
        self._tried = self._tried[-REMEMBERED:]
        some = torch.randperm(len(self._tried))[:REPEATED].tolist()
        speaking, directions, light, known = map(torch.cat, zip(*(self._tried[i] for i in some), strict=True))
        return {"search": losses.search_loss(search.scores(speaking), directions, light, known)}

    def exported(self) -> nn.Module:
        """With averaged weights: the predictors, the generator, or what was added to Stable Diffusion."""
        if self.generator is not None:
            return self.average.eval()
        predictors = copy.deepcopy(self.predictors)
        for name in TRAINED[self.plan.stage]:
            setattr(predictors, name, self.average.get_submodule(name))
        return predictors.eval()

    @property
    def same(self) -> dict[str, Any]:
        return {"network": (self.generator or self.predictors).config.to_json()}


def tried(count: int) -> Tensor:
    """(count, TRIED, 3) unit directions to compare, evenly spread all around, turned at random for each picture."""
    turns = torch.linalg.qr(torch.randn(count, 3, 3))[0]
    return torch.tensor(fibonacci_sphere(TRIED), dtype=torch.float32) @ turns


def conditions(predictors: ShadowPredictors, batch: Batch, told: Tensor) -> Conditions:
    """What the predictors make of the examples; of those that are `told` (B,) the true mask and light, and sure of
    both, as it is where the scene is known. Every other mask is then soft and its depth roughly known, as those of a
    traced shadow are."""
    pictures = batch.composite, batch.object, batch.points, batch.valid
    sure, mask = torch.ones_like(batch.known), batch.shadow.clone()
    taken = clear_day(batch.composite).clone()
    mask[::2], taken[::2] = traced(batch.ratio[::2])
    mask = mask * (1 - batch.object)
    c = Conditions(batch.composite, hint(*pictures), mask, batch.light.clone(), sure, sure.clone(), taken)
    rest = ~told
    if rest.any():  # the predictors take half a step's time
        predicted = condition(predictors, tuple(x[rest] for x in pictures))
        for name in ("mask", "light", "light_quality", "mask_quality", "taken"):
            getattr(c, name)[rest] = getattr(predicted, name).to(getattr(c, name).dtype)
    return c


def traced(ratio: Tensor) -> tuple[Tensor, Tensor]:
    """What a tracer would know of shadows of ratios (B, 3, H, W): how deep they are (B, 1, H, W), 1 where they are
    deepest, and the share of the light (B, 3) that they take there, as far as its light is the picture's."""
    luminance = torch.tensor(LUMINANCE, dtype=ratio.dtype, device=ratio.device)
    depth = 1 - torch.einsum("bchw,c->bhw", ratio, luminance)
    deep = (depth / depth.flatten(1).amax(1).clamp(min=1e-3)[:, None, None]).clamp(0, 1)[:, None]
    deepest = (deep > 0.9).float()
    kept = (ratio.log() * deepest).sum((2, 3)) / deepest.sum((2, 3)).clamp(min=1)
    error = (MISJUDGED * torch.randn(len(kept), 1, device=kept.device)).exp()
    return deep, 1 - (kept * error).clamp(-DEEPEST, 0).exp()


def spoil(ratio: Tensor) -> Tensor:
    """Ratios (B, 3, H, W) blurred by up to two pixels, of half to one and a half times their depth, with noise."""
    count = len(ratio)
    depth = torch.empty(count, 1, 1, 1, device=ratio.device).uniform_(0.5, 1.5)
    spread = torch.rand(count, 1, 1, 1, device=ratio.device)
    log = ratio.clamp(min=1e-3).log() * depth
    log = log + spread * (nn.functional.avg_pool2d(log, 5, 1, 2, count_include_pad=False) - log)
    return (log + 0.03 * torch.randn_like(log)).clamp(-7, 0).exp()


def train(trainer: Trainer, data: Sequence[ShadowTuple], workers: int = 1, every: float = 60.0) -> None:
    """Train until the plan ends. Every `every` seconds: a line in the log and a checkpoint."""
    trainer.network.train()
    stream = batches(data, trainer.plan, trainer.run.step, workers)

    def report() -> dict[str, Any]:
        trainer.save()
        return {"images": trainer.run.step * trainer.plan.batch}

    trainer.run.go_on(lambda: trainer.train_step(next(stream).to(trainer.device)), report, every)


def batches(data: Sequence[ShadowTuple], plan: Plan, step: int, workers: int) -> Iterator[Batch]:
    """Endless batches; a resumed run draws others than those it has seen. Workers are threads that prepare ahead."""
    random = np.random.default_rng([plan.seed, plan.stage, step])

    def prepare(seed: int) -> Batch:
        own = np.random.default_rng(seed)
        return collate([example(data[int(own.integers(len(data)))], plan.size, own) for _ in range(plan.batch)])

    with ThreadPoolExecutor(workers) as pool:
        ahead = [pool.submit(prepare, int(random.integers(1 << 31))) for _ in range(workers + 1)]
        while True:
            yield ahead.pop(0).result()
            ahead.append(pool.submit(prepare, int(random.integers(1 << 31))))


def export(trainer: Trainer, folder: Path, data: list[Path], command: str) -> None:
    """Write the averaged weights, their config and their card. data: the folders that taught them."""
    plan, stage = trainer.plan, trainer.plan.stage
    architecture, network = "shadow-predictors", trainer.generator or trainer.predictors
    if isinstance(network, ShadowGenerator):
        architecture = "shadow-generator" if network.vae is None else "shadow-generator on Stable Diffusion"
    sizes = network.config.to_json()
    facts = {"stage": stage, "steps": trainer.run.step, "minutes": trainer.run.seconds / 60}
    card = f"""# {"The shadow generator" if stage == 3 else "The shadow predictors"}

Of *Embedding Physical Reasoning into Diffusion-Based Shadow Generation*, trained by this project from random weights on
pictures that it rendered itself. Licence: GPL-3.0-or-later.

* Command: `{command}`
* Stage {stage}: {trainer.run.step} steps of {plan.batch} examples, {plan.size} pixels a side,
  {trainer.run.seconds / 60:.0f} minutes on {devices.describe(trainer.device)}, seed {plan.seed}.
* {"AdamW" if stage == 3 else "Muon and Adam"}, learning rate {plan.rate:g} falling along a cosine; the weights are
  a moving average ({plan.average:g}).
* Sizes: {json.dumps(sizes)}

{data_cards(data)}"""
    config = {"network": sizes, "trained": {**facts, **dataclasses.asdict(plan)}}
    save_model(folder, architecture, trainer.exported(), config, card)
