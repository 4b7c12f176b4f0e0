# SPDX-License-Identifier: GPL-3.0-or-later
"""The balls in the panel show the light from the side that it comes from, and follow it."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.backend.rays.directions import RICS_DIRECTIONS
from penumbra.blender_addon import balls, pictures, relight

UPRIGHT = ((1, 0, 0), (0, 0, -1), (0, 1, 0))  # a camera that looks along the world's +y


def probe(direction: tuple[float, float, float]) -> dict[str, object]:
    """Even light of 0.2, and a warm sun."""
    sun = {"direction": direction, "irradiance": [1.0, 0.8, 0.5], "half_angle": 0.01}
    even = np.full((len(RICS_DIRECTIONS), 3), 0.2).tolist()
    return {"radiance": even, "constant": [0, 0, 0], "suns": [sun], "world_from_camera": UPRIGHT}


def where(picture: np.ndarray) -> np.ndarray:
    """(2,) mean place, right and up from the middle in radii, of the brightest pixels, a five hundredth of all."""
    bright = picture[..., 0] >= np.quantile(picture[..., 0], 0.998)
    row, column = np.nonzero(bright)
    middle = (balls.SIDE - 1) / 2
    return np.array([column.mean() - middle, middle - row.mean()]) / (0.48 * balls.SIDE)


@pytest.mark.parametrize("direction", [(0.6, 0.0, 0.8), (-0.6, 0.64, 0.48)])
def test_grey_is_brightest_toward_the_sun_and_chrome_half_as_far_aside(direction) -> None:
    light = relight.changed(probe(direction), relight.Change())
    np.testing.assert_allclose(where(balls.grey(light)), direction[:2], atol=0.12)
    half = np.array(direction) + np.array((0, 0, 1))
    np.testing.assert_allclose(where(balls.chrome(light)), (half / np.linalg.norm(half))[:2], atol=0.05)


def test_even_light_of_one_makes_the_grey_ball_its_albedo() -> None:
    even = relight.Light(np.ones((62, 3), np.float32), np.zeros(3, np.float32), ())
    picture = balls.grey(even)
    shown = picture[picture[..., 3] > 0][:, :3] / 255
    np.testing.assert_allclose(shown, 0.7354, atol=0.015)  # sRGB of 0.5
    assert not picture[0, 0].any()


def test_the_icons_change_with_the_light(harmonized_by, scene: bpy.types.Scene, tmp_path: Path) -> None:
    assert balls.icons(scene, "Rig") is None
    harmonized_by("render")
    bpy.ops.penumbra.harmonize()
    path = tmp_path / "penumbra" / "Rig" / "probe_0001.json"
    seen = []
    for direction in ((0.6, 0.0, 0.8), (-0.6, 0.0, 0.8)):
        path.write_text(json.dumps(probe(direction)))
        assert balls.icons(scene, "Rig")
        preview = pictures._collection["Rig grey"]
        seen.append(np.array(preview.image_pixels_float).reshape(balls.SIDE, balls.SIDE, 4)[::-1])
    assert where(seen[0])[0] > 0.3 > -0.3 > where(seen[1])[0]
    path.unlink()
    assert balls.icons(scene, "Rig") is None
