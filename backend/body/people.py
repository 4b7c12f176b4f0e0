# SPDX-License-Identifier: GPL-3.0-or-later
"""Clothed people, each from one integer: who they are, what they wear, and how they look in a pose. NumPy only."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from . import clothes, textures
from .clothes import Cut, Fit
from .data import ASSETS, BodyData, joint_transforms, load_body, skin
from .figure import Figure, Geometry, Part
from .hair import STYLES, hair
from .surface import corner_normals, ramp
from .textures import Bake, Pattern

CLOTH_PIXELS = 512
SKIN_PIXELS = 512  # a side of each of the skin texture's two tiles: the whole body, and the head enlarged


@dataclass(frozen=True)
class Person:
    """A clothed person in the T-pose: metres, y-up, facing +z, the pelvis near the origin.

    betas: (10,); joints: (24, 3) of the T-pose; parents: (24,), −1 for the root. wears: what was drawn, in words.
    """

    seed: int
    betas: np.ndarray
    joints: np.ndarray
    parents: np.ndarray
    parts: tuple[Part, ...]
    wears: tuple[str, ...]

    @property
    def identity(self) -> str:
        """A name for data-set splits: shape, clothes and textures follow from it."""
        return f"person-{self.seed:06d}"

    @property
    def ground(self) -> float:
        """Height of the soles in the T-pose, metres."""
        return float(min(part.vertices[:, 1].min() for part in self.parts))


@dataclass(frozen=True)
class PosedPart:
    """A part in a pose: vertices (V, 3) metres, faces (F, 3), corner_normals (F, 3, 3) unit and smooth; y-up."""

    part: Part
    vertices: np.ndarray
    faces: np.ndarray
    corner_normals: np.ndarray


def pose_person(person: Person, pose: np.ndarray, trans: np.ndarray | None = None) -> list[PosedPart]:
    """The person in an SMPL pose, in y-up body space, metres.

    pose: (24, 3) axis-angle, each relative to its parent, the first in the world. trans: (3,) added to everything.
    """
    transforms = joint_transforms(person.joints, person.parents, pose)
    if trans is not None:
        transforms[:, :3, 3] += trans
    posed = []
    for part in person.parts:
        vertices = skin(part.vertices, part.weights, transforms)
        posed.append(PosedPart(part, vertices, part.faces, corner_normals(vertices, part.faces, part.groups)))
    return posed


def albedo_at(part: Part, triangle: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
    """Scene-linear albedo (N, 3), bilinear, at triangles (N,) and barycentric weights (N, 3) of their corners."""
    uv = np.einsum("nk,nkc->nc", barycentric, part.uv[triangle])
    height, width = part.texture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    t = part.texture
    upper = t[top, left] * (1 - fx) + t[top, left + 1] * fx
    lower = t[top + 1, left] * (1 - fx) + t[top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy


def make_person(seed: int) -> Person:
    """The person of this number; always the same one. Raises PenumbraError where the body model is missing."""
    rng = np.random.default_rng((seed, 20))
    body = load_body(ASSETS)
    betas, years, female = _draw_shape(body, rng)
    figure = Figure.of(body, betas)
    outfit = _Outfit(figure, rng, seed, years, female)
    garments = outfit.dress()
    head = outfit.head()
    parts = (*_skin_and_eyes(figure, outfit, garments), *head, *(part for part, _ in garments))
    return Person(seed, betas, figure.joints, body.parents, parts, tuple(outfit.words))


def _draw_shape(body: BodyData, rng: np.random.Generator) -> tuple[np.ndarray, float, bool]:
    """Betas of one of the drawn population, a little changed; their age in years; whether they are female."""
    n = rng.integers(len(body.extra["population_betas"]))
    betas = body.extra["population_betas"][n].astype(np.float32)
    betas = betas + rng.normal(0, 0.15, len(betas)).astype(np.float32)
    return betas, float(body.extra["population_years"][n]), bool(body.extra["population_gender"][n] > 0.5)


def dye(rng: np.random.Generator) -> np.ndarray:
    """A colour that cloth has, (3,) linear: often a neutral, sometimes a strong one."""
    kind = rng.random()
    if kind < 0.35:
        return np.full(3, rng.choice([0.02, 0.04, 0.10, 0.25, 0.55, 0.75])) * (1 + rng.normal(0, 0.03, 3))
    hue, saturation = rng.random(), rng.uniform(0.25, 0.55) if kind < 0.7 else rng.uniform(0.6, 0.92)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, rng.uniform(0.15, 0.8))) ** 1.6 + 0.008


class _Outfit:
    """One person's draws: colours and garments, each from the one stream of random numbers."""

    def __init__(self, figure: Figure, rng: np.random.Generator, seed: int, years: float, female: bool) -> None:
        self.figure, self.rng, self.seed, self.years, self.female = figure, rng, seed * 64 + 1, years, female
        self.lightness = depth = rng.random()
        self.tone = textures.skin_tone(depth, rng.uniform(-1, 1))
        darkness = rng.random() < 0.35 + 0.6 * (1 - depth)
        grey = ramp(years, 45, 85) * rng.random() ** 0.5
        natural = [0.012, 0.008, 0.006] if darkness else [[0.07, 0.035, 0.016], [0.26, 0.15, 0.06], [0.20, 0.06, 0.02]]
        natural = np.array(natural if darkness else natural[rng.choice(3, p=(0.6, 0.28, 0.12))])
        self.hair_colour = textures.mix(natural, np.array([0.42, 0.41, 0.40]), float(grey))
        self.brow = textures.mix(natural * 0.7, self.tone * 0.45, 0.25)
        self.stubble = 0.0 if female or years < 19 else float(rng.choice([0.0, 0.15, 0.35, 0.75]))
        self.words: list[str] = [f"{years:.0f} years", "female" if female else "male"]

    def dress(self) -> list[tuple[Part, np.ndarray]]:
        """The garments, from the feet up, each with the body vertices that it hides."""
        worn = [self._shoes()]
        if self.female and self.rng.random() < 0.40:
            worn += self._dress() if self.rng.random() < 0.5 else [self._skirt(), self._top()]
        else:
            worn += [self._trousers(), self._top()]
        return worn

    def _made(
        self, name: str, cut: Cut, pattern: Pattern, roughness: float, specular: float
    ) -> tuple[Part, np.ndarray]:
        texture = _textured(cut.geometry, pattern, CLOTH_PIXELS)
        self.words.append(name)
        return cut.geometry.part(name, texture, roughness, specular), cut.hidden

    def _cloth(self, printable: bool) -> Pattern:
        """A weave, drawn."""
        rng, a, b, seed = self.rng, dye(self.rng), dye(self.rng), self.seed + 11
        kind = rng.choice(
            ["plain", "stripes", "pinstripes", "checks", "print", "motif"], p=(0.36, 0.2, 0.06, 0.14, 0.12, 0.12)
        )
        if kind == "stripes":
            return textures.stripes(a, b, rng.uniform(0.02, 0.09), rng.uniform(0.25, 0.6), seed)
        if kind == "pinstripes":
            return textures.stripes(a, b, rng.uniform(0.012, 0.03), 0.25, seed, upright=True)
        if kind == "checks":
            return textures.checks(a, b, dye(rng), rng.uniform(0.04, 0.10), seed)
        if kind == "print":
            return textures.blotches(a, b, rng.uniform(0.025, 0.09), seed, rng.uniform(0.0, 0.35))
        if kind == "motif" and printable:
            return textures.chest_print(textures.plain(a, seed), b, dye(rng), seed + int(rng.integers(2)))
        return textures.plain(a, seed)

    def _top(self) -> tuple[Part, np.ndarray]:
        rng = self.rng
        kind = rng.choice(["t-shirt", "long sleeves", "jumper", "jacket"], p=(0.42, 0.22, 0.18, 0.18))
        hem, seed = rng.uniform(-0.035, 0.03), self.seed + 1
        if kind == "t-shirt":
            fit = Fit(0.013, 0.009, ease=rng.uniform(0.004, 0.02), slope=rng.uniform(0.1, 0.5), folds=0.003, steps=5)
            cut = clothes.top(self.figure, rng.uniform(0.3, 0.48), hem, (0.005, rng.uniform(0.07, 0.11)), fit, seed)
            return self._made("t-shirt", cut, self._cloth(True), 0.9, 0.15)
        if kind == "long sleeves":
            fit = Fit(0.013, 0.009, ease=rng.uniform(0.002, 0.012), slope=rng.uniform(0.15, 0.5), folds=0.004, steps=5)
            cut = clothes.top(self.figure, rng.uniform(0.9, 0.97), hem, (0.02, rng.uniform(0.06, 0.09)), fit, seed)
            return self._made("long sleeves", cut, self._cloth(True), 0.88, 0.2)
        if kind == "jumper":
            fit = Fit(0.019, 0.012, 0.004, rng.uniform(0.008, 0.02), 0.15, 0.005, 8)
            cut = clothes.top(self.figure, 0.96, hem, (0.03, 0.06), fit, seed)
            return self._made("jumper", cut, self._banded(self._cloth(True)), 0.95, 0.1)
        fit = Fit(0.024, 0.014, 0.005, rng.uniform(0.008, 0.02), 0.12, 0.006, 8)
        cut = clothes.top(self.figure, 0.97, hem, (0.055, 0.05), fit, seed)
        leather = rng.random() < 0.35
        outside = self._leather() if leather else textures.plain(dye(rng), seed, 0.08)
        metal = np.full(3, rng.choice([0.03, 0.35]))
        pattern = textures.zipped(outside if leather else self._banded(outside), metal)
        return self._made("leather jacket" if leather else "jacket", cut, pattern, 0.42 if leather else 0.85, 0.4)

    def _banded(self, under: Pattern) -> Pattern:
        """Cuffs and a waistband of a related colour, on two pieces in three."""
        if self.rng.random() < 0.33:
            return under
        hip = self.figure.body.j_regressor[1] @ self.figure.body.v_template
        wrist = self.figure.body.j_regressor[20] @ self.figure.body.v_template
        return textures.hemmed(under, dye(self.rng), [(0, wrist[0] - 0.01, 0.045), (1, hip[1] - 0.01, 0.065)])

    def _leather(self) -> Pattern:
        colour = np.array([[0.015, 0.014, 0.014], [0.075, 0.032, 0.015], [0.035, 0.016, 0.010]])[self.rng.integers(3)]
        return textures.plain(colour, self.seed + 31, 0.22)

    def _trousers(self) -> tuple[Part, np.ndarray]:
        rng, seed = self.rng, self.seed + 2
        slope = float(rng.choice([0.30, 0.12, 0.03]))
        fit = Fit(0.008, 0.0055, ease=rng.uniform(0.001, 0.010), slope=slope, folds=0.004, steps=4)
        short = rng.random() < 0.25
        length = rng.uniform(0.40, 0.56) if short else rng.uniform(0.97, 1.02)
        cut = clothes.trousers(self.figure, length, rng.uniform(0.03, 0.06), fit, seed)
        name = "shorts" if short else "trousers"
        if rng.random() < 0.45:
            blue = np.array([[0.030, 0.055, 0.115], [0.09, 0.16, 0.27], [0.020, 0.022, 0.030]])[rng.integers(3)]
            return self._made(f"denim {name}", cut, textures.denim(blue, seed), 0.9, 0.15)
        pattern = self._cloth(False) if rng.random() < 0.25 else textures.plain(dye(rng), seed)
        return self._made(name, cut, pattern, 0.88, 0.18)

    def _skirt(self, waist: float = 0.05, pattern: Pattern | None = None) -> tuple[Part, np.ndarray]:
        rng = self.rng
        fit = Fit(0.006, 0.004, 0.002, ease=rng.uniform(0.0, 0.012))
        length, flare = rng.uniform(0.40, 0.85), rng.uniform(0.02, 0.13)
        cut = clothes.skirt(self.figure, length, waist, flare, int(rng.integers(5, 14)), fit, self.seed + 3)
        return self._made("skirt", cut, pattern or self._cloth(False), 0.88, 0.2)

    def _dress(self) -> list[tuple[Part, np.ndarray]]:
        rng, pattern = self.rng, self._cloth(False)
        fit = Fit(0.008, 0.006, ease=0.002, slope=0.6, folds=0.002)
        sleeve = float(rng.choice([0.12, 0.4, 0.95]))
        bodice = clothes.top(self.figure, sleeve, 0.05, (0.0, rng.uniform(0.08, 0.13)), fit, self.seed + 4)
        return [self._made("bodice", bodice, pattern, 0.85, 0.2), self._skirt(0.085, pattern)]

    def _shoes(self) -> tuple[Part, np.ndarray]:
        rng, seed = self.rng, self.seed + 5
        kind = rng.choice(["trainers", "leather shoes", "boots"], p=(0.55, 0.25, 0.2))
        shaft, sole = {"trainers": (0.005, 0.024), "leather shoes": (0.0, 0.014), "boots": (0.07, 0.022)}[kind]
        cut = clothes.shoes(self.figure, shaft, sole)
        upper = textures.plain(dye(rng), seed) if kind == "trainers" else self._leather()
        under = np.full(3, 0.6) if kind == "trainers" and rng.random() < 0.6 else np.full(3, 0.025)

        def pattern(p: np.ndarray) -> np.ndarray:
            laces = (np.abs(p[:, 0]) < 0.014) & (p[:, 1] > 0.05) & (p[:, 2] > 0.02) & (p[:, 2] < 0.11)
            laces &= p[:, 2] / 0.016 % 1 < 0.45
            colour = textures.mix(upper(p), np.full(3, 0.55 if kind == "trainers" else 0.02), laces.astype(float))
            return textures.mix(under, colour, ramp(p[:, 1], sole - 0.002, sole + 0.002))

        return self._made(str(kind), cut, pattern, 0.6 if kind == "trainers" else 0.35, 0.4)

    def head(self) -> list[Part]:
        """Hair or a beanie; some men have neither."""
        rng, seed = self.rng, self.seed + 6
        names = ["bob", "long", "bun", "fringe", "round", "short", "beanie"]
        chances = (0.2, 0.25, 0.2, 0.1, 0.08, 0.1, 0.07)
        if not self.female:
            names, chances = (
                ["cropped", "short", "fringe", "round", "bob", "beanie", ""],
                (0.3, 0.3, 0.1, 0.08, 0.04, 0.08, 0.1),
            )
        name = str(rng.choice(names, p=chances))
        if not name:
            self.words.append("bald")
            return []
        geometry = hair(self.figure, STYLES[name], seed)
        self.words.append(name)
        if name == "beanie":
            wool = dye(rng)
            knit = textures.strands(wool, seed) * 0.3 + wool * 0.7
            return [geometry.part("beanie", knit, 0.95, 0.1)]
        return [geometry.part("hair", textures.strands(self.hair_colour, seed), 0.42, 0.45)]


