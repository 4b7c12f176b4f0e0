# SPDX-License-Identifier: GPL-3.0-or-later
"""Triangles to pixels in torch, for whole batches on any device: what is seen where, and silhouettes with gradients.

Pixel coordinates: x to the right, y down, (0, 0) the corner of the image; the centre of the first pixel is (0.5, 0.5).
Meshes are closed and wind counter-clockwise when seen from outside; only their front faces are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

REACH = 4.0  # softnesses beyond which a silhouette counts as hard
OUTWARD = 0.75  # pixels beyond a contour where nothing may be, if it is to be a part of the outline


@dataclass(frozen=True)
class _Pairs:
    """Triangles with the pixels that they cover: image, triangle and pixel (row · width + column) of each of P pairs.

    barycentric: (P, 3).
    """

    image: Tensor
    triangle: Tensor
    pixel: Tensor
    barycentric: Tensor


def face_buffer(points: Tensor, depth: Tensor, faces: Tensor, size: int) -> Tensor:
    """(B, size, size) int64: number of the nearest triangle at every pixel's centre, −1 where there is none.

    points: (B, V, 2) pixels. depth: (B, V) positive, metres from the camera. faces: (F, 3).
    """
    pairs = _covered(points, faces, size)
    corners = faces[pairs.triangle]
    inverse = (pairs.barycentric / depth[pairs.image[:, None], corners]).sum(1)  # 1/depth is linear in the image
    order = (1e6 / inverse).long()  # micrometres
    return _least(order, pairs.triangle, pairs.image, pairs.pixel, len(points), size)


def coverage(points: Tensor, faces: Tensor, size: int) -> Tensor:
    """(B, size, size) bool: which pixels' centres the mesh covers. points: (B, V, 2) pixels. faces: (F, 3)."""
    pairs = _covered(points, faces, size)
    mask = torch.zeros(len(points) * size * size, dtype=torch.bool, device=points.device)
    mask[pairs.image * size * size + pairs.pixel] = True
    return mask.view(-1, size, size)


