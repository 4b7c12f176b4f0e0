# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated objects: closed, coloured parts with their names, the same from the same number.

The labels are for evaluation only: no training looks at them.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .solids import Solid, corner_normals

Paint = np.ndarray  # (3,) linear albedo


@dataclass(frozen=True)
class Part:
    """A closed solid with its name in its category and one albedo, (3,) linear."""

    label: str
    solid: Solid
    albedo: Paint


@dataclass(frozen=True)
class Shape:
    """An object: x right, y up, +z its front; its bounding box is centred and has the diagonal 2 (BAE-NET's advice,
    in JOF's twice as large cube [-1, 1]³)."""

    category: str
    seed: int
    parts: tuple[Part, ...]

    @functools.cached_property
    def vertices(self) -> np.ndarray:
        """(V, 3) of all parts."""
        return np.concatenate([p.solid.vertices for p in self.parts])

    @functools.cached_property
    def faces(self) -> np.ndarray:
        """(F, 3) int32 of all parts."""
        offsets = np.cumsum([0] + [len(p.solid.vertices) for p in self.parts])
        return np.concatenate([p.solid.faces + o for p, o in zip(self.parts, offsets, strict=False)]).astype(np.int32)

    @functools.cached_property
    def part_of_face(self) -> np.ndarray:
        """(F,) index of the part that a face belongs to."""
        return np.repeat(np.arange(len(self.parts)), [len(p.solid.faces) for p in self.parts])

    @functools.cached_property
    def corner_normals(self) -> np.ndarray:
        """(F, 3, 3)"""
        return np.concatenate([corner_normals(p.solid) for p in self.parts])

    @property
    def albedos(self) -> np.ndarray:
        """(P, 3) linear, of the parts."""
        return np.array([p.albedo for p in self.parts])

    @property
    def labels(self) -> np.ndarray:
        """(P,) index of each part's label in LABELS[category]."""
        return np.array([LABELS[self.category].index(p.label) for p in self.parts])


# The names of parts by category, in the order of their numbers.
LABELS: dict[str, tuple[str, ...]] = {
    "chair": ("seat", "back", "leg", "arm"),
    "table": ("top", "leg", "body"),
    "couch": ("seat", "back", "arm", "leg"),
    "lamp": ("shade", "pole", "base"),
    "cabinet": ("body", "front", "leg"),
    "bench": ("seat", "back", "leg", "arm"),
    "car": ("body", "cabin", "wheel"),
    "airplane": ("body", "wing", "tail", "engine"),
    "bed": ("frame", "mattress", "board"),
    "boat": ("hull", "cabin", "mast"),
    "bottle": ("body", "cap"),
    "monitor": ("screen", "stand"),
    "mug": ("cup", "handle"),
    "speaker": ("box", "cone"),
}
UNSEEN = ("bed", "boat", "bottle", "monitor", "mug", "speaker")  # that no network of ours is trained on
CATEGORIES = tuple(name for name in LABELS if name not in UNSEEN)


def make_shape(category: str, seed: int) -> Shape:
    """An object of a category. Raises KeyError for a category that there is no generator of."""
    random = np.random.default_rng([seed, zlib.crc32(category.encode())])
    return _normalized(category, seed, _generators()[category](random))


def _normalized(category: str, seed: int, parts: list[Part]) -> Shape:
    points = np.concatenate([p.solid.vertices for p in parts])
    low, high = points.min(0), points.max(0)
    scale = 2 / np.linalg.norm(high - low)
    moved = tuple(Part(p.label, p.solid.moved(-(low + high) / 2, scale), p.albedo) for p in parts)
    return Shape(category, seed, moved)


def _generators() -> dict[str, Callable[[np.random.Generator], list[Part]]]:
    from . import furniture, others, seats, vehicles

    modules = (seats, furniture, vehicles, others)
    return {name: getattr(module, name) for module in modules for name in LABELS if hasattr(module, name)}
