# SPDX-License-Identifier: GPL-3.0-or-later
"""Generators of what one sits on: chairs, couches, benches. Lengths are about metres; the floor is at y = 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .paint import near, paint
from .shapes import Paint, Part
from .solids import Solid, box, rod, slab, tube

Random = np.random.Generator


def chair(random: Random) -> list[Part]:
    """Seats on legs, pedestals, runners or blocks; backs solid, slatted, laddered or curved; arms or none."""
    width, depth = random.uniform(0.4, 0.62), random.uniform(0.4, 0.58)
    height, thick = random.uniform(0.36, 0.52), random.uniform(0.04, 0.1)
    wood = paint(random, "wood", "metal", "dark", "lacquer", "pale")
    cloth = paint(random, "cloth", "leather", "wood", "lacquer")
    frame = near(wood, random) if random.random() < 0.5 else paint(random, "metal", "dark", "wood")
    top = height + thick
    power = random.choice([3.0, 6.0, 16.0])
    round_seat = power < 16 and random.random() < 0.7
    seat = slab if round_seat else _plate(random.uniform(0.005, 0.02))
    middle = (0.0, height + thick / 2, 0.0)
    size = (width, thick, depth)
    parts = [Part("seat", seat(middle, size, power), cloth if random.random() < 0.6 else wood)]
    if random.random() < 0.3:
        pad = random.uniform(0.03, 0.06)
        parts.append(Part("seat", slab((0, top + pad / 2, 0), (0.88 * width, pad, 0.88 * depth), 5.0), cloth))
        top += pad
    inset = 0.72 if round_seat else 0.9
    parts += [Part("leg", s, frame) for s in _chair_legs(random, width * inset, depth * inset, height)]
    if random.random() < 0.95:
        tall = random.uniform(0.3, 0.75)
        back = _back(random, width * random.uniform(0.8, 1.0), top - 0.02, tall, -depth / 2)
        parts += [Part("back", s, cloth if random.random() < 0.3 else wood) for s in back[:1]]
        parts += [Part("back", s, parts[-1].albedo) for s in back[1:]]
    if random.random() < 0.4:
        rise = random.uniform(0.16, 0.26)
        parts += _arms(random, width, depth, height + thick / 2, top + rise, frame)
    return parts


def couch(random: Random) -> list[Part]:
    """Sofas of one to four seats, with cushions, wings or bare, some with a chaise on one side."""
    seats = int(random.integers(1, 5))
    inner, depth = seats * random.uniform(0.5, 0.65), random.uniform(0.7, 0.95)
    legs, base = random.choice([0.0, random.uniform(0.06, 0.18)]), random.uniform(0.18, 0.3)
    cloth = paint(random, "cloth", "leather", "pale", "dark")
    cushion = near(cloth, random) if random.random() < 0.6 else paint(random, "cloth", "leather")
    arm = random.uniform(0.1, 0.26)
    bevel = random.uniform(0.01, 0.06)
    back_thick, back_high = random.uniform(0.14, 0.26), random.uniform(0.3, 0.55)
    width = inner + 2 * arm
    top = legs + base
    parts = [Part("seat", box((0, legs + base / 2, 0), (width * 0.99, base, depth), bevel), cloth)]
    chaise = random.choice([-1, 1]) if seats > 1 and random.random() < 0.3 else 0
    room = depth - back_thick
    pad = random.uniform(0.08, 0.16)
    for k in range(seats):
        x = (k + 0.5) * inner / seats - inner / 2
        long = room + (random.uniform(0.5, 0.7) if chaise and k == (0 if chaise < 0 else seats - 1) else 0)
        z = depth / 2 - room + long / 2
        if long > room:
            base_block = box((x, legs + base / 2, z), (inner / seats, base, long), bevel)
            parts.append(Part("seat", base_block, cloth))
        parts.append(Part("seat", slab((x, top + pad / 2, z), (inner / seats * 0.97, pad, long * 0.98), 10.0), cushion))
    lean = random.uniform(0.0, 0.25)
    hinge = (0.0, top, -depth / 2 + back_thick / 2)
    back = box((0, top + back_high / 2 - 0.03, hinge[2]), (width * 0.985, back_high, back_thick), bevel)
    parts.append(Part("back", back.turned(0, -lean, hinge), cloth))
    if random.random() < 0.5:
        for k in range(seats):
            x = (k + 0.5) * inner / seats - inner / 2
            high = back_high * random.uniform(0.7, 0.95)
            pillow = box(
                (x, top + pad + high / 2, hinge[2] + back_thick * 0.8), (inner / seats * 0.9, high, 0.16), 0.06
            )
            parts.append(Part("back", pillow.turned(0, -lean, hinge), cushion))
    if random.random() < 0.88:
        arm_top = top + random.uniform(0.15, min(0.35, back_high))
        parts += [Part("arm", s, cloth) for s in _couch_arms(random, width, depth, arm, legs, arm_top, bevel)]
    if legs:
        foot = paint(random, "wood", "metal", "dark")
        radius = random.uniform(0.025, 0.05)
        parts += [Part("leg", s, foot) for s in _legs(random, width * 0.9, depth * 0.85, legs + 0.02, radius)]
    return parts


def bench(random: Random) -> list[Part]:
    """Garden and park benches: planks, slabs or slats, on legs, panels or blocks."""
    width, depth = random.uniform(1.0, 2.0), random.uniform(0.32, 0.55)
    height, thick = random.uniform(0.34, 0.5), random.uniform(0.05, 0.1)
    wood = paint(random, "wood", "pale", "lacquer", "metal")
    frame = paint(random, "metal", "dark", "wood", "pale") if random.random() < 0.6 else near(wood, random)
    parts = []
    slats = int(random.integers(2, 5)) if random.random() < 0.5 else 1
    pitch = depth / slats
    for k in range(slats):
        z = (k + 0.5) * pitch - depth / 2
        gap = 0.72 if slats > 1 else 1.0
        parts.append(Part("seat", box((0, height + thick / 2, z), (width, thick, pitch * gap), 0.01), wood))
    if slats > 1:
        bars = [box((s * width * 0.3, height - 0.01, 0), (0.07, 0.06, depth * 0.9)) for s in (-1, 1)]
        parts += [Part("seat", b, wood) for b in bars]
    kind = random.choice(["legs", "panels", "blocks", "frame"])
    spread = width * random.uniform(0.6, 0.95)
    if kind == "legs":
        radius = random.uniform(0.035, 0.06)
        parts += [Part("leg", s, frame) for s in _legs(random, spread, depth * 0.85, height, radius)]
        if random.random() < 0.4:
            y = height * random.uniform(0.2, 0.5)
            parts.append(Part("leg", rod((-spread / 2, y, 0), (spread / 2, y, 0), 0.035), frame))
            ends = [((s * spread / 2, y, -depth * 0.4), (s * spread / 2, y, depth * 0.4)) for s in (-1, 1)]
            parts += [Part("leg", rod(a, b, 0.035), frame) for a, b in ends]
    elif kind == "frame":
        for s in (-1, 1):
            x, z = s * spread / 2, depth * 0.42
            path = np.array([[x, height, -z], [x, 0.03, -z * 1.05], [x, 0.03, z * 1.05], [x, height, z]])
            parts.append(Part("leg", tube(_rounded(path), 0.035), frame))
    else:
        deep, wide = (depth * 0.9, 0.07) if kind == "panels" else (depth * 0.95, random.uniform(0.15, 0.4))
        blocks = [box((s * spread / 2, height / 2, 0), (wide, height, deep), 0.01) for s in (-1, 1)]
        parts += [Part("leg", b, frame) for b in blocks]
    if random.random() < 0.6:
        tall = random.uniform(0.3, 0.5)
        style = random.choice(["solid", "ladder", "slats"])
        back = _back(random, width, height + thick - 0.02, tall, -depth / 2, style)
        parts += [Part("back", s, wood) for s in back]
        if random.random() < 0.6:
            parts += _arms(random, width, depth, height + thick / 2, height + thick + random.uniform(0.15, 0.22), frame)
    return parts


def _plate(bevel: float) -> Callable[..., Solid]:
    """A box with the arguments of `slab`."""
    return lambda centre, size, _power: box(centre, size, bevel)


def _chair_legs(random: Random, width: float, depth: float, height: float) -> list[Solid]:
    """What carries a chair's seat, from the floor to its underside."""
    kind = random.choice(["legs", "pedestal", "runners", "block", "cantilever"], p=[0.56, 0.16, 0.12, 0.06, 0.1])
    radius = random.uniform(0.02, 0.04)
    if kind == "legs":
        solids = _legs(random, width, depth, height + 0.01, radius)
        if random.random() < 0.35:
            y = height * random.uniform(0.25, 0.6)
            for s in (-1, 1):
                x = s * width / 2
                solids.append(rod((x, y, -depth / 2), (x, y, depth / 2), 0.02))
            solids.append(rod((-width / 2, y, 0), (width / 2, y, 0), 0.02))
        return solids
    if kind == "pedestal":
        solids = [rod((0, 0.04, 0), (0, height + 0.01, 0), random.uniform(0.03, 0.06))]
        if random.random() < 0.5:
            return [*solids, slab((0, 0.03, 0), (width * 0.95, 0.05, width * 0.95), 2.0)]
        spokes = int(random.integers(4, 6))
        reach = width * random.uniform(0.45, 0.6)
        for k in range(spokes):
            a = 2 * np.pi * (k + 0.25) / spokes
            end = (reach * np.sin(a), 0.03, reach * np.cos(a))
            solids.append(rod((0, 0.1, 0), end, 0.035, 0.025))
        return solids
    if kind == "runners":
        solids = []
        for s in (-1, 1):
            x = s * width / 2
            z = depth / 2
            path = np.array([[x, height, -z], [x, 0.025, -z], [x, 0.025, z], [x, height, z]])
            solids.append(tube(_rounded(path), radius))
        return solids
    if kind == "cantilever":
        z = depth / 2
        sides = [
            tube(_rounded(np.array([[x, height, z], [x, 0.025, z * 0.95], [x, 0.025, -z]])), radius)
            for x in (-width / 2, width / 2)
        ]
        return [*sides, rod((-width / 2, 0.025, -z), (width / 2, 0.025, -z), radius)]
    return [box((0, height / 2, 0), (width, height, depth), 0.02)]


