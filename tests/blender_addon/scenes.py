# SPDX-License-Identifier: GPL-3.0-or-later
"""A small scene with everything Penumbra needs: a rigged character of two parts, a camera and a plate."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np


def character_scene(folder: Path, size: tuple[int, int] = (96, 64)) -> bpy.types.Object:
    """Fill the open scene and save it as `folder`/scene.blend; returns the armature, "Rig".

    The character stands on z = 0, is 1.8 m high and bends at the waist over frames 1 to 3; its parts are "Body" and
    "Hat". The plate is a photograph in 8 bits, brighter on the left.
    """
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.frame_start, scene.frame_end = 1, 3
    rig = _rig()
    _part("Body", rig, 0.22, [(0.0, "Hips"), (0.45, "Hips"), (0.9, "Hips"), (1.35, "Chest")], (0.8, 0.3, 0.2, 1.0))
    _part("Hat", rig, 0.12, [(1.62, "Chest")], (0.1, 0.2, 0.6, 1.0))
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location, camera.rotation_euler = (0.0, -5.0, 1.2), (math.radians(86.0), 0.0, 0.0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    background = camera.data.background_images.new()
    background.image = _plate(folder / "plate.png", size)
    camera.data.show_background_images = True
    bpy.context.view_layer.objects.active = rig
    rig.select_set(True)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "scene.blend"))
    return rig


def _rig() -> bpy.types.Object:
    rig = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.scene.collection.objects.link(rig)
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    parent = None
    for name, bottom, top in (("Hips", 0.0, 0.9), ("Chest", 0.9, 1.8)):
        bone = rig.data.edit_bones.new(name)
        bone.head, bone.tail, bone.parent = (0, 0, bottom), (0, 0, top), parent
        parent = bone
    bpy.ops.object.mode_set(mode="OBJECT")
    chest = rig.pose.bones["Chest"]
    chest.rotation_mode = "XYZ"
    for frame in (1, 3):
        chest.rotation_euler.z = math.radians(10.0 * (frame - 1))
        chest.keyframe_insert("rotation_euler", frame=frame)
    return rig


def _part(
    name: str, rig: bpy.types.Object, radius: float, balls: list[tuple[float, str]], colour: tuple[float, ...]
) -> None:
    """One skinned mesh of balls, each bound to a bone."""
    vertices, faces, bones = [], [], []
    for height, bone in balls:
        offset = len(vertices)
        for i in range(9):
            for j in range(12):
                polar, around = math.pi * i / 8, 2 * math.pi * j / 12
                ring = radius * math.sin(polar)
                vertices.append(
                    (ring * math.cos(around), ring * math.sin(around), height + radius * (1 - math.cos(polar)))
                )
                bones.append(bone)
        for i in range(8):
            for j in range(12):
                a, b = offset + 12 * i + j, offset + 12 * i + (j + 1) % 12
                faces.append((a, a + 12, b + 12, b)[::-1])
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, [], faces)
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = colour
    mesh.materials.append(material)
    part = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(part)
    part.parent = rig
    part.modifiers.new("Armature", "ARMATURE").object = rig
    for bone in set(bones):
        part.vertex_groups.new(name=bone).add([i for i, b in enumerate(bones) if b == bone], 1.0, "REPLACE")


def _plate(path: Path, size: tuple[int, int]) -> bpy.types.Image:
    width, height = size
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = np.linspace(0.9, 0.3, width)[None, :, None] * (1.0, 0.95, 0.85)
    image = bpy.data.images.new("plate", width, height)
    image.pixels.foreach_set(pixels.ravel())
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return bpy.data.images.load(str(path))


def contents() -> dict[str, list[str]]:
    """Every data-block of the file by name, and the scene's settings that a job could disturb."""
    blocks = {
        collection.identifier: sorted(block.name for block in getattr(bpy.data, collection.identifier))
        for collection in bpy.data.bl_rna.properties
        if collection.type == "COLLECTION"
    }
    scene = bpy.context.scene
    render = [scene.render.engine, scene.frame_current, scene.render.filepath, scene.render.resolution_percentage]
    return {**blocks, "render": [str(value) for value in render]}
