# SPDX-License-Identifier: GPL-3.0-or-later
"""Posed meshes in Embree: the nearest hits of rays, and whether rays are blocked, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..protocol import ROLES, Mesh, PenumbraError
from .plain import PlainTracer

try:
    from .packets import PacketTracer

    Tracer = PacketTracer
except (ImportError, RuntimeError):  # RuntimeError: Numba finds no folder for its cache
    Tracer = PlainTracer

CHUNK = 1 << 14  # rays or points a task; bounds the memory of what is computed on the way


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
        origins, directions = _rays(origins, 2), _rays(directions, 2)
        count = len(origins)
        hits = Hits(
            np.full(count, np.inf, np.float32),
            np.full(count, -1, np.int32),
            np.full(count, -1, np.int32),
            np.zeros((count, 2), np.float32),
        )

        def trace(rows: slice) -> None:
            for part in self._of(roles):
                distance, mesh, triangle, uv = part.tracer.nearest(origins[rows], directions[rows])
                nearer = np.flatnonzero((mesh >= 0) & (distance < hits.t[rows]))
                at = rows.start + nearer
                hits.t[at], hits.mesh[at] = distance[nearer], part.meshes[mesh[nearer]]
                hits.triangle[at], hits.uv[at] = triangle[nearer], uv[nearer]

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

        origins: (N, 3). directions: (N, 3), or (1, 3) for all rays. t_max: in lengths of the directions.
        """
        directions = _rays(directions, 2)
        return self.blocked(origins, directions[:, None], None, roles, t_max)[:, 0]

    def blocked(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        active: np.ndarray | None = None,
        roles: Collection[str] = ROLES,
        t_max: float = np.inf,
    ) -> np.ndarray:
        """(N, K) bool: `occluded` for K rays from each of N points, much faster where directions are shared.

        origins: (N, 3). directions: (1, K, 3) for all points, or (N, K, 3). active: (N, K) bool; rays that are not
        are not cast, and not blocked.
        """
        origins, directions = _rays(origins, 2), _rays(directions, 3)
        shape = (len(origins), directions.shape[1])
        if len(directions) not in (1, shape[0]):
            raise ValueError(f"{len(directions)} sets of directions for {shape[0]} points")
        active = np.ones(shape, bool) if active is None else np.ascontiguousarray(active, bool)
        if active.shape != shape:
            raise ValueError(f"expected {shape} active rays, not {active.shape}")
        blocked = np.zeros(shape, bool)

        def trace(rows: slice) -> None:
            toward = directions if len(directions) == 1 else directions[rows]
            for part in self._of(roles):
                blocked[rows] |= part.tracer.blocked(origins[rows], toward, active[rows], t_max)

        in_chunks(trace, len(origins))
        return blocked

    def _of(self, roles: Collection[str]) -> list[_Part]:
        return [part for role, part in self._parts.items() if role in roles]


@dataclass(frozen=True)
class _Part:
    """All meshes of one role: what a ray may ask for separately."""

    tracer: PacketTracer | PlainTracer
    meshes: np.ndarray  # index into RayScene.meshes by the tracer's number of a mesh

    @classmethod
    def build(cls, meshes: tuple[Mesh, ...], role: str) -> _Part | None:
        indices = [i for i, mesh in enumerate(meshes) if mesh.role == role and len(mesh.triangles)]
        if not indices:
            return None
        geometry = [
            (np.ascontiguousarray(m.vertices, np.float32), np.ascontiguousarray(m.triangles, np.int32))
            for m in (meshes[i] for i in indices)
        ]
        return cls(Tracer(geometry), np.array(indices, np.int32))


def in_chunks(task: Callable[[slice], None], count: int) -> None:
    """Call task(rows) for slices that cover range(count), on all cores: Embree and NumPy let go of Python's lock.

    Up to CHUNK rows are one slice, done in the calling thread, so a task may itself cast its rows' rays.
    """
    slices = [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
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


def _rays(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != dimensions or vectors.shape[-1] != 3:
        raise ValueError(f"expected rays of {dimensions} dimensions, the last of size 3, not {vectors.shape}")
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