def _legs(random: Random, width: float, depth: float, height: float, radius: float) -> list[Solid]:
    """Four legs, straight or splayed, even or tapered, round or square."""
    splay = random.choice([0.0, random.uniform(0.02, 0.14)]) * min(1.0, 3 * height)
    foot = radius * random.choice([1.0, random.uniform(0.6, 0.9)])
    power = random.choice([2.0, 10.0])
    w, d = width / 2 - radius, depth / 2 - radius
    return [
        rod((x * (w + splay), 0, z * (d + splay)), (x * w, height, z * d), max(foot, 0.02), radius, power)
        for x in (-1, 1)
        for z in (-1, 1)
    ]


def _back(random: Random, width: float, base: float, tall: float, z: float, style: str | None = None) -> list[Solid]:
    """A back rest that stands on the seat's rear edge and leans backward."""
    style = style or str(
        random.choice(["solid", "curved", "slats", "ladder", "round"], p=[0.34, 0.2, 0.18, 0.16, 0.12])
    )
    thick = random.uniform(0.035, 0.07)
    lean = random.uniform(0.02, 0.3)
    z += thick / 2
    hinge = (0.0, base, z)
    if style == "solid":
        solids = [box((0, base + tall / 2, z), (width, tall, thick), random.uniform(0.0, 0.02))]
    elif style == "round":
        plate = slab((0, 0, 0), (width, thick, tall), random.choice([2.0, 3.0])).turned(0, np.pi / 2)
        solids = [plate.moved((0, base + tall / 2, z))]
    elif style == "curved":
        bow, low = random.uniform(0.04, 0.16), random.choice([0.0, random.uniform(0.1, 0.4)]) * tall
        x = np.linspace(-1, 1, 9)
        path = np.stack([x * width / 2, np.full(9, base + (low + tall) / 2), z + bow * x**2], 1)
        half = (tall - low) / 2
        solids = [tube(path, half, 10.0, thick / (2 * half), (0, 1, 0))]
        solids += [rod((s * 0.3 * width, base, z), (s * 0.3 * width, base + low + 0.05, z), 0.022) for s in (-1, 1)]
    else:
        w = width / 2 - 0.025
        solids = [rod((s * w, base, z), (s * w, base + tall, z), 0.025, power=6.0) for s in (-1, 1)]
        solids.append(box((0, base + tall - 0.03, z), (width, 0.07, thick), 0.01))
        bars = int(random.integers(2, 5)) if width < 0.8 else int(random.integers(6, 12))
        if style == "ladder":
            rungs = int(random.integers(1, 4))
            solids += [
                box((0, base + tall * (k + 0.7) / (rungs + 0.9), z), (2 * w, 0.055, 0.035)) for k in range(rungs)
            ]
        else:
            at = (np.arange(bars) + 1) / (bars + 1) * 2 * w - w
            solids += [rod((x, base, z), (x, base + tall - 0.02, z), 0.02) for x in at]
    return [s.turned(0, -lean, hinge) for s in solids]


