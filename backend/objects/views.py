# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of generated objects as equation 3 of JOF has them: albedo times nine spherical harmonics of the normal.

One picture is the square around the silhouette, CROP pixels wide, with the rule of `frame`, the same in training and
in use. Object space is the scene's space; rays are cast with Embree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ..protocol import PROP, Mesh
from ..rays.scene import RayScene
from .harmonics import ambient, directional, harmonics_of
from .projection import cropped, pixel_rays, project, projection
from .shapes import Shape

CROP = 128  # pixels
MARGIN = 1.1  # a crop's side over the silhouette's longer side
_JITTERS = (np.array([[-0.25, 0.125], [0.125, 0.25], [0.25, -0.125], [-0.125, -0.25]])).tolist()


@dataclass(frozen=True)
class Layers:
    """What a camera sees of an object: means over a pixel's covered part, 0 where there is none.

    albedo (H, W, 3) linear; normal (H, W, 3) unit, object space; alpha (H, W) coverage.
    """

    albedo: np.ndarray
    normal: np.ndarray
    alpha: np.ndarray


def mesh_of(shape: Shape, role: str = PROP) -> Mesh:
    """The shape for `RayScene`, in object space."""
    normals = shape.corner_normals.astype(np.float32)
    return Mesh(shape.category, role, shape.vertices.astype(np.float32), shape.faces, normals)


def frame(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle (2,) and half the side of the square crop around a silhouette's picture coordinates (N, 2)."""
    low, high = points.min(0), points.max(0)
    return (low + high) / 2, MARGIN * float((high - low).max()) / 2


def random_camera(vertices: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(3, 4) of a camera as people hold it, cropped to the object."""
    azimuth = random.uniform(-np.pi, np.pi)
    elevation = np.radians(np.clip(random.normal(18, 12), -8, 60))
    fov = np.radians(random.uniform(12, 45))
    distance = random.uniform(1.05, 1.6) / np.sin(fov / 2)
    matrix = projection(azimuth, elevation, np.radians(random.normal(0, 2.5)), distance, fov)
    return cropped(matrix, *frame(project(matrix, vertices)[0]))


def random_light(random: np.random.Generator) -> np.ndarray:
    """(9, 3): an even part, a softer light from above and one to three lamps."""
    tint = np.exp(random.normal(0, 0.08, 3))
    light = ambient(tint * random.uniform(0.25, 0.7))
    light += directional(np.array([0, 1.0, 0]), tint * random.uniform(0.0, 0.4))
    for _ in range(int(random.integers(1, 4))):
        direction = random.normal(size=3)
        direction[1] = abs(direction[1]) * random.uniform(0.3, 1.5)
        direction /= np.linalg.norm(direction)
        light += directional(direction, np.exp(random.normal(0, 0.1, 3)) * random.uniform(0.1, 0.7))
    return light


def see(shape: Shape, scene: RayScene, matrix: np.ndarray, size: int = CROP) -> Layers:
    """An object's layers in one picture. scene: holds `mesh_of(shape)` alone."""
    albedos, part_of_face = shape.albedos, shape.part_of_face
    return look(scene, shape.corner_normals, lambda face, _: albedos[part_of_face[face]], matrix, size)


def look(
    scene: RayScene,
    corner_normals: np.ndarray,
    albedo_at: Callable[[np.ndarray, np.ndarray], np.ndarray],
    matrix: np.ndarray,
    size: int = CROP,
) -> Layers:
    """The layers of a scene's only mesh in one picture, four rays a pixel.

    corner_normals: (F, 3, 3) of the mesh. albedo_at: of triangles (K,) and places on them (K, 2), (K, 3).
    """
    origin, _ = pixel_rays(matrix, size)
    albedo, normal, alpha = np.zeros((size * size, 3)), np.zeros((size * size, 3)), np.zeros(size * size)
    for jitter in _JITTERS:
        directions = pixel_rays(matrix, size, np.array(jitter))[1].reshape(-1, 3)
        hits = scene.intersect(np.broadcast_to(origin, directions.shape), directions)
        seen = hits.mesh >= 0
        face = hits.triangle[seen]
        albedo[seen] += albedo_at(face, hits.uv[seen])
        normal[seen] += interpolated(corner_normals, face, hits.uv[seen])
        alpha[seen] += 1
    covered = np.maximum(alpha, 1)[:, None]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    square = (size, size, 3)
    return Layers((albedo / covered).reshape(square), normal.reshape(square), alpha.reshape(size, size) / len(_JITTERS))


def interpolated(corner_normals: np.ndarray, face: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """(K, 3) unit normals at hits."""
    normal = between(corner_normals[face], uv)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)


def between(corners: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """(K, 3) of the values (K, 3, 3) at triangles' corners, at places (K, 2) on them."""
    return np.einsum("kc,kcx->kx", np.stack([1 - uv.sum(1), uv[:, 0], uv[:, 1]], 1), corners)


def shade(layers: Layers, light: np.ndarray) -> np.ndarray:
    """(H, W, 3) linear: equation 3; 0 outside the object. light: (9, 3)."""
    shading = np.maximum(harmonics_of(layers.normal) @ light, 0)
    return np.where(layers.alpha[..., None] > 0, layers.albedo * shading, 0)


def exposed(layers: Layers, light: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(9, 3) light scaled so that the object's mean shading is about 1, as JOF's white shading expects."""
    shading = harmonics_of(layers.normal[layers.alpha > 0.5]) @ light
    return light * (np.exp(random.normal(0, 0.15)) / max(float(shading.mean()), 1e-3))


def backdrop(random: np.random.Generator, size: int = CROP) -> np.ndarray:
    """(size, size, 3) linear: an even wall, a gradient, or soft blotches."""
    corners = random.uniform(0.02, 0.9) * np.exp(random.normal(0, 0.35, (2, 2, 3)))
    if random.random() < 0.4:
        corners = np.broadcast_to(corners[:1, :1], corners.shape)
    t = np.linspace(0, 1, size)
    rows = corners[0][None] * (1 - t)[:, None, None] + corners[1][None] * t[:, None, None]
    plane = rows[:, :1] * (1 - t)[None, :, None] + rows[:, 1:] * t[None, :, None]
    if random.random() < 0.5:
        cells = int(random.integers(3, 24))
        noise = random.normal(0, random.uniform(0.05, 0.4), (cells, cells, 3)).astype(np.float32)
        plane = plane * np.exp(cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC))
    return np.clip(plane, 0, 1)
