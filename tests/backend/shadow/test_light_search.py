# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for the light: what directions would show of a post on level ground, and what it learns from that."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.shading.probe_fit import fibonacci_sphere
from backend.shadow import losses, train
from backend.shadow.examples import Batch, collate, example
from backend.shadow.light_search import DIRECTIONS, SIDE, Surfaces, agreements, shown_by, views
from backend.shadow.networks import PredictorConfig, ShadowPredictors, hint

from .posts import Post, post, tuples

TINY = PredictorConfig(depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), coarse=8, fine=8, quality=8)


@pytest.fixture(scope="module")
def shown() -> Post:
    return post(SIDE)


def seen(post: Post, object_: np.ndarray) -> Surfaces:
    points, valid = torch.from_numpy(post.points.points).permute(2, 0, 1)[None], torch.from_numpy(post.points.valid)
    mask = torch.from_numpy(object_)[None, None].float()
    return Surfaces.of(hint(torch.full((1, 3, SIDE, SIDE), 0.5), mask, points.float(), valid[None, None].float()))


@pytest.mark.parametrize("azimuth", [20, 160, 200, 340])
def test_what_stands_in_a_picture_hides_the_light_where_its_shadow_would_lie(shown: Post, azimuth: int) -> None:
    light = shown.toward(azimuth, 40)
    directions = torch.tensor(light, dtype=torch.float32)[None, None]
    nothing = np.zeros_like(shown.mask)
    nothing[0, 0] = True  # an object that is no part of this, for H's unit of length
    facing, thin, thick, hidden = (m.numpy() for m in shown_by(seen(shown, nothing), directions)[0, 0])
    ground = shown.points.valid & ~shown.mask
    true = shown.shadow(light)
    assert np.quantile(np.abs(facing[ground] - shown.points.up @ light), 0.99) < 0.01
    for shadow, most in ((thin < 0.5 * facing, 2), (hidden > 0.5, 3)):  # the post may be taken for thicker than it is
        assert (shadow & true)[ground].sum() > 0.6 * true.sum()
        assert shadow[ground].sum() < most * true.sum()
    assert (thin >= thick).all()
    assert (facing >= thin).all()
    own = shown_by(seen(shown, shown.mask), directions)[0, 0, 3].numpy()
    assert not own[ground].any()  # the composite lacks the object's shadow
    assert np.abs(own - hidden)[shown.mask].mean() < 0.02  # but has that on itself


@pytest.mark.parametrize("azimuth", [30, 150, 250])
@pytest.mark.parametrize("standing", [True, False])
def test_shading_and_others_shadows_agree_best_with_their_own_light(shown: Post, azimuth: int, standing: bool) -> None:
    """The post as the object, shaded; or as what stands there already, whose shadow alone is seen."""
    light = shown.toward(azimuth, 50)
    nothing = np.zeros_like(shown.mask)
    nothing[0, 0] = True
    surfaces = seen(shown, shown.mask if standing else nothing)
    bright = torch.from_numpy(np.where(shown.shadow(light), -1, 0).astype(np.float32))
    if standing:
        facing, *_ = shown_by(surfaces, torch.tensor(light, dtype=torch.float32)[None, None])[0, 0]
        bright = torch.where(torch.from_numpy(shown.mask), (0.3 + facing).log(), -0.5)
    around = torch.tensor(fibonacci_sphere(DIRECTIONS), dtype=torch.float32)[None]
    agreed = agreements(bright[None, None], surfaces.regions, shown_by(surfaces, around))[0].sum(1)
    above = around[0] @ torch.tensor(shown.points.up, dtype=torch.float32) > 0.05
    best = around[0, (agreed * above).argmax()].numpy()
    assert np.degrees(np.arccos(best @ light)) < 25  # directions are 14° apart


def test_the_camera_is_found_by_its_points(shown: Post) -> None:
    s = seen(shown, shown.mask)
    factor_x, offset_x, factor_y, offset_y = s.lens[0].tolist()
    assert (offset_x, offset_y) == pytest.approx((SIDE / 2 - 0.5,) * 2, abs=0.05)
    projected = SIDE / 2 * shown.camera.projection[0, 0]
    assert (factor_x, -factor_y) == pytest.approx((projected, projected), rel=0.01)


def test_the_object_is_seen_nearer(shown: Post) -> None:
    points = torch.from_numpy(shown.points.points).permute(2, 0, 1)[None].float()
    mask, valid = torch.from_numpy(shown.mask)[None, None].float(), torch.from_numpy(shown.points.valid)[None, None]
    far, near = Surfaces.of(views(hint(torch.full((1, 3, SIDE, SIDE), 0.5), mask, points, valid.float()))).regions[0]
    assert 1.5 * far.mean() < near.mean() < 1
    rows = torch.nonzero(near[0].any(1))[:, 0]
    assert len(rows) > 0.75 * SIDE


def test_the_search_learns_from_shadows_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    """The post stands there already, with its shadow, and nothing else tells the light."""
    cases = []
    for one in tuples(SIDE):
        plain = np.where(one.shadow[..., None] > 127, 60, 150).astype(np.uint8).repeat(3, -1)
        there = np.zeros_like(one.object)
        there[:2, :2] = 255
        cases.append(dataclasses.replace(one, composite=plain, object=there))
    batch: Batch = collate([example(case, SIDE) for case in cases])
    torch.manual_seed(0)
    predictors = ShadowPredictors(TINY)
    fixed = {name: value.clone() for name, value in predictors.state_dict().items()}
    plan = train.Plan(stage=4, size=SIDE, steps=60, batch=4, rate=1e-2, average=0.9)
    trainer = train.Trainer(plan, tmp_path, torch.device("cpu"), predictors.searching())
    lost = [float(trainer.train_step(batch)["search"]) for _ in range(60)]
    print(np.round(lost, 2))
    assert np.mean(lost[-10:]) < 0.5 * np.mean(lost[:10])
    learned = trainer.exported()
    with torch.no_grad():
        told = learned(batch.composite, batch.object, batch.points, batch.valid)
        given = learned(batch.composite, batch.object, batch.points, batch.valid, light=batch.light)
    degrees = torch.rad2deg((told.light * batch.light).sum(1).clamp(-1, 1).acos())
    assert degrees.median() < 25
    assert ((told.light_quality > 0) & (told.light_quality <= 1)).all()
    assert (given.light == batch.light).all()
    for name, value in fixed.items():
        torch.testing.assert_close(learned.state_dict()[name], value)


def test_the_searchs_loss_is_least_for_the_true_light() -> None:
    directions = torch.eye(3)[None]
    true, known = torch.tensor([[0, 0, 1.0]]), torch.ones(1)
    likely = losses.search_loss(losses.SHARP * directions @ true[0], directions, true, known)
    assert likely == pytest.approx(0, abs=1e-6)
    assert losses.search_loss(torch.zeros(1, 3), directions, true, known) == pytest.approx(np.log(3), rel=1e-4)
    assert losses.search_loss(torch.zeros(1, 3), directions, true, 0 * known) == 0
