# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains what brings bodies in from photographs.

``train.py lasor --stage points --motions DIR… --out DIR --minutes M`` (the lifter), then, with the same --out,
``train.py lasor --motions DIR… --out DIR --minutes M [--export DIR]``
``train.py bodynet --stage 1|2|3|4|5|6 --motions DIR… --out DIR --minutes M [--export DIR]``, all with the same --out.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from backend import device as devices
from backend.protocol import PenumbraError
from scripts import run_options

# Batch and learning rate of BodyNet: ours, and the paper's.
OURS, PAPER = (8, 1e-3), (6, 1e-3)


def add_commands(commands: argparse._SubParsersAction) -> None:
    _add_bodynet(commands)
    p = commands.add_parser("lasor", help=lasor.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.set_defaults(run=lasor)
    p.add_argument("--motions", type=Path, nargs="+", default=[], help="folders of .bvh files; a quarter is held out")
    run_options.add(p)
    p.add_argument(
        "--stage",
        choices=("points", "all", "clear", "occluded"),
        default="all",
        help="the lifter first of all; then clear people first, or only",
    )
    p.add_argument("--batch", type=int, default=32, help="people; the paper's is 140")
    p.add_argument("--rate", type=float, default=1e-3, help="Adam's, falls along a cosine; the paper's is 1e-4")
    p.add_argument("--poses", type=int, default=40000, help="how many the bank holds")
    p.add_argument("--network", choices=("bundled", "resnet18", "resnet50"), default="bundled")
    p.add_argument(
        "--paper", action="store_true", help="the paper's augmentation and squares as its losses, without what is ours"
    )
    p.add_argument(
        "--without",
        nargs="*",
        default=[],
        choices=("view", "people", "silhouette"),
        help="ablations: view augmentation, people before people (Table V), the silhouette loss (Table III)",
    )


def lasor(options: argparse.Namespace) -> None:
    """Train LASOR, or go on training it; write its weights where --export says."""
    from backend.body.lasor import lifting, network, synthesis, train
    from backend.body.poses import pose_bank

    drawn = lifting.GRADED if options.stage == "points" else synthesis.LEARNT
    if options.paper:
        drawn = synthesis.PAPER
    if "view" in options.without:
        drawn = dataclasses.replace(drawn, view=(0.0, 0.0, 0.0), tumbled=0.0)
    if "people" in options.without:
        drawn = dataclasses.replace(drawn, occluded=0.0)
    plan = train.Plan(
        network=getattr(network, options.network.upper()),
        synthesis=drawn,
        losses={name: w for name, w in train.WEIGHTS.items() if name not in options.without},
        **run_options.plan(options),
        clear={"clear": 1.0, "occluded": 0.0}.get(options.stage, train.Plan.clear),
        sizes=((256, 0.0),) if options.paper else train.Plan.sizes,
        batch=options.batch,
        rate=options.rate,
        squares=options.paper,
    )
    poses, device = pose_bank(options.motions, options.poses, options.seed), devices.pick(options.device)
    unseen = pose_bank(options.motions, 1000, options.seed, test=True)
    if options.stage == "points":
        few = lifting.Plan(
            network=plan.network,
            synthesis=drawn,
            **run_options.plan(options),
            motions=tuple(folder.name for folder in options.motions),
            command=run_options.command(),
        )
        learner = lifting.Trainer(few, poses, options.out, device)
        learner.train(unseen, options.report)
        learner.save()
        if options.export:
            lifting.export(options.out, options.export)
        return
    trainer = train.Trainer(plan, poses, options.out, device)
    if trainer.run.done < 1:
        train.train(trainer, unseen, options.report)
    if options.export:
        train.export(trainer, options.export, [folder.name for folder in options.motions], run_options.command())


def _add_bodynet(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("bodynet", help=bodynet.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.set_defaults(run=bodynet)
    p.add_argument(
        "--stage",
        type=int,
        choices=range(1, 7),
        required=True,
        help="2D pose and parts, 3D pose, voxels, voxels with their views, everything together, voxels of parts",
    )
    p.add_argument("--motions", type=Path, nargs="+", default=[], help="folders of .bvh files; a quarter is held out")
    run_options.add(p)
    p.add_argument("--pictures", type=Path, nargs="+", default=[], help="folders of pictures: RGB in place of proxies")
    p.add_argument("--unseen", type=Path, nargs="+", default=[], help="and of the test split, to report on")
    p.add_argument("--batch", type=int, help="people")
    p.add_argument("--rate", type=float, help="falls along a cosine")
    p.add_argument("--poses", type=int, default=40000, help="how many the bank holds")
    p.add_argument("--paper", action="store_true", help="the paper's sizes, batch and optimizer")


def bodynet(options: argparse.Namespace) -> None:
    """Train one stage of BodyNet, or go on training it; write the weights where --export says."""
    from backend.body.bodynet import network, train
    from backend.body.poses import pose_bank

    if bool(options.pictures) != bool(options.unseen):
        raise PenumbraError(
            "RGB needs pictures to learn from and others to report on.", "Give --pictures and --unseen."
        )
    batch, rate = PAPER if options.paper else OURS
    if options.pictures:
        sizes = network.PAPER if options.paper else network.BUNDLED_RGB
    else:
        sizes = network.PAPER_PROXY if options.paper else network.BUNDLED
    plan = train.Plan(
        stage=options.stage,
        network=sizes,
        **run_options.plan(options),
        batch=options.batch or batch,
        rate=options.rate or rate,
        measured=100 if options.paper else train.Plan.measured,
        rmsprop=options.paper,
    )
    poses = pose_bank(options.motions, options.poses, options.seed)
    trainer = train.Trainer(plan, poses, options.out, devices.pick(options.device), options.pictures)
    if trainer.run.done < 1:
        other = pose_bank(options.motions, 1000, options.seed, test=True)
        unseen = train.people_of(sizes, other, options.unseen, "test", devices.pick("cpu"))
        train.train(trainer, unseen, options.report)
    if options.export:
        names = [folder.name for folder in options.motions]
        train.export(options.out, options.export, names, run_options.command())
