# SPDX-License-Identifier: GPL-3.0-or-later
"""Generators of tables, cabinets and lamps. Lengths are about metres; the floor is at y = 0."""

from __future__ import annotations

import itertools

import numpy as np

from .paint import near, paint
from .shapes import Part
from .solids import Solid, box, lathe, rod, slab, tube

Random = np.random.Generator


def table(random: Random) -> list[Part]:
    """Dining, coffee and side tables and desks, with shelves, aprons and drawers."""
    width, depth = random.uniform(0.6, 1.8), random.uniform(0.5, 1.0)
    height, thick = random.uniform(0.32, 0.85), random.uniform(0.04, 0.09)
    wood = paint(random, "wood", "pale", "lacquer", "dark", "glass")
    frame = near(wood, random, 0.4) if random.random() < 0.5 else paint(random, "metal", "dark", "wood", "pale")
    form = random.choice(["rectangle", "round", "oval", "cushion"], p=[0.55, 0.2, 0.1, 0.15])
    if form == "round":
        width = depth = random.uniform(0.6, 1.2)
    middle, size = (0.0, height + thick / 2, 0.0), (width, thick, depth)
    if form == "rectangle":
        top = box(middle, size, random.choice([0.0, random.uniform(0.005, 0.025)]))
    else:
        top = slab(middle, size, 2.0 if form in ("round", "oval") else random.uniform(3.0, 6.0))
    parts = [Part("top", top, wood)]
    reach = random.uniform(0.84, 0.98) if form == "rectangle" else random.uniform(0.6, 0.7)
    parts += [Part("leg", s, frame) for s in _table_legs(random, width * reach, depth * reach, height)]
    if random.random() < 0.3:
        apron = random.uniform(0.06, 0.12)
        ring = (width * (reach - 0.06), apron, depth * (reach - 0.06))
        parts.append(Part("body", box((0, height - apron / 2, 0), ring), frame))
    if random.random() < 0.22:
        y = height * random.uniform(0.18, 0.45)
        parts.append(Part("body", box((0, y, 0), (width * reach * 0.97, 0.045, depth * reach * 0.97), 0.005), wood))
    if form == "rectangle" and width > 1.0 and random.random() < 0.35:
        parts += _drawers(random, width, depth * 0.9, height, wood)
    return parts


def cabinet(random: Random) -> list[Part]:
    """Wardrobes, sideboards, drawers, lockers and open shelves."""
    kind = random.choice(["tall", "wide", "low", "cube"])
    limits = {
        "tall": ((0.5, 1.2), (1.3, 2.2), (0.35, 0.6)),
        "wide": ((1.2, 2.2), (0.5, 0.95), (0.35, 0.55)),
        "low": ((0.6, 1.2), (0.7, 1.2), (0.35, 0.5)),
        "cube": ((0.4, 0.6), (0.4, 0.7), (0.35, 0.5)),
    }[kind]
    width, height, depth = (random.uniform(*limit) for limit in limits)
    colour = paint(random, "wood", "pale", "lacquer", "metal", "dark")
    front = near(colour, random, 0.3) if random.random() < 0.5 else paint(random, "wood", "pale", "lacquer", "metal")
    handle = paint(random, "metal", "dark", "pale", "wood")
    lift = random.choice([0.0, random.uniform(0.06, 0.25)])
    parts = []
    if lift:
        parts += [Part("leg", s, handle) for s in _feet(random, width, depth, lift)]
    columns = max(1, round(width / random.uniform(0.35, 0.6)))
    rows = max(1, round(height / random.uniform(0.25, 0.9)))
    if random.random() < 0.25:
        return parts + _shelves(random, (width, height, depth), lift, max(2, rows), columns, colour, front)
    bevel = random.choice([0.0, 0.015])
    parts.append(Part("body", box((0, lift + height / 2, 0), (width, height, depth), bevel), colour))
    if random.random() < 0.4:
        parts.append(Part("body", box((0, lift + height + 0.02, 0.01), (width * 1.04, 0.06, depth * 1.06)), front))
    rim, out = random.uniform(0.02, 0.05), random.uniform(0.03, 0.06)
    w, h = (width - 2 * rim) / columns, (height - 2 * rim) / rows
    knob = random.choice(["none", "bar", "knob", "vertical"])
    for i in range(columns):
        for j in range(rows):
            x, y = (i + 0.5) * w - width / 2 + rim, lift + rim + (j + 0.5) * h
            parts.append(Part("front", box((x, y, depth / 2), (w - 0.035, h - 0.035, 2 * out), 0.008), front))
            parts += [Part("front", s, handle) for s in _handle(knob, x, y, depth / 2 + out, w, h)]
    return parts


