# SPDX-License-Identifier: GPL-3.0-or-later
"""What the imports from photographs share: the job, the camera that took the picture, and a way back on failure."""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..backend.import_jobs import VIDEOS, BodyJob, ObjectJob, PeopleJob, TakeFacts
from ..backend.protocol import PenumbraError, untrained
from . import compat, jobs, preferences
from .backend_process import weights_folder
from .jobs import Outcome, Progress
from .scenes import scene_of

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".exr", ".hdr")
SENSOR = 36.0  # millimetres
KINDS = (
    "collections",
    "objects",
    "meshes",
    "armatures",
    "cameras",
    "lights",
    "worlds",
    "materials",
    "images",
    "actions",
)

Add = Callable[[bpy.types.Scene, Path], Outcome]  # a job's folder becomes a part of the scene


def check_image(image: Path, kinds: tuple[str, ...] = IMAGES) -> None:
    """Raises PenumbraError where it cannot be imported from. kinds: suffixes that can."""
    if not image.is_file():
        raise PenumbraError(f"There is no image {image}.", "Choose a photograph.")
    if image.suffix.lower() not in kinds:
        raise PenumbraError(f"{image.name} is no image.", f"Choose one of {', '.join(kinds)}.")


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

    def finish(folder: Path) -> Outcome:
        with removed_on_failure():
            outcome = add(scene_of(scene_uid), folder)
        if bpy.ops.ed.undo_push.poll():  # there is no undo without a window
            bpy.ops.ed.undo_push(message=title)
        return outcome

    return (yield from backend_steps(job, finish, Progress("Adding to the scene", 0.95)))


def backend_steps(
    job: BodyJob | ObjectJob | PeopleJob, finish: Callable[[Path], Outcome], last: Progress | None = None
) -> jobs.Steps:
    """The backend's work on a job, and what `finish` makes of its folder, which is then gone."""
    folder = Path(tempfile.mkdtemp(prefix="penumbra-", dir=bpy.app.tempdir))
    try:
        job.save(folder)
        yield from jobs.run_backend(preferences.backend(), folder, uuid.uuid4().hex, (0.02, 0.95))
        if last:
            yield last
        return finish(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_camera(image: Path, upright: str, folder: Path, lens: float, take: Take | None = None) -> bpy.types.Object:
    """A camera before its photograph or take. lens: focal length in the picture's longer sides.

    upright: the job's copy of a photograph that is stored on its side, which is packed; else empty.
    """
    data = bpy.data.cameras.new(f"Camera of {image.stem}")
    data.sensor_fit, data.sensor_width, data.lens = "AUTO", SENSOR, lens * SENSOR
    data.show_background_images = True
    background = data.background_images.new()
    if take:
        _show_take(background, take)
    else:
        photograph = packed(folder / upright, f"{image.stem} upright") if upright else None
        background.image = photograph or bpy.data.images.load(str(image), check_existing=True)
    return bpy.data.objects.new(data.name, data)


def _show_take(background: bpy.types.CameraBackgroundImage, take: Take) -> None:
    """As an image that moves, not as a movie clip: so it is the plate of Harmonize Shading too."""
    background.image = bpy.data.images.load(take.facts.path)
    background.image.source = "MOVIE" if take.is_video else "SEQUENCE"
    user = background.image_user
    user.frame_start, user.frame_duration = take.start, take.facts.count
    user.frame_offset = 0 if take.is_video else take.facts.first - 1
    user.use_auto_refresh = True


def look_through(scene: bpy.types.Scene, camera: bpy.types.Object, use_camera: bool) -> None:
    """Make a camera of `new_camera` the scene's, and its photograph's size the render size.

    Not `use_camera`: only a scene without a camera gets it, and the size stays.
    """
    if not use_camera:
        scene.camera = scene.camera or camera
        return
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = _size_of(camera.data.background_images[0].image)
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0


def _size_of(image: bpy.types.Image) -> tuple[int, int]:
    """(width, height); Blender knows that of a sequence only once it was shown."""
    if image.source != "SEQUENCE":
        return tuple(image.size)
    first = bpy.data.images.load(bpy.path.abspath(image.filepath))
    size = tuple(first.size)
    bpy.data.images.remove(first)
    return size


@dataclass(frozen=True)
class Take:
    """A video or image sequence in the scene's time. start: the scene's frame that shows its first.

    sets_time: whether the scene gets its frame rate and range, which only a scene without animation does.
    """

    facts: TakeFacts
    start: int
    sets_time: bool

    @classmethod
    def of(cls, facts: TakeFacts, scene: bpy.types.Scene) -> Take:
        animated = any(action.users > action.use_fake_user for action in bpy.data.actions)
        return cls(facts, scene.frame_start if animated else 1, not animated)

    @property
    def is_video(self) -> bool:
        return Path(self.facts.path).suffix.lower() in VIDEOS

    def set_time(self, scene: bpy.types.Scene) -> tuple[str, ...]:
        """Frame rate and range of a scene without animation; else what the artist should know of them."""
        count, fps, render = self.facts.count, self.facts.fps, scene.render
        if self.sets_time:
            scene.frame_start, scene.frame_end = self.start, self.start + count - 1
            if fps:
                whole = round(fps) if abs(fps - round(fps)) < 0.005 else math.ceil(fps)
                render.fps, render.fps_base = whole, whole / fps
            scene.frame_set(self.start)
            return ()
        notices = []
        rate = render.fps / render.fps_base
        if fps and abs(fps - rate) > 0.01:
            notices.append(
                f"The take has {fps:.5g} frames a second and the scene {rate:.5g}, which was kept as it has animation."
            )
        if self.start + count - 1 > scene.frame_end:
            notices.append(f"The take goes on to frame {self.start + count - 1}, after the scene's end.")
        return tuple(notices)


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
