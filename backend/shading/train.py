# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains ShadingNet: a run is a folder with a checkpoint that it goes on from, a log of losses, and pictures.

A run has phases, each a share of it. In the lessons, f's way down learns the code of a plate's light, and G learns,
from the code of the true light, what shading it makes; then both work together, and f's lessons go on. It begins on
half-size pictures. D joins late, when there is something to judge. The bulk tier teaches first; the share of the
reference tier grows. The weights that a run exports are a moving average.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .. import device as devices
from ..images import srgb_decode, write_png
from ..protocol import PenumbraError, replacing
from ..weights import save_model
from .dataset import VIEWS, Batch, Lesson, PlateData, ShadingData, batches, collate, view
from .light_code import light_code, told_wrong
from .losses import LossWeights, judgement, reconstruction
from .network import ShadingConfig, ShadingDiscriminator, ShadingNet, crop_map

CHECKPOINT = "checkpoint.safetensors"
BUNDLED = ShadingConfig(
    encoder_stem=8,
    encoder_widths=(32, 64),
    encoder_fuse=8,
    stem=24,
    widths=(24, 48, 64, 96),
    norm="layer",
    critic_stem=8,
)


@dataclass(frozen=True)
class Plan:
    """One training run. minutes or steps ends it (minutes of training, over all resumptions).

    lessons: share of the run in which G is given the code of the true light. halved: share on half-size pictures.
    critic_from: share after which D takes part.
    moments: of three views each in a batch. plates: of a lesson.
    rate: Adam's, after a warm-up; falls along a cosine to a hundredth.
    share: of the reference tier among the drawn moments, at the run's begin and end.
    """

    network: ShadingConfig = BUNDLED
    losses: LossWeights = field(default_factory=LossWeights)
    minutes: float | None = None
    steps: int | None = None
    lessons: float = 0.45
    halved: float = 0.75
    critic_from: float = 0.8
    moments: int = 4
    plates: int = 64
    rate: float = 2e-3
    average: float = 0.998
    share: tuple[float, float] = (0.1, 0.7)
    seed: int = 0

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


