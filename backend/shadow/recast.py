# SPDX-License-Identifier: GPL-3.0-or-later
"""Casting a kept shadow again under other suns, in a fraction of a second and without rays: a map of what each hides.

Blender imports this module to let the shadow follow a dragged sun without the backend, so it needs NumPy only.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ..protocol import Camera
from ..rays.camera import primary_rays
from ..shading import formula

TEXELS = 1536  # along the longer side of a map, divided by `KeptShadow.step`
APART = 0.7  # texels between the samples of a surface, at most
LEAST = 1e-3  # of the light, in the deepest shadow: the ratio is divided by, too
FAINTEST = 0.0015  # a shadow fainter than this is none; from four times that on it is itself
_SAMPLES = 1 << 20  # at a time
_ROUND = np.sqrt(np.pi) / 2  # half the side of the square that is as large as a disc of radius 1


class Shining(Protocol):
    """What casts a shadow: see `probe.Sun`. half_angle: radians."""

    direction: np.ndarray
    irradiance: np.ndarray
    half_angle: float


@dataclass
class KeptShadow:
    """What a result keeps of a frame's shadow. Camera space; N points that receive it.

    shape: (H, W) of the frame. step: from one point to the next, in pixels, 2 or 4: a power of two. valid: (H / step,
    W / step) bool. points: (N, 3) metres. normals: (N, 3).
    sky: for each character (N, 3), the share of the sky's light that it lets through, of what those before it do.
    occluders: for each character its vertices (V, 3) and triangles (T, 3).
    half_angle: of all suns, radians, where the artist has set it.
    """

    shape: tuple[int, int]
    step: int
    valid: np.ndarray
    points: np.ndarray
    normals: np.ndarray
    sky: list[np.ndarray]
    occluders: list[tuple[np.ndarray, np.ndarray]]
    half_angle: float | None = None
    _sky: tuple[bytes, np.ndarray] | None = field(default=None, repr=False)

    @classmethod
    def read(cls, path: Path) -> KeptShadow:
        """Read what `kept.keep` has written. Raises OSError, ValueError or KeyError for a damaged file."""
        with np.load(path, allow_pickle=False) as kept:
            valid, count = kept["valid"], int(kept["characters"])
            sky = [kept[f"sky{i}"].astype(np.float32) for i in range(count)]
            occluders = [(kept[f"vertices{i}"], kept[f"triangles{i}"]) for i in range(count)]
            height, width = (int(side) for side in kept["shape"])
            points = _points(Camera(kept["projection"], np.eye(4), width, height), valid, kept["depth"])
            angle = float(kept["half_angle"])
            normals = kept["normals"].astype(np.float32)
        return cls((height, width), 2, valid, points, normals, sky, occluders, None if np.isnan(angle) else angle)

    @functools.cached_property
    def coarser(self) -> KeptShadow:
        """With half as many rows and columns, for a shadow that moves."""
        rows, columns = np.nonzero(self.valid)
        own = (rows % 2 == 0) & (columns % 2 == 0)
        sky = [share[own] for share in self.sky]
        parts = 2 * self.step, self.valid[::2, ::2], self.points[own], self.normals[own], sky
        return KeptShadow(self.shape, *parts, self.occluders, self.half_angle)

    def ratios(self, radiance: np.ndarray, constant: np.ndarray, suns: Sequence[Shining]) -> list[np.ndarray]:
        """Each character's part (H, W, 3) of the shadow in (0, 1], as `cast.Cast.ratio`.

        radiance: (62, 3) and constant: (3,) of the light, as `formula.shade` takes them. Other meshes than the
        characters hide nothing here.
        """
        sky = self._under(radiance)
        direct = [
            np.maximum(self.normals @ np.float32(sun.direction), 0)[:, None] * np.float32(sun.irradiance)
            for sun in suns
        ]
        before = sky + sum(direct) + np.float32(constant)
        found = []
        for share, (vertices, triangles) in zip(self.sky, self.occluders, strict=True):
            sky = sky * share
            for i, sun in enumerate(suns):
                if direct[i].any() and len(triangles):
                    angle = sun.half_angle if self.half_angle is None else self.half_angle
                    direct[i] = direct[i] * self._passing(vertices, triangles, sun.direction, angle)
            after = sky + sum(direct) + np.float32(constant)
            found.append(self._image(np.where(before > 1e-6, after / np.maximum(before, 1e-6), 1)))
            before = after
        return found

    def _under(self, radiance: np.ndarray) -> np.ndarray:
        """(N, 3) of an open sky's light; the last one is remembered, as a dragged sun leaves it as it is."""
        key = radiance.tobytes()
        if self._sky is None or self._sky[0] != key:
            alike = np.round(64 * self.normals) @ np.array([1.0, 1 << 8, 1 << 16])
            _, first, back = np.unique(alike, return_index=True, return_inverse=True)
            normals = self.normals[first]
            visible = np.ones((len(normals), len(radiance)), bool)
            self._sky = key, formula.shade(radiance, np.zeros(3), visible, normals)[back.ravel()]
        return self._sky[1]

    def _image(self, ratio: np.ndarray) -> np.ndarray:
        """(H, W, 3) from the points' (N, 3), linear between them; what is too faint to see fades to exactly 1."""
        small = np.zeros((*self.valid.shape, 3), np.float32)
        small[self.valid] = without_the_faintest(1 - np.clip(ratio, LEAST, 1))
        image = np.ones((*self.shape, 3), np.float32)
        rows, columns = (np.flatnonzero(small.any((1 - axis, 2))) for axis in (0, 1))
        if len(rows):
            part = tuple(slice(max(at[0] - 1, 0), at[-1] + 2) for at in (rows, columns))
            large = small[part]
            for axis in (0, 1) * int(np.log2(self.step)):
                large = _doubled(large, axis)
            where = image[self.step * part[0].start :, self.step * part[1].start :][: len(large), : large.shape[1]]
            where -= large[: len(where), : where.shape[1]]
        return image

    def _passing(
        self, vertices: np.ndarray, triangles: np.ndarray, direction: np.ndarray, half_angle: float
    ) -> np.ndarray:
        """(N, 1) share in [0, 1] of a sun's disc that triangles (T, 3) leave the points to see.

        The sun sees a map of what is covered, and how far toward it. A point asks how much of the map is covered around
        its place, as far as the disc spreads over the mean distance to what covers it (percentage-closer soft shadows,
        Fernando 2005); sums over squares come from a table.
        """
        passing = np.ones((len(self.points), 1), np.float32)
        axes = _axes(np.asarray(direction, np.float64))
        corners = (vertices @ axes)[triangles]  # across, across, toward the sun
        low, high = corners.min((0, 1)), corners.max((0, 1))
        place = self.points @ axes.astype(np.float32)
        spread = np.tan(min(half_angle, 1.2)) * _ROUND
        far = np.maximum(high[2] - place[:, 2], 0) * spread
        around = (place[:, :2] > low[:2] - far[:, None]) & (place[:, :2] < high[:2] + far[:, None])
        near = np.flatnonzero(around.all(1) & (place[:, 2] < high[2]))
        if not len(near):
            return passing
        side = TEXELS // self.step
        texel = float((high - low)[:2].max()) / side
        covered, height = _map((corners[..., :2] - low[:2]) / texel, corners[..., 2], side)
        at, far = (place[near, :2] - low[:2]) / texel, np.maximum(far[near] / texel, 0.5)
        count = _sum(covered, at, far)
        apart = np.where(count > 1e-3, _sum(height, at, far) / np.maximum(count, 1e-6) - place[near, 2], 0)
        half = np.maximum(apart * spread / texel, 0.5)
        hidden = np.where(apart > 0, _sum(covered, at, half) / (4 * half * half), 0)
        passing[near, 0] = 1 - np.clip(hidden, 0, 1)
        return passing


