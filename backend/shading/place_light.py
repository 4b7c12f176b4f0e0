# SPDX-License-Identifier: GPL-3.0-or-later
"""Built-in places lit by skies and lamps: panoramas for training in bulk, in a second or so each, by Embree.

A place is looked at once, from the person's chest, and lit many times. Direct light of suns and lamps is cast for every
pixel, so that shadows are sharp; skylight and one bounce are gathered at every fourth pixel each way and spread along
surfaces. Further bounces are even light, of the strength that keeps the energy.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from ..protocol import RECEIVER, Mesh
from ..rays.directions import pixel_directions
from ..rays.scene import RayScene
from . import landscapes, noise, place_things
from .daylight import daylight
from .environments import HEIGHT, Environment, draw_suns, part_suns, sample, sky
from .panorama import pixel_solid_angles
from .place_things import Lamp, Things
from .probe import Sun
from .probe_fit import disc, fibonacci_sphere

DAYLIT = 2_000_000  # from this seed on, places have daylight for their sky, and two of three are landscapes
CHEST = np.array([0, 0, 1.2], np.float32)  # where a place is looked at from
STANDING = np.linspace(0.3, 1.7, 6)  # heights at which a person is lit
_STEP = 4  # full-size pixels a gathering point
_GATHER = {False: 96, True: 240}  # directions of the sphere, outdoors and indoors, where windows are small
_SAMPLES = 3  # shadow rays to a sun or a lamp
_OFFSET = 2e-3


class Place:
    """What stands around the person, seen from there; `lit` may be called for any number of lights."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.daylit = seed >= DAYLIT
        self.things = (landscapes if self.daylit and seed % 3 < 2 else place_things).build(seed)
        corners = np.concatenate(self.things.corners)
        self.owner = np.concatenate(self.things.owners)
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self.normals = (cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-12)).astype(np.float32)
        mesh = Mesh(
            "place",
            RECEIVER,
            np.ascontiguousarray(corners.reshape(-1, 3), np.float32),
            np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3),
            np.repeat(self.normals[:, None], 3, 1),
        )
        self.scene = RayScene([mesh])
        self.directions = pixel_directions(HEIGHT, 2 * HEIGHT).reshape(-1, 3).astype(np.float32)
        hits = self.scene.intersect(np.broadcast_to(CHEST, self.directions.shape).copy(), self.directions)
        self.seen = np.flatnonzero(hits.mesh >= 0)
        triangle = hits.triangle[self.seen]
        toward = self.directions[self.seen]
        self.normal = self.normals[triangle] * np.where((self.normals[triangle] * toward).sum(1) > 0, -1, 1)[:, None]
        self.point = CHEST + hits.t[self.seen, None] * toward + _OFFSET * self.normal
        self.thing = self.owner[triangle]
        self.albedo = albedo(self.things, self.thing, self.point, self.normal)
        self.facing = self.normal  # of what is too fine for triangles, too
        self.distance = hits.t[self.seen]
        if self.things.land:
            on_land = self.thing == 0
            there = self.point[on_land, :2]
            self.albedo[on_land] = self.things.land.albedo(there)
            self.facing = self.normal.copy()
            self.facing[on_land] = self.things.land.normal(there)

    @cached_property
    def mean_albedo(self) -> np.ndarray:
        """(things, 3)."""
        return np.stack(self.things.colours).mean(1).astype(np.float32)

    @cached_property
    def gathering(self) -> Gathering:
        return Gathering(self)

    def lamplight(self, points: np.ndarray, normals: np.ndarray, lamp: Lamp) -> np.ndarray:
        """(N,) irradiance over π that points receive from a lamp of radiance 1."""
        way = lamp.centre.astype(np.float32) - points
        distance = np.linalg.norm(way, axis=1, keepdims=True)
        cosine = np.maximum((way / distance * normals).sum(1), 0)
        received = cosine * np.minimum((lamp.radius / distance[:, 0]) ** 2, 1)
        spread = fibonacci_sphere(_SAMPLES).astype(np.float32) * 0.6 * lamp.radius
        toward = way[:, None] + spread
        toward *= (1 - lamp.radius / distance)[:, None]  # rays end at the lamp's surface
        active = np.repeat(received[:, None] > 1e-4, _SAMPLES, 1)
        return received * (1 - self.scene.blocked(points, toward, active, t_max=1.0).mean(1))

    def sunlight(self, sun: Sun) -> np.ndarray:
        """(pixels,) share of a sun's irradiance that every seen pixel receives, through its back too if it is thin."""
        thin = np.array(self.things.thin, np.float32)[self.thing]
        behind = (thin > 0) & (self.facing @ sun.direction < 0)
        facing = np.where(behind[:, None], -self.facing, self.facing)
        beyond = (behind & (self.normal @ sun.direction < 0))[:, None]  # the far side of a leaf
        point = np.where(beyond, self.point - 2 * _OFFSET * self.normal, self.point)
        return sunlight(self.scene, point, facing, sun) * np.where(behind, thin, 1)

    def lit(self, seed: int) -> Environment:
        """The place under one sky (and its own lamps), as an environment of a person who stands in it."""
        random = np.random.default_rng([self.seed, seed, 13])
        heaven = (daylight if self.daylit else sky)(int(random.integers(1 << 30)))
        heaven = heaven.scaled(0.004 * random.uniform(0.2, 3) if self.things.night else 1.0)
        lamps = [(lamp, lamp.emission * random.uniform(0.3, 1.5)) for lamp in self.things.lamps]
        if not self.things.needs_lamps and random.random() < 0.4:
            lamps = []
        suns = () if self.things.night else heaven.suns
        direct = np.zeros((len(self.seen), 3), np.float32)
        for sun in suns:
            direct += self.sunlight(sun)[:, None] * sun.irradiance.astype(np.float32)
        for lamp, emission in lamps:
            direct += self.lamplight(self.point, self.normal, lamp)[:, None] * emission.astype(np.float32)
        shading = direct + self.gathering.light(heaven, suns, direct)
        picture = sample(heaven.image, self.directions)
        picture[self.seen] = self.albedo * shading
        for index, glow in enumerate(self.things.emission):
            if glow.any() and lamps:
                picture[self.seen[self.thing == index]] += np.float32(glow)
        if np.isfinite(self.things.haze):
            clear = np.exp(-self.distance / self.things.haze)[:, None]
            veil = sample(cv2.blur(heaven.image, (33, 5)), self.directions[self.seen] * [1, 1, 0] + [0, 0, 0.06])
            picture[self.seen] = clear * picture[self.seen] + (1 - clear) * veil
        return self._environment(f"place-{self.seed}-{seed}", picture.reshape(HEIGHT, 2 * HEIGHT, 3), suns)

    def _environment(self, name: str, picture: np.ndarray, suns: tuple[Sun, ...]) -> Environment:
        stands = np.array([[0, 0, z] for z in STANDING], np.float32)
        shining = []
        for sun in suns:
            toward = np.tile(sun.direction, (len(stands), 1)).astype(np.float32)
            share = sunlight(self.scene, stands, toward, sun).mean()
            if share > 0.5:
                shining.append(sun)
        parted = part_suns(name, picture, most=2 - len(shining))
        open_sky = np.ones(len(self.directions), bool)
        open_sky[self.seen] = False
        picture = draw_suns(picture, suns, open_sky.reshape(picture.shape[:2]))
        return Environment(name, picture, parted.image, (*shining, *parted.suns))


