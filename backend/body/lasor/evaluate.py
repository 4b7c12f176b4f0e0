# SPDX-License-Identifier: GPL-3.0-or-later
"""LASOR on bodies and motions that nothing was trained on, with and without occlusions (Tables II to VI)."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from .. import metrics
from ..model import BodyModel
from .camera import Projection, to_pixels, weak_perspective
from .lifter import Lifter
from .network import Lasor
from .person import Estimate, estimate_of, through
from .proxy import SIZE, peaks, told_by
from .raster import coverage
from .refine import Refiner
from .synthesis import TARGET, Batch, Synthesis, Synthesizer

Method = Callable[[Batch], tuple[Estimate, Projection]]
"""Of what is seen, the bodies, and what they are seen through."""

_WHOLE = Synthesis()
# What a test hides and disturbs, from nothing to everything that training knows.
CONDITIONS: dict[str, Synthesis] = {
    "exact 2D": _WHOLE.clear(),
    "a detector's 2D": _WHOLE.unoccluded(),
    "exact 2D, behind people": dataclasses.replace(_WHOLE.clear(), occluded=1.0),
    "exact 2D, behind objects": dataclasses.replace(_WHOLE.clear(), missing=1.0, box=1.0, truncated=0.5),
    "a detector's 2D, behind people and objects": _WHOLE,
}
COLUMNS = {
    "pa_mpjpe_mm": ("PA-MPJPE, mm", "{:.1f}"),
    "pve_pa_mm": ("PVE-PA, mm", "{:.1f}"),
    "pve_t_sc_mm": ("PVE-T-SC, mm", "{:.1f}"),
    "miou": ("silhouette mIOU", "{:.3f}"),
}


def by_network(network: Lasor) -> Method:
    """The network as it is in use."""
    return lambda batch: (network(batch.proxy), weak_perspective)


def by_refinement(network: Lasor) -> Method:
    """The network's estimate, fitted through the known lens to what the proxy shows, the outline of a body; that
    something is before the person is not known."""
    refiner = Refiner.load(clothed=False)

    def method(batch: Batch) -> tuple[Estimate, Projection]:
        start = through(batch.lens, network(batch.proxy))
        points, found = peaks(batch.proxy[:, 1:])
        mask = F.interpolate(batch.proxy[:, :1], (TARGET, TARGET), mode="area")[:, 0]
        return refiner(start, points, found, mask, torch.zeros_like(mask), batch.lens), batch.lens

    return method


def by_mean(network: Lasor) -> Method:
    """The mean person, whatever is seen: what the figures mean."""
    return lambda batch: (network.mean_estimate(len(batch.proxy)), weak_perspective)


def by_lifter(network: Lasor) -> Method:
    """What keypoints alone tell, before the encoder adds what the silhouette does."""
    return lambda batch: (network.first_estimate(batch.proxy), weak_perspective)


def by_points(lifter: Lifter) -> Method:
    """The same of a lifter by itself."""
    return lambda batch: (estimate_of(lifter(*told_by(batch.proxy))), weak_perspective)


@torch.no_grad()
def evaluate(
    methods: dict[str, Method],
    poses: np.ndarray,
    conditions: dict[str, Synthesis],
    count: int,
    seed: int = 1,
    size: int = SIZE,
) -> list[dict]:
    """A row for each method and condition: {"method", "split", "images", *COLUMNS}; the same people in every row.

    poses: (N, 24, 3) axis-angle to draw from. size: of the proxies. Runs on the CPU in float32: figures do not depend
    on the device.
    """
    coarse, body = BodyModel.load(coarse=True), BodyModel.load()
    synthesizer = Synthesizer(coarse, poses)
    rows = []
    for split, plan in conditions.items():
        random = torch.Generator().manual_seed(seed)
        errors: dict[str, dict[str, list[np.ndarray]]] = {name: defaultdict(list) for name in methods}
        for start in range(0, count, 20):
            batch = synthesizer.batch(min(20, count - start), plan, random, size)
            for name, method in methods.items():
                estimate, project = method(batch)
                for metric, values in measure(estimate, project, batch, coarse, body).items():
                    errors[name][metric].append(values)
        for name, measured in errors.items():
            means = {metric: float(np.concatenate(values).mean()) for metric, values in measured.items()}
            rows.append({"method": name, "split": split, "images": count, **means})
    return rows


def measure(
    estimate: Estimate, project: Projection, batch: Batch, coarse: BodyModel, body: BodyModel
) -> dict[str, np.ndarray]:
    """(B,) of each metric of COLUMNS. Silhouettes are compared with the whole person's, 128 × 128."""
    vertices, joints = (x.cpu() for x in body(estimate.betas, estimate.rotations))
    true_vertices, true_joints = body(batch.betas, batch.rotations)
    found = body.keypoints(vertices, joints, "lsp14").numpy()
    true = body.keypoints(true_vertices, true_joints, "lsp14").numpy()
    neutral, true_neutral = (body(b, torch.zeros(len(b), 24, 3))[0].numpy() for b in (estimate.betas, batch.betas))
    outline, _ = coarse(estimate.betas, estimate.rotations)
    mask = coverage(to_pixels(project(outline, estimate.camera), TARGET), coarse.faces, TARGET)
    return {
        "pa_mpjpe_mm": 1000 * metrics.pa_mpjpe(found, true),
        "pve_pa_mm": 1000 * metrics.pve_pa(vertices.numpy(), true_vertices.numpy()),
        "pve_t_sc_mm": 1000 * metrics.pve_t_sc(neutral, true_neutral),
        "miou": metrics.iou(mask.numpy(), (batch.silhouette > 0.5).numpy()),
    }


def results_table(rows: list[dict], columns: dict[str, tuple[str, str]] = COLUMNS) -> str:
    """The rows of one split as a Markdown table."""
    lines = [f"| method | {' | '.join(head for head, _ in columns.values())} |", f"|---{'|---:' * len(columns)}|"]
    for row in rows:
        cells = " | ".join(written.format(row[metric]) for metric, (_, written) in columns.items())
        lines.append(f"| {row['method']} | {cells} |")
    return "\n".join(lines) + "\n"
