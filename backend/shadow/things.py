# SPDX-License-Identifier: GPL-3.0-or-later
"""Procedural objects and grounds for shadow scenes: furniture, signs, trees, piles; streets, lawns, slopes and walls.

World +z up, metres. A thing stands around the origin on z = 0.
"""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Callable

import numpy as np
import trimesh
from scipy.ndimage import gaussian_filter

from ..protocol import CHARACTER, RECEIVER, Mesh
from ..shading.traced import Skin

GROUNDS = ("level", "rough", "slope", "step", "wall")
_REACH = 60.0  # metres of ground around the origin
_CELLS = 120  # of the ground each way, finer near the origin
_TEXTURE = 256


def thing(random: np.random.Generator) -> list[Skin]:
    """An object of 0.3 to 2.5 m, of parts in one to three colours."""
    kinds: tuple[Callable[[np.random.Generator], list[trimesh.Trimesh]], ...] = (
        _table,
        _chair,
        _sign,
        _tree,
        _pile,
        _pot,
    )
    parts = kinds[random.integers(len(kinds))](random)
    turn = trimesh.transformations.rotation_matrix(random.uniform(0, 2 * np.pi), [0, 0, 1])
    colours = [colour(random) for _ in range(random.integers(1, 4))]
    skins = []
    for index, part in enumerate(parts):
        part.apply_transform(turn)
        texture = speckled(random, colours[index % len(colours)], random.uniform(0, 0.15), 32)
        skins.append(skin_of(part, texture, CHARACTER, f"part{index}", 0.5))
    low = min(float(s.mesh.vertices[:, 2].min()) for s in skins)
    return [moved(s, np.array([0, 0, -low])) for s in skins]


def ground(kind: str, random: np.random.Generator) -> tuple[list[Skin], Callable[[float, float], float]]:
    """A ground of one of GROUNDS, and its height in metres at a place (x, y); 0 at the origin."""
    height = _relief(kind, random)
    steps = np.linspace(-1, 1, _CELLS + 1)
    line = np.sinh(5 * steps) / np.sinh(5) * _REACH
    x, y = np.meshgrid(line, line)
    vertices = np.stack([x, y, height(x, y)], -1).reshape(-1, 3)
    index = np.arange((_CELLS + 1) ** 2).reshape(_CELLS + 1, -1)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    floor = trimesh.Trimesh(vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]), process=False)
    skins = [skin_of(floor, surface(random), RECEIVER, "ground", random.uniform(1, 4))]
    if kind == "wall":
        away, turn = random.uniform(0.8, 3.0), random.uniform(0, 2 * np.pi)
        wall = trimesh.creation.box((random.uniform(4, 12), 0.3, random.uniform(1.5, 4)))
        wall.apply_translation([0, away, wall.extents[2] / 2 - 0.1])
        wall.apply_transform(trimesh.transformations.rotation_matrix(turn, [0, 0, 1]))
        skins.append(skin_of(wall, surface(random), RECEIVER, "wall", random.uniform(1, 3)))
    return skins, lambda px, py: float(height(np.float64(px), np.float64(py)))


def _relief(kind: str, random: np.random.Generator) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    turn = random.uniform(0, 2 * np.pi)
    cosine, sine = np.cos(turn), np.sin(turn)
    if kind == "slope":
        rise = np.tan(np.radians(random.uniform(4, 18)))
        return lambda x, y: rise * (cosine * x + sine * y)
    if kind == "step":
        high, first, going = random.uniform(0.1, 0.25), random.uniform(0.5, 1.5), random.uniform(0.3, 0.8)
        count = int(random.integers(1, 5))

        def stairs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            return high * np.clip(np.floor((cosine * x + sine * y - first) / going) + 1, 0, count)

        return stairs
    if kind == "rough":
        waves = [(random.normal(0, 3.0 * 1.7**k, 2), random.uniform(0, 6.3), 0.05 / 1.6**k) for k in range(5)]
        start = sum(a * np.sin(p) for _, p, a in waves)
        return lambda x, y: sum(a * np.sin(w[0] * x + w[1] * y + p) for w, p, a in waves) - start
    return lambda x, y: 0 * x


