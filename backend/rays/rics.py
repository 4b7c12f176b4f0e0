# SPDX-License-Identifier: GPL-3.0-or-later
"""RiCS: what every visible point of a character hides from itself, direction by direction (RiCS paper, section 3.2).

A ray that starts into the surface is a hit and is not traced. "Into" is judged by the smooth normal, which shades:
rays that leave it start above the surface that the normals describe, not on its facets, or each facet would draw its
outline where light grazes (Hanika, "Hacking the Shadow Terminator", Ray Tracing Gems II, 2021).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from ..protocol import CHARACTER, HOLDOUT, PROP, ROLES, Camera
from .camera import pixel_centres, primary_rays, project
from .directions import RICS_DIRECTIONS, SOLID_ANGLES, pack_bits, unpack_bits
from .scene import Hits, RayScene, in_chunks

_GRAZING = 1e-3  # cosine; a ray along the surface counts as into it, or rounding would decide for every wall and floor


@dataclass(frozen=True)
class SurfaceMap:
    """The character's front-most surface at the centre of each pixel of a frame, in camera space; 0 where not valid.

    valid: (H, W) bool, where the pixel's centre sees the character; False outside the camera's window.
    mesh: (H, W) int32 index into the scene's meshes.
    point: (H, W, 3) float32 metres.
    normal: (H, W, 3) float32 unit, interpolated from the corners' normals, on the geometric normal's side.
    geometric_normal: (H, W, 3) float32 unit, of the triangle, on the viewer's side.
    offset: (H, W, 3) float32 metres; rays from the surface start at point + offset.
    bits: (H, W) uint64, the RiCS map: bit k is 1 where the ray along direction k hits the character.
    blockers: (H, W) uint64: bit k is 1 where a ray along direction k that leaves the surface hits a prop or holdout.
    """

    valid: np.ndarray
    mesh: np.ndarray
    point: np.ndarray
    normal: np.ndarray
    geometric_normal: np.ndarray
    offset: np.ndarray
    bits: np.ndarray
    blockers: np.ndarray


def trace(scene: RayScene, camera: Camera) -> SurfaceMap:
    """The surface that the camera sees within its window, with the RiCS map of the character's meshes."""
    surface = _visible_surface(scene, camera)
    at = np.flatnonzero(surface.valid)
    origins, normals = _origins_and_normals(surface)

    def cast(rows: slice) -> None:
        leaving = normals[rows] @ RICS_DIRECTIONS.T > _GRAZING
        hidden = scene.blocked(origins[rows], RICS_DIRECTIONS[None], leaving, (CHARACTER,)) | ~leaving
        surface.bits.flat[at[rows]] = pack_bits(hidden)
        surface.blockers.flat[at[rows]] = pack_bits(
            scene.blocked(origins[rows], RICS_DIRECTIONS[None], leaving, (PROP, HOLDOUT))
        )

    in_chunks(cast, len(at))
    return surface


def light_visibility(
    scene: RayScene, surface: SurfaceMap, directions: np.ndarray, roles: Collection[str] = ROLES
) -> np.ndarray:
    """Whether light reaches the surface: (N, K) bool for the N valid points in row-major order.

    directions: (K, 3) unit vectors toward the light, for all points, or (N, K, 3) for each point its own.
    roles: the meshes that can block it.
    """
    directions = np.asarray(directions, np.float32)
    directions = directions[None] if directions.ndim == 2 else directions
    origins, normals = _origins_and_normals(surface)
    visible = np.empty((len(origins), directions.shape[-2]), bool)

    def cast(rows: slice) -> None:
        if len(directions) == 1:
            toward, cosine = directions, normals[rows] @ directions[0].T
        else:
            toward, cosine = directions[rows], np.einsum("nc,nkc->nk", normals[rows], directions[rows])
        leaving = cosine > _GRAZING
        visible[rows] = leaving & ~scene.blocked(origins[rows], toward, leaving, roles)

    in_chunks(cast, len(origins))
    return visible


def occlusion(surface: SurfaceMap) -> np.ndarray:
    """(H, W) float32 in [0, 1]: the cosine-weighted share of the hemisphere that the character blocks; 0 outside it."""
    at = np.flatnonzero(surface.valid)
    normals, bits = surface.normal.reshape(-1, 3)[at], surface.bits.ravel()[at]
    share = np.zeros(surface.valid.shape, np.float32)

    def weigh(rows: slice) -> None:
        weight = SOLID_ANGLES * np.maximum(normals[rows] @ RICS_DIRECTIONS.T, 0)
        share.flat[at[rows]] = (weight * unpack_bits(bits[rows])).sum(axis=1) / weight.sum(axis=1)

    in_chunks(weigh, len(at))
    return share


