# SPDX-License-Identifier: GPL-3.0-or-later
"""Land that is level where the person stands: its relief, what grows on it, and how rough it looks.

From near it is blades, clods and stones, which no mesh here has: the land's normals are as rough as those, and lean
toward who looks, as one sees more of what faces oneself. So rough land is bright away from the sun and dark toward it,
by which a low sun out of the picture is known.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from . import noise

REACH = 400.0  # metres of land each way
_RINGS, _SECTORS = 80, 144
_LEVEL = 3.0  # metres around the middle that are level
_TILES = ((4, 0.5), (8, 0.5), (32, 0.9))  # of noise: cells of the first octave, and roughness


@dataclass(frozen=True)
class Growth:
    """What covers land. hue, value: ranges. rough: of its surface. thin: light on its back that it lets through."""

    hue: tuple[float, float]
    value: tuple[float, float]
    colourful: float
    rough: float
    thin: float

    def colours(self, random: np.random.Generator) -> np.ndarray:
        """(2, 3) linear albedos."""
        hue, saturation, value = (random.uniform(*span) for span in (self.hue, (0, self.colourful), self.value))
        turn, fade, dim = random.uniform((-0.05, 0.5, 0.5), (0.05, 1.2, 1.1))
        both = (
            colorsys.hsv_to_rgb(hue, saturation, value),
            colorsys.hsv_to_rgb((hue + turn) % 1, min(saturation * fade, 1), value * dim),
        )
        return np.array(both, np.float32)


GRASS = Growth((0.16, 0.3), (0.06, 0.28), 0.75, 1.0, 0.5)
STRAW = Growth((0.1, 0.15), (0.12, 0.4), 0.6, 0.9, 0.35)
EARTH = Growth((0.03, 0.12), (0.06, 0.35), 0.5, 0.5, 0.0)
SNOW = Growth((0.55, 0.65), (0.75, 0.9), 0.06, 0.15, 0.0)


class Land:
    """Ground around the world's origin, to `REACH`; +z up, metres."""

    def __init__(self, random: np.random.Generator) -> None:
        growth = (GRASS, GRASS, GRASS, STRAW, EARTH, SNOW)[int(random.integers(6))]
        self.thin = growth.thin
        self.grown, self.bare = growth.colours(random), EARTH.colours(random)
        self.tiles = [noise.tile(random, cells, rough) for cells, rough in _TILES]
        self.hills = random.uniform(0, 14) * (random.random() < 0.6)
        self.swells = random.uniform(0.05, 0.7)
        self.tufts = growth.rough * random.uniform(0.25, 0.8)
        self.lean = growth.rough * random.uniform(0.1, 0.7)
        self.tracked = random.random() < 0.5
        self.way, self.bend, self.beside = random.uniform(0, np.pi), random.uniform(0, 6), random.uniform(-4, 4)

    def height(self, xy: np.ndarray) -> np.ndarray:
        """(N,) of places (N, 2)."""
        away = np.linalg.norm(xy, axis=1)
        near, far = (np.clip((away - start) / length, 0, 1) ** 2 for start, length in ((_LEVEL, 25), (25, 120)))
        return self.swells * near * self._noise(0, xy, 35) + self.hills * far * (0.6 + self._noise(1, xy, 260))

    def normal(self, xy: np.ndarray) -> np.ndarray:
        """(N, 3) unit, as seen from the middle; the rougher, the nearer, as from afar blades cannot be told apart."""
        away = np.linalg.norm(xy, axis=1)
        step = (0.3 + 0.02 * away)[:, None]
        tufts, lean = self.tufts / (1 + (away / 12) ** 0.7), self.lean * np.clip(away - 1, 0, 1) / np.maximum(away, 1)
        level = [
            tufts * (self._noise(2, xy, 1.3 + k) + 0.7 * self._noise(1, xy, 5 + k))
            - lean * xy[:, k]
            - (self.height(xy + step * axis) - self.height(xy - step * axis)) / (2 * step[:, 0])
            for k, axis in enumerate(np.eye(2))
        ]
        normal = np.stack([*level, np.ones(len(xy))], 1)
        return (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)

    def albedo(self, xy: np.ndarray) -> np.ndarray:
        """(N, 3) linear, of places (N, 2)."""
        fine = self._noise(2, xy, 0.8) / (1 + np.linalg.norm(xy, axis=1) / 15)
        mix = np.clip(0.5 + 0.25 * self._noise(0, xy, 18) + 0.25 * fine, 0, 1)[:, None]
        grown, bare = (some[0] + mix * (some[1] - some[0]) for some in (self.grown, self.bare))
        colour = grown + self._track(xy)[:, None] * (bare - grown)
        return np.clip(colour * np.exp(0.3 * fine)[:, None], 0.01, 0.95).astype(np.float32)

    def triangles(self) -> np.ndarray:
        """(T, 3, 3)."""
        radius = np.concatenate([[0], np.geomspace(1, REACH, _RINGS)])
        angle = np.arange(_SECTORS + 1) * 2 * np.pi / _SECTORS
        xy = radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        points = np.concatenate([xy, self.height(xy.reshape(-1, 2)).reshape(*xy.shape[:2], 1)], -1)
        a, b, c, d = points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]
        return np.concatenate([np.stack([a, b, c], 2), np.stack([a, c, d], 2)]).reshape(-1, 3, 3)

    def _track(self, xy: np.ndarray) -> np.ndarray:
        """(N,) how bare two ruts have left it."""
        if not self.tracked:
            return np.zeros(len(xy), np.float32)
        cosine, sine = np.cos(self.way), np.sin(self.way)
        along, across = xy @ [cosine, sine], xy @ [-sine, cosine]
        rut = np.abs(np.abs(across - self.beside - self.bend * np.sin(along / 17)) - 0.8)
        return np.clip(1.5 - (rut + 0.15 * self._noise(1, xy, 3)) / 0.35, 0, 1)

    def _noise(self, tile: int, xy: np.ndarray, size: float) -> np.ndarray:
        """(N,) noise whose coarsest waves are about `size` metres."""
        return noise.look_up(self.tiles[tile], *(xy * (noise.SIZE / _TILES[tile][0] / size)).T)
