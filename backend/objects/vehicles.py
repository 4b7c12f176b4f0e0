# SPDX-License-Identifier: GPL-3.0-or-later
"""Generators of cars and airplanes. Lengths are about metres; wheels stand at y = 0, noses point to +z."""

from __future__ import annotations

import numpy as np

from .paint import near, paint
from .shapes import Part
from .solids import Solid, box, loft, outline, rod

Random = np.random.Generator
RING = 24


def car(random: Random) -> list[Part]:
    """Saloons, hatchbacks, coupés, off-roaders, vans and pick-ups."""
    kind = str(random.choice(["saloon", "hatch", "coupe", "tall", "van", "pickup"]))
    length, width = random.uniform(3.6, 5.0), random.uniform(1.6, 2.0)
    wheel = random.uniform(0.3, 0.38) * (1.15 if kind in ("tall", "pickup") else 1.0)
    clear = wheel * random.uniform(0.55, 0.8)
    waist = clear + random.uniform(0.5, 0.65)
    roof = waist + {"coupe": 0.38, "saloon": 0.48, "hatch": 0.52}.get(kind, 0.58) * random.uniform(0.9, 1.1)
    lacquer = paint(random, "lacquer", "lacquer", "metal", "pale", "dark")
    glass = paint(random, "glass", "dark")
    hood, boot = random.uniform(0.78, 0.92), random.uniform(0.82, 0.97)
    if kind == "van":
        hood, boot = 1.0, 1.0
    parts = [Part("body", _car_body(random, length, width, clear, waist, hood, boot), lacquer)]
    # The cabin's rear and front ends at the waist and at the roof, in shares of the length from the middle.
    back, front, back_top, front_top = {
        "saloon": (-0.36, 0.22, -0.22, 0.06),
        "hatch": (-0.47, 0.22, -0.4, 0.06),
        "coupe": (-0.4, 0.16, -0.18, -0.02),
        "tall": (-0.48, 0.2, -0.45, 0.08),
        "van": (-0.49, 0.45, -0.48, 0.3),
        "pickup": (-0.1, 0.24, -0.08, 0.1),
    }[kind]
    low = np.array([back, front]) * length + random.normal(0, 0.02, 2) * length
    high = np.array([back_top, front_top]) * length + random.normal(0, 0.02, 2) * length
    window = _cabin(width * 0.93, width * random.uniform(0.72, 0.84), low, high, waist - 0.06, roof - 0.05)
    parts.append(Part("cabin", window, glass))
    top = _cabin(width * 0.8, width * random.uniform(0.66, 0.74), high * 1.03, high * 0.96, roof - 0.09, roof)
    parts.append(Part("cabin", top, lacquer if random.random() < 0.75 else near(lacquer, random, 0.6)))
    if kind == "pickup":
        for s in (-1, 1):
            side = box((s * width * 0.45, waist + 0.08, -length * 0.29), (0.12, 0.3, length * 0.38))
            parts.append(Part("body", side, lacquer))
        parts.append(Part("body", box((0, waist + 0.08, -length * 0.475), (width * 0.9, 0.3, 0.12)), lacquer))
    if random.random() < 0.2 and kind in ("coupe", "saloon", "hatch"):
        y = waist + random.uniform(0.12, 0.25)
        parts.append(Part("body", box((0, y, -length * 0.46), (width * 0.85, 0.11, 0.3)), lacquer))
        feet = [(s * 0.35 * width, -length * 0.455) for s in (-1, 1)]
        posts = [rod((x, waist - 0.1, z), (x, y, z), 0.06) for x, z in feet]
        parts += [Part("body", s, lacquer) for s in posts]
    return parts + _wheels(random, length, width, wheel)


# By kind: the body's radius, the wing's span and its chord in lengths of the body, and its sweep.
_PLANES = {
    "liner": (0.065, 0.92, 0.2, (0.35, 0.65)),
    "fighter": (0.07, 0.57, 0.34, (0.5, 1.0)),
    "propeller": (0.085, 1.09, 0.19, (-0.05, 0.12)),
    "glider": (0.06, 1.5, 0.13, (-0.05, 0.12)),
}


