# SPDX-License-Identifier: GPL-3.0-or-later
"""A tiny, untrained pair of shadow networks in the layout of the bundled weights."""

from __future__ import annotations

from pathlib import Path

import torch

from backend import weights
from backend.shadow.generated import GENERATOR, PREDICTORS
from backend.shadow.generator import GeneratorConfig, ShadowGenerator
from backend.shadow.networks import PredictorConfig, ShadowPredictors


def save_networks(folder: Path) -> None:
    """Write predictors, and a generator of 32 pixels a side, with random weights."""
    torch.manual_seed(0)
    sizes = PredictorConfig(depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), coarse=8, fine=8, quality=8)
    small = GeneratorConfig(size=32, widths=(8, 16), prompt=8, token_width=8, post=8, heads=2)
    predictors, generator = ShadowPredictors(sizes), ShadowGenerator.small(small)
    weights.save_model(folder / PREDICTORS, PREDICTORS, predictors, {"network": sizes.to_json()}, "")
    weights.save_model(folder / GENERATOR, GENERATOR, generator, {"network": small.to_json()}, "")