def lamp(random: Random) -> list[Part]:
    """Table, floor and pendant lamps."""
    kind = random.choice(["table", "floor", "pendant", "arc", "desk"], p=[0.35, 0.25, 0.12, 0.13, 0.15])
    metal = paint(random, "metal", "dark", "wood", "lacquer")
    base_colour = near(metal, random) if random.random() < 0.5 else paint(random, "dark", "wood", "lacquer", "pale")
    cloth = paint(random, "pale", "cloth", "lacquer")
    return {"table": _table_lamp, "floor": _floor_lamp, "pendant": _pendant, "arc": _arc_lamp, "desk": _desk_lamp}[
        str(kind)
    ](random, cloth, metal, base_colour)


def _table_lamp(random: Random, cloth: np.ndarray, metal: np.ndarray, base: np.ndarray) -> list[Part]:
    radius, height = random.uniform(0.12, 0.24), random.uniform(0.15, 0.3)
    stand = random.uniform(0.15, 0.4)
    parts = [Part("shade", _shade(random, radius, height).moved((0, stand + 0.04, 0)), cloth)]
    parts.append(Part("pole", rod((0, 0.02, 0), (0, stand + height * 0.6, 0), 0.018), metal))
    foot = random.uniform(0.06, 0.13)
    if random.random() < 0.6:  # a turned vase carries the shade
        t = np.linspace(0, 1, 9)
        belly = foot * (0.55 + random.uniform(0.2, 0.7) * np.sin(np.pi * t ** random.uniform(0.6, 1.8)))
        belly[-1], belly[0] = 0.025, foot * random.uniform(0.5, 0.9)
        parts.append(Part("base", lathe(np.stack([belly, t * stand * 0.9], 1)), base))
    else:
        parts.append(Part("base", _foot(random, foot), base))
    return parts


def _floor_lamp(random: Random, cloth: np.ndarray, metal: np.ndarray, base: np.ndarray) -> list[Part]:
    height = random.uniform(1.1, 1.6)
    radius = random.uniform(0.15, 0.28)
    parts = [Part("shade", _shade(random, radius, random.uniform(0.2, 0.4)).moved((0, height, 0)), cloth)]
    if random.random() < 0.3:
        spread = random.uniform(0.2, 0.35)
        for k in range(3):
            a = 2 * np.pi * (k + 0.25) / 3
            parts.append(
                Part("base", rod((spread * np.sin(a), 0, spread * np.cos(a)), (0, height, 0), 0.035, 0.03), base)
            )
        return [*parts, Part("pole", rod((0, height - 0.15, 0), (0, height + 0.1, 0), 0.04), metal)]
    parts.append(Part("pole", rod((0, 0.02, 0), (0, height + 0.08, 0), random.uniform(0.034, 0.045)), metal))
    return [*parts, Part("base", _foot(random, random.uniform(0.13, 0.22)), base)]


def _pendant(random: Random, cloth: np.ndarray, metal: np.ndarray, base: np.ndarray) -> list[Part]:
    drop, radius = random.uniform(0.3, 0.8), random.uniform(0.15, 0.3)
    shade = _shade(random, radius, random.uniform(0.12, 0.4))
    top = float(shade.vertices[:, 1].max())
    parts = [Part("shade", shade, cloth), Part("pole", rod((0, top - 0.05, 0), (0, top + drop, 0), 0.024), metal)]
    cap = random.uniform(0.06, 0.12)
    return [*parts, Part("base", slab((0, top + drop, 0), (2 * cap, 0.06, 2 * cap), 2.0), base)]


def _arc_lamp(random: Random, cloth: np.ndarray, metal: np.ndarray, base: np.ndarray) -> list[Part]:
    height, reach = random.uniform(1.1, 1.6), random.uniform(0.4, 0.9)
    t = np.linspace(0, 1, 14)
    path = np.stack(
        [np.zeros(14), height * np.sin(t * np.pi * 0.62) ** 0.8, reach * (1 - np.cos(t * np.pi * 0.62)) / 1.37], 1
    )
    radius = random.uniform(0.12, 0.24)
    shade = _shade(random, radius, random.uniform(0.15, 0.28))
    end = path[-1] - (0, float(shade.vertices[:, 1].max()) - 0.04, 0)
    parts = [Part("shade", shade.moved(end), cloth), Part("pole", tube(path, 0.04), metal)]
    return [*parts, Part("base", _foot(random, random.uniform(0.13, 0.2)), base)]


