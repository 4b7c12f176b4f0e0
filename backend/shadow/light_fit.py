# SPDX-License-Identifier: GPL-3.0-or-later
"""From an object and its shadow to the light (physical shadow paper, supplement section 6).

The receiver is the plane through the shadow's points (PCA). Object points are cast onto it along a direction, splatted
into a density, and made a soft mask by a percentile threshold; so is the observed shadow. Soft Dice compares them, and
points cast beyond the region of interest cost extra. A coarse grid over azimuth and elevation comes first, then
gradient descent from its best directions.

Beyond the paper: the object is a solid with a back of its own, and the part of the plane that the picture does not
show, behind the object and outside the frame, counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..protocol import Camera, PenumbraError
from ..rays.camera import pointing, project
from .pointmap import PointMap, half_thickness

GRID = 40  # cells a side of the region of interest
SMALLEST = 24  # pixels of a shadow that tells a direction
TRUSTED = 0.75  # overlap (soft Dice) from which a light is worth keeping
_SPLAT = 0.8  # cells; the Gaussian's standard deviation
_PERCENTILE = 0.35
_SHARPNESS = 6.0  # κ of the logistic flattening, in thresholds
_OUTSIDE = 0.5  # weight of the penalty
_AZIMUTHS, _ELEVATIONS, _BEST, _STEPS = 36, 9, 4, 50


@dataclass(frozen=True)
class LightFit:
    """direction: (3,) unit, camera space, toward the light. overlap: in [0, 1], soft Dice of cast and seen shadow."""

    direction: np.ndarray
    overlap: float

    @property
    def trusted(self) -> bool:
        """Whether the light explains the shadow well enough to be learnt from; a person should still look."""
        return self.overlap >= TRUSTED


def fit_light(point_map: PointMap, mask: np.ndarray, shadow: np.ndarray) -> LightFit:
    """The direction whose shadow of the object looks most like the one that is seen.

    mask, shadow: (H, W) coverage of the object and of its shadow on one flat surface; of a shadow in pieces the largest
    is taken. Raises PenumbraError where the shadow is too small or its surface is not known.
    """
    object_ = (mask > 0.5) & point_map.valid
    seen = largest_piece((shadow > 0.5) & (mask <= 0.5)) & point_map.valid
    if seen.sum() < SMALLEST or object_.sum() < SMALLEST:
        raise PenumbraError(
            "The shadow is too small to tell the light from.", "Mark more of the object and its shadow."
        )
    target_points = _some(point_map.points[seen], 3000)
    plane = fit_plane(target_points, point_map.up)
    occluders = _occluders(point_map, mask)
    occluders = occluders[(occluders - plane.centre) @ plane.normal > -0.02]
    region = _Region.around(plane, target_points, _shown(point_map.camera, mask))
    flat = torch.tensor(plane.flat(occluders), dtype=torch.float32)
    height = torch.tensor((occluders - plane.centre) @ plane.normal, dtype=torch.float32).clamp(min=0)
    target = region.soft_mask(torch.tensor(plane.flat(target_points), dtype=torch.float32)[None])[0]

    def loss(angles: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) loss and (N,) Dice of (N, 2) azimuths and elevations."""
        reach = height[None] / torch.tan(angles[:, 1:])
        toward = torch.stack([torch.cos(angles[:, :1]), torch.sin(angles[:, :1])], -1)
        cast = flat[None] - reach[..., None] * toward
        dice = region.dice(region.soft_mask(cast), target)
        return 1 - dice + _OUTSIDE * region.outside(cast), dice

    azimuth = torch.arange(_AZIMUTHS) * (2 * torch.pi / _AZIMUTHS)
    elevation = torch.deg2rad(torch.linspace(6, 84, _ELEVATIONS))
    grid = torch.cartesian_prod(azimuth, elevation)
    with torch.no_grad():
        coarse = torch.cat([loss(part)[0] for part in grid.split(40)])
    angles = grid[coarse.topk(_BEST, largest=False).indices].clone().requires_grad_(True)
    optimizer = torch.optim.Adam([angles], lr=0.05)
    best, kept = torch.full((_BEST,), torch.inf), angles.detach().clone()
    for step in range(_STEPS):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / _STEPS) + 0.002
        losses, _ = loss(angles)
        better = losses.detach() < best
        best, kept = torch.where(better, losses.detach(), best), torch.where(better[:, None], angles.detach(), kept)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        with torch.no_grad():
            angles[:, 1].clamp_(0.05, 1.52)
    winner = kept[best.argmin()]
    with torch.no_grad():
        overlap = float(loss(winner[None])[1])
    a, e = (float(v) for v in winner)
    return LightFit(plane.unit(pointing(a, e)), overlap)