class Silhouettes:
    """The differentiable silhouette of one closed mesh: S(p) = σ(d(p)/softness), d the signed distance to its outline.

    It stands for the neural mesh renderer of LASOR's equation 3. The outline consists of contour edges, between a
    front and a back face, that have nothing of the mesh beyond them; so the value at a pixel is a smooth function of
    the two vertices of the edge that is nearest, and its gradient the true one, unlike Kato et al.'s.
    """

    def __init__(self, faces: Tensor) -> None:
        """faces: (F, 3) of a closed, consistently wound mesh."""
        self.faces = faces
        directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        owner = torch.arange(len(faces), device=faces.device).repeat(3)
        key = directed.sort(1).values @ torch.tensor([int(faces.max()) + 1, 1], device=faces.device)
        order = key.argsort(stable=True)
        first, second = order[0::2], order[1::2]
        if len(order) % 2 or not torch.equal(key[first], key[second]):
            raise ValueError("the mesh is not closed")
        self.edges, self.sides = directed[first], torch.stack([owner[first], owner[second]], 1)

    def __call__(self, points: Tensor, size: int, softness: float = 0.5) -> Tensor:
        """(B, size, size) in [0, 1]; 0.5 on the outline. points: (B, V, 2) pixels. softness: pixels."""
        with torch.no_grad():
            mask = coverage(points, self.faces, size)
            image, start, end, pixel = self._nearest(points, mask, size, REACH * softness)
        a, b = points[image, start], points[image, end]
        distance = (centres(pixel, size, points.dtype) - _closest(centres(pixel, size, points.dtype), a, b)).norm(dim=1)
        hard = mask.to(points.dtype).flatten()
        place = image * size * size + pixel
        soft = torch.sigmoid(distance * (2 * hard[place] - 1) / softness)
        return hard.index_put((place,), soft).view(-1, size, size)

    def outline(self, points: Tensor, size: int) -> list[Tensor]:
        """The vertices (N,) of each image that lie on its outline. points: (B, V, 2) pixels."""
        mask = coverage(points, self.faces, size)
        image, start, end = self._contour(points)
        ends = torch.stack([points[image, start], points[image, end]], 1)
        beyond = (ends.mean(1) + OUTWARD * _outward(*ends.unbind(1))).floor().long()
        within = ((beyond >= 0) & (beyond < size)).all(1)
        beyond = beyond.clamp(0, size - 1)
        outer = ~(mask[image, beyond[:, 1], beyond[:, 0]] & within)
        pairs = torch.stack([start, end], 1)
        return [pairs[outer & (image == number)].unique() for number in range(len(points))]

    def _nearest(self, points: Tensor, mask: Tensor, size: int, reach: float) -> tuple[Tensor, ...]:
        """Image, first and second vertex of the edge, and pixel, for every pixel near the outline."""
        image, start, end = self._contour(points)
        ends = torch.stack([points[image, start], points[image, end]], 1)
        pair, pixel = boxes(ends.amin(1) - reach, ends.amax(1) + reach, size)
        a, b = ends[pair].unbind(1)
        centre = centres(pixel, size, points.dtype)
        closest = _closest(centre, a, b)
        beyond = (closest + OUTWARD * _outward(a, b)).floor().long()
        within = ((beyond >= 0) & (beyond < size)).all(1)
        beyond = beyond.clamp(0, size - 1)
        covered = mask[image[pair], beyond[:, 1], beyond[:, 0]] & within
        distance = (centre - closest).norm(dim=1)
        keep = (~covered & (distance < reach)).nonzero()[:, 0]
        rank = torch.arange(len(keep), device=points.device)
        winner = _least((distance[keep] * 1e6).long(), rank, image[pair[keep]], pixel[keep], len(points), size)
        chosen = keep[winner[winner >= 0]]
        return image[pair[chosen]], start[pair[chosen]], end[pair[chosen]], pixel[chosen]

    def _contour(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Image, first and second vertex of every edge between a front and a back face, as the front face has it."""
        front = _double_area(points, self.faces) < 0
        facing = front[:, self.sides[:, 0]], front[:, self.sides[:, 1]]
        image, edge = (facing[0] ^ facing[1]).nonzero(as_tuple=True)
        start, end = self.edges[edge].unbind(1)
        swap = ~facing[0][image, edge]  # the edge runs as in its front face, whose inside is then to its right
        start, end = torch.where(swap, end, start), torch.where(swap, start, end)
        return image, start, end


def _outward(a: Tensor, b: Tensor) -> Tensor:
    """(P, 2) unit vectors across contour edges ab, away from their front faces."""
    along = torch.nn.functional.normalize(b - a, dim=1)
    return torch.stack([-along[:, 1], along[:, 0]], 1)


def _closest(point: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """(P, 2) the point of segment ab that is nearest to `point`; all (P, 2)."""
    along = b - a
    share = ((point - a) * along).sum(1) / (along**2).sum(1).clamp(min=1e-12)
    return a + share.clamp(0, 1)[:, None] * along


def centres(pixel: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """(P, 2) centres of pixels."""
    return torch.stack([pixel % size, pixel // size], 1).to(dtype) + 0.5


def _double_area(points: Tensor, faces: Tensor) -> Tensor:
    """(B, F) twice the signed area; negative for triangles that face the camera, as y runs down."""
    a, b, c = (points[:, faces[:, k]] for k in range(3))
    return cross(b - a, c - a)


def cross(u: Tensor, v: Tensor) -> Tensor:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def _covered(points: Tensor, faces: Tensor, size: int) -> _Pairs:
    """Front faces and the pixels whose centres they cover."""
    image, triangle = (_double_area(points, faces) < -1e-9).nonzero(as_tuple=True)
    corners = points[image[:, None], faces[triangle]]
    pair, pixel = boxes(corners.amin(1), corners.amax(1), size)
    a, b, c = corners[pair].unbind(1)
    centre = centres(pixel, size, points.dtype)
    weights = torch.stack([cross(c - b, centre - b), cross(a - c, centre - c), cross(b - a, centre - a)], 1)
    inside = (weights <= 0).all(1).nonzero()[:, 0]
    weights = weights[inside]
    return _Pairs(image[pair[inside]], triangle[pair[inside]], pixel[inside], weights / weights.sum(1, keepdim=True))


def boxes(low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Every box (N, 2) to (N, 2) with every pixel whose centre lies in it: number of the box, and pixel."""
    first = (low - 0.5).ceil().clamp(0, size).long()
    count = ((high - 0.5).floor().clamp(-1, size - 1).long() - first + 1).clamp(min=0)
    total = count.prod(1)
    box = torch.repeat_interleave(torch.arange(len(total), device=low.device), total)
    nth = torch.arange(len(box), device=low.device) - (total.cumsum(0) - total)[box]
    width = count[box, 0]
    return box, (first[box, 1] + nth // width) * size + first[box, 0] + nth % width


def _least(order: Tensor, value: Tensor, image: Tensor, pixel: Tensor, images: int, size: int) -> Tensor:
    """(images, size, size) int64: at every pixel the value of least order, −1 where there is none.

    order: (P,) int64 in [0, 2³¹), value: (P,) int64 in [0, 2³²).
    """
    none = torch.iinfo(torch.int64).max
    best = torch.full((images * size * size,), none, dtype=torch.int64, device=order.device)
    best.scatter_reduce_(0, image * size * size + pixel, (order << 32) | value, "amin")
    return torch.where(best == none, -1, best & 0xFFFFFFFF).view(images, size, size)
