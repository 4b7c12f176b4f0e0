# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures shadow generators and the predictors on tuples, BOS and BOS-free apart (the paper's section 4)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from tqdm import tqdm

from ..images import srgb_decode, srgb_encode
from ..protocol import PenumbraError
from . import losses, metrics, relief
from .examples import Batch, collate, example, guessed_points
from .full_resolution import agreement, enlarged
from .generated import draw, observe
from .generator import Conditions, ShadowGenerator
from .networks import SEEN, ShadowPredictors
from .pointmap import PointMap, standing
from .tone import CLEAR_DAY
from .tuples import ShadowTuple

SAMPLES = 5

Method = Callable[[ShadowTuple, int], tuple[np.ndarray, np.ndarray]]
"""Of a tuple, of whose answer it sees nothing, and a seed: picture (H, W, 3) and mask (H, W) uint8."""


def no_shadow(one: ShadowTuple, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The composite as it is."""
    return one.composite, np.zeros_like(one.object)


def prior_alone(one: ShadowTuple, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The traced shadow with the tuple's true light and points, of a clear day's depth: the bound of geometry alone.

    No shadow where the tuple has no light to trust.
    """
    if one.light is None or one.points is None:
        return no_shadow(one, seed)
    return _physical(one, relief.cast(one.points, one.object / 255, one.light))


def prior_on_guessed_ground(one: ShadowTuple, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As `prior_alone`, with the object standing on a level ground; the camera and the light are the true ones."""
    if one.light is None or one.points is None:
        return no_shadow(one, seed)
    try:
        points = standing(one.points.camera, one.object / 255)
    except PenumbraError:
        return no_shadow(one, seed)
    return _physical(one, relief.cast(points, one.object / 255, one.light))


def by_mask(predictors: ShadowPredictors) -> Method:
    """The corrected mask, of a clear day's depth."""

    def make(one: ShadowTuple, seed: int) -> tuple[np.ndarray, np.ndarray]:
        c = observe(predictors, one.composite / 255, one.object / 255, _points(one), SEEN)
        return _physical(one, cv2.resize(c.mask[0, 0].numpy(), one.object.shape[::-1]))

    return make


def by_generator(predictors: ShadowPredictors, generator: ShadowGenerator, told: str = "") -> Method:
    """The generator, at the tuple's size as in use: guided by the prior where the generator is told its mask.

    told: "ungated", as if the predictors were sure of all they say; "oracle", the true mask, and the light where known.
    """

    def observed(one: ShadowTuple) -> Conditions:
        light = one.light if told == "oracle" else None
        c = observe(predictors, one.composite / 255, one.object / 255, _points(one), generator.config.size, light)
        if told == "oracle":
            c = dataclasses.replace(c, mask=collate([example(one, generator.config.size)]).shadow)
        return c.without(["confidences"]) if told else c

    latest: list[tuple[ShadowTuple, Conditions]] = []  # however many samples, the predictors look once, as in use

    def make(one: ShadowTuple, seed: int) -> tuple[np.ndarray, np.ndarray]:
        points, object_ = _points(one), one.object / 255
        if not latest or latest[0][0] is not one:
            latest[:] = [(one, observed(one))]
        c = latest[0][1]
        ratio, mask = draw(generator, c, 1, seed)
        hidden, trust = np.zeros_like(object_), 0.0
        if "mask" not in generator.config.without:
            hidden = relief.cast(points, object_, c.light[0].numpy()) * (1 - object_)
            trust = agreement(hidden, c.mask[0, 0].numpy())
        ratio, mask = enlarged(ratio, mask, hidden.astype(np.float32), trust)
        return _shaded(one, ratio), np.round(mask * (one.object <= 127) * 255).astype(np.uint8)

    return make


def evaluate(data: Sequence[ShadowTuple], methods: dict[str, Method], seeded: Sequence[str] = ()) -> list[dict]:
    """One row a method, a split (BOS, BOS-free) and a way to take its samples: the best of five by LSSIM, as the paper
    reports, and the mean of five, as the public code does.

    seeded: the methods whose samples differ; the others are asked once. Rows have "method", "split", "images",
    "seconds" a case, and `metrics.METRICS`.
    """
    measured: dict[tuple[str, str], list[list[dict[str, float]]]] = {}
    seconds: dict[str, float] = dict.fromkeys(methods, 0.0)
    for one in tqdm(data, unit="tuple"):
        split = "BOS" if one.bos else "BOS-free"
        for name, method in methods.items():
            samples = []
            for seed in range(SAMPLES if name in seeded else 1):
                started = time.perf_counter()
                picture, mask = method(one, seed)
                seconds[name] += time.perf_counter() - started
                samples.append(metrics.measure(one.target, one.shadow, picture, mask))
            measured.setdefault((name, split), []).append(samples)
    rows = []
    for (name, split), cases in measured.items():
        facts = {"split": split, "images": len(cases), "seconds": seconds[name] / len(data)}
        if name in seeded:
            best = metrics.means([metrics.best_by_lssim(samples) for samples in cases])
            rows.append({"method": f"{name}, best of {SAMPLES}", **facts, **best})
            name = f"{name}, mean of {SAMPLES}"
        rows.append({"method": name, **facts, **metrics.means([s for samples in cases for s in samples])})
    return sorted(rows, key=lambda row: row["split"])


def evaluate_predictors(data: Sequence[ShadowTuple], predictors: ShadowPredictors) -> list[dict]:
    """Tables 2 to 4: one row a split. Light error in degrees (median and 90th percentile) where the light is known, the
    mask's Dice error, each confidence's rank correlation with its error, and the errors of its top and bottom 20 %.

    "light guess p50" is the median error of the one direction that is guessed best for all of the split.
    """
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    lights: dict[str, list[np.ndarray]] = {}
    for one in tqdm(data, unit="tuple"):
        batch: Batch = collate([example(one, SEEN)])
        with torch.no_grad():
            p = predictors(batch.composite, batch.object, batch.points, batch.valid)
        cosine = float((p.light * batch.light).sum().clamp(-1, 1))
        degrees = np.degrees(np.arccos(cosine)) if one.light is not None else np.nan
        error = float(losses.dice_error((p.mask > 0.5).float(), batch.shadow))
        values = (degrees, error, float(p.light_quality), float(p.mask_quality))
        split = "BOS" if one.bos else "BOS-free"
        found.setdefault(split, []).append(values)
        lights.setdefault(split, []).extend([] if one.light is None else [one.light])
    return [
        {"split": split, **_predictor_row(np.array(values), np.array(lights[split]))}
        for split, values in sorted(found.items())
    ]


def _predictor_row(values: np.ndarray, lights: np.ndarray) -> dict[str, float]:
    degrees, error, light_quality, mask_quality = values.T
    known = ~np.isnan(degrees)
    row: dict[str, float] = {"images": len(values), "lights": int(known.sum())}
    if known.any():
        row |= {"light p50": float(np.median(degrees[known])), "light p90": float(np.quantile(degrees[known], 0.9))}
        guess = lights.mean(0) / max(float(np.linalg.norm(lights.mean(0))), 1e-9)
        row["light guess p50"] = float(np.median(np.degrees(np.arccos(np.clip(lights @ guess, -1, 1)))))
        row |= _confidence("light", light_quality[known], degrees[known])
    row |= {"mask p50": float(np.median(error)), "mask p90": float(np.quantile(error, 0.9))}
    return row | _confidence("mask", mask_quality, error)


def _confidence(name: str, quality: np.ndarray, error: np.ndarray) -> dict[str, float]:
    if len(quality) < 5:
        return {}
    order = np.argsort(-quality)
    fifth = max(1, len(order) // 5)
    ranks = (np.argsort(np.argsort(v)) for v in (quality, error))
    return {
        f"{name} correlation": float(np.corrcoef(*ranks)[0, 1]),
        f"{name} top 20": float(error[order[:fifth]].mean()),
        f"{name} bottom 20": float(error[order[-fifth:]].mean()),
    }


def results_table(rows: list[dict]) -> str:
    """The rows as a Markdown table; a figure that a row lacks is left blank."""
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "split"))
    lines = [f"| {' | '.join(columns)} |", "|" + "|".join("---:" if c != "method" else "---" for c in columns) + "|"]
    for row in rows:
        cells = [row.get(c, "") for c in columns]
        lines.append("| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in cells) + " |")
    return "\n".join(lines) + "\n"


def _points(one: ShadowTuple) -> PointMap:
    """The tuple's own, or the level ground that a lone photograph is taken for."""
    return one.points or guessed_points(one, one.object > 127, one.composite.astype(np.float32) / 255)


def _physical(one: ShadowTuple, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture darkened where light is hidden (H, W), the object excepted, and its mask."""
    hidden = np.where(one.object > 127, 0, hidden)
    ratio = 1 - hidden[..., None] * CLEAR_DAY
    return _shaded(one, ratio), np.round(hidden * 255).astype(np.uint8)


def _shaded(one: ShadowTuple, ratio: np.ndarray) -> np.ndarray:
    """The composite with a ratio (H, W, 3) applied, but on the object."""
    linear = srgb_decode(one.composite.astype(np.float32) / 255) * np.where(one.object[..., None] > 127, 1, ratio)
    return np.round(srgb_encode(linear) * 255).astype(np.uint8)