def _desk_lamp(random: Random, cloth: np.ndarray, metal: np.ndarray, base: np.ndarray) -> list[Part]:
    low, back = random.uniform(0.2, 0.35), random.uniform(0.02, 0.15)
    elbow = np.array([0, low, -back])
    head = elbow + np.array([0, random.uniform(0.08, 0.25), random.uniform(0.15, 0.32)])
    parts = [Part("pole", rod((0, 0.03, 0), tuple(elbow), 0.018), metal)]
    parts.append(Part("pole", rod(tuple(elbow), tuple(head), 0.018), metal))
    radius, length = random.uniform(0.06, 0.1), random.uniform(0.08, 0.16)
    bell = lathe(np.array([[radius, 0], [radius * 0.8, length * 0.5], [radius * 0.35, length], [0.02, length * 1.1]]))
    bell = bell.turned(0, -random.uniform(0.1, 0.8), (0, length, 0))
    parts.append(Part("shade", bell.moved(head - (0, length, 0)), cloth))
    return [*parts, Part("base", _foot(random, random.uniform(0.07, 0.12)), base)]


def _shade(random: Random, radius: float, height: float) -> Solid:
    """A lamp shade that stands on y = 0: cone, drum, globe or dome."""
    kind = random.choice(["cone", "drum", "globe", "dome"], p=[0.4, 0.25, 0.2, 0.15])
    if kind == "cone":
        return lathe(np.array([[radius, 0], [radius * random.uniform(0.3, 0.8), height]]))
    if kind == "drum":
        if random.random() < 0.4:
            return box((0, height / 2, 0), (2 * radius, height, 2 * radius), 0.01)
        return lathe(np.array([[radius, 0], [radius, height]]))
    t = np.linspace(0.02, 0.98, 11)
    if kind == "globe":
        squash = random.uniform(0.7, 1.3)
        return lathe(np.stack([radius * np.sin(np.pi * t), radius * squash * (1 - np.cos(np.pi * t))], 1))
    return lathe(np.stack([radius * np.cos(np.pi / 2 * t), height * np.sin(np.pi / 2 * t)], 1))


def _foot(random: Random, radius: float) -> Solid:
    thick = random.uniform(0.3, 0.5) * radius
    if random.random() < 0.3:
        return box((0, thick / 2, 0), (2 * radius, thick, 2 * radius), 0.01)
    return lathe(np.array([[radius, 0], [radius, thick * 0.5], [radius * random.uniform(0.3, 0.9), thick]]))


def _table_legs(random: Random, width: float, depth: float, height: float) -> list[Solid]:
    kind = random.choice(
        ["legs", "pedestal", "panels", "trestle", "tripod", "frame"], p=[0.5, 0.14, 0.1, 0.1, 0.06, 0.1]
    )
    radius = random.uniform(0.03, 0.06)
    w, d = width / 2 - radius, depth / 2 - radius
    if kind == "legs":
        splay, foot = random.choice([0.0, random.uniform(0.02, 0.12)]), random.uniform(0.65, 1.0)
        power = random.choice([2.0, 10.0])
        corners = [(x, z) for x in (-1, 1) for z in (-1, 1)]
        return [
            rod((x * (w + splay), 0, z * (d + splay)), (x * w, height + 0.01, z * d), foot * radius, radius, power)
            for x, z in corners
        ]
    if kind == "pedestal":
        column = random.uniform(0.05, 0.1)
        foot = min(width, depth) * random.uniform(0.5, 0.8)
        power = random.choice([2.0, 8.0])
        solids = [rod((0, 0.02, 0), (0, height + 0.01, 0), column * random.uniform(0.8, 1.4), column)]
        return [*solids, slab((0, 0.03, 0), (foot, 0.06, foot), power)]
    if kind == "tripod":
        corners = [(np.sin(a), np.cos(a)) for a in 2 * np.pi * (np.arange(3) + 0.25) / 3]
        reach = min(w, d) * random.uniform(0.8, 1.1)
        return [rod((reach * s, 0, reach * c), (0.3 * reach * s, height, 0.3 * reach * c), radius) for s, c in corners]
    if kind == "panels":
        return [box((s * w, height / 2, 0), (0.06, height, 2 * d)) for s in (-1, 1)]
    solids = []
    for s in (-1, 1):
        if kind == "trestle":
            solids.append(rod((s * w * 0.8, 0.03, -d), (s * w * 0.8, height, d * 0.7), radius * 0.8, power=8.0))
            solids.append(rod((s * w * 0.8, 0.03, d), (s * w * 0.8, height, -d * 0.7), radius * 0.8, power=8.0))
        else:
            path = [(s * w, height, -d), (s * w, 0.03, -d), (s * w, 0.03, d), (s * w, height, d)]
            solids += [rod(a, b, radius * 0.8, power=8.0) for a, b in itertools.pairwise(path)]
    bar = height * random.uniform(0.15, 0.45) if kind == "trestle" else height - 0.03
    return [*solids, rod((-w * 0.8, bar, 0), (w * 0.8, bar, 0), radius * 0.7)]


