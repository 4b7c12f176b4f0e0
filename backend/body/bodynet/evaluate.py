# SPDX-License-Identifier: GPL-3.0-or-later
"""BodyNet on bodies and motions that nothing was trained on: its outputs, and bodies fitted to them (section 4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .. import metrics
from ..lasor.evaluate import CONDITIONS as LASOR_CONDITIONS
from ..lasor.network import Lasor
from ..lasor.synthesis import Synthesis
from ..model import BodyModel
from .fit import Fit, Fitter, Joints
from .heatmaps import peaks2d, peaks3d
from .losses import front
from .network import BodyNet, Outputs
from .parts import CLASSES2D, CLASSES3D, PARTS6, PELVIS
from .picture_data import PictureData
from .pictures import outputs_of
from .surface import INSIDE, enlarged, extract
from .synthesis import Labeller, ProxySynthesizer, Truth

FINE = 128  # the paper's volume
CONDITIONS = {name: LASOR_CONDITIONS[name] for name in ("exact 2D", "a detector's 2D")}
CONDITIONS["a detector's 2D, behind people and objects"] = Synthesis()
NETWORK_COLUMNS = {
    "voxel_iou": ("voxel IOU", "{:.3f}"),
    "voxel_iou_128": ("at 128³", "{:.3f}"),
    "silhouette_iou": ("silhouette IOU", "{:.3f}"),
    "f1": ("F1", "{:.3f}"),
    "accuracy": ("accuracy", "{:.3f}"),
    "pckh": ("PCKh@0.5", "{:.3f}"),
    "parts2d_iou": ("2D parts IOU", "{:.3f}"),
    "joints3d_mm": ("3D joints, mm", "{:.1f}"),
    "parts3d_iou": ("3D parts IOU", "{:.3f}"),
}
FIT_COLUMNS = {
    "surface_mm": ("surface, mm", "{:.1f}"),
    "surface_s20_mm": ("s20", "{:.1f}"),
    "surface_s10_mm": ("s10", "{:.1f}"),
    "blind_mm": ("scale unknown, mm", "{:.1f}"),
    "pve_pa_mm": ("and PVE-PA, mm", "{:.1f}"),
}


@dataclass(frozen=True)
class Measured:
    """each: (N,) of each metric that is a person's. parts2d, parts3d: IOU of every part over all people, or None."""

    each: dict[str, np.ndarray]
    parts2d: np.ndarray
    parts3d: np.ndarray | None


def joints_of(outputs: Outputs, index: int = 0) -> Joints:
    """What the pose networks say of one person; a joint counts as much as its peak is high."""
    place, height = peaks3d(outputs.heatmaps3d[index, None].float())
    flat, _ = peaks2d(outputs.joints[-1][index, None].float())
    rotations = None if outputs.rotations is None else outputs.rotations[index]
    return Joints(place[0], flat[0], height[0].clamp(0.05, 1), rotations)


def metric_joints(place: Tensor, camera: Tensor) -> np.ndarray:
    """(B, 16, 3) metres of joints (B, 16, 3), see `Truth`, at the scale of cameras (B, 3)."""
    flat = 2 * place[..., :2] / camera[:, None, :1]
    return torch.cat([flat, place[..., 2:]], 2).numpy()


@torch.inference_mode()
def measure_network(
    network: BodyNet,
    people: ProxySynthesizer | PictureData,
    plan: Synthesis,
    count: int,
    stage: int = 6,
    seed: int = 1,
) -> Measured:
    """The metrics of section 4.1, C.1 and Table 4 as far as a stage's outputs go; on the CPU."""
    random, network = torch.Generator().manual_seed(seed), network.eval()
    fine = Labeller(people.body, people.labeller.config)
    each: dict[str, list[np.ndarray]] = defaultdict(list)
    labels: dict[str, list[np.ndarray]] = defaultdict(list)
    for start in range(0, count, 8):
        example = people.batch(min(8, count - start), plan, random)
        outputs = outputs_of(network, example.image, stage)
        for name, values in _measure(outputs, example.truth, people.body, fine).items():
            each[name].append(values)
        labels["found2d"].append(outputs.parts[-1].argmax(1).numpy())
        labels["true2d"].append(example.truth.parts.numpy())
        if outputs.part_voxels is not None:
            labels["found3d"].append(outputs.part_voxels[-1].argmax(1).to(torch.uint8).numpy())
            labels["true3d"].append(example.truth.voxels.numpy())
    found = {name: np.concatenate(values) for name, values in labels.items()}
    parts3d = metrics.part_ious(found["found3d"], found["true3d"], CLASSES3D - 1) if "found3d" in found else None
    return Measured(
        {name: np.concatenate(values) for name, values in each.items()},
        metrics.part_ious(found["found2d"], found["true2d"], CLASSES2D - 1),
        parts3d,
    )


