# SPDX-License-Identifier: GPL-3.0-or-later
"""Scene → job folder, in this Blender or in one in the background."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..backend.protocol import (
    PHYSICAL,
    PROBENET,
    HarmonizeJob,
    PenumbraError,
    check_shadow,
    write_json,
)
from . import character as characters
from . import compat, notices, own_light, temporary
from . import plate as plates
from .backend_process import weights_folder
from .character import Cast
from .frame_export import FrameExporter, Progress

REQUEST = "export.json"
SCENE_COPY = "scene.blend"
LIGHT = "light.json"


@dataclass(frozen=True)
class ExportSettings:
    """What the artist chose.

    camera: name of a camera object; None takes the scene's, or its timeline markers'.
    plate: name of an image datablock; None takes the camera's background image.
    ground, ground_height, device, estimator, multilayer, shadow, shadow_softness: as `HarmonizeJob` has them.
    match: names of the objects that stand over a person in the plate, as `HarmonizeJob` has them.
    samples: of the albedo and normal passes, per pixel.
    light: a light probe, as its file has it, that lights all frames; None lets the estimator tell it.
    own_light: the scene's World and Suns light the frames.
    gloss: render the characters' gloss once the light is known.
    """

    camera: str | None = None
    plate: str | None = None
    ground: bool = True
    ground_height: float | None = None
    device: str = "auto"
    estimator: str = PROBENET
    match: tuple[str, ...] = ()
    samples: int = 32
    multilayer: bool = False
    light: dict[str, Any] | None = None
    own_light: bool = False
    shadow: str = PHYSICAL
    shadow_softness: float | None = None
    gloss: bool = False


@dataclass(frozen=True)
class Exported:
    """A job that is ready for the backend, and what the artist should know about it."""

    job: HarmonizeJob
    notices: tuple[str, ...]


def check(scene: bpy.types.Scene, cast: Cast, settings: ExportSettings) -> None:
    """Find at once what would stop an export at the current frame. Raises PenumbraError."""
    check_shadow(settings.shadow, settings.shadow_softness, weights_folder())
    plates.find_plate(scene, settings)
    if settings.own_light:
        own_light.check(scene)
    for character in cast.characters:
        meshes = [part for part in character.parts if part.type in characters.MESHABLE and not part.hide_render]
        if not meshes:
            raise PenumbraError(
                f"“{character.name}” has no mesh that is rendered.",
                "Parent its meshes to the armature, and show them in renders.",
            )
        if all(part.type == "MESH" and not part.data.polygons and not part.modifiers for part in meshes):
            raise PenumbraError(
                f"The meshes of “{character.name}” have no faces.", "Give the character a body with faces."
            )
    if not hasattr(scene, "cycles"):
        raise PenumbraError(
            "Cycles is switched off.",
            "Switch on the Cycles Render Engine in Preferences, Add-ons, and try again.",
            fix="penumbra.enable_cycles",
        )


def export_frames(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    cast: Cast,
    frames: Iterable[int],
    folder: Path,
    settings: ExportSettings,
    progress: Progress = lambda stage, fraction: None,
    finished: Mapping[int, str] | None = None,
) -> Exported:
    """Write a `HarmonizeJob` and all that it names into `folder`.

    Blocks until it is done; `progress(stage, fraction)` may raise `Cancelled` between steps. The scene is read from
    a temporary copy and stays as it was, also after an error. A frame that is in the folder already, made from the
    same scene, is not rendered again. Raises PenumbraError, with the frame's number where one frame is at fault.

    finished: keys by frame number; a frame that would have this key is left out of the job.
    """
    numbers = sorted(set(frames))
    check(scene, cast, settings)
    make_writable(folder)
    roles = characters.roles(cast, view_layer)
    done = []
    with (
        temporary.scene_copy(scene, view_layer, roles, suns=settings.own_light) as (copy, copied),
        own_light.panorama(scene, folder) if settings.own_light else contextlib.nullcontext() as panorama,
    ):
        _set_up_passes(copy, settings)
        exporter = FrameExporter(scene, cast, copy, copied, panorama, folder, settings)
        for i, number in enumerate(numbers):

            def show(stage: str, part: float, i: int = i, number: int = number) -> None:
                progress(
                    stage if len(numbers) == 1 else f"{stage}, frame {number} ({i + 1} of {len(numbers)})",
                    (i + part) / len(numbers),
                )

            frame = exporter.write(number, show, (finished or {}).get(number))
            done += [frame] if frame else []
    if settings.light:
        write_json(folder / LIGHT, settings.light)
        done = [dataclasses.replace(frame, light=LIGHT) for frame in done]
    job = HarmonizeJob(
        {one.name: [p.name for p, owner in cast.owners.items() if owner == one.name] for one in cast.characters},
        tuple(done),
        settings.ground,
        settings.ground_height,
        settings.device,
        settings.estimator,
        settings.match,
        multilayer=settings.multilayer,
        shadow=settings.shadow,
        shadow_softness=settings.shadow_softness,
    )
    job.save(folder)
    progress("Exported", 1.0)
    return Exported(job, notices.scene_notices(scene, cast, settings))


def _set_up_passes(copy: bpy.types.Scene, settings: ExportSettings) -> None:
    """Cycles for surface properties alone: no light is needed, and no bounce."""
    temporary.use_cycles(copy, settings.samples, compat.PASSES)
    copy.cycles.max_bounces = 0


def make_writable(folder: Path) -> None:
    """Create a folder and try to write into it. Raises PenumbraError."""
    trial = folder / f".{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as problem:
        raise PenumbraError(
            f"The folder {folder} cannot be written ({problem.strerror}).", "Choose another folder, or free its disk."
        ) from problem


# The same in a background Blender.


def spawn_export(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    cast: Cast,
    frames: Iterable[int],
    folder: Path,
    settings: ExportSettings,
    job_id: str,
) -> list[str]:
    """Save a copy of the file into `folder` and return the command line that exports it there.

    The command writes JSON lines to its standard output, between lines of Blender's own: see `parse_message`. Its exit
    status is 0 only after "done". Painting that is not saved goes along. Raises PenumbraError.
    """
    check(scene, cast, settings)
    make_writable(folder)
    request = {
        "id": job_id,
        "scene": scene.name,
        "view_layer": view_layer.name,
        "characters": cast.names,
        "frames": sorted(set(frames)),
        "settings": dataclasses.asdict(settings),
        "painted": _save_painted(folder),
        "gloss": False,
        "use_scripts": bpy.context.preferences.filepaths.use_scripts_auto_execute,
    }
    write_json(folder / REQUEST, request)
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(folder / SCENE_COPY), copy=True, compress=False)
    except RuntimeError as problem:
        raise PenumbraError(
            f"The scene could not be copied: {str(problem).strip()}", "Free some space on the disk and try again."
        ) from problem
    return _command(folder)


def spawn_gloss(folder: Path) -> list[str]:
    """The command line that renders the gloss of what `spawn_export` has exported there and the backend has lit.

    It speaks as the command of `spawn_export` does.
    """
    request = json.loads((folder / REQUEST).read_text("utf-8"))
    write_json(folder / REQUEST, {**request, "gloss": True})
    return _command(folder)


def _command(folder: Path) -> list[str]:
    script = str(Path(__file__).with_name("export_process.py"))
    if bpy.app.binary_path:
        return [bpy.app.binary_path, "-b", "--python-exit-code", "1", "-P", script, "--", str(folder)]
    return [sys.executable, script, "--", str(folder)]  # the bpy module has no binary


def _save_painted(folder: Path) -> dict[str, str]:
    """Images with pixels that only memory holds: by name, a file of them."""
    painted = {}
    for i, image in enumerate(image for image in bpy.data.images if image.is_dirty and image.size[0] > 0):
        path = folder / f"painted_{i}.{'exr' if image.is_float else 'png'}"
        kind, image_format = image.file_format, "OPEN_EXR" if image.is_float else "PNG"
        try:
            image.file_format = image_format
            image.save(filepath=str(path), save_copy=True)
            painted[image.name] = str(path)
        finally:
            image.file_format = kind
            if not image.is_dirty:  # 4.5 takes the copy for the artist's own saving
                image.pixels[0] = image.pixels[0]
    return painted


def parse_message(line: bytes | str) -> dict[str, Any] | None:
    """A message of the export process; None for a line of Blender's own."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and "type" in message else None


