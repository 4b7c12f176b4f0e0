# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the joint occupancy field: ``evaluate.py object --data DIR… --run DIR… --what pictures|voxels|codes``."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from backend import device as devices
from backend.images import write_png
from backend.objects import evaluate, train
from backend.objects.dataset import ObjectData
from backend.objects.network import VoxelEncoder
from backend.objects.shapes import LABELS
from backend.protocol import PenumbraError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of test or real-test shards")
    parser.add_argument("--run", dest="runs", type=Path, nargs="+", required=True, help="folders of train.py object")
    parser.add_argument(
        "--what", choices=("pictures", "voxels", "codes"), default="pictures", help="see backend.objects.evaluate"
    )
    parser.add_argument(
        "--stages", type=int, nargs="+", choices=(2, 3), default=[2], help="whose encoder (Table 6: 2 3)"
    )
    parser.add_argument("--categories", nargs="+", choices=tuple(LABELS), default=[], help="measure these alone")
    parser.add_argument("--side", type=int, default=128, help="of the grid that meshes are made on")
    parser.add_argument("--points", type=int, default=100_000, help="on each surface")
    parser.add_argument("--steps", type=int, default=300, help="of fitting codes")
    parser.add_argument("--picture", type=Path, help="write a sheet of each category's first shape, PNG")
    parser.add_argument("--device", default="auto")


def measure(options: argparse.Namespace) -> tuple[list[dict], str]:
    """Result rows, and the command that made them, without paths."""
    device = devices.pick(options.device)
    rows = []
    for folder in options.data:
        data = ObjectData([folder], tuple(options.categories))
        for run in options.runs:
            for stage in options.stages if options.what == "pictures" else [1]:
                modules = train.load_stage(run, 1) | (train.load_stage(run, stage) if stage > 1 else {})
                field = modules["field"].to(device).eval().requires_grad_(False)
                if options.what != "pictures":
                    codes_of = evaluate.codes_by_fitting(field, data, options.steps)
                    if options.what == "voxels":
                        if not isinstance(modules["codes"], VoxelEncoder):
                            raise PenumbraError(f"{run} has no voxel encoder.", "Train without --free-codes.")
                        codes_of = evaluate.codes_by_voxels(modules["codes"].to(device).eval(), data)
                    figures = evaluate.from_shapes(field, data, codes_of, options.side, options.points)
                else:
                    encoder = modules["encoder"].to(device).eval()
                    with torch.no_grad():
                        figures = evaluate.from_pictures(field, encoder, data, options.side, options.points)
                    if options.picture:
                        write_png(options.picture, evaluate.sheet_of(field, encoder, data, options.side))
                rows += evaluate.rows(f"{run.name}, stage {stage}", folder.name, figures)
    names = " ".join(folder.name for folder in options.data), " ".join(run.name for run in options.runs)
    command = f"object --what {options.what} --data {names[0]} --run {names[1]} --side {options.side}"
    return rows, f"{command} --points {options.points} --stages {' '.join(map(str, options.stages))}"
