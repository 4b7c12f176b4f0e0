# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the networks.

``scripts/train.py shading --data DIR… --out DIR --minutes M [--export DIR]``
``scripts/train.py shading-baseline --kind colour|shading|harmonization --data DIR… --out DIR --steps N [--export DIR]``
``scripts/train.py probe --plates DIR… --out DIR --minutes M [--export DIR]``
``scripts/train.py lasor --motions DIR… --out DIR --minutes M [--export DIR]``
``scripts/train.py bodynet --stage 1|2|3|4|5|6 --motions DIR… --out DIR --minutes M [--export DIR]``
``scripts/train.py parts --kind surreal|synth|real|fsitting|up --data DIR… --out DIR --steps N [--export DIR]``
``scripts/train.py shadow --stage 1|2|3|4 --data DIR… --out DIR --minutes M [--predictors DIR] [--export DIR]``
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backend import device as devices
from backend.protocol import PenumbraError
from scripts import body_training, object_training, parts_experiment, run_options, shadow_training

if TYPE_CHECKING:
    from backend.shading.dataset import ShadingData
    from backend.shading.plate_data import PlateData

# What the losses of an ablation weigh nothing: fields of `LossWeights`.
LOSSES_WITHOUT = {
    "features": ("features",),
    "recon_s": ("shading",),
    "recon_g": ("rgb",),
    "critic": ("features", "adversarial"),
}


def shading(options: argparse.Namespace) -> None:
    """Train ShadingNet, or go on training it; write its weights where --export says."""
    from backend.shading import losses, network, train

    if not (options.data or options.plates):
        raise PenumbraError("There is nothing to learn from.", "Give --data or --plates.")
    sizes = network.ShadingConfig() if options.paper else train.BUNDLED
    weights = losses.PAPER if options.paper else losses.LossWeights()
    phases = dict.fromkeys(("alone", "lessons", "together", "halved", "critic_from"), 0.0) if options.paper else {}
    if options.begin:  # f and G have had their lessons
        phases |= {"alone": 0.0, "lessons": 0.0}
    if not options.data:
        phases |= {"alone": 1.0}
    weights = dataclasses.replace(weights, **{n: 0.0 for o in options.without for n in LOSSES_WITHOUT.get(o, ())})
    plan = train.Plan(
        network=dataclasses.replace(sizes, uses_rics="rics" not in options.without),
        losses=weights,
        **run_options.plan(options),
        moments=options.moments,
        rate=options.rate,
        **phases,
    )
    trainer = train.Trainer(plan, options.out, devices.pick(options.device))
    if options.begin:
        trainer.begin_with(options.begin)
    if trainer.run.done < 1:
        bulk, reference = _frames(options)
        plates = _plates(options) if options.plates else None
        train.train(trainer, bulk, reference, plates, options.workers, options.report)
    if options.export:
        folders = [*options.data, *options.reference, *options.plates]
        train.export(trainer, options.export, folders, run_options.command())


def shading_baseline(options: argparse.Namespace) -> None:
    """Train a rival of ShadingNet on the same batches, or go on training it; write its weights where --export says."""
    from backend.shading import paired, paired_train

    plan = paired_train.Plan(
        network=paired.PairedConfig(options.kind),
        **run_options.plan(options),
        moments=options.moments,
        rate=options.rate,
    )
    trainer = paired_train.Trainer(plan, options.out, devices.pick(options.device))
    if trainer.run.done < 1:
        sources = [data for data in _frames(options) if data]
        paired_train.train(trainer, sources, options.workers, options.report)
    if options.export:
        folders = [*options.data, *options.reference]
        paired_train.export(trainer, options.export, folders, run_options.command())


