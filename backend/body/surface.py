# SPDX-License-Identifier: GPL-3.0-or-later
"""What clothes are cut and shaped with: operations on triangle surfaces, NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(N, 3) unit normals, triangles weighted by area; (0, 0, 0) where no triangle is."""
    p = vertices[faces]
    normal = np.repeat(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), 3, axis=0)
    return _unit(np.stack([np.bincount(faces.ravel(), normal[:, k], len(vertices)) for k in range(3)], -1))


def corner_normals(vertices: np.ndarray, faces: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(F, 3, 3) unit normals, smooth within a group of triangles (F,) and split between groups.

    Triangles are weighted by their angle at the vertex, as Blender does.
    """
    p = vertices[faces]
    edge = _unit(np.roll(p, -1, axis=1) - p)
    normal = _unit(np.cross(edge[:, 0], edge[:, 1]))
    angle = np.arccos(np.clip(-(edge * np.roll(edge, 1, axis=1)).sum(2), -1, 1))
    slots = faces + groups[:, None].astype(np.int64) * len(vertices)
    weighted = (normal[:, None] * angle[..., None]).reshape(-1, 3)
    size = len(vertices) * (int(groups.max()) + 1)
    summed = np.stack([np.bincount(slots.ravel(), weighted[:, k], size) for k in range(3)], -1)
    return _unit(summed)[slots].astype(np.float32)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-20)


@dataclass(frozen=True)
class Patch:
    """A piece cut from a surface of V vertices.

    Vertex n lies between the surface's vertices pairs[n] at mix[n] of the way; both are the same for a kept vertex.
    faces (M, 3); uv (M, 3, 2) of the corners.
    """

    pairs: np.ndarray
    mix: np.ndarray
    faces: np.ndarray
    uv: np.ndarray

    def take(self, values: np.ndarray) -> np.ndarray:
        """Values of the surface's vertices (V, …), interpolated at the patch's."""
        mix = self.mix.reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
        return values[self.pairs[:, 0]] * (1 - mix) + values[self.pairs[:, 1]] * mix


def cut(faces: np.ndarray, uv: np.ndarray, field: np.ndarray) -> Patch:
    """The part of a surface where the field (V,) is positive, with a clean edge along its zero line.

    faces (F, 3), uv (F, 3, 2).
    """
    count, inside = len(field), field > 0
    corners = inside[faces].sum(1)
    keys, uvs = [faces[corners == 3].astype(np.int64) * (count + 1)], [uv[corners == 3]]
    for wanted, odd_inside in ((1, True), (2, False)):
        some = corners == wanted
        first = (inside[faces[some]] == odd_inside).argmax(1)
        order = (first[:, None] + np.arange(3)) % 3
        a, b, c = np.take_along_axis(faces[some], order, 1).T.astype(np.int64)
        ua, ub, uc = np.moveaxis(np.take_along_axis(uv[some], order[..., None], 1), 1, 0)
        ab, ac = np.minimum(a, b) * count + np.maximum(a, b), np.minimum(a, c) * count + np.maximum(a, c)
        uab, uac = ua + (ub - ua) * _crossing(field, a, b)[:, None], ua + (uc - ua) * _crossing(field, a, c)[:, None]
        a, b, c = a * (count + 1), b * (count + 1), c * (count + 1)
        if odd_inside:
            keys.append(np.stack([a, ab, ac], 1))
            uvs.append(np.stack([ua, uab, uac], 1))
        else:
            keys += [np.stack([ab, b, c], 1), np.stack([ab, c, ac], 1)]
            uvs += [np.stack([uab, ub, uc], 1), np.stack([uab, uc, uac], 1)]
    unique, index = np.unique(np.concatenate(keys), return_inverse=True)
    low, high = np.divmod(unique, count)
    mix = np.where(low == high, 0, _crossing(field, low, high))
    return Patch(np.stack([low, high], 1), mix, index.reshape(-1, 3).astype(np.int32), np.concatenate(uvs))


def _crossing(field: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far from a to b the field is zero, kept off the ends so that no triangle collapses."""
    step = field[a] - field[b]
    return np.clip(field[a] / np.where(step == 0, 1, step), 0.05, 0.95)


def smooth(values: np.ndarray, faces: np.ndarray, steps: int, keep_rim: bool = True) -> np.ndarray:
    """Laplacian smoothing of vertex values (N, C); the rim slides along itself only."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    rim = rim_edges(faces)
    on_rim = np.zeros(len(values), bool)
    on_rim[rim] = True
    edges = np.concatenate([edges, edges[:, ::-1]])
    if keep_rim:
        edges = np.concatenate([edges[~on_rim[edges[:, 0]]], rim, rim[:, ::-1]])
    edges = np.unique(edges[:, 0] * len(values) + edges[:, 1])
    source, target = np.divmod(edges, len(values))
    start = np.flatnonzero(np.r_[True, np.diff(source) > 0])
    degree = np.diff(np.r_[start, len(source)])[:, None]
    values = values.copy()
    for _ in range(steps):
        mean = np.add.reduceat(values[target], start, axis=0) / degree
        values[source[start]] += 0.5 * (mean - values[source[start]])
    return values


def rim_edges(faces: np.ndarray) -> np.ndarray:
    """(E, 2) directed edges that only one triangle has."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    size = int(faces.max()) + 1
    forward, backward = edges[:, 0] * size + edges[:, 1], edges[:, 1] * size + edges[:, 0]
    return edges[~np.isin(forward, backward)]


def thicken(
    outer: np.ndarray, inner: np.ndarray, faces: np.ndarray, uv: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A closed shell from an outer and an inner surface (N, 3) of the same faces (M, 3).

    Returns vertices (2N, 3), faces, uv of the corners, and the group of each face: 0 outside, 1 inside, 2 the rim.
    """
    n = len(outer)
    rim = rim_edges(faces)
    corner = np.zeros((n, 2), uv.dtype)
    corner[faces.ravel()] = uv.reshape(-1, 2)
    a, b = rim.T
    wall = np.concatenate([np.stack([b, a, a + n], 1), np.stack([b, a + n, b + n], 1)])
    wall_uv = corner[wall % n]
    all_faces = np.concatenate([faces, faces[:, ::-1] + n, wall]).astype(np.int32)
    groups = np.repeat([0, 1, 2], [len(faces), len(faces), len(wall)]).astype(np.uint8)
    return np.concatenate([outer, inner]), all_faces, np.concatenate([uv, uv[:, ::-1], wall_uv]), groups


def grid_faces(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles and corner uv of a tube: rows × columns vertices, the last column joined to the first.

    u runs around, v from 1 in the first row to 0 in the last. Faces look outwards where rows go down (−y) and columns
    turn from +z to +x.
    """
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    r, c = r.ravel(), c.ravel()
    corners = [(r, c), (r + 1, c), (r + 1, c + 1), (r, c + 1)]
    index = [row * columns + column % columns for row, column in corners]
    uv = [np.stack([column / columns, 1 - row / (rows - 1)], -1) for row, column in corners]
    faces = np.concatenate([np.stack([index[k] for k in t], 1) for t in ((0, 1, 2), (0, 2, 3))])
    uvs = np.concatenate([np.stack([uv[k] for k in t], 1) for t in ((0, 1, 2), (0, 2, 3))])
    return faces.astype(np.int32), uvs.astype(np.float32)


@dataclass(frozen=True)
class Hull:
    """The convex outline of a limb in slices along an axis: what cloth that spans hollows would touch.

    start: (3,) where the axis begins; along, first, second: orthonormal; step: metres between slices;
    radius: (T, A) in metres over slices and angles from `first` to `second`.
    """

    start: np.ndarray
    along: np.ndarray
    first: np.ndarray
    second: np.ndarray
    step: float
    radius: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, start: np.ndarray, end: np.ndarray, first: np.ndarray, slices: int = 32) -> Hull:
        """Outline of points (N, 3) around the axis from start to end; angles count from `first`."""
        along = _unit(end - start)
        first = _unit(first - along * (first @ along))
        second = np.cross(first, along)
        step = float(np.linalg.norm(end - start)) / (slices - 1)
        offset = points - start
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        reach = np.outer(offset @ first, np.cos(angles)) + np.outer(offset @ second, np.sin(angles))
        position = offset @ along / step
        support = np.full((slices, len(angles)), -np.inf)
        for t in range(slices):
            near = np.abs(position - t) <= 0.75
            if near.any():
                support[t] = reach[near].max(0)
        known = np.flatnonzero(np.isfinite(support[:, 0]))
        support = support[known[np.abs(known[None] - np.arange(slices)[:, None]).argmin(1)]]
        facing = np.cos(angles[:, None] - angles[None])
        ratio = np.where(facing > 0.05, support[:, None, :] / np.maximum(facing, 0.05), np.inf)
        return cls(start, along, first, second, step, np.maximum(ratio.min(2), 0.005))

    def hanging(self, slope: float) -> Hull:
        """As cloth that falls along the axis: it narrows by at most `slope` metres a metre."""
        radius = self.radius.copy()
        for t in range(1, len(radius)):
            radius[t] = np.maximum(radius[t], radius[t - 1] - slope * self.step)
        padded = np.pad(radius, ((1, 1), (0, 0)), "edge")
        radius = np.maximum(radius, (padded[:-2] + padded[1:-1] + padded[2:]) / 3)
        return Hull(self.start, self.along, self.first, self.second, self.step, radius)

    def coordinates(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Metres along the axis, angle in [0, 2π), and distance from the axis, each (N,)."""
        offset = points - self.start
        x, y = offset @ self.first, offset @ self.second
        return offset @ self.along, np.arctan2(y, x) % (2 * np.pi), np.hypot(x, y)

    def at(self, t: np.ndarray, angle: np.ndarray) -> np.ndarray:
        """The outline's radius at metres along the axis and angles, bilinear."""
        row = np.clip(t / self.step, 0, len(self.radius) - 1.001)
        column = angle % (2 * np.pi) / (2 * np.pi) * self.radius.shape[1]
        r, c = row.astype(int), column.astype(int)
        fr, fc = row - r, column - c
        c, d = c % self.radius.shape[1], (c + 1) % self.radius.shape[1]
        near = self.radius[r, c] * (1 - fc) + self.radius[r, d] * fc
        far = self.radius[r + 1, c] * (1 - fc) + self.radius[r + 1, d] * fc
        return near * (1 - fr) + far * fr

    def points(self, t: np.ndarray, angle: np.ndarray, radius: np.ndarray) -> np.ndarray:
        """Where these cylinder coordinates lie, (…, 3)."""
        t, angle, radius = (np.asarray(v)[..., None] for v in (t, angle, radius))
        around = np.cos(angle) * self.first + np.sin(angle) * self.second
        return self.start + t * self.along + radius * around

    def pushed(self, points: np.ndarray, margin: float, share: np.ndarray) -> np.ndarray:
        """Points (N, 3) moved away from the axis, by their share (N,), to the outline plus a margin where nearer."""
        t, angle, distance = self.coordinates(points)
        wanted = np.maximum(self.at(t, angle) + margin, distance)
        return points + (self.points(t, angle, wanted) - self.points(t, angle, distance)) * share[:, None]


def ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step: 0 below low, 1 above high."""
    t = np.clip((np.asarray(x) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
