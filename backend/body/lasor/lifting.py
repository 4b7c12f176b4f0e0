# SPDX-License-Identifier: GPL-3.0-or-later
"""Teaching the lifter, from keypoints of bodies of which nothing else is made: a thousand people a step."""

from __future__ import annotations

import copy
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import device as devices
from ...protocol import PenumbraError
from ...training import Learner, MuonAndAdam, RunPlan, read_checkpoint
from ...weights import save_model
from ..metrics import pa_mpjpe
from ..model import BodyModel
from ..rotations import axis_angles
from .camera import from_pixels, perspective, weak_perspective
from .lifter import Lifter
from .network import BUNDLED, LasorConfig
from .person import CAMERA, estimate_of, mean_numbers
from .proxy import MARGIN, SIZE
from .synthesis import Synthesis, Synthesizer

NAME = "points"  # of the run in its folder
# Of distances in metres, of matrices' elements, of squares of betas, and of distances in the keypoints' own frame.
WEIGHTS = {"joints3d": 1.0, "pose": 0.2, "shape": 0.01, "joints2d": 0.3}
PASSED = (0.3, 0.6, 1.0)  # weights of the losses of the lifter's answers, the last one last
REPORTED = 2000  # people
MEASURED, AT_ONCE = 10000, 500  # people on whom the errors are measured
GRADED = Synthesis(graded=True)
CONDITIONS = {"exact": Synthesis().clear(), "a detector's": GRADED}


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """A run of the lifter. batch: people. average: of the weights' mean. For the card, motions: names of the folders of
    motion files; command: that began the run.
    """

    network: LasorConfig = BUNDLED
    synthesis: Synthesis = GRADED
    batch: int = 1024
    average: float = 0.999
    motions: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class Sparse:
    """points (B, 17, 2): what a detector tells, normalised, y up; found (B, 17): 1 or 0. exact: (B, 17, 2), unhidden.

    betas (B, 10), rotations (B, 24, 3, 3), joints (B, 24 + landmarks, 3) of the bodies.
    """

    points: Tensor
    found: Tensor
    exact: Tensor
    betas: Tensor
    rotations: Tensor
    joints: Tensor


class People(Synthesizer):
    """Draws keypoints of people, with hidden, lost and misplaced ones, without drawing the people."""

    @torch.no_grad()
    def sparse(self, count: int, plan: Synthesis, random: torch.Generator) -> Sparse:
        """`count` people. random: a generator on the same device; it decides what is drawn."""
        rotations, betas = self.people(count, plan, random)
        vertices, joints = self.body(betas, rotations)
        place, focal = self.placed(count, plan, random, SIZE)
        exact, _ = perspective(self.body.keypoints(vertices, joints) + place[:, None], focal, SIZE)
        low, high = exact.amin(1), exact.amax(1)
        side = (high - low).amax(1) * MARGIN
        noise = plan.joint_noise * self._share(plan, random, count)
        moved = exact + noise * self._even(random, *exact.shape) * (side / SIZE)[:, None, None]
        found = ~self._chance(random, plan.joint_loss, *exact.shape[:2])
        found &= ~self._hidden(exact, side, plan, random)
        return Sparse(
            from_pixels(moved, SIZE),
            found.float(),
            from_pixels(exact, SIZE),
            betas,
            rotations,
            torch.cat([joints, vertices], 1),
        )

    def _hidden(self, exact: Tensor, side: Tensor, plan: Synthesis, random: torch.Generator) -> Tensor:
        """(B, 17) what lies behind somebody or something, or beyond the picture's edge."""
        count = len(exact)
        which = torch.randint(exact.shape[1], (count,), generator=random, device=self.device)
        middle = exact[torch.arange(count, device=self.device), which]
        half = torch.rand(count, 2, generator=random, device=self.device) * 0.3 * side[:, None]
        behind = ((exact - middle[:, None]).abs() < half[:, None]).all(2)
        behind &= self._chance(random, 0.5 * plan.occluded, count)[:, None]
        kept = 0.4 + 0.5 * torch.rand(count, generator=random, device=self.device)
        low, high = exact[..., 1].amin(1), exact[..., 1].amax(1)
        beyond = exact[..., 1] > (low + kept * (high - low))[:, None]
        return behind | (beyond & self._chance(random, plan.truncated, count)[:, None])