def _textured(geometry: Geometry, pattern: Pattern, size: int) -> np.ndarray:
    """(size, size, 3): the pattern at the points of the outside."""
    outside = geometry.groups == 0
    baked = textures.bake(geometry.uv[outside], size, size)
    return baked.image(pattern(baked.take(geometry.drawn[geometry.faces[outside]])))


@lru_cache(maxsize=2)
def _skin_layout(body: BodyData) -> tuple[np.ndarray, Bake]:
    """Corner uv (F, 3, 2) with the head's chart enlarged in the right half of the texture, and its bake."""
    vt = body.extra["vt"]
    uv = vt[body.extra["ft"].astype(np.int64)].astype(np.float64)
    chart = body.extra["face_chart"]
    head = chart == np.bincount(chart[body.extra["face_parts14"] == 1]).argmax()
    low, high = uv[head].min((0, 1)), uv[head].max((0, 1))
    uv[~head] *= (0.5, 1)
    uv[head] = (uv[head] - low) / (high - low) * (0.48, 0.98) + (0.51, 0.01)
    return uv, textures.bake(uv, SKIN_PIXELS, 2 * SKIN_PIXELS)


def _skin_and_eyes(figure: Figure, outfit: _Outfit, garments: list[tuple[Part, np.ndarray]]) -> list[Part]:
    """The skin that clothes do not hide, and the eyeballs."""
    body, faces = figure.body, figure.body.faces
    uv, baked = _skin_layout(body)
    masks = body.extra["vertex_masks"].astype(np.float64) / 255
    named = {str(name): baked.take(masks[faces][..., k, None])[:, 0] for k, name in enumerate(body.extra["mask_names"])}
    template = Figure.of(body, np.zeros(body.shapedirs.shape[2]))
    points = baked.take(body.v_template[faces])
    albedo = textures.skin(points, named, outfit.tone, outfit.brow, outfit.stubble, template.eyes, outfit.seed)
    hidden = np.any([mask for _, mask in garments], axis=0)
    seen = ~hidden[faces].all(1) & figure.is_skin[faces[:, 0]]
    texture = baked.image(albedo)
    iris = np.array([[0.05, 0.025, 0.012], [0.10, 0.055, 0.025], [0.10, 0.16, 0.24], [0.09, 0.13, 0.07]])
    iris = iris[outfit.rng.choice(4, p=(0.4, 0.2, 0.25, 0.15))] if outfit.lightness > 0.6 else iris[0]
    eyeball = ~figure.is_skin[faces[:, 0]]
    centre = figure.eyes[body.extra["vertex_piece"][faces[eyeball]].astype(int) - 1]
    offset = figure.vertices[faces[eyeball]] - centre
    eye_uv = 0.5 + 0.47 * offset[..., :2] / np.linalg.norm(offset, axis=-1).max()
    return [
        _kept(figure, faces[seen], uv[seen]).part("skin", texture, 0.48, 0.35),
        _kept(figure, faces[eyeball], eye_uv).part("eyes", textures.eyes_texture(iris), 0.08, 0.5),
    ]


def _kept(figure: Figure, faces: np.ndarray, uv: np.ndarray) -> Geometry:
    used, index = np.unique(faces, return_inverse=True)
    groups = np.zeros(len(faces), np.uint8)
    return Geometry(
        figure.vertices[used],
        index.reshape(-1, 3),
        uv,
        figure.body.weights[used],
        groups,
        figure.body.v_template[used],
    )
