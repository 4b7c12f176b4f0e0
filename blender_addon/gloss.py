# SPDX-License-Identifier: GPL-3.0-or-later
"""The characters' gloss: a short Cycles render of them alone, under the light that was found in the plate.

The light is the probe's cells as a World and its suns as Suns, the same that Light from Plate adds. What reflects in
the characters is that light, themselves and the scene's other objects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import bpy

from ..backend.protocol import HarmonizeJob, HarmonizeResult, load_meshes
from . import camera as cameras
from . import character as characters
from . import compat, scene_light, temporary
from .character import Cast
from .export import ExportSettings
from .frame_export import character_box

SAMPLES = 64  # the world is smooth, so this leaves little noise
BRIGHTEST = 10.0  # of one sample's indirect light: fireflies are no gloss

Progress = Callable[[str, float], None]


def render_gloss(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    cast: Cast,
    folder: Path,
    settings: ExportSettings,
    progress: Progress = lambda stage, fraction: None,
) -> None:
    """Render the gloss of each frame of the job in `folder`, which the backend has done, and name it in the job.

    Blocks until it is done; `progress(stage, fraction)` may raise `Cancelled` between frames. The scene is read from
    a temporary copy. A frame whose gloss is there, under the same light, is not rendered again. Raises PenumbraError.
    """
    job, results = HarmonizeJob.load(folder), HarmonizeResult.load(folder).frames
    done = []
    with temporary.scene_copy(scene, view_layer, characters.roles(cast, view_layer)) as (copy, _):
        _set_up(copy)
        for i, (frame, result) in enumerate(zip(job.frames, results, strict=True)):
            progress("Rendering gloss", i / len(results))
            place = (folder / frame.meshes).parent
            path, stamp = place / "gloss.exr", place / "gloss.txt"
            if not (stamp.is_file() and stamp.read_text("utf-8") == result.key):
                stamp.unlink(missing_ok=True)
                added = temporary.replace_camera(copy, cameras.camera_at(scene, settings.camera, frame.number))
                added += _light(copy, scene_light.read_probe(folder / result.probe))
                try:
                    meshes = load_meshes(folder / frame.meshes)
                    with cameras.border_kept(copy.render):
                        cameras.set_border(copy.render, character_box(frame.camera, meshes, frame.number))
                        temporary.render(copy, frame.number, str(path))
                finally:
                    copy.world = None
                    bpy.data.batch_remove(added)
                stamp.write_text(result.key, "utf-8")
            done.append(dataclasses.replace(frame, gloss=str(path), pass_names={**frame.pass_names, **_names(copy)}))
    dataclasses.replace(job, frames=tuple(done)).save(folder)
    progress("Rendering gloss", 1.0)


def _names(copy: bpy.types.Scene) -> dict[str, str]:
    return {name: f"{copy.view_layers[0].name}.{label}" for name, (_, label) in compat.GLOSS_PASSES.items()}


def _set_up(copy: bpy.types.Scene) -> None:
    temporary.use_cycles(copy, SAMPLES, compat.GLOSS_PASSES)
    cycles = copy.cycles
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 1, 2
    cycles.sample_clamp_direct, cycles.sample_clamp_indirect = 0.0, BRIGHTEST


def _light(copy: bpy.types.Scene, probe: dict) -> list[bpy.types.ID]:
    """Light the copy by a probe; returns what was added to the file."""
    world = bpy.data.worlds.new("Penumbra")
    compat.use_nodes(world)
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 2 * scene_light.ROWS
    copy.world = world
    added: list[bpy.types.ID] = [world, scene_light.shine(world, "Penumbra", probe)]
    for sun in probe["suns"]:
        obj = bpy.data.objects.new("Penumbra", bpy.data.lights.new("Penumbra", "SUN"))
        scene_light.aim(obj, sun, probe)
        copy.collection.objects.link(obj)
        added += [obj, obj.data]
    return added