def airplane(random: Random) -> list[Part]:
    """Airliners, jets, gliders, and propeller planes with high, middle or low wings."""
    kind = str(random.choice(list(_PLANES), p=[0.45, 0.2, 0.25, 0.1]))
    length = random.uniform(3.0, 4.0)
    radius, span, chord = (length * share * random.uniform(0.87, 1.15) for share in _PLANES[kind][:3])
    sweep = random.uniform(*_PLANES[kind][3])
    body_paint = paint(random, "pale", "pale", "metal", "lacquer", "dark")
    wing_paint = near(body_paint, random, 0.15) if random.random() < 0.6 else paint(random, "metal", "lacquer", "pale")
    tail_paint = paint(random, "lacquer", "metal", "pale") if random.random() < 0.6 else wing_paint
    parts = [Part("body", _fuselage(random, length, radius, kind), body_paint)]
    taper = random.uniform(0.2, 0.5) if kind in ("liner", "fighter") else random.uniform(0.5, 1.0)
    height = radius * random.choice([-0.6, 0.0, 0.75])
    root = (0.0, height, length * random.uniform(0.0, 0.12) + chord / 2)
    thick = max(length, span) * random.uniform(0.03, 0.038)  # real wings would fall through a grid of 64³
    rise = random.uniform(-0.03, 0.12)
    wing = _wing(root, span / 2, chord, taper, sweep, rise, thick)
    parts += [Part("wing", s, wing_paint) for s in (wing, wing.mirrored())]
    parts += [Part("tail", s, tail_paint) for s in _tail(random, length, radius, sweep, thick, kind)]
    if kind == "liner":
        parts += _jets(random, root, span, sweep, rise, radius, length)
    elif kind == "fighter":
        nozzle = rod((0, 0, -length * 0.5), (0, 0, -length * 0.4), radius * 0.75, radius * 0.85)
        parts.append(Part("engine", nozzle, paint(random, "dark", "metal")))
    elif kind == "propeller":
        parts += _propeller(random, length, radius)
    return parts


def _car_body(random: Random, length: float, width: float, low: float, waist: float, hood: float, boot: float) -> Solid:
    """The body below the windows: sections along z that grow out of the nose and fall to the tail."""
    z = np.array([-0.5, -0.485, -0.4, -0.3, 0.0, 0.22, 0.3, 0.42, 0.48, 0.5])
    tops = np.array([0.75 * boot, boot, boot, 1.0, 1.0, 1.0, hood, hood * 0.97, hood * 0.85, hood * 0.6])
    narrow = np.array([0.82, 0.92, 0.98, 1.0, 1.0, 1.0, 1.0, 0.97, 0.9, 0.78])
    power = random.uniform(3.5, 8.0)
    rings = []
    for share, top, wide in zip(z, tops, narrow, strict=True):
        height = (waist - low) * top
        ring = outline(width * wide, height, power, RING)
        rings.append(np.stack([ring[:, 0], low + height / 2 + ring[:, 1], np.full(RING, share * length)], 1))
    return loft(np.array(rings))


def _cabin(width: float, top_width: float, low: np.ndarray, high: np.ndarray, base: float, top: float) -> Solid:
    """A block whose level section shrinks from z range `low` at `base` to `high` at `top`."""
    rings = []
    for y, w, (back, front) in (
        (base, width, low),
        (top - 0.03, top_width, high),
        (top, top_width * 0.93, high * 0.94),
    ):
        ring = outline(w, front - back, 8.0, RING)
        rings.append(np.stack([ring[:, 0], np.full(RING, y), ring[:, 1] + (front + back) / 2], 1))
    return loft(np.array(rings))


def _wheels(random: Random, length: float, width: float, radius: float) -> list[Part]:
    tyre, rim = paint(random, "dark"), paint(random, "metal", "pale", "dark")
    front, rear = length * random.uniform(0.29, 0.34), -length * random.uniform(0.27, 0.32)
    wide = random.uniform(0.2, 0.3)
    parts = []
    for z in (front, rear):
        for s in (-1, 1):
            x = s * (width / 2 - wide / 2 + 0.02)
            parts.append(Part("wheel", rod((x - wide / 2, radius, z), (x + wide / 2, radius, z), radius), tyre))
            hub = (x + s * wide * 0.4, radius, z)
            parts.append(Part("wheel", rod(hub, (x + s * (wide * 0.5 + 0.06), radius, z), radius * 0.6), rim))
    return parts