def _measure(outputs: Outputs, truth: Truth, body: BodyModel, labeller: Labeller) -> dict[str, np.ndarray]:
    """(B,) of each metric that is a person's."""
    found, _ = peaks2d(outputs.joints[-1])
    vertices, joints = body(truth.betas, truth.rotations)
    neck, top = (body.keypoints(vertices, joints, "lsp14")[:, k] for k in (12, 13))
    head = (top - neck).norm(dim=1) * truth.camera[:, 0] / 2  # in crop sides
    each = {"pckh": metrics.pckh(found.numpy(), truth.joints[..., :2].numpy(), head.numpy())}
    if outputs.joints3d is not None:
        place, _ = peaks3d(outputs.heatmaps3d)
        pair = (metric_joints(place, truth.camera), metric_joints(truth.joints, truth.camera))
        each["joints3d_mm"] = 1000 * metrics.joint_error(*pair, PELVIS)
    if outputs.voxels is not None:
        probability = outputs.voxels[-1].sigmoid()
        each["voxel_iou"] = metrics.iou((probability >= INSIDE).numpy(), (truth.voxels > 0).numpy())
        masks = (front(probability) >= INSIDE).numpy(), front(truth.voxels > 0).numpy()
        each["silhouette_iou"], each["f1"] = metrics.iou(*masks), metrics.f1(*masks)
        each["accuracy"] = metrics.accuracy(*masks)
        true = labeller(truth.betas, truth.rotations, truth.camera, FINE).voxels
        large = np.stack([enlarged(volume, FINE) for volume in probability.numpy()])
        each["voxel_iou_128"] = metrics.iou(large >= INSIDE, (true > 0).numpy())
    return each


def network_means(measured: Measured) -> dict[str, float]:
    """The figures of `NETWORK_COLUMNS`, and the parts' of Table 4."""
    means = {name: round(float(values.mean()), 4) for name, values in measured.each.items()}
    means["parts2d_iou"] = round(float(np.nanmean(measured.parts2d)), 4)
    if measured.parts3d is not None:
        means["parts3d_iou"] = round(float(np.nanmean(measured.parts3d)), 4)
        means |= {f"iou_{name}": round(float(v), 4) for name, v in zip(PARTS6, measured.parts3d, strict=True)}
    return means


@dataclass(frozen=True)
class Seen:
    """One person of an example, as a network sees them. proxy: (1, channels, S, S), its input.

    start: the mean shape in the pose of the 3D joints. scale: the camera's, None where it is unknown.
    """

    proxy: Tensor
    outputs: Outputs
    index: int
    joints: Joints
    start: Fit
    scale: float | None


Method = Callable[[Fitter, Seen], Fit]


def by_joints(fitter: Fitter, seen: Seen) -> Fit:
    """The mean shape in the pose of the 3D joints."""
    return seen.start


def by_outline(fitter: Fitter, seen: Seen) -> Fit:
    """SMPLify++: joints and silhouette (appendix D)."""
    mask = 1 - seen.outputs.parts[-1][seen.index].softmax(0)[0]
    return fitter.to_outline(seen.start, mask.numpy(), seen.joints, seen.scale)


def by_regression(lasor: Lasor) -> Method:
    """The shape as LASOR's network regresses it, in the pose of the 3D joints (section 4.2)."""
    return lambda fitter, seen: replace(seen.start, betas=lasor(seen.proxy).betas[0])


def by_lasor(lasor: Lasor) -> Method:
    """LASOR's estimate as it is: what BodyNet would have to be better than."""

    def method(fitter: Fitter, seen: Seen) -> Fit:
        found = lasor(seen.proxy)
        return Fit(found.camera[0], found.rotations[0], found.betas[0], 0.0)

    return method


def by_lasor_and_surface(lasor: Lasor) -> Method:
    """LASOR's body, fitted to BodyNet's voxels and joints."""

    def method(fitter: Fitter, seen: Seen) -> Fit:
        found = by_lasor(lasor)(fitter, seen)
        start = fitter.at(found.camera, found.rotations, found.betas)
        return by_surface(fitter, replace(seen, start=start))

    return method


