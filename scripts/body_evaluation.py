# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures LASOR on unseen bodies and motions: ``evaluate.py body [--motions DIR…] [--weights DIR]``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from backend import weights
from backend.body.lasor import evaluate
from backend.body.lasor.network import Lasor
from backend.body.poses import pose_bank


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--motions", type=Path, nargs="+", default=[], help="folders of .bvh files, as in training")
    p.add_argument("--people", type=int, default=500, help="in each condition")
    p.add_argument("--weights", type=Path, default=weights.WEIGHTS / "lasor", help="a folder of weights")


def measure(options: argparse.Namespace) -> tuple[list[dict], str]:
    """The rows, and the command's arguments that give them."""
    network = cast(Lasor, weights.load_model(options.weights.name, options.weights.parent)[0])
    methods = {
        "the mean body": evaluate.by_mean(network),
        "LASOR": evaluate.by_network(network),
        "LASOR, refined": evaluate.by_refinement(network),
    }
    poses = pose_bank(options.motions, 4000, 0, test=True)
    rows = evaluate.evaluate(methods, poses, evaluate.CONDITIONS, options.people)
    folders = f" --motions {' '.join(folder.name for folder in options.motions)}" if options.motions else ""
    return rows, f"body --people {options.people}{folders}"


def tables(rows: list[dict]) -> str:
    """A table of each condition."""
    written = []
    for split in dict.fromkeys(row["split"] for row in rows):
        mine = [row for row in rows if row["split"] == split]
        written.append(f"**{split}**, {mine[0]['images']} people\n\n{evaluate.results_table(mine)}")
    return "\n".join(written)