def _visible_surface(scene: RayScene, camera: Camera) -> SurfaceMap:
    """The surface map before any ray has left the surface."""
    shape = (camera.height, camera.width)
    surface = SurfaceMap(
        np.zeros(shape, bool),
        np.zeros(shape, np.int32),
        *(np.zeros((*shape, 3), np.float32) for _ in range(4)),
        *(np.zeros(shape, np.uint64) for _ in range(2)),
    )
    pixels = pixel_centres(replace(camera, border=_bounds(scene, camera))).reshape(-1, 2)
    margin = _margin(scene)

    def look(rows: slice) -> None:
        origins, directions = primary_rays(camera, pixels[rows])
        hits = scene.intersect(origins, directions, (CHARACTER,))
        seen = np.flatnonzero(hits.mesh >= 0)
        vertices, corner_normals, weights = _corners(scene, hits, seen)
        point = np.einsum("nij,ni->nj", vertices, weights)
        geometric = _facing(
            _unit(np.cross(vertices[:, 1] - vertices[:, 0], vertices[:, 2] - vertices[:, 0])),
            np.float32(-directions[seen]),
        )
        corner_normals = _facing(corner_normals, geometric[:, None])
        smooth = np.einsum("nij,ni->nj", corner_normals, weights)
        # Up to the tangent planes at the corners where the surface bulges over the triangle.
        below = np.minimum(np.einsum("nij,nij->ni", point[:, None] - vertices, corner_normals), 0)
        lift = -np.einsum("nij,ni->nj", corner_normals, below * weights)

        column, row = np.floor(pixels[rows][seen]).astype(np.int64).T
        surface.valid[row, column] = True
        surface.mesh[row, column] = hits.mesh[seen]
        surface.point[row, column] = point
        surface.geometric_normal[row, column] = geometric
        surface.normal[row, column] = _unit(smooth, otherwise=geometric)
        surface.offset[row, column] = lift + margin * geometric

    in_chunks(look, len(pixels))
    return surface


def _bounds(scene: RayScene, camera: Camera) -> tuple[int, int, int, int]:
    """The part of the camera's window that can see the character's bounding box."""
    left, top, right, bottom = camera.window
    box = np.stack(scene.reach(CHARACTER))
    if not np.isfinite(box).all():
        return left, top, left, top
    corners, _ = project(camera, np.stack(np.meshgrid(*box.T), axis=-1).reshape(-1, 3))
    if np.isnan(corners).any():  # it reaches behind the camera
        return left, top, right, bottom
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    columns, rows = np.clip([low[0], high[0]], left, right), np.clip([low[1], high[1]], top, bottom)
    return int(columns[0]), int(rows[0]), int(columns[1]), int(rows[1])


def _margin(scene: RayScene) -> float:
    """Metres above the surface at which rays start: small against the character, well above float32's rounding."""
    low, high = scene.reach(CHARACTER)
    if not np.isfinite(low).all():
        return 0.0
    furthest = np.float32(max(np.abs(low).max(), np.abs(high).max()))
    return float(max(2e-5 * np.linalg.norm(high - low), 16 * np.spacing(furthest)))


def _corners(scene: RayScene, hits: Hits, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 3, 3) vertices, (n, 3, 3) corner normals and (n, 3) barycentric weights of the hits at `seen`."""
    vertices, normals = np.empty((2, len(seen), 3, 3), np.float32)
    for index in np.unique(hits.mesh[seen]):
        here = hits.mesh[seen] == index
        mesh, triangles = scene.meshes[index], hits.triangle[seen[here]]
        vertices[here] = mesh.vertices[mesh.triangles[triangles]]
        normals[here] = mesh.corner_normals[triangles]
    uv = hits.uv[seen]
    return vertices, np.nan_to_num(normals), np.column_stack([1 - uv.sum(axis=1), uv])


def _origins_and_normals(surface: SurfaceMap) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) starts of the rays that leave the valid points, and (N, 3) smooth normals."""
    return surface.point[surface.valid] + surface.offset[surface.valid], surface.normal[surface.valid]


def _unit(vectors: np.ndarray, otherwise: np.ndarray | None = None) -> np.ndarray:
    """Unit vectors; `otherwise` (or zero) in place of those without a length."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1)
    return unit if otherwise is None else np.where(length > 1e-6, unit, otherwise)


def _facing(normals: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Normals, reversed where they look away from `side`."""
    return np.where((normals * side).sum(axis=-1, keepdims=True) < 0, -normals, normals)
