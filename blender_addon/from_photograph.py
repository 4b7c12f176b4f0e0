# SPDX-License-Identifier: GPL-3.0-or-later
"""What the imports from photographs share: the job, the camera that took the picture, and a way back on failure."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy

from ..backend.import_jobs import BodyJob, ObjectJob
from ..backend.protocol import PenumbraError, untrained
from . import compat, jobs, preferences
from .backend_process import weights_folder
from .jobs import Outcome, Progress
from .scenes import scene_of

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".exr", ".hdr")
SENSOR = 36.0  # millimetres
KINDS = ("collections", "objects", "meshes", "armatures", "cameras", "lights", "worlds", "materials", "images")

Add = Callable[[bpy.types.Scene, Path], Outcome]  # a job's folder becomes a part of the scene


def check_image(image: Path) -> None:
    """Raises PenumbraError where it cannot be imported from."""
    if not image.is_file():
        raise PenumbraError(f"There is no image {image}.", "Choose a photograph.")
    if image.suffix.lower() not in IMAGES:
        raise PenumbraError(f"{image.name} is no image.", f"Choose one of {', '.join(IMAGES)}.")


def has_weights(model: str) -> bool:
    """Whether the backend will find a trained network of this name."""
    return (weights_folder(model) / "model.safetensors").is_file()


def check_weights(model: str, remedy: str = "") -> None:
    """Raises PenumbraError where there is no trained network of this name."""
    if not has_weights(model):
        raise untrained(model, remedy)


def import_steps(scene: bpy.types.Scene, job: BodyJob | ObjectJob, title: str, add: Add) -> jobs.Steps:
    """The whole job. The scene changes in the last step, and as one step of undo."""
    scene_uid = scene.session_uid
    folder = Path(tempfile.mkdtemp(prefix="penumbra-", dir=bpy.app.tempdir))
    try:
        job.save(folder)
        yield from jobs.run_backend(preferences.backend(), folder, uuid.uuid4().hex, (0.02, 0.95))
        yield Progress("Adding to the scene", 0.95)
        with removed_on_failure():
            outcome = add(scene_of(scene_uid), folder)
        if bpy.ops.ed.undo_push.poll():  # there is no undo without a window
            bpy.ops.ed.undo_push(message=title)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def new_camera(image: Path, upright: str, folder: Path, lens: float) -> bpy.types.Object:
    """A camera before its photograph. lens: focal length in the picture's longer sides.

    upright: the job's copy of a photograph that is stored on its side, which is packed; else empty.
    """
    data = bpy.data.cameras.new(f"Camera of {image.stem}")
    data.sensor_fit, data.sensor_width, data.lens = "AUTO", SENSOR, lens * SENSOR
    data.show_background_images = True
    photograph = packed(folder / upright, f"{image.stem} upright") if upright else None
    data.background_images.new().image = photograph or bpy.data.images.load(str(image), check_existing=True)
    return bpy.data.objects.new(data.name, data)


def look_through(scene: bpy.types.Scene, camera: bpy.types.Object, use_camera: bool) -> None:
    """Make a camera of `new_camera` the scene's, and its photograph's size the render size.

    Not `use_camera`: only a scene without a camera gets it, and the size stays.
    """
    if not use_camera:
        scene.camera = scene.camera or camera
        return
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = camera.data.background_images[0].image.size
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0


def new_material(name: str) -> tuple[bpy.types.Material, bpy.types.Node]:
    """A matt material, and its shader, whose base colour is to be set."""
    material = bpy.data.materials.new(name)
    compat.use_nodes(material)
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Roughness"].default_value = 0.7
    return material, shader


def packed(path: Path, name: str) -> bpy.types.Image:
    """An image inside the .blend file, from a file that will be gone."""
    image = bpy.data.images.load(str(path))
    image.name = name
    image.pack()
    image.filepath_raw = f"//{name}{path.suffix}"
    return image


def select(scene: bpy.types.Scene, objects: list[bpy.types.Object]) -> None:
    """Select these alone, the first active; nothing where something is being edited."""
    layer = bpy.context.view_layer if bpy.context.scene == scene else scene.view_layers[0]
    active = layer.objects.active
    if active and active.mode != "OBJECT":
        return
    for obj in layer.objects:
        obj.select_set(obj in objects, view_layer=layer)
    layer.objects.active = objects[0]


@contextlib.contextmanager
def removed_on_failure() -> Iterator[None]:
    """What the block adds to the file is taken out again where it fails."""
    before = {kind: set(getattr(bpy.data, kind)) for kind in KINDS}
    try:
        yield
    except BaseException:
        bpy.data.batch_remove([block for kind in KINDS for block in set(getattr(bpy.data, kind)) - before[kind]])
        raise
