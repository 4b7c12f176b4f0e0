# SPDX-License-Identifier: GPL-3.0-or-later
"""A kept shadow, cast again without rays, against Embree's under the same light."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from backend.protocol import RECEIVER
from backend.rays.scene import RayScene
from backend.shading.probe import LightProbe, Sun
from backend.shadow.cast import cast_shadow, cast_shadows
from backend.shadow.kept import joined, keep
from backend.shadow.recast import KeptShadow
from tests.backend.shadow.test_cast import BALL, POSE, TO_SUN, ball, overhead, slab, sunlight

ELSEWHERE = np.array([-0.6, 0.5, 0.6]) / np.linalg.norm([-0.6, 0.5, 0.6])  # world


def kept(tmp_path: Path, scene: RayScene, light: LightProbe, **names: list[str]) -> KeptShadow:
    names = names or {"Ball": ["character"]}
    casts = cast_shadows(scene, overhead(), light, names, height=0.0)
    keep(tmp_path / "cast.npz", casts, scene, overhead(), names)
    return KeptShadow.read(tmp_path / "cast.npz")


def again(shadow: KeptShadow, light: LightProbe) -> list[np.ndarray]:
    return shadow.ratios(light.radiance, light.constant, light.suns)


@pytest.mark.parametrize(("half_angle", "close"), [(0.005, 0.04), (0.1, 0.012), (0.3, 0.02)])
def test_under_another_sun_it_is_what_rays_find(tmp_path: Path, half_angle: float, close: float):
    sky = np.linspace(0.1, 0.3, 62 * 3, dtype=np.float32).reshape(62, 3)
    scene = RayScene([ball()])
    shadow = kept(tmp_path, scene, dataclasses.replace(sunlight(), radiance=sky))
    other = dataclasses.replace(sunlight(half_angle, ELSEWHERE), radiance=sky)
    true = cast_shadow(scene, overhead(), other, height=0.0).ratio
    (found,) = again(shadow, other)
    dark = (true < 0.95).any(-1)
    assert dark.sum() > 400

    assert np.abs(found - true)[dark].mean() < close
    assert np.abs(found - true)[~dark].mean() < 2e-3
    (moving,) = again(shadow.coarser, other)
    assert np.abs(moving - true)[dark].mean() < 2 * close


def test_two_suns_and_two_characters_darken_nothing_twice(tmp_path: Path):
    toward = TO_SUN / TO_SUN[2]
    low, high = (
        dataclasses.replace(ball(at), name=name) for at, name in ((BALL, "low"), (BALL + 0.9 * toward, "high"))
    )
    suns = tuple(Sun(POSE[:3, :3].T @ d, np.array([1.0, 0.9, 0.5]), 0.02) for d in (TO_SUN, ELSEWHERE))
    light = dataclasses.replace(sunlight(), suns=suns)
    scene, names = RayScene([low, high]), {"Low": ["low"], "High": ["high"]}
    found = again(kept(tmp_path, scene, sunlight(), **names), light)
    true = cast_shadows(scene, overhead(), light, names, height=0.0)
    for part, cast in zip(found, true.values(), strict=True):
        assert np.abs(part - cast.ratio).mean() < 4e-3
        assert (cast.ratio < 0.8).any()


def test_ground_nearer_to_the_sun_than_the_character_stays_lit(tmp_path: Path):
    shelf = slab((-0.5, -2, 2.0), (2, 2, 2.1), RECEIVER)  # above the ball
    scene = RayScene([ball(), shelf])
    (found,) = again(kept(tmp_path, scene, sunlight()), sunlight())
    assert (found == 1).all()


def test_nothing_that_receives_is_no_shadow(tmp_path: Path):
    scene = RayScene([ball()])
    casts = cast_shadows(scene, overhead(), sunlight(), {"Ball": ["character"]}, ground=False)
    keep(tmp_path / "cast.npz", casts, scene, overhead(), {"Ball": ["character"]})
    (found,) = again(KeptShadow.read(tmp_path / "cast.npz"), sunlight())
    assert found.shape == (160, 160, 3)
    assert (found == 1).all()


def test_joined_meshes_keep_their_outline_without_needless_detail():
    one = ball(radius=0.3)
    vertices, triangles = joined([(one.vertices, one.triangles), (one.vertices + 2, one.triangles)])
    assert len(triangles) == 2 * len(one.triangles)  # an even ball has no needless detail
    tiny = one.vertices * 1e-3
    _, fewer = joined([(one.vertices, one.triangles), (tiny, one.triangles)])
    assert len(fewer) < 1.2 * len(one.triangles)
    assert np.allclose([vertices.min(0), vertices.max(0)], [one.vertices.min(0), one.vertices.max(0) + 2])
