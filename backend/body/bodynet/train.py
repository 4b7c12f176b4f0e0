# SPDX-License-Identifier: GPL-3.0-or-later
"""BodyNet's training stages (section 3.3); a run is a folder that all of them share.

1. 2D pose and 2D parts. 2. 3D pose. 3. Voxels. 4. Voxels with the re-projection losses. 5. Everything together.
6. The voxels of the six parts, without and then with their re-projection losses (appendix B.3).

Where a network has LASOR's lifter, that was trained before, in the same folder (`lasor.lifting`).
Each stage leaves a checkpoint, ``stage1.safetensors`` and so on, that it goes on from and the next stage begins with.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...images import write_png
from ...protocol import PenumbraError
from ...training import Learner, MuonAndAdam, RunPlan, read_checkpoint
from ...weights import save_model
from ..lasor import lifting
from ..lasor.synthesis import Synthesis
from ..model import BodyModel
from ..rotations import rotation_matrices, six_from_matrices
from . import losses as of
from .evaluate import CONDITIONS, measure_network, network_means
from .network import BUNDLED, BodyNet, BodyNetConfig, Outputs, Subnetwork
from .picture_data import PictureData
from .pictures import sheet
from .synthesis import Example, ProxySynthesizer, Truth, clear

STAGES = (1, 2, 3, 4, 5, 6)
# The subnetworks that each stage trains; it reads those before them as they are.
LEARNING = {
    1: ("joints", "parts"),
    2: ("lifted", "joints3d"),
    3: ("bones", "voxels"),
    4: ("bones", "voxels"),
    5: ("joints", "parts", "lifted", "joints3d", "bones", "voxels"),
    6: ("part_voxels",),
}
TESTED = 24  # people
FAINT = 1e-15  # the optimizer's ε; heatmaps' gradients, and what equation 5 weighs to one sum, are near its usual 1e-8


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """One stage's run.

    clear: share of stage 1 on unoccluded, well seen people. batch: people. average: of the weights' mean.
    measured: steps with equal weights in which stages 5 and 6 measure the losses' gradients; the paper has 100.
    views_from: share of stage 6 after which the re-projection losses count. rmsprop: the paper's optimizer.
    """

    stage: int
    network: BodyNetConfig = BUNDLED
    synthesis: Synthesis = field(default_factory=lambda: Synthesis(occluded=0.5, graded=True))
    clear: float = 0.3
    batch: int = 8
    average: float = 0.998
    measured: int = 25
    views_from: float = 0.5
    rmsprop: bool = False


class Trainer(Learner):
    """A stage in training; goes on from the stage's checkpoint in the folder where there is one."""

    clip = 1.0

    def __init__(
        self, plan: Plan, poses: np.ndarray, folder: Path, device: torch.device, pictures: list[Path] | None = None
    ) -> None:
        """poses: (N, 24, 3) axis-angle. pictures: folders of shards, for a network of RGB.

        Raises PenumbraError where the earlier stage's checkpoint is missing, or one is damaged or of other sizes.
        """
        super().__init__(plan, folder, device, f"stage{plan.stage}", plan.stage)
        self.people = people_of(plan.network, poses, pictures or [], "train", device)
        if plan.stage == 1:
            network = BodyNet(plan.network)
            network.begin_with(six_from_matrices(front_rotations(poses)))
            if network.lifted is not None:
                network.lifted.lifter.load_state_dict(lifting.trained(folder, plan.network.lifter))
        else:
            network = load_stage(folder, _before(folder, plan.stage), plan.network)
        if plan.stage == 6:
            if network.part_voxels is None:
                raise PenumbraError("This network has no voxels of parts.", "Train it with part_voxels.")
            network.part_voxels.begin_parts_with(network.voxels)
        network.to(device, memory_format=torch.channels_last)
        learning = (getattr(network, name) for name in LEARNING[plan.stage])
        self.learning = [part for part in learning if part is not None]
        if network.lifted is not None:
            network.lifted.lifter.requires_grad_(False)
        self.parameters = [p for part in self.learning for p in part.parameters() if p.requires_grad]
        if plan.rmsprop:
            optimizer = torch.optim.RMSprop(self.parameters, plan.rate, 0.99, 1e-8)
        else:
            hidden = [part for net in network.modules() if isinstance(net, Subnetwork) for part in net.hidden]
            optimizer = MuonAndAdam(self.parameters, hidden, plan.rate, FAINT)
        self.weights: dict[str, float] = dict(of.SHAPE_WEIGHTS) if plan.stage == 4 else {}
        self.scales: list[dict[str, float]] = []
        self.weights = self.begin(network, optimizer).get("weights", self.weights)
        self.random = torch.Generator(device).manual_seed(plan.seed + 1000 * plan.stage + self.run.step)

    @property
    def state(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def draw(self) -> Example:
        """The next batch."""
        plan = self.plan
        easy = plan.stage == 1 and self.run.done < plan.clear
        return self.people.batch(plan.batch, clear(plan.synthesis) if easy else plan.synthesis, self.random)

    def train_step(self, example: Example) -> dict[str, Tensor]:
        """One step. Returns the unweighted losses."""
        self.network.eval()
        for part in self.learning:
            part.train()
        image = example.image.to(memory_format=torch.channels_last)
        with self.plan.half(self.device):
            outputs = self.outputs(image)
        losses = self.losses(_float32(outputs), example.truth)
        self.descend(self._total(losses))
        return {name: loss.detach() for name, loss in losses.items()}

    def outputs(self, image: Tensor) -> Outputs:
        """What the stage needs; gradients only where it learns."""
        network, stage = self.network, self.plan.stage
        with torch.set_grad_enabled(stage in (1, 5)):
            outputs = network.flat(image)
        if stage == 1:
            return outputs
        with torch.set_grad_enabled(stage in (2, 5)):
            outputs = network.deep(image, outputs)
        return outputs if stage == 2 else network.shaped(image, outputs, "part_voxels" if stage == 6 else "voxels")

    def losses(self, outputs: Outputs, truth: Truth) -> dict[str, Tensor]:
        """The stage's losses, unweighted."""
        stage = self.plan.stage
        if stage == 1:
            return of.flat_losses(outputs, truth)
        if stage == 2:
            return of.deep_losses(outputs, truth)
        if stage == 6:
            return of.part_losses(outputs, truth, self.run.done >= self.plan.views_from)
        found = of.voxel_losses(outputs, truth, views=stage > 3)
        return found if stage < 5 else of.flat_losses(outputs, truth) | of.deep_losses(outputs, truth) | found

    def _total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Equation 5. Stages whose weights are not given measure them first (C.2)."""
        if self.plan.stage in (5, 6) and set(self.weights) != set(losses) and len(losses) > 1:
            self.scales.append(of.gradient_scales(losses, self.parameters))
            if len(self.scales) >= self.plan.measured:
                self.weights = of.balanced_weights(self.scales)
                self.scales = []
        weights = self.weights if set(self.weights) == set(losses) else dict.fromkeys(losses, 1 / len(losses))
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()


def front_rotations(poses: np.ndarray) -> Tensor:
    """(N, 24, 3, 3) rotations of poses (N, 24, 3); the first is the identity, as bodies are seen from everywhere."""
    rotations = rotation_matrices(torch.from_numpy(poses))
    rotations[:, 0] = torch.eye(3)
    return rotations


def _float32(outputs: Outputs) -> Outputs:
    stacked = {f.name: getattr(outputs, f.name) for f in dataclasses.fields(outputs) if f.name != "rotations"}
    changed = {name: value and tuple(x.float() for x in value) for name, value in stacked.items()}
    return dataclasses.replace(outputs, **changed)


def _before(folder: Path, stage: int) -> int:
    """The stage from which one goes on. The fifth, which trains everything together, may be left out: in a short run
    equation 5, which hardly weighs poses and parts, costs them more than it gives.
    """
    return 4 if stage == 6 and not (folder / "stage5.safetensors").exists() else stage - 1


def load_stage(folder: Path, stage: int, config: BodyNetConfig | None = None) -> BodyNet:
    """The averaged weights that a stage has left, on the CPU.

    Raises PenumbraError where its checkpoint is missing, damaged, or of other sizes.
    """
    path = folder / f"stage{stage}.safetensors"
    if not path.exists():
        raise PenumbraError(f"{path} is not there.", f"Run scripts/train.py bodynet --stage {stage} first.")
    state, tensors = read_checkpoint(path)
    found = BodyNetConfig.from_json(state["network"])
    if config is not None and found != config:
        raise PenumbraError(f"{path} is of a network of other sizes.", "Train in another folder.")
    network = BodyNet(found)
    network.load_state_dict({k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")})
    return network


def people_of(
    config: BodyNetConfig, poses: np.ndarray, pictures: list[Path], split: str, device: torch.device
) -> ProxySynthesizer | PictureData:
    """Where a network's examples come from: pictures (folders of shards) for RGB, else poses (N, 24, 3)."""
    body = BodyModel.load(coarse=True).to(device)
    if config.channels == 3:
        return PictureData(pictures, body, config, split)
    return ProxySynthesizer(body, poses, config)


def train(trainer: Trainer, unseen: ProxySynthesizer | PictureData, every: float = 120.0) -> None:
    """Train until the plan ends. Every `every` seconds: a line in ``stageN.jsonl`` with the errors on unseen people (on
    the CPU), a picture, a checkpoint.
    """
    run = trainer.run
    splits = ("exact 2D", "a detector's 2D") if isinstance(unseen, ProxySynthesizer) else ("exact 2D",)

    def report() -> dict[str, Any]:
        trainer.save()
        network = copy.deepcopy(trainer.average).cpu()
        write_png(run.checkpoint.with_suffix(".png"), sheet(network, unseen, trainer.plan.stage))
        tested = {
            name: network_means(measure_network(network, unseen, CONDITIONS[name], TESTED, trainer.plan.stage))
            for name in splits
        }
        return {"weights": trainer.weights, "tested": tested}

    run.go_on(lambda: trainer.train_step(trainer.draw()), report, every)


def export(folder: Path, target: Path, motions: list[str], command: str) -> None:
    """Write the averaged weights of the last stage that was trained, their config and their card, and the lifter's
    beside them.

    motions: names of the folders of motion files. Raises PenumbraError where no stage was trained.
    """
    last = max((k for k in STAGES if (folder / f"stage{k}.safetensors").exists()), default=1)
    network = load_stage(folder, last)
    if last < 6 and network.part_voxels is not None:
        network.part_voxels.begin_parts_with(network.voxels)  # untrained: its occupancy is the shape network's
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.num_batches_tracked is not None:
            module.num_batches_tracked.zero_()  # counts nothing that is used, and float16 could not hold it
    paths = {k: folder / f"stage{k}.safetensors" for k in range(1, last + 1)}
    states = {k: read_checkpoint(path)[0] for k, path in paths.items() if path.exists()}
    shared = {"lifted.lifter": "lifter"} if network.lifted is not None else {}
    if shared:
        lifting.export(folder, target.parent / "lifter")
    times = "; ".join(f"stage {k}: {s['step']} steps, {s['seconds'] / 60:.0f} minutes" for k, s in states.items())
    weights = {k: {n: round(w, 6) for n, w in s["weights"].items()} for k, s in states.items() if s["weights"]}
    card = f"""# BodyNet

The four subnetworks of *BodyNet: Volumetric Inference of 3D Human Body Shapes*, trained by this project from random
weights on {"rendered pictures" if network.config.channels == 3 else "LASOR's proxies (silhouette and keypoints)"} of
the body in `assets/body`.
Licence: GPL-3.0-or-later.

* Last command: `{command}`
* {times}.
* Poses: motion files of {", ".join(motions) or "no folder"} that are not held out, the built-in motions, and draws
  within the joints' limits.
* Weights of the losses, by stage, where there are several; those of stages 5 and 6 as
  measured: {json.dumps(weights)}
* Sizes: {json.dumps(network.config.to_json())}
"""
    trained = {"steps": {str(k): s["step"] for k, s in states.items()}}
    save_model(target, "bodynet", network, {"network": network.config.to_json(), "trained": trained}, card, shared)
