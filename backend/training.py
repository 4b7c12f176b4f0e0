# SPDX-License-Identifier: GPL-3.0-or-later
"""What every training run shares: when it ends, its learning rate, averaged weights, a checkpoint, a log.

A run is a folder. It goes on from its checkpoint, so it may be interrupted at any time; its minutes are counted over
all resumptions.
"""

from __future__ import annotations

import copy
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .protocol import PenumbraError, replacing

LAST_RATE = 0.01  # of the learning rate, at the end of its cosine
WARM_UP = 50  # steps


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """How long a run lasts, and how fast it learns. minutes or steps ends it, whichever comes first.

    rate: learning rate after a warm-up; falls along a cosine to a hundredth. bfloat16: also on a processor, where it
    pays if that has AVX-512 BF16 (nearly twice as fast) and is slower elsewhere.
    """

    minutes: float | None = None
    steps: int | None = None
    rate: float = 1e-3
    seed: int = 0
    bfloat16: bool = False

    def half(self, device: torch.device) -> torch.autocast:
        """The context in which networks are asked: bfloat16 on CUDA, and where the plan says so."""
        return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" or self.bfloat16)


class Stateful(Protocol):
    """A module or an optimizer."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


class Run:
    """A run's progress in its folder.

    name: of its checkpoint and log, where a folder holds several stages. step and seconds lie behind it.
    """

    def __init__(self, plan: RunPlan, folder: Path, name: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.plan, self.folder = plan, folder
        self.checkpoint, self.log = folder / f"{name or 'checkpoint'}.safetensors", folder / f"{name or 'log'}.jsonl"
        self.step, self.seconds = 0, 0.0

    @property
    def done(self) -> float:
        """Share of the run that lies behind, in [0, 1]."""
        behind = [self.step / self.plan.steps] if self.plan.steps else []
        behind += [self.seconds / (60 * self.plan.minutes)] if self.plan.minutes else []
        return min(1.0, max(behind, default=1.0))

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        fallen = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + float(np.cos(np.pi * self.done)))
        return self.plan.rate * min(1.0, (self.step + 1) / WARM_UP) * fallen

    def save(self, parts: Mapping[str, Stateful], state: dict[str, Any]) -> None:
        """Write modules, optimizers and `state` (JSON values) to the checkpoint, atomically."""
        tensors = {f"{name}.{key}": value for name, part in parts.items() for key, value in _tensors(part).items()}
        plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        progress = {"step": self.step, "seconds": self.seconds, **state}
        with replacing(self.checkpoint) as temporary:
            safetensors.torch.save_file(plain, temporary, {"state": json.dumps(progress)})

    def resume(self, parts: Mapping[str, Stateful], same: dict[str, Any]) -> dict[str, Any]:
        """Go on from the checkpoint; returns its state, {} where there is none.

        same: what the state must agree with. Raises PenumbraError where it does not, or the checkpoint is damaged.
        """
        if not self.checkpoint.exists():
            return {}
        state, tensors = read_checkpoint(self.checkpoint)
        for name, value in same.items():
            if state.get(name) != json.loads(json.dumps(value)):  # as the state went: tuples have become lists
                raise PenumbraError(f"{self.checkpoint} was trained with another {name}.", "Train in another folder.")
        for name, part in parts.items():
            _load(part, {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")})
        self.step, self.seconds = state["step"], state["seconds"]
        return state

    def go_on(
        self,
        train_step: Callable[[], Mapping[str, Tensor]],
        report: Callable[[], dict[str, Any]],
        every: float = 60.0,
    ) -> None:
        """Take steps until the run's end; every `every` seconds `report`, and write a line of the log.

        train_step: counts up `step` and returns its losses. report: saves, and returns further values for the log; its
        time is not counted.
        """
        bar = tqdm(total=1.0, initial=self.done, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}")
        sums: dict[str, list[Tensor]] = defaultdict(list)
        last, first = time.monotonic(), self.step
        reported = last
        with bar:
            while self.done < 1:
                for name, loss in train_step().items():
                    sums[name].append(loss)
                now = time.monotonic()
                self.seconds += now - last
                last = now
                bar.update(self.done - bar.n)
                if now - reported < every and self.done < 1:
                    continue
                means = {name: float(torch.stack(values).mean()) for name, values in sums.items()}
                speed = (self.step - first) / max(now - reported, 1e-9)
                bar.set_postfix({"steps/s": f"{speed:.2f}", **{name: f"{mean:.4f}" for name, mean in means.items()}})
                line = {"step": self.step, "seconds": round(self.seconds, 1), "done": round(self.done, 4), **means}
                with self.log.open("a") as file:
                    file.write(json.dumps({**line, "steps_per_second": speed, **report()}) + "\n")
                sums.clear()
                last = reported = time.monotonic()
                first = self.step


class MuonAndAdam:
    """Muon (Jordan 2024) for what is hidden in a network, Adam for the rest of it: as good in about half the time.

    Muon turns the steps of whole matrices into orthogonal ones; kernels of convolutions are matrices of their outputs.
    """

    FASTER = 2.0  # Muon's rate, over Adam's

    def __init__(
        self, parameters: Iterable[nn.Parameter], hidden: Iterable[nn.Module], rate: float, faint: float = 1e-8
    ) -> None:
        """parameters: everything that learns. hidden: parts whose matrices and dense kernels Muon teaches, which are
        neither a network's first layer nor its last. faint: gradients that count as none, ε.
        """
        inner = {id(p) for part in hidden for p in part.parameters() if p.ndim > 1 and p.shape[1] > 1}
        learned = list(parameters)
        self.taught = [p for p in learned if id(p) in inner]
        self.matrices = [nn.Parameter(_matrix(p.detach(), p)) for p in self.taught]  # these share their memory
        self.adam = torch.optim.Adam([p for p in learned if id(p) not in inner], rate, eps=faint)
        self.muon = torch.optim.Muon(
            self.matrices, self.FASTER * rate, weight_decay=0.0, eps=faint, adjust_lr_fn="match_rms_adamw"
        )

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Adam's; Muon's rate follows."""
        return self.adam.param_groups

    def step(self) -> None:
        for matrix, parameter in zip(self.matrices, self.taught, strict=True):
            matrix.grad = None if parameter.grad is None else _matrix(parameter.grad, parameter)
        self.muon.param_groups[0]["lr"] = self.FASTER * self.adam.param_groups[0]["lr"]
        self.adam.step()
        self.muon.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.adam.zero_grad(set_to_none)
        for parameter in self.taught:
            parameter.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        both = {"adam": self.adam, "muon": self.muon}
        return {f"{name}.{key}": value for name, part in both.items() for key, value in _tensors(part).items()}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        for name, part in {"adam": self.adam, "muon": self.muon}.items():
            _load(part, {k.removeprefix(f"{name}."): v for k, v in state_dict.items() if k.startswith(f"{name}.")})


