# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures LASOR and BodyNet on unseen bodies and motions: ``evaluate.py body [--motions DIR…] [--weights DIR]``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import torch

from backend import weights
from backend.body.bodynet import evaluate as bodynet_evaluate
from backend.body.bodynet.network import BodyNet
from backend.body.bodynet.train import people_of
from backend.body.lasor import evaluate
from backend.body.lasor.lifter import Lifter
from backend.body.lasor.network import Lasor
from backend.body.poses import pose_bank

# The tables of a condition: those rows that have a table's first column.
TABLES = (evaluate.COLUMNS, bodynet_evaluate.NETWORK_COLUMNS, bodynet_evaluate.FIT_COLUMNS)


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--motions", type=Path, nargs="+", default=[], help="folders of .bvh files, as in training")
    p.add_argument("--people", type=int, default=500, help="in each condition")
    p.add_argument("--weights", type=Path, default=weights.WEIGHTS / "lasor", help="a folder of LASOR's weights")
    p.add_argument(
        "--others", type=Path, nargs="+", default=[], help="folders of LASORs or lifters, as ablations; a row each"
    )
    p.add_argument("--bodynet", type=Path, help="a folder of BodyNet's weights, which is measured in LASOR's place")
    p.add_argument("--pictures", type=Path, nargs="+", default=[], help="folders of pictures, for a BodyNet of RGB")
    p.add_argument("--fitted", type=int, default=20, help="people whom bodies are fitted to, in each condition")


def measure(options: argparse.Namespace) -> tuple[list[dict], str]:
    """The rows, and the command's arguments that give them."""
    lasor = _lasor(options.weights)
    poses = pose_bank(options.motions, 4000, 0, test=True)
    folders = f" --motions {' '.join(folder.name for folder in options.motions)}" if options.motions else ""
    command = f"body --people {options.people}{folders}"
    if options.bodynet:
        network = cast(BodyNet, weights.load_model(options.bodynet.name, options.bodynet.parent)[0])
        people = people_of(network.config, poses, options.pictures, "test", torch.device("cpu"))
        rows = bodynet_evaluate.evaluate(network, lasor, people, options.people, options.fitted)
        shown = f" --pictures {' '.join(folder.name for folder in options.pictures)}" if options.pictures else ""
        return rows, f"{command} --bodynet {options.bodynet.name}{shown} --fitted {options.fitted}"
    methods = {
        "the mean body": evaluate.by_mean(lasor),
        "the lifter, from keypoints alone": evaluate.by_lifter(lasor),
        "LASOR": evaluate.by_network(lasor),
        "LASOR, refined": evaluate.by_refinement(lasor),
    }
    if options.others:
        methods |= {folder.name: _method(folder) for folder in options.others}
        command += f" --others {' '.join(folder.name for folder in options.others)}"
    return evaluate.evaluate(methods, poses, evaluate.CONDITIONS, options.people), command


def _method(folder: Path) -> evaluate.Method:
    network = weights.load_model(folder.name, folder.parent)[0]
    return evaluate.by_points(network) if isinstance(network, Lifter) else evaluate.by_network(cast(Lasor, network))


def _lasor(folder: Path) -> Lasor:
    return cast(Lasor, weights.load_model(folder.name, folder.parent)[0])


def tables(rows: list[dict]) -> str:
    """The tables of each condition."""
    written = []
    for split in dict.fromkeys(row["split"] for row in rows):
        for columns in TABLES:
            mine = [row for row in rows if row["split"] == split and next(iter(columns)) in row]
            if mine:
                table = evaluate.results_table(mine, columns)
                written.append(f"**{split}**, {mine[0]['images']} people\n\n{table}")
    return "\n".join(written)
