# SPDX-License-Identifier: GPL-3.0-or-later
"""A generated person as a rigged Blender character: armature, skinned meshes, materials, keyframes. Needs bpy.

Body space is y-up and Blender z-up: (x, y, z) becomes (x, −z, y), so the character faces −y as Blender's do.

Every bone rests along world +z with no roll, so all bones share one rest matrix, C: the rotation that takes bone space
(y along the bone) to armature space. An SMPL rotation R of a joint, turned into armature space, is R' = B·R·Bᵀ with
B the change of axes above; a bone's own rotation is rest⁻¹·R'·rest = Cᵀ·B·R·Bᵀ·C. With this rest pose Cᵀ·B is the
identity up to rounding: SMPL's axes are the bones' own, and poses are keyed as they are.
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from backend.body.data import JOINT_NAMES, rotation_matrices
from backend.body.figure import Part
from backend.body.people import Person

BLENDER_FROM_BODY = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def to_blender(points: np.ndarray) -> np.ndarray:
    """Body space (…, 3) y-up → Blender's z-up."""
    return points @ BLENDER_FROM_BODY.T


def build_character(person: Person, name: str = "", collection: bpy.types.Collection | None = None) -> bpy.types.Object:
    """The person in the scene (or in `collection`): returns the armature, whose children are the skinned meshes."""
    name = name or person.identity
    collection = collection or bpy.context.scene.collection
    armature = _armature(person, name, collection)
    for part in person.parts:
        _mesh_object(part, f"{name} {part.name}", armature, collection)
    armature["penumbra_identity"] = person.identity
    return armature


def _armature(person: Person, name: str, collection: bpy.types.Collection) -> bpy.types.Object:
    armature = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    collection.objects.link(armature)
    view_layer = bpy.context.view_layer
    view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bones = []
    for joint, parent, head in zip(JOINT_NAMES, person.parents, to_blender(person.joints), strict=True):
        bone = armature.data.edit_bones.new(joint)
        bone.head, bone.tail, bone.roll = head, head + np.array([0, 0, 0.08]), 0.0
        if parent >= 0:
            bone.parent = bones[parent]
        bones.append(bone)
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in armature.pose.bones:
        bone.rotation_mode = "QUATERNION"
    return armature


def _mesh_object(part: Part, name: str, armature: bpy.types.Object, collection: bpy.types.Collection) -> None:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(to_blender(part.vertices), [], part.faces.tolist())
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", np.ascontiguousarray(part.uv, np.float32).ravel())
    mesh.shade_smooth()
    _crease(mesh, part.groups)
    mesh.materials.append(_material(part, name))
    mesh.validate()
    obj = bpy.data.objects.new(name, mesh)
    collection.objects.link(obj)
    for j, joint in enumerate(JOINT_NAMES):
        weight = part.weights[:, j]
        group = obj.vertex_groups.new(name=joint)
        for value in np.unique(np.round(weight[weight > 1e-4], 4)):
            group.add(np.flatnonzero(np.round(weight, 4) == value).tolist(), float(value), "REPLACE")
    obj.parent = armature
    modifier = obj.modifiers.new("Armature", "ARMATURE")
    modifier.object = armature


def _crease(mesh: bpy.types.Mesh, groups: np.ndarray) -> None:
    """Sharp edges where two smoothing groups meet."""
    if not groups.any():
        return
    edge = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("edge_index", edge)
    group = np.repeat(groups, 3)
    low, high = np.full(len(mesh.edges), 255, np.uint8), np.zeros(len(mesh.edges), np.uint8)
    np.minimum.at(low, edge, group)
    np.maximum.at(high, edge, group)
    mesh.edges.foreach_set("use_edge_sharp", low < high)


def _material(part: Part, name: str) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    if not material.node_tree:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = nodes["Principled BSDF"]
    texture = nodes.new("ShaderNodeTexImage")
    texture.image = _image(part.texture, name)
    links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = part.roughness
    shader.inputs["Specular IOR Level"].default_value = part.specular
    return material


def _image(texture: np.ndarray, name: str) -> bpy.types.Image:
    """An 8-bit sRGB image, packed, from linear albedo."""
    height, width = texture.shape[:2]
    image = bpy.data.images.new(name, width, height)
    encoded = np.where(texture <= 0.0031308, texture * 12.92, 1.055 * np.maximum(texture, 1e-8) ** (1 / 2.4) - 0.055)
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = encoded[::-1]  # Blender's first row is the bottom
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    image.pack()
    return image


def apply_pose_sequence(
    armature: bpy.types.Object, poses: np.ndarray, trans: np.ndarray, fps: float = 30.0, first_frame: int = 1
) -> None:
    """Key an SMPL motion: poses (F, 24, 3) axis-angle, trans (F, 3) metres in y-up body space.

    Replaces the armature's action. Sets the scene's frame range and, where fps is a whole number, its rate.
    """
    count = len(poses)
    frames = np.arange(first_frame, first_frame + count, dtype=np.float32)
    action = bpy.data.actions.new(f"{armature.name} motion")
    animation = armature.animation_data_create()
    animation.action = action
    slot = action.slots.new(id_type="OBJECT", name=armature.name)
    animation.action_slot = slot
    strip = action.layers.new("Layer").strips.new(type="KEYFRAME")
    curves = strip.channelbag(slot, ensure=True).fcurves
    quaternions = _bone_quaternions(armature, poses)
    for j, joint in enumerate(JOINT_NAMES):
        path = f'pose.bones["{joint}"].rotation_quaternion'
        for k in range(4):
            _key(curves.new(path, index=k), frames, quaternions[:, j, k])
    rest = np.array(armature.data.bones[JOINT_NAMES[0]].matrix_local.to_3x3())
    for k, values in enumerate((to_blender(np.asarray(trans)) @ rest).T):
        _key(curves.new(f'pose.bones["{JOINT_NAMES[0]}"].location', index=k), frames, values)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = first_frame, first_frame + count - 1
    scene.render.fps, scene.render.fps_base = round(fps), round(fps) / fps


def _bone_quaternions(armature: bpy.types.Object, poses: np.ndarray) -> np.ndarray:
    """(F, 24, 4) w, x, y, z of each bone's own rotation, rest⁻¹·R·rest; neighbouring frames on one hemisphere."""
    rotation = BLENDER_FROM_BODY @ rotation_matrices(poses) @ BLENDER_FROM_BODY.T
    rests = np.array([armature.data.bones[joint].matrix_local.to_3x3() for joint in JOINT_NAMES])
    local = rests.transpose(0, 2, 1) @ rotation @ rests
    quaternion = np.array([[Matrix(m).to_quaternion() for m in frame] for frame in local])
    turned = np.cumprod(np.where((quaternion[1:] * quaternion[:-1]).sum(-1) < 0, -1, 1), axis=0)
    quaternion[1:] *= turned[..., None]
    return quaternion


def _key(curve: bpy.types.FCurve, frames: np.ndarray, values: np.ndarray) -> None:
    curve.keyframe_points.add(len(frames))
    curve.keyframe_points.foreach_set("co", np.stack([frames, values.astype(np.float32)], 1).ravel())
    curve.keyframe_points.foreach_set("interpolation", np.ones(len(frames), np.int32))  # linear
    curve.update()