def _matrix(values: Tensor, parameter: Tensor) -> Tensor:
    """A row for each output of a layer; of a kernel in the order in which the parameter's memory has it."""
    if not parameter.is_contiguous():  # channels last
        values = values.permute(0, 2, 3, 1)
    return values.reshape(len(values), -1)


class Learner:
    """A network that learns in a run: its optimizer, the moving average of its weights, its checkpoint.

    Subclasses give `begin` what learns, and end each step with `descend`. Their plans have "network", its sizes, and
    "average", the share of the averaged weights that a step keeps. clip: the longest gradient.
    """

    clip = 10.0
    plan: Any
    network: Any
    average: Any
    optimizer: torch.optim.Optimizer | MuonAndAdam

    def __init__(self, plan: RunPlan, folder: Path, device: torch.device, name: str = "", seed: int = 0) -> None:
        """name: of the run in its folder. seed: added to the plan's."""
        torch.manual_seed(plan.seed + seed)
        self.run, self.plan, self.device = Run(plan, folder, name), plan, device

    def begin(self, network: nn.Module, optimizer: torch.optim.Optimizer | MuonAndAdam) -> dict[str, Any]:
        """Learn, or go on from the checkpoint, whose state is returned.

        Raises PenumbraError where it was made by another network or is damaged.
        """
        self.network, self.optimizer = network, optimizer
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        return self.run.resume(self.parts, self.same)

    @property
    def parts(self) -> dict[str, Stateful]:
        """What the checkpoint holds."""
        return {"network": self.network, "average": self.average, "optimizer": self.optimizer}

    @property
    def same(self) -> dict[str, Any]:
        """What a checkpoint to go on from must agree with."""
        return {"network": self.plan.network.to_json()}

    @property
    def state(self) -> dict[str, Any]:
        """What the checkpoint keeps besides."""
        return {}

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        self.run.save(self.parts, {**self.same, **self.state})

    def descend(self, loss: Tensor) -> None:
        """End a step: what learns goes down the gradient, where that is finite. Only the network's is clipped."""
        self.optimizer.param_groups[0]["lr"] = self.run.rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if nn.utils.clip_grad_norm_(self.network.parameters(), self.clip).isfinite():
            self.optimizer.step()
        follow(self.average, self.network, self.plan.average, self.run.step)
        self.run.step += 1


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float, step: int) -> None:
    """Move averaged weights toward the network's; `keep` of them stays, less in a run's first steps."""
    keep = min(keep, (step + 1) / (step + 10))
    for mine, theirs in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(theirs, 1 - keep)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A checkpoint's state and tensors. Raises PenumbraError where it is damaged."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            state = json.loads(file.metadata()["state"])
            return state, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError) as problem:
        raise PenumbraError(f"The checkpoint {path} is damaged.", "Delete it, or train in another folder.") from problem


def data_cards(folders: list[Path]) -> str:
    """The section of a weights' card about the data sets that taught them, from their own cards."""
    cards = {folder.name: folder / "card.json" for folder in folders}
    lines = [
        f"* {name}: `{json.dumps(json.loads(path.read_text('utf-8')))}`" if path.is_file() else f"* {name}"
        for name, path in cards.items()
    ]
    return "\n".join(["## Data", "", *lines, ""])


def _tensors(part: Stateful) -> dict[str, Tensor]:
    state = part.state_dict()
    if not isinstance(part, torch.optim.Optimizer):
        return state
    return {f"{i}.{key}": value for i, moments in state["state"].items() for key, value in moments.items()}


def _load(part: Stateful, tensors: dict[str, Tensor]) -> None:
    if not isinstance(part, torch.optim.Optimizer):
        part.load_state_dict(tensors)
        return
    moments: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, value in tensors.items():
        index, kind = key.split(".")
        moments[int(index)][kind] = value
    part.load_state_dict({**part.state_dict(), "state": dict(moments)})
