# SPDX-License-Identifier: GPL-3.0-or-later
"""The Sun of Light from Plate is the result's sun: turning, dimming or colouring it lights the result again at once.

While it is dragged, the shown frame follows in memory. Once it rests, the frames are written beside those that were
found, one at a time, so that the interface never waits for more than one.
"""

from __future__ import annotations

import time
from pathlib import Path

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ..backend.protocol import PenumbraError
from . import passes, relight, scene_light
from .relight import Kept

REST = 0.6  # seconds without a change after which frames are written
_TICK = 0.05

_due: dict[str, float] = {}  # characters whose light has changed, and when
_unwritten: dict[str, list[int]] = {}  # frames that are still lit as before
_kept: dict[tuple[Path, int], Kept] = {}  # of the last shown frame
_shown: dict[str, float] = {}  # when a character's frame was lit last


@persistent
def _on_update(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    for update in depsgraph.updates:
        if isinstance(update.id, (bpy.types.Object, bpy.types.Light, bpy.types.World)):
            _mark(update.id.original.get(scene_light.OWNER))


@persistent
def _on_undo(scene: bpy.types.Scene, _: object = None) -> None:
    for character in passes.result_nodes(scene):
        if scene_light.suns_of(scene, character):
            _mark(character)


@persistent
def _on_load(_: object = None, __: object = None) -> None:
    for memory in (_due, _unwritten, _kept, _shown):
        memory.clear()


def _mark(character: str | None) -> None:
    if character is None or character not in passes.result_nodes(bpy.context.scene):
        return
    _due[character] = time.monotonic()
    if not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick, first_interval=0.0)


def tick() -> float | None:
    """Light what has changed; write one frame of what rests. Returns when to come again."""
    scene = bpy.context.scene
    for character, changed in list(_due.items()):
        try:
            if _shown.get(character, 0.0) < changed:
                _shown[character] = time.monotonic()
                follow(scene, character)
                _unwritten[character] = passes.result_frames(scene, character)
            elif time.monotonic() - changed > REST and not write_next(scene, character):
                del _due[character]
        except (PenumbraError, OSError, KeyError, ValueError) as problem:
            print(f"Penumbra: the light of {character} could not be followed: {problem}")
            _due.pop(character, None)
    return _TICK if _due else None


def follow(scene: bpy.types.Scene, character: str) -> None:
    """Show the current frame of a result in the light of its suns as they stand now. Raises PenumbraError."""
    folder = passes.kept_folder(scene, character, "rics", "npz")
    number = passes.shown_frame(scene, character)
    kept = _read(folder, number)
    light = scene_light.light_now(scene, character, kept.probe)
    if is_as_found(kept, light):
        relight.show(scene, character, ())
        return
    pixels = kept.images(light, moves=True)
    for role, image in relight.lit_images(scene, character).items():
        if role in pixels and len(image.pixels) == pixels[role].size:
            image.pixels.foreach_set(np.ascontiguousarray(pixels[role][::-1]).ravel())
            image.update()


def write_next(scene: bpy.types.Scene, character: str) -> bool:
    """Write one of the frames that are not yet lit anew; False once all are, and shown from their files."""
    frames = _unwritten.get(character, [])
    if not frames:
        return False
    folder = passes.kept_folder(scene, character, "rics", "npz")
    kept = _read(folder, frames[0])
    light = scene_light.light_now(scene, character, kept.probe)
    images = {} if is_as_found(kept, light) else kept.images(light)
    relight.write(folder, frames.pop(0), images)
    if images and frames:
        return True
    _unwritten.pop(character)
    relight.show(scene, character, images)
    return False


def is_as_found(kept: Kept, light: relight.Light) -> bool:
    """Whether a light is the one that the backend found."""
    found = relight.changed(kept.probe, relight.Change())
    if len(found.lamps) != len(light.lamps) or any(lamp.traced is None for lamp in light.lamps):
        return False
    for was, now in zip(found.lamps, light.lamps, strict=True):
        if not np.allclose([*was.irradiance, was.half_angle], [*now.irradiance, now.half_angle], rtol=1e-3):
            return False
    return np.allclose(found.radiance, light.radiance) and np.allclose(found.constant, light.constant)


def _read(folder: Path, number: int) -> Kept:
    """A frame as it is kept; the last one stays in memory."""
    stamp = (folder / f"rics_{number:04d}.npz").stat().st_mtime_ns
    if (folder / str(stamp), number) not in _kept:
        _kept.clear()
        _kept[folder / str(stamp), number] = Kept.read(folder, number)
    return _kept[folder / str(stamp), number]


_HANDLERS = (
    ("depsgraph_update_post", _on_update),
    ("undo_post", _on_undo),
    ("redo_post", _on_undo),
    ("load_pre", _on_load),
)


def register() -> None:
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    _on_load()
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).remove(handler)
