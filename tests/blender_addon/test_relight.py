# SPDX-License-Identifier: GPL-3.0-or-later
"""Lighting again without the backend: neutral changes nothing, a turned light turns the right way, edges are filled."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.backend.rays.directions import RICS_DIRECTIONS
from penumbra.blender_addon import passes, preferences, relight
from penumbra.blender_addon.relight import Change

from tests.blender_addon import pixels

UPRIGHT = ((1, 0, 0), (0, 0, -1), (0, 1, 0))  # a camera that looks along the world's +y, z up: columns x, y, z


def probe(suns: tuple[dict[str, object], ...] = (), radiance: np.ndarray | None = None) -> dict[str, object]:
    cells = np.zeros((62, 3)) if radiance is None else radiance
    return {"radiance": cells.tolist(), "constant": [0, 0, 0], "suns": list(suns), "world_from_camera": UPRIGHT}


def from_right(strength: float = 1.0) -> dict[str, object]:
    return {"direction": [1, 0, 0], "irradiance": [strength] * 3, "half_angle": 0.01}


NORMALS = np.float32([(1, 0, 0), (-1, 0, 0), (0, 0, 1), (0, 1, 0)])  # right, left, toward the camera, up
OPEN = np.ones((4, 62), np.float32)


def shade(light: dict[str, object], normals: np.ndarray, cells: np.ndarray, suns: np.ndarray, change: Change):
    """(N, 3) shading of points with these visibilities in [0, 1]."""
    nothing = np.zeros(0, int)
    share = [np.round(255 * part).astype(np.uint8) for part in (cells, suns)]
    black = np.zeros_like(normals)  # throws no light on itself
    kept = relight.Kept(light, np.ones((1, len(normals)), bool), normals, black, *share, nothing, nothing)
    return kept.shade(relight.changed(light, change))


def test_a_quarter_turn_brings_the_light_from_the_right_behind_the_scene() -> None:
    """Anticlockwise from above, +x becomes +y, which is away from this camera; the other way, toward it."""
    sun, seen = probe((from_right(),)), np.ones((4, 1), np.float32)
    np.testing.assert_allclose(shade(sun, NORMALS, OPEN, seen, Change())[:, 0], (1, 0, 0, 0), atol=1e-6)
    away = shade(sun, NORMALS, OPEN, seen, Change(turn=np.pi / 2))
    np.testing.assert_allclose(away[:, 0], (0, 0, 0, 0), atol=1e-6)
    toward = shade(sun, NORMALS, OPEN, seen, Change(turn=-np.pi / 2))
    np.testing.assert_allclose(toward[:, 0], (0, 0, 1, 0), atol=1e-6)


def test_cells_turn_like_suns() -> None:
    light = np.zeros((62, 3))
    light[np.argmax(RICS_DIRECTIONS @ (1, 0, 0))] = 10
    shaded = shade(probe(radiance=light), NORMALS, OPEN, np.zeros((4, 0)), Change(turn=-np.pi / 2))[:, 0]
    assert shaded[2] > 3 * max(shaded[0], shaded[1])


def test_a_sun_casts_its_shadow_with_all_of_its_light_and_shades_with_what_stands_there() -> None:
    spread = np.random.default_rng(0).uniform(0, 0.1, (62, 3))
    found = probe(({**from_right(), "whole": 1.4},), 0.3 + spread) | {"spread": spread.tolist()}
    for change, sky, sun in ((Change(), 0.3, 1.4), (Change(sky=0.5, sun=2), 0.15, 2.8), (Change(turn=1), 0.3, 1.4)):
        light = relight.changed(found, change).gathered
        np.testing.assert_allclose(light.radiance, sky, atol=1e-5)
        np.testing.assert_allclose(light.lamps[0].irradiance, sun, rtol=1e-5)


def test_what_is_hidden_from_the_turned_sun_stays_dark() -> None:
    hidden = OPEN.copy()
    hidden[:, RICS_DIRECTIONS[:, 2] > 0.4] = 0  # nothing arrives from the camera's side
    shaded = shade(probe((from_right(),)), NORMALS, hidden, np.ones((4, 1)), Change(turn=-np.pi / 2))
    assert shaded[2, 0] < 0.05


def test_strength_and_colour() -> None:
    sun = probe((from_right(2.0),), radiance=np.ones((62, 3)))
    whole = shade(sun, NORMALS, OPEN, np.ones((4, 1)), Change())
    no_sun = shade(sun, NORMALS, OPEN, np.ones((4, 1)), Change(sun=0))
    np.testing.assert_allclose(whole[0] - no_sun[0], 2, atol=1e-5)
    red = shade(sun, NORMALS, OPEN, np.ones((4, 1)), Change(colour=(1, 0, 0)))
    np.testing.assert_allclose(red[:, 0], whole[:, 0], atol=1e-6)
    assert not red[:, 1:].any()


def test_the_operator_writes_beside_and_goes_back(harmonized_by, scene, tmp_path: Path, monkeypatch) -> None:
    harmonized_by("render")
    bpy.ops.penumbra.harmonize()
    monkeypatch.setattr(preferences, "backend", lambda: pytest.fail("no backend is needed"))
    (tmp_path / "penumbra" / "Rig" / "rics_0001.npz").unlink()
    with pytest.raises(RuntimeError, match="not beside its images"):
        bpy.ops.penumbra.relight(sky=0.5)
    folder, shape = tmp_path / "penumbra" / "Rig", (64, 96)
    valid = np.zeros(shape, bool)
    valid[20:40, 30:60] = True
    count = int(valid.sum())
    kept = {"normals": np.tile(np.float16((0, 0, 1)), (count, 1)), "cells": np.full((count, 62), 255, np.uint8)}
    np.savez(folder / "rics_0001.npz", valid=valid, suns=np.zeros((count, 0), np.uint8), **kept)
    (folder / "probe_0001.json").write_text(json.dumps(probe(radiance=np.full((62, 3), 0.8))))
    found = (folder / "shading_0001.exr").read_bytes()
    assert bpy.ops.penumbra.relight(sky=0.5) == {"FINISHED"}
    image = passes.role_image("Rig", "shading")
    assert image.filepath.endswith("relit_0001.exr")
    relit = pixels.load(folder / "relit_0001.exr")[..., :3]
    np.testing.assert_allclose(relit[valid], 0.4, rtol=0.05)
    np.testing.assert_allclose(relit[19, 30:60], relit[20, 30:60], rtol=1e-3, err_msg="the edge is filled")
    assert bpy.ops.penumbra.relight() == {"FINISHED"}
    assert image.filepath.endswith("shading_0001.exr")
    assert (folder / "shading_0001.exr").read_bytes() == found
