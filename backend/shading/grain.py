# SPDX-License-Identifier: GPL-3.0-or-later
"""The grain and the sharpness of a photograph, for what is put into it.

Noise: variance rises with brightness, as photons are counted (Foi et al., "Practical Poissonian-Gaussian noise
modeling", 2008); it is told by Immerkær's difference of Laplacians (1996) in the plate's flattest blocks. Sharpness: an
edge's blur from the ratio of its gradients at two scales (Zhuo and Sim, "Defocus map estimation from a single image",
2011).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import nnls

from .panorama import LUMINANCE

RENDERED = 0.4  # pixels; the standard deviation of the pixel filter of Cycles' passes
_LAPLACIANS = np.outer([1, -2, 1], [1, -2, 1]).astype(np.float32) / 6  # keeps the variance of white noise
_BLOCK = 8
_FLAT, _FLAT_BIAS = 0.2, 0.9  # quantile of blocks that are taken as flat, and what noise alone makes of it
_BINS = 12
_SCALES = (1.0, 2.0)  # pixels, of an edge's gradients
_STRONGEST, _SHARPEST = 0.01, 0.3  # share of pixels that are edges, and quantile of these that is in focus
_STEP = 8.0  # an edge's height over the noise
_DARK, _CLIPPED = 0.002, 0.98  # radiance from and up to which noise is as it was


@dataclass(frozen=True)
class Grain:
    """noise: (3, 2) by channel, variance = noise[0] + noise[1] · radiance, in a plate's linear Rec.709.

    blur: standard deviation in pixels of what makes a render as soft as the plate; 0 where the plate is as sharp.
    """

    noise: np.ndarray
    blur: float

    @classmethod
    def of(cls, plate: np.ndarray) -> Grain:
        """Measured in a plate (H, W, 3), linear Rec.709."""
        noise = np.stack([_noise(np.ascontiguousarray(plate[..., c])) for c in range(3)])
        return cls(noise, _blur(plate, noise))

    def image(self, colour: np.ndarray, seed: int) -> np.ndarray:
        """(H, W, 3) what the grain adds to a render (H, W, 3), linear; the sum is nowhere negative."""
        light = np.maximum(colour, 0)
        deviation = np.sqrt(self.noise[:, 0] + self.noise[:, 1] * light)
        drawn = np.random.default_rng(seed).standard_normal(colour.shape, np.float32)
        return np.maximum(drawn * deviation, -light).astype(np.float32)

    def to_json(self) -> dict:
        return {key: np.asarray(value).tolist() for key, value in dataclasses.asdict(self).items()}


def _noise(channel: np.ndarray) -> np.ndarray:
    """(2,) offset and slope of the variance."""
    rough = np.abs(cv2.filter2D(channel, -1, _LAPLACIANS, borderType=cv2.BORDER_REFLECT))
    height, width = (side // _BLOCK * _BLOCK for side in channel.shape)

    def blocks(image: np.ndarray) -> np.ndarray:
        parts = image[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
        return parts.swapaxes(1, 2).reshape(-1, _BLOCK * _BLOCK)

    light, deviation = blocks(channel), np.sqrt(np.pi / 2) * blocks(rough).mean(1)
    use = (light.max(1) < _CLIPPED) & (light.min(1) > _DARK)
    if use.sum() < 2 * _BINS:
        return np.zeros(2)
    mean, deviation = light[use].mean(1), deviation[use]
    parts = np.array_split(np.argsort(mean), min(_BINS, int(use.sum()) // 20))
    at = np.array([mean[part].mean() for part in parts])
    variance = np.array([(np.quantile(deviation[part], _FLAT) / _FLAT_BIAS) ** 2 for part in parts])
    scale = 1 / np.maximum(variance, 1e-9 + 0.05 * variance.max())  # relative errors count alike
    return nnls(np.stack([np.ones_like(at), at], 1) * scale[:, None], variance * scale)[0]


def _blur(plate: np.ndarray, noise: np.ndarray) -> float:
    """Pixels by which the plate's edges in focus are softer than a render's."""
    grey = (np.minimum(plate, 1) @ LUMINANCE).astype(np.float32)
    fine, coarse = (_gradient(grey, scale) for scale in _SCALES)
    deviation = float(np.sqrt(LUMINANCE**2 @ (noise[:, 0] + noise[:, 1] * grey.mean())))
    least = _STEP * deviation / np.sqrt(2 * np.pi) / _SCALES[0]
    size = np.hypot(*fine)
    edge = (size > max(least, 1e-4)) & (size >= np.quantile(size, 1 - _STRONGEST)) & _is_ridge(size, *fine)
    if edge.sum() < 30:
        return 0.0
    ratio = (size / np.maximum(np.hypot(*coarse), 1e-9))[edge] ** 2
    a, b = (scale**2 for scale in _SCALES)
    squared = (b - ratio * a) / np.maximum(ratio - 1, 1e-3)
    return float(np.sqrt(max(np.quantile(squared, _SHARPEST) - RENDERED**2, 0)))


def _gradient(grey: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives along x and y by a Gaussian's."""
    reach = np.arange(-int(4 * scale), int(4 * scale) + 1)
    bell = np.exp(-0.5 * (reach / scale) ** 2)
    bell /= bell.sum()
    slope = -reach / scale**2 * bell
    x, y = ((slope, bell), (bell, slope))
    return tuple(cv2.sepFilter2D(grey, -1, -h if h is slope else h, -v if v is slope else v) for h, v in (x, y))  # type: ignore


def _is_ridge(size: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(H, W) bool where a gradient is steepest along its own direction, which is along an axis or a diagonal."""
    angle = np.round(np.arctan2(y, x) / (np.pi / 4)).astype(int) % 4
    best = np.zeros(size.shape, bool)
    for k, (down, right) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead, behind = (np.roll(size, (s * down, s * right), (0, 1)) for s in (1, -1))
        best |= (angle == k) & (size >= ahead) & (size >= behind)
    best[[0, -1]] = best[:, [0, -1]] = False
    return best