def _drawers(random: Random, width: float, depth: float, height: float, colour: np.ndarray) -> list[Part]:
    """A desk's pedestal of drawers at one side or both."""
    wide, rows = width * random.uniform(0.22, 0.32), int(random.integers(1, 4))
    tall = height * (random.uniform(0.3, 0.5) if rows == 1 else random.uniform(0.6, 0.95))
    x = width / 2 * random.uniform(0.88, 0.96) - wide / 2
    body = box((x, height - tall / 2, 0), (wide, tall, depth * 0.92))
    front, parts = near(colour, random, 0.35), [Part("body", body, colour)]
    for k in range(rows):
        y = height - tall * (k + 0.5) / rows
        face = box((x, y, depth * 0.47), (wide * 0.86, tall / rows * 0.8, 0.06))
        parts.append(Part("body", face, front))
    both = random.random() < 0.4
    return parts + ([Part(p.label, p.solid.mirrored(), p.albedo) for p in parts] if both else [])


def _feet(random: Random, width: float, depth: float, lift: float) -> list[Solid]:
    """What lifts a cabinet: a plinth, or four feet."""
    if random.random() < 0.25:
        return [box((0, lift / 2, -0.01), (width * 0.92, lift + 0.01, depth * 0.86))]
    radius = random.uniform(0.025, 0.045)
    w, d = width / 2 - 1.3 * radius, depth / 2 - 1.3 * radius
    power, tilt = random.choice([2.0, 10.0]), random.choice([0.0, 0.3])
    return [
        rod((x * (w + tilt * radius), 0, z * (d + tilt * radius)), (x * w, lift + 0.02, z * d), radius, radius, power)
        for x in (-1, 1)
        for z in (-1, 1)
    ]


def _shelves(
    random: Random,
    size: tuple[float, float, float],
    lift: float,
    rows: int,
    columns: int,
    colour: np.ndarray,
    second: np.ndarray,
) -> list[Part]:
    """An open rack; some of its fields have fronts."""
    width, height, depth = size
    board = max(0.045, 0.035 * np.linalg.norm(size) / 1.2)
    middle = lift + height / 2
    parts = [Part("body", box((s * (width - board) / 2, middle, 0), (board, height, depth)), colour) for s in (-1, 1)]
    for k in range(rows + 1):
        y = lift + board / 2 + k * (height - board) / rows
        parts.append(Part("body", box((0, y, 0), (width - board, board, depth * 0.98)), colour))
    for k in range(1, columns):
        x = k * (width - board) / columns - (width - board) / 2
        parts.append(Part("body", box((x, middle, 0), (board, height - board, depth * 0.96)), colour))
    if random.random() < 0.7:
        parts.append(Part("body", box((0, middle, -depth / 2 + board / 2), (width, height, board)), colour))
    closed = random.random() * 0.6
    w, h = (width - board) / columns, (height - board) / rows
    for i in range(columns):
        for j in range(rows):
            if random.random() < closed:
                x, y = (i + 0.5) * w - (width - board) / 2, lift + board / 2 + (j + 0.5) * h
                face = box((x, y, depth / 2 - board / 2), (w - board * 0.9, h - board * 0.9, board))
                parts.append(Part("front", face, second))
    return parts


def _handle(kind: str, x: float, y: float, z: float, w: float, h: float) -> list[Solid]:
    if kind == "bar":
        return [box((x, y + h * 0.2, z + 0.015), (w * 0.4, 0.04, 0.05))]
    if kind == "vertical":
        return [box((x + w * 0.32, y, z + 0.015), (0.04, min(0.3, h * 0.5), 0.05))]
    if kind == "knob":
        return [rod((x, y, z - 0.01), (x, y, z + 0.045), 0.03)]
    return []
