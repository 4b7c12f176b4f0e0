# SPDX-License-Identifier: GPL-3.0-or-later
"""Generators of kinds that no network of ours is trained on: they ask what the field can say of unseen categories.

Lengths are about metres; the floor is at y = 0.
"""

from __future__ import annotations

import numpy as np

from .paint import near, paint
from .shapes import Part
from .solids import Solid, box, lathe, loft, rod, slab, tube

Random = np.random.Generator


def bed(random: Random) -> list[Part]:
    """A mattress on a frame, with a headboard and pillows."""
    width, length = random.uniform(0.9, 1.9), random.uniform(1.8, 2.2)
    low, frame = random.uniform(0.1, 0.3), random.uniform(0.12, 0.3)
    wood, cloth = paint(random, "wood", "pale", "dark"), paint(random, "cloth", "pale")
    top = low + frame
    parts = [Part("frame", box((0, low + frame / 2, 0), (width, frame, length), 0.02), wood)]
    soft = random.uniform(0.15, 0.28)
    parts.append(Part("mattress", slab((0, top + soft / 2, 0.02), (width * 0.97, soft, length * 0.96), 8.0), cloth))
    head = top + soft + random.uniform(0.2, 0.6)
    parts.append(Part("board", box((0, head / 2, -length / 2 - 0.03), (width, head, 0.07), 0.01), near(wood, random)))
    for x in (-0.24 * width, 0.24 * width) if width > 1.2 else (0.0,):
        pillow = slab((x, top + soft + 0.06, -length * 0.36), (0.6, 0.13, 0.4), 4.0)
        parts.append(Part("mattress", pillow, near(cloth, random)))
    corners = [(x * width * 0.44, z * length * 0.46) for x in (-1, 1) for z in (-1, 1)]
    return parts + [Part("frame", rod((x, 0, z), (x, low + 0.02, z), 0.04, power=8.0), wood) for x, z in corners]


def boat(random: Random) -> list[Part]:
    """A hull with a cabin or a mast; its bow is at +z."""
    length, beam, deep = random.uniform(3, 6), random.uniform(1.0, 1.8), random.uniform(0.6, 1.1)
    along = np.linspace(-0.5, 0.5, 12)
    wide = np.clip(1 - np.maximum(along * 2 * random.uniform(0.9, 1.1), 0) ** 2.5, 0.03, 1)
    sheer = 0.25 * deep * (along * 2) ** 2
    section = np.array([[0, -1], [0.55, -0.8], [0.9, -0.3], [1, 0.0], [-1, 0.0], [-0.9, -0.3], [-0.55, -0.8]])
    rings = [
        np.stack([beam / 2 * w * section[:, 0], deep + s + deep * section[:, 1], np.full(7, length * z)], 1)
        for z, w, s in zip(along, wide, sheer, strict=True)
    ]
    colour, light = paint(random, "lacquer", "pale", "wood"), paint(random, "pale", "wood")
    parts = [Part("hull", loft(np.array(rings)), colour)]
    if random.random() < 0.5:
        high, at = random.uniform(0.5, 1.0), -0.1 * length
        size = (beam * 0.6, high, length * random.uniform(0.2, 0.4))
        parts.append(Part("cabin", box((0, deep + high / 2 - 0.05, at), size, 0.06), light))
        roof = (size[0] * 1.1, 0.08, size[2] * 1.15)
        return [*parts, Part("cabin", box((0, deep + high, at), roof, 0.02), near(colour, random))]
    tall = random.uniform(0.8, 1.2) * length
    parts.append(Part("mast", rod((0, deep * 0.5, 0.05 * length), (0, deep + tall, 0.05 * length), 0.06, 0.04), light))
    sail = np.array([[0, 0.15, 0.04], [0, 0.15, -0.42], [0, 0.95, 0.04]]) * (1, tall, length) + (0, deep, 0)
    rings = [sail + np.array([x, 0, 0]) for x in (-0.04, 0.04)]
    return [*parts, Part("mast", loft(np.array(rings)), paint(random, "pale", "cloth"))]


