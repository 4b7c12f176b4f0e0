# SPDX-License-Identifier: GPL-3.0-or-later
"""Procedural albedo of skin, hair and cloth: functions of the T-posed position, baked into texture space.

All colours are scene-linear Rec.709 reflectances. NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .surface import ramp

Colour = np.ndarray
Pattern = Callable[[np.ndarray], np.ndarray]


def noise(points: np.ndarray, size: float, seed: int, octaves: int = 1) -> np.ndarray:
    """Value noise in [−1, 1] at points (N, 3) metres, features of `size` metres; each octave halves size and weight."""
    total, weight = np.zeros(len(points)), 0.0
    for octave in range(octaves):
        scaled = points / (size / 2**octave)
        cell = np.floor(scaled).astype(np.int64)
        f = scaled - cell
        f = f * f * (3 - 2 * f)
        (x0, y0, z0), (x, y, z) = cell.T.astype(np.uint32) * PRIMES[:, None], f.T
        x1, y1, z1 = x0 + PRIMES[0], y0 + PRIMES[1], z0 + PRIMES[2]
        salt = np.uint32((seed + octave) * 974634777 & 0xFFFFFFFF)
        value = 0
        for a, wx in ((x0, 1 - x), (x1, x)):
            for b, wy in ((y0, 1 - y), (y1, y)):
                row = a + b + salt
                value = value + wx * wy * (_scrambled(row + z0) * (1 - z) + _scrambled(row + z1) * z)
        total += value * 0.5**octave
        weight += 0.5**octave
    return total / weight


PRIMES = np.array([374761393, 668265263, 2147483647], np.uint32)


def _scrambled(h: np.ndarray) -> np.ndarray:
    """A fixed pseudo-random number in [−1, 1] for each uint32."""
    h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(2246822519)
    return (h ^ (h >> np.uint32(15))).astype(np.float32) * np.float32(1 / 2147483648) - 1


@dataclass(frozen=True)
class Bake:
    """Which point of a surface each texel shows.

    height, width: the texture; texels: (N,) indices of the covered texels; faces (N,), barycentric (N, 3); nearest:
    (height·width,) for every texel the number of the covered one that fills it.
    """

    height: int
    width: int
    texels: np.ndarray
    triangle: np.ndarray
    barycentric: np.ndarray
    nearest: np.ndarray

    def take(self, corner_values: np.ndarray) -> np.ndarray:
        """Corner values (F, 3, C) at the covered texels."""
        return np.einsum("nk,nkc->nc", self.barycentric, corner_values[self.triangle])

    def image(self, values: np.ndarray) -> np.ndarray:
        """(H, W, C) float32 from the covered texels' values, spread past the seams."""
        return values[self.nearest].reshape(self.height, self.width, -1).astype(np.float32)


def bake(uv: np.ndarray, height: int, width: int) -> Bake:
    """Rasterise texture triangles (F, 3, 2), v upwards, by dense sampling. Independent of the surface's shape."""
    size = np.array([width, height])
    p = uv * size
    longest = np.linalg.norm(p - np.roll(p, 1, axis=1), axis=2).max(1)
    owner, bary = [], []
    steps = np.ceil(longest * 1.5).astype(int) + 1
    for n in np.unique(steps):
        i, j = np.meshgrid(np.arange(n + 1), np.arange(n + 1))
        i, j = i[i + j <= n], j[i + j <= n]
        b = np.stack([i, j, n - i - j], 1) / n
        chosen = np.flatnonzero(steps == n)
        owner.append(np.repeat(chosen, len(b)))
        bary.append(np.tile(b, (len(chosen), 1)))
    triangle, barycentric = np.concatenate(owner), np.concatenate(bary)
    at = np.einsum("nk,nkc->nc", barycentric, p[triangle])
    x, y = np.clip(at[:, 0].astype(int), 0, width - 1), np.clip(height - 1 - at[:, 1].astype(int), 0, height - 1)
    off_centre = np.abs(at - np.floor(at) - 0.5).sum(1)
    order = np.argsort((60000 * (1 - off_centre)).astype(np.uint16), kind="stable")  # the most central sample last
    slot = np.full(height * width, -1, np.int64)
    slot[(y * width + x)[order]] = order
    texels = np.flatnonzero(slot >= 0)
    nearest = np.full(height * width, -1, np.int64)
    nearest[texels] = np.arange(len(texels))
    kept = slot[texels]
    return Bake(height, width, texels, triangle[kept], barycentric[kept], _spread(nearest, height, width))


def _spread(nearest: np.ndarray, height: int, width: int, steps: int = 6) -> np.ndarray:
    grid = nearest.reshape(height, width)
    for _ in range(steps):
        for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            moved = np.roll(grid, shift, axis)
            grid = np.where(grid < 0, moved, grid)
    return np.maximum(grid, 0).ravel()


