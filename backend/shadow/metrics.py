# SPDX-License-Identifier: GPL-3.0-or-later
"""The measures of shadow generation as DESOBAv2's public evaluation computes them, with its quirks.

Images are display-encoded in 0…255, masks 0…255, everything 256 × 256 (`SIZE`). The quirks: SSIM has the constants of
images in 0…1, and zeros beyond the frame; a mask counts above 191, not 127; LBER is the miss rate alone. The public
code computes SSIM in float32, whose rounding shows where an image is perfectly flat; here it is float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

SIZE = 256
METRICS = ("GRMSE", "LRMSE", "GSSIM", "LSSIM", "GBER", "LBER")
_C1, _C2 = 0.01**2, 0.03**2
_WINDOW = cv2.getGaussianKernel(11, 1.5)


def measure(
    truth: np.ndarray, true_mask: np.ndarray, image: np.ndarray, mask: np.ndarray, size: int = SIZE
) -> dict[str, float]:
    """The six measures of one result; NaN where one is not defined, as for an empty true mask.

    truth, image: (H, W, 3) in 0…255. true_mask, mask: (H, W) in 0…255 of the object's shadow. All are brought to
    `size` pixels a side first, as the public data are.
    """
    truth, image = (_sized(a, size).astype(np.float64) for a in (truth, image))
    shadow, found = (_sized(a, size) > 191 for a in (true_mask, mask))
    similar = ssim_map(truth, image)
    squares = (truth - image) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = np.float64((shadow & found).sum()) / shadow.sum()
        specificity = np.float64((~shadow & ~found).sum()) / (~shadow).sum()
        return {
            "GRMSE": float(np.sqrt(squares.mean())),
            "LRMSE": float(np.sqrt((squares * shadow[..., None]).sum() / (3 * np.float64(shadow.sum())))),
            "GSSIM": float(similar.mean()),
            "LSSIM": float((similar * shadow[..., None]).sum() / (3 * np.float64(shadow.sum()))),
            "GBER": float(1 - 0.5 * (sensitivity + specificity)),
            "LBER": float(1 - sensitivity),
        }


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(H, W, 3) structural similarity of two images (H, W, 3): Gaussian window, 11 × 11, σ 1.5, zeros around.

    Of images in 0…1 it is that of Wang et al. 2004; DESOBAv2's evaluation takes it of images in 0…255.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(values, -1, _WINDOW, _WINDOW, borderType=cv2.BORDER_CONSTANT)

    mean_a, mean_b = mean(a), mean(b)
    spread = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
    common = mean(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return likeness * (2 * common + _C2) / (spread + _C2)


def best_by_lssim(samples: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The sample with the highest LSSIM, as the paper reports one of five; the first where none is defined."""
    return max(samples, key=lambda s: -np.inf if np.isnan(s["LSSIM"]) else s["LSSIM"])


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each measure over images, or over all samples of all images as the public code has it.

    NaN are left out, each from its own measure only; a measure without any number is NaN.
    """
    columns = {metric: np.array([row[metric] for row in rows], float) for metric in METRICS}
    return {name: float(np.mean(c[~np.isnan(c)])) if (~np.isnan(c)).any() else np.nan for name, c in columns.items()}


def _sized(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[:2] == (size, size):
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
