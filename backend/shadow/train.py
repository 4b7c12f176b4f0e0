# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the shadow networks in the paper's three stages: predictors, confidences, generator.

A run is a folder with one checkpoint a stage, from which it goes on, and a log. Stages 2 and 3 read the weights that
the stage before exported, and keep them as they are.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .. import device as devices
from ..protocol import PenumbraError, replacing
from ..weights import save_model
from . import losses
from .examples import Batch, collate, example
from .generator import Conditions, ShadowGenerator, shaded
from .networks import ShadowPredictors, hint, prior_at_low_resolution
from .tuples import ShadowTuple

TEACHING = 0.5  # share of stage 1's masks that follow the true light, so that they learn from the first step


@dataclass(frozen=True)
class Plan:
    """One stage's run. minutes or steps ends it, over all resumptions. size: pixels a side of its examples.

    rate: AdamW's, after a warm-up; falls along a cosine to a hundredth. average: of the exported moving average.
    """

    stage: int
    size: int
    minutes: float | None = None
    steps: int | None = None
    batch: int = 8
    rate: float = 4e-4
    average: float = 0.999
    seed: int = 0


class Trainer:
    """A stage's run in its folder; goes on from the folder's checkpoint where there is one."""

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
        torch.manual_seed(plan.seed)
        self.plan, self.folder, self.device = plan, folder, device
        self.predictors = predictors.to(device).requires_grad_(False)
        self.generator = generator.to(device) if generator is not None else None
        if plan.stage == 3:
            assert self.generator is not None, "stage 3 needs a generator"
            self.network: nn.Module = self.generator
        else:
            parts = {1: ("light", "mask"), 2: ("quality",)}[plan.stage]
            self.network = nn.ModuleDict({name: getattr(predictors, name).requires_grad_(True) for name in parts})
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.AdamW(self.parameters, plan.rate, weight_decay=0.01)
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._load()

    @property
    def path(self) -> Path:
        return self.folder / f"stage{self.plan.stage}.safetensors"

    @property
    def done(self) -> float:
        """Share of the run that lies behind, in [0, 1]."""
        behind = [self.step / self.plan.steps] if self.plan.steps else []
        behind += [self.seconds / (60 * self.plan.minutes)] if self.plan.minutes else []
        return min(1.0, max(behind, default=1.0))

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the stage. Returns its losses."""
        warm = min(1.0, (self.step + 1) / 100)
        self.optimizer.param_groups[0]["lr"] = (
            self.plan.rate * warm * (0.505 + 0.495 * float(np.cos(np.pi * self.done)))
        )
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")
        with half:
            terms = self.losses(batch)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack([t.float() for t in terms.values()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        keep = min(self.plan.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - keep)
        self.step += 1
        return {name: term.detach() for name, term in terms.items()}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The stage's losses, to be added."""
        return {1: self._predict, 2: self._judge, 3: self._generate}[self.plan.stage](batch)

    def _predict(self, batch: Batch) -> dict[str, Tensor]:
        h = hint(batch.composite, batch.object, batch.points, batch.valid)
        light, _ = self.predictors.light(h)
        taught = (torch.rand(len(light), device=light.device) < TEACHING) & (batch.known > 0)
        used = torch.where(taught[:, None], batch.light, light)
        prior = prior_at_low_resolution(batch.points, batch.object, batch.valid, used.detach())
        logits, coarse = self.predictors.mask(prior, h, used)
        return {
            "light": losses.light_loss(light.float(), batch.light, batch.known),
            "mask": losses.mask_loss(logits.float(), batch.shadow),
            "coarse": 0.5 * losses.mask_loss(coarse.float(), batch.shadow),
        }

    def _judge(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            h = hint(batch.composite, batch.object, batch.points, batch.valid)
            light, feature = self.predictors.light(h)
            prior = prior_at_low_resolution(batch.points, batch.object, batch.valid, light)
            mask = torch.sigmoid(self.predictors.mask(prior, h, light)[0]) * (1 - batch.object)
            of_mask = losses.dice_error(mask, batch.shadow)
            of_light = 1 - (light * batch.light).sum(1)
        light_quality, mask_quality = self.predictors.quality(h, mask, prior, light, feature)
        known = batch.known > 0
        terms = {"mask quality": losses.quality_loss(mask_quality.float(), of_mask, losses.MASK_SCALE)}
        if known.any():
            terms["light quality"] = losses.quality_loss(
                light_quality[known].float(), of_light[known], losses.LIGHT_SCALE
            )
        return terms

    def _generate(self, batch: Batch) -> dict[str, Tensor]:
        generator = self.generator
        assert generator is not None
        c = conditions(self.predictors, batch)
        terms = {"noise": generator.noise_loss(batch.target, batch.ratio, c)}
        # The post-processing network learns on shadows that are as wrong as generated ones: blurred, too weak.
        spoiled = spoil(batch.ratio)
        picture, logits = generator.post(shaded(batch.composite, spoiled), batch.composite, batch.object)
        terms["picture"] = (picture - batch.target).abs().mean()
        terms["post mask"] = (torch.tanh(logits / 2) - (2 * batch.shadow - 1)).abs().mean()
        return terms

    def exported(self) -> ShadowPredictors | ShadowGenerator:
        """The predictors (stages 1, 2) or the generator (stage 3), with the averaged weights; a copy."""
        source = self.predictors if self.generator is None else self.generator
        module = copy.deepcopy(source)
        own = dict(zip((id(p) for p in self.parameters), self.average, strict=True))
        with torch.no_grad():
            for mine, copied in zip(source.parameters(), module.parameters(), strict=True):
                if id(mine) in own:
                    copied.copy_(own[id(mine)])
        return module.eval()

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        tensors = {f"parameter.{i}": p.detach() for i, p in enumerate(self.parameters)}
        tensors |= {f"average.{i}": p for i, p in enumerate(self.average)}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in moments.items()}
        state = {"step": self.step, "seconds": self.seconds, "stage": self.plan.stage}
        with replacing(self.path) as temporary:
            plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
            safetensors.torch.save_file(plain, temporary, {"state": json.dumps(state)})

    def _load(self) -> None:
        try:
            with safetensors.safe_open(self.path, "pt") as file:
                state = json.loads(file.metadata()["state"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
            with torch.no_grad():
                for i, (parameter, average) in enumerate(zip(self.parameters, self.average, strict=True)):
                    if tensors[f"parameter.{i}"].shape != parameter.shape:
                        raise ValueError("other sizes")
                    parameter.copy_(tensors[f"parameter.{i}"])
                    average.copy_(tensors[f"average.{i}"])
            if f"parameter.{len(self.parameters)}" in tensors:
                raise ValueError("other sizes")
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as problem:
            raise PenumbraError(
                f"The checkpoint {self.path} is damaged, or of networks of other sizes.",
                "Delete it, or train in another folder.",
            ) from problem
        moments: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, kind = key.split(".")
                moments[int(index)][kind] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": dict(moments)})
        self.step, self.seconds = state["step"], state["seconds"]


@torch.no_grad()
def conditions(predictors: ShadowPredictors, batch: Batch) -> Conditions:
    """What the predictors, as they are, tell the generator of a batch."""
    p = predictors(batch.composite, batch.object, batch.points, batch.valid)
    h = hint(batch.composite, batch.object, batch.points, batch.valid)
    return Conditions(batch.composite, h, p.mask, p.light, p.light_quality, p.mask_quality)


def spoil(ratio: Tensor) -> Tensor:
    """Ratios (B, 3, H, W) blurred by up to two pixels, of half to one and a half times their depth, with noise."""
    count = len(ratio)
    depth = torch.empty(count, 1, 1, 1, device=ratio.device).uniform_(0.5, 1.5)
    spread = torch.rand(count, 1, 1, 1, device=ratio.device)
    log = ratio.clamp(min=1e-3).log() * depth
    log = log + spread * (nn.functional.avg_pool2d(log, 5, 1, 2, count_include_pad=False) - log)
    return (log + 0.03 * torch.randn_like(log)).clamp(-7, 0).exp()


def train(trainer: Trainer, data: Sequence[ShadowTuple], workers: int = 1, report: float = 60.0) -> None:
    """Train until the plan ends. Every `report` seconds: a line in ``log.jsonl`` and a checkpoint."""
    trainer.network.train()
    stream = batches(data, trainer.plan, trainer.step, workers)
    bar = tqdm(total=1.0, initial=trainer.done, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}")
    sums: dict[str, list[Tensor]] = defaultdict(list)
    last = reported = time.monotonic()
    first = trainer.step
    with bar:
        while trainer.done < 1:
            for name, loss in trainer.train_step(next(stream).to(trainer.device)).items():
                sums[name].append(loss)
            now = time.monotonic()
            trainer.seconds += now - last
            last = now
            bar.update(trainer.done - bar.n)
            if now - reported < report and trainer.done < 1:
                continue
            means = {name: float(torch.stack(values).mean()) for name, values in sums.items()}
            speed = (trainer.step - first) * trainer.plan.batch / max(now - reported, 1e-6)
            bar.set_postfix({"images/s": f"{speed:.1f}", **{k: f"{v:.3f}" for k, v in means.items()}})
            line = {"stage": trainer.plan.stage, "step": trainer.step, "seconds": round(trainer.seconds, 1)}
            with (trainer.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps({**line, **means, "images_per_second": speed}) + "\n")
            trainer.save()
            sums.clear()
            last = reported = time.monotonic()
            first = trainer.step


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
    cards = {
        path.name: json.loads((path / "card.json").read_text("utf-8"))
        for path in data
        if (path / "card.json").is_file()
    }
    architecture = "shadow-generator" if stage == 3 else "shadow-predictors"
    network = trainer.exported()
    sizes = network.config.to_json()
    module: nn.Module = network
    if isinstance(network, ShadowGenerator) and network.vae is not None:
        module = network.added()  # Stable Diffusion itself stays in its own folder
        architecture = "shadow-generator on Stable Diffusion"
    facts = {"stage": stage, "steps": trainer.step, "minutes": trainer.seconds / 60}
    card = f"""# {"The shadow generator" if stage == 3 else "The shadow predictors"}

Of *Embedding Physical Reasoning into Diffusion-Based Shadow Generation*, trained by this project from random weights on
pictures that it rendered itself. Licence: GPL-3.0-or-later.

* Command: `{command}`
* Stage {stage}: {trainer.step} steps of {plan.batch} examples, {plan.size} pixels a side,
  {trainer.seconds / 60:.0f} minutes on {devices.describe(trainer.device)}, seed {plan.seed}.
* AdamW, learning rate {plan.rate:g} falling along a cosine; the weights are a moving average ({plan.average:g}).
* Sizes: {json.dumps(sizes)}

## Data

```json
{json.dumps(cards, indent=1)}
```
"""
    save_model(folder, architecture, module, {"network": sizes, "trained": {**facts, **dataclasses.asdict(plan)}}, card)
