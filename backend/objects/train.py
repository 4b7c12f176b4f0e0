# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the joint occupancy field and its image encoder: a run is a folder that all three stages share.

Each stage leaves a checkpoint, ``stage1.safetensors`` and so on, that it goes on from and the next stage begins with, a
log of losses, and pictures.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from .. import device as devices
from ..images import write_png
from ..protocol import PenumbraError
from ..training import MuonAndAdam, Run, data_cards
from ..training import read_checkpoint as read_any_checkpoint
from ..weights import load_state, save_model
from .code_space import CodeSpace
from .dataset import ObjectData, PictureBatch, PointBatch, moved
from .doubt import Doubt
from .encoder import ImageEncoder
from .network import Codes, CodeTable, JointField, ObjectConfig, VoxelEncoder
from .pictures import field_sheet, fit_sheet
from .reconstructor import Reconstructor
from .stages import FieldStage, FitStage, Plan, SelfStage, all_codes

BUNDLED = ObjectConfig(
    category_code=3,
    shape_code=128,
    albedo_code=64,
    shape_widths=(768, 192),
    albedo_widths=(256, 256, 256),
    voxel_widths=(32, 64, 128),
    encoder_width=32,
    head_width=256,
    code_gain=8.0,
    coordinate_gain=6.0,
    octaves=5,
)


class Trainer:
    """A stage in training; goes on from the stage's checkpoint in the folder where there is one."""

    def __init__(
        self, plan: Plan, data: ObjectData, folder: Path, device: torch.device, begin: Path | None = None
    ) -> None:
        """begin: a run. Stage 1 begins with its field, and free codes with those that its stage 1 gives the shapes;
        stage 2 with what its encoder knows of pictures, without the heads of codes, which mean something else with
        another field.

        Raises PenumbraError where an earlier stage's checkpoint is missing, or one is damaged or of other sizes."""
        torch.manual_seed(plan.seed)
        self.run = Run(plan, folder, f"stage{plan.stage}")
        self.plan, self.device = plan, device
        begin = None if self.run.checkpoint.exists() else begin
        if plan.stage == 1:
            self.stage: FieldStage | FitStage | SelfStage = FieldStage(plan, data)
            if begin:
                begin_field(self.stage, begin)
        elif plan.stage == 2:
            self.stage = FitStage(plan, data, load_stage(folder, 1, plan.network))
            if begin:
                begin_encoder(self.stage.encoder, begin)
        else:
            earlier = load_stage(folder, 1, plan.network) | load_stage(folder, 2, plan.network)
            self.stage = SelfStage(plan, data, earlier)
        for module in (self.stage.field, *self.stage.modules.values()):
            module.to(device)
        if isinstance(self.stage, FitStage):
            self.stage.targets = type(self.stage.targets)(*(code.to(device) for code in self.stage.targets))
        self.optimizer = MuonAndAdam(self.stage.trained, self.stage.inner, plan.rate)
        self.shapes = data.names if plan.stage == 1 and plan.free_codes else []
        self.run.resume(self._parts, self._same)

    @property
    def _parts(self) -> dict[str, Any]:
        return {**self.stage.modules, "optimizer": self.optimizer}

    @property
    def _same(self) -> dict[str, Any]:
        plan = self.plan
        return {"network": plan.network.to_json(), "free_codes": plan.free_codes, "set of shapes": self.shapes}

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        self.run.save(self._parts, self._same)

    def train_step(self, batch: PointBatch | PictureBatch) -> dict[str, Tensor]:
        """One step; returns the weighted losses."""
        self.optimizer.param_groups[0]["lr"] = self.run.rate
        losses = self.stage.losses(moved(batch, self.device), self.run.done)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        if torch.nn.utils.clip_grad_norm_(self.stage.trained, 5.0).isfinite():  # else the step is left out
            self.optimizer.step()
        self.run.step += 1
        return {name: loss.detach() for name, loss in losses.items()}


def train(trainer: Trainer, every: float = 60.0) -> None:
    """Train until the plan ends. Every `every` seconds: a line in ``stageN.jsonl``, a picture, a checkpoint."""
    run = trainer.run
    random = np.random.default_rng([run.plan.seed, trainer.plan.stage, run.step])  # a resumed run draws other batches

    def step() -> dict[str, Tensor]:
        return trainer.train_step(trainer.stage.batch(random, run.done))

    def report() -> dict[str, Any]:
        write_png(run.checkpoint.with_suffix(".png"), sheet(trainer))
        trainer.save()
        return {}

    run.go_on(step, report, every)
    if isinstance(trainer.stage, FitStage):
        trainer.stage.measure_doubt(random)
        trainer.save()


def sheet(trainer: Trainer) -> np.ndarray:
    """A picture of what a stage has learned so far."""
    stage = trainer.stage
    rows = np.linspace(0, len(stage.data) - 1, min(4, len(stage.data))).astype(int)
    if isinstance(stage, FieldStage):
        return field_sheet(stage, rows, trainer.device)
    return fit_sheet(stage.field, stage.encoder, stage.data, [(int(row), 0) for row in rows], stage.numbers)


