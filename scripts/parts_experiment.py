# SPDX-License-Identifier: GPL-3.0-or-later
"""Segmentation of body parts, taught by harmonized pictures (RiCS paper, section 4.2): training and evaluation.

``train.py parts --kind surreal|synth|real|fsitting|up --data DIR --steps N --out DIR [--begin DIR] [--export DIR]``
``evaluate.py parts --kind real|fsitting|up --data DIR --networks DIR…``
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backend import device as devices
from backend import weights
from backend.protocol import PenumbraError
from scripts import run_options

KINDS = ("surreal", "synth", "real", "fsitting", "up")
SPLIT = {
    "real": "Cycles renders of unseen people in unseen lights, in place of photographs",
    "fsitting": "Freiburg Sitting People",
    "up": "Unite the People",
}


def add_training(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("parts", help=train.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.set_defaults(run=train)
    _add_pictures(p, KINDS)
    run_options.add(p)
    p.add_argument("--begin", type=Path, help="fine-tune the weights in this folder")
    p.add_argument("--parts", type=int, choices=(14, 6), default=14, help="14 as FSitting, 6 as UP")
    p.add_argument("--batch", type=int, default=4, help="pictures")
    p.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    p.add_argument("--features", type=int, default=64, help="channels of the hourglasses; the paper's are 256")


def train(options: argparse.Namespace) -> None:
    """Train the network that tells the parts of a body on one kind of pictures; write its weights for --export."""
    from backend.body.segmentation import data, network, train

    pictures = data.load(options.data, options.kind, options.parts, test=False, size=options.size)
    sizes = network.PartsConfig(options.parts, pictures.labels.shape[1], options.features)
    plan = train.Plan(
        kind=options.kind, network=sizes, **run_options.plan(options), batch=options.batch, rate=options.rate
    )
    trainer = train.Trainer(plan, options.out, devices.pick(options.device))
    if options.begin:
        trainer.begin_with(options.begin)
    if trainer.run.done < 1:
        train.train(trainer, pictures, options.report)
    if options.export:
        train.export(trainer, options.export, options.data, run_options.command())


def add_evaluation(p: argparse.ArgumentParser) -> None:
    _add_pictures(p, tuple(SPLIT))
    p.add_argument(
        "--networks", type=Path, nargs="+", required=True, help="folders of weights; of runs alike, the median"
    )
    p.add_argument("--device", default="auto")


def measure(options: argparse.Namespace) -> tuple[list[dict], str]:
    """The rows, and the command's arguments that give them."""
    from backend.body.segmentation import data, evaluate
    from backend.body.segmentation.network import PartsNet

    device, rows = devices.pick(options.device), []
    for folder in options.networks:
        network, config = weights.load_model(folder.name, folder.parent)
        row = evaluate.ROWS.get(_taught(config["trained"], options.kind))
        if not isinstance(network, PartsNet) or row is None:
            raise PenumbraError(f"{folder.name} has no row in the table.", "Give networks of train.py parts.")
        parts = network.config.parts
        sets = [data.load(options.data, options.kind, parts, test, options.size) for test in (False, True)]
        confused = evaluate.confusion(network.to(device), sets[1], sets[0].whitening)
        split = f"{SPLIT[options.kind]}, {parts} parts"
        rows.append({"method": row, "split": split, "images": len(sets[1].pictures), **evaluate.measures(confused)})
    names = (" ".join(folder.name for folder in folders) for folders in (options.data, options.networks))
    return evaluate.medians(rows), "parts --kind {} --data {} --networks {}".format(options.kind, *names)


def _taught(facts: dict | None, real: str) -> tuple[str, ...]:
    """What has taught a network, the last first; the photographs that it is measured on are "real"."""
    kinds = []
    while facts:
        kinds.append("real" if facts.get("kind") == real else str(facts.get("kind")))
        facts = facts.get("before")
    return tuple(kinds)


def _add_pictures(p: argparse.ArgumentParser, kinds: tuple[str, ...]) -> None:
    p.add_argument("--data", type=Path, nargs="+", required=True, help="folders of shards, or the user's copy")
    p.add_argument("--kind", choices=kinds, required=True, help="real: by Cycles, in place of photographs")
    p.add_argument("--size", type=int, default=256, help="pixels a side of FSitting's and UP's; shards have their own")
