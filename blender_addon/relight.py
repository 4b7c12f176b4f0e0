# SPDX-License-Identifier: GPL-3.0-or-later
"""Lighting an earlier result again, without the backend: the light that was found is turned, dimmed, coloured or moved.

The shading is the light probe's formula over the visibility that the result keeps; the shadow is cast again from what
it keeps of the characters and of the ground. A shadow that networks have drawn stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..backend.protocol import replacing
from ..backend.rays.directions import RICS_DIRECTIONS, cell_shares
from ..backend.shading import formula
from ..backend.shading.bounce import Surroundings, bounced, hidden_share
from ..backend.shadow.recast import KeptShadow
from . import passes, result_files
from . import plate as plates

EDGE = 8  # pixels of coverage beyond the traced ones that take their neighbours' shading
_LEAST_SHARE = 0.01  # of a cell in what arrives from between cells; the others are left out


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
class Lamp:
    """A sun. direction: (3,) camera space, toward it. irradiance: (3,). half_angle: radians.

    traced: which of the result's suns stands there, whose rays were cast; None asks the cells around for what arrives.
    whole: as `probe.Sun` of the backend has it.
    """

    direction: np.ndarray
    irradiance: np.ndarray
    half_angle: float
    traced: int | None
    whole: float = 1.0


@dataclass(frozen=True)
class Light:
    """A light probe's parts, as `formula.shade` takes them; camera space. spread: as `LightProbe` has it."""

    radiance: np.ndarray
    constant: np.ndarray
    lamps: tuple[Lamp, ...]
    spread: np.ndarray | None = None

    @property
    def gathered(self) -> Light:
        """As `LightProbe.gathered`: what casts shadows."""
        if self.spread is None or not self.lamps:
            return self
        lamps = tuple(replace(lamp, irradiance=lamp.irradiance * lamp.whole, whole=1.0) for lamp in self.lamps)
        return Light(self.radiance - self.spread, self.constant, lamps)


@dataclass
class Kept:
    """What a result keeps of one frame, to light it again.

    probe: as its file has it. valid: (H, W) bool, pixels with a surface, N of them, row-major. normals, albedo: (N, 3).
    cells: (N, 62) and suns: (N, S), uint8 visibility in 255ths. edge: (M,) flat indices of covered pixels without a
    surface, each of which takes the shading of the point `source` (M,). shadow: None where it cannot be cast again.
    """

    probe: dict[str, Any]
    valid: np.ndarray
    normals: np.ndarray
    albedo: np.ndarray
    cells: np.ndarray
    suns: np.ndarray
    edge: np.ndarray
    source: np.ndarray
    shadow: KeptShadow | None = None
    _even: tuple[bytes, np.ndarray] | None = field(default=None, repr=False)
    _around: tuple[np.ndarray, Surroundings] | None = field(default=None, repr=False)

    @classmethod
    def read(cls, folder: Path, number: int) -> Kept:
        """Read a frame from the folder of a result's images."""
        probe = json.loads((folder / f"probe_{number:04d}.json").read_text("utf-8"))
        albedo = plates.read_exr(folder / f"albedo_{number:04d}.exr")
        cast = folder / f"cast_{number:04d}.npz"
        shadow = KeptShadow.read(cast) if cast.is_file() else None
        with np.load(folder / f"rics_{number:04d}.npz", allow_pickle=False) as kept:
            valid, normals = kept["valid"], kept["normals"].astype(np.float32)
            edge = _nearest(valid, (albedo[..., 3] > 0) & ~valid)
            return cls(probe, valid, normals, albedo[valid][:, :3], kept["cells"], kept["suns"], *edge, shadow)

    def images(self, light: Light, moves: bool = False) -> dict[str, np.ndarray]:
        """The result's images that depend on the light, (H, W, 4) by role. moves: the shadow may be coarser."""
        return {"shading": self.image(light)} | self._shadows(light, moves)

    def _shadows(self, light: Light, moves: bool) -> dict[str, np.ndarray]:
        if self.shadow is None:
            return {}
        kept = self.shadow.coarser if moves else self.shadow
        light = light.gathered
        parts = kept.ratios(light.radiance, light.constant, light.lamps)
        own = {f"shadow{i}": part for i, part in enumerate(parts, 1)} if len(parts) > 1 else {}
        opaque = np.ones((*self.valid.shape, 1), np.float32)
        whole = {"shadow": np.prod(parts, 0)} | own
        return {role: np.concatenate([ratio, opaque], -1) for role, ratio in whole.items()}

    def image(self, light: Light) -> np.ndarray:
        """(H, W, 4) shading, 1 outside the character's coverage."""
        shading = self.shade(light)
        image = np.ones((*self.valid.shape, 4), np.float32)
        image[self.valid, :3] = shading
        image.reshape(-1, 4)[self.edge, :3] = shading[self.source]
        return image

    def shade(self, light: Light) -> np.ndarray:
        """(N, 3) diffuse shading."""
        shading = self._by_cells(light).copy()
        for lamp in light.lamps:
            received = np.maximum(self.normals @ np.float32(lamp.direction), 0) * self._arriving(lamp)
            shading += received[:, None] * np.float32(lamp.irradiance)
        if self._around is None:
            hidden = hidden_share(self.cells / np.float32(255), self.normals)
            self._around = hidden, Surroundings(np.flatnonzero(self.valid), self.valid.shape[1])
        return shading + bounced(shading, self.albedo, *self._around)

    def _by_cells(self, light: Light) -> np.ndarray:
        """The last one is remembered: a dragged sun leaves it as it is."""
        key = light.radiance.tobytes() + light.constant.tobytes()
        if self._even is None or self._even[0] != key:
            visibility = self.cells.astype(np.float32) / 255
            self._even = key, formula.shade(light.radiance, light.constant, visibility, self.normals)
        return self._even[1]

    def _arriving(self, lamp: Lamp) -> np.ndarray:
        """(N,) share in [0, 1] of a lamp's light."""
        if lamp.traced is not None:
            return self.suns[:, lamp.traced] / np.float32(255)
        share = cell_shares(lamp.direction)
        near = np.flatnonzero(share > _LEAST_SHARE)
        return self.cells[:, near] @ (share[near] / (255 * share[near].sum())).astype(np.float32)


