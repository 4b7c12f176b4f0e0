# SPDX-License-Identifier: GPL-3.0-or-later
"""The "real-like" split: generated objects as photographs, with all that equation 3 leaves out.

Light from panoramas and skies with shadows, a floor and other objects around, textures, gloss, and a camera's exposure,
noise, tone curve and JPEG. It stands in for real photographs in stage 3 and in tests, and is called what it is.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np

from ..protocol import PROP, Mesh
from ..rays.scene import RayScene
from ..shading.environments import Environment, sample
from ..shading.panorama import LUMINANCE
from ..shading.photograph import photograph
from ..shading.probe_fit import fibonacci_sphere
from .projection import pixel_rays
from .shapes import CATEGORIES, Shape, make_shape
from .views import CROP, interpolated, mesh_of

WORLD_FROM_OBJECT = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # y up → z up
_RENDERED = 192  # pixels that become CROP
_DIRECTIONS = 64
_FLOOR = 14.0  # object units


@dataclass(frozen=True)
class Set:
    """Meshes with the looks of their faces: albedo (F, 3) and gloss (F,) by mesh; the object is mesh 0."""

    scene: RayScene
    albedos: tuple[np.ndarray, ...]
    gloss: tuple[float, ...]
    grain: tuple[tuple[float, np.ndarray], ...]  # strength and (3,) frequencies of each mesh's texture


def take(
    shape: Shape, environment: Environment, matrix: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One photograph: (CROP, CROP, 3) uint8 display-encoded, and (CROP, CROP) coverage of the visible object."""
    stage = _set(shape, matrix, random)
    origin, rays = pixel_rays(matrix, _RENDERED)
    rays = rays.reshape(-1, 3) / np.linalg.norm(rays, axis=-1).reshape(-1, 1)
    hits = stage.scene.intersect(np.broadcast_to(origin, rays.shape), rays)
    picture = sample(environment.picture, rays @ WORLD_FROM_OBJECT.T).astype(np.float64)
    met = np.flatnonzero(hits.mesh >= 0)
    points = origin + rays[met] * hits.t[met, None]
    normals, albedo, gloss = _looks(stage, hits, met, points)
    normals = np.where(np.einsum("kc,kc->k", normals, rays[met])[:, None] > 0, -normals, normals)
    start = points + 2e-3 * normals
    shading = _shading(stage.scene, start, normals, environment, random)
    picture[met] = albedo * shading + _gloss(stage.scene, start, normals, rays[met], environment, gloss, random)
    covered = hits.mesh == 0
    exposure = random.uniform(0.5, 1.1) / max(float((shading[covered[met]] @ LUMINANCE).mean()), 1e-3)
    image = (picture * exposure).reshape(_RENDERED, _RENDERED, 3)
    alpha = covered.reshape(_RENDERED, _RENDERED).astype(np.float32)
    small, alpha = (
        cv2.resize(i.astype(np.float32), (CROP, CROP), interpolation=cv2.INTER_AREA) for i in (image, alpha)
    )
    return photograph(small, random), alpha


def _set(shape: Shape, matrix: np.ndarray, random: np.random.Generator) -> Set:
    """The object on a floor, with up to three other objects that do not stand before it."""
    ground = float(shape.vertices[:, 1].min())
    corners = np.array([[-1, 0, -1], [-1, 0, 1], [1, 0, 1], [1, 0, -1]]) * _FLOOR + (0, ground, 0)
    up = np.broadcast_to(np.array([0, 1, 0], np.float32), (2, 3, 3))
    floor = Mesh("floor", PROP, corners.astype(np.float32), np.array([[0, 1, 2], [0, 2, 3]], np.int32), up)
    tone = np.exp(random.normal(np.log(0.25), 0.6)) * np.exp(random.normal(0, 0.12, 3))
    camera = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    meshes, albedos = [mesh_of(shape)], [shape.albedos[shape.part_of_face]]
    if camera[1] > ground + 0.3:  # else the floor would hide what stands on it
        meshes.append(floor)
        albedos.append(np.broadcast_to(np.clip(tone, 0.02, 0.8), (2, 3)))
    toward = np.arctan2(camera[0], camera[2])
    for _ in range(int(random.integers(0, 4))):
        other = make_shape(str(random.choice(CATEGORIES)), int(random.integers(1 << 30)))
        angle, far = toward + random.uniform(0.5, 1.5) * np.pi, random.uniform(2.1, 4.0)
        offset = np.array([far * np.sin(angle), ground - other.vertices[:, 1].min(), far * np.cos(angle)])
        mesh = mesh_of(other)
        meshes.append(dataclasses.replace(mesh, vertices=(mesh.vertices + offset).astype(np.float32)))
        albedos.append(other.albedos[other.part_of_face])
    gloss = [random.choice([0.0, random.uniform(0.02, 0.5)]) for _ in meshes]
    grain = [(random.choice([0.0, random.uniform(0.1, 0.5)]), np.exp(random.uniform(1, 3.5, 3))) for _ in meshes]
    return Set(RayScene(meshes), tuple(albedos), tuple(gloss), tuple(grain))