def _arms(random: Random, width: float, depth: float, low: float, high: float, colour: Paint) -> list[Part]:
    """Arm rests on posts, or bent tubes, at both sides of a seat."""
    thick = random.uniform(0.04, 0.07)
    x = width / 2 - thick / 4
    front = depth * random.uniform(0.25, 0.45)
    if random.random() < 0.3:
        path = np.array([[x, low, front], [x, high, front], [x, high, -depth * 0.45]])
        one = [tube(_rounded(path), 0.025)]
    elif random.random() < 0.25:
        one = [box((x, (low + high) / 2, front / 2 - depth * 0.2), (thick, high - low, depth * 0.4 + front), 0.01)]
    else:
        one = [box((x, high, (front - depth * 0.45) / 2), (thick * 1.3, 0.045, depth * 0.45 + front), 0.01)]
        one.append(rod((x, low, front - 0.03), (x, high, front - 0.03), 0.022))
        one.append(rod((x, low, -depth * 0.3), (x, high, -depth * 0.35), 0.022))
    return [Part("arm", s, colour) for solid in one for s in (solid, solid.mirrored())]


def _couch_arms(
    random: Random, width: float, depth: float, thick: float, low: float, high: float, bevel: float
) -> list[Solid]:
    x = width / 2 - thick / 2
    right = [box((x, (low + high) / 2, 0.005), (thick, high - low, depth * random.uniform(0.88, 1.0)), bevel)]
    if random.random() < 0.3:
        radius = thick * random.uniform(0.5, 0.65)
        right.append(rod((x, high, -depth * 0.46), (x, high, depth * 0.49), radius))
    return [s for solid in right for s in (solid, solid.mirrored())]


def _rounded(path: np.ndarray, steps: int = 4) -> np.ndarray:
    """A polyline (K, 3) with its corners rounded by quadratic curves, a third of the shorter side wide."""
    points = [path[0]]
    for before, corner, after in zip(path[:-2], path[1:-1], path[2:], strict=True):
        reach = min(np.linalg.norm(before - corner), np.linalg.norm(after - corner)) / 3
        a = corner + (before - corner) / np.linalg.norm(before - corner) * reach
        b = corner + (after - corner) / np.linalg.norm(after - corner) * reach
        for t in np.linspace(0, 1, steps + 1):
            points.append((1 - t) ** 2 * a + 2 * t * (1 - t) * corner + t**2 * b)
    return np.array([*points, path[-1]])
