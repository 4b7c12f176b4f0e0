# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the joint occupancy field: ``evaluate.py object --data DIR… --run DIR… --what pictures|voxels|codes``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch

from backend import device as devices
from backend.images import write_png
from backend.objects import evaluate, train
from backend.objects.dataset import ObjectData
from backend.objects.network import JointField, VoxelEncoder
from backend.objects.reconstructor import Reconstructor
from backend.objects.shapes import LABELS
from backend.protocol import PenumbraError
from backend.weights import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of test or real-test shards")
    parser.add_argument(
        "--run", dest="runs", type=Path, nargs="+", required=True, help="folders of train.py object, or of weights"
    )
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
    parser.add_argument("--refine", type=int, default=0, metavar="STEPS", help="also after test-time refinement")
    parser.add_argument("--picture", type=Path, help="write a sheet of each category's first shape, PNG")
    parser.add_argument("--device", default="auto")


def measure(options: argparse.Namespace) -> tuple[list[dict], str]:
    """Result rows, and the command that made them, without paths."""
    device = devices.pick(options.device)
    of = _rows_of_pictures if options.what == "pictures" else _rows_of_shapes
    rows = [row for folder in options.data for row in of(folder, options, device)]
    names = " ".join(folder.name for folder in options.data), " ".join(run.name for run in options.runs)
    command = f"object --what {options.what} --data {names[0]} --run {names[1]} --side {options.side}"
    command += f" --points {options.points}"
    if options.what == "pictures":
        command += f" --stages {' '.join(map(str, options.stages))}"
    if options.what == "codes":
        command += f" --steps {options.steps}"
    return rows, command + (f" --refine {options.refine}" if options.refine else "")


def _rows_of_pictures(folder: Path, options: argparse.Namespace, device: torch.device) -> list[dict]:
    """Reconstructions from single pictures (Tables 3, 5 and 6)."""
    data, rows = ObjectData([folder], tuple(options.categories)), []
    for name, network in (named for run in options.runs for named in _networks(run, options.stages)):
        network = network.to(device).eval().requires_grad_(False)
        figures = evaluate.from_pictures(network, data, options.side, options.points)
        rows += evaluate.rows(name, folder.name, figures)
        if options.refine:
            figures = evaluate.from_pictures(network, data, options.side, options.points, options.refine)
            rows += evaluate.rows(f"{name}, refined", folder.name, figures)
        if options.picture:
            write_png(options.picture, evaluate.sheet_of(network, data, options.side))
    return rows


def _networks(run: Path, stages: list[int]) -> Iterator[tuple[str, Reconstructor]]:
    """Networks with their names: a run's after some of its stages, or the one of a folder of weights."""
    if not (run / "stage2.safetensors").exists():
        yield run.name, cast(Reconstructor, load_model(run.name, run.parent)[0])
        return
    for stage in stages:
        yield f"{run.name}, stage {stage}", train.assembled(run, stage)


def _rows_of_shapes(folder: Path, options: argparse.Namespace, device: torch.device) -> list[dict]:
    """What fields can say of shapes (Tables 2 and 4). Runs of one category each are one method together."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    there = set(ObjectData([folder]).category)
    for run in options.runs:
        field, encoder = _field_of(run, device)
        known = tuple(category for category in field.config.categories if category in there)
        data = ObjectData([folder], tuple(options.categories) or known)  # where none is known, all are new to it
        codes_of = evaluate.codes_by_fitting(field, data, options.steps)
        if options.what == "voxels":
            if encoder is None:
                raise PenumbraError(f"{run} has no voxel encoder.", "Give a run of stage 1 without --free-codes.")
            codes_of = evaluate.codes_by_voxels(encoder, data)
        figures = evaluate.from_shapes(field, data, codes_of, options.side, options.points)
        method = "category-specific" if len(field.config.categories) == 1 else run.name
        found.setdefault(method, {}).update(figures)
    return [row for method, figures in found.items() for row in evaluate.rows(method, folder.name, figures)]


def _field_of(run: Path, device: torch.device) -> tuple[JointField, VoxelEncoder | None]:
    """The field of a run's first stage, or of weights; and what reads codes off voxels, where there is one."""
    if not (run / "stage1.safetensors").exists():
        network = cast(Reconstructor, load_model(run.name, run.parent)[0])
        return network.field.to(device).eval().requires_grad_(False), None
    modules = {name: module.to(device).eval() for name, module in train.load_stage(run, 1).items()}
    field, encoder = cast(JointField, modules["field"]), modules["codes"]
    return field.requires_grad_(False), encoder if isinstance(encoder, VoxelEncoder) else None
