# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy that stands for a photograph of a person: a silhouette and 17 heatmaps in a square crop (STRAPS, LASOR)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .camera import from_pixels

SIZE = 256
KEYPOINTS = 17  # COCO's, in COCO's order
CHANNELS = 1 + KEYPOINTS  # the silhouette first
SPREAD = 4.0  # pixels, of the heatmaps' Gaussians at 256 × 256
CUT = 8.0  # pixels from the keypoint beyond which a heatmap is zero
MARGIN = 1.2  # the crop's side over the longer side of the silhouette's box


def heatmaps(points: Tensor, visible: Tensor, size: int = SIZE) -> Tensor:
    """(B, 17, size, size) Gaussians of height 1 about points (B, 17, 2) pixels; empty where visible (B, 17) is 0."""
    scale = size / SIZE
    centre = torch.arange(size, device=points.device) + 0.5
    away = (centre - points[..., None]) / scale  # (B, 17, 2, size)
    profile = torch.exp(-0.5 * (away / SPREAD) ** 2) * (away.abs() <= CUT)
    return profile[:, :, 1, :, None] * (profile[:, :, 0] * visible[..., None])[:, :, None]


def peaks(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `heatmaps` (B, K, S, S): (B, K, 2) pixels, and (B, K) 1 where there is a peak, else 0."""
    centre = torch.arange(maps.shape[-1], device=maps.device) + 0.5
    mass = maps.sum((2, 3))
    x, y = (maps.sum(axis) @ centre.to(maps.dtype) / mass.clamp(min=1e-6) for axis in (2, 3))
    return torch.stack([x, y], 2), (mass > 0).to(maps.dtype)


def told_by(proxy: Tensor) -> tuple[Tensor, Tensor]:
    """Keypoints of proxies (B, 18, S, S): (B, 17, 2) normalised, y up, and (B, 17) 1 where there is one, else 0."""
    points, found = peaks(proxy[:, 1:].float())
    return from_pixels(points, proxy.shape[-1]), found


def box_of(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (B, 2) and longer side (B,) in pixels of the box about what is > 0.5 in masks (B, H, W).

    Empty masks give the whole picture.
    """
    low, high = [], []
    for axis in (1, 2):  # over the rows: what is left are columns, x
        line = (mask > 0.5).any(axis)
        number = torch.arange(line.shape[1], device=mask.device)
        low.append(torch.where(line, number, line.shape[1]).amin(1))
        high.append(torch.where(line, number + 1, 0).amax(1))
    low, high = torch.stack(low, 1).float(), torch.stack(high, 1).float()
    empty = (low >= high)[:, :1]
    whole = torch.tensor([mask.shape[2], mask.shape[1]], dtype=torch.float32, device=mask.device)
    low, high = torch.where(empty, 0 * low, low), torch.where(empty, whole, high)
    return (low + high) / 2, (high - low).amax(1)


def crop(images: Tensor, centre: Tensor, side: Tensor, size: int = SIZE) -> Tensor:
    """(B, C, size, size) squares cut from images (B, C, H, W), nearest pixels; zero beyond their edges.

    centre: (B, 2) and side: (B,) in pixels of the images.
    """
    height, width = images.shape[2:]
    steps = (torch.arange(size, device=images.device) + 0.5) / size - 0.5
    x, y = (centre[:, k, None] + side[:, None] * steps for k in (0, 1))
    grid = torch.stack(
        [
            (2 * x / width - 1)[:, None].expand(-1, size, -1),
            (2 * y / height - 1)[:, :, None].expand(-1, -1, size),
        ],
        -1,
    )
    return F.grid_sample(images, grid, "nearest", align_corners=False)


def into_crop(points: Tensor, centre: Tensor, side: Tensor, size: int = SIZE) -> Tensor:
    """(B, N, 2) pixels of the whole picture → pixels of the crop."""
    return (points - centre[:, None]) * (size / side)[:, None, None] + size / 2
