# SPDX-License-Identifier: GPL-3.0-or-later
"""Import Body from Image as a job: the backend reconstructs the people, and they become rigged characters."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np

from ..backend.body.data import SHAPES, BodyData, joint_transforms, load_body, skin
from ..backend.import_jobs import ALL, BODY_METHODS, VIDEOS, BodyJob, BodyPerson, BodyResult, PeopleJob, PeopleResult
from . import jobs, preferences, rig
from .from_photograph import (
    IMAGES,
    Take,
    backend_steps,
    check_image,
    check_weights,
    import_steps,
    look_through,
    new_camera,
    new_material,
    packed,
    select,
)
from .jobs import Outcome

LIGHT = "penumbra_light"  # on the collection: the light probe found on the people, as JSON
SHAPE_END = 5.0  # standard deviations, of the sliders
GROUND_FRAMES = 48  # of a take, at most, that tell how high its ground is
KINDS = (*IMAGES, *VIDEOS)


@dataclass(frozen=True)
class BodyRequest:
    """What is asked for; see `import_jobs.BodyJob`.

    image: a photograph, a video, or one image of a sequence. use_camera: look through the camera, at its size.
    """

    scene: bpy.types.Scene
    image: Path
    who: str = ALL
    refine: bool = True
    use_camera: bool = True
    method: str = "lasor"
    sequence: bool = False
    focal: float = 0.0


@dataclass(frozen=True)
class PeopleFound(Outcome):
    """Who is in a picture. picture: (S, S, 4) uint8, see `import_jobs.PeopleResult`. largest: from 1."""

    picture: np.ndarray = field(default_factory=lambda: np.zeros((1, 1, 4), np.uint8))
    count: int = 0
    largest: int = 1


def check_method(method: str) -> None:
    """Raises PenumbraError where one of the networks that a method needs is not trained."""
    for model in BODY_METHODS[method]:
        check_weights(model, "Choose another method.")


def import_body(request: BodyRequest) -> jobs.Steps:
    """The whole job. Raises PenumbraError."""
    check_image(request.image, KINDS)
    check_method(request.method)
    image, device = str(request.image.resolve()), preferences.preferred_device()
    render = request.scene.render
    job = BodyJob(
        image,
        request.who,
        request.refine,
        request.method,
        request.sequence,
        request.focal,
        render.fps / render.fps_base,
        device,
    )
    add = functools.partial(add_bodies, image=request.image, use_camera=request.use_camera)
    return (yield from import_steps(request.scene, job, "Import Body from Image", add))


def find_people(image: Path, sequence: bool = False) -> jobs.Steps:
    """Look who is in a photograph, or first seen in a take; the outcome is `PeopleFound`. Raises PenumbraError."""
    check_image(image, KINDS)
    job = PeopleJob(str(image.resolve()), sequence, preferences.preferred_device())

    def read(folder: Path) -> PeopleFound:
        result = PeopleResult.load(folder)
        count, picture = len(result.boxes), np.load(folder / result.picture, allow_pickle=False)
        return PeopleFound(
            "A person was found" if count == 1 else f"{count} people were found",
            result.notices,
            picture,
            count,
            result.largest,
        )

    return (yield from backend_steps(job, read))


def add_bodies(scene: bpy.types.Scene, folder: Path, image: Path, use_camera: bool = True) -> Outcome:
    """The people of a job's folder in a collection of their own, and the camera that took their photograph.

    The first person stands at the 3D cursor; the camera looks along +y, level, and the lowest point of all bodies is as
    high as the cursor. In a take, the bodies are animated, and their ground is where they mostly tread.
    """
    result, body = BodyResult.load(folder), load_body()
    take = Take.of(result.take, scene) if result.take else None
    poses = [_Poses.load(folder / person.params) for person in result.people]
    height = -min(pose.lowest(body) for pose in poses)
    collection = bpy.data.collections.new(f"Bodies of {image.stem}")
    camera = new_camera(image, result.upright, folder, result.focal / max(result.size), take)
    first = rig.to_blender(poses[0].trans[0])
    place = np.array(scene.cursor.location) + np.array([-first[0], -first[1], height])  # of the camera
    camera.location, camera.rotation_euler = place, (np.pi / 2, 0, 0)
    collection.objects.link(camera)
    rigs = [
        _character(body, person, pose, folder, place, collection, take)
        for person, pose in zip(result.people, poses, strict=True)
    ]
    for person in result.people:
        if person.surface:
            _surface(body, person, folder, place, collection)
    if result.light:
        collection[LIGHT] = (folder / result.light).read_text("utf-8")
    scene.collection.children.link(collection)
    look_through(scene, camera, use_camera)
    select(scene, rigs)
    notices = (*result.notices, *(take.set_time(scene) if take else ()))
    count = len(rigs)
    return Outcome(f"A body from {image.name}" if count == 1 else f"{count} bodies from {image.name}", notices)


@dataclass(frozen=True)
class _Poses:
    """betas (10,); pose (F, 24, 3) axis-angle; trans (F, 3) metres, camera space; frames (F,) from 0.

    F is 1 for a photograph.
    """

    betas: np.ndarray
    pose: np.ndarray
    trans: np.ndarray
    frames: np.ndarray

    @classmethod
    def load(cls, path: Path) -> _Poses:
        with np.load(path, allow_pickle=False) as data:
            frames = data["frames"] if "frames" in data else np.zeros(1, int)
            return cls(data["betas"], data["pose"].reshape(-1, 24, 3), data["trans"].reshape(-1, 3), frames)

    def lowest(self, body: BodyData) -> float:
        """Height of the body's lowest point; over time, the median, as a walker's feet are lifted in turns."""
        vertices, joints = body.shaped(self.betas)
        rows = np.unique(np.linspace(0, len(self.pose) - 1, GROUND_FRAMES).astype(int))
        heights = [
            skin(vertices, body.weights, joint_transforms(joints, body.parents, self.pose[row]))[:, 1].min()
            + self.trans[row, 1]
            for row in rows
        ]
        return float(np.median(heights))


def _character(
    body: BodyData,
    person: BodyPerson,
    poses: _Poses,
    folder: Path,
    camera: np.ndarray,
    collection: bpy.types.Collection,
    take: Take | None,
) -> bpy.types.Object:
    """The armature of one person, whose child is the skinned mesh. Its origin is on the ground of its T-pose.

    camera: (3,) where the camera stands. take: what the person was filmed in, where it was.
    """
    name = f"Person {person.number}"
    vertices, joints = body.shaped(poses.betas)
    lift = np.array([0, -vertices[:, 1].min(), 0])
    armature = rig.build_armature(name, joints + lift, body.parents, collection)
    armature.location = rig.to_blender(poses.trans[0] - lift) + camera
    if take:
        rig.animate(armature, poses.frames + take.start, poses.pose, poses.trans - poses.trans[0])
    for bone, quaternion in zip(rig.JOINT_NAMES, rig.bone_quaternions(armature, poses.pose[:1])[0], strict=True):
        armature.pose.bones[bone].rotation_quaternion = quaternion
    mesh = _mesh(body, name, lift)
    obj = bpy.data.objects.new(f"{name} Body", mesh)
    collection.objects.link(obj)
    rig.bind(obj, body.weights, armature)
    for number, part in enumerate(body.extra["parts14_names"]):
        if number:
            rig.add_group(obj, f"Part {part}", (body.extra["vertex_parts14"] == number).astype(float))
    _shape_keys(obj, body, poses.betas, lift)
    mesh.materials.append(_material(f"{name} Skin and Clothes", packed(folder / person.texture, f"{name} Albedo")))
    return armature


def _surface(
    body: BodyData, person: BodyPerson, folder: Path, camera: np.ndarray, collection: bpy.types.Collection
) -> None:
    """The surface of the person's voxels, hidden: to compare the body with, and to sculpt from.

    Its faces have an attribute "part", whose names its property "parts" tells. camera: (3,) where the camera stands.
    """
    name = f"Person {person.number} Voxels"
    with np.load(folder / person.surface, allow_pickle=False) as data:
        vertices, faces, part = data["vertices"], data["faces"], data["part"]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(rig.to_blender(vertices) + camera, [], faces.tolist())
    mesh.attributes.new("part", "INT", "FACE").data.foreach_set("value", part.astype(np.int32))
    obj = bpy.data.objects.new(name, mesh)
    obj["parts"] = ", ".join(f"{k} {part_name}" for k, part_name in enumerate(body.extra["parts6_names"]) if k)
    obj.hide_viewport = obj.hide_render = True
    collection.objects.link(obj)


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
    material, shader = new_material(name)
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image, node.location = texture, (-300, 300)
    material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    return material