class Trainer:
    """A run in its folder; goes on from the folder's checkpoint where there is one."""

    def __init__(self, plan: Plan, folder: Path, device: torch.device) -> None:
        """Raises PenumbraError where the checkpoint was made by another network or is damaged."""
        torch.manual_seed(plan.seed)
        self.plan, self.folder, self.device = plan, folder, device
        self.network = ShadingNet(plan.network).to(device)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        config = plan.network
        self.head = nn.Conv2d(config.encoder_widths[1], config.light_channels, 1).to(device)
        self.critic = ShadingDiscriminator(plan.network).to(device, memory_format=torch.channels_last)
        self.optimizers = {
            "network": torch.optim.Adam([*self.network.parameters(), *self.head.parameters()], plan.rate, (0.9, 0.99)),
            "critic": torch.optim.Adam(self.critic.parameters(), plan.rate, (0.5, 0.99)),
        }
        self.step, self.seconds, self.resumed = 0, 0.0, 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
            self._load()

    @property
    def done(self) -> float:
        """Share of the run that lies behind, in [0, 1]."""
        behind = [self.step / self.plan.steps] if self.plan.steps else []
        behind += [self.seconds / (60 * self.plan.minutes)] if self.plan.minutes else []
        return min(1.0, max(behind, default=1.0))

    def train_step(self, batch: Batch, lesson: Lesson) -> dict[str, Tensor]:
        """One step of f and G, and of D where it takes part. Returns the weighted losses."""
        plan = self.plan
        rate = plan.rate * min(1.0, (self.step + 1) / 100) * (0.505 + 0.495 * float(np.cos(np.pi * self.done)))
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] = rate
        batch = batch.halved() if self.done < plan.halved else batch
        apart = self.done < plan.lessons
        judged = self.done >= plan.critic_from and plan.losses.adversarial + plan.losses.features > 0
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=devices.computes_in_half(self.device))
        losses: dict[str, Tensor] = {}
        with half:
            maps = self.network.object_maps(batch.normal, batch.albedo, batch.bits)
            size = maps.shape[-1]
            if apart:
                light = light_code(batch.facing)[:, :, None, None].expand(-1, -1, size, size)
            else:
                told = self.network.encoder(batch.plate)
                light = crop_map(told, batch.box, size)
            predicted = self.network.generator(maps, light)
        predicted, light = predicted.float(), light.float()
        losses |= reconstruction(predicted, batch.shading, batch.albedo, batch.importance, batch.alpha, plan.losses)
        if plan.losses.light:
            with half:
                heard = torch.sigmoid(self.head(self.network.encoder.features(lesson.plate)[-1]))
            losses["lesson"] = plan.losses.light * told_wrong(heard, lesson.facing)
            if not apart:
                losses["light"] = plan.losses.light * told_wrong(told, batch.facing)
        if judged:
            with half:
                taught, verdict = judgement(
                    self.critic, predicted, batch.shading, maps, light, batch.alpha, plan.losses
                )
            losses |= taught
        self._descend("network", torch.stack([loss.float() for loss in losses.values()]).sum(), judged)
        if judged:
            self._descend("critic", verdict)
            losses["critic"] = verdict
        keep = min(plan.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        self.step += 1
        return {name: loss.detach() for name, loss in losses.items()}

    def _descend(self, name: str, loss: Tensor, again: bool = False) -> None:
        """One step of one optimizer's parameters alone. again: the graph is needed once more."""
        optimizer = self.optimizers[name]
        parameters = optimizer.param_groups[0]["params"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=parameters, retain_graph=again)
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"critic.{k}": v for k, v in self.critic.state_dict().items()}
        tensors |= {f"head.{k}": v for k, v in self.head.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for i, moments in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{name}.{i}.{k}": v for k, v in moments.items()}
        state = {"step": self.step, "seconds": self.seconds, "network": self.plan.network.to_json()}
        with replacing(self.folder / CHECKPOINT) as temporary:
            plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
            safetensors.torch.save_file(plain, temporary, {"state": json.dumps(state)})

    def _load(self) -> None:
        path = self.folder / CHECKPOINT
        try:
            with safetensors.safe_open(path, "pt") as file:
                state = json.loads(file.metadata()["state"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as problem:
            raise PenumbraError(
                f"The checkpoint {path} is damaged.", "Delete it, or train in another folder."
            ) from problem
        if ShadingConfig.from_json(state["network"]) != self.plan.network:
            raise PenumbraError(f"{path} is of a network of another size.", "Train in another folder.")
        for name in ("network", "average", "critic", "head"):
            prefix = f"{name}."
            part = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            getattr(self, name).load_state_dict(part)
        for name, optimizer in self.optimizers.items():
            moments: dict[int, dict[str, Tensor]] = defaultdict(dict)
            for key, value in tensors.items():
                if key.startswith(f"optimizer.{name}."):
                    index, kind = key.removeprefix(f"optimizer.{name}.").split(".")
                    moments[int(index)][kind] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": dict(moments)})
        self.step, self.seconds = state["step"], state["seconds"]
        self.resumed = self.step


def train(
    trainer: Trainer,
    bulk: ShadingData,
    reference: ShadingData | None = None,
    plates: PlateData | None = None,
    workers: int = 1,
    report: float = 60.0,
) -> None:
    """Train until the plan ends. Every `report` seconds: a line in ``log.jsonl``, a picture, a checkpoint.

    plates: for f's lessons; those of the batches where there are none.
    """
    plan = trainer.plan
    shown = reference or bulk
    examples = [(f, 0) for f in shown.frames[:: max(1, len(shown.frames) // 6)][:6]]
    shares = [1.0] if reference is None else [1.0, 0.0]
    sources = [bulk] if reference is None else [bulk, reference]
    # A resumed run draws other batches than those it has seen.
    stream = batches(sources, shares, plan.moments, plan.seed + trainer.step, workers)
    random = np.random.default_rng([plan.seed, trainer.step])
    bar = tqdm(total=1.0, initial=trainer.done, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}")
    sums: dict[str, list[Tensor]] = defaultdict(list)
    with closing(stream), bar:
        last, first_step = time.monotonic(), trainer.step
        reported = last
        while trainer.done < 1:
            if reference is not None:
                shares[1] = plan.share[0] + (plan.share[1] - plan.share[0]) * trainer.done
                shares[0] = 1 - shares[1]
            batch = next(stream).to(trainer.device)
            lesson = (
                plates.draw(random, plan.plates).to(trainer.device) if plates else Lesson(batch.plate, batch.facing)
            )
            for name, loss in trainer.train_step(batch.to(trainer.device), lesson.to(trainer.device)).items():
                sums[name].append(loss)
            now = time.monotonic()
            trainer.seconds += now - last
            last = now
            bar.update(trainer.done - bar.n)
            if now - reported < report and trainer.done < 1:
                continue
            means = {name: float(torch.stack(values).mean()) for name, values in sums.items()}
            speed = (trainer.step - first_step) * plan.moments * VIEWS / (now - reported)
            bar.set_postfix({"images/s": f"{speed:.1f}", **{k: f"{v:.3f}" for k, v in means.items()}})
            _log(trainer, {**means, "images_per_second": speed})
            (trainer.folder / "pictures").mkdir(exist_ok=True)
            write_png(trainer.folder / "pictures" / f"{trainer.step:07d}.png", sheet(trainer.average, examples))
            trainer.save()
            sums.clear()
            last = reported = time.monotonic()
            first_step = trainer.step


def _log(trainer: Trainer, figures: dict[str, float]) -> None:
    line = {"step": trainer.step, "seconds": round(trainer.seconds, 1), "done": round(trainer.done, 4), **figures}
    with (trainer.folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


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
    facts = {"steps": trainer.step, "images": trainer.step * plan.moments * VIEWS, "minutes": trainer.seconds / 60}
    cards = {path.name: json.loads((path / "card.json").read_text("utf-8")) for path in data}
    judged = plan.losses.adversarial + plan.losses.features > 0
    critic = f"D joined after {plan.critic_from:.0%} of the run" if judged else "trained without D"
    card = f"""# ShadingNet

The light encoder f and the shading generator G of *Ray-marching in Camera Space* (RiCS), trained by this project from
random weights on pictures that it rendered itself. Licence: GPL-3.0-or-later.

* Command: `{command}`
* {facts["steps"]} steps of {plan.moments} moments × {VIEWS} views ({facts["images"]} images),
  {facts["minutes"]:.0f} minutes on {devices.describe(trainer.device)}, seed {plan.seed}.
* For {plan.lessons:.0%} of the run G was given the true light, {plan.halved:.0%} was on half-size pictures.
* Adam, learning rate {plan.rate:g} falling along a cosine; {critic}.
  The weights are a moving average ({plan.average:g}).
* Loss weights: {json.dumps(dataclasses.asdict(plan.losses))}. `everywhere` is added to the edge importance
  x_w, `smooth` is the Huber threshold, and `light` weighs f's lessons; the three are 0 in the paper.
* Sizes: {json.dumps(plan.network.to_json())}

## Data

```json
{json.dumps(cards, indent=1)}
```
"""
    save_model(folder, "shadingnet", trainer.average, {"network": plan.network.to_json(), "trained": facts}, card)
