# SPDX-License-Identifier: GPL-3.0-or-later
"""Posed meshes in Embree: the nearest hits of rays, and whether rays are blocked, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from ..protocol import ROLES, Mesh, PenumbraError

CHUNK = 1 << 16  # rays; bounds the memory of what is computed on the way


@dataclass(frozen=True)
class Hits:
    """The nearest hit of each of N rays.

    t: (N,) float32, in lengths of the ray's direction; infinite where the ray hits nothing.
    mesh: (N,) int32 index into the scene's meshes, −1 where it hits nothing.
    triangle: (N,) int32 index into that mesh's triangles.
    uv: (N, 2) float32: the point is (1 − u − v)·v₀ + u·v₁ + v·v₂.
    """

    t: np.ndarray
    mesh: np.ndarray
    triangle: np.ndarray
    uv: np.ndarray


class RayScene:
    """Meshes to cast rays at. Meshes without a triangle are allowed, and so is a scene without a mesh.

    Raises PenumbraError, naming the mesh, where a vertex is not a finite number.
    """

    def __init__(self, meshes: Collection[Mesh]) -> None:
        self.meshes = tuple(meshes)
        for mesh in self.meshes:
            _check(mesh)
        self._parts = {role: part for role in ROLES if (part := _Part.build(self.meshes, role))}

    def reach(self, role: str) -> tuple[np.ndarray, np.ndarray]:
        """(3,) least and (3,) greatest coordinates of a role's triangles; infinite (+∞, −∞) where it has none."""
        used = [m.vertices[m.triangles].reshape(-1, 3) for m in self.meshes if m.role == role and len(m.triangles)]
        corners = [(v.min(axis=0), v.max(axis=0)) for v in used]
        empty = (np.full(3, np.inf), np.full(3, -np.inf))
        return np.min([c[0] for c in [*corners, empty]], axis=0), np.max([c[1] for c in [*corners, empty]], axis=0)

    def intersect(self, origins: np.ndarray, directions: np.ndarray, roles: Collection[str] = ROLES) -> Hits:
        """The nearest hits of N rays with meshes of the given roles; origins and directions are (N, 3).

        Both sides of a triangle are hit.
        """
        origins, directions = _rays(origins), _rays(directions)
        count = len(origins)
        hits = Hits(
            np.full(count, np.inf, np.float32),
            np.full(count, -1, np.int32),
            np.full(count, -1, np.int32),
            np.zeros((count, 2), np.float32),
        )
        parts = self._of(roles)

        def trace(rows: slice) -> None:
            for part in parts:
                found = part.embree.run(origins[rows], directions[rows], output=True)
                nearer = np.flatnonzero((found["geomID"] >= 0) & (found["tfar"] < hits.t[rows]))
                at = rows.start + nearer
                hits.t[at] = found["tfar"][nearer]
                hits.mesh[at] = part.meshes[found["geomID"][nearer]]
                hits.triangle[at] = found["primID"][nearer]
                hits.uv[at] = np.stack([found["u"][nearer], found["v"][nearer]], axis=-1)

        in_chunks(trace, count)
        return hits

    def occluded(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        roles: Collection[str] = ROLES,
        t_max: float = np.inf,
    ) -> np.ndarray:
        """(N,) bool: whether each of N rays hits a mesh of the given roles nearer than `t_max`.

        origins: (N, 3). directions: (N, 3), or (1, 3) for all rays.
        """
        origins, directions = _rays(origins), _rays(directions)
        blocked = np.zeros(len(origins), bool)

        def trace(rows: slice) -> None:
            toward = directions if len(directions) == 1 else directions[rows]
            blocked[rows] = self._occluded(origins[rows], toward, roles, t_max)

        in_chunks(trace, len(origins))
        return blocked

    def _occluded(
        self, origins: np.ndarray, directions: np.ndarray, roles: Collection[str], t_max: float = np.inf
    ) -> np.ndarray:
        """`occluded` in the calling thread."""
        blocked = np.zeros(len(origins), bool)
        if len(origins):
            for part in self._of(roles):
                blocked |= part.embree.run(origins, directions, dists=min(t_max, 1e30), query="OCCLUDED") >= 0
        return blocked

    def _of(self, roles: Collection[str]) -> list[_Part]:
        return [part for role, part in self._parts.items() if role in roles]


@dataclass(frozen=True)
class _Part:
    """All meshes of one role. embreex has no ray masks, so each role is an Embree scene."""

    embree: EmbreeScene
    meshes: np.ndarray  # index into RayScene.meshes by Embree's geometry number

    @classmethod
    def build(cls, meshes: tuple[Mesh, ...], role: str) -> _Part | None:
        indices = [i for i, mesh in enumerate(meshes) if mesh.role == role and len(mesh.triangles)]
        if not indices:
            return None
        embree = EmbreeScene(robust=True)
        for i in indices:
            TriangleMesh(
                embree,
                np.ascontiguousarray(meshes[i].vertices, np.float32),
                np.ascontiguousarray(meshes[i].triangles, np.int32),
            )
        embree.run(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))  # builds, before threads share it
        return cls(embree, np.array(indices, np.int32))


def in_chunks(task: Callable[[slice], None], count: int, size: int = CHUNK) -> None:
    """Call task(rows) for slices that cover range(count), on all cores: Embree and NumPy let go of Python's lock."""
    slices = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    if len(slices) < 2:
        for rows in slices:
            task(rows)
        return
    with ThreadPoolExecutor(_cores()) as pool:
        for _ in pool.map(task, slices):
            pass  # raises what a task raised


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _rays(vectors: np.ndarray) -> np.ndarray:
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != 3:
        raise ValueError(f"expected (N, 3) rays, not {vectors.shape}")
    return vectors


def _check(mesh: Mesh) -> None:
    if mesh.role not in ROLES:
        raise ValueError(f"{mesh.name}: unknown role {mesh.role!r}")
    if mesh.vertices.ndim != 2 or mesh.vertices.shape[1] != 3:
        raise ValueError(f"{mesh.name}: vertices have the shape {mesh.vertices.shape}")
    if len(mesh.triangles) and not 0 <= mesh.triangles.min() <= mesh.triangles.max() < len(mesh.vertices):
        raise ValueError(f"{mesh.name}: a triangle names a vertex that is not there")
    if not np.isfinite(mesh.vertices).all():
        raise PenumbraError(
            f"The mesh “{mesh.name}” has vertices whose coordinates are not finite numbers.",
            "Look for a modifier or driver that breaks it, or delete those vertices, and try again.",
        )
