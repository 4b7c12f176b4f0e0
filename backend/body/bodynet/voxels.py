# SPDX-License-Identifier: GPL-3.0-or-later
"""Posed bodies as filled voxel grids (section 3.1), by winding numbers along the view, in batches on any device.

A grid has V³ voxels [z, y, x]: x to the right and y down are the pixels of the square crop, z leads away from the
camera; voxel (0, 0, 0) has its centre at (0.5, 0.5, 0.5). Projection is orthographic: a voxel is as deep as a pixel is
wide, and the body's bounding box is centred along z.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from ..lasor.camera import to_pixels, weak_perspective
from ..lasor.raster import boxes, centres, cross
from .parts import TORSO

_ASIDE = (3.1e-5, 1.7e-5)  # voxels that meshes are moved by, so that no view ray runs through an edge


def to_grid(points: Tensor, camera: Tensor, volume: int, middle: Tensor) -> Tensor:
    """(B, N, 3) grid coordinates of points (B, N, 3) in metres, camera space.

    camera: (B, 3) of `lasor.camera.weak_perspective`. middle: (B,) metres, the depth (−z) in the grid's middle.
    """
    voxels = (camera[:, 0] * volume / 2)[:, None]  # a metre
    flat = to_pixels(weak_perspective(points, camera), volume)
    depth = (-points[..., 2] - middle[:, None]) * voxels + volume / 2
    return torch.cat([flat, depth[..., None]], 2)


def from_grid(points: Tensor, camera: Tensor, volume: int, middle: Tensor) -> Tensor:
    """The inverse of `to_grid`: metres, camera space."""
    metres = (2 / (camera[:, 0] * volume))[:, None, None]
    flat = (points - volume / 2) * metres
    x = flat[..., 0] - camera[:, None, 1]
    y = -flat[..., 1] - camera[:, None, 2]
    return torch.stack([x, y, -(flat[..., 2] + middle[:, None])], 2)


def middle_depth(vertices: Tensor) -> Tensor:
    """(B,) depth (−z) of the middle of the bounding boxes of bodies (B, V, 3)."""
    depth = -vertices[..., 2]
    return (depth.amin(1) + depth.amax(1)) / 2


class Voxelizer:
    """Fills the parts of one closed mesh, cut apart along its parts' seams, which are closed by fans of triangles.

    A voxel belongs to what its centre lies in. A part that is thinner along the view than from one voxel's centre to
    the next fills one voxel all the same, so that the grid's front view is the silhouette.
    """

    def __init__(self, faces: Tensor, parts: Tensor) -> None:
        """faces: (F, 3) of a closed, consistently wound mesh. parts: (F,) from 1. Raises ValueError: not closed."""
        self.seams, caps, of_cap = _seams(faces, parts)
        self.vertices = int(faces.max()) + 1
        self.faces = torch.cat([faces, torch.where(caps < 0, self.vertices - 1 - caps, caps)])
        self.parts = torch.cat([parts, of_cap])

    def __call__(self, points: Tensor, volume: int) -> Tensor:
        """(B, V, V, V) uint8: each voxel's part, 0 outside; where parts overlap, the torso's, else the last one's.

        points: (B, N, 3) grid coordinates. What lies beyond the grid is left out.
        """
        middles = [points[:, seam].mean(1, keepdim=True) for seam in self.seams]
        points = torch.cat([points[:, : self.vertices], *middles], 1).double()
        pixel, part, depth, enters = self._crossings(points, volume)
        count = int(self.parts.max())
        column, of_column = (pixel * count + part - 1).unique(return_inverse=True)
        filled = _between(of_column, depth, enters, len(column), volume)
        pixel, part = column // count, column % count + 1
        label = torch.zeros(len(points) * volume**2, volume, dtype=torch.uint8, device=points.device)
        for number in sorted(range(1, count + 1), key=lambda n: (n == TORSO, n)):
            mine = part == number
            label[pixel[mine]] = torch.where(filled[mine], number, label[pixel[mine]])
        return label.view(len(points), volume, volume, volume).permute(0, 3, 1, 2).contiguous()

    def _crossings(self, points: Tensor, volume: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where lines of sight through pixels' centres cross the mesh: pixel (over all images), part and depth of each
        crossing, and whether it leads inside."""
        aside = torch.tensor([*_ASIDE, 0.0], dtype=points.dtype, device=points.device)
        corners = (points + aside)[:, self.faces]
        a, b, c = corners[..., :2].unbind(2)
        area = cross(b - a, c - a)  # negative: faces the camera, as y runs down
        image, triangle = (area.abs() > 1e-12).nonzero(as_tuple=True)
        corners, area = corners[image, triangle], area[image, triangle]
        pair, pixel = boxes(corners[..., :2].amin(1), corners[..., :2].amax(1), volume)
        a, b, c = corners[pair][..., :2].unbind(1)
        centre = centres(pixel, volume, points.dtype)
        weights = torch.stack([cross(c - b, centre - b), cross(a - c, centre - c), cross(b - a, centre - a)], 1)
        weights = weights / area[pair, None]
        inside = (weights >= 0).all(1).nonzero()[:, 0]
        pair, pixel = pair[inside], pixel[inside]
        depth = (weights[inside] * corners[pair, :, 2]).sum(1)
        return image[pair] * volume**2 + pixel, self.parts[triangle[pair]], depth, area[pair] < 0


def _between(column: Tensor, depth: Tensor, enters: Tensor, columns: int, volume: int) -> Tensor:
    """(columns, V) bool: what lies between the depths (P,) where columns (P,) of voxels are entered and left."""
    first = (depth - 0.5).ceil().clamp(0, volume).long()  # the first voxel whose centre lies behind the crossing
    steps = torch.zeros(columns * (volume + 1), dtype=torch.int32, device=depth.device)
    steps.scatter_add_(0, column * (volume + 1) + first, enters.to(torch.int32) * 2 - 1)
    winding = steps.view(-1, volume + 1).cumsum(1)
    winding[winding[:, -1] != 0] = 0  # the mesh is not closed there
    filled, outside = winding[:, :-1] > 0, winding == 0
    # Entered between two voxels' centres that are both outside: too thin to hold either.
    thin = enters & outside[column, first] & outside[column, (first - 1).clamp(min=0)] & (depth > 0) & (depth < volume)
    filled[column[thin], depth[thin].long()] = True
    return filled


def _seams(faces: Tensor, parts: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """Vertices of each seam between two parts; triangles of the caps (C, 3), in which −1 − k is the middle of seam k;
    and their parts (C,)."""
    owner: dict[tuple[int, int], int] = {}
    for face, part in zip(faces.tolist(), parts.tolist(), strict=True):
        for k in range(3):
            owner[face[k], face[(k + 1) % 3]] = part
    if len(owner) != 3 * len(faces) or any((b, a) not in owner for a, b in owner):
        raise ValueError("the mesh is not closed")
    edges: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for (a, b), part in owner.items():
        if (other := owner[b, a]) != part:
            edges[min(part, other), max(part, other)].append((a, b, part))
    seams, caps, of_cap = [], [], []
    for number, seam in enumerate(edges.values()):
        seams.append(torch.tensor(sorted({a for a, _, _ in seam}), device=faces.device))
        caps += [(b, a, -1 - number) for a, b, _ in seam]
        of_cap += [part for _, _, part in seam]
    return (
        seams,
        torch.tensor(caps, dtype=faces.dtype, device=faces.device).view(-1, 3),
        torch.tensor(of_cap, dtype=parts.dtype, device=parts.device),
    )
