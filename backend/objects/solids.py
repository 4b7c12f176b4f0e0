# SPDX-License-Identifier: GPL-3.0-or-later
"""Closed solids that generated objects are built of. Everything is a loft: a row of rings, skinned and capped.

Object space: x right, y up, +z toward the object's front, as in glTF.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDES = 20  # points of a round ring
CREASE = np.cos(np.radians(35.0))  # faces that meet at a wider angle keep a sharp edge


@dataclass(frozen=True)
class Solid:
    """A closed triangle mesh, seen from outside counter-clockwise.

    vertices: (V, 3) float64. faces: (F, 3) int32.
    """

    vertices: np.ndarray
    faces: np.ndarray

    def moved(self, offset: np.ndarray | tuple[float, float, float], scale: float = 1.0) -> Solid:
        return Solid((self.vertices + np.asarray(offset)) * scale, self.faces)

    def turned(self, axis: int, angle: float, about: tuple[float, float, float] = (0, 0, 0)) -> Solid:
        """Turned counter-clockwise by `angle` radians about the line along an axis through a point."""
        a, b = (axis + 1) % 3, (axis + 2) % 3
        matrix = np.eye(3)
        matrix[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        return Solid((self.vertices - about) @ matrix.T + about, self.faces)

    def mirrored(self) -> Solid:
        """Left and right exchanged."""
        return Solid(self.vertices * (-1, 1, 1), self.faces[:, ::-1])

    @property
    def volume(self) -> float:
        a, b, c = np.moveaxis(self.vertices[self.faces], 1, 0)
        return float(np.einsum("fc,fc->", a, np.cross(b, c)) / 6)


def loft(rings: np.ndarray, closed: bool = False) -> Solid:
    """Skin rings (R, N, 3) in order. Open rows are capped by fans, so their end rings are star-shaped; a closed one
    joins its last ring to its first, as a shell with an inside has it."""
    rings = np.asarray(rings, np.float64)
    count, sides = rings.shape[:2]
    row = np.arange(sides)
    faces = []
    for k in range(count if closed else count - 1):
        a, b = k * sides, (k + 1) % count * sides
        quads = np.stack([a + row, a + (row + 1) % sides, b + (row + 1) % sides, b + row], 1)
        faces += [quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]
    vertices = rings.reshape(-1, 3)
    if not closed:
        first, last = count * sides, count * sides + 1
        vertices = np.concatenate([vertices, rings[[0, -1]].mean(1)])
        faces.append(np.stack([np.full(sides, first), (row + 1) % sides, row], 1))
        end = (count - 1) * sides
        faces.append(np.stack([np.full(sides, last), end + row, end + (row + 1) % sides], 1))
    solid = Solid(vertices, np.concatenate(faces).astype(np.int32))
    return solid if solid.volume > 0 else Solid(vertices, solid.faces[:, ::-1])


def outline(width: float, depth: float, power: float = 2.0, sides: int = SIDES) -> np.ndarray:
    """(N, 2) superellipse: power 2 is an ellipse, 4 a cushion, from 8 nearly a rectangle."""
    angle = (np.arange(sides) + 0.5) * 2 * np.pi / sides
    c, s = np.cos(angle), np.sin(angle)
    radius = (np.abs(c) ** power + np.abs(s) ** power) ** (-1 / power)
    return np.stack([width / 2 * radius * c, depth / 2 * radius * s], 1)


def box(centre: tuple[float, float, float], size: tuple[float, float, float], bevel: float = 0.0) -> Solid:
    """A box with its edges cut off by `bevel`."""
    w, h, d = size
    bevel = min(bevel, 0.45 * min(size))
    if bevel <= 0:
        corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (w / 2, d / 2)
        rows = [(-h / 2, corners), (h / 2, corners)]
    else:
        ring = _cut_rectangle(w, d, bevel)
        inner = _cut_rectangle(w - 1.2 * bevel, d - 1.2 * bevel, bevel * 0.7)
        rows = [(-h / 2, inner), (-h / 2 + bevel * 0.6, ring), (h / 2 - bevel * 0.6, ring), (h / 2, inner)]
    rings = [np.stack([r[:, 0], np.full(len(r), y), r[:, 1]], 1) for y, r in rows]
    return loft(np.array(rings)).moved(centre)


def slab(centre: tuple[float, float, float], size: tuple[float, float, float], power: float) -> Solid:
    """A level plate with a superellipse's outline and slightly rounded edges."""
    w, h, d = size
    ring, edge = outline(w, d, power, 32), min(0.3 * h, 0.1 * min(w, d))
    inner = ring * (1 - 2 * edge / np.array([w, d]))
    rows = [(-h / 2, inner), (-h / 2 + edge, ring), (h / 2 - edge, ring), (h / 2, inner)]
    return loft(np.array([np.stack([r[:, 0], np.full(len(r), y), r[:, 1]], 1) for y, r in rows])).moved(centre)


