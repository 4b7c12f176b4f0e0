# SPDX-License-Identifier: GPL-3.0-or-later
"""A body's texture from a photograph, completed by symmetry.

Where the camera does not see a place, the same place of the other side of the body gives its colour, else, but for the
head, the place on its front or back, else what is near.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import sparse
from scipy.ndimage import map_coordinates
from scipy.sparse.linalg import splu
from scipy.spatial import KDTree

from ..protocol import CHARACTER, Camera, Mesh
from ..rays.camera import project
from ..rays.scene import RayScene
from .data import BodyData
from .surface import vertex_normals
from .textures import Bake, bake

SIZE = 1024
GRAZING = 0.15  # cosine of surfaces that the camera sees too slantwise
ABOVE = 1e-3  # metres above the surface at which rays to the camera begin
# Weights, against 1 for what is seen full on: left and right, front and back, and what is near.
MIRRORED, OPPOSITE, NEAR = 0.1, 0.01, 1e-4
HEAD = 1  # of the 14 parts


def body_texture(body: BodyData, mesh: Mesh, camera: Camera, colour: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE, 3) linear, in the body's texture coordinates.

    mesh: the posed body, camera space. colour: (H, W, 3) of the picture's pixels `known` (H, W) bool.
    """
    layout, scene = _layout(body), RayScene([mesh])
    total, weights = np.zeros((len(layout.texels), 3)), np.zeros((len(layout.texels), 1))
    for twin, most in _twins(body):
        points, normals = layout.take(mesh.vertices[twin][body.faces]), layout.take(_normals(mesh)[twin][body.faces])
        found, sure = _seen(scene, camera, points, normals, colour, known)
        weight = most * sure[:, None]
        total, weights = total + weight * found, weights + weight
    near = layout.take(_spread(body, layout, total, weights)[body.faces])
    return layout.image((total + NEAR * near) / (weights + NEAR)).clip(0, 1)


def _seen(
    scene: RayScene, camera: Camera, points: np.ndarray, normals: np.ndarray, colour: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3) of surface points in the picture, and how well they are seen (N,) in [0, 1]; camera space."""
    pixels, _ = project(camera, points)
    to_camera = -points
    cosine = (normals * to_camera).sum(1) / np.linalg.norm(to_camera, axis=1)
    at = pixels.T[::-1] - 0.5
    found = np.stack([map_coordinates(channel, at, order=1) for channel in np.moveaxis(colour, 2, 0)], 1)
    inside = map_coordinates(np.float32(known), at, order=1) > 0.999
    sure = np.where(inside, ((cosine - GRAZING) / (1 - GRAZING)).clip(0, 1) ** 2, 0)
    ask = np.flatnonzero(sure > 0)
    sure[ask[scene.occluded(points[ask] + ABOVE * normals[ask], to_camera[ask], (CHARACTER,), 0.999)]] = 0
    return found, sure


def _spread(body: BodyData, layout: Bake, total: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(V, 3) the colours of the vertices, continued smoothly over the surface to where nothing was seen."""
    count = len(body.v_template)
    corners = body.faces[layout.triangle]
    sums = np.stack(
        [
            np.bincount(corners.ravel(), (layout.barycentric * channel[:, None]).ravel(), count)
            for channel in (*total.T, weights[:, 0])
        ],
        1,
    )
    ends = np.concatenate([body.faces[:, [0, 1]], body.faces[:, [1, 2]], body.faces[:, [2, 0]]]).T
    near = sparse.coo_matrix((np.full(ends.shape[1], 1e-2), ends), (count, count))
    near = near + near.T
    # A trace of the mean colour, for pieces without a single texel seen.
    mean = sums[:, :3].sum(0) / max(sums[:, 3].sum(), 1e-9)
    system = sparse.diags(sums[:, 3] + 1e-7 + np.asarray(near.sum(1))[:, 0]) - near
    return splu(system.tocsc()).solve(sums[:, :3] + 1e-7 * mean)


def _normals(mesh: Mesh) -> np.ndarray:
    """(V, 3) one of the corners' normals of each vertex, which are the same for a smooth body."""
    normals = np.zeros_like(mesh.vertices)
    normals[mesh.triangles] = mesh.corner_normals
    return normals


@lru_cache(maxsize=1)
def _layout(body: BodyData) -> Bake:
    return bake(body.extra["vt"][body.extra["ft"].astype(np.int64)].astype(np.float64), SIZE, SIZE)


@lru_cache(maxsize=1)
def _twins(body: BodyData) -> tuple[tuple[np.ndarray, float], ...]:
    """(V,) the vertex that stands for each, and how much its colour counts."""
    points, part = body.v_template, body.extra["vertex_parts14"]
    own = np.arange(len(points))
    mirror = KDTree(points).query(points * (-1, 1, 1))[1]
    front = vertex_normals(points, body.faces)[:, 2] > 0
    opposite = own.copy()
    for number in np.unique(part):
        for side in (False, True):
            here, there = (np.flatnonzero((part == number) & (front == s)) for s in (side, not side))
            if number != HEAD and len(here) and len(there):
                opposite[here] = there[KDTree(points[there, :2]).query(points[here, :2])[1]]
    return (own, 1.0), (mirror, MIRRORED), (opposite, OPPOSITE), (mirror[opposite], MIRRORED * OPPOSITE)
