# SPDX-License-Identifier: GPL-3.0-or-later
"""Built-in places in nature: meadows, fields, snow and woods, with hedges, rocks, fences and haze."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull

from .land import Land
from .place_things import FREE, Look, Things, box, clutter, crown, look, post, tree, turned

_LEAF = 0.4  # share of the light on a leaf's back that shines through


def build(seed: int) -> Things:
    """Land, and what stands on it: trees alone, in rows and as woods, bushes, rocks, fences, a few made things."""
    random = np.random.default_rng([seed, 17])
    land = Land(random)
    things = Things(random, land=land)
    things.add(land.triangles(), Look(land.grown, "mottled", 1.0), thin=land.thin)
    things.haze = float(np.exp(things.uniform(np.log(40), np.log(6000))))
    wood = random.random() < 0.3
    for _ in range(_some(things, *((12, 45) if wood else (0, 9)))):
        _standing(things, things.around(3.5, 22 if wood else 45))
    for _ in range(_some(things, 0, 4)):
        _row(things)
    for _ in range(_some(things, 0, 14)):
        _bush(things, things.around(FREE + 0.6, 25))
    for _ in range(_some(things, 0, 10, 0.4)):
        _rock(things, things.around(FREE, 18))
    if random.random() < 0.3:
        _fence(things)
    for _ in range(_some(things, 1, 5, 0.3)):
        _house(things, things.around(40, 160))
    if random.random() < 0.3:
        clutter(things, _some(things, 1, 6), FREE, 10)
    return things


def _some(things: Things, least: int, most: int, likely: float = 1.0) -> int:
    """A number below `most`, or none."""
    count = int(things.random.integers(least, most))
    return count if likely == 1 or things.random.random() < likely else 0


def _level(things: Things, spot: np.ndarray) -> float:
    """The land's height at (2,)."""
    return float(things.land.height(spot[None])[0]) if things.land else 0.0


def _standing(things: Things, spot: np.ndarray) -> None:
    if things.random.random() < 0.25:
        _conifer(things, spot)
    else:
        tree(things, spot, _level(things, spot), thin=_LEAF, count=int(things.random.integers(700, 2400)))


def _leaves(things: Things, centres: np.ndarray, size: float, hue: float, value: tuple[float, float]) -> None:
    corners = things.random.normal(size=(len(centres), 3, 3)) * size + centres[:, None]
    things.add(corners, look(things, "mottled", value, hue, 0.8), thin=_LEAF)


def _conifer(things: Things, spot: np.ndarray) -> None:
    height, wide = things.uniform(4, 14), things.uniform(0.13, 0.25)
    level = _level(things, spot)
    up = things.random.random(1200) ** 1.4
    angle = things.random.uniform(0, 2 * np.pi, len(up))
    radius = wide * height * (1 - up) * things.random.uniform(0.3, 1, len(up)) ** 0.5
    centres = np.stack([radius * np.cos(angle), radius * np.sin(angle), (0.12 + 0.88 * up) * height], 1)
    _leaves(things, centres + np.array([*spot, level]), 0.022 * height, 0.33, (0.03, 0.16))
    things.add(post(spot, 0.02 * height, level + 0.5 * height), look(things, "mottled", (0.05, 0.2), 0.08))


def _bush(things: Things, spot: np.ndarray) -> None:
    size = things.random.uniform(0.3, 1.1, 3)
    middle = np.array([*spot, _level(things, spot) + 0.6 * size[2]])
    _leaves(things, crown(things.random, 260) * size + middle, 0.1, things.uniform(0.1, 0.33), (0.05, 0.3))


def _row(things: Things) -> None:
    """A hedge, the edge of a wood or an avenue, some way off: one bank of leaves."""
    angle, away, length = things.uniform(0, 2 * np.pi), things.uniform(12, 120), things.uniform(20, 200)
    tall = things.uniform(1, 0.15 * away + 3)
    along = things.random.uniform(-0.5, 0.5, 4000) * length
    waves = 0.75 + 0.25 * np.sin(along / tall * things.uniform(0.5, 1.5) + things.uniform(0, 6))
    up = things.random.random(len(along)) ** 0.8 * tall * waves
    across = things.random.normal(size=len(along)) * 0.3 * tall
    xy = turned(np.stack([away + across, along, up], 1), angle)[:, :2]
    centres = np.column_stack([xy, things.land.height(xy) + up])
    _leaves(things, centres[np.linalg.norm(xy, axis=1) > 8], 0.1 + 0.12 * tall**0.7, 0.27, (0.04, 0.22))


def _house(things: Things, spot: np.ndarray) -> None:
    half = things.random.uniform(2, 7, 3)
    centre = np.array([*spot, _level(things, spot) + half[2] - 1])
    things.add(box(centre, half, things.uniform(0, 3)), look(things, "windows", (0.2, 0.8), 0.08, 0.6))


def _rock(things: Things, spot: np.ndarray) -> None:
    points = things.random.normal(size=(14, 3))
    points *= things.uniform(0.2, 0.9) / np.linalg.norm(points, axis=1, keepdims=True)
    level = _level(things, spot)
    things.add(points[ConvexHull(points).simplices] + [*spot, level], look(things, "mottled", (0.1, 0.5), 0.1, 0.2))


def _fence(things: Things) -> None:
    angle, away, gap = things.uniform(0, 2 * np.pi), things.uniform(4, 20), things.uniform(1.5, 4)
    surface = look(things, "mottled", (0.1, 0.5), 0.08, 0.4)
    height = things.uniform(0.8, 1.5)
    for along in np.arange(-30, 30, gap):
        spot = turned(np.array([away, along, 0]), angle)[:2]
        things.add(post(spot, 0.06, _level(things, spot) + height), surface)