@dataclass(frozen=True)
class Plane:
    """centre: (3,). axes: (2, 3) unit, within the plane. normal: (3,) unit, upward; all in camera space."""

    centre: np.ndarray
    axes: np.ndarray
    normal: np.ndarray

    def flat(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) coordinates within the plane of points (N, 3)."""
        return (points - self.centre) @ self.axes.T

    def unit(self, direction: np.ndarray) -> np.ndarray:
        """A direction given along the axes and the normal, in camera space."""
        return direction[0] * self.axes[0] + direction[1] * self.axes[1] + direction[2] * self.normal


def fit_plane(points: np.ndarray, up: np.ndarray) -> Plane:
    """The plane through points (N, 3): its normal is the covariance's eigenvector of the smallest eigenvalue.

    A shadow as thin as a line leaves the plane open; then `up` decides among the planes through the line.
    """
    centre = points.mean(0).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov((points - centre).T.astype(np.float64)))
    normal = vectors[:, 0]
    if values[1] < 0.002 * values[2] and values[0] > 0.2 * values[1]:
        line = vectors[:, 2]
        normal = up - up @ line * line
        normal /= np.linalg.norm(normal)
    normal = normal * (1 if normal @ up > 0 else -1)
    first = np.cross(normal, [0, 0, 1.0]) if abs(normal[2]) < 0.9 else np.cross(normal, [1.0, 0, 0])
    first /= np.linalg.norm(first)
    return Plane(centre, np.stack([first, np.cross(normal, first)]), normal)


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask (H, W) bool."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return labels == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA])) if count > 1 else mask


@dataclass(frozen=True)
class _Region:
    """A square of the receiver plane, GRID × GRID cells, around the seen shadow.

    low: (2,) and size of a cell, metres. shown: (GRID, GRID) in [0, 1], rows along the second axis: what the picture
    shows of a cell.
    """

    low: Tensor
    cell: float
    shown: Tensor

    @classmethod
    def around(cls, plane: Plane, points: np.ndarray, shown: Callable[[np.ndarray], np.ndarray]) -> _Region:
        flat = plane.flat(points)
        low, high = np.quantile(flat, 0.01, 0), np.quantile(flat, 0.99, 0)
        side = 1.8 * float((high - low).max())
        cell = side / GRID
        corner = (low + high) / 2 - side / 2
        centres = corner + (np.stack(np.meshgrid(np.arange(GRID), np.arange(GRID)), -1) + 0.5) * cell
        space = plane.centre + centres @ plane.axes
        return cls(torch.tensor(corner, dtype=torch.float32), cell, torch.tensor(shown(space), dtype=torch.float32))

    def soft_mask(self, points: Tensor) -> Tensor:
        """(N, GRID, GRID): points (N, P, 2) splatted, thresholded at a percentile of the density, and flattened."""
        at = (points - self.low) / self.cell
        cells = torch.arange(GRID) + 0.5
        weight = torch.exp(-0.5 * ((at[..., None] - cells) / _SPLAT) ** 2)  # (N, P, 2, GRID)
        density = weight[:, :, 1].mT @ weight[:, :, 0]
        # A view from near draws more points where the surface is near: only whether there are any is compared.
        density = density / (1 + density)
        flat = density.detach().flatten(1)
        some = flat > 0.02
        level = torch.stack(
            [
                row[on].quantile(_PERCENTILE) if on.any() else row.new_tensor(1.0)
                for row, on in zip(flat, some, strict=True)
            ]
        ).clamp(0.05, 0.5)
        return torch.sigmoid(_SHARPNESS * (density / level[:, None, None] - 1))

    def dice(self, masks: Tensor, target: Tensor) -> Tensor:
        """(N,) soft Dice over what the picture shows, without the logistic's floor."""
        floor = torch.sigmoid(torch.tensor(-_SHARPNESS))
        a, b = ((m - floor).clamp(min=0) * self.shown for m in (masks, target))
        return 2 * (a * b).sum((-2, -1)) / ((a * a).sum((-2, -1)) + (b * b).sum() + 1e-6)

    def outside(self, points: Tensor) -> Tensor:
        """(N,) mean distance by which points (N, P, 2) miss the region, in its sizes, up to 1."""
        at = (points - self.low) / (self.cell * GRID)
        return ((-at).clamp(min=0) + (at - 1).clamp(min=0)).amax(-1).clamp(max=1).mean(1)


def _shown(camera: Camera, mask: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Which points (…, 3) of space are in the frame and not behind the object: a function to [0, 1]."""
    soft = cv2.blur((mask > 0.5).astype(np.float32), (3, 3))

    def shown(space: np.ndarray) -> np.ndarray:
        pixels, _ = project(camera, space)
        x, y = (np.nan_to_num(pixels[..., i], nan=-1e6) for i in (0, 1))
        inside = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
        at = np.clip(y, 0, camera.height - 1).astype(int), np.clip(x, 0, camera.width - 1).astype(int)
        return inside * (1 - soft[at])

    return shown


def _occluders(point_map: PointMap, mask: np.ndarray, most: int = 600) -> np.ndarray:
    """(N, 3) points of the object's front and back."""
    at = (mask > 0.5) & point_map.valid
    front = point_map.points[at].astype(np.float64)
    away = front / -front[:, 2:]
    back = front + 2 * half_thickness(point_map, mask)[at][:, None] * away
    return _some(np.concatenate([front, (front + back) / 2, back]), most)


def _some(points: np.ndarray, most: int) -> np.ndarray:
    if len(points) <= most:
        return points
    return points[np.random.default_rng(0).choice(len(points), most, replace=False)]