def _table(random: np.random.Generator) -> list[trimesh.Trimesh]:
    w, d, h = random.uniform(0.5, 1.6), random.uniform(0.4, 0.9), random.uniform(0.4, 1.0)
    top = trimesh.creation.box((w, d, 0.05)).apply_translation((0, 0, h))
    leg = random.uniform(0.03, 0.07)
    corners = [(sx * (w / 2 - leg), sy * (d / 2 - leg)) for sx in (-1, 1) for sy in (-1, 1)]
    legs = [trimesh.creation.box((leg, leg, h)).apply_translation((x, y, h / 2)) for x, y in corners]
    return [top, trimesh.util.concatenate(legs)]


def _chair(random: np.random.Generator) -> list[trimesh.Trimesh]:
    seat = _table(np.random.default_rng(random.integers(1 << 30)))
    w, d, h = seat[0].extents[0], seat[0].extents[1], seat[0].bounds[1, 2]
    back = trimesh.creation.box((w, 0.05, random.uniform(0.3, 0.7)))
    return [*seat, back.apply_translation((0, d / 2, h + back.extents[2] / 2))]


def _sign(random: np.random.Generator) -> list[trimesh.Trimesh]:
    h = random.uniform(1.0, 2.3)
    pole = trimesh.creation.cylinder(random.uniform(0.02, 0.06), h).apply_translation((0, 0, h / 2))
    if random.random() < 0.5:
        board = trimesh.creation.box((random.uniform(0.3, 0.9), 0.03, random.uniform(0.2, 0.6)))
    else:
        board = trimesh.creation.cylinder(random.uniform(0.15, 0.4), 0.03)
        board.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    return [pole, board.apply_translation((0, 0, h - 0.1)), trimesh.creation.cylinder(0.15, 0.04)]


def _tree(random: np.random.Generator) -> list[trimesh.Trimesh]:
    h = random.uniform(0.4, 1.2)
    trunk = trimesh.creation.cylinder(random.uniform(0.04, 0.1), h).apply_translation((0, 0, h / 2))
    crown = trimesh.creation.icosphere(3, random.uniform(0.25, 0.6))
    crown.vertices *= 1 + 0.12 * random.standard_normal((len(crown.vertices), 1))
    crown.vertices *= random.uniform(0.7, 1.5, 3)
    return [trunk, crown.apply_translation((0, 0, h + crown.extents[2] / 2 - 0.1))]


def _pot(random: np.random.Generator) -> list[trimesh.Trimesh]:
    heights = np.linspace(0, random.uniform(0.3, 1.2), 10)
    radii = 0.15 * np.exp(np.cumsum(random.normal(0, 0.25, 10)))
    profile = np.stack([np.concatenate([[0], radii, [0]]), np.concatenate([[0], heights, heights[-1:]])], 1)
    return [trimesh.creation.revolve(profile, sections=24)]


def _pile(random: np.random.Generator) -> list[trimesh.Trimesh]:
    """Two to five bodies on and into each other."""
    parts, level = [], 0.0
    for _ in range(random.integers(2, 6)):
        size = random.uniform(0.15, 0.6, 3)
        kind = random.integers(4)
        body = (
            trimesh.creation.box(size),
            trimesh.creation.cylinder(size[0] / 2, size[2]),
            trimesh.creation.icosphere(3, size[0] / 2),
            trimesh.creation.cone(size[0] / 2, size[2]).apply_translation((0, 0, -size[2] / 2)),
        )[kind]
        body.apply_translation([*random.normal(0, 0.12, 2), level + body.extents[2] / 2])
        level += body.extents[2] * random.uniform(0.6, 1.0)
        parts.append(body)
    return parts


