# SPDX-License-Identifier: GPL-3.0-or-later
"""What the data set of objects holds of one shape: arrays for its shard.

Splits differ in their shapes' numbers: train and test have pictures as equation 3 makes them, with all that is known
of them; real and real-test have photographs (`photographs`), of which training sees the silhouettes only.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..images import srgb_encode
from ..rays.scene import RayScene
from ..shading import environments
from . import photographs, public, views
from .shapes import make_shape
from .voxels import piece_grid, pieces_of

FIRST_SEED = {"train": 0, "test": 1_000_000, "real": 2_000_000, "real-test": 3_000_000}
SPLITS = tuple(FIRST_SEED)
PIECES = 16  # at most, of one shape
QUALITY = 95  # of JPEG


@dataclass(frozen=True)
class Lights:
    """Where a split's photographic light comes from: panoramas, and skies by number."""

    panoramas: tuple[Path, ...] = ()

    def draw(self, random: np.random.Generator, split: str) -> environments.Environment:
        """An environment; the test split's skies have numbers of their own."""
        if self.panoramas and random.random() < 0.5:
            found = environments.load(self.panoramas[int(random.integers(len(self.panoramas)))])
        else:
            found = environments.sky(int(random.integers(1 << 20)) * 2 + (split == "real-test"))
        return found.rotated(random.random())


def shape_arrays(category: str, seed: int, split: str, count: int, lights: Lights) -> dict[str, np.ndarray]:
    """The arrays of one shape, without the leading dimension of the shard; `dataset` says what they are."""
    shape = make_shape(category, seed)
    random = np.random.default_rng([seed, zlib.crc32(category.encode()), zlib.crc32(split.encode())])
    scene = RayScene([views.mesh_of(shape)])
    pictures, masks, matrices, coefficients = [], [], [], []
    for _ in range(count):
        matrix = views.random_camera(shape.vertices, random)
        if split.startswith("real"):
            picture, alpha = photographs.take(shape, lights.draw(random, split), matrix, random)
            light = np.zeros((9, 3))
        else:
            layers = views.see(shape, scene, matrix)
            light = views.exposed(layers, views.random_light(random), random)
            alpha = layers.alpha
            linear = views.shade(layers, light) * alpha[..., None] + views.backdrop(random) * (1 - alpha[..., None])
            picture = np.round(np.clip(srgb_encode(linear), 0, 1) * 255).astype(np.uint8)
        pictures.append(_encoded(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY]))
        masks.append(_encoded(".png", np.round(alpha * 255).astype(np.uint8), []))
        matrices.append(matrix)
        coefficients.append(light)
    arrays = {
        "category": np.array(category),
        "seed": np.array(seed),
        "picture": np.concatenate(pictures),
        "picture_size": np.array([len(p) for p in pictures], np.int32),
        "mask": np.concatenate(masks),
        "mask_size": np.array([len(m) for m in masks], np.int32),
    }
    if split != "real":
        arrays["matrix"] = np.array(matrices, np.float32)
    if not split.startswith("real"):
        _, labels, albedos = pieces_of(shape)
        room = PIECES - len(labels)
        arrays["light"] = np.array(coefficients, np.float32)
        arrays["grid"] = piece_grid(shape)
        arrays["label"] = np.pad(labels.astype(np.int8), (0, room), constant_values=-1)
        arrays["albedo"] = np.pad(albedos.astype(np.float32), ((0, room), (0, 0)))
    return arrays


def photograph_arrays(example: public.Example, number: int) -> dict[str, np.ndarray]:
    """The same of one photograph of a public data set, as the real split has it. number: its seed, for its name only.

    Raises PenumbraError where the picture has no silhouette or cannot be read.
    """
    picture, mask = public.crop(example)
    files = _encoded(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY]), _encoded(".png", mask, [])
    return {
        "category": np.array(example.category),
        "seed": np.array(number),
        "picture": files[0],
        "picture_size": np.array([len(files[0])], np.int32),
        "mask": files[1],
        "mask_size": np.array([len(files[1])], np.int32),
    }


def _encoded(suffix: str, image: np.ndarray, options: list[int]) -> np.ndarray:
    return cv2.imencode(suffix, np.ascontiguousarray(image), options)[1].ravel()
