# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures LASOR on a user's copy of a public data set: ``evaluate.py public --kind 3dpw --data DIR``.

People are found by MediaPipe, as in use, and told apart by their limbs. The body's shapes are not SMPL's, so that only
joints and silhouettes can be compared: of LSP's fourteen joints the top of the head is no joint of SMPL's and left out.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from backend import device as devices
from backend.body import metrics
from backend.body.data import JOINT_NAMES
from backend.body.detect import Person, people_if_any
from backend.body.lasor.raster import coverage
from backend.body.model import BodyModel
from backend.body.public import LIMBS, READERS, Example
from backend.body.reconstruct import Body, load_networks
from backend.photograph import USUAL
from scripts.photograph_evaluation import tried

COLUMNS = {
    "found": ("found", "{:.2f}"),
    "pa_mpjpe_13_mm": ("PA-MPJPE of 13 joints, mm", "{:.1f}"),
    "miou": ("silhouette mIOU", "{:.3f}"),
}
JOINTS = [JOINT_NAMES.index(name) for name in ("neck", *LIMBS)]
ASTRAY = 0.25  # of the limbs' extent: limbs farther away in the median are somebody else's


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--kind", choices=tuple(READERS), required=True)
    p.add_argument("--data", type=Path, required=True, help="the data set's own folder")
    p.add_argument("--smpl", type=Path, help="SMPL as .npz (convert_smpl.py), where a data set tells no joints")
    p.add_argument("--every", type=int, default=1, help="only every N-th person of a frame")


def measure(options: argparse.Namespace) -> tuple[list[dict], str]:
    """The rows, and the command's arguments that give them."""
    networks = load_networks("lasor", devices.pick("cpu"))
    smpl = BodyModel.load(options.smpl) if options.smpl else None
    errors: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    count = 0
    for example in itertools.islice(READERS[options.kind](options.data), 0, None, options.every):
        count += 1
        picture = example.read()
        found = people_if_any(picture)
        who = shown(found, example)
        for name, refine in (("LASOR", False), ("LASOR, refined", True)):
            body = tried(found, who, networks, USUAL * max(picture.shape[:2]), refine)
            errors[name]["found"].append(float(body is not None))
            if body is not None:
                for metric, value in measured(body, example, smpl).items():
                    errors[name][metric].append(value)
    rows = [
        {"method": name, "split": options.kind, "images": count, **{m: float(np.mean(v)) for m, v in values.items()}}
        for name, values in errors.items()
    ]
    smpl_too = f" --smpl {options.smpl.name}" if options.smpl else ""
    return rows, f"public --kind {options.kind} --data {options.data.name}{smpl_too} --every {options.every}"


def shown(found: list[Person], example: Example) -> int | None:
    """Which of the people who were found is the example's."""
    known = ~np.isnan(example.limbs).any(1)
    if not known.any():
        return None
    limbs = example.limbs[known]
    apart = [np.median(np.linalg.norm(person.points[5:][known] - limbs, axis=1)) for person in found]
    return int(np.argmin(apart)) if apart and min(apart) < ASTRAY * np.ptp(limbs, 0).max() else None


@torch.no_grad()
def measured(body: Body, example: Example, smpl: BodyModel | None) -> dict[str, float]:
    """What can be compared with what the example tells, or with SMPL's body of its pose and shape."""
    ours, values = BodyModel.load(), {}
    true = example.joints
    if true is None and smpl is not None:
        true = smpl(torch.from_numpy(example.betas)[None], torch.from_numpy(example.pose)[None])[1][0].numpy()
    if true is not None:
        joints = ours(torch.from_numpy(body.betas)[None], torch.from_numpy(body.rotations)[None].float())[1].numpy()
        values["pa_mpjpe_13_mm"] = 1000 * float(metrics.pa_mpjpe(joints[:, JOINTS], true[None, JOINTS])[0])
    if example.silhouette is not None:
        mask = example.silhouette()
        drawn = coverage(torch.from_numpy(body.outline).float()[None], ours.faces, max(mask.shape))[0].numpy()
        values["miou"] = float(metrics.iou(drawn[None, : mask.shape[0], : mask.shape[1]], mask[None])[0])
    return values