def skin_of(shape: trimesh.Trimesh, texture: np.ndarray, role: str, name: str, size: float) -> Skin:
    """A shape with a texture that repeats every `size` metres, laid on each face from the side it faces most."""
    triangles = np.asarray(shape.faces, np.int32)
    corners = np.asarray(shape.vertices)[triangles]
    sharp = trimesh.graph.smooth_shade(shape, angle=0.7) if len(triangles) < 4000 and not shape.is_empty else shape
    triangles, corners = np.asarray(sharp.faces, np.int32), np.asarray(sharp.vertices)[sharp.faces]
    axis = np.abs(sharp.face_normals).argmax(1)
    first, second = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]
    rows = np.arange(len(triangles))[:, None]
    uv = np.stack([corners[rows, [0, 1, 2], first[:, None]], corners[rows, [0, 1, 2], second[:, None]]], -1) / size
    normals = np.asarray(sharp.vertex_normals)[triangles].astype(np.float32)
    mesh = Mesh(name, role, np.asarray(sharp.vertices, np.float32), triangles, normals)
    return Skin(mesh, uv.astype(np.float32), texture)


def moved(skin: Skin, offset: np.ndarray, role: str | None = None) -> Skin:
    """Shifted by (3,) metres, and in another role where one is given."""
    mesh = dataclasses.replace(skin.mesh, vertices=skin.mesh.vertices + np.asarray(offset, np.float32))
    return dataclasses.replace(skin, mesh=dataclasses.replace(mesh, role=role or mesh.role))


def colour(random: np.random.Generator) -> np.ndarray:
    """(3,) a linear albedo that paint, wood, leaves and stone have."""
    hue, saturation = random.random(), random.uniform(0, 0.8) ** 1.5
    return np.array(colorsys.hsv_to_rgb(hue, saturation, random.uniform(0.05, 0.8)))


def speckled(random: np.random.Generator, base: np.ndarray, contrast: float, size: int = _TEXTURE) -> np.ndarray:
    """(size, size, 3) albedo with soft spots of several sizes; repeats without a seam."""
    spots = sum(_noise(random, size, s) * w for s, w in ((0.7, 0.5), (3, 0.7), (size / 12, 1.0)))
    return np.clip(base * np.exp(contrast * spots)[..., None], 0.01, 0.9).astype(np.float32)


def surface(random: np.random.Generator) -> np.ndarray:
    """(256, 256, 3) albedo of a ground or wall: asphalt, sand, grass, planks, tiles or bricks; repeats."""
    kind = random.integers(4)
    tone = random.uniform(0.06, 0.6)
    base = tone * (1 + np.array([0.15, 0.03, -0.18]) * random.normal(0.5, 1))
    if kind == 0:
        base = np.array([0.07, 0.14, 0.03]) * random.uniform(0.6, 2)
    image = speckled(random, np.clip(base, 0.02, 0.8), random.uniform(0.05, 0.35))
    if kind >= 2:  # planks (2), and tiles or bricks (3)
        rows, columns = int(random.choice([2, 4, 8])), 1 if kind == 2 else int(random.choice([2, 4, 8]))
        row = np.arange(_TEXTURE) * rows // _TEXTURE
        shift = (row % 2) * (_TEXTURE // columns // 2) * random.integers(2)
        column = (np.arange(_TEXTURE)[None] + shift[:, None]) % _TEXTURE * columns // _TEXTURE
        image = image * random.uniform(0.8, 1.2, (rows, columns, 1))[row[:, None], column]
        width = random.uniform(1.5, 5)
        at = np.arange(_TEXTURE)[None] + shift[:, None]
        gap = (np.arange(_TEXTURE) % (_TEXTURE // rows) < width)[:, None] | (at % (_TEXTURE // columns) < width)
        image = np.where(gap[..., None], image * random.uniform(0.4, 1.3), image)
    return np.clip(image, 0.01, 0.9).astype(np.float32)


def _noise(random: np.random.Generator, size: int, sigma: float) -> np.ndarray:
    noise = gaussian_filter(random.standard_normal((size, size)), sigma, mode="wrap")
    return noise / noise.std()
