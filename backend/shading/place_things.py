# SPDX-License-Identifier: GPL-3.0-or-later
"""Built-in places, as things made of triangles: streets, squares, gardens and rooms around a free middle.

A place stands on z = 0 around the world's origin, where the person will be; +z is up, metres. Every thing has two
colours that a pattern mixes. `place_light` lights what stands here.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field

import numpy as np

from .land import Land

PATTERNS = ("mottled", "tiles", "bricks", "planks", "windows")
KINDS = ("street", "garden", "square", "room", "open", "street", "garden", "room", "square", "night")
FREE = 2.2  # metres around the middle that stay empty


@dataclass(frozen=True)
class Look:
    """What a surface looks like. colours: (2, 3) linear albedos. scale: metres."""

    colours: np.ndarray
    pattern: str
    scale: float


@dataclass(frozen=True)
class Lamp:
    """A glowing ball. emission: (3,) radiance."""

    centre: np.ndarray
    radius: float
    emission: np.ndarray


@dataclass
class Things:
    """Triangles being collected, with what their surfaces look like.

    corners: lists of (T, 3, 3). owner: of each triangle, the thing. colours: (2, 3) linear albedos, pattern, scale
    (metres) of each thing. emission: (3,) of each. thin: share of the light on its back that each lets through.
    land: what the first thing is, where that is no floor. haze: metres through which a third of a view comes.
    """

    random: np.random.Generator
    indoors: bool = False
    night: bool = False
    needs_lamps: bool = False  # there is no other light to speak of
    corners: list[np.ndarray] = field(default_factory=list)
    owners: list[np.ndarray] = field(default_factory=list)
    colours: list[np.ndarray] = field(default_factory=list)
    patterns: list[int] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    emission: list[np.ndarray] = field(default_factory=list)
    thin: list[float] = field(default_factory=list)
    lamps: list[Lamp] = field(default_factory=list)
    land: Land | None = None
    haze: float = np.inf

    def add(self, corners: np.ndarray, look: Look, emission: np.ndarray | None = None, thin: float = 0.0) -> None:
        """corners: (T, 3, 3) of one more thing."""
        self.owners.append(np.full(len(corners), len(self.colours)))
        self.corners.append(np.asarray(corners, np.float32))
        self.colours.append(look.colours)
        self.patterns.append(PATTERNS.index(look.pattern))
        self.scales.append(look.scale)
        self.emission.append(np.zeros(3) if emission is None else emission)
        self.thin.append(thin)

    def uniform(self, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))

    def around(self, near: float, far: float) -> np.ndarray:
        """(2,) a spot on the ground at some distance from the middle."""
        angle, radius = self.uniform(0, 2 * np.pi), self.uniform(near, far)
        return radius * np.array([np.cos(angle), np.sin(angle)])


def look(
    things: Things, pattern: str, value: tuple[float, float], hue: float | None = None, colourful: float = 0.5
) -> Look:
    """Two related colours whose brightness lies in `value`; hue in [0, 1], any where None."""
    first = things.uniform(0, 1) if hue is None else hue + things.uniform(-0.04, 0.04)
    bright, saturation = things.uniform(*value), things.uniform(0, colourful)
    other = first + things.uniform(-0.06, 0.06), things.uniform(0.5, 1.2) * saturation, things.uniform(0.5, 1.15)
    a = colorsys.hsv_to_rgb(first % 1, saturation, bright)
    b = colorsys.hsv_to_rgb(other[0] % 1, min(other[1], 1), min(bright * other[2], 0.9))
    scale = {"mottled": (0.3, 3), "tiles": (0.3, 1.2), "bricks": (0.2, 0.5), "planks": (0.1, 0.3), "windows": (2.4, 4)}
    return Look(np.array([a, b]), pattern, things.uniform(*scale[pattern]))


# Shapes -------------------------------------------------------------------------------------------------------------

_CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
_CUBE_SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
_CUBE_TRIANGLES = np.array([t for a, b, c, d in _CUBE_SIDES for t in ((a, b, c), (a, c, d))])


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    """(…, 3) points turned about the vertical."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return points @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])


def box(centre: np.ndarray, half: np.ndarray, turn: float = 0.0) -> np.ndarray:
    """(12, 3, 3) a box of half sizes `half` (3,)."""
    return (turned(_CUBE * half, turn) + centre)[_CUBE_TRIANGLES]


def revolved(profile: np.ndarray, centre: np.ndarray, sides: int = 20) -> np.ndarray:
    """(T, 3, 3) the surface that a profile (P, 2) of radius and height makes about the vertical."""
    angle = np.arange(sides + 1) * 2 * np.pi / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    points = np.concatenate(
        [profile[:, None, :1] * ring, np.broadcast_to(profile[:, None, 1:], (len(profile), sides + 1, 1))], -1
    )
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]
    return np.concatenate([np.stack([a, b, c], 2), np.stack([a, c, d], 2)]).reshape(-1, 3, 3) + centre


def ball(centre: np.ndarray, radius: float) -> np.ndarray:
    polar = np.linspace(0, np.pi, 12)
    return revolved(radius * np.stack([np.sin(polar), -np.cos(polar)], -1), centre)


