# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the networks.

``scripts/train.py shading --data DIR… --out DIR --minutes M [--export DIR]``
``scripts/train.py probe --plates DIR… --out DIR --minutes M [--export DIR]``
``scripts/train.py lasor --motions DIR… --out DIR --minutes M [--export DIR]``
``scripts/train.py bodynet --stage 1|2|3|4|5|6 --motions DIR… --out DIR --minutes M [--export DIR]``
``scripts/train.py shadow --stage 1|2|3 --data DIR… --out DIR --minutes M [--predictors DIR] [--export DIR]``
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backend import device as devices
from backend.protocol import PenumbraError
from scripts import body_training, object_training, run_options, shadow_training


def shading(options: argparse.Namespace) -> None:
    """Train ShadingNet, or go on training it; write its weights where --export says."""
    from backend.shading import losses, network, train
    from backend.shading.dataset import ShadingData
    from backend.shading.plate_data import PlateData

    if not (options.data or options.plates):
        raise PenumbraError("There is nothing to learn from.", "Give --data or --plates.")
    sizes = network.ShadingConfig() if options.paper else train.BUNDLED
    weights = losses.PAPER if options.paper else losses.LossWeights()
    phases = dict.fromkeys(("alone", "lessons", "together", "halved", "critic_from"), 0.0) if options.paper else {}
    if options.begin:  # f and G have had their lessons
        phases |= {"alone": 0.0, "lessons": 0.0}
    if not options.data:
        phases |= {"alone": 1.0}
    if options.no_critic:
        weights = dataclasses.replace(weights, features=0.0, adversarial=0.0)
    plan = train.Plan(
        network=dataclasses.replace(sizes, uses_rics=not options.no_rics),
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
        memory, workers = options.memory * 1e9, options.workers
        bulk = ShadingData(options.data, memory, workers) if options.data else None
        reference = ShadingData(options.reference, memory, workers) if options.reference else None
        for name, data in (("bulk", bulk), ("reference", reference)):
            if data:
                print(f"{name}: {data.images} images of {len(data.frames)} frames, {data.bytes / 1e9:.2f} GB", end="")
                print(f", {data.left_out} shards left out: no room" if data.left_out else "")
        plates = PlateData(options.plates, options.seed) if options.plates else None
        train.train(trainer, bulk, reference, plates, workers, options.report)
    if options.export:
        folders = [*options.data, *options.reference, *options.plates]
        train.export(trainer, options.export, folders, run_options.command())


def probe(options: argparse.Namespace) -> None:
    """Train ProbeNet, or go on training it; write its weights where --export says."""
    from backend.shading import probe_network, probe_train
    from backend.shading.plate_data import PlateData

    plan = probe_train.Plan(
        network=probe_network.ProbeNetConfig(options.width),
        **run_options.plan(options),
        plates=options.batch,
        rate=options.rate,
    )
    trainer = probe_train.Trainer(plan, options.out, devices.pick(options.device))
    data = PlateData(options.plates, options.seed)
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
    run_options.add(p)
    p.add_argument("--moments", type=int, default=4, help="in a batch, of three views each")
    p.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    p.add_argument("--workers", type=int, default=1, help="threads that prepare batches")
    p.add_argument("--memory", type=float, default=6.0, help="GB for each tier's frames")
    p.add_argument("--paper", action="store_true", help="the paper's sizes and losses, D from the start")
    p.add_argument("--no-rics", action="store_true", help="the ablation without the occlusion map")
    p.add_argument("--begin", type=Path, help="begin with the weights in this folder, as far as the sizes agree")
    p.add_argument("--no-critic", action="store_true", help="without D")
    p = what.add_parser("probe", help=probe.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.set_defaults(run=probe)
    p.add_argument("--plates", type=Path, nargs="+", required=True, help="folders of shards of plates")
    run_options.add(p, half=False)
    p.add_argument("--batch", type=int, default=128, help="plates")
    p.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    p.add_argument("--width", type=int, default=384, help="of the network's first layer")
    body_training.add_commands(what)
    object_training.add_command(what)
    shadow_training.add_arguments(what.add_parser("shadow", help="the shadow networks, in three stages"))
    options = parser.parse_args()
    try:
        options.run(options)
    except PenumbraError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
