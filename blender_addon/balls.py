# SPDX-License-Identifier: GPL-3.0-or-later
"""A grey and a chrome ball in the light that was found, as pictures in the panel: how artists judge light."""

from __future__ import annotations

import bpy
import numpy as np

from ..backend.protocol import PenumbraError
from ..backend.rays.directions import COUNT, cell_shares
from ..backend.shading import formula
from . import passes, pictures, relight, scene_light
from .relight import Light

SIDE = 160  # pixels of a picture, as many as the panel shows on a display of high density
GREY = 0.5  # albedo of the grey ball
CHROME = 0.9  # what the chrome ball reflects
_SUN_SEEN = np.cos(np.radians(7.0))  # a sun's disc is drawn larger than it is, to be seen


def icons(scene: bpy.types.Scene, character: str) -> tuple[int, int] | None:
    """Icons of both balls in the light of a result as it is now; None where the light is not beside its images."""
    try:
        # Of one frame: a panel is drawn too often to look for the files of all.
        path = passes.result_folder(character) / f"probe_{passes.shown_frame(scene, character):04d}.json"
        probe = scene_light.read_probe(path)
    except (PenumbraError, OSError, ValueError):
        return None
    given = scene_light.is_given(scene, character)
    light = scene_light.light_now(scene, character, probe) if given else relight.changed(probe, relight.Change())
    stamp = path, path.stat().st_mtime_ns, repr(light.lamps).encode() + light.radiance.tobytes()
    grey_icon = pictures.icon(f"{character} grey", stamp, lambda: grey(light))
    return grey_icon, pictures.icon(f"{character} chrome", stamp, lambda: chrome(light))


def grey(light: Light) -> np.ndarray:
    """(SIDE, SIDE, 4) uint8, display-encoded picture of a grey ball, row 0 on top, as the camera sees it."""
    normals, inside = _ball()
    lit = formula.shade(light.radiance, light.constant, np.ones((len(normals), COUNT)), normals, light.lamps)
    return _picture(GREY * lit, inside)


def chrome(light: Light) -> np.ndarray:
    """The same of a chrome ball, which shows where the light comes from."""
    normals, inside = _ball()
    seen = 2 * normals[:, 2:] * normals - (0, 0, 1)  # the camera's direction, reflected
    radiance = cell_shares(seen) @ light.radiance + light.constant
    for lamp in light.lamps:
        radiance[seen @ lamp.direction > _SUN_SEEN] += 4 * lamp.irradiance
    return _picture(CHROME * radiance, inside)


def _ball() -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) normals, camera space, of the ball's pixels, and where these are in the picture, (SIDE, SIDE) bool."""
    across = (np.arange(SIDE) + 0.5) / (0.48 * SIDE) - 0.5 / 0.48
    x, y = np.meshgrid(across, -across)
    inside = x * x + y * y < 1
    return np.stack([x, y, np.sqrt(np.maximum(1 - x * x - y * y, 0))], -1)[inside], inside


def _picture(linear: np.ndarray, inside: np.ndarray) -> np.ndarray:
    clipped = np.clip(linear, 0, 1)
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    encoded = np.where(clipped < 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    picture[inside, :3], picture[inside, 3] = np.round(encoded * 255), 255
    return picture
