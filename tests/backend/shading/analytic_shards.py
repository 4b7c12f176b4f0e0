# SPDX-License-Identifier: GPL-3.0-or-later
"""Analytic shards for tests: balls beside a post, under one lamp that the plate shows as a glow.

Everything is exact: a ball's normal is its position, the post hides one half-space of directions, the shading is
Lambert's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.rays.camera import crop_camera, perspective
from backend.rays.directions import RICS_DIRECTIONS, pack_bits

SIZE = 128
WHOLE = perspective(100, 100, np.radians(60))


def sphere(radius: float = 52.0) -> tuple[np.ndarray, np.ndarray]:
    """Coverage (128, 128) and camera-space normals of a ball seen from far."""
    step = (np.arange(SIZE) + 0.5 - SIZE / 2) / radius
    x, y = np.meshgrid(step, -step)
    z2 = 1 - x * x - y * y
    covered = z2 > 0
    normal = np.stack([x, y, np.sqrt(np.maximum(z2, 0))], -1) * covered[..., None]
    return covered, normal.astype(np.float32)


def lamp_plate(lamp: np.ndarray, colour: np.ndarray, ambient: np.ndarray) -> np.ndarray:
    """A photograph (128, 128, 3) uint8 whose brightness grows toward the lamp's side; linear 1 is code 255."""
    step = np.linspace(-1, 1, SIZE)
    x, y = np.meshgrid(step, -step)
    glow = np.exp(-((x - lamp[0]) ** 2 + (y - lamp[1]) ** 2) / 0.3) * (0.4 + 0.6 * (lamp[2] < 0))
    linear = np.clip(ambient + glow[..., None] * colour, 0, 1)
    return np.round(linear ** (1 / 2.2) * 255).astype(np.uint8)


def scene(random: np.random.Generator, lamp: np.ndarray, colour: np.ndarray, ambient: np.ndarray) -> dict:
    """One view: a ball, with a wall to its left or its right that hides the horizontal directions there."""
    covered, normal = sphere(random.uniform(40, 54))
    side = random.choice([-1.0, 1.0])
    hidden = (RICS_DIRECTIONS[:, 0] * side > 0.8) & (np.abs(RICS_DIRECTIONS[:, 1]) < 0.6)
    inward = normal @ RICS_DIRECTIONS.T < 0
    bits = np.where(covered, pack_bits(inward | hidden), np.uint64(0))
    shadowed = (lamp[0] * side > 0.8) & (abs(lamp[1]) < 0.6)
    direct = np.maximum(normal @ lamp, 0) * (not shadowed)
    shading = (ambient + direct[..., None] * colour) * covered[..., None]
    albedo = np.broadcast_to(random.uniform(0.1, 0.9, 3), (SIZE, SIZE, 3)) * covered[..., None]
    return {
        "albedo": albedo.astype(np.float16),
        "normal": normal.astype(np.float16),
        "alpha": (covered * 255).astype(np.uint8),
        "rics": bits,
        "shading": shading.astype(np.float16),
        "plate": lamp_plate(lamp, colour, ambient),
    }


def write_shard(path: Path, moments: int, lights: int, seed: int = 0) -> None:
    """A shard of the data sets' format."""
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(moments * 3):
        geometry = random.integers(2**32)
        lit = []
        for _ in range(lights):
            lamp = random.normal(size=3) * [1, 0.7, 0.7]
            lamp /= np.linalg.norm(lamp)
            colour = random.uniform(0.3, 1.2) * random.uniform(0.7, 1.3, 3)
            ambient = random.uniform(0.05, 0.3) * random.uniform(0.8, 1.2, 3)
            sun = [*lamp, *colour, 0.01]
            view = scene(np.random.default_rng(geometry), lamp, colour, ambient)
            radiance = np.tile(ambient, (62, 1))
            lit.append({**view, "suns": np.array([sun, [0.0] * 7], np.float32), "radiance": radiance})
        frames.append(
            {
                **{name: lit[0][name] for name in ("albedo", "normal", "alpha", "rics")},
                **{name: np.stack([v[name] for v in lit]) for name in ("shading", "plate", "suns", "radiance")},
            }
        )
    count = len(frames)
    np.savez_compressed(
        path,
        **{name: np.stack([f[name] for f in frames]) for name in frames[0]},
        box=np.tile(np.float32([0.2, 0.1, 0.8, 0.7]), (count, 1)),
        projection=np.tile(crop_camera(WHOLE, (20, 10, 80, 70), (SIZE, SIZE)).projection, (count, 1, 1)),
        world_from_camera=np.tile(np.eye(4), (count, 1, 1)),
        identity=np.repeat([f"ball-{k}" for k in range(moments)], 3),
        clip=np.array(["none"] * count),
        frame=np.repeat(np.arange(moments, dtype=np.int32), 3),
        view=np.tile(np.arange(3, dtype=np.int32), moments),
        light=np.array([[f"lamp-{k}" for k in range(lights)]] * count),
    )
