# SPDX-License-Identifier: GPL-3.0-or-later
"""Import Body from Image as a job: the backend reconstructs the people, and they become rigged characters."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ..backend.body.data import SHAPES, BodyData, joint_transforms, load_body, skin
from ..backend.protocol import BodyJob, BodyPerson, BodyResult, PenumbraError
from . import jobs, preferences, rig
from .jobs import Outcome, Progress
from .scenes import scene_of

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".exr", ".hdr")
LIGHT = "penumbra_light"  # on the collection: the light probe found on the people, as JSON
SENSOR = 36.0  # millimetres
SHAPE_END = 5.0  # standard deviations, of the sliders


@dataclass(frozen=True)
class BodyRequest:
    """What is asked for. person: counted from the left, 1 the first; 0 for everybody.

    refine: fit the bodies to what was seen. use_camera: look through the photograph's camera, at its size.
    """

    scene: bpy.types.Scene
    image: Path
    person: int = 0
    refine: bool = True
    use_camera: bool = True


def check(request: BodyRequest) -> None:
    """Find at once what would stop the job. Raises PenumbraError."""
    if not request.image.is_file():
        raise PenumbraError(f"There is no image {request.image}.", "Choose a photograph.")
    if request.image.suffix.lower() not in IMAGES:
        raise PenumbraError(f"{request.image.name} is no image.", f"Choose one of {', '.join(IMAGES)}.")


def import_body(request: BodyRequest) -> jobs.Steps:
    """The whole job. The scene changes in the last step, and as one step of undo."""
    check(request)
    scene_uid, image, use_camera = request.scene.session_uid, request.image, request.use_camera
    job = BodyJob(str(image.resolve()), request.person, request.refine, preferences.preferred_device())
    folder = Path(tempfile.mkdtemp(prefix="penumbra-", dir=bpy.app.tempdir))
    try:
        job.save(folder)
        yield from jobs.run_backend(preferences.backend(), folder, uuid.uuid4().hex, (0.02, 0.95))
        yield Progress("Building the characters", 0.95)
        result = BodyResult.load(folder)
        add_bodies(scene_of(scene_uid), result, folder, image, use_camera)
        if bpy.ops.ed.undo_push.poll():  # there is no undo without a window
            bpy.ops.ed.undo_push(message="Import Body from Image")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    count = len(result.people)
    return Outcome(f"{'A body' if count == 1 else f'{count} bodies'} from {image.name}", result.notices)


def add_bodies(
    scene: bpy.types.Scene, result: BodyResult, folder: Path, image: Path, use_camera: bool
) -> bpy.types.Collection:
    """The people of a job's result in a collection of their own, and the camera that took their photograph.

    The camera looks along +y, level, and the lowest point of all bodies stands on the ground, z = 0.
    """
    body = load_body()
    poses = [_Pose.load(folder / person.params) for person in result.people]
    height = -min(float(pose.vertices(body)[:, 1].min()) for pose in poses)
    with _removed_on_failure():
        collection = bpy.data.collections.new(f"Bodies of {image.stem}")
        camera = _camera(image, folder, result, height, collection)
        rigs = [
            _character(body, person, pose, folder, height, collection)
            for person, pose in zip(result.people, poses, strict=True)
        ]
        if result.light:
            collection[LIGHT] = (folder / result.light).read_text("utf-8")
        scene.collection.children.link(collection)
    if use_camera or scene.camera is None:
        scene.camera = camera
    if use_camera:
        photograph = camera.data.background_images[0].image
        scene.render.resolution_x, scene.render.resolution_y = photograph.size
        scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0
    _select(scene, rigs)
    return collection


@dataclass(frozen=True)
class _Pose:
    """betas (10,); pose (24, 3) axis-angle; trans (3,) metres, camera space."""

    betas: np.ndarray
    pose: np.ndarray
    trans: np.ndarray

    @classmethod
    def load(cls, path: Path) -> _Pose:
        with np.load(path, allow_pickle=False) as data:
            return cls(data["betas"], data["pose"], data["trans"])

    def vertices(self, body: BodyData) -> np.ndarray:
        """(V, 3) camera space."""
        vertices, joints = body.shaped(self.betas)
        return skin(vertices, body.weights, joint_transforms(joints, body.parents, self.pose)) + self.trans


def _camera(
    image: Path, folder: Path, result: BodyResult, height: float, collection: bpy.types.Collection
) -> bpy.types.Object:
    data = bpy.data.cameras.new(f"Camera of {image.stem}")
    data.sensor_fit, data.sensor_width = "AUTO", SENSOR
    data.lens = result.focal / max(result.size) * SENSOR
    data.show_background_images = True
    data.background_images.new().image = _photograph(image, folder, result)
    camera = bpy.data.objects.new(data.name, data)
    camera.location, camera.rotation_euler = (0, 0, height), (np.pi / 2, 0, 0)
    collection.objects.link(camera)
    return camera


def _photograph(image: Path, folder: Path, result: BodyResult) -> bpy.types.Image:
    """The file itself, or, where the camera was held on its side, an upright copy of it, packed."""
    if not result.upright:
        return bpy.data.images.load(str(image), check_existing=True)
    return _packed(folder / result.upright, f"{image.stem} upright")


def _packed(path: Path, name: str) -> bpy.types.Image:
    image = bpy.data.images.load(str(path))
    image.name = name
    image.pack()
    image.filepath_raw = f"//{name}{path.suffix}"
    return image


def _character(
    body: BodyData, person: BodyPerson, pose: _Pose, folder: Path, height: float, collection: bpy.types.Collection
) -> bpy.types.Object:
    """The armature of one person, whose child is the skinned mesh. Its origin is on the ground of its T-pose."""
    name = f"Person {person.number}"
    vertices, joints = body.shaped(pose.betas)
    lift = np.array([0, -vertices[:, 1].min(), 0])
    armature = rig.build_armature(name, joints + lift, body.parents, collection)
    armature.location = rig.to_blender(pose.trans - lift) + np.array([0, 0, height])
    for bone, quaternion in zip(rig.JOINT_NAMES, rig.bone_quaternions(armature, pose.pose[None])[0], strict=True):
        armature.pose.bones[bone].rotation_quaternion = quaternion
    mesh = _mesh(body, name, lift)
    obj = bpy.data.objects.new(f"{name} Body", mesh)
    collection.objects.link(obj)
    rig.bind(obj, body.weights, armature)
    for number, part in enumerate(body.extra["parts14_names"]):
        if number:
            rig.add_group(obj, f"Part {part}", (body.extra["vertex_parts14"] == number).astype(float))
    _shape_keys(obj, body, pose.betas, lift)
    mesh.materials.append(_material(f"{name} Skin and Clothes", _packed(folder / person.texture, f"{name} Albedo")))
    return armature


def _mesh(body: BodyData, name: str, lift: np.ndarray) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new(f"{name} Body")
    mesh.from_pydata(rig.to_blender(body.v_template + lift), [], body.faces.tolist())
    uv = body.extra["vt"][body.extra["ft"].astype(np.int64)]
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", np.ascontiguousarray(uv, np.float32).ravel())
    mesh.shade_smooth()
    return mesh


def _shape_keys(obj: bpy.types.Object, body: BodyData, betas: np.ndarray, lift: np.ndarray) -> None:
    """SMPL's shape directions, at the person's own values."""
    obj.shape_key_add(name="Basis")
    for k in range(SHAPES):
        key = obj.shape_key_add(name=f"Shape{k:03d}")
        moved = rig.to_blender(body.v_template + body.shapedirs[:, :, k] + lift)
        key.data.foreach_set("co", np.ascontiguousarray(moved, np.float32).ravel())
        key.slider_min, key.slider_max = -SHAPE_END, SHAPE_END
        key.value = float(betas[k])


def _material(name: str, texture: bpy.types.Image) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    if not material.node_tree:
        material.use_nodes = True
    nodes = material.node_tree.nodes
    node, shader = nodes.new("ShaderNodeTexImage"), nodes["Principled BSDF"]
    node.image, node.location = texture, (-300, 300)
    material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.7
    return material


def _select(scene: bpy.types.Scene, rigs: list[bpy.types.Object]) -> None:
    """Where nothing is being edited: the first person active, everybody selected."""
    layer = scene.view_layers[0] if bpy.context.scene != scene else bpy.context.view_layer
    active = layer.objects.active
    if active and active.mode != "OBJECT":
        return
    for obj in layer.objects:
        obj.select_set(obj in rigs, view_layer=layer)
    layer.objects.active = rigs[0]


@contextlib.contextmanager
def _removed_on_failure() -> Iterator[None]:
    """What the block adds to the file is taken out again where it fails."""
    kinds = ("collections", "objects", "meshes", "armatures", "cameras", "materials", "images")
    before = {kind: set(getattr(bpy.data, kind)) for kind in kinds}
    try:
        yield
    except BaseException:
        bpy.data.batch_remove([block for kind in kinds for block in set(getattr(bpy.data, kind)) - before[kind]])
        raise