def read_checkpoint(path: Path, network: ObjectConfig | None = None) -> tuple[dict, dict[str, Tensor]]:
    """A checkpoint's state and tensors. Raises PenumbraError where it is missing, damaged, or of other sizes."""
    if not path.exists():
        raise PenumbraError(f"{path} is not there.", f"Run scripts/train.py object --stage {path.stem[-1]} first.")
    state, tensors = read_any_checkpoint(path)
    if network is not None and ObjectConfig.from_json(state["network"]) != network:
        raise PenumbraError(f"{path} is of a network of other sizes.", "Train in another folder.")
    return state, tensors


def load_stage(folder: Path, stage: int, network: ObjectConfig | None = None) -> dict[str, nn.Module]:
    """What a stage leaves, on the CPU: "field" of each, "codes" (1), "encoder" (2, 3), "space" and "doubt" (2).

    Raises PenumbraError as `read_checkpoint`.
    """
    state, tensors = read_checkpoint(folder / f"stage{stage}.safetensors", network)
    config = ObjectConfig.from_json(state["network"])
    modules: dict[str, nn.Module] = {"field": JointField(config)}
    if stage == 1:
        modules["codes"] = CodeTable(state["set of shapes"], config) if state["free_codes"] else VoxelEncoder(config)
    if stage != 1:
        modules["encoder"] = ImageEncoder(config)
    if stage == 2:
        modules |= {"space": CodeSpace(config), "doubt": Doubt(config)}
    for name, module in modules.items():
        module.load_state_dict(part(tensors, name))
    return modules


def begin_field(stage: FieldStage, folder: Path) -> None:
    """Take over a run's field, and codes from its stage 1 where they are free; coarse grids have nothing to teach it.

    Raises PenumbraError."""
    other = load_stage(folder, 1, stage.plan.network)
    stage.plan = dataclasses.replace(stage.plan, sides=((stage.plan.sides[-1][0], 0.0),))
    stage.field.load_state_dict(other["field"].state_dict())
    if isinstance(stage.codes, CodeTable):
        stage.codes.begin_with(all_codes(other["codes"], stage.data))
    elif isinstance(other["codes"], VoxelEncoder):
        stage.codes.load_state_dict(other["codes"].state_dict())


def begin_encoder(encoder: ImageEncoder, folder: Path) -> None:
    """Take over trunk, viewpoint and light of a run's stage 2, or of a folder of weights.

    Raises PenumbraError where its sizes are others."""
    if (folder / "stage2.safetensors").exists():
        other = load_stage(folder, 2)["encoder"].state_dict()
    else:
        other = part(load_state(folder.name, folder.parent)[0], "encoder")
    codes = tuple(f"heads.{name}." for name in Codes._fields)
    kept = {name: value for name, value in other.items() if not name.startswith(codes)}
    try:
        encoder.load_state_dict(kept, strict=False)
    except RuntimeError as problem:
        raise PenumbraError(f"The encoder of {folder} has other sizes.", "Begin without it.") from problem


def part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors below one name."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def assembled(folder: Path, last: int) -> Reconstructor:
    """What the stages up to `last`, 2 or 3, have left of each part. Raises PenumbraError as `read_checkpoint`."""
    modules: dict[str, nn.Module] = {}
    for k in range(1, last + 1):
        modules |= load_stage(folder, k)
    network = Reconstructor(cast(JointField, modules["field"]).config)
    for name, module in network.named_children():
        module.load_state_dict(modules[name].state_dict())
    return network.eval()


def export(folder: Path, target: Path, data: list[Path], command: str) -> None:
    """Write what the last stages have left of each part, its config and its card."""
    last = 3 if (folder / "stage3.safetensors").exists() else 2
    network = assembled(folder, last)
    config = network.config
    steps = {k: read_checkpoint(folder / f"stage{k}.safetensors")[0] for k in range(1, last + 1)}
    times = ", ".join(f"stage {k}: {s['step']} steps, {s['seconds'] / 60:.0f} minutes" for k, s in steps.items())
    card = f"""# Joint occupancy field

The shape and albedo decoders and the image encoder of *Fully Understanding Generic Objects* (JOF), trained by this
project from random weights on objects and pictures that it made itself. Licence: GPL-3.0-or-later.

* Command: `{command}`
* {times}, on {devices.describe(torch.device("cpu"))} or as the log says.
* Sizes: {json.dumps(dataclasses.asdict(config))}

{data_cards(data)}"""
    trained = {"steps": {str(k): s["step"] for k, s in steps.items()}}
    config_and_steps = {"network": config.to_json(), "trained": trained}
    save_model(target, "reconstructor", network, config_and_steps, card)
