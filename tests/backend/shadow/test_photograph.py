# SPDX-License-Identifier: GPL-3.0-or-later
"""A shadow for an object in a lone photograph, from its files to its files."""

from __future__ import annotations

import dataclasses
import json
from functools import partialmethod
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.images import read_exr, srgb_decode, srgb_encode
from backend.protocol import GENERATED, PHYSICAL, PenumbraError
from backend.shadow import photograph, tone, viewpoint
from backend.shadow.generator import ShadowGenerator
from backend.shadow.photograph import Request, cast_in_photograph

from .posts import Post, post
from .tiny import save_networks

POST = post(200)
HORIZON = viewpoint.horizon_of(POST.camera)
FOCAL = POST.camera.projection[0, 0] / 2


def write_pictures(folder: Path, shown: Post = POST) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    composite = random.integers(90, 170, (*shown.mask.shape, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / "composite.png"), composite)
    cv2.imwrite(str(folder / "mask.png"), shown.mask.astype(np.uint8) * 255)
    return folder / "composite.png", folder / "mask.png"


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_the_shadow_lies_where_it_should_and_the_rest_stays_as_it_was(tmp_path: Path) -> None:
    light = POST.toward(20, 45)
    found = cast_in_photograph(Request(*write_pictures(tmp_path), light=tuple(3 * light), horizon=HORIZON, focal=FOCAL))
    true = POST.shadow(light)
    assert overlap(found.mask > 0.5, true) > 0.5
    assert np.median(found.ratio[(found.mask > 0.95)][:, 1]) == pytest.approx(1 - tone.DEPTH, abs=0.02)
    photograph.write(found, tmp_path / "out")
    before, after = (cv2.imread(str(p)) for p in (tmp_path / "composite.png", tmp_path / "out" / "image.png"))
    apart = (found.mask == 0) | POST.mask
    np.testing.assert_array_equal(before[apart], after[apart])
    assert (after[true & (found.mask > 0.9)] < before[true & (found.mask > 0.9)]).all()
    ratio = read_exr(tmp_path / "out" / "ratio.exr")
    assert ratio["R"].shape == POST.mask.shape
    assert ratio["R"].max() == 1
    facts = json.loads((tmp_path / "out" / "light.json").read_text())
    assert facts["elevation"] == pytest.approx(45, abs=0.5)
    assert facts["method"] == photograph.METHODS[PHYSICAL]
    assert cv2.imread(str(tmp_path / "out" / "explanation.png")).shape == (200, 400, 3)


def test_another_objects_shadow_tells_the_light(tmp_path: Path) -> None:
    light = POST.toward(160, 50)
    composite, mask = write_pictures(tmp_path)
    cv2.imwrite(str(tmp_path / "shadow.png"), POST.shadow(light).astype(np.uint8) * 255)
    found = cast_in_photograph(
        Request(composite, mask, like=(mask, tmp_path / "shadow.png"), horizon=HORIZON, focal=FOCAL)
    )
    assert np.degrees(np.arccos(found.light @ light)) < 8
    assert found.light_confidence > 0.6


def test_the_shadow_is_as_dark_as_the_other_one(tmp_path: Path) -> None:
    light = POST.toward(160, 50)
    composite, mask = write_pictures(tmp_path)
    other = POST.shadow(light)
    taken = np.array([0.5, 0.4, 0.3])
    linear = srgb_decode(cv2.imread(str(composite))[..., ::-1] / 255) * (1 - other[..., None] * taken)
    cv2.imwrite(str(composite), np.round(srgb_encode(linear)[..., ::-1] * 255).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "shadow.png"), other.astype(np.uint8) * 255)
    aside = tuple(POST.toward(20, 50))
    found = cast_in_photograph(
        Request(composite, mask, light=aside, like=(mask, tmp_path / "shadow.png"), horizon=HORIZON, focal=FOCAL)
    )
    deep = (found.mask > 0.95) & ~other
    np.testing.assert_allclose(np.median(found.ratio[deep], 0), 1 - taken, atol=0.06)
    assert (found.ratio[other] == 1).all()  # which has lost that light before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"light": (0.0, 0.0, 0.0)}, "no length"),
        ({"light": (0.3, -1.0, 0.2)}, "below the horizon"),
        ({"light": None}, "where the light comes from"),
        ({"horizon": 1.2}, "no ground under the object"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, change: dict, message: str) -> None:
    given = {"light": (0.3, 1.0, 0.2), "horizon": HORIZON, "focal": FOCAL, **change}
    with pytest.raises(PenumbraError, match=message):
        cast_in_photograph(Request(*write_pictures(tmp_path), **given), tmp_path / "no weights")


def test_bad_masks_are_named(tmp_path: Path) -> None:
    composite, mask = write_pictures(tmp_path)
    request = Request(composite, mask, light=(0.3, 1, 0.2))
    for picture, message in (
        (np.zeros((200, 200), np.uint8), "mask is empty"),
        (np.full((200, 200), 255, np.uint8), "covers the whole"),
        (np.zeros((100, 200), np.uint8), "200×100 pixels"),
    ):
        cv2.imwrite(str(mask), picture)
        with pytest.raises(PenumbraError, match=message):
            cast_in_photograph(request)


@pytest.mark.parametrize("kind", ["sixteen bits", "grey", "alpha", "narrow"])
def test_pictures_of_every_kind_are_taken(tmp_path: Path, kind: str) -> None:
    shown = post(64) if kind == "narrow" else POST
    composite, mask = write_pictures(tmp_path, shown)
    image = cv2.imread(str(composite))
    if kind == "sixteen bits":
        image = image.astype(np.uint16) * 257
    if kind == "grey":
        image = image[..., 0]
    if kind == "alpha":
        image = np.concatenate([image, np.full_like(image[..., :1], 255)], -1)
        cv2.imwrite(str(mask), np.concatenate([0 * image[..., :3], shown.mask[..., None].astype(np.uint8) * 255], -1))
    cv2.imwrite(str(composite), image)
    light = shown.toward(20, 45)
    found = cast_in_photograph(Request(composite, mask, light=tuple(light), horizon=HORIZON, focal=FOCAL))
    assert found.ratio.shape == (*shown.mask.shape, 3)
    assert overlap(found.mask > 0.5, shown.shadow(light)) > 0.35


def test_trained_networks_take_part_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShadowGenerator, "sample", partialmethod(ShadowGenerator.sample, steps=2))
    save_networks(tmp_path)
    light = tuple(POST.toward(20, 45))
    request = Request(*write_pictures(tmp_path), light=light, horizon=HORIZON, focal=FOCAL, shadow=GENERATED, samples=2)
    found = cast_in_photograph(request, tmp_path)
    assert found.method == photograph.METHODS[GENERATED]
    assert cast_in_photograph(dataclasses.replace(request, shadow=PHYSICAL), tmp_path).method != found.method
    assert found.ratio.shape == (200, 200, 3)
    assert 0 < found.ratio.min() < 1
    assert (found.ratio[POST.mask] == 1).all()  # the object is not repainted
    np.testing.assert_allclose(found.light, light)
    assert found.mask_confidence is not None
    assert 0 < found.mask_confidence < 1
    unlit = cast_in_photograph(dataclasses.replace(request, light=None), tmp_path)
    assert unlit.light_source == "predicted"
    assert unlit.light @ unlit.points.up > 0.04
    np.testing.assert_array_equal(cast_in_photograph(request, tmp_path).ratio, found.ratio)
    with pytest.raises(PenumbraError, match=r"no trained network for it .*--shadow physical"):
        cast_in_photograph(request, tmp_path / "no weights")
