# SPDX-License-Identifier: GPL-3.0-or-later
"""From a generated shadow of a hundred pixels to the plate's own size, and the choice among several.

The physical prior is traced at the plate's size and has the outline; the generator knows how dark a shadow is here. A
guided filter (He et al., 2013) carries the one over to the other: in each neighbourhood the generated image is taken
for a linear function of the prior, as far as the prior is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

RADIUS = 4  # pixels of the generated image
FLAT = 1e-2  # variance of the prior below which it guides nothing
FAINTEST = 0.01  # share of the light; a generated shadow fainter than this is none, from three times that it is itself


def enlarged(ratio: np.ndarray, mask: np.ndarray, prior: np.ndarray, trust: float) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) ratio in (0, 1] and (H, W) mask of a generated shadow, (h, w, 3) and (h, w), with the outline of the
    prior (H, W) in [0, 1].

    trust: in [0, 1], how far to follow the prior; 0 enlarges plainly. Where there is no shadow the ratio is exactly 1
    and the mask 0, and nowhere else.
    """
    log = np.log(np.clip(ratio, 1e-3, 1)).astype(np.float32)
    images = guided(np.concatenate([log, mask.astype(np.float32)[..., None]], -1), prior, trust)
    result = np.exp(np.minimum(images[..., :3], 0))
    depth = (1 - result).max(-1, keepdims=True)
    ramp = np.clip((depth - FAINTEST) / (2 * FAINTEST), 0, 1)
    result = 1 - (1 - result) * ramp * ramp * (3 - 2 * ramp)
    covered = np.clip(images[..., 3], 0, 1)
    none = (covered < 0.5 / 255) | (result == 1).all(-1)  # of a mask of eight bits
    result[none], covered[none] = 1, 0
    return result.astype(np.float32), covered


def guided(image: np.ndarray, prior: np.ndarray, trust: float) -> np.ndarray:
    """(H, W, C) of an image (h, w, C), enlarged by the prior (H, W) as far as it is trusted."""
    height, width = prior.shape
    small = cv2.resize(prior, image.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    plain = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    box = (2 * RADIUS + 1,) * 2
    mean = cv2.blur(small, box)
    variance = cv2.blur(small * small, box) - mean * mean
    guided = np.empty_like(plain)
    for channel in range(image.shape[-1]):
        level = cv2.blur(image[..., channel], box)
        slope = (cv2.blur(small * image[..., channel], box) - mean * level) / (variance + FLAT)
        coefficients = cv2.blur(np.stack([slope, level - slope * mean], -1), box)
        slope, offset = np.moveaxis(cv2.resize(coefficients, (width, height), interpolation=cv2.INTER_LINEAR), -1, 0)
        guided[..., channel] = slope * prior + offset
    return trust * guided + (1 - trust) * plain


def agreement(hidden: np.ndarray, mask: np.ndarray) -> float:
    """How far a traced shadow (H, W) is to be trusted: its soft Dice with the predicted one (h, w)."""
    small = cv2.resize(hidden, mask.shape[::-1], interpolation=cv2.INTER_AREA)
    return _dice(small, mask)


def best(masks: Sequence[np.ndarray], expected: np.ndarray) -> int:
    """The sample whose mask (h, w) overlaps most (soft Dice) with what the physics expects (h, w), all in [0, 1]."""
    return int(np.argmax([_dice(mask, expected) for mask in masks]))


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a * b).sum() / max(float((a + b).sum()), 1e-6))
