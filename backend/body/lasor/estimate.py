# SPDX-License-Identifier: GPL-3.0-or-later
"""From a person's silhouette and keypoints in a picture to the proxy, and from the estimate back into the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...protocol import PenumbraError
from .camera import to_pixels
from .proxy import MARGIN, SIZE, box_of, crop, heatmaps, into_crop

CONFIDENT = 0.4  # the least confidence of a keypoint that counts (the paper's Table VIII)
LEAST_SIDE = 24.0  # pixels of a person in whom nothing can be told apart


@dataclass(frozen=True)
class Sight:
    """What is seen of one person. proxy: (1, 18, 256, 256). centre (2,), side: of the crop, pixels of the picture.

    points: (17, 2) pixels of the crop. found: (17,) 1 or 0.
    """

    proxy: Tensor
    centre: np.ndarray
    side: float
    points: np.ndarray
    found: np.ndarray


def sight(mask: np.ndarray, points: np.ndarray, confidence: np.ndarray) -> Sight:
    """The proxy of a person with silhouette (H, W) in [0, 1], keypoints (17, 2) in COCO's order, pixels, x first.

    confidence: (17,). What another person hides is missing from the silhouette and stays so. Raises PenumbraError where
    the silhouette is empty or tiny.
    """
    picture = torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None, None]
    if not (mask > 0.5).any():
        raise PenumbraError("No person was found there.", "Choose a picture in which the person is seen well.")
    centre, side = box_of(picture[:, 0])
    if side.item() < LEAST_SIDE:
        raise PenumbraError("The person is too small in the picture.", "Choose a larger picture of the person.")
    side = side * MARGIN
    inside = into_crop(torch.from_numpy(points).float()[None], centre, side)
    found = torch.from_numpy(confidence >= CONFIDENT)[None] & ((inside > 0) & (inside < SIZE)).all(2)
    silhouette = (crop(picture, centre, side) > 0.5).float()
    return Sight(
        torch.cat([silhouette, heatmaps(inside, found.float())], 1),
        centre[0].numpy(),
        side.item(),
        inside[0].numpy(),
        found[0].float().numpy(),
    )


def in_picture(flat: Tensor, centre: np.ndarray, side: float) -> np.ndarray:
    """(N, 2) normalised coordinates of a crop → pixels of the picture."""
    return (to_pixels(flat, SIZE).numpy() - SIZE / 2) * (side / SIZE) + centre