def _frames(options: argparse.Namespace) -> list[ShadingData | None]:
    """The bulk and the reference tier, without test places."""
    from backend.shading.dataset import ShadingData

    memory = options.memory * 1e9
    tiers = {"bulk": options.data, "reference": options.reference}
    found = [ShadingData(f, memory, options.workers, train=True) if f else None for f in tiers.values()]
    for name, data in zip(tiers, found, strict=True):
        if data:
            print(f"{name}: {data.images} images of {len(data.frames)} frames, {data.bytes / 1e9:.2f} GB", end="")
            print(f", {data.left_out} shards left out: no room" if data.left_out else "")
    return found


def _plates(options: argparse.Namespace) -> PlateData:
    """All plates but those of test places."""
    from backend.shading.plate_data import PlateData

    data = PlateData(options.plates, options.seed)
    if data.left_out:
        print(f"{data.left_out} plates of test places left out")
    return data


def probe(options: argparse.Namespace) -> None:
    """Train ProbeNet, or go on training it; write its weights where --export says."""
    from backend.shading import probe_network, probe_train

    plan = probe_train.Plan(
        network=probe_network.ProbeNetConfig(options.width),
        **run_options.plan(options),
        plates=options.batch,
        rate=options.rate,
    )
    trainer = probe_train.Trainer(plan, options.out, devices.pick(options.device))
    data = _plates(options)
    held_out = data.hold_out(probe_train.HELD_OUT)
    if trainer.run.done < 1:
        probe_train.train(trainer, data, held_out, options.report)
    if options.export:
        probe_train.export(trainer, held_out, options.export, options.plates, run_options.command())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_subparsers(required=True)
    p = what.add_parser("shading", help=shading.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.set_defaults(run=shading)
    p.add_argument(
        "--data", type=Path, nargs="+", default=[], help="folders of shards, the bulk tier; without, f learns alone"
    )
    p.add_argument("--reference", type=Path, nargs="+", default=[], help="folders of shards rendered with Cycles")
    p.add_argument("--plates", type=Path, nargs="+", default=[], help="folders of shards of plates, for f's lessons")
    _add_frames(p)
    p.add_argument("--paper", action="store_true", help="the paper's sizes and losses, D from the start")
    p.add_argument(
        "--without",
        nargs="*",
        default=[],
        choices=("features", "recon_s", "recon_g", "rics", "critic"),
        help="ablations of the paper's Table 1: L_FM, L_recon,s, L_recon,g, r_i; and all of D",
    )
    p.add_argument("--begin", type=Path, help="begin with the weights in this folder, as far as the sizes agree")
    p = what.add_parser(
        "shading-baseline", help=shading_baseline.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.set_defaults(run=shading_baseline)
    p.add_argument("--kind", choices=("colour", "shading", "harmonization"), required=True, help="what it predicts")
    p.add_argument("--data", type=Path, nargs="+", required=True, help="folders of shards, the bulk tier")
    p.add_argument("--reference", type=Path, nargs="+", default=[], help="folders of shards rendered with Cycles")
    _add_frames(p)
    p = what.add_parser("probe", help=probe.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.set_defaults(run=probe)
    p.add_argument("--plates", type=Path, nargs="+", required=True, help="folders of shards of plates")
    run_options.add(p)
    p.add_argument("--batch", type=int, default=128, help="plates")
    p.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    p.add_argument("--width", type=int, default=768, help="of the network's first layer")
    body_training.add_commands(what)
    object_training.add_command(what)
    parts_experiment.add_training(what)
    shadow_training.add_arguments(what.add_parser("shadow", help="the shadow networks, in three stages"))
    options = parser.parse_args()
    try:
        options.run(options)
    except PenumbraError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _add_frames(p: argparse.ArgumentParser) -> None:
    """Options of a run that learns from frames."""
    run_options.add(p)
    p.add_argument("--moments", type=int, default=4, help="in a batch, of three views each")
    p.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    p.add_argument("--workers", type=int, default=1, help="threads that prepare batches")
    p.add_argument("--memory", type=float, default=6.0, help="GB for each tier's frames")


if __name__ == "__main__":
    sys.exit(main())