def _fuselage(random: Random, length: float, radius: float, kind: str) -> Solid:
    """Rings along z: a blunt or pointed nose, an even middle, and a tail that rises."""
    t = np.linspace(0, 1, 18)  # tail to nose
    nose = random.uniform(0.12, 0.2) if kind != "fighter" else random.uniform(0.3, 0.5)
    tail = random.uniform(0.3, 0.5)
    profile = np.minimum(
        np.minimum(1.0, (t / tail) ** 0.75 * 0.72 + 0.28), (np.maximum(1 - t, 0) / nose) ** 0.55 + 0.03
    )
    lift = radius * 0.55 * np.maximum(0, 1 - t / tail)
    flat = random.uniform(0.9, 1.15)
    ring = outline(2, 2, random.choice([2.0, 2.0, 3.0]), RING)
    return loft(
        np.array(
            [
                np.stack([ring[:, 0] * r, ring[:, 1] * r * flat + y, np.full(RING, (s - 0.5) * length)], 1)
                for s, r, y in zip(t, np.maximum(profile, 0.08) * radius, lift, strict=True)
            ]
        )
    )


def _wing(
    root: tuple[float, float, float],
    half: float,
    chord: float,
    taper: float,
    sweep: float,
    rise: float,
    thick: float,
) -> Solid:
    """The right wing, from inside the body to its tip. root: where its leading edge starts."""
    rings = []
    for t in (0.0, 0.5, 0.97, 1.0):
        c = chord * (1 - (1 - taper) * t) * (0.8 if t == 1 else 1)
        section = outline(thick * max(1 - 0.35 * t, 0.62), c, 2.5, RING)
        x, y, z = root[0] + half * t, root[1] + rise * half * t, root[2] - sweep * half * t - c / 2
        rings.append(np.stack([np.full(RING, x), y + section[:, 0], z + section[:, 1]], 1))
    return loft(np.array(rings))


def _tail(random: Random, length: float, radius: float, sweep: float, thick: float, kind: str) -> list[Solid]:
    """A fin, or two that lean outward, and a level tail at the body or on top of the fin."""
    chord, half = length * random.uniform(0.1, 0.15), length * random.uniform(0.14, 0.22)
    fin = length * random.uniform(0.13, 0.2)
    lean, base, end = max(sweep, 0.15), radius * 0.5, -length * 0.5
    upright = _wing((0, 0, end + chord * 1.3), fin, chord * 1.25, 0.55, lean, 0.0, thick * 1.15)
    upright = upright.turned(2, np.pi / 2)
    fins = [upright.moved((0, base, 0))]
    if kind == "fighter" and random.random() < 0.5:
        fins = [upright.turned(2, -0.3 * s).moved((s * radius * 0.7, base, 0)) for s in (-1, 1)]
    high = kind != "fighter" and random.random() < 0.25
    y, z = (base + fin * 0.92, -lean * fin) if high else (base, 0.0)
    level = _wing((0, y, end + chord * 1.2 + z), half, chord, 0.5, lean, 0.0, thick)
    return [*fins, level, level.mirrored()]


def _jets(
    random: Random,
    root: tuple[float, float, float],
    span: float,
    sweep: float,
    rise: float,
    radius: float,
    length: float,
) -> list[Part]:
    """Two or four engines below the wings, or two at the tail."""
    colour, size = paint(random, "metal", "pale", "lacquer", "dark"), radius * random.uniform(0.42, 0.58)
    long = size * random.uniform(3.0, 4.2)
    if random.random() < 0.25:
        spots = [(radius + size * 0.9, radius * 0.4, -length * 0.27)]
    else:
        shares = (0.32, 0.6) if random.random() < 0.35 else (0.34,)
        spots = [
            (t * span / 2, root[1] + rise * t * span / 2 - size * 0.85, root[2] - sweep * t * span / 2 - 0.1)
            for t in shares
        ]
    parts = []
    for x, y, z in spots:
        engine = rod((x, y, z - long * 0.6), (x, y, z + long * 0.4), size * 0.75, size)
        parts += [Part("engine", s, colour) for s in (engine, engine.mirrored())]
    return parts


def _propeller(random: Random, length: float, radius: float) -> list[Part]:
    colour = paint(random, "dark", "metal", "lacquer")
    nose = length / 2
    parts = [Part("engine", rod((0, 0, nose - 0.15), (0, 0, nose + 0.12), radius * 0.45, radius * 0.2), colour)]
    blades, turn = int(random.integers(2, 4)), random.uniform(0, np.pi)
    for k in range(blades):
        a = turn + 2 * np.pi * k / blades
        tip = (radius * 2.4 * np.cos(a), radius * 2.4 * np.sin(a), nose + 0.06)
        parts.append(Part("engine", rod((0, 0, nose + 0.06), tip, length * 0.022, length * 0.016), colour))
    return parts