def mix(a: np.ndarray, b: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """Colours between a and b; share is (N,) or a number."""
    share = np.asarray(share)
    share = share[..., None] if share.ndim else share
    return a * (1 - share) + b * share


# Skin

# From the darkest to the lightest.
TONES = np.array(
    [[0.050, 0.027, 0.019], [0.115, 0.058, 0.036], [0.23, 0.125, 0.078], [0.40, 0.24, 0.165], [0.55, 0.36, 0.275]]
)


def skin_tone(depth: float, warmth: float) -> Colour:
    """Diffuse reflectance of skin between the darkest (0) and the lightest (1); warmth −1…1 shifts it to red."""
    position = depth * (len(TONES) - 1)
    base = np.array([np.interp(position, np.arange(len(TONES)), TONES[:, k]) for k in range(3)])
    return base * (1 + np.array([0.04, -0.02, -0.06]) * warmth)


def skin(
    p: np.ndarray, masks: dict[str, np.ndarray], tone: Colour, brow: Colour, stubble: float, eyes: np.ndarray, seed: int
) -> np.ndarray:
    """Skin albedo at T-posed points (N, 3) of the template; masks in [0, 1]; eyes: (2, 3) centres of the eyeballs."""
    colour = tone * (1 + 0.07 * noise(p, 0.05, seed, 2) + 0.05 * noise(p, 0.008, seed + 7, 2))[:, None]
    eye = eyes[0]
    x, y, z = np.abs(p[:, 0]), p[:, 1] - eye[1], p[:, 2] - eye[2]
    front = ramp(z, -0.03, 0.0) * masks["face"]
    flush = np.exp(-((x - 0.04) ** 2 + (y + 0.035) ** 2) / 0.02**2) * front + 0.8 * masks["ears"]
    flush += np.exp(-(x**2 + (y + 0.035) ** 2) / 0.012**2) * front * 0.8
    colour = colour * (1 + flush[:, None] * np.array([0.05, -0.10, -0.10]))
    colour = mix(colour, colour * (0.62, 0.52, 0.55), masks["eyelids"] * 0.6)
    colour = mix(colour, colour * (0.80, 0.48, 0.50), masks["lips"] * 0.85)
    colour = mix(colour, colour * (1.15, 1.05, 1.05), masks["nails"])
    colour = mix(colour, np.array([0.08, 0.02, 0.018]), masks["mouth"])
    jaw = ramp(-y, 0.045, 0.075) * ramp(z, -0.07, -0.01) * ramp(y, -0.145, -0.12) * (1 - masks["lips"])
    grain = 0.6 + 0.4 * noise(p, 0.003, seed + 3)
    colour = mix(colour, brow * 0.6 + 0.4 * colour, stubble * jaw * grain)
    arch = 0.021 + 0.005 * np.exp(-(((x - 0.038) / 0.013) ** 2)) - 0.004 * ramp(x, 0.045, 0.058)
    thick = 0.0048 * ramp(x, 0.008, 0.02) * (1 - 0.6 * ramp(x, 0.035, 0.058))
    hairs = ramp(thick - np.abs(y - arch), -0.0012, 0.0016) * ramp(x, 0.009, 0.014) * (1 - ramp(x, 0.054, 0.06))
    return mix(colour, brow, np.clip(hairs * front * (0.85 + 0.3 * noise(p, 0.003, seed + 5)), 0, 0.95))


def eyes_texture(iris: Colour, size: int = 64) -> np.ndarray:
    """(size, size, 3): an eyeball seen from the front, the pupil in the middle; the disc fills the square."""
    y, x = np.mgrid[:size, :size] / (size - 1) * 2 - 1
    r = np.hypot(x, y)
    white = np.array([0.62, 0.58, 0.55]) * np.ones((size, size, 1))
    image = mix(white, iris * (0.8 + 0.4 * np.cos(9 * np.arctan2(y, x)) ** 2)[..., None], ramp(-r, -0.50, -0.44))
    image = mix(image, iris * 0.3, ramp(-np.abs(r - 0.46), -0.06, -0.01))
    return mix(image, np.array([0.012] * 3), ramp(-r, -0.22, -0.17)).astype(np.float32)


# Cloth


def cloth_coordinates(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Metres along and around the trunk, leg or sleeve that T-posed points (N, 3) of the template belong to."""
    arm = (np.abs(p[:, 0]) > 0.19) & (p[:, 1] > 0.2)
    leg = p[:, 1] < -0.16
    around_arm = np.arctan2(p[:, 2] - 0.047, p[:, 1] - 0.361) * 0.05
    around_leg = np.arctan2(np.abs(p[:, 0]) - 0.12, p[:, 2] - 0.03) * 0.085
    around = np.where(arm, around_arm, np.where(leg, around_leg, p[:, 0] * (1 + 0.3 * np.sign(p[:, 2]))))
    return np.where(arm, np.abs(p[:, 0]), p[:, 1]), around


def plain(colour: Colour, seed: int, contrast: float = 0.06) -> Pattern:
    """One dye with an uneven weave."""

    def pattern(p: np.ndarray) -> np.ndarray:
        return colour * (1 + contrast * noise(p, 0.03, seed, 3) + 0.5 * contrast * noise(p, 0.004, seed + 1))[:, None]

    return pattern


def stripes(a: Colour, b: Colour, period: float, share: float, seed: int, upright: bool = False) -> Pattern:
    """Woven stripes of b on a, across the piece or along it."""

    def pattern(p: np.ndarray) -> np.ndarray:
        along, around = cloth_coordinates(p)
        phase = (around if upright else along) / period % 1
        band = ramp(share / 2 - np.abs(phase - 0.5), -0.03, 0.03)
        return mix(plain(a, seed)(p), plain(b, seed + 2)(p), band)

    return pattern


def checks(a: Colour, b: Colour, c: Colour, period: float, seed: int) -> Pattern:
    """A tartan: bands both ways, and a thin line."""

    def pattern(p: np.ndarray) -> np.ndarray:
        colour = plain(a, seed)(p)
        for way in cloth_coordinates(p):
            phase = way / period % 1
            colour = mix(colour, b, 0.5 * ramp(0.25 - np.abs(phase - 0.5), -0.02, 0.02))
            colour = mix(colour, c, 0.6 * ramp(0.03 - np.abs(phase - 0.05), -0.015, 0.015))
        return colour

    return pattern


def blotches(a: Colour, b: Colour, size: float, seed: int, threshold: float = 0.1) -> Pattern:
    """A print of irregular spots, from flowers to camouflage."""

    def pattern(p: np.ndarray) -> np.ndarray:
        spots = ramp(noise(p, size, seed, 2), threshold, threshold + 0.08)
        return mix(plain(a, seed + 1)(p), b, spots)

    return pattern


def chest_print(under: Pattern, a: Colour, b: Colour, seed: int) -> Pattern:
    """A motif on the front of a shirt: a disc or a panel with shapes."""

    def pattern(p: np.ndarray) -> np.ndarray:
        x, y = p[:, 0], p[:, 1] - 0.20
        reach = np.hypot(x, y) if seed % 2 else np.maximum(np.abs(x), np.abs(y) * 0.8)
        motif = ramp(0.085 - reach, -0.003, 0.003) * (p[:, 2] > 0.03)
        inner = mix(a, b, ramp(noise(p * (1, 1, 0.1), 0.05, seed, 1), 0.0, 0.06))
        return mix(under(p), inner, 0.95 * motif)

    return pattern


def denim(colour: Colour, seed: int) -> Pattern:
    """Twill, washed out over the thighs, with pale seams down the sides."""

    def pattern(p: np.ndarray) -> np.ndarray:
        worn = ramp(p[:, 2], 0.04, 0.13) * (0.5 + 0.5 * noise(p, 0.12, seed, 2))
        twill = 1 + 0.10 * noise(p * (1, 0.35, 1), 0.005, seed + 1, 2) + 0.08 * noise(p, 0.06, seed + 2, 2)
        base = mix(colour, colour * 1.6 + 0.05, 0.7 * worn) * twill[:, None]
        seam = np.abs(p[:, 2] - 0.03) < 0.004
        return mix(base, base * 0.55, seam.astype(float))

    return pattern


def zipped(under: Pattern, metal: Colour) -> Pattern:
    """A zip down the front with a darker flap at either side."""

    def pattern(p: np.ndarray) -> np.ndarray:
        front, x = p[:, 2] > 0.03, np.abs(p[:, 0])
        colour = under(p)
        colour = mix(colour, colour * 0.6, (front & (x < 0.018)).astype(float))
        return mix(colour, metal, (front & (x < 0.005)).astype(float))

    return pattern


def hemmed(under: Pattern, colour: Colour, lines: list[tuple[int, float, float]]) -> Pattern:
    """Cuffs and hems: bands of another colour around coordinate lines (axis, position, half width); axis 0 is |x|."""

    def pattern(p: np.ndarray) -> np.ndarray:
        result = under(p)
        for axis, position, half in lines:
            value = np.abs(p[:, 0]) if axis == 0 else p[:, axis]
            result = mix(result, colour, ramp(half - np.abs(value - position), -0.002, 0.002))
        return result

    return pattern


def strands(colour: Colour, seed: int, height: int = 256, width: int = 256) -> np.ndarray:
    """(H, W, 3) hair: u around the head, v from the tips (0) to the crown (1)."""
    v, u = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    ring = np.stack([np.cos(u * 2 * np.pi), np.sin(u * 2 * np.pi), v * 0.15], -1).reshape(-1, 3)
    streaks = noise(ring, 0.07, seed, 3) * 0.45 + noise(ring, 0.4, seed + 9) * 0.15
    shade = (1 + streaks.reshape(height, width)) * (0.85 + 0.3 * v)
    return (colour * shade[..., None]).astype(np.float32)
