# SPDX-License-Identifier: GPL-3.0-or-later
"""One frame of a scene as a job has it: its meshes and camera, the character's passes, the plate, and a given light."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
import numpy as np

from ..backend.protocol import CHARACTER, Camera, Frame, Mesh, PenumbraError, save_meshes, write_json
from . import camera as cameras
from . import capture, compat, looks, own_light, temporary
from . import plate as plates
from .character import Cast

if TYPE_CHECKING:
    from .export import ExportSettings

MARGIN = 3  # pixels around the character that are rendered, for the pixel filter

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class FrameExporter:
    """Writes frames into `folder`. copy, roles: of `temporary.scene_copy`. panorama: where the scene's World lights."""

    scene: bpy.types.Scene
    cast: Cast
    copy: bpy.types.Scene
    roles: dict[bpy.types.Object, str]
    panorama: own_light.Panorama | None
    folder: Path
    settings: ExportSettings

    def write(self, number: int, progress: Progress, finished: str | None) -> Frame | None:
        """A frame; None where its key is `finished`. What the folder has of it already is not rendered again.

        Raises PenumbraError.
        """
        progress("Reading the characters" if len(self.cast.characters) > 1 else "Reading the character", 0.0)
        added = temporary.replace_camera(self.copy, cameras.camera_at(self.scene, self.settings.camera, number))
        try:
            captured = capture.capture(self.copy, self.roles, number, self.cast.armatures)
            box = character_box(captured.camera, captured.meshes, number)
            progress("Reading the plate", 0.2)
            found = plates.find_plate(self.scene, self.settings, number)
            plate = plates.write_plate(found, number, self.scene.render, self.folder)
            key = seen = self._key(captured, plate)
            light = {}
            if self.settings.own_light:
                progress("Reading the scene's light", 0.25)
                light = self._write_light(captured, number)
                key = _digest(seen, *((self.folder / name).read_bytes() for name in light.values()))
            if key == finished:
                return None
            progress("Rendering albedo and normals", 0.3)
            place = self._render(captured, number, box, seen)
        finally:
            bpy.data.batch_remove(added)
        names = {name: f"{self.copy.view_layers[0].name}.{label}" for name, (_, label) in compat.PASSES.items()}
        if self.settings.gloss:
            del names["glossy_color"]  # metals are what their gloss shows, and have no diffuse colour
        return Frame(
            number,
            captured.camera,
            f"{place.name}/meshes.npz",
            f"{place.name}/passes.exr",
            names,
            str(plate),
            plates.COLORSPACE,
            key,
            look={**captured.look, "plate": looks.plate_look(found)},
            **light,
        )

    def _key(self, captured: capture.Capture, plate: Path) -> str:
        """What the passes and the plate depend on."""
        chosen = self.settings
        choices = json.dumps([chosen.samples, chosen.ground, chosen.ground_height, chosen.gloss])
        return _digest(f"{captured.digest} {plate.name} {choices}")

    def _write_light(self, captured: capture.Capture, number: int) -> dict[str, str]:
        """Write the scene's own light; its files, as `Frame` names them."""
        suns = self.folder / f"suns_{number:04d}.json"
        write_json(suns, own_light.as_probe(captured.suns, captured.camera))
        return {"light": suns.name, **({"world": self.panorama.path(number).name} if self.panorama else {})}

    def _render(self, captured: capture.Capture, number: int, box: tuple[int, int, int, int], key: str) -> Path:
        """Render the passes where the folder has not those of this key; where they are."""
        place = self.folder / f"frame_{number:04d}"
        rendered = place / "key.txt"
        if not (rendered.is_file() and rendered.read_text("utf-8") == key):
            place.mkdir(exist_ok=True)
            rendered.unlink(missing_ok=True)
            save_meshes(place / "meshes.npz", captured.meshes)
            with cameras.border_kept(self.copy.render):
                cameras.set_border(self.copy.render, box)
                temporary.render(self.copy, number, str(place / "passes.exr"))
            rendered.write_text(key, "utf-8")
        return place


def character_box(camera: Camera, meshes: Iterable[Mesh], number: int) -> tuple[int, int, int, int]:
    """The pixels that may show the character. Raises PenumbraError where there are none."""
    points = np.concatenate([mesh.vertices for mesh in meshes if mesh.role == CHARACTER])
    box = cameras.seen_box(camera, points)
    if box is None:
        raise PenumbraError(
            f"The character is outside the camera's frame in frame {number}.",
            "Move the camera or the character, or choose frames in which it is seen.",
        )
    left, top, right, bottom = camera.window
    return (
        max(left, box[0] - MARGIN),
        max(top, box[1] - MARGIN),
        min(right, box[2] + MARGIN),
        min(bottom, box[3] + MARGIN),
    )


def _digest(text: str, *parts: bytes) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
