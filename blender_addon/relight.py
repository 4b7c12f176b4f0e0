# SPDX-License-Identifier: GPL-3.0-or-later
"""Lighting an earlier result again, without the backend: the light that was found is turned, dimmed or coloured.

The shading is the light probe's formula over the visibility that the result keeps. The shadow on the plate would need
rays, and stays as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..backend.protocol import PenumbraError, replacing
from ..backend.rays.directions import RICS_DIRECTIONS, cell_shares
from ..backend.shading import formula
from . import passes
from . import plate as plates

RELIT = "relit"
EDGE = 8  # pixels of coverage beyond the traced ones that take their neighbours' shading


@dataclass(frozen=True)
class Change:
    """What is done to the light.

    turn: radians about the world's z axis, anticlockwise from above. sky, sun: factors. colour: RGB factors of both.
    """

    turn: float = 0.0
    sky: float = 1.0
    sun: float = 1.0
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class _Sun:
    direction: np.ndarray
    irradiance: np.ndarray


def relight(scene: bpy.types.Scene, character: str, change: Change) -> int:
    """Light all frames of a character's result again; returns how many. Raises PenumbraError."""
    node = passes.result_node(scene, character)
    image = passes.role_image(character, "shading")
    folder = Path(bpy.path.abspath(image.filepath)).parent if image else None
    frames = list(node.node_tree[passes.FRAMES]) if node else []
    if node is None or image is None or folder is None or not frames:
        raise PenumbraError(f"“{character}” has no result.", "Run Harmonize Shading first.")
    missing = [number for number in frames if not (folder / f"rics_{number:04d}.npz").is_file()]
    if missing or image.packed_file:
        raise PenumbraError(
            "What re-lighting needs is not beside the images of this result.",
            "Save the .blend file, and run Harmonize Shading once more.",
        )
    neutral = change == Change()
    for number in [] if neutral else frames:
        with replacing(folder / f"{RELIT}_{number:04d}.exr") as partial:
            plates.write_exr(partial, _frame(folder, number, change))
    name = "shading" if neutral else RELIT
    shown = Path(image.filepath).stem.rpartition("_")[2]
    image.filepath = image.filepath[: -len(Path(image.filepath).name)] + f"{name}_{shown}.exr"
    image.reload()
    return len(frames)


def _frame(folder: Path, number: int, change: Change) -> np.ndarray:
    """(H, W, 4) shading of one frame under the changed light, 1 outside the character's coverage."""
    probe = json.loads((folder / f"probe_{number:04d}.json").read_text("utf-8"))
    with np.load(folder / f"rics_{number:04d}.npz", allow_pickle=False) as kept:
        valid, normals = kept["valid"], kept["normals"].astype(np.float32)
        cells, suns = kept["cells"].astype(np.float32) / 255, kept["suns"].astype(np.float32) / 255
    shaded = shade(probe, normals, cells, suns, change)
    covered = plates.read_exr(folder / f"albedo_{number:04d}.exr")[..., 3] > 0
    image = np.ones((*valid.shape, 4), np.float32)
    image[valid, :3] = shaded
    _fill(image, valid, covered & ~valid)
    return image


def shade(
    probe: dict[str, Any], normals: np.ndarray, cells: np.ndarray, suns: np.ndarray, change: Change
) -> np.ndarray:
    """(N, 3) diffuse shading by a changed probe; normals (N, 3) and visibilities (N, 62), (N, S) in [0, 1]."""
    radiance = np.array(probe["radiance"], np.float32)
    colour = np.array(change.colour, np.float32)
    turn = np.eye(3)
    if change.turn:
        rotation = np.array(probe["world_from_camera"], np.float64)
        cos, sin = np.cos(change.turn), np.sin(change.turn)
        turn = rotation.T @ np.array(((cos, -sin, 0), (sin, cos, 0), (0, 0, 1))) @ rotation
        radiance = cell_shares(RICS_DIRECTIONS @ turn) @ radiance  # the old light at the turned-back direction
    lamps = [
        _Sun(turn @ np.array(sun["direction"]), np.array(sun["irradiance"], np.float32) * change.sun * colour)
        for sun in probe["suns"]
    ]
    if change.turn and lamps:  # no rays were cast there: the cells around it tell how much arrives
        suns = cells @ cell_shares(np.array([lamp.direction for lamp in lamps])).T
    constant = np.array(probe["constant"], np.float32) * change.sky * colour
    return formula.shade(radiance * change.sky * colour, constant, cells, normals, lamps, suns)


def _fill(image: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> None:
    """Give the wanted pixels the mean of their known neighbours, from the inside out."""
    known = known.copy()
    for _ in range(EDGE):
        if not wanted.any():
            return
        total, count = np.zeros_like(image), np.zeros(known.shape, np.float32)
        for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            beside = np.roll(known, shift, axis)
            total += np.where(beside[..., None], np.roll(image, shift, axis), 0)
            count += beside
        found = wanted & (count > 0)
        image[found] = total[found] / count[found][:, None]
        known |= found
        wanted = wanted & ~found