class Trainer(Learner):
    """The lifter in training; goes on from the checkpoint ``points`` in the folder where there is one."""

    clip = 1.0

    def __init__(self, plan: Plan, poses: np.ndarray, folder: Path, device: torch.device) -> None:
        """poses: (N, 24, 3) axis-angle. Raises PenumbraError where the checkpoint is another network's or damaged."""
        super().__init__(plan, folder, device, NAME)
        if not plan.network.lifter:
            raise PenumbraError("This network has no lifter.", "Train the bundled one.")
        self.people = People(BodyModel.load(coarse=True).landmarks_only().to(device), poses)
        lifter = Lifter(plan.network.lifter)
        lifter.mean.copy_(mean_numbers(poses, self.people.body)[CAMERA:])
        lifter.to(device)
        self.begin(lifter, MuonAndAdam(lifter.parameters(), lifter.layers[1:], plan.rate))
        self.random = torch.Generator(device).manual_seed(plan.seed + self.run.step)

    @property
    def state(self) -> dict[str, Any]:
        return {"plan": dataclasses.asdict(self.plan), "device": devices.describe(self.device)}

    def train_step(self) -> dict[str, Tensor]:
        """One step. Returns the unweighted losses of the last answers."""
        drawn = self.people.sparse(self.plan.batch, self.plan.synthesis, self.random)
        with self.plan.half(self.device):
            answers = self.network.passes(drawn.points, drawn.found)
        terms = []
        for weight, numbers in zip(PASSED, answers, strict=True):
            losses = self._losses(numbers, drawn)
            terms += [weight * WEIGHTS[name] * loss for name, loss in losses.items()]
        self.descend(torch.stack(terms).sum())
        return {name: loss.detach() for name, loss in losses.items()}

    def _losses(self, numbers: Tensor, drawn: Sparse) -> dict[str, Tensor]:
        found, body = estimate_of(numbers), self.people.body
        vertices, joints = body(found.betas, found.rotations)
        flat = weak_perspective(body.keypoints(vertices, joints), found.camera)
        spread = (drawn.exact - drawn.exact.mean(1, keepdim=True)).square().sum(2).mean(1).sqrt()
        return {
            "joints3d": (torch.cat([joints, vertices], 1) - drawn.joints).norm(dim=2).mean(),
            "pose": (found.rotations - drawn.rotations).abs().mean(),
            "shape": (found.betas - drawn.betas).square().mean(),
            "joints2d": ((flat - drawn.exact).norm(dim=2) / spread[:, None]).mean(),
        }

    def train(self, unseen: np.ndarray, every: float = 60.0) -> None:
        """Until the plan ends. unseen: (N, 24, 3) poses to report on. Every `every` seconds a line in the log."""
        people = People(copy.deepcopy(self.people.body).cpu(), unseen)

        def report() -> dict[str, Any]:
            measure_errors(self.average, self.people)
            self.save()
            return {"tested": {name: self._tested(people, plan) for name, plan in CONDITIONS.items()}}

        self.run.go_on(self.train_step, report, every)

    @torch.no_grad()
    def _tested(self, people: People, plan: Synthesis) -> dict[str, float]:
        """Millimetres on unseen people, of the averaged weights."""
        drawn = people.sparse(REPORTED, plan, torch.Generator().manual_seed(1))
        found = estimate_of(copy.deepcopy(self.average).cpu()(drawn.points, drawn.found))
        joints = people.body(found.betas, found.rotations)[1]
        true = drawn.joints[:, :24]
        apart = (joints - joints[:, :1]) - (true - true[:, :1])
        aligned = pa_mpjpe(joints.numpy(), true.numpy())
        return {
            "mpjpe": round(1000 * float(apart.norm(dim=2).mean()), 2),
            "pa_mpjpe": round(1000 * float(aligned.mean()), 2),
        }


def trained(folder: Path, width: int) -> dict[str, Tensor]:
    """The averaged weights that a run has left. Raises PenumbraError where there are none, or of another size."""
    path = folder / f"{NAME}.safetensors"
    if not path.exists():
        raise PenumbraError(f"{path} is not there.", "Run scripts/train.py lasor --stage points first.")
    state, tensors = read_checkpoint(path)
    if state["network"]["lifter"] != width:
        raise PenumbraError(f"{path} is of a network of other sizes.", "Train in another folder.")
    return {k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")}


@torch.no_grad()
def lacks(lifter: Lifter, people: People, count: int, random: torch.Generator) -> Tensor:
    """(count, 82) what answers lack: rotations of the joints about their own axes, axis-angle, and betas."""
    drawn = people.sparse(count, GRADED, random)
    told = estimate_of(lifter(drawn.points, drawn.found))
    turns = axis_angles(told.rotations.mT @ drawn.rotations).flatten(1)
    return torch.cat([turns, drawn.betas - told.betas], 1)


def measure_errors(lifter: Lifter, people: People) -> None:
    """Set `Lifter.spread`."""
    random = torch.Generator(people.device).manual_seed(3)
    lack = torch.cat([lacks(lifter, people, AT_ONCE, random) for _ in range(MEASURED // AT_ONCE)]).double()
    products = lack.T @ lack / len(lack) + 1e-4 * torch.eye(lack.shape[1]).to(lack)
    lifter.spread.copy_(torch.linalg.cholesky(products))


def export(folder: Path, target: Path) -> None:
    """Write the averaged weights that the run in `folder` has left, and their card.

    Raises PenumbraError where there are none.
    """
    state, _ = read_checkpoint(folder / f"{NAME}.safetensors")
    plan, width = state["plan"], state["network"]["lifter"]
    lifter = Lifter(width)
    lifter.load_state_dict(trained(folder, width))
    minutes, people = round(state["seconds"] / 60), state["step"] * plan["batch"]
    motions = ", ".join(plan["motions"]) or "no folder"
    card = f"""# The lifter

From keypoints to a body: what LASOR and BodyNet begin with, trained by this project from random weights on keypoints of
the body in `assets/body`. Licence: GPL-3.0-or-later.

* Command: `{plan["command"]}`
* {state["step"]} steps of {plan["batch"]} people ({people} in all), {minutes} minutes on {state["device"]},
  seed {plan["seed"]}.
* Poses: motion files of {motions} that are not held out, the built-in motions, and draws within the joints' limits; of
  half of the first two, legs of one pose with the trunk of another.
* Muon for the hidden matrices, Adam for the rest, learning rate {plan["rate"]:g} falling along a cosine; the weights
  are a moving average ({plan["average"]:g}).
* Its errors, for refinement, were measured on {MEASURED} people of the same kind.
* Losses: {json.dumps(WEIGHTS)}; of the answers one after another: {list(PASSED)}.
* Synthesis: {json.dumps(plan["synthesis"])}
* Width: {width}
"""
    facts = {"steps": state["step"], "people": people, "minutes": minutes}
    save_model(target, "lifter", lifter, {"network": {"width": width}, "trained": facts}, card)
