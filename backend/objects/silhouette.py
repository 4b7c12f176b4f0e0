# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the object is in a photograph: from the image's own alpha, a mask file, or a box that GrabCut looks into."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..photograph import Photograph
from ..protocol import PenumbraError

LEAST = 24  # pixels of the object's longer side
SECOND = 0.3  # of the largest piece's area: a second object, no crumb of the first
ROUNDS = 5  # of GrabCut
Box = tuple[float, float, float, float]


def silhouette(photograph: Photograph, image: Path, mask: Path | None, box: Box | None) -> np.ndarray:
    """(H, W) uint8 coverage of the object in the photograph.

    image: the photograph's file, whose alpha counts where there is neither mask nor box. mask: an image, white on the
    object. box: left, top, right, bottom around the object, in fractions of the picture.
    Raises PenumbraError where there is no object, a tiny one, or several.
    """
    width, height = photograph.size
    if mask is not None:
        found = _resized(_grey(mask), width, height, mask.name)
    elif box is not None:
        found = _grab_cut(photograph.encoded, box)
    else:
        alpha = _alpha(image)
        if alpha is None:
            raise PenumbraError("The image does not tell where the object is.", "Draw a box around it, or give a mask.")
        found = _resized(np.rot90(alpha, photograph.turns), width, height, image.name)
    return _one_object(found)


def is_cut(mask: np.ndarray) -> bool:
    """Whether the picture's edge runs through the object."""
    rows, columns = np.nonzero(mask >= 128)
    across = max(np.ptp(rows), np.ptp(columns)) + 1
    edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return max(int((edge >= 128).sum()) for edge in edges) > 0.05 * across


def _one_object(mask: np.ndarray) -> np.ndarray:
    """Holes and crumbs left out. Raises PenumbraError as `silhouette` says."""
    count, piece, facts, _ = cv2.connectedComponentsWithStats(np.uint8(mask >= 128), connectivity=8)
    areas = facts[1:, cv2.CC_STAT_AREA]
    if count < 2 or max(facts[1 + areas.argmax(), cv2.CC_STAT_WIDTH : cv2.CC_STAT_HEIGHT + 1]) < LEAST:
        raise PenumbraError("No object was found there, or a tiny one.", "Mask it, or choose a larger picture of it.")
    if np.count_nonzero(areas > SECOND * areas.max()) > 1:
        raise PenumbraError("There are several objects in the mask.", "Mask one of them, or draw a box around it.")
    return np.where(piece == 1 + areas.argmax(), mask, 0).astype(np.uint8)


def _grab_cut(picture: np.ndarray, box: Box) -> np.ndarray:
    """(H, W) uint8. picture: (H, W, 3) uint8 RGB."""
    height, width = picture.shape[:2]
    left, top, right, bottom = np.array(box) * (width, height, width, height)
    corner = max(round(left), 1), max(round(top), 1)
    side = min(round(right), width - 1) - corner[0], min(round(bottom), height - 1) - corner[1]
    if min(side) < 4:
        raise PenumbraError("The box is empty.", "Draw it around the object.")
    verdict = np.zeros((height, width), np.uint8)
    background, foreground = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(
        picture[..., ::-1].copy(), verdict, (*corner, *side), background, foreground, ROUNDS, cv2.GC_INIT_WITH_RECT
    )
    object_ = np.isin(verdict, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    return cv2.morphologyEx(object_, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))


def _alpha(image: Path) -> np.ndarray | None:
    """(H, W) uint8 of an image file that is transparent somewhere."""
    pixels = cv2.imdecode(np.fromfile(image, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4:
        return None
    alpha = _eight_bits(pixels[..., 3])
    return alpha if alpha.min() < 128 else None


def _grey(mask: Path) -> np.ndarray:
    pixels = cv2.imdecode(np.fromfile(mask, np.uint8), cv2.IMREAD_UNCHANGED) if mask.is_file() else None
    if pixels is None:
        raise PenumbraError(f"The mask {mask.name} cannot be read.", "Choose an image that is white on the object.")
    pixels = _eight_bits(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 4 and pixels[..., 3].min() < 128:
        return pixels[..., 3]
    return pixels if pixels.ndim == 2 else pixels[..., :3].max(2)


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    scale = 255 / np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 255
    return np.clip(np.round(pixels * scale), 0, 255).astype(np.uint8)


def _resized(mask: np.ndarray, width: int, height: int, name: str) -> np.ndarray:
    if abs(mask.shape[1] * height - mask.shape[0] * width) > 2 * max(width, height):
        raise PenumbraError(f"{name} has not the shape of the photograph.", "Give a mask of the same picture.")
    return cv2.resize(np.ascontiguousarray(mask), (width, height), interpolation=cv2.INTER_AREA)
