# SPDX-License-Identifier: GPL-3.0-or-later
"""A generated person as a rigged Blender character: armature, skinned meshes, materials, keyframes. Needs bpy."""

from __future__ import annotations

import bpy
import numpy as np

from backend.body.figure import Part
from backend.body.people import Person
from scripts import extension

extension.load()

from penumbra.blender_addon import rig  # noqa: E402


def build_character(person: Person, name: str = "", collection: bpy.types.Collection | None = None) -> bpy.types.Object:
    """The person in the scene (or in `collection`): returns the armature, whose children are the skinned meshes."""
    name = name or person.identity
    collection = collection or bpy.context.scene.collection
    armature = rig.build_armature(name, person.joints, person.parents, collection)
    for part in person.parts:
        _mesh_object(part, f"{name} {part.name}", armature, collection)
    armature["penumbra_identity"] = person.identity
    return armature


def _mesh_object(part: Part, name: str, armature: bpy.types.Object, collection: bpy.types.Collection) -> None:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(rig.to_blender(part.vertices), [], part.faces.tolist())
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", np.ascontiguousarray(part.uv, np.float32).ravel())
    mesh.shade_smooth()
    _crease(mesh, part.groups)
    mesh.materials.append(_material(part, name))
    mesh.validate()
    obj = bpy.data.objects.new(name, mesh)
    collection.objects.link(obj)
    rig.bind(obj, part.weights, armature)


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
    rig.animate(armature, np.arange(first_frame, first_frame + count), poses, trans)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = first_frame, first_frame + count - 1
    scene.render.fps, scene.render.fps_base = round(fps), round(fps) / fps
