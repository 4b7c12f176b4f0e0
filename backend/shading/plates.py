# SPDX-License-Identifier: GPL-3.0-or-later
"""Plates without anybody in them, and the light they were taken in: for the lessons of those that read light.

Every light is photographed through several cameras.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import cv2
import numpy as np

from ..protocol import Camera
from ..rays.camera import look_at, perspective, pointing
from .environments import Environment
from .light_code import facing_shading
from .moments import ASPECTS, Sources, light_stream
from .panorama import cell_radiance
from .photograph import background, expose, photograph
from .traced import Light

CAMERAS = 12  # of one light
_ROWS = 64  # of the panoramas that cells average


def shard(sources: Sources, seed: int, index: int, count: int, daylit: bool = False) -> dict[str, np.ndarray]:
    """`count` plates: plate (N, 128, 128, 3) uint8, radiance (N, 62, 3), suns (N, 2, 7), light (N,) str.

    radiance and suns as in the shards of frames, camera space, at the plate's exposure. daylit: of landscapes and other
    built places under `daylight`, and of nothing else.
    """
    random = np.random.default_rng([seed, zlib.crc32(b"plates " + sources.split.encode()), index])
    rows: list[dict] = []
    lights = light_stream(sources, random, daylit=daylit)
    while len(rows) < count:
        rows += _photographed(next(lights), random)
    return {name: np.stack([row[name] for row in rows[:count]]) for name in rows[0]}


def _photographed(environment: Environment, random: np.random.Generator) -> Iterator[dict]:
    light = Light.of(environment)
    panorama = cv2.resize(light.panorama, (2 * _ROWS, _ROWS), interpolation=cv2.INTER_AREA)
    for _ in range(CAMERAS):
        camera = _camera(random)
        rotation = camera.world_from_camera[:3, :3]
        radiance = cell_radiance(panorama, rotation.T).astype(np.float32)
        suns = np.zeros((2, 7), np.float32)
        for k, sun in enumerate(s.turned(rotation.T) for s in light.suns):
            suns[k] = [*sun.direction, *sun.irradiance, sun.half_angle]
        plate = background(environment.picture, camera)
        gain = np.asarray(expose(plate[None], facing_shading(radiance, suns)[:3].mean(0), random), np.float32)
        suns[:, 3:6] *= gain
        yield {
            "plate": photograph(plate * gain, random),
            "radiance": radiance * gain,
            "suns": suns,
            "light": np.str_(environment.name),
        }


def _camera(random: np.random.Generator) -> Camera:
    azimuth, elevation = random.uniform(0, 2 * np.pi), np.radians(np.clip(random.normal(4, 9), -8, 40))
    outward = pointing(azimuth, elevation)
    fov, aspect = np.radians(random.uniform(20, 75)), float(random.choice(ASPECTS))
    width, height = (1280, round(1280 / aspect)) if aspect >= 1 else (round(1280 * aspect), 1280)
    return perspective(width, height, fov, world_from_camera=look_at(outward, np.zeros(3)))
