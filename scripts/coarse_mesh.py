# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh with fewer of its own vertices: half-edge collapses in the order of Garland and Heckbert's quadric error.

What is left is a subset of the vertices, so whatever is known of each (shape directions, weights) is known of the
coarse mesh as well.
"""

from __future__ import annotations

import heapq

import numpy as np

REGULARITY = 0.005  # weight of the squared distance to a vertex, beside that to its planes


def collapse(
    vertices: np.ndarray, faces: np.ndarray, count: int, pinned: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The kept vertices' numbers (count,), rising, and the triangles (F, 3) between them.

    vertices: (V, 3). faces: (F, 3) of a closed surface; vertices that no triangle uses are dropped. pinned: numbers of
    vertices that stay. Fewer collapses than asked for happen only where each left would tear or fold the surface.
    """
    mesh = _Mesh(vertices.astype(float), faces)
    fixed = set() if pinned is None else set(map(int, pinned))
    heap: list[tuple[float, int, int, int, int]] = []

    def push(a: int) -> None:
        for b in mesh.neighbours(a):
            for u, v in ((a, b), (b, a)):
                if u not in fixed:
                    heapq.heappush(heap, (mesh.cost(u, v), u, v, mesh.version[u], mesh.version[v]))

    for vertex in list(mesh.around):
        push(vertex)
    while len(mesh.around) > count and heap:
        _, u, v, version_u, version_v = heapq.heappop(heap)
        stale = u not in mesh.around or v not in mesh.around
        if stale or mesh.version[u] != version_u or mesh.version[v] != version_v or not mesh.may_collapse(u, v):
            continue
        mesh.collapse(u, v)
        push(v)
    kept = np.array(sorted(mesh.around))
    return kept, np.searchsorted(kept, np.array([mesh.faces[f] for f in sorted(mesh.faces)]))


class _Mesh:
    """Triangles by number, and the triangles around every vertex."""

    def __init__(self, points: np.ndarray, faces: np.ndarray) -> None:
        self.points = points
        self.faces = {i: tuple(map(int, face)) for i, face in enumerate(faces)}
        self.around: dict[int, set[int]] = {}
        for i, face in self.faces.items():
            for vertex in face:
                self.around.setdefault(vertex, set()).add(i)
        self.version = np.zeros(len(points), int)
        self.quadric = self._quadrics(faces)

    def _quadrics(self, faces: np.ndarray) -> np.ndarray:
        """(V, 4, 4) squared distance to the planes of the triangles around, weighted by a third of their areas."""
        corners = self.points[faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        double = np.linalg.norm(normal, axis=1, keepdims=True)
        normal = normal / np.maximum(double, 1e-15)
        plane = np.concatenate([normal, -(normal * corners[:, 0]).sum(1, keepdims=True)], 1)
        each = plane[:, :, None] * plane[:, None] * double[:, :, None] / 6
        quadric, area = np.zeros((len(self.points), 4, 4)), np.zeros(len(self.points))
        for corner in range(3):
            np.add.at(quadric, faces[:, corner], each)
            np.add.at(area, faces[:, corner], double[:, 0] / 6)
        point = np.zeros_like(quadric)
        point[:, :3, :3] = np.eye(3)
        point[:, :3, 3] = point[:, 3, :3] = -self.points
        point[:, 3, 3] = (self.points**2).sum(1)
        return quadric + REGULARITY * area[:, None, None] * point

    def neighbours(self, vertex: int) -> set[int]:
        return {other for f in self.around[vertex] for other in self.faces[f]} - {vertex}

    def cost(self, u: int, v: int) -> float:
        """What it costs to move u onto v."""
        where = np.append(self.points[v], 1.0)
        return float(where @ (self.quadric[u] + self.quadric[v]) @ where)

    def may_collapse(self, u: int, v: int) -> bool:
        """Whether u can move onto v without tearing (the link condition) or folding a triangle over."""
        if len(self.neighbours(u) & self.neighbours(v)) != 2 or len(self.around[u] & self.around[v]) != 2:
            return False
        for f in self.around[u] - self.around[v]:
            before = self.points[list(self.faces[f])]
            after = self.points[[v if corner == u else corner for corner in self.faces[f]]]
            n, m = (np.cross(p[1] - p[0], p[2] - p[0]) for p in (before, after))
            if n @ m < 0.3 * np.linalg.norm(n) * np.linalg.norm(m) or np.linalg.norm(m) < 1e-10:
                return False
        return True

    def collapse(self, u: int, v: int) -> None:
        for f in list(self.around[u]):
            face = self.faces[f]
            if v in face:
                for corner in face:
                    self.around[corner].discard(f)
                del self.faces[f]
            else:
                self.faces[f] = tuple(v if corner == u else corner for corner in face)
                self.around[v].add(f)
        self.version[v] += 1
        self.quadric[v] += self.quadric[u]
        del self.around[u]
