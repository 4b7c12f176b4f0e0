# SPDX-License-Identifier: GPL-3.0-or-later
"""The one rule by which a character is cut out for ShadingNet.

The network's instance normalization depends on how much of its input is empty, so the data sets and the pipeline cut
the character out by the same rule: a square around the bounding box of its coverage, 10 % of the longer side wider on
each side, centred, in whole pixels. The square is not clamped to the frame: a character that the frame cuts keeps its
scale and its place in the square, and what lies outside the frame is empty (0).
"""

from __future__ import annotations

import cv2
import numpy as np

CROP = 128  # pixels of ShadingNet's input and output
MARGIN = 0.1  # of the bounding box's longer side, on each side
COVERED = 0.5  # coverage from which a pixel counts for the bounding box

Box = tuple[int, int, int, int]


def crop_box(alpha: np.ndarray) -> Box | None:
    """The square (left, top, right, bottom), pixels, half open, around the coverage `alpha` (H, W) in [0, 1].

    It may reach beyond the frame. None where nothing is covered.
    """
    rows, columns = (np.flatnonzero((alpha >= COVERED).any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return square(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def square(left: int, top: int, right: int, bottom: int) -> Box:
    """The square around a bounding box of pixels, half open, by the rule."""
    side = int(np.ceil(max(bottom - top, right - left) * (1 + 2 * MARGIN)))
    left, top = (left + right - side) // 2, (top + bottom - side) // 2
    return int(left), int(top), int(left + side), int(top + side)


def plate_box(box: Box, width: int, height: int) -> np.ndarray:
    """The box in fractions of a width × height plate: (4,) float32 left, top, right, bottom."""
    return np.array(box, np.float32) / np.array([width, height, width, height], np.float32)


def crop(image: np.ndarray, box: Box, weight: np.ndarray | None = None, size: int = CROP) -> np.ndarray:
    """Cut `box` out of an image (H, W) or (H, W, C) and resize it to size × size, float32.

    Averages areas where it shrinks, interpolates linearly where it grows; 0 outside the frame.
    weight: (H, W) coverage that the average is weighted by, for layers that mean nothing outside the character.
    """
    if weight is None:
        return _resize(_cut(np.asarray(image, np.float32), box), size)
    weight = np.asarray(weight, np.float32)
    spread = weight if image.ndim == 2 else weight[..., None]
    total = crop(weight, box, size=size)
    total = total if image.ndim == 2 else total[..., None]
    return np.where(total > 1e-3, crop(image * spread, box, size=size) / np.maximum(total, 1e-3), 0).astype(np.float32)


def crop_normals(normals: np.ndarray, box: Box, weight: np.ndarray, size: int = CROP) -> np.ndarray:
    """`crop` for unit normals (H, W, 3): weighted by coverage and unit again, 0 where there is no surface."""
    mean = crop(normals, box, weight, size)
    length = np.linalg.norm(mean, axis=-1, keepdims=True)
    return np.where(length > 1e-3, mean / np.maximum(length, 1e-3), 0).astype(np.float32)


def uncrop(image: np.ndarray, box: Box, width: int, height: int) -> np.ndarray:
    """Put a cropped image (S, S) or (S, S, C) back into a frame of zeros: (height, width[, C]) float32.

    The inverse of `crop` but for the detail that resizing lost.
    """
    left, top, right, bottom = box
    patch = _resize(np.asarray(image, np.float32), right - left)
    frame = np.zeros((height, width, *image.shape[2:]), np.float32)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if x0 < x1 and y0 < y1:
        frame[y0:y1, x0:x1] = patch[y0 - top : y1 - top, x0 - left : x1 - left]
    return frame


def _cut(image: np.ndarray, box: Box) -> np.ndarray:
    """The box out of the image, zeros where it leaves the frame."""
    left, top, right, bottom = box
    height, width = image.shape[:2]
    out = np.zeros((bottom - top, right - left, *image.shape[2:]), np.float32)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if x0 < x1 and y0 < y1:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return out


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    shrinks = size < image.shape[0]
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
