# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of shadow generators, and of what the predictors say of themselves."""

from __future__ import annotations

import argparse
import dataclasses
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.shadow import evaluate, metrics
from backend.shadow.generated import PREDICTORS, load_predictors, observe
from backend.shadow.generator import GeneratorConfig, ShadowGenerator
from backend.shadow.losses import dice_error
from backend.shadow.networks import PredictorConfig, ShadowPredictors
from backend.shadow.tuples import Shards
from backend.weights import WEIGHTS
from scripts import shadow_dataset

from .posts import tuples

TINY = PredictorConfig(depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), coarse=8, fine=8, quality=8)


def test_better_methods_score_better_and_samples_are_taken_both_ways() -> None:
    data = [dataclasses.replace(one, bos=n % 2 == 0) for n, one in enumerate(tuples(64)[:4])]

    def by_luck(one, seed: int):
        return (one.target, one.shadow) if seed == 3 else evaluate.no_shadow(one, seed)

    methods = {"none": evaluate.no_shadow, "prior": evaluate.prior_alone, "luck": by_luck}
    rows = evaluate.evaluate(data, methods, seeded=["luck"])
    row = {(r["method"], r["split"]): r for r in rows}
    assert len(rows) == 8
    assert row["none", "BOS"]["images"] == 2
    assert row["none", "BOS"]["LBER"] == 1
    assert row["prior", "BOS"]["LBER"] < 0.6
    assert row["prior", "BOS"]["LRMSE"] < row["none", "BOS"]["LRMSE"]
    assert row["luck, best of 5", "BOS-free"]["LBER"] == 0
    assert row["luck, mean of 5", "BOS-free"]["LBER"] == pytest.approx(0.8)
    assert set(metrics.METRICS) < set(rows[0])
    assert evaluate.results_table(rows).count("\n") == 10


def test_a_confidence_that_knows_its_error_ranks_it() -> None:
    error = np.linspace(0, 1, 10)
    found = evaluate._confidence("mask", 1 - error**2, error)
    assert found["mask correlation"] == pytest.approx(-1)
    assert found["mask top 20"] == pytest.approx(error[:2].mean())
    assert found["mask bottom 20"] == pytest.approx(error[-2:].mean())
    rows = evaluate.evaluate_predictors(tuples(32), ShadowPredictors(TINY))
    assert rows[0]["split"] == "BOS-free"
    assert rows[0]["lights"] == 4
    assert 0 <= rows[0]["mask p50"] <= 1
    assert 0 <= rows[0]["light p50"] <= 180


def test_the_bundled_predictors_see_light_and_shadow_in_unseen_scenes(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    shadow_dataset.add_arguments(parser)
    asked = ["--tier", "traced", "--split", "test", "--tuples", "24", "--size", "128", "--out", str(tmp_path)]
    shadow_dataset.make(parser.parse_args(asked))
    predictors = load_predictors(WEIGHTS / PREDICTORS)
    data = [one for one in Shards([tmp_path]) if one.light is not None]
    found, straight_up, overlaps = [], [], []
    for one in data:
        c = observe(predictors, one.composite / 255, one.object / 255, one.points, 128)
        found.append(c.light[0].numpy() @ one.light)
        straight_up.append(one.points.up @ one.light)
        true = torch.from_numpy(one.shadow[None, None] > 127).float()
        overlaps.append(1 - float(dice_error((c.mask > 0.5).float(), true)))
    assert np.median(straight_up) < np.cos(np.radians(35)) < np.median(found)
    assert np.median(overlaps) > 0.4


def test_the_generator_is_measured_as_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShadowGenerator, "sample", partialmethod(ShadowGenerator.sample, steps=2))
    torch.manual_seed(0)
    predictors = ShadowPredictors(TINY).eval()
    one = tuples(64)[0]
    small = GeneratorConfig(size=32, widths=(8, 16), prompt=8, token_width=8, post=8, heads=2)
    plain = dataclasses.replace(small, without=("points", "mask", "light", "confidences"))
    made = {}
    for name, config, told in (("full", small, ""), ("oracle", small, "oracle"), ("plain", plain, "")):
        torch.manual_seed(1)
        generator = ShadowGenerator.small(config).eval()
        picture, mask = evaluate.by_generator(predictors, generator, told)(one, seed=0)
        assert picture.dtype == mask.dtype == np.uint8
        np.testing.assert_array_equal(picture[mask == 0], one.composite[mask == 0])
        assert not mask[one.object > 127].any()
        made[name] = picture
    assert (made["full"] != made["oracle"]).any()
    assert (made["full"] != made["plain"]).any()
