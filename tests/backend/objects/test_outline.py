# SPDX-License-Identifier: GPL-3.0-or-later
"""A silhouette keeps what is thin and unsure where the picture shows it, and cuts what the picture does not show."""

from __future__ import annotations

import numpy as np

from backend.objects.meshing import extract
from backend.objects.outline import LEAST, SIZE, Outline
from backend.objects.projection import projection
from backend.objects.rendering import INSIDE
from backend.objects.voxels import centres

from .fields import EggField, egg_codes

SIDE = 64
FRONT = projection(0.0, 0.0, 0.0, 4.0, np.radians(30))  # from +z: the picture's u is x, its v is −y
PLACE = centres(np.indices((SIDE,) * 3).reshape(3, -1).T, SIDE).reshape(SIDE, SIDE, SIDE, 3)
X, Y, Z = np.moveaxis(PLACE, -1, 0)


def disc(radius: float, height: float = 1.0) -> np.ndarray:
    """A mask of 128 pixels: what a ball of this radius about the origin covers, or one so much higher."""
    v, u = (np.indices((128, 128)) + 0.5) / 64 - 1
    return (np.hypot(u, v / height) < np.tan(np.arcsin(radius / 4)) / np.tan(np.radians(15))).astype(np.float32)


def inside(occupancy: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return occupancy > Outline.of(occupancy, FRONT, mask).of_voxels(SIDE)


def test_the_likeliest_of_what_the_picture_shows_is_inside():
    sure = 0.9 * (np.linalg.norm(PLACE, axis=-1) < 0.5)
    stick = (np.abs(X) < 0.08) & (np.abs(Y) < 0.7)
    depth = np.exp(-np.square(Z / 0.2))
    occupancy = np.maximum(sure, 0.3 * stick * depth)  # it is unsure how deep in the picture the stick stands
    line = np.abs((np.arange(128) + 0.5) / 64 - 1)
    mask, sticks = disc(0.5), (line < 0.65)[:, None] & (line < 0.1)[None]
    with_stick = inside(occupancy, np.maximum(mask, sticks))
    end = (np.abs(X) < 0.04) & (np.abs(Y) > 0.55) & (np.abs(Y) < 0.6)
    assert with_stick[end & (np.abs(Z) < 0.05)].mean() > 0.9
    assert not with_stick[end & (np.abs(Z) > 0.25)].any()
    np.testing.assert_array_equal(with_stick[np.hypot(X, Y) < 0.3], (occupancy > INSIDE)[np.hypot(X, Y) < 0.3])
    assert not inside(occupancy, mask)[end].any(), "the picture shows no stick"


def test_what_the_picture_does_not_show_is_cut_where_it_is_not_sure():
    for likely, stays in ((0.7, False), (0.95, True)):
        occupancy = np.float32(likely * (np.linalg.norm(PLACE - [0.6, 0, 0], axis=-1) < 0.2))
        assert inside(occupancy, disc(0.2)).any() == stays


def test_a_changed_object_is_not_cut_and_keeps_its_thin_parts():
    outline = Outline.of(np.full((SIDE,) * 3, 0.3, np.float32), FRONT, disc(0.5))
    assert outline.levels.shape == (SIZE, SIZE)
    assert outline.levels.max() > INSIDE > outline.levels.min() > LEAST
    np.testing.assert_array_equal(outline.generous.levels, np.minimum(outline.levels, INSIDE))


def test_the_outline_of_a_sure_shape_changes_nothing_of_it():
    plain = extract(EggField(), egg_codes(), 32)
    seen = extract(EggField(), egg_codes(), 32, (FRONT, disc(0.6, 0.8 / 0.6)))
    assert seen.outline is not None
    np.testing.assert_allclose(np.ptp(seen.vertices, 0), np.ptp(plain.vertices, 0), rtol=0.08)
    again = extract(EggField(), egg_codes(), 32, seen.outline)
    np.testing.assert_array_equal(again.vertices, seen.vertices)