def relight(scene: bpy.types.Scene, character: str, change: Change) -> int:
    """Light all frames of a character's result again; returns how many. Raises PenumbraError."""
    frames = passes.result_frames(scene, character)
    folder = passes.kept_folder(scene, character, "rics", "npz")
    images: dict[str, np.ndarray] = {}
    for number in [] if change == Change() else frames:
        kept = Kept.read(folder, number)
        images = kept.images(changed(kept.probe, change))
        write(folder, number, images)
    show(scene, character, images)
    return len(frames)


def write(folder: Path, number: int, images: dict[str, np.ndarray]) -> None:
    """Keep a frame's new images beside those that were found."""
    for role, image in images.items():
        with replacing(folder / f"{relit_name(role)}_{number:04d}.exr") as partial:
            plates.write_exr(partial, image)


def relit_name(role: str) -> str:
    """What the files of a role are called that show another light than the one found."""
    return "relit" if role == "shading" else f"relit{role}"


def show(scene: bpy.types.Scene, character: str, relit: Collection[str]) -> None:
    """Let the result show what `write` has written of the roles in `relit`, and of the others what was found."""
    for role, image in lit_images(scene, character).items():
        name = Path(image.filepath).name
        kind = relit_name(role) if role in relit else role
        image.filepath = f"{image.filepath[: -len(name)]}{kind}_{name.rpartition('_')[2]}"
        image.reload()


def lit_images(scene: bpy.types.Scene, character: str) -> dict[str, bpy.types.Image]:
    """The result's images that depend on the light, by role."""
    names = passes.members(passes.result_node(scene, character))
    roles = [role for role in result_files.roles(names) if role == "shading" or role.startswith("shadow")]
    return {role: image for role in roles if (image := passes.role_image(character, role))}


def changed(probe: dict[str, Any], change: Change) -> Light:
    """A probe's light after a change."""
    cells = [np.array(probe[name], np.float32) for name in ("radiance", "spread") if name in probe]
    colour = np.array(change.colour, np.float32)
    turn = np.eye(3)
    if change.turn:
        rotation = np.array(probe["world_from_camera"], np.float64)
        cos, sin = np.cos(change.turn), np.sin(change.turn)
        turn = rotation.T @ np.array(((cos, -sin, 0), (sin, cos, 0), (0, 0, 1))) @ rotation
        shares = cell_shares(RICS_DIRECTIONS @ turn)  # the old light at the turned-back direction
        cells = [shares @ radiance for radiance in cells]
    lamps = tuple(
        Lamp(
            turn @ np.array(sun["direction"]),
            np.array(sun["irradiance"], np.float32) * change.sun * colour,
            sun["half_angle"],
            None if change.turn else number,
            sun.get("whole", 1.0),
        )
        for number, sun in enumerate(probe["suns"])
    )
    sky = np.float32(change.sky) * colour
    radiance, *spread = (sky * radiance for radiance in cells)
    return Light(radiance, np.array(probe["constant"], np.float32) * sky, lamps, *spread)


def _nearest(known: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M,) flat indices of wanted pixels at most `EDGE` from a known one, and the number of a known one beside each."""
    number = np.full(known.shape, -1)
    number[known] = np.arange(np.count_nonzero(known))
    for _ in range(EDGE):
        for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            beside = np.roll(number, shift, axis)
            number = np.where(wanted & (number < 0), beside, number)
    edge = np.flatnonzero(wanted & (number >= 0))
    return edge, number.ravel()[edge]