def post(spot: np.ndarray, radius: float, height: float) -> np.ndarray:
    profile = np.array([[radius, 0], [radius, height], [0, height]])
    return revolved(profile, np.array([*spot, 0.0]), 14)


def crown(random: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) places of leaves in a ball of radius 1, most of them outside."""
    places = random.normal(size=(count, 3))
    return places * random.uniform(0.3, 1, (count, 1)) ** 0.5 / np.linalg.norm(places, axis=1, keepdims=True)


def tree(things: Things, spot: np.ndarray, level: float = 0.0, thin: float = 0.0, count: int = 700) -> None:
    """A trunk under a cloud of `count` leaves, dense enough for a dappled shadow; `level` is the ground's height."""
    height, spread = things.uniform(3, 8), things.uniform(1.0, 2.8)
    things.add(post(spot, 0.035 * height, level + 0.65 * height), look(things, "mottled", (0.05, 0.2), 0.08))
    centres = crown(things.random, count) * [spread, spread, 0.33 * height] + [*spot, level + 0.72 * height]
    size = 0.22 * (700 / count) ** 0.5
    leaves = things.random.normal(size=(count, 3, 3)) * size + centres[:, None]
    things.add(leaves, look(things, "mottled", (0.08, 0.3), 0.27, 0.8), thin=thin)


def clutter(things: Things, count: int, near: float, far: float) -> None:
    """Boxes, balls, posts, benches and cones that throw shadows and colour on the ground."""
    for _ in range(count):
        spot = things.around(near, far)
        surface = look(things, str(things.random.choice(PATTERNS[:4])), (0.05, 0.85), colourful=0.9)
        kind = int(things.random.integers(5))
        if kind == 0:
            half = things.random.uniform(0.15, 0.7, 3)
            things.add(box(np.array([*spot, half[2]]), half, things.uniform(0, 3)), surface)
        elif kind == 1:
            radius = things.uniform(0.15, 0.7)
            things.add(ball(np.array([*spot, radius]), radius), surface)
        elif kind == 2:
            things.add(post(spot, things.uniform(0.04, 0.3), things.uniform(0.6, 4)), surface)
        elif kind == 3:
            turn, length = things.uniform(0, 3), things.uniform(0.6, 1.2)
            things.add(box(np.array([*spot, 0.45]), np.array([length, 0.25, 0.04]), turn), surface)
            for end in (-0.8, 0.8):
                foot = turned(np.array([end * length, 0, 0]), turn)[:2] + spot
                things.add(box(np.array([*foot, 0.2]), np.array([0.05, 0.22, 0.2]), turn), surface)
        else:
            radius, height = things.uniform(0.2, 0.6), things.uniform(0.4, 1.4)
            profile = np.array([[radius, 0], [0.02, height]])
            things.add(revolved(profile, np.array([*spot, 0.0])), surface)


# Places -------------------------------------------------------------------------------------------------------------


def ground(things: Things, patterns: tuple[str, ...], value: tuple[float, float], hue: float | None = None) -> None:
    surface = look(things, str(things.random.choice(patterns)), value, hue, 0.5)
    things.add(box(np.array([0, 0, -0.5]), np.array([90.0, 90.0, 0.5])), surface)


def facades(things: Things, count: int, near: float, far: float, height: tuple[float, float]) -> None:
    """House fronts around the middle, with gaps between them."""
    for i in range(count):
        angle = 2 * np.pi * (i + things.uniform(-0.3, 0.3)) / count
        half = np.array([things.uniform(2, 4), things.uniform(2.5, 7), 0.5 * things.uniform(*height)])
        radius = things.uniform(near, far) + half[0]
        centre = np.array([radius * np.cos(angle), radius * np.sin(angle), half[2]])
        pattern = "windows" if things.random.random() < 0.7 else "bricks"
        things.add(box(centre, half, angle), look(things, pattern, (0.2, 0.8), things.uniform(0, 0.15), 0.6))


def street(things: Things) -> None:
    ground(things, ("mottled", "tiles", "bricks"), (0.08, 0.45), 0.1)
    axis = things.uniform(0, np.pi)
    for side in (-1, 1):
        away, along = things.uniform(3.5, 9), -45.0
        while along < 45:
            half = np.array([0.5 * things.uniform(5, 14), 4.0, 0.5 * things.uniform(3, 16)])
            centre = np.array([along + half[0], side * (away + half[1] + things.uniform(0, 1)), half[2]])
            surface = look(things, "windows", (0.2, 0.8), things.uniform(0, 0.15), 0.6)
            things.add(box(turned(centre, axis), half, axis), surface)
            along += 2 * half[0] + (things.uniform(1, 6) if things.random.random() < 0.3 else 0)
    clutter(things, int(things.random.integers(8, 26)), FREE, 11)
    for _ in range(int(things.random.integers(0, 5))):
        tree(things, things.around(3.5, 18))


def square(things: Things) -> None:
    ground(things, ("tiles", "bricks", "mottled"), (0.1, 0.6), 0.09)
    facades(things, int(things.random.integers(4, 12)), 9, 26, (4, 18))
    clutter(things, int(things.random.integers(8, 28)), FREE, 11)
    for _ in range(int(things.random.integers(0, 4))):
        tree(things, things.around(4, 20))


