# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluation on generated shapes and pictures that nothing was trained on (JOF, section 4).

A figure is a mean over shapes, by category; `rows` adds the mean over categories. True surfaces are the generators'
own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch

from ..images import srgb_encode
from . import metrics
from .code_fit import fit_codes
from .dataset import ObjectData, moved, picture_batch, point_batch
from .meshing import extract
from .network import Codes, JointField, VoxelEncoder
from .objects import sheet
from .projection import viewpoint
from .reconstructor import Reconstructor
from .refine import refined
from .rendering import valid_camera
from .shapes import LABELS, make_shape
from .symmetry import symmetries
from .voxels import NEAR, centres, piece_grid, pieces_of

CodesOf = Callable[[int], Codes]  # of a data set's shape, by its row

POINTS_SIDE = 64  # the grid whose points codes are fitted to


def from_pictures(
    network: Reconstructor, data: ObjectData, side: int = 128, points: int = metrics.POINTS, refine: int = 0
) -> dict[str, dict[str, float]]:
    """Single-view reconstruction (Tables 5 and 6) and pose (Table 3): category → figures, from each shape's first
    picture. Reconstructions are compared as they come, without any alignment. refine: steps of `refine.refined`."""
    scores: dict[str, list[dict[str, float]]] = defaultdict(list)
    field, device = network.field, network.encoder.camera_mean.device
    for row, category in enumerate(data.category):
        batch = moved(picture_batch(data, [(row, 0)], defaultdict(int), sees_mask=network.config.sees_mask), device)
        with torch.no_grad():
            fit = network(batch.picture)
        if refine:
            fit = refined(network, fit, batch.linear, batch.mask, refine)
        seen = valid_camera(fit.matrix)[0].double().cpu().numpy(), batch.mask[0].cpu().numpy()
        figures = _surface_figures(field, fit.codes, category, data.seed[row], side, points, seen)
        true = data.matrix(row, 0)
        if true is not None:
            found = viewpoint(seen[0])[0]
            alike = symmetries_of(category, data.seed[row])
            figures["azimuth_error"] = metrics.azimuth_error(found, viewpoint(true.astype(np.float64))[0], alike)
        if field.config.category_code:
            named = int(field.classified(fit.codes).argmax())
            figures["category_right"] = 100.0 * (field.config.categories[named] == category)
        scores[category].append(figures)
    return _means(scores)


def sheet_of(network: Reconstructor, data: ObjectData, side: int = 128) -> np.ndarray:
    """(H, W, 3) linear: `objects.sheet` of the first shape of each category, one below the other."""
    rows, device = [], network.encoder.camera_mean.device
    for category in dict.fromkeys(data.category):
        row = data.category.index(category)
        batch = picture_batch(data, [(row, 0)], defaultdict(int), sees_mask=network.config.sees_mask)
        with torch.no_grad():
            fit = network(batch.picture.to(device))
        rgb, coverage = srgb_encode(batch.linear[0].numpy()), batch.mask[0].numpy()
        camera = valid_camera(fit.matrix)[0].double().cpu().numpy()
        mesh = extract(network.field, fit.codes, side, (camera, coverage))
        rows.append(sheet(*(np.round(255 * x).astype(np.uint8) for x in (rgb, coverage)), mesh, fit))
    return np.concatenate(rows)


def symmetries_of(category: str, seed: int) -> np.ndarray:
    """(TURNS,) bool of a generated shape."""
    shape = make_shape(category, seed)
    return symmetries(piece_grid(shape), pieces_of(shape)[2])


def from_shapes(
    field: JointField, data: ObjectData, codes_of: CodesOf, side: int = 128, points: int = metrics.POINTS
) -> dict[str, dict[str, float]]:
    """What the field can say of shapes: Chamfer, F-score, and part IOU of occupied voxels (Tables 2 and 4). Category →
    figures.

    "part_iou" names each branch by the label that most of it has in a category; "part_iou_joined" by the label that
    most of it has in all categories, where labels of the same name are one.
    """
    scores: dict[str, list[dict[str, float]]] = defaultdict(list)
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for row, category in enumerate(data.category):
        codes = codes_of(row)
        scores[category].append(_surface_figures(field, codes, category, data.seed[row], side, points))
        parts[category].append(_won_and_true(field, codes, data, row))
    names = list(dict.fromkeys(label for category in parts for label in LABELS[category]))
    joined = {category: np.array([names.index(label) for label in LABELS[category]]) for category in parts}
    common = _owner([(won, joined[c][true]) for c, pairs in parts.items() for won, true in pairs], field)
    for category, pairs in parts.items():
        owner, labels = _owner(pairs, field), range(len(LABELS[category]))
        for figures, (won, true) in zip(scores[category], pairs, strict=True):
            figures["part_iou"] = metrics.part_iou(won, true, owner, labels)
            figures["part_iou_joined"] = metrics.part_iou(won, joined[category][true], common, joined[category])
    return _means(scores)


