# SPDX-License-Identifier: GPL-3.0-or-later
"""Import Object from Image: the backend reconstructs it, and it becomes a mesh with a material for each part."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..backend.import_jobs import ObjectJob, ObjectResult
from . import compat, jobs, preferences, reshape, rig
from .from_photograph import check_image, import_steps, look_through, new_camera, select
from .jobs import Outcome

# The shading that a sun of shading 1 leaves in the first two bands of harmonics: its mean, and along its direction.
_MEAN, _ALONG = 0.25, 1.02333
_CONSTANT = 0.28209479  # the first harmonic


@dataclass(frozen=True)
class ObjectRequest:
    """What is asked for; see `import_jobs.ObjectJob`. mask: None takes the box, or the image's alpha.

    use_camera: look through the photograph's camera, at its size. use_light: a sun and a world of its light.
    """

    scene: bpy.types.Scene
    image: Path
    mask: Path | None = None
    box: tuple[float, float, float, float] | None = None
    side: int = 128
    refine: bool = True
    use_camera: bool = True
    use_light: bool = False


def import_object(request: ObjectRequest) -> jobs.Steps:
    """The whole job. Raises PenumbraError."""
    check_image(request.image)
    mask = str(request.mask.resolve()) if request.mask else ""
    device = preferences.preferred_device()
    job = ObjectJob(str(request.image.resolve()), mask, request.box, request.side, request.refine, device)
    add = functools.partial(
        add_object,
        image=request.image,
        side=request.side,
        use_camera=request.use_camera,
        use_light=request.use_light,
    )
    return (yield from import_steps(request.scene, job, "Import Object from Image", add))


def add_object(
    scene: bpy.types.Scene, folder: Path, image: Path, side: int, use_camera: bool = True, use_light: bool = False
) -> Outcome:
    """The object of a job's folder, standing at the 3D cursor with its front to −y, and its photograph's camera."""
    result = ObjectResult.load(folder)
    with np.load(folder / result.mesh, allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    up = np.array([0, 0, -float(arrays["vertices"][:, 1].min())])
    collection = bpy.data.collections.new(f"Object of {image.stem}")
    mesh = bpy.data.meshes.new(image.stem)
    reshape.fill(mesh, **arrays)
    with np.load(folder / result.codes, allow_pickle=False) as codes:
        reshape.remember(mesh, result, dict(codes), side)
    obj = bpy.data.objects.new(f"{result.category.title()} of {image.stem}", mesh)
    camera = new_camera(image, result.upright, folder, result.focal)
    camera.data.shift_x, camera.data.shift_y = result.shift
    obj.location = scene.cursor.location
    axes, place = rig.to_blender(np.array(result.axes)), rig.to_blender(np.array(result.place)) + up + obj.location
    camera.matrix_world = Matrix.Translation(place) @ Matrix(axes.T).to_4x4()
    added = [obj, camera]
    if use_light:
        added.append(_sun(image.stem, np.array(result.light), scene))
    for one in added:
        collection.objects.link(one)
    scene.collection.children.link(collection)
    look_through(scene, camera, use_camera)
    select(scene, [obj])
    count = len(obj.data.materials)
    return Outcome(f"A {result.category} of {count} parts from {image.name}", result.notices)


def _sun(name: str, light: np.ndarray, scene: bpy.types.Scene) -> bpy.types.Object:
    """A sun with the light's direction, and a world with what the sun leaves. light: (9, 3), see `ObjectResult`."""
    along = light[[3, 1, 2]]  # x, y, z
    direction = along @ np.array([0.2126, 0.7152, 0.0722])
    direction = direction / max(np.linalg.norm(direction), 1e-9)
    sun = np.maximum(direction @ along, 0) / _ALONG
    even = np.maximum(light[0] * _CONSTANT - _MEAN * sun, 0)
    data = bpy.data.lights.new(f"Sun of {name}", "SUN")
    data.energy = float(np.pi * max(sun.max(), 1e-6))
    data.color = sun / max(sun.max(), 1e-6)
    obj = bpy.data.objects.new(data.name, data)
    obj.rotation_euler = Vector(rig.to_blender(direction)).to_track_quat("Z", "Y").to_euler()
    world = bpy.data.worlds.new(f"Light of {name}")
    compat.use_nodes(world)
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (*even, 1)
    scene.world = world
    return obj
