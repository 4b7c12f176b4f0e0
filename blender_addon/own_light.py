# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's own light, for *Light From* Scene: its Suns, and its World as a panorama.

The World is rendered, so that it shines as in renders, whatever its nodes are. What it shows to cameras alone, as a
backdrop that Light Path parts from the light, is no light.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bmesh
import bpy
import numpy as np

from ..backend.protocol import Camera, PenumbraError
from ..backend.rays.directions import RICS_DIRECTIONS
from . import compat, node_trees, temporary

ROWS = 512
SAMPLES = 16  # a pixel: those of the sun, which is two pixels wide, are enough to tell its strength


def check(scene: bpy.types.Scene) -> None:
    """Raises PenumbraError where the scene has neither World nor Sun, or a picture of its World is lost."""
    suns = [obj for obj in scene.objects if obj.type == "LIGHT" and obj.data.type == "SUN" and not obj.hide_render]
    if scene.world is None and not suns:
        raise PenumbraError(
            "The scene has no World and no Sun.", "Add one, use Light from Plate, or take the light from the plate."
        )
    for image in node_trees.images(tree) if scene.world and (tree := _tree(scene.world)) else ():
        path = Path(bpy.path.abspath(image.filepath, library=image.library))
        if image.source == "FILE" and not image.packed_file and not image.is_dirty and not path.is_file():
            raise PenumbraError(
                f"The World's picture {path.name} is missing.", "Put it back, or take the light from the plate."
            )


def leaves_out(scene: bpy.types.Scene) -> bool:
    """Whether the scene has lamps that are not taken: they stand so near that they are another light everywhere."""
    return any(obj.type == "LIGHT" and obj.data.type != "SUN" and not obj.hide_render for obj in scene.objects)


def suns_of(depsgraph: bpy.types.Depsgraph, camera: Camera) -> list[dict[str, Any]]:
    """The evaluated Suns as a light probe of this camera has them, see `LightProbe.to_json`."""
    if not any(isinstance(one, bpy.types.SunLight) for one in depsgraph.ids):
        return []  # there may be very many instances to look through
    from_world = np.linalg.inv(camera.world_from_camera[:3, :3])
    found = []
    for instance in depsgraph.object_instances:
        lamp = instance.object
        if lamp.type == "LIGHT" and lamp.data.type == "SUN" and instance.show_self:
            toward = np.array(instance.matrix_world.to_3x3().normalized().col[2])
            shines = {"irradiance": irradiance(lamp.data).tolist(), "half_angle": lamp.data.angle / 2}
            found.append({"direction": (from_world @ toward).tolist(), **shines, "whole": 1.0})
    return found


def irradiance(sun: bpy.types.SunLight) -> np.ndarray:
    """(3,) E of a Sun, linear Rec.709: the shading of a white surface that faces it."""
    colour = np.array(sun.color) * sun.energy * 2.0**sun.exposure / np.pi
    return colour * np.array(sun.temperature_color) if sun.use_temperature else colour


def as_probe(suns: list[dict[str, Any]], camera: Camera) -> dict[str, Any]:
    """These Suns as a light probe whose sky is black, as its file has it."""
    return {
        "radiance": np.zeros(RICS_DIRECTIONS.shape).tolist(),
        "constant": [0.0, 0.0, 0.0],
        "suns": suns,
        "world_from_camera": camera.world_from_camera[:3, :3].tolist(),
        "confidence": 1.0,
    }


@dataclass(frozen=True)
class Panorama:
    """Renders a World in all directions: once for a folder, or for every frame where it may change."""

    stage: bpy.types.Scene
    folder: Path

    def path(self, number: int) -> Path:
        """The panorama of a frame, equirectangular, linear Rec.709. Raises PenumbraError."""
        world = self.stage.world
        if _moves(world):
            path = self.folder / f"world_{number:04d}.exr"
            temporary.render(self.stage, number, str(path))
            return path
        path, stamp = self.folder / "world.exr", self.folder / "world.txt"
        tree = _tree(world)
        look = "\n".join([str(tuple(world.color)), *(node_trees.values(tree) if tree else ())])
        if not (stamp.is_file() and stamp.read_text("utf-8") == look):
            stamp.unlink(missing_ok=True)
            temporary.render(self.stage, number, str(path))
            stamp.write_text(look, "utf-8")
        return path


@contextlib.contextmanager
def panorama(scene: bpy.types.Scene, folder: Path) -> Iterator[Panorama | None]:
    """Renders the scene's World into `folder`; None where there is none."""
    if scene.world is None:
        yield None
        return
    with temporary.removing() as added:
        stage = bpy.data.scenes.new("Penumbra")
        added.append(stage)
        temporary.leave_out_stamps(stage)
        stage.world = scene.world.copy()
        stage.world.cycles.sampling_method = "NONE"  # nothing here is lit by it
        added.append(stage.world)
        added += _look_all_around(stage)
        temporary.use_cycles(stage, SAMPLES, {})
        stage.cycles.pixel_filter_type = "BOX"
        stage.cycles.max_bounces = stage.cycles.transmission_bounces = 1
        stage.cycles.caustics_refractive, stage.cycles.sample_clamp_indirect = True, 0.0
        compat.set_exr(stage.render.image_settings, "32")
        render = stage.render
        render.resolution_x, render.resolution_y, render.resolution_percentage = 2 * ROWS, ROWS, 100
        render.use_file_extension = False
        yield Panorama(stage, folder)


def _look_all_around(stage: bpy.types.Scene) -> list[bpy.types.ID]:
    """Give a scene a camera whose pictures are as Blender's World takes them; returns what was added to the file."""
    lens = bpy.data.cameras.new("Penumbra")
    lens.type, lens.panorama_type = "PANO", "EQUIRECTANGULAR"
    camera = bpy.data.objects.new("Penumbra", lens)
    camera.rotation_euler = (np.pi / 2, 0, -np.pi / 2)
    stage.camera = camera
    # What bends light by nothing: behind it a World is seen as by the surfaces that it lights, not as by a camera.
    mesh, pane = bpy.data.meshes.new("Penumbra"), bpy.data.materials.new("Penumbra")
    shape = bmesh.new()
    bmesh.ops.create_cube(shape, size=2.0)
    shape.to_mesh(mesh)
    shape.free()
    compat.use_nodes(pane)
    tree = pane.node_tree
    tree.nodes.clear()
    clear = tree.nodes.new("ShaderNodeBsdfRefraction")
    clear.inputs["IOR"].default_value, clear.inputs["Roughness"].default_value = 1.0, 0.0
    tree.links.new(clear.outputs["BSDF"], tree.nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    mesh.materials.append(pane)
    box = bpy.data.objects.new("Penumbra", mesh)
    for obj in (camera, box):
        stage.collection.objects.link(obj)
    return [camera, lens, box, mesh, pane]


def _moves(world: bpy.types.World) -> bool:
    """Whether a World may look otherwise in another frame."""
    tree = _tree(world)
    return world.animation_data is not None or (tree is not None and node_trees.are_animated(tree))


def _tree(world: bpy.types.World) -> bpy.types.NodeTree | None:
    """The nodes that it shines by."""
    return world.node_tree if world.use_nodes else None