def _looks(stage: Set, hits, met: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normals (K, 3), textured albedos (K, 3) and gloss (K,) of hit points."""
    normals, albedo, gloss = np.zeros((len(met), 3)), np.zeros((len(met), 3)), np.zeros(len(met))
    for index, mesh in enumerate(stage.scene.meshes):
        rows = np.flatnonzero(hits.mesh[met] == index)
        face = hits.triangle[met[rows]]
        normals[rows] = interpolated(mesh.corner_normals, face, hits.uv[met[rows]])
        strength, frequency = stage.grain[index]
        texture = np.exp(strength * _noise(points[rows] * frequency))
        albedo[rows] = np.clip(stage.albedos[index][face] * texture[:, None], 0, 0.95)
        gloss[rows] = stage.gloss[index]
    return normals, albedo, gloss


def _noise(points: np.ndarray) -> np.ndarray:
    """(K,) a smooth, restless field of about unit amplitude: waves in waves."""
    x, y, z = points.T
    return np.sin(x + 2 * np.sin(0.7 * y + 1.3 * np.sin(z))) * np.cos(0.9 * z + 1.7 * np.sin(0.6 * x - y))


def _shading(
    scene: RayScene, start: np.ndarray, normals: np.ndarray, environment: Environment, random: np.random.Generator
) -> np.ndarray:
    """(K, 3) π-normalised light that arrives: the panorama where it is not hidden, suns, and a bounce."""
    directions = fibonacci_sphere(_DIRECTIONS)
    directions = directions @ np.linalg.qr(random.normal(size=(3, 3)))[0]
    coarse = cv2.resize(environment.image, (32, 16), interpolation=cv2.INTER_AREA)
    radiance = sample(coarse, directions @ WORLD_FROM_OBJECT.T)
    cosine = np.maximum(normals @ directions.T, 0)
    free = cosine > 0
    free &= ~scene.blocked(start, directions[None], free)
    total = (cosine * free) @ radiance * (4 / _DIRECTIONS)
    for sun in environment.suns:
        toward = sun.direction @ WORLD_FROM_OBJECT
        spread = toward + np.tan(sun.half_angle) * random.normal(0, 0.6, (4, 3))
        spread /= np.linalg.norm(spread, axis=1, keepdims=True)
        lit = 1 - scene.blocked(start, spread[None]).mean(1)
        total += (np.maximum(normals @ toward, 0) * lit)[:, None] * sun.irradiance
    # What bounces between surfaces, by one number: hidden directions are as bright as a dim part of the open ones.
    return total + 0.25 * (cosine * ~free).sum(1, keepdims=True) * (4 / _DIRECTIONS) * total.mean(0)


def _gloss(
    scene: RayScene,
    start: np.ndarray,
    normals: np.ndarray,
    rays: np.ndarray,
    environment: Environment,
    gloss: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """(K, 3) a blurred reflection of the panorama and its suns, by Schlick's Fresnel term times the gloss."""
    cosine = np.clip(-np.einsum("kc,kc->k", normals, rays), 0, 1)
    mirrored = rays + 2 * cosine[:, None] * normals
    fresnel = gloss * (0.08 + 0.92 * (1 - cosine) ** 5)
    shiny = gloss > 0
    open_ = np.zeros(len(start), bool)
    open_[shiny] = ~scene.occluded(start[shiny], mirrored[shiny])
    blurred = cv2.GaussianBlur(environment.image, (0, 0), random.uniform(1, 8))
    light = sample(blurred, mirrored @ WORLD_FROM_OBJECT.T).astype(np.float64)
    power = random.uniform(20, 200)
    for sun in environment.suns:
        lobe = np.maximum(mirrored @ (sun.direction @ WORLD_FROM_OBJECT), 0) ** power
        light += lobe[:, None] * sun.irradiance * (power + 1) / 2
    return fresnel[:, None] * light * open_[:, None]
