# SPDX-License-Identifier: GPL-3.0-or-later
"""SMPL's joints as a Blender armature: bones along the limbs, a skin bound to them, poses in the bones' own axes.

Body space is y-up and Blender z-up: (x, y, z) becomes (x, −z, y), so the character faces −y as Blender's do. An SMPL
rotation R of a joint is given in the body's axes; a bone's own rotation is rest⁻¹·B·R·Bᵀ·rest, with B that change of
axes and rest the bone's matrix in the armature.
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..backend.body.data import JOINT_NAMES, rotation_matrices

BLENDER_FROM_BODY = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
_AHEAD = {"pelvis": "spine1", "spine3": "neck"}  # the child that a bone of several points to
_TIP = 0.08  # metres; length of a bone without a child
# Names by which others' tools know the joints; each bone has them as custom properties.
_SIDED = {
    "hip": ("UpLeg", "thigh"),
    "knee": ("Leg", "shin"),
    "ankle": ("Foot", "foot"),
    "foot": ("ToeBase", "toe"),
    "collar": ("Shoulder", "shoulder"),
    "shoulder": ("Arm", "upper_arm"),
    "elbow": ("ForeArm", "forearm"),
    "wrist": ("Hand", "hand"),
}
_MIDDLE = {
    "pelvis": ("Hips", "spine"),
    "spine1": ("Spine", "spine.001"),
    "spine2": ("Spine1", "spine.002"),
    "spine3": ("Spine2", "spine.003"),
    "neck": ("Neck", "spine.004"),
    "head": ("Head", "spine.006"),
}


def to_blender(points: np.ndarray) -> np.ndarray:
    """Body space (…, 3) y-up → Blender's z-up."""
    return points @ BLENDER_FROM_BODY.T


def build_armature(
    name: str, joints: np.ndarray, parents: np.ndarray, collection: bpy.types.Collection
) -> bpy.types.Object:
    """An armature in the T-pose, linked to `collection`. joints: (24, 3) body space, metres. parents: (24,).

    It is made in a scene of its own, so that the artist's mode, selection and active object stay as they are.
    """
    armature = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    workshop = bpy.data.scenes.new("Penumbra")
    try:
        workshop.collection.objects.link(armature)
        layer = workshop.view_layers[0]
        layer.objects.active = armature
        with bpy.context.temp_override(scene=workshop, view_layer=layer, active_object=armature, object=armature):
            bpy.ops.object.mode_set(mode="EDIT")
            _add_bones(armature, joints, parents)
            bpy.ops.object.mode_set(mode="OBJECT")
    finally:
        bpy.data.scenes.remove(workshop)
    collection.objects.link(armature)
    for bone in armature.pose.bones:
        bone.rotation_mode = "QUATERNION"
        mixamo, rigify = known_as(bone.name)
        if mixamo:
            bone.bone["mixamo"], bone.bone["rigify"] = mixamo, rigify
    return armature


def _add_bones(armature: bpy.types.Object, joints: np.ndarray, parents: np.ndarray) -> None:
    """Add the bones to an armature in edit mode. joints: (24, 3) of the T-pose, body space."""
    bones = armature.data.edit_bones
    heads = [Vector(point) for point in to_blender(np.asarray(joints, np.float64))]
    for name, head, parent in zip(JOINT_NAMES, heads, parents, strict=True):
        bone = bones.new(name)
        bone.head = head
        if parent >= 0:
            bone.parent = bones[JOINT_NAMES[parent]]
    for j, name in enumerate(JOINT_NAMES):
        children = [JOINT_NAMES[k] for k in np.flatnonzero(np.asarray(parents) == j)]
        ahead = _AHEAD.get(name) or (children[0] if children else None)
        bone = bones[name]
        if ahead:
            bone.tail = heads[JOINT_NAMES.index(ahead)]
        else:
            bone.tail = bone.head + (bone.head - bone.parent.head).normalized() * _TIP
        forward = abs((bone.tail - bone.head).normalized().y) > 0.7
        bone.align_roll((0, 0, 1) if forward else (0, -1, 0))


