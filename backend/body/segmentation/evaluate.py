# SPDX-License-Identifier: GPL-3.0-or-later
"""Intersection over union and pixel accuracy of parts, as the RiCS paper's Table 2 has them.

Both are of all test pictures together, and means over the parts that appear in them; the background is none.
"""

from __future__ import annotations

import numpy as np
import torch

from .data import PartsData, whitened
from .network import PartsNet

ROWS = {
    ("surreal",): "SURREAL",
    ("synth",): "Synth",
    ("real",): "Real",
    ("real", "surreal"): "Real + SURREAL",
    ("real", "synth"): "Real + Synth",
}
"""The rows of Table 2, by what has taught a network, the last kind first."""


@torch.inference_mode()
def confusion(
    network: PartsNet, data: PartsData, whitening: tuple[np.ndarray, np.ndarray], batch: int = 8
) -> np.ndarray:
    """(1 + parts, 1 + parts) pixels by their true part, then by the network's."""
    classes, device = 1 + data.parts, next(network.parameters()).device
    total = np.zeros((classes, classes), np.int64)
    for start in range(0, len(data.pictures), batch):
        pictures = whitened(data.pictures[start : start + batch], whitening).to(device)
        found = network(pictures)[-1].argmax(1).cpu().numpy()
        pairs = data.labels[start : start + batch].astype(np.int64) * classes + found
        total += np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)
    return total


def measures(confused: np.ndarray) -> dict[str, float]:
    """iou and pixel_accuracy, means over the parts that appear."""
    right, true, found = np.diag(confused), confused.sum(1), confused.sum(0)
    there = np.flatnonzero(true[1:]) + 1
    union = (true + found - right)[there]
    return {"iou": float((right[there] / union).mean()), "pixel_accuracy": float((right[there] / true[there]).mean())}


def medians(rows: list[dict]) -> list[dict]:
    """One row a method and split, in Table 2's order: the median of its runs, whose number is `runs`; and the least and
    the greatest of each figure, as "…_range".
    """
    result = []
    for split in dict.fromkeys(row["split"] for row in rows):
        for method in ROWS.values():
            mine = [row for row in rows if row["split"] == split and row["method"] == method]
            if mine:
                found = {name: [row[name] for row in mine] for name in ("iou", "pixel_accuracy")}
                middle = {name: float(np.median(values)) for name, values in found.items()}
                ranges = {f"{name}_range": [min(values), max(values)] for name, values in found.items()}
                result.append({**mine[0], **middle, **ranges, "runs": len(mine)})
    return result


def table(rows: list[dict]) -> str:
    """Markdown, a table a split."""
    written = []
    for split in dict.fromkeys(row["split"] for row in rows):
        mine = [row for row in rows if row["split"] == split]
        lines = [
            "| training data | IoU | of the runs | PixAcc | of the runs | runs |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {r['method']} | {_figure(r, 'iou')} | {_figure(r, 'pixel_accuracy')} | {r['runs']} |" for r in mine
        ]
        written.append(f"**{split}**, {mine[0]['images']} pictures\n\n" + "\n".join(lines) + "\n")
    return "\n".join(written)


def _figure(row: dict, name: str) -> str:
    low, high = (100 * value for value in row[f"{name}_range"])
    return f"{100 * row[name]:.2f} | {low:.2f} to {high:.2f}"
