# SPDX-License-Identifier: GPL-3.0-or-later
"""How dark and of which colour a shadow is in this photograph, by its other shadows and by its highlights."""

from __future__ import annotations

import cv2
import numpy as np

from ..shading.panorama import LUMINANCE

DEPTH = 0.65  # share of the light that the sun brings on a clear day, in the open
TINT = np.array([1.04, 1.0, 0.92])  # of what is taken away: what stays is the sky's, bluish
CLEAR_DAY = DEPTH * TINT  # (3,) share of the light that a shadow takes
REACH = 0.02  # longer sides of the frame, on each side of a shadow's border, that are compared
MARGIN = 0.25  # of the reach: nearer to the border it is half shadow
FEWEST = 40  # places along a border that must show both sides
HIGHLIGHT = 0.85  # linear; from here to 1 a photograph's curve hides how bright it was
HIDDEN = 1.5  # times as bright, on average, as what a clipped pixel shows


def taken_by(photograph: np.ndarray, shadow: np.ndarray, objects: np.ndarray) -> np.ndarray | None:
    """(3,) the share of the light, in [0, 1), that a shadow in a photograph takes; None where it cannot be told.

    Along its border the surface goes on: the median, over all places there, of the ratio of what lies within to what
    lies outside. photograph: (H, W, 3) linear. shadow: (H, W) coverage. objects: (H, W), of what is no ground.
    """
    reach = max(3.0, REACH * max(shadow.shape))
    inside = (shadow > 0.5).astype(np.uint8)
    within, beyond = (cv2.distanceTransform(side, cv2.DIST_L2, 5) for side in (inside, 1 - inside))
    ground = cv2.dilate((objects > 0.1).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    # Clipped pixels do not say how bright they were, nor black ones how dark.
    ground &= (photograph.max(-1) < 0.98) & (photograph.max(-1) > 0.002)
    rings = [ground & (d > max(1.0, MARGIN * reach)) & (d <= reach) for d in (within, beyond)]
    border = (within > 0) & (within <= 1)
    size = (2 * int(np.ceil(reach)) + 1,) * 2
    share = np.stack([cv2.blur(ring.astype(np.float32), size)[border] for ring in rings])
    both = (share > 0.03).all(0)
    if both.sum() < FEWEST:
        return None
    means = [
        cv2.blur(np.where(ring[..., None], photograph, 0).astype(np.float32), size)[border][both] / s[both, None]
        for ring, s in zip(rings, share, strict=True)
    ]
    ratio = np.median(means[0] / np.maximum(means[1], 1e-4), axis=0)
    return np.clip(1 - ratio, 0, 0.98) if ratio @ LUMINANCE < 0.95 else None


def fitted(ratio: np.ndarray, photograph: np.ndarray, already: np.ndarray | None = None) -> np.ndarray:
    """A ratio image (H, W, 3) as this photograph (H, W, 3), linear, can bear it; exactly 1 where it was.

    Ground that another shadow covers (already, (H, W) coverage) has lost that light before. A clipped highlight was
    brighter than it shows, so that a shadow turns it less dark than grey.
    """
    if already is not None:
        ratio = 1 - (1 - ratio) * (1 - already[..., None])
    clipped = np.clip((photograph.max(-1, keepdims=True) - HIGHLIGHT) / (1 - HIGHLIGHT), 0, 1)
    return np.minimum(ratio * (1 + (HIDDEN - 1) * clipped), 1)