def without_the_faintest(depth: np.ndarray) -> np.ndarray:
    """Depths (…, 3) of a shadow, 1 less the ratio, with those too faint to see faded to exactly 0, without a step."""
    ramp = np.clip((depth.max(-1, keepdims=True) - FAINTEST) / (3 * FAINTEST), 0, 1)
    return depth * (ramp * ramp * (3 - 2 * ramp))


def _points(camera: Camera, valid: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(N, 3) where the rays of every second row's and column's pixels have a depth (N,) along −z."""
    row, column = np.nonzero(valid)
    origins, directions = primary_rays(camera, np.stack([2 * column + 0.5, 2 * row + 0.5], -1))
    along = (-depth - origins[:, 2]) / directions[:, 2]
    return (origins + along[:, None] * directions).astype(np.float32)


def _axes(direction: np.ndarray) -> np.ndarray:
    """(3, 3) columns of a rotation, the last along `direction`."""
    direction = direction / np.linalg.norm(direction)
    across = np.cross(direction, np.eye(3)[np.argmin(np.abs(direction))])
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(direction, across), direction], -1)


def _map(corners: np.ndarray, height: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Tables of which of side² texels triangles (T, 3, 2) cover, 1 or 0, and of the mean of their heights (T, 3) there.

    Triangles are sampled as densely as their longest side asks for, in classes by powers of two.
    """
    count, total = np.zeros((2, (side + 1) ** 2))
    longest = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=-1).max(1)
    parts = 1 << np.ceil(np.log2(np.maximum(longest / APART, 1))).astype(int)
    for n in np.unique(parts):
        i, j = (axis.ravel() for axis in np.mgrid[: n + 1, : n + 1])
        shares = np.stack([i, j, n - i - j])[:, i + j <= n] / n
        own = np.flatnonzero(parts == n)
        for rows in np.array_split(own, len(own) * shares.shape[1] // _SAMPLES + 1):
            x, y = (np.clip(corners[rows, :, k] @ shares, 0, side).astype(np.int32) for k in (0, 1))
            where = (y * (side + 1) + x).ravel()
            count += np.bincount(where, minlength=len(count))
            total += np.bincount(where, (height[rows] @ shares).ravel(), len(count))
    covered, mean = count > 0, total / np.maximum(count, 1)
    tables = (np.pad(texels.reshape(side + 1, -1), ((1, 0), (1, 0))) for texels in (covered.astype(float), mean))
    return tuple(table.cumsum(0).cumsum(1) for table in tables)


def _sum(table: np.ndarray, at: np.ndarray, half: np.ndarray) -> np.ndarray:
    """(N,) of a table's values, over squares around places (N, 2), x and y, half their side (N,) away; parts of texels
    count in part."""
    (x0, y0), (x1, y1) = (at - half[:, None]).T, (at + half[:, None]).T
    return _upto(table, x1, y1) - _upto(table, x0, y1) - _upto(table, x1, y0) + _upto(table, x0, y0)


def _upto(table: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    last = len(table) - 1
    x, y = np.clip(x, 0, last), np.clip(y, 0, last)
    i, j = np.minimum(x.astype(np.int32), last - 1), np.minimum(y.astype(np.int32), last - 1)
    u, v = x - i, y - j
    flat, start = table.ravel(), j * (last + 1) + i
    above = flat[start] * (1 - u) + flat[start + 1] * u
    below = flat[start + last + 1] * (1 - u) + flat[start + last + 2] * u
    return above * (1 - v) + below * v


def _doubled(image: np.ndarray, axis: int) -> np.ndarray:
    """Twice as many rows or columns: means of neighbours come between, the last one is repeated."""
    after = np.concatenate([np.delete(image, 0, axis), np.take(image, [-1], axis)], axis)
    shape = list(image.shape)
    shape[axis] *= 2
    return np.stack([image, (image + after) / 2], axis + 1).reshape(shape)
