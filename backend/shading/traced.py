# SPDX-License-Identifier: GPL-3.0-or-later
"""The bulk tier's renderer: a person's layers and diffuse shading by casting rays with Embree, without Blender.

Visibility is traced once for all lights, over evenly spread directions; suns are traced in their exact directions.
Light bounces once: a ray that hits the body finds the hit triangle's albedo times its own shading, and a downward ray
finds the ground, which the body shadows. Everything is linear Rec.709; the world has +z up.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from ..protocol import Camera, Mesh
from ..rays.camera import primary_rays
from ..rays.directions import pixel_directions
from ..rays.rics import SurfaceMap, trace
from ..rays.scene import RayScene
from .environments import Environment, ground_albedo, upward_shading
from .panorama import cell_radiance, pixel_solid_angles
from .probe import LightProbe, Sun
from .probe_fit import fibonacci_sphere, frame_of

DIRECTIONS = 256  # of a pixel's visibility, over the whole sphere
COARSE = 32  # of the visibility of what light bounces off
SUN_SAMPLES = 8
_SUBSAMPLES = 3  # each way in a pixel, for coverage, albedo and normals
_GROUND_REACH = 2.5  # metres around the person within which the ground is shadowed
_GROUND_CELLS = 24
_PANORAMA = 128  # rows of the panoramas that directions average


@dataclass(frozen=True)
class Skin:
    """A mesh with its colours.

    corner_uv: (T, 3, 2) texture coordinates of each triangle's corners, v up. texture: (h, w, 3) float32 linear albedo.
    roughness, gloss: of the microfacet lobe, gloss as Blender's Specular IOR Level (0.5 is a dielectric's), and
    diffuse_roughness of the Oren-Nayar lobe; the tracer's surfaces are matt (Lambert's).
    """

    mesh: Mesh
    corner_uv: np.ndarray
    texture: np.ndarray
    roughness: float = 0.6
    gloss: float = 0.3
    diffuse_roughness: float = 0.3

    def moved(self, matrix: np.ndarray) -> Skin:
        """Under a rigid (4, 4) motion."""
        rotation = matrix[:3, :3].astype(np.float32)
        mesh = dataclasses.replace(
            self.mesh,
            vertices=(self.mesh.vertices @ rotation.T + matrix[:3, 3]).astype(np.float32),
            corner_normals=self.mesh.corner_normals @ rotation.T,
        )
        return dataclasses.replace(self, mesh=mesh)


@dataclass(frozen=True)
class Layers:
    """What a camera sees of a person, whatever the light; (H, W), float32, 0 outside the person.

    albedo and normal (unit, camera space) are means over the covered part of a pixel, alpha is that part. surface is
    the surface at the pixels' centres, with the RiCS map.
    """

    albedo: np.ndarray
    normal: np.ndarray
    alpha: np.ndarray
    surface: SurfaceMap


@dataclass(frozen=True)
class Light:
    """An environment over a ground, ready to light by.

    panorama: (128, 256, 3) with the lower half replaced by the open ground's radiance. ground: (3,) its albedo.
    open_ground: (3,) its shading where nothing stands on it.
    """

    panorama: np.ndarray
    suns: tuple[Sun, ...]
    ground: np.ndarray
    open_ground: np.ndarray

    @classmethod
    def of(cls, environment: Environment) -> Light:
        panorama = cv2.resize(environment.image, (2 * _PANORAMA, _PANORAMA), interpolation=cv2.INTER_AREA)
        albedo = ground_albedo(environment)
        shading = upward_shading(panorama, environment.suns)
        panorama[_PANORAMA // 2 :] = albedo * shading
        return cls(panorama, environment.suns, albedo, shading)

    def probe(self, world_from_camera: np.ndarray) -> LightProbe:
        """The true light probe of a camera with this (4, 4) pose."""
        rotation = np.asarray(world_from_camera, np.float64)[:3, :3]
        radiance = cell_radiance(self.panorama, rotation.T).astype(np.float32)
        return LightProbe(radiance, np.zeros(3, np.float32), tuple(s.turned(rotation.T) for s in self.suns), rotation)


class Cells:
    """Evenly spread world directions (K, 3), and the mean radiance of a panorama in the Voronoi cell of each."""

    def __init__(self, count: int, turn: float = 0.0) -> None:
        cosine, sine = np.cos(turn), np.sin(turn)
        spread = fibonacci_sphere(count) @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
        self.directions = spread.astype(np.float32)
        pixels = pixel_directions(_PANORAMA, 2 * _PANORAMA).reshape(-1, 3).astype(np.float32)
        self._cell = np.concatenate([np.argmax(p @ self.directions.T, 1) for p in np.array_split(pixels, 16)])
        areas = pixel_solid_angles(_PANORAMA, 2 * _PANORAMA)
        self._area = np.broadcast_to(areas, (_PANORAMA, 2 * _PANORAMA)).ravel()

    def fluxes(self, panorama: np.ndarray) -> np.ndarray:
        """(K, 3) ∫ L dω over each cell."""
        pixels = panorama.reshape(-1, 3)
        return np.stack(
            [np.bincount(self._cell, self._area * pixels[:, c], len(self.directions)) for c in range(3)], axis=1
        ).astype(np.float32)


@dataclass(frozen=True)
class Bounce:
    """What light that leaves the body and the ground carries, for L lights.

    radiosity: (T, L, 3) albedo × shading of the triangles of all meshes in turn; first: (meshes,) each mesh's first.
    ground: (cells, cells, L, 3) share of the open ground's shading that is left, 1 where nothing is taken; rows along
        world y, columns along x, around `centre` (2,), at the height `level`.
    """

    radiosity: np.ndarray
    first: np.ndarray
    ground: np.ndarray
    centre: np.ndarray
    level: float

    def of_triangles(self, mesh: np.ndarray, triangle: np.ndarray) -> np.ndarray:
        """(N, L, 3)."""
        return self.radiosity[self.first[mesh] + triangle]

    def ground_share(self, points: np.ndarray) -> np.ndarray:
        """(N, L, 3) at world positions (N, 2); 1 beyond the reach."""
        cells = len(self.ground)
        at = ((points - self.centre) / (2 * _GROUND_REACH) + 0.5) * cells
        inside = ((at >= 0) & (at < cells)).all(1)
        share = np.ones((len(points), *self.ground.shape[2:]), np.float32)
        column, row = at[inside].astype(int).T
        share[inside] = self.ground[row, column]
        return share


def see(skins: list[Skin], camera: Camera, scene: RayScene) -> Layers:
    """Albedo, normals, coverage and the RiCS map of a person; skins and scene are in camera space."""
    surface = trace(scene, camera)
    height, width = surface.valid.shape
    near = cv2.dilate(surface.valid.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    rows, columns = np.nonzero(near)
    step = (np.arange(_SUBSAMPLES) + 0.5) / _SUBSAMPLES
    inner = np.stack(np.meshgrid(step, step), axis=-1).reshape(1, -1, 2)
    pixels = np.stack([columns, rows], axis=-1)[:, None] + inner
    origins, directions = primary_rays(camera, pixels.reshape(-1, 2))
    hits = scene.intersect(origins, directions)
    found = hits.mesh >= 0
    colour, normal = np.zeros((2, len(found), 3), np.float32)
    for index, skin in enumerate(skins):
        here = np.flatnonzero(hits.mesh == index)
        weights = np.column_stack([1 - hits.uv[here].sum(1), hits.uv[here]])
        triangle = hits.triangle[here]
        colour[here] = _texture(skin, np.einsum("nij,ni->nj", skin.corner_uv[triangle], weights))
        normal[here] = np.einsum("nij,ni->nj", skin.mesh.corner_normals[triangle], weights)
    normal *= np.where((normal * directions).sum(1, keepdims=True) > 0, -1, 1)  # as open cloth is seen from inside
    count = found.reshape(len(rows), -1).sum(1)
    total = np.maximum(count, 1)[:, None]
    alpha, albedo, normals = np.zeros((height, width)), *np.zeros((2, height, width, 3), np.float32)
    alpha[rows, columns] = count / _SUBSAMPLES**2
    albedo[rows, columns] = colour.reshape(len(rows), -1, 3).sum(1) / total
    mean = normal.reshape(len(rows), -1, 3).sum(1)
    normals[rows, columns] = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-6)
    return Layers(albedo, normals, alpha.astype(np.float32), surface)


def bounce(skins: list[Skin], scene: RayScene, level: float, lights: list[Light], cells: Cells) -> Bounce:
    """The light that body and ground send back; skins and scene are in world space, the ground is at z = level."""
    points, normals, owner = [], [], [0]
    for skin in skins:
        points.append(skin.mesh.vertices)
        normals.append(_vertex_normals(skin.mesh))
        owner.append(owner[-1] + len(skin.mesh.vertices))
    centre = np.concatenate(points)[:, :2].mean(0)
    grid = ((np.arange(_GROUND_CELLS) + 0.5) / _GROUND_CELLS - 0.5) * 2 * _GROUND_REACH
    x, y = np.meshgrid(grid + centre[0], grid + centre[1])
    floor = np.stack([x, y, np.full_like(x, level + 1e-3)], axis=-1).reshape(-1, 3)
    normal = np.concatenate([*normals, np.tile([0.0, 0.0, 1.0], (len(floor), 1))]).astype(np.float32)
    point = np.concatenate([*points, floor]).astype(np.float32) + 2e-3 * normal

    weight = np.maximum(normal @ cells.directions.T, 0) / np.pi
    weight[scene.blocked(point, cells.directions[None], weight > 0)] = 0
    shading = np.stack([weight @ cells.fluxes(light.panorama) for light in lights], axis=1)
    for index, light in enumerate(lights):
        for sun in light.suns:
            toward = sun.direction.astype(np.float32)
            facing = np.flatnonzero(normal @ toward > 0)
            lit = facing[~scene.occluded(point[facing], toward[None])]
            shading[lit, index] += (normal[lit] @ toward)[:, None] * sun.irradiance.astype(np.float32)

    radiosity = []
    for skin, first in zip(skins, owner, strict=False):
        albedo = _texture(skin, skin.corner_uv.reshape(-1, 2)).reshape(-1, 3, 3).mean(1)
        radiosity.append(albedo[:, None] * shading[first + skin.mesh.triangles].mean(1))
    firsts = np.cumsum([0, *(len(r) for r in radiosity)])[:-1]
    open_ground = np.stack([light.open_ground for light in lights])
    share = shading[owner[-1] :].reshape(_GROUND_CELLS, _GROUND_CELLS, -1, 3) / np.maximum(open_ground, 1e-6)
    return Bounce(np.concatenate(radiosity), firsts, np.minimum(share, 1).astype(np.float32), centre, level)


def shade(
    layers: Layers, scene: RayScene, world_from_camera: np.ndarray, lights: list[Light], bounced: Bounce, cells: Cells
) -> np.ndarray:
    """(L, H, W, 3) float32 π-normalised diffuse shading of the person, 0 where alpha is 0; scene in camera space.

    Pixels whose centre misses the person take the shading of the nearest one that does not.
    """
    surface = layers.surface
    valid = surface.valid
    origins = (surface.point + surface.offset)[valid]
    normals = surface.normal[valid]
    world = np.asarray(world_from_camera, np.float32)
    shading = _sky_and_bounces(origins, normals, scene, world, lights, bounced, cells)
    for index, light in enumerate(lights):
        for sun in light.suns:
            shading[:, index] += _sunlight(origins, normals, scene, sun.turned(world[:3, :3].T))
    image = np.zeros((len(lights), *valid.shape, 3), np.float32)
    image[:, valid] = shading.transpose(1, 0, 2)
    if valid.any():
        row, column = distance_transform_edt(~valid, return_distances=False, return_indices=True)
        image = image[:, row, column]
    return image * (layers.alpha > 0)[..., None]


def _sky_and_bounces(
    origins: np.ndarray,
    normals: np.ndarray,
    scene: RayScene,
    world: np.ndarray,
    lights: list[Light],
    bounced: Bounce,
    cells: Cells,
) -> np.ndarray:
    """(N, L, 3) shading of points in camera space by everything but suns."""
    directions = cells.directions @ world[:3, :3]
    weight = np.maximum(normals @ directions.T, 0) / np.pi
    blocked = scene.blocked(origins, directions[None], weight > 0)
    fluxes = np.stack([cells.fluxes(light.panorama) for light in lights], axis=1)
    shading = np.einsum("nk,klc->nlc", np.where(blocked, 0, weight), fluxes, optimize=True)

    # What the body's shadow takes from the ground: only for rays that reach it near the body.
    below = np.flatnonzero(cells.directions[:, 2] < 0)
    point, k = np.nonzero((weight[:, below] > 0) & ~blocked[:, below])
    k = below[k]
    start = origins @ world[:3, :3].T + world[:3, 3]
    steps = cells.directions[k, :2] / cells.directions[k, 2:]
    ground = start[point, :2] + steps * (bounced.level - start[point, 2:])
    near = np.abs(ground - bounced.centre).max(1) < _GROUND_REACH
    point, k = point[near], k[near]
    lost = (1 - bounced.ground_share(ground[near])) * fluxes[k]
    _add(shading, point, -lost * weight[point, k][:, None, None])

    k, point = np.nonzero(blocked.T)  # direction by direction: such rays visit the same part of Embree's tree
    hits = scene.intersect(origins[point], directions[k])
    hit = hits.mesh >= 0
    point, k = point[hit], k[hit]
    solid_angle = 4 * np.pi / len(directions)
    radiance = bounced.of_triangles(hits.mesh[hit], hits.triangle[hit])
    _add(shading, point, radiance * (solid_angle * weight[point, k])[:, None, None])
    return np.maximum(shading, 0)


def _sunlight(origins: np.ndarray, normals: np.ndarray, scene: RayScene, sun: Sun) -> np.ndarray:
    """(N, 3) shading by one sun, camera space; its disc is sampled at the same points for all pixels."""
    tangent, bitangent = frame_of(sun.direction)
    index = np.arange(SUN_SAMPLES)
    radius = np.sqrt((index + 0.5) / SUN_SAMPLES) * np.tan(sun.half_angle)
    angle = index * 2.39996
    offsets = np.outer(radius * np.cos(angle), tangent) + np.outer(radius * np.sin(angle), bitangent)
    toward = sun.direction + offsets
    toward = (toward / np.linalg.norm(toward, axis=1, keepdims=True)).astype(np.float32)
    received = np.maximum(normals @ toward.T, 0)
    received[scene.blocked(origins, toward[None], received > 0)] = 0
    return received.mean(1)[:, None] * np.asarray(sun.irradiance, np.float32)


def _add(total: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """total[rows] += values, rows repeated; total (N, L, 3)."""
    flat = values.reshape(len(values), total[0].size)
    for column in range(flat.shape[1]):
        total.reshape(len(total), -1)[:, column] += np.bincount(rows, flat[:, column], len(total)).astype(np.float32)


def _texture(skin: Skin, uv: np.ndarray) -> np.ndarray:
    """Bilinear look-up of a skin's texture at (N, 2) coordinates, repeated beyond [0, 1] → (N, 3)."""
    height, width = skin.texture.shape[:2]
    x = (uv[:, 0] % 1) * width - 0.5
    y = (1 - uv[:, 1] % 1) * height - 0.5
    result = np.empty((len(uv), 3), np.float32)
    for start in range(0, len(uv), 32_000):  # cv2.remap takes fewer than 32768 rows
        rows = slice(start, start + 32_000)
        maps = [v[rows, None].astype(np.float32) for v in (x, y)]
        result[rows] = cv2.remap(skin.texture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    return result


def _vertex_normals(mesh: Mesh) -> np.ndarray:
    """(N, 3) mean of the corners' normals at each vertex."""
    total = np.zeros_like(mesh.vertices)
    for axis in range(3):
        total[:, axis] = np.bincount(mesh.triangles.ravel(), mesh.corner_normals[..., axis].ravel(), len(mesh.vertices))
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-6)