def rod(start: tuple, end: tuple, radius: float, end_radius: float | None = None, power: float = 2.0) -> Solid:
    """A straight rod between two points; power 8 makes it square."""
    return tube(np.array([start, end], float), np.array([radius, radius if end_radius is None else end_radius]), power)


def tube(
    path: np.ndarray,
    radius: np.ndarray | float,
    power: float = 2.0,
    flat: float = 1.0,
    side: tuple[float, float, float] | None = None,
) -> Solid:
    """A tube along a path (K, 3), cut square to it.

    radius: one, or one a point. side: roughly the direction of a ring's width. flat: depth over width of a ring.
    """
    path = np.asarray(path, np.float64)
    radius = np.broadcast_to(radius, len(path))
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    across_x = abs(tangents[0, 0]) > 0.8
    width = np.array(side or ((0.0, 0.0, 1.0) if across_x else (1.0, 0.0, 0.0)))
    ring = outline(2, 2 * flat, power, 12)
    rings = []
    for point, tangent, r in zip(path, tangents, radius, strict=True):
        width = width - tangent * (width @ tangent)
        width /= np.linalg.norm(width)
        rings.append(point + r * (ring[:, :1] * width + ring[:, 1:] * np.cross(tangent, width)))
    return loft(np.array(rings))


def lathe(profile: np.ndarray, centre: tuple[float, float, float] = (0, 0, 0), closed: bool = False) -> Solid:
    """A profile (K, 2) of radii and heights turned about the vertical; closed profiles make hollow shells."""
    ring = outline(2, 2, 2.0, SIDES)
    rings = [np.stack([max(r, 1e-4) * ring[:, 0], np.full(SIDES, y), max(r, 1e-4) * ring[:, 1]], 1) for r, y in profile]
    return loft(np.array(rings), closed).moved(centre)


def corner_normals(solid: Solid) -> np.ndarray:
    """(F, 3, 3) unit normals, smooth but for creases."""
    corners = solid.vertices[solid.faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    size = np.linalg.norm(area, axis=1, keepdims=True)
    unit = area / np.maximum(size, 1e-15)
    vertex, face = solid.faces.ravel(), np.repeat(np.arange(len(solid.faces)), 3)
    order = np.argsort(vertex, kind="stable")
    counts = np.bincount(vertex, minlength=len(solid.vertices))
    starts = np.cumsum(counts) - counts
    many = counts[vertex]  # faces at each corner's vertex
    corner = np.repeat(np.arange(len(vertex)), many)
    within = np.arange(len(corner)) - np.repeat(np.cumsum(many) - many, many)
    other = face[order[starts[vertex[corner]] + within]]
    near = np.einsum("nc,nc->n", unit[face[corner]], unit[other]) > CREASE
    total = np.zeros((len(vertex), 3))
    np.add.at(total, corner[near], area[other[near]])
    flat = np.linalg.norm(total, axis=1, keepdims=True) < 1e-15
    total = np.where(flat, unit[face] + 1e-12, total)
    return (total / np.linalg.norm(total, axis=1, keepdims=True)).reshape(-1, 3, 3)


def _cut_rectangle(width: float, depth: float, cut: float) -> np.ndarray:
    """(8, 2) rectangle with its corners cut off, counter-clockwise."""
    w, d = width / 2, depth / 2
    corners = [(w, d - cut), (w - cut, d), (cut - w, d), (-w, d - cut), (-w, cut - d), (cut - w, -d), (w - cut, -d)]
    return np.array([*corners, (w, cut - d)])