def by_surface(fitter: Fitter, seen: Seen) -> Fit:
    """Equation 6; where the network fills no voxel, the fit to the joints."""
    assert seen.outputs.voxels is not None
    probability = seen.outputs.voxels[-1][seen.index].sigmoid().numpy()
    if probability.max() <= INSIDE:
        return seen.start
    return fitter.to_surface(seen.start, extract(probability), seen.joints, len(probability), seen.scale)


@torch.inference_mode()
def measure_fits(
    methods: dict[str, Method],
    network: BodyNet,
    people: ProxySynthesizer | PictureData,
    plan: Synthesis,
    count: int,
    seed: int = 1,
) -> dict[str, dict[str, float]]:
    """The surface errors of `FIT_COLUMNS` of each method, in millimetres.

    With the scale known, sideways the body is where it was fitted, and only the pelvis' depth is given. With the scale
    unknown both pelvises are brought together. s10 and s20: those tenth and fifth of the people whose shape is farthest
    from the mean's in the same pose.
    """
    random, body, full = torch.Generator().manual_seed(seed), people.body, BodyModel.load()
    fitter = Fitter.of(network, body)
    errors: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in methods}
    extreme: list[float] = []
    for first in range(0, count, 8):
        example = people.batch(min(8, count - first), plan, random)
        outputs, truth = network(example.image), example.truth
        true, true_joints = full(truth.betas, truth.rotations)
        mean, mean_joints = full(torch.zeros_like(truth.betas), truth.rotations)
        apart = (mean - mean_joints[:, :1]) - (true - true_joints[:, :1])
        extreme += apart.norm(dim=2).mean(1).tolist()
        for index in range(len(example.image)):
            target, pelvis = true[index], true_joints[index, 0]
            joints = joints_of(outputs, index)
            for column, scale in (("surface_mm", float(truth.camera[index, 0])), ("blind_mm", None)):
                start = fitter.to_joints(joints, scale)
                seen = Seen(example.image[index, None], outputs, index, joints, start, scale)
                for name, method in methods.items():
                    fit = method(fitter, seen)
                    vertices, posed = (x[0] for x in full(fit.betas[None], fit.rotations[None]))
                    shift = pelvis - posed[0]
                    if scale is not None:  # sideways, where the camera of that scale sees it
                        shift[:2] = fit.camera[1:] * fit.camera[0] / scale - truth.camera[index, 1:]
                    pair = (vertices + shift)[None].numpy(), target[None].numpy()
                    errors[name][column].append(1000 * float(metrics.surface_error(*pair)[0]))
                    if scale is None:
                        errors[name]["pve_pa_mm"].append(1000 * float(metrics.pve_pa(*pair)[0]))
    rank = np.argsort(-np.array(extreme))
    means = {}
    for name, found in errors.items():
        known = np.array(found["surface_mm"])
        tenth, fifth = (known[rank[: max(1, round(share * count))]].mean() for share in (0.1, 0.2))
        blind = float(np.mean(found["blind_mm"]))
        figures = {"surface_mm": known.mean(), "surface_s20_mm": fifth, "surface_s10_mm": tenth, "blind_mm": blind}
        figures["pve_pa_mm"] = np.mean(found["pve_pa_mm"])
        means[name] = {column: round(float(value), 2) for column, value in figures.items()}
    return means


def evaluate(
    network: BodyNet, lasor: Lasor, people: ProxySynthesizer | PictureData, count: int, fitted: int
) -> list[dict]:
    """Rows of what the network says of `count` people in each condition, and of bodies fitted to `fitted` of them.

    On the CPU in float32. LASOR sees proxies; beside a network of RGB it is left out.
    """
    methods: dict[str, Method] = {"the mean shape, fitted to 3D joints": by_joints, "SMPLify++": by_outline}
    conditions = CONDITIONS
    if isinstance(people, PictureData):
        conditions = {"rendered pictures": Synthesis()}
    else:
        methods |= {"shape regression": by_regression(lasor), "LASOR": by_lasor(lasor)}
        methods["LASOR, fitted to BodyNet's voxels"] = by_lasor_and_surface(lasor)
    methods["BodyNet, fitted to voxels"] = by_surface
    rows = []
    for split, plan in conditions.items():
        means = network_means(measure_network(network, people, plan, count))
        rows.append({"method": "BodyNet", "split": split, "images": count, **means})
        for name, figures in measure_fits(methods, network, people, plan, fitted).items() if fitted else ():
            rows.append({"method": name, "split": split, "images": fitted, **figures})
    return rows