def known_as(joint: str) -> tuple[str, str]:
    """Mixamo's and Rigify's names of a joint; empty where they have none."""
    side, _, limb = joint.partition("_")
    if limb in _SIDED:
        mixamo, rigify = _SIDED[limb]
        return f"mixamorig:{side.title()}{mixamo}", f"{rigify}.{side[0].upper()}"
    if joint in _MIDDLE:
        mixamo, rigify = _MIDDLE[joint]
        return f"mixamorig:{mixamo}", rigify
    return "", ""


def bind(obj: bpy.types.Object, weights: np.ndarray, armature: bpy.types.Object) -> None:
    """Bind a mesh object of V vertices to the armature by linear blend skinning. weights: (V, 24)."""
    for j, joint in enumerate(JOINT_NAMES):
        add_group(obj, joint, weights[:, j])
    obj.parent = armature
    obj.modifiers.new("Armature", "ARMATURE").object = armature


def add_group(obj: bpy.types.Object, name: str, weight: np.ndarray) -> None:
    """A vertex group of weights (V,); rounded to four digits, which makes it a thousand times faster."""
    group, weight = obj.vertex_groups.new(name=name), np.round(weight, 4)
    for value in np.unique(weight[weight > 0]):
        group.add(np.flatnonzero(weight == value).tolist(), float(value), "REPLACE")


def bone_quaternions(armature: bpy.types.Object, poses: np.ndarray) -> np.ndarray:
    """(F, 24, 4) w, x, y, z of each bone's own rotation; neighbouring frames on one hemisphere.

    poses: (F, 24, 3) axis-angle, each joint relative to its parent.
    """
    rotation = BLENDER_FROM_BODY @ rotation_matrices(poses) @ BLENDER_FROM_BODY.T
    rests = np.array([armature.data.bones[joint].matrix_local.to_3x3() for joint in JOINT_NAMES])
    local = rests.transpose(0, 2, 1) @ rotation @ rests
    quaternion = np.array([[Matrix(m).to_quaternion() for m in frame] for frame in local])
    turned = np.cumprod(np.where((quaternion[1:] * quaternion[:-1]).sum(-1) < 0, -1, 1), axis=0)
    quaternion[1:] *= turned[..., None]
    return quaternion


def animate(armature: bpy.types.Object, frames: np.ndarray, poses: np.ndarray, places: np.ndarray) -> None:
    """Key the bones of the armature, which has no animation, in an action of its own.

    frames: (F,) of the scene. poses: (F, 24, 3) axis-angle. places: (F, 3) by which the body moves, body space metres.
    """
    action = bpy.data.actions.new(f"{armature.name} motion")
    animation = armature.animation_data_create()
    animation.action = action
    slot = action.slots.new(id_type="OBJECT", name=armature.name)
    animation.action_slot = slot
    bag = action.layers.new("Layer").strips.new(type="KEYFRAME").channelbag(slot, ensure=True)
    quaternions, locations = bone_quaternions(armature, poses), root_locations(armature, places)
    for j, joint in enumerate(JOINT_NAMES):
        curves = {"rotation_quaternion": quaternions[:, j]} | ({} if j else {"location": locations})
        group = bag.groups.new(joint)
        for name, values in curves.items():
            for k in range(values.shape[1]):
                curve = bag.fcurves.new(f'pose.bones["{joint}"].{name}', index=k)
                curve.group = group
                _key(curve, frames, values[:, k])


def _key(curve: bpy.types.FCurve, frames: np.ndarray, values: np.ndarray) -> None:
    """One key a frame, between which the curve is straight."""
    curve.keyframe_points.add(len(frames))
    curve.keyframe_points.foreach_set("co", np.stack([frames, values], 1).astype(np.float32).ravel())
    curve.keyframe_points.foreach_set("interpolation", np.ones(len(frames), np.int32))  # linear
    curve.update()


def root_locations(armature: bpy.types.Object, places: np.ndarray) -> np.ndarray:
    """(F, 3) location of the pelvis bone, in its own axes, that moves the body by places (F, 3), body space metres."""
    rest = np.array(armature.data.bones[JOINT_NAMES[0]].matrix_local.to_3x3())
    return to_blender(np.asarray(places)) @ rest
