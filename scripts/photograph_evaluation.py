# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures Import Body on photographs: rendered people, clothed and lit, whom MediaPipe has to find first.

Of people, poses and lights nothing was trained on. Beside LASOR's errors stand those that it would have if what
MediaPipe tells of the picture were exact, or if the lens, which EXIF data tell, were not known; and how far MediaPipe's
keypoints are off.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from backend import device as devices
from backend.body import metrics
from backend.body.detect import Person, people_if_any
from backend.body.lasor.estimate import CONFIDENT
from backend.body.lasor.evaluate import COLUMNS, results_table
from backend.body.lasor.raster import coverage
from backend.body.model import BodyModel
from backend.body.poses import pose_bank
from backend.body.reconstruct import Body, Networks, load_networks, reconstruct
from backend.photograph import USUAL
from backend.protocol import PenumbraError
from scripts.rendered_people import CONDITIONS, FRAME, Scene, scenes

SHOWN = {"found": ("found", "{:.2f}"), **COLUMNS}
DETECTOR = {
    "off_px": ("keypoints off, pixels of 256", "{:.1f}"),
    "off_median_px": ("in the median", "{:.1f}"),
    "told": ("of seen keypoints told", "{:.2f}"),
    "invented": ("of hidden ones told", "{:.2f}"),
    "mask_iou": ("IOU with the seen body", "{:.3f}"),
}


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--motions", type=Path, nargs="+", default=[], help="folders of .bvh files, as in training")
    p.add_argument("--people", type=int, default=40, help="pictures of each condition")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, help="folder in which pictures are kept, to be looked at")


def measure(options: argparse.Namespace) -> tuple[list[dict], str]:
    """The rows, and the command's arguments that give them."""
    poses = pose_bank(options.motions, 4000, 0, test=True)
    networks = load_networks("lasor", devices.pick("cpu"))
    rows = []
    for condition in CONDITIONS:
        pictures = scenes(condition, poses, options.people, options.seed)
        rows += _measured(condition, pictures, networks, options.people, options.out)
    folders = f" --motions {' '.join(folder.name for folder in options.motions)}" if options.motions else ""
    return rows, f"photographs --people {options.people} --seed {options.seed}{folders}"


def tables(rows: list[dict]) -> str:
    """Two tables of each condition: of bodies, and of what MediaPipe tells."""
    written = []
    for split in dict.fromkeys(row["split"] for row in rows):
        for columns in (SHOWN, DETECTOR):
            mine = [row for row in rows if row["split"] == split and next(iter(columns)) in row]
            columns = {name: column for name, column in columns.items() if name in mine[0]}
            written.append(f"**{split}**, {mine[0]['images']} pictures\n\n{results_table(mine, columns)}")
    return "\n".join(written)


def _measured(
    condition: str, pictures: Iterator[Scene], networks: Networks, count: int, out: Path | None
) -> list[dict]:
    model = BodyModel.load()
    errors: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    detector: dict[str, list[np.ndarray]] = defaultdict(list)
    for number, scene in enumerate(pictures):
        found = people_if_any(scene.picture)
        at = scene.shown_by(found)
        exact, guess = [scene.exactly_seen()], USUAL * max(FRAME)
        methods: dict[str, tuple[list[Person], int | None, float, bool]] = {
            "LASOR": (found, at, scene.focal, False),
            "LASOR, refined": (found, at, scene.focal, True),
            "LASOR, refined, the lens unknown": (found, at, guess, True),
            "LASOR, told exactly": (exact, 0, scene.focal, False),
            "LASOR, told exactly, refined": (exact, 0, scene.focal, True),
        }
        for name, (people, who, focal, refine) in methods.items():
            body = tried(people, who, networks, focal, refine)
            errors[name]["found"].append(float(body is not None))
            if body is not None:
                for metric, value in _errors(body, scene, model).items():
                    errors[name][metric].append(value)
        if at is not None:
            for name, values in _of_detector(found[at], scene).items():
                detector[name].append(values)
        if out:
            out.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(out / f"{condition.replace(' ', '_')}_{number:03}.png"), scene.picture[..., ::-1])
    rows = [
        {"method": name, "split": condition, "images": count, **{m: float(np.mean(v)) for m, v in measured.items()}}
        for name, measured in errors.items()
    ]
    off = np.concatenate(detector["off"])
    told = {name: np.concatenate(detector[name]) for name in ("told", "invented", "mask_iou")}
    means = {name: float(values.mean()) for name, values in told.items() if len(values)}
    return [
        *rows,
        {
            **{"method": "MediaPipe", "split": condition, "images": count},
            **{"off_px": float(off.mean()), "off_median_px": float(np.median(off)), **means},
        },
    ]


def tried(found: list[Person], who: int | None, networks: Networks, focal: float, refine: bool) -> Body | None:
    """None where nobody was found, or too little of them. focal: pixels."""
    try:
        return None if who is None else reconstruct(found, who, networks, focal, refine)
    except PenumbraError:
        return None


def _errors(body: Body, scene: Scene, model: BodyModel) -> dict[str, float]:
    betas = torch.from_numpy(np.stack([body.betas, np.float32(scene.betas)]))
    rotations = torch.from_numpy(body.rotations)[None].float()
    vertices, joints = model(betas[:1], rotations)
    neutral = model(betas, torch.zeros(2, 24, 3))[0].numpy()
    outline = torch.from_numpy(body.outline).float()[None]
    mask = coverage(outline, model.faces, max(FRAME))[0].numpy()[: FRAME[1], : FRAME[0]]
    lsp = model.keypoints(vertices, joints, "lsp14").numpy()
    return {
        "pa_mpjpe_mm": 1000 * float(metrics.pa_mpjpe(lsp, scene.joints[None])[0]),
        "pve_pa_mm": 1000 * float(metrics.pve_pa(vertices.numpy(), scene.vertices[None])[0]),
        "pve_t_sc_mm": 1000 * float(metrics.pve_t_sc(neutral[:1], neutral[1:])[0]),
        "miou": float(metrics.iou(mask[None], scene.body[None])[0]),
    }


def _of_detector(person: Person, scene: Scene) -> dict[str, np.ndarray]:
    """off: of keypoints that are seen and told, pixels of LASOR's crop; which are told; and the silhouette's IOU."""
    told = person.confidence >= CONFIDENT
    off = np.linalg.norm(person.points - scene.keypoints, axis=1) * scene.pixel
    return {
        "off": off[told & ~scene.hidden],
        "told": told[~scene.hidden].astype(float),
        "invented": told[scene.hidden].astype(float),
        "mask_iou": metrics.iou((person.mask > 0.5)[None], scene.visible[None]),
    }