def garden(things: Things) -> None:
    ground(things, ("mottled",), (0.06, 0.35), things.uniform(0.08, 0.3))
    for _ in range(int(things.random.integers(4, 22))):
        tree(things, things.around(3, 30))
    for _ in range(int(things.random.integers(0, 4))):
        half = np.array([0.4, things.uniform(1.5, 7), things.uniform(0.4, 1.1)])
        spot = things.around(half[1] + 1, 14)
        hedge = look(things, "mottled", (0.05, 0.25), 0.28, 0.8)
        things.add(box(np.array([*spot, half[2]]), half, things.uniform(0, 3)), hedge)
    clutter(things, int(things.random.integers(6, 18)), FREE, 10)


def open_ground(things: Things) -> None:
    ground(things, PATTERNS[:4], (0.08, 0.7))
    clutter(things, int(things.random.integers(10, 36)), FREE, 12)


def room(things: Things) -> None:
    """Four walls, some with windows, furniture, and a lamp or two."""
    things.indoors = True
    size = np.array([things.uniform(2.6, 7), things.uniform(2.6, 7)])
    tall, thick = things.uniform(2.5, 5), 0.15
    floor, ceiling = look(things, "planks", (0.1, 0.6), 0.08), look(things, "mottled", (0.5, 0.9), colourful=0.1)
    for surface, z in ((floor, -thick), (ceiling, tall + thick)):
        things.add(box(np.array([0, 0, z]), np.array([*size, thick])), surface)
    glazed = things.random.random(4) < 0.55
    for side in range(4):
        wide, away = size[side % 2], size[(side + 1) % 2] + thick
        wall = look(things, str(things.random.choice(("mottled", "bricks", "planks"))), (0.25, 0.9), colourful=0.4)
        turn = side * np.pi / 2 + np.pi
        for left, right, low, high in _wall_pieces(things, wide, tall, bool(glazed[side])):
            centre = np.array([(left + right) / 2, away, (low + high) / 2])
            half = np.array([(right - left) / 2, thick, (high - low) / 2])
            things.add(box(turned(centre, turn), half, turn), wall)
    clutter(things, int(things.random.integers(4, 14)), min(FREE, 0.8 * size.min()), float(size.min()) - 0.3)
    things.needs_lamps = not glazed.any()
    if things.needs_lamps or things.random.random() < 0.6:
        for _ in range(int(things.random.integers(1, 4))):
            _hang_lamp(things, np.array([*(things.random.uniform(-0.8, 0.8, 2) * size), tall - 0.35]), 30.0)


def _wall_pieces(things: Things, wide: float, tall: float, glazed: bool) -> list[tuple[float, float, float, float]]:
    """Rectangles (left, right, low, high) of a wall that leave its windows open."""
    if not glazed:
        return [(-wide - 0.3, wide + 0.3, 0, tall)]
    sill, lintel = things.uniform(0.0, 1.1), tall - things.uniform(0.1, 0.6)
    edges, count = [-wide - 0.3], int(things.random.integers(1, 4))
    for i in range(count):
        middle, half = -wide + (2 * i + 1) * wide / count, things.uniform(0.4, 0.85) * wide / count
        edges += [middle - half, middle + half]
    edges.append(wide + 0.3)
    piers = [(edges[i], edges[i + 1], sill, lintel) for i in range(0, len(edges), 2)]
    return [(-wide - 0.3, wide + 0.3, 0, sill), (-wide - 0.3, wide + 0.3, lintel, tall), *piers]


def _hang_lamp(things: Things, at: np.ndarray, power: float) -> None:
    """A glowing ball of some W/m² at a metre."""
    radius = things.uniform(0.12, 0.3)
    warm = things.uniform(0, 1)
    colour = (1 - warm) * np.array([0.9, 1.0, 1.1]) + warm * np.array([1.25, 0.95, 0.55])
    emission = colour * power * things.uniform(0.3, 1.2) / (np.pi * radius**2) / 10
    things.lamps.append(Lamp(at, radius, emission))
    things.add(ball(at, 0.98 * radius), look(things, "mottled", (0.5, 0.9), colourful=0.0), emission)


def night(things: Things) -> None:
    things.night = things.needs_lamps = True
    (street, square, garden)[int(things.random.integers(3))](things)
    for _ in range(int(things.random.integers(2, 5))):
        spot, height = things.around(2.5, 9), things.uniform(2.5, 5)
        things.add(post(spot, 0.06, height - 0.3), look(things, "mottled", (0.05, 0.2)))
        _hang_lamp(things, np.array([*spot, height]), 40.0)


BUILDERS = {
    "street": street,
    "garden": garden,
    "square": square,
    "room": room,
    "open": open_ground,
    "night": night,
}


def build(seed: int) -> Things:
    """The place of a seed; ten seeds in a row hold every kind in its share."""
    things = Things(np.random.default_rng([seed, 11]))
    BUILDERS[KINDS[seed % len(KINDS)]](things)
    return things