def codes_by_fitting(field: JointField, data: ObjectData, steps: int = 300) -> CodesOf:
    """Codes that explain a shape's point-value pairs best; no encoder is involved (section 4.1)."""

    def fitted(row: int) -> Codes:
        batch = point_batch(data, np.array([row]), POINTS_SIDE, 8192, defaultdict(int), np.random.default_rng(row))
        device = next(field.parameters()).device
        given = (x.to(device) for x in (batch.points, batch.occupied, batch.colour, batch.coloured))
        return fit_codes(field, *given, steps=steps)

    return fitted


def codes_by_voxels(encoder: VoxelEncoder, data: ObjectData) -> CodesOf:
    """Codes that stage 1's E' reads off a shape's coloured voxels (section 4.2)."""

    def encoded(row: int) -> Codes:
        voxels = torch.from_numpy(data.voxels(row, encoder.side))[None]
        with torch.no_grad():
            return encoder(voxels.to(next(encoder.parameters()).device))

    return encoded


def rows(method: str, split: str, figures: dict[str, dict[str, float]]) -> list[dict]:
    """Result rows of a method, as `scripts/evaluate.py` writes them: a category each, and "mean" over them."""
    names = [name for name in next(iter(figures.values())) if name != "images"]
    mean = {name: float(np.mean([values[name] for values in figures.values()])) for name in names}
    mean["images"] = sum(values["images"] for values in figures.values())
    figures = {**figures, "mean": mean}
    return [{"method": method, "split": split, "category": name, **values} for name, values in figures.items()]


def table(results: list[dict]) -> str:
    """Markdown: a table for each split and measure, a row a method, a column a category."""
    written = {
        "chamfer": ("Chamfer-L1, tenths of the longest edge, less is better", "{:.3f}"),
        "f_score": ("F-score, %", "{:.1f}"),
        "part_iou": ("part IOU, %", "{:.1f}"),
        "part_iou_joined": ("part IOU with branches named alike in all categories, %", "{:.1f}"),
        "azimuth_error": ("azimuth error from the nearest view that looks the same, degrees, less is better", "{:.1f}"),
        "category_right": ("categories recognised, %", "{:.0f}"),
    }
    tables = []
    for split in dict.fromkeys(r["split"] for r in results):
        for measure, (title, form) in written.items():
            chosen = [r for r in results if r["split"] == split and measure in r]
            if not chosen:
                continue
            columns = list(dict.fromkeys(r["category"] for r in chosen))
            lines = [
                f"**{split}**: {title}",
                "",
                f"| method | {' | '.join(columns)} |",
                "|---" * (len(columns) + 1) + "|",
            ]
            for method in dict.fromkeys(r["method"] for r in chosen):
                mine = {r["category"]: form.format(r[measure]) for r in chosen if r["method"] == method}
                lines.append(f"| {method} | {' | '.join(mine.get(c, '') for c in columns)} |")
            tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def _surface_figures(
    field: JointField,
    codes: Codes,
    category: str,
    seed: int,
    side: int,
    points: int,
    seen: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, float]:
    """Of the mesh that `meshing.extract` makes."""
    random = np.random.default_rng(seed)
    mesh = extract(field, codes, side, seen)
    found = metrics.mesh_surface(mesh.vertices, mesh.faces, points, random)
    return metrics.surface_scores(found, metrics.surface_of(make_shape(category, seed), points, random))


@torch.no_grad()
def _won_and_true(field: JointField, codes: Codes, data: ObjectData, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Winning branch and true label (K,) of a shape's occupied voxels."""
    grid = data.grid(row)
    where = np.argwhere((grid > 0) & (grid < NEAR))
    at = torch.from_numpy(centres(where, len(grid))).to(codes.shape.device)
    branch = field.shape(codes, at[None])[0].argmax(-1).cpu().numpy()
    return branch, data.labels(row)[grid[tuple(where.T)].astype(int) - 1].astype(int)


def _owner(pairs: list[tuple[np.ndarray, np.ndarray]], field: JointField) -> np.ndarray:
    """(branches,) the label that stands for each branch in what was won and is true."""
    branch, label = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
    return metrics.owners(branch, label, field.config.branches)


def _means(scores: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Means over shapes, by category."""
    return {
        category: {name: float(np.mean([s[name] for s in several])) for name in several[0]} | {"images": len(several)}
        for category, several in scores.items()
    }
