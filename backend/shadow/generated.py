# SPDX-License-Identifier: GPL-3.0-or-later
"""The trained networks on one picture: what the predictors tell of it, and the shadow that the generator draws."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
import torch

from ..protocol import SHADOW_NETWORKS
from ..weights import CONFIG, WEIGHTS, fitting, load_model, load_state
from .full_resolution import best
from .pointmap import PointMap

if TYPE_CHECKING:  # they import diffusers, which takes seconds
    from .generator import Conditions, ShadowGenerator
    from .networks import ShadowPredictors

PREDICTORS, GENERATOR = SHADOW_NETWORKS


def available(name: str, root: Path = WEIGHTS) -> bool:
    """Whether a network's weights are there."""
    return (root / name / CONFIG).is_file()


def load_predictors(folder: Path) -> ShadowPredictors:
    """The predictors whose weights are in a folder. Raises PenumbraError where they are missing or damaged."""
    return cast("ShadowPredictors", load_model(folder.name, folder.parent)[0])


def load_generator(folder: Path, stable_diffusion: Path | None = None) -> ShadowGenerator:
    """The generator whose weights are in a folder, on Stable Diffusion's own folder where it was trained on it.

    Raises PenumbraError where files are missing or damaged.
    """
    if stable_diffusion is None:
        return cast("ShadowGenerator", load_model(folder.name, folder.parent)[0])
    from .generator import GeneratorConfig, ShadowGenerator

    state, config = load_state(folder.name, folder.parent)
    with fitting(folder.name):
        sizes = GeneratorConfig.from_json(config["network"])
        return ShadowGenerator.on_stable_diffusion(stable_diffusion, sizes, state).eval()


def observe(
    predictors: ShadowPredictors,
    photograph: np.ndarray,
    object_: np.ndarray,
    points: PointMap,
    size: int,
    light: np.ndarray | None = None,
) -> Conditions:
    """What the predictors tell of one picture at `size` pixels a side, the whole frame squeezed into a square.

    photograph: (H, W, 3) display-encoded in [0, 1]; object_: (H, W) coverage; points: of any size. light: (3,) unit,
    camera space, where it is known, and then trusted.
    """
    from .generator import condition

    side, small = (size, size), points.resized(size, size)
    images = (
        cv2.resize(photograph.astype(np.float32), side, interpolation=cv2.INTER_AREA).transpose(2, 0, 1),
        (cv2.resize(object_.astype(np.float32), side, interpolation=cv2.INTER_AREA) > 0.5)[None],
        small.points.transpose(2, 0, 1),
        small.valid[None],
    )
    pictures = tuple(torch.tensor(np.ascontiguousarray(i), dtype=torch.float32)[None] for i in images)
    return condition(predictors, pictures, None if light is None else torch.tensor(light, dtype=torch.float32)[None])


@torch.no_grad()
def draw(generator: ShadowGenerator, c: Conditions, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(s, s, 3) linear ratio and (s, s) mask in [0, 1] of the sample, of several, that best agrees with the predicted
    mask; the first where that mask is not to be trusted at all."""
    several = c.repeated(samples)
    ratios, masks = generator.finish(generator.sample(several, seed), several)
    ratios, masks = ratios.cpu(), masks.cpu()
    chosen = best(list(masks[:, 0].numpy()), (c.mask * c.mask_quality)[0, 0].cpu().numpy())
    return ratios[chosen].permute(1, 2, 0).numpy(), masks[chosen, 0].numpy()
