# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours of generated objects: plausible linear albedos of woods, cloths, metals and lacquers."""

from __future__ import annotations

import colorsys

import numpy as np

from ..images import srgb_decode

# (hue, saturation, value) ranges of display colours
_RANGES = {
    "wood": ((0.04, 0.11), (0.3, 0.75), (0.25, 0.85)),
    "cloth": ((0.0, 1.0), (0.1, 0.75), (0.25, 0.9)),
    "leather": ((0.0, 0.1), (0.15, 0.7), (0.15, 0.6)),
    "metal": ((0.55, 0.65), (0.0, 0.08), (0.35, 0.85)),
    "dark": ((0.0, 1.0), (0.0, 0.25), (0.08, 0.25)),
    "lacquer": ((0.0, 1.0), (0.35, 0.95), (0.4, 0.95)),
    "pale": ((0.05, 0.2), (0.0, 0.15), (0.75, 0.97)),
    "glass": ((0.5, 0.65), (0.05, 0.3), (0.15, 0.45)),
}


def paint(random: np.random.Generator, *kinds: str) -> np.ndarray:
    """(3,) linear albedo of one of the kinds."""
    hue, saturation, value = (random.uniform(*limits) for limits in _RANGES[str(random.choice(kinds))])
    linear = srgb_decode(np.array(colorsys.hsv_to_rgb(hue, saturation, value)))
    return np.clip(linear, 0.012, 0.9).astype(np.float64)  # nothing is blacker than that, nor whiter


def near(colour: np.ndarray, random: np.random.Generator, spread: float = 0.25) -> np.ndarray:
    """A lighter or darker tone of a colour."""
    return np.clip(colour * np.exp(random.normal(0, spread)), 0.012, 0.9)
