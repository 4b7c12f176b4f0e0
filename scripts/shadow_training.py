# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the shadow networks: ``scripts/train.py shadow --stage 1|2|3|4 --data DIR… --out DIR --minutes M``.

Stage 1 trains light and mask, stage 2 their confidences, stage 3 the generator, stage 4 the search for the light, which
takes over from stage 1's answer. All but the first take the predictors that another one exported. A folder of --data is
one of our shards or one in DESOBAv2's layout.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from torch import nn
from torch.utils.data import ConcatDataset

from backend import device as devices
from backend import weights
from backend.protocol import PenumbraError
from backend.shadow import networks
from backend.shadow.networks import ShadowPredictors
from backend.shadow.tuples import DESOBA, Desoba, Shards
from scripts import run_options

RATES = {1: 4e-4, 2: 4e-4, 3: 2e-4, 4: 2e-3}
PAPER_RATE = 1e-5  # as SGDiffusion has it; the paper's is lost


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=shadow)
    parser.add_argument("--stage", type=int, choices=(1, 2, 3, 4), required=True)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of shards, or DESOBAv2's")
    run_options.add(parser)
    parser.add_argument("--predictors", type=Path, help="weights of the stage before; what stage 1 begins with, if any")
    parser.add_argument("--stable-diffusion", type=Path, help="stage 3 on this folder instead of the small model")
    parser.add_argument("--size", type=int, help="pixels a side (128, or 512 on Stable Diffusion)")
    parser.add_argument("--batch", type=int, default=8, help="examples; of stage 1's, masks learn from four")
    parser.add_argument("--rate", type=float, help="learning rate")
    parser.add_argument("--workers", type=int, default=1, help="threads that prepare batches")
    parser.add_argument(
        "--without",
        nargs="*",
        default=[],
        choices=("points", "mask", "light", "confidences"),
        help="what stage 3's generator is not told, for the ablations",
    )
    parser.add_argument("--paper", action="store_true", help="the paper's sizes of the predictors")


def shadow(options: argparse.Namespace) -> None:
    """Train one stage of the shadow networks, or go on training it; write its weights where --export says."""
    from backend.shadow import train  # these import diffusers, which takes seconds
    from backend.shadow.generator import GeneratorConfig, ShadowGenerator

    generator = None
    size = options.size or networks.SEEN
    rate = options.rate or RATES[options.stage]
    if options.stage == 3 and options.stable_diffusion:
        size, rate = options.size or 512, options.rate or PAPER_RATE
        config = GeneratorConfig(size=size, token_width=128, post=32, without=tuple(options.without))
        generator = ShadowGenerator.on_stable_diffusion(options.stable_diffusion, config)
    elif options.stage == 3:
        generator = ShadowGenerator.small(GeneratorConfig(size=size, without=tuple(options.without)))
    plan = train.Plan(
        stage=options.stage, size=size, batch=options.batch, rate=rate, **run_options.plan(options)
    )  # fmt: skip
    trainer = train.Trainer(plan, options.out, devices.pick(options.device), _predictors(options), generator)
    if trainer.run.done < 1:
        data = ConcatDataset([_data(folder, size) for folder in options.data])
        print(f"{len(data)} tuples; {_learning(trainer.network) / 1e6:.2f} million weights to train")
        train.train(trainer, data, options.workers, options.report)
    if options.export:
        train.export(trainer, options.export, options.data, run_options.command())


def _learning(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _predictors(options: argparse.Namespace) -> ShadowPredictors:
    if options.stage == 1 and not options.predictors:
        return ShadowPredictors(networks.PredictorConfig() if options.paper else networks.BUNDLED)
    if not options.predictors:
        raise PenumbraError(
            f"Stage {options.stage} needs predictors.", "Give --predictors what the stage before wrote."
        )
    loaded = weights.load_model(options.predictors.name, options.predictors.parent)[0]
    predictors = cast(ShadowPredictors, loaded)
    return predictors.searching() if options.stage == 4 else predictors


def _data(folder: Path, size: int) -> Shards | Desoba:
    """A folder of shards, or DESOBAv2's training split."""
    is_desoba = any((f / DESOBA["composite"]).is_dir() for f in (folder, folder / "train"))
    return Desoba(folder, "train") if is_desoba else Shards([folder], size=size)
