# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the joint occupancy field and its image encoder.

``train.py object --stage 1|2|3 --data DIR… --out DIR --minutes M``: stages 1 and 2 on folders of the train split,
stage 3 on folders of the real split, all with the same --out.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from backend import device as devices
from backend.objects.shapes import CATEGORIES
from backend.protocol import PenumbraError
from scripts import run_options

# Batch and learning rate by stage: ours, and the public code's.
OURS = {1: (16, 2e-3), 2: (32, 1e-3), 3: (8, 1e-5)}
PAPER = {1: (32, 5e-4), 2: (128, 1e-4), 3: (32, 1e-5)}


def add_command(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("object", help=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.set_defaults(run=train_objects)
    p.add_argument("--stage", type=int, choices=(1, 2, 3), required=True)
    p.add_argument("--data", type=Path, nargs="+", required=True, help="folders of shards")
    run_options.add(p)
    p.add_argument("--categories", nargs="+", choices=CATEGORIES, default=[], help="learn these alone")
    p.add_argument("--batch", type=int, help="shapes or pictures a step")
    p.add_argument("--rate", type=float, help="Adam's; falls along a cosine")
    p.add_argument("--points", type=int, default=1024, help="of each shape in a step of stage 1")
    p.add_argument("--rendered", type=int, default=32, help="pixels along a side of rendered pictures")
    p.add_argument("--paper", action="store_true", help="the public code's sizes, batches and rates")
    p.add_argument("--free-codes", action="store_true", help="stage 1's codes are learned freely, by no voxel encoder")
    p.add_argument(
        "--begin", type=Path, help="a run, or for stage 2 weights, whose field or image encoder to begin with"
    )
    p.add_argument("--no-category", action="store_true", help="the ablation without f_C (Table 2)")
    p.add_argument(
        "--without",
        nargs="*",
        default=[],
        choices=("image", "silhouette", "features", "albedo", "white", "light", "field", "balance", "parts"),
        help="ablations of the losses: of stages 2 and 3 (Table 3; albedo and white are its L_reg), and ours",
    )


def train_objects(options: argparse.Namespace) -> None:
    """Train one stage, or go on training it; write the weights where --export says."""
    from backend.objects import train
    from backend.objects.dataset import ObjectData
    from backend.objects.losses import LossWeights
    from backend.objects.network import ObjectConfig
    from backend.objects.stages import Plan

    batch, rate = (PAPER if options.paper else OURS)[options.stage]
    sizes = ObjectConfig() if options.paper else train.BUNDLED
    sizes = dataclasses.replace(sizes, categories=tuple(options.categories or CATEGORIES))
    if options.no_category:
        sizes = dataclasses.replace(sizes, category_code=0)
    weights = {"balance": 0.0, "parts": 0.0, "squares": True} if options.paper else {}
    plan = Plan(
        stage=options.stage,
        network=sizes,
        losses=LossWeights(**{**weights, **dict.fromkeys(options.without, 0.0)}),
        **run_options.plan(options),
        batch=options.batch or batch,
        rate=options.rate or rate,
        points=32768 if options.paper else options.points,
        free_codes=options.free_codes,
        rendered=options.rendered,
        field_from=1.0 if options.paper else Plan.field_from,
    )
    data = ObjectData(options.data, tuple(options.categories))
    if options.stage < 3 and not data.has_shapes:
        raise PenumbraError("The real split has no shapes to learn from.", "Give stages 1 and 2 the train split.")
    print(f"{len(data)} shapes, {len(data.pictures)} pictures")
    trainer = train.Trainer(plan, data, options.out, devices.pick(options.device), options.begin)
    train.train(trainer, options.report)
    if options.export:
        train.export(options.out, options.export, options.data, run_options.command())
