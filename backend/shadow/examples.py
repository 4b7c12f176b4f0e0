# SPDX-License-Identifier: GPL-3.0-or-later
"""Training batches of shadow tuples: resized, cropped, mirrored, re-exposed, with exact points or with guessed ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ..images import srgb_decode, srgb_encode
from ..protocol import Camera, PenumbraError
from .pointmap import PointMap, standing
from .tuples import ShadowTuple
from .viewpoint import estimate, pinhole

GUESSED = 0.5  # share of examples whose points are those of a lone photograph, as in use
CROPPED = 0.5  # share of examples that show a part of their picture
LEAST_CROP = 0.6  # of the picture's side
NO_RATIO = 0.02  # linear composite below which a picture's ratio says nothing


class Batch(NamedTuple):
    """B examples. Images are (B, C, H, W) float32, display-encoded in [0, 1] where they are colours."""

    composite: Tensor
    target: Tensor
    object: Tensor
    shadow: Tensor
    points: Tensor  # (B, 3, H, W) metres, camera space
    valid: Tensor
    ratio: Tensor  # (B, 3, H, W) linear, in (0, 1]
    light: Tensor  # (B, 3) unit
    known: Tensor  # (B,) 1 where the light is known

    def to(self, device: torch.device) -> Batch:
        return Batch(*(t.to(device, non_blocking=True) for t in self))


def example(one: ShadowTuple, size: int, random: np.random.Generator | None = None, guessed: float = GUESSED) -> dict:
    """One tuple as arrays (C, H, W) at `size`; with `random` it is augmented, and its points are guessed at times.

    Without, the points are the tuple's own where it has any.
    """
    composite, target = (_small(image, size).astype(np.float32) / 255 for image in (one.composite, one.target))
    object_, shadow = (_small(image, size) > 127 for image in (one.object, one.shadow))
    guess = one.points is None or (random is not None and random.random() < guessed)
    points = guessed_points(one, object_, composite, random) if guess else one.points.resized(size, size)
    ratio = _small(one.ratio, size) if one.ratio is not None else _ratio(composite, target, object_)
    light = np.zeros(3, np.float32) if one.light is None else one.light
    if random is not None:
        gain = np.exp(random.normal(0, 0.25) + random.normal(0, 0.1, 3)).astype(np.float32)
        composite, target = (srgb_encode(np.clip(srgb_decode(i) * gain, 0, 1)) for i in (composite, target))
    arrays = {
        "composite": composite.transpose(2, 0, 1),
        "target": target.transpose(2, 0, 1),
        "object": object_[None],
        "shadow": shadow[None],
        "points": points.points.transpose(2, 0, 1),
        "valid": points.valid[None],
        "ratio": np.clip(ratio, 1e-3, 1).transpose(2, 0, 1),
        "light": light,
        "known": np.float32(one.light is not None),
    }
    if random is not None and random.random() < CROPPED:
        arrays = cropped(arrays, random)
    if random is not None and random.random() < 0.5:
        arrays = mirrored(arrays)
    return arrays


def cropped(arrays: dict, random: np.random.Generator) -> dict:
    """A square part of the picture that holds the object, enlarged to the picture's size; space stays as it is."""
    size = arrays["object"].shape[-1]
    rows, columns = np.nonzero(arrays["object"][0])
    if not len(rows):  # too thin for this size
        return arrays
    low, high = np.array([rows.min(), columns.min()]), np.array([rows.max(), columns.max()]) + 1
    side = int(random.integers(max(int(LEAST_CROP * size), int((high - low).max())), size + 1))
    top, left = (
        int(random.integers(max(0, b - side), min(a, size - side) + 1)) for a, b in zip(low, high, strict=True)
    )

    def part(name: str, image: np.ndarray) -> np.ndarray:
        exact = name in ("object", "shadow", "points", "valid")
        inside = np.ascontiguousarray(image[:, top : top + side, left : left + side].transpose(1, 2, 0))
        enlarged = cv2.resize(
            inside.astype(np.float32), (size, size), interpolation=cv2.INTER_NEAREST if exact else cv2.INTER_LINEAR
        )
        return enlarged.reshape(size, size, -1).transpose(2, 0, 1)

    return {name: part(name, a) if np.ndim(a) == 3 else a for name, a in arrays.items()}


def mirrored(arrays: dict) -> dict:
    """Left and right exchanged, of the picture and of space."""
    flipped = {name: np.ascontiguousarray(a[..., ::-1]) if np.ndim(a) == 3 else a for name, a in arrays.items()}
    flipped["points"] = flipped["points"] * np.array([-1, 1, 1], np.float32)[:, None, None]
    flipped["light"] = arrays["light"] * np.array([-1, 1, 1], np.float32)
    return flipped


def collate(arrays: Sequence[dict]) -> Batch:
    return Batch(*(torch.tensor(np.stack([a[name] for a in arrays]), dtype=torch.float32) for name in Batch._fields))


def _small(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[:2] == (size, size):
        return image
    shrinks = image.shape[0] > size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def guessed_points(
    one: ShadowTuple, object_: np.ndarray, composite: np.ndarray, random: np.random.Generator | None = None
) -> PointMap:
    """What is guessed of a lone photograph (H, W, 3) in [0, 1] with an object (H, W): it stands on level ground.

    With `random`, and where the tuple's camera is known, through that camera, somewhat wrong; else it is estimated.
    """
    height, width = object_.shape
    try:
        if one.points is None or random is None:
            return standing(estimate(composite).camera, object_)
        return standing(_misjudged(replace(one.points.camera, width=width, height=height), random), object_)
    except PenumbraError:  # no ground under the object: nothing is known of this one's geometry
        camera = pinhole(width, height, float(max(width, height)), np.array([0, 1.0, 0]))
        return PointMap(np.zeros((height, width, 3), np.float32), np.zeros((height, width), bool), camera, 0.0)


def _misjudged(camera: Camera, random: np.random.Generator) -> Camera:
    """The camera as an estimate might have it: the focal length up to a fifth off, the horizon a few degrees."""
    focal = camera.projection[0, 0] * camera.width / 2 * np.exp(random.normal(0, 0.1))
    up = camera.world_from_camera[2, :3] + random.normal(0, 0.03, 3)
    return pinhole(camera.width, camera.height, focal, up, float(max(camera.world_from_camera[2, 3], 0.2)))


def _ratio(composite: np.ndarray, target: np.ndarray, object_: np.ndarray) -> np.ndarray:
    """What the two photographs of a real tuple tell of the ratio."""
    before, after = srgb_decode(composite), srgb_decode(target)
    ratio = np.where(before > NO_RATIO, after / np.maximum(before, NO_RATIO), 1)
    return np.where(object_[..., None], 1, np.clip(ratio, 1e-3, 1)).astype(np.float32)
