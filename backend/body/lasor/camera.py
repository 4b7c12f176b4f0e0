# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras: the perspective one that synthesis looks through, the weak-perspective one that LASOR estimates, and lenses.

Camera space is x right, y up, −z forward, metres; bodies in it keep SMPL's axes, so a body without rotation faces the
camera. Normalised image coordinates run from −1 to 1 over a square crop, x right and y up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LEAST_SCALE = 0.01  # half-sides of a crop a metre: nobody is behind the camera, however bad the estimate
Projection = Callable[[Tensor, Tensor], Tensor]
"""Normalised (B, N, 2) of points (B, N, 3) metres about a body's origin and the camera (B, 3) that was estimated."""


@dataclass(frozen=True)
class Lens:
    """A photograph's own camera, through which it shows B people, each in a crop; a `Projection`.

    The estimated camera then says where the body's origin is seen and how large a metre is there: the weak-perspective
    likeness of what is about as far away as the origin. centre: (B, 2) of the crop, from the optical axis. focal: (B,).
    Both in half-sides of the crop, y up.
    """

    centre: Tensor
    focal: Tensor

    @classmethod
    def of(cls, centres: Tensor, sides: Tensor, size: tuple[int, int], focal: float | Tensor) -> Lens:
        """centres (B, 2) and sides (B,) of the crops: pixels of a picture of `size` (width, height), y down.

        focal: pixels, or (B,) of them; the axis meets the picture's centre.
        """
        half = sides / 2
        aside = (centres - centres.new_tensor(size) / 2) * centres.new_tensor([1.0, -1.0])
        return cls(aside / half[:, None], focal / half)

    def rows(self, rows: list[int]) -> Lens:
        """Of those of the crops that have these numbers."""
        return Lens(self.centre[rows], self.focal[rows])

    def __call__(self, points: Tensor, camera: Tensor) -> Tensor:
        scale, centre = camera[:, None, :1], self.centre[:, None]
        nearer = 1 - scale * points[..., 2:] / self.focal[:, None, None]
        return (weak_perspective(points, camera) + centre) / nearer.clamp(min=0.05) - centre

    def likeness(self, points: Tensor, seen: Tensor) -> Tensor:
        """(B, 3) the camera by which points (B, N, 3) are nearest to where they are seen (B, N, 2)."""
        centre = self.centre[:, None]
        across = points[..., :2] + (seen + centre) * points[..., 2:] / self.focal[:, None, None]
        camera = likeness(across, seen + centre)
        return torch.cat([camera[:, :1], camera[:, 1:] - self.centre / camera[:, :1]], 1)

    def places(self, camera: Tensor) -> Tensor:
        """(B, 3) where the bodies' origins are in the photograph's camera space, metres."""
        scale = camera[:, :1]
        return torch.cat([camera[:, 1:] + self.centre / scale, -self.focal[:, None] / scale], 1)

    @property
    def turns(self) -> Tensor:
        """(B, 3, 3) what turns a body that is told as a camera sees it that looks straight at the crop's centre."""
        sights = torch.cat([self.centre, -self.focal[:, None]], 1).double().cpu().numpy()
        return torch.from_numpy(np.stack([straightened(sight).T for sight in sights])).to(self.centre)


def straightened(place: np.ndarray) -> np.ndarray:
    """(3, 3) the least rotation that takes the direction of a place (3,) in camera space to −z."""
    a, b = place / np.linalg.norm(place), np.array([0.0, 0.0, -1.0])
    axis, cosine = np.cross(a, b), float(a @ b)
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def perspective(points: Tensor, focal: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Pixels (B, N, 2) and depths (B, N) metres of points (B, N, 3). focal: (B,) pixels; the axis meets the centre."""
    depth = -points[..., 2]
    flat = points[..., :2] * torch.tensor([1.0, -1.0], dtype=points.dtype, device=points.device)
    return flat * (focal[:, None] / depth)[..., None] + size / 2, depth


def weak_perspective(points: Tensor, camera: Tensor) -> Tensor:
    """Normalised (B, N, 2) of points (B, N, 3): s·(x + t). camera: (B, 3), the scale s and the shift t in metres."""
    return camera[:, None, :1] * (points[..., :2] + camera[:, None, 1:])


def likeness(points: Tensor, seen: Tensor) -> Tensor:
    """(B, 3) the weak-perspective camera that takes points (B, N, 3) nearest to where they are seen (B, N, 2)."""
    flat = points[..., :2]
    a, b = (x - x.mean(1, keepdim=True) for x in (flat, seen))
    scale = ((a * b).sum((1, 2)) / a.square().sum((1, 2)).clamp(min=1e-8)).clamp(min=LEAST_SCALE)
    shift = seen.mean(1) / scale[:, None] - flat.mean(1)
    return torch.cat([scale[:, None], shift], 1)


def to_pixels(normalised: Tensor, size: int) -> Tensor:
    """Normalised (..., 2), y up → pixels (..., 2), y down, of a square picture."""
    flip = torch.tensor([1.0, -1.0], dtype=normalised.dtype, device=normalised.device)
    return (normalised * flip + 1) * (size / 2)


def from_pixels(pixels: Tensor, size: int) -> Tensor:
    """The inverse of `to_pixels`."""
    flip = torch.tensor([1.0, -1.0], dtype=pixels.dtype, device=pixels.device)
    return (pixels * (2 / size) - 1) * flip
