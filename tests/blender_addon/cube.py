# SPDX-License-Identifier: GPL-3.0-or-later
"""A rigged cube of which every number is known: one bone turns and moves it."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np
from penumbra.blender_addon import compat

from tests.blender_addon import pixels

WIDTH, HEIGHT = 64, 36
ALBEDO = (0.5, 0.25, 0.125)
TURN, MOVE = math.radians(30), (0.3, 0.2, 0.1)  # of frame 10, about and along the world's axes
CORNERS = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def rigged_cube(folder: Path) -> bpy.types.Object:
    """Fill the open scene: at frame 1 the cube is at rest, at frame 10 turned about z by TURN and moved by MOVE.

    The camera looks along +y from (0, −4, 0); the plate's rows and columns all differ. Returns the armature "Rig".
    """
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.resolution_percentage = 100
    rig = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    scene.collection.objects.link(rig)
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    bone = rig.data.edit_bones.new("Bone")
    bone.head, bone.tail = (0, 0, 0), (0, 0, 1)
    bpy.ops.object.mode_set(mode="OBJECT")
    body = mesh_object("Body", CORNERS)
    body.parent = rig
    group = body.vertex_groups.new(name="Bone")
    group.add(range(8), 1.0, "REPLACE")
    body.modifiers.new("Armature", "ARMATURE").object = rig
    _animate(rig.pose.bones["Bone"])
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location, camera.rotation_euler = (0, -4, 0), (math.radians(90), 0, 0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    pixels.save(folder / "plate.png", plate_codes(), eight_bit=True)
    background = camera.data.background_images.new()
    background.image = bpy.data.images.load(str(folder / "plate.png"))
    scene.frame_set(1)
    return rig


def mesh_object(name: str, corners: np.ndarray, colour: tuple[float, float, float] = ALBEDO) -> bpy.types.Object:
    """A box with the eight corners, in the order of CORNERS, faces outward."""
    mesh = bpy.data.meshes.new(name)
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh.from_pydata(corners.tolist(), [], faces)
    material = bpy.data.materials.new(name)
    compat.use_nodes(material)
    nodes = material.node_tree.nodes
    nodes.clear()
    shader, output = nodes.new("ShaderNodeBsdfDiffuse"), nodes.new("ShaderNodeOutputMaterial")
    shader.inputs["Color"].default_value = (*colour, 1)
    material.node_tree.links.new(shader.outputs[0], output.inputs[0])
    mesh.materials.append(material)
    item = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(item)
    return item


def plate_codes() -> np.ndarray:
    """(36, 64, 3) values of an 8-bit photograph, in [0, 1]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 4, y * 7, (x * 3 + y * 5) % 256], axis=2) / 255.0


def moved(x: float, y: float, z: float) -> np.ndarray:
    """CORNERS elsewhere."""
    return CORNERS + np.array((x, y, z))


def posed(corners: np.ndarray) -> np.ndarray:
    """World coordinates of frame 10."""
    c, s = math.cos(TURN), math.sin(TURN)
    return corners @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T + MOVE


def in_camera(world: np.ndarray) -> np.ndarray:
    """Camera space of the camera above: its x is the world's, its y the world's z, its −z the world's y."""
    return np.stack([world[:, 0], world[:, 2], -(world[:, 1] + 4)], axis=1)


def _animate(bone: bpy.types.PoseBone) -> None:
    # The bone points along +z, so its own y is the world's z, and its z the world's −y.
    bone.rotation_mode = "XYZ"
    for frame, turn, move in ((1, 0.0, (0, 0, 0)), (10, TURN, (MOVE[0], MOVE[2], -MOVE[1]))):
        bone.rotation_euler = (0, turn, 0)
        bone.location = move
        bone.keyframe_insert("rotation_euler", frame=frame)
        bone.keyframe_insert("location", frame=frame)