def sunlight(scene: RayScene, points: np.ndarray, normals: np.ndarray, sun: Sun) -> np.ndarray:
    """(N,) share of a sun's irradiance that points receive: cosine times visibility."""
    toward = disc(sun.direction, sun.half_angle, _SAMPLES).astype(np.float32)
    cosine = np.maximum(normals @ sun.direction.astype(np.float32), 0)
    active = np.repeat(cosine[:, None] > 0, _SAMPLES, 1)
    return cosine * (1 - scene.blocked(points, toward[None], active).mean(1))


class Gathering:
    """What light arrives other than straight from suns and lamps, at every fourth pixel, and how it spreads to all."""

    def __init__(self, place: Place) -> None:
        self.scene = place.scene
        columns, rows = 2 * HEIGHT, HEIGHT
        grid = np.zeros(rows * columns, bool)
        grid[place.seen] = True
        chosen = np.zeros((rows, columns), bool)
        chosen[_STEP // 2 :: _STEP, _STEP // 2 :: _STEP] = True
        self.index = np.flatnonzero(chosen.ravel()[place.seen])  # among the seen pixels
        points, normals = place.point[self.index], place.normal[self.index]
        count = _GATHER[place.things.indoors]
        self.directions = fibonacci_sphere(count).astype(np.float32)
        self.weight = np.maximum(normals @ self.directions.T, 0) * np.float32(4 / count)
        self.hidden = place.scene.blocked(points, self.directions[None], self.weight > 0)
        direction, point = np.nonzero(self.hidden.T)
        hits = place.scene.intersect(points[point], self.directions[direction])
        found = hits.mesh >= 0
        self.from_point, self.from_direction = point[found], direction[found]
        triangle = hits.triangle[found]
        toward = self.directions[self.from_direction]
        self.normal = place.normals[triangle]
        self.normal = self.normal * np.where((self.normal * toward).sum(1) > 0, -1, 1)[:, None]
        self.point = points[self.from_point] + hits.t[found, None] * toward + _OFFSET * self.normal
        bounced = self.weight[self.from_point, self.from_direction][:, None]
        self.bounce = place.mean_albedo[place.owner[triangle]] * bounced
        areas = np.broadcast_to(pixel_solid_angles(rows, columns), (rows, columns)).ravel()
        self.area = areas[place.seen][self.index]
        self.neighbours, self.shares = _spreading(place, self.index, chosen)

    def light(self, heaven: Environment, suns: tuple[Sun, ...], direct: np.ndarray) -> np.ndarray:
        """(pixels, 3) shading of every seen pixel by sky and bounces. direct: (pixels, 3) what comes straight."""
        radiance = sample(cv2.blur(heaven.image, (9, 9)), self.directions)
        arriving = np.where(self.hidden, 0, self.weight) @ radiance
        for sun in suns:
            lit = sunlight(self.scene, self.point, self.normal, sun)[:, None] * sun.irradiance.astype(np.float32)
            arriving += self._sum(self.bounce * lit)
        # Even light A from all that is hit: A is the mean of what arrives everywhere, and of what A itself sends.
        returned = self._sum(self.bounce)
        mean = np.average(arriving + direct[self.index], axis=0, weights=self.area)
        even = mean / np.maximum(1 - np.average(returned, axis=0, weights=self.area), 0.2)
        arriving += returned * even
        return (arriving[self.neighbours] * self.shares[..., None]).sum(1)

    def _sum(self, values: np.ndarray) -> np.ndarray:
        count = len(self.index)
        return np.stack([np.bincount(self.from_point, values[:, c], count) for c in range(3)], 1).astype(np.float32)


def _spreading(place: Place, index: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every seen pixel four gathering points around it, and their shares by likeness of place and normal.

    index: of the gathering points among the seen pixels. chosen: (H, W) where gathering points may be.
    """
    order = np.full(chosen.size, -1)
    order[place.seen[index]] = np.arange(len(index))
    row, column = np.divmod(place.seen, chosen.shape[1])
    found, shares = [], []
    for down in (0, 1):
        for right in (0, 1):
            r = np.clip((row - _STEP // 2) // _STEP + down, 0, chosen.shape[0] // _STEP - 1) * _STEP + _STEP // 2
            c = ((column - _STEP // 2) // _STEP + right) % (chosen.shape[1] // _STEP) * _STEP + _STEP // 2
            other = order[r * chosen.shape[1] + c]
            at = index[np.maximum(other, 0)]
            alike = np.maximum((place.normal * place.normal[at]).sum(1), 0) ** 8
            off = np.abs(((place.point[at] - place.point) * place.normal).sum(1))
            reach = 0.02 * np.linalg.norm(place.point - CHEST, axis=1) + 0.02
            near = 1.01 - np.abs(np.stack([(row - r) / _STEP, (column - c) / _STEP])).max(0).clip(0, 1)
            found.append(np.maximum(other, 0))
            shares.append(np.where(other < 0, 1e-9, near * (alike * np.exp(-off / reach) + 1e-4)))
    share = np.stack(shares, 1)
    return np.stack(found, 1), (share / share.sum(1, keepdims=True)).astype(np.float32)


def albedo(things: Things, thing: np.ndarray, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(N, 3) what the patterns of the things make of their colours at points on them."""
    random = np.random.default_rng(things.random.integers(1 << 30))
    tone_map = np.clip(0.5 + 0.22 * noise.tile(random, 8, 0.65), 0, 1)
    colours, scale = np.stack(things.colours).astype(np.float32), np.array(things.scales, np.float32)[thing]
    axis = np.abs(normals).argmax(1)
    first = np.where(axis == 0, points[:, 1], points[:, 0]) / scale
    second = np.where(axis == 2, points[:, 1], points[:, 2]) / scale
    mix = np.empty(len(points), np.float32)
    pattern = np.array(things.patterns)[thing]
    grain = noise.look_up(tone_map, first * 9, second * 9)
    for index, name in enumerate(place_things.PATTERNS):
        here = pattern == index
        u, v = first[here], second[here]
        if name == "mottled":
            mix[here] = 0.7 * noise.look_up(tone_map, u * 7, v * 7) + 0.3 * grain[here]
            continue
        if name == "bricks":
            u, v = u + 0.5 * (np.floor(2.5 * v) % 2), 2.5 * v
        elif name == "planks":
            v = v + np.floor(u) * 0.37
            v = v / 9
        tone = noise.look_up(tone_map, np.floor(u) * 13, np.floor(v) * 17)
        across, along = u - np.floor(u), v - np.floor(v)
        if name == "windows":
            pane = (np.abs(across - 0.5) < 0.27) & (np.abs(along - 0.5) < 0.3)
            mix[here] = np.where(pane, 2.5, 0.2 * tone + 0.2 * grain[here])
        else:
            joint = (across < 0.06) | (along < (0.06 if name == "tiles" else 0.02))
            mix[here] = np.where(joint, 1.4, 0.6 * tone + 0.25 * grain[here])
    share = mix[:, None]
    a, b = colours[thing, 0], colours[thing, 1]
    mixed = a + np.minimum(share, 1) * (b - a)
    return np.clip(mixed * np.where(share > 2, 0.15, np.where(share > 1, 0.5, 1)), 0.01, 0.95).astype(np.float32)
