# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shadow data set shows, for either renderer: an object on a ground under a sky, and what stands around it.

BOS scenes hold other objects with their shadows, BOS-free ones none. People and things of a split, panoramas and
motions are its own; everything else is drawn anew for each scene. World +z up, metres.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..protocol import PROP, Camera
from ..rays.camera import look_at, perspective, pointing, project
from ..shading import environments
from ..shading.environments import Environment
from ..shading.moments import Sources, moments
from ..shading.panorama import LUMINANCE
from ..shading.traced import Light, Skin
from .lamps import Lamp
from .things import GROUNDS, ground, moved, thing

PEOPLE = 0.5  # share of scenes whose object is a person
SUNNY = 0.85  # share of scenes with a sun; the others are overcast or indoors
LAMPS = 0.12  # share of scenes with a lamp as well
LONGEST = 2.5  # heights of the object; a longer shadow need not fit into the frame


@dataclass(frozen=True)
class ShadowScene:
    """skins: world space; their meshes' roles are CHARACTER the object, PROP others, RECEIVER ground and walls.

    light: at no particular exposure. lamp: world space, at the same exposure, or None.
    """

    name: str
    bos: bool
    skins: list[Skin]
    camera: Camera
    light: Environment
    lamp: Lamp | None = None


def scenes(sources: Sources, seed: int, shard: int, count: int, size: int) -> Iterator[ShadowScene]:
    """`count` scenes of one shard; the same seed and shard give the same scenes."""
    random = np.random.default_rng([seed, zlib.crc32(b"shadow" + sources.split.encode()), shard])
    of_lamps = np.random.default_rng([seed, zlib.crc32(b"lamps" + sources.split.encode()), shard])
    people = moments(sources, seed + 7, shard, count, 0)
    for index in range(count):
        kind = str(random.choice(GROUNDS, p=[0.4, 0.2, 0.15, 0.1, 0.15]))
        floor, height = ground(kind, random)
        if random.random() < PEOPLE:
            moment = next(people)
            centre = np.mean([s.mesh.vertices.mean(0) for s in moment.skins], 0)
            main = [moved(s, -np.array([centre[0], centre[1], moment.level])) for s in moment.skins]
            what = moment.identity
        else:
            main, what = thing(random), "thing"
        bos = bool(random.random() < 0.6)
        light = _light(sources, random)
        others = _around(main, height, random) if bos else []
        lamp = _lamp(main, light, of_lamps)
        camera = _camera(main, size, random)
        yield ShadowScene(f"{shard}-{index}-{what}-{kind}", bos, [*main, *others, *floor], camera, light, lamp)


def _light(sources: Sources, random: np.random.Generator) -> Environment:
    """A panorama or a sky, turned; with a sun over 8° in most scenes."""
    sunny = random.random() < SUNNY
    for _ in range(20):
        choice = int(random.integers(len(sources.panoramas) + 2))
        if choice < len(sources.panoramas):
            folder = sources.panoramas[choice]
            light = environments.load(folder[random.integers(len(folder))])
        else:
            light = environments.sky(int(random.integers(3000)) + (10_000 if sources.unseen_lights else 0))
        if not sunny or any(s.direction[2] > np.sin(np.radians(8)) for s in light.suns):
            break
    return light.rotated(random.random())


def _lamp(main: list[Skin], light: Environment, random: np.random.Generator) -> Lamp | None:
    """In some scenes a lamp about the object, which lights its ground a half to three times as brightly as all else."""
    azimuth, elevation = random.uniform(0, 2 * np.pi), np.radians(random.uniform(25, 70))
    away, radius, warm = random.uniform(1.5, 4.0), random.uniform(0.03, 0.4), random.random()
    share, drawn = random.uniform(0.5, 3.0), random.random()
    if drawn > LAMPS:
        return None
    tall = max(float(s.mesh.vertices[:, 2].max()) for s in main)
    distance = away * tall + radius
    toward = pointing(azimuth, elevation)
    level = float(Light.of(light).open_ground @ LUMINANCE)
    colour = np.array([1.0, 1 - 0.25 * warm, 1 - 0.5 * warm])
    return Lamp(distance * toward, radius, share * level * distance**2 / toward[2] * colour)


def _around(main: list[Skin], height: Callable[[float, float], float], random: np.random.Generator) -> list[Skin]:
    """One to four other things, at some distance from the object."""
    radius = max(float(np.linalg.norm(s.mesh.vertices[:, :2], axis=1).max()) for s in main)
    skins = []
    for _ in range(random.integers(1, 5)):
        distance, turn = radius + random.uniform(0.7, 4.0), random.uniform(0, 2 * np.pi)
        x, y = distance * np.cos(turn), distance * np.sin(turn)
        skins += [moved(s, np.array([x, y, height(x, y)]), PROP) for s in thing(random)]
    return skins


def _camera(main: list[Skin], size: int, random: np.random.Generator) -> Camera:
    """From 0.4 to 4 m high, near enough that the object and room for a shadow beside it fill a good part of the frame.

    The room lies on any side: if it always held the shadow, the framing would tell where the light comes from.
    """
    points = np.concatenate([s.mesh.vertices for s in main])
    points = points[:: max(1, len(points) // 400)].astype(np.float64)
    tall = float(points[:, 2].max())
    side, reach = pointing(random.uniform(0, 2 * np.pi), 0)[:2], random.uniform(0, LONGEST)
    beside = np.column_stack([points[:, :2] + points[:, 2:] * reach * side, np.zeros(len(points))])
    shown = np.concatenate([points, beside])
    middle = (shown.min(0) + shown.max(0)) / 2
    azimuth, elevation = random.uniform(0, 2 * np.pi), np.radians(np.clip(random.gamma(3, 7), 3, 60))
    outward = pointing(azimuth, elevation)
    fov, fill = np.radians(random.uniform(28, 65)), random.uniform(0.6, 1.1)
    for distance in np.geomspace(0.8 * tall + 0.5, 40, 40):
        eye = middle + outward * distance
        eye[2] = max(eye[2], 0.3)
        camera = perspective(size, size, fov, world_from_camera=look_at(eye, middle))
        pose = camera.world_from_camera
        pixels, depth = project(camera, (shown - pose[:3, 3]) @ pose[:3, :3])
        if (depth > 0.2).all() and np.abs(pixels / size - 0.5).max() < 0.5 * fill:
            break
    return camera