def run_request(folder: Path, send: Callable[[dict[str, Any]], None]) -> None:
    """What the background Blender does: open the copy in `folder`, export it or render its gloss; `send` messages."""
    request = json.loads((folder / REQUEST).read_text("utf-8"))
    bpy.ops.wm.open_mainfile(
        filepath=str(folder / SCENE_COPY),
        load_ui=False,
        use_scripts=request["use_scripts"],
        display_file_selector=False,
    )
    for name, path in request["painted"].items():
        _use_painted(bpy.data.images[name], path)
    scene = bpy.data.scenes[request["scene"]]
    view_layer = scene.view_layers[request["view_layer"]]
    cast = characters.cast_named(request["characters"], view_layer)
    settings = ExportSettings(**{**request["settings"], "match": tuple(request["settings"]["match"])})
    notices: tuple[str, ...] = ()

    def progress(stage: str, part: float) -> None:
        send({"type": "progress", "id": request["id"], "stage": stage, "fraction": part})

    if request["gloss"]:
        from . import gloss

        gloss.render_gloss(scene, view_layer, cast, folder, settings, progress)
    else:
        notices = export_frames(scene, view_layer, cast, request["frames"], folder, settings, progress).notices
    send({"type": "done", "id": request["id"], "notices": list(notices)})


def _use_painted(image: bpy.types.Image, path: str) -> None:
    space = image.colorspace_settings.name
    if image.packed_file:
        image.unpack(method="REMOVE")
    image.source = "FILE"
    image.filepath = path
    image.colorspace_settings.name = space
    image.reload()
