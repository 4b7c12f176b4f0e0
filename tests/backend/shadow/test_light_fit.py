# SPDX-License-Identifier: GPL-3.0-or-later
"""The soft prior, the traced solid, and the light that an object and its shadow tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.protocol import PenumbraError
from backend.shadow import light_fit, relief
from backend.shadow.pointmap import standing
from backend.shadow.prior import soft_prior

from .posts import post

POST = post()
LIGHTS = [(azimuth, elevation) for azimuth in (10, 75, 160, 250, 320) for elevation in (42, 60)]


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / (found | true).sum())


def test_the_prior_lies_where_the_shadow_lies() -> None:
    for azimuth, elevation in ((20, 40), (160, 40)):
        light = POST.toward(azimuth, elevation)
        small = POST.points.resized(64, 64)
        mask = torch.tensor(POST.mask).float()[None, None]
        mask = torch.nn.functional.interpolate(mask, (64, 64))
        points = torch.tensor(small.points).permute(2, 0, 1)[None]
        valid = torch.tensor(small.valid)[None, None]
        prior = soft_prior(points, mask, valid, torch.tensor(light, dtype=torch.float32)[None])[0, 0].numpy()
        true = torch.nn.functional.interpolate(torch.tensor(POST.shadow(light)).float()[None, None], (64, 64))[
            0, 0
        ].numpy()
        inside, outside = prior[true > 0.5], prior[(true < 0.5) & small.valid]
        assert np.median(inside) > 0.5
        assert outside.mean() < 0.12
        assert prior.max() < 1
        assert not prior[mask[0, 0].numpy() > 0.5].any()


def test_the_prior_of_a_batch_is_that_of_each() -> None:
    small = POST.points.resized(64, 64)
    points = torch.tensor(small.points).permute(2, 0, 1)[None].expand(2, -1, -1, -1).contiguous()
    mask = torch.nn.functional.interpolate(torch.tensor(POST.mask).float()[None, None], (64, 64)).repeat(2, 1, 1, 1)
    mask[1] = 0
    valid = torch.tensor(small.valid)[None, None].expand(2, -1, -1, -1)
    light = torch.tensor(np.stack([POST.toward(20, 40), POST.toward(99, 30)]), dtype=torch.float32)
    both = soft_prior(points, mask, valid, light)
    one = soft_prior(points[:1], mask[:1], valid[:1], light[:1])
    torch.testing.assert_close(both[:1], one)
    assert not both[1].any()  # no object, no shadow


@pytest.mark.parametrize(("azimuth", "elevation"), LIGHTS[::3])
def test_a_solid_made_of_the_picture_casts_the_true_shadow(azimuth: float, elevation: float) -> None:
    light = POST.toward(azimuth, elevation)
    found = relief.cast(POST.points, POST.mask, light, 0.001) > 0.5
    true = POST.shadow(light)
    seen = ~POST.mask & POST.points.valid
    assert overlap(found & seen, true & seen) > 0.7
    assert overlap((relief.cast(standing(POST.camera, POST.mask), POST.mask, light, 0.001) > 0.5) & seen, true) > 0.45


def test_a_wide_light_softens_the_far_end_only() -> None:
    light = POST.toward(30, 30)
    sharp, soft = (relief.cast(POST.points, POST.mask, light, h) for h in (0.001, 0.08))
    between = (soft > 0.1) & (soft < 0.9)
    assert between.sum() > 2 * ((sharp > 0.1) & (sharp < 0.9)).sum()
    assert soft.sum() == pytest.approx(sharp.sum(), rel=0.1)


def test_a_shadow_tells_the_light_from_exact_and_from_guessed_points() -> None:
    exact, guessed = [], []
    for azimuth, elevation in LIGHTS:
        light = POST.toward(azimuth, elevation)
        shadow = POST.shadow(light)
        fit = light_fit.fit_light(POST.points, POST.mask, shadow)
        exact.append(angle(fit.direction, light))
        assert fit.trusted
        guessed.append(angle(light_fit.fit_light(standing(POST.camera, POST.mask), POST.mask, shadow).direction, light))
    assert np.median(exact) < 2, exact
    assert max(exact) < 8, exact
    assert np.median(guessed) < 6, guessed


def test_a_shadow_of_something_else_is_not_trusted() -> None:
    disc = np.zeros_like(POST.mask)
    disc[118:150, 10:44] = True
    assert light_fit.fit_light(POST.points, POST.mask, disc).overlap < light_fit.TRUSTED
    with pytest.raises(PenumbraError, match="too small"):
        light_fit.fit_light(POST.points, POST.mask, np.zeros_like(POST.mask))


def test_a_plane_is_found_and_faces_up() -> None:
    random = np.random.default_rng(1)
    normal = np.array([0.2, 0.9, 0.3]) / np.linalg.norm([0.2, 0.9, 0.3])
    points = random.normal(size=(500, 3)) * [2, 1, 2]
    points -= (points @ normal)[:, None] * normal
    plane = light_fit.fit_plane(points + 5, np.array([0, 1.0, 0]))
    assert plane.normal @ normal > 0.9999
    np.testing.assert_allclose(plane.unit(np.array([1.0, 2, 3])) @ plane.normal, 3)
    np.testing.assert_allclose(plane.flat(plane.centre + 2 * plane.axes[1]), [0, 2], atol=1e-12)