def bottle(random: Random) -> list[Part]:
    """A bottle or a flask with its cap."""
    radius, body = random.uniform(0.03, 0.06), random.uniform(0.1, 0.25)
    neck, tall = radius * random.uniform(0.25, 0.5), random.uniform(0.03, 0.1)
    shoulder = radius * random.uniform(0.3, 1.4)
    profile = [(0.9 * radius, 0), (radius, 0.06 * body), (radius, body), (0.8 * radius, body + 0.4 * shoulder)]
    profile += [(neck, body + shoulder), (neck, body + shoulder + tall)]
    cap = body + shoulder + tall
    parts = [Part("body", lathe(np.array(profile)), paint(random, "glass", "lacquer", "pale"))]
    lid = rod((0, cap - 0.3 * tall, 0), (0, cap + 0.012, 0), neck * 1.25)
    return [*parts, Part("cap", lid, paint(random, "metal", "dark", "lacquer"))]


def monitor(random: Random) -> list[Part]:
    """A flat screen on a stand."""
    width = random.uniform(0.4, 1.1)
    height, thick = width * random.uniform(0.52, 0.72), random.uniform(0.03, 0.07)
    lift = random.uniform(0.08, 0.25)
    case, middle = paint(random, "dark", "metal", "pale"), lift + height / 2
    parts = [Part("screen", box((0, middle, 0), (width, height, thick), 0.006), case)]
    glass = (width * 0.95, height * 0.92, 0.012)
    parts.append(Part("screen", box((0, middle, thick / 2), glass), paint(random, "glass", "dark")))
    bottom = slab((0, 0.012, -0.02), (width * random.uniform(0.3, 0.6), 0.024, random.uniform(0.16, 0.26)), 4.0)
    back = -thick / 2 - 0.02
    neck = rod((0, 0.0, back), (0, middle, back), random.uniform(0.018, 0.035), power=8.0)
    return [*parts, Part("stand", bottom, near(case, random)), Part("stand", neck, near(case, random))]


def mug(random: Random) -> list[Part]:
    """A mug with its handle on the right."""
    radius, height = random.uniform(0.035, 0.05), random.uniform(0.07, 0.13)
    foot, wall = radius * random.uniform(0.7, 1.05), 0.007
    profile = [(0, 0), (foot, 0), (radius, height), (radius - wall, height), (foot - wall, wall), (0, wall)]
    clay = paint(random, "pale", "lacquer", "dark")
    parts = [Part("cup", lathe(np.array(profile)), clay)]
    angle = np.linspace(-0.45 * np.pi, 0.45 * np.pi, 9)
    size = height * random.uniform(0.28, 0.4)
    path = np.stack([0.93 * radius + size * np.cos(angle), height / 2 + size * np.sin(angle), 0 * angle], 1)
    return [*parts, Part("handle", tube(path, 0.007, side=(0, 0, 1)), near(clay, random))]


def speaker(random: Random) -> list[Part]:
    """A loudspeaker's box with its cones in front."""
    width, height = random.uniform(0.16, 0.3), random.uniform(0.25, 1.0)
    depth, case = random.uniform(0.18, 0.35), paint(random, "wood", "dark", "pale")
    parts = [Part("box", box((0, height / 2, 0), (width, height, depth), random.choice([0.0, 0.012])), case)]
    cone = paint(random, "dark", "metal", "pale")
    many = max(2, round(height / width))
    for k, y in enumerate((np.arange(many) + 0.5) * height / many):
        radius = min(width, height / many) * (0.4 if k < many - 1 else random.uniform(0.2, 0.38))
        parts.append(Part("cone", _disc(radius, y, depth / 2), near(cone, random)))
    return parts


def _disc(radius: float, y: float, z: float) -> Solid:
    return rod((0, y, z - 0.01), (0, y, z + 0.02), radius, 0.85 * radius)
