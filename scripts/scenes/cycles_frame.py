# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference tier's renderer: a person's layers and diffuse shading by Cycles, in one Blender for all frames.

Shading is what a camera sees of surfaces that are white to the camera and as they are to any other ray: their
colours bleed into each other, and nothing has to be divided by an albedo afterwards, so Cycles' denoiser can be used.
The diffuse lobe is Oren and Nayar's; light that reaches it by way of other surfaces has met their gloss as well.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
import OpenEXR

from backend.protocol import Camera
from backend.shading.environments import Environment, ground_albedo
from backend.shading.probe import Sun
from backend.shading.traced import Skin

_GROUND = 200.0  # metres each way


class Stage:
    """A scene with one person on a ground, under one environment. Settings of the open Blender file are replaced.

    samples: of each pixel. denoise: with Open Image Denoise, for training targets.
    """

    def __init__(self, samples: int, denoise: bool, threads: int = 0) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.scene = bpy.context.scene
        self._parts: list[bpy.types.Object] = []
        self._identity = ""
        use_cycles(self.scene, samples, denoise, threads)
        self.scene.view_layers[0].use_pass_normal = True
        self.scene.view_layers[0].aovs.add().name = "albedo"
        self.scene.camera = linked(self.scene, bpy.data.objects.new("camera", bpy.data.cameras.new("camera")))
        self._ground, self._ground_colour = add_ground(self.scene)
        self._suns = [linked(self.scene, bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))) for _ in "ab"]
        self._panorama = add_world(self.scene)
        self._folder = tempfile.TemporaryDirectory()

    def person(self, identity: str, skins: list[Skin]) -> None:
        """Show a person in a pose; skins are in world space. The same identity keeps its materials, and its creases."""
        if identity != self._identity:
            for part in self._parts:
                remove(part)
            self._parts = [linked(self.scene, new_part(skin)) for skin in skins]
            self._identity = identity
        for part, skin in zip(self._parts, skins, strict=True):
            part.data.vertices.foreach_set("co", skin.mesh.vertices.astype(np.float32).ravel())
            part.data.update()

    def light(self, environment: Environment, level: float) -> None:
        """Light the scene; the ground lies at z = level and has the albedo of the panorama's lower half."""
        bpy.data.images.remove(self._panorama.image)
        self._panorama.image = new_image("panorama", environment.image)
        self._ground.location.z = level
        self._ground_colour.default_value = (*ground_albedo(environment), 1.0)
        for lamp, sun in zip(self._suns, [*environment.suns, None, None], strict=False):
            shine(lamp, sun)

    def render(self, camera: Camera) -> dict[str, np.ndarray]:
        """Render what a camera of square pixels sees: (H, W[, 3]) float32, 0 outside the person.

        shading: π-normalised diffuse shading. albedo: linear. normal: unit, camera space. alpha: coverage.
        """
        aim(self.scene, camera)
        channels = rendered(self.scene, Path(self._folder.name) / "frame.exr")
        return _layers(channels, np.asarray(camera.world_from_camera)[:3, :3])


def rendered(scene: bpy.types.Scene, path: Path) -> dict[str, np.ndarray]:
    """Render the scene, through a multilayer file at `path`: (H, W) float32 by names like "Combined.R"."""
    scene.render.filepath = str(path)
    with silence():
        bpy.ops.render.render(write_still=True)
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name.split(".", 1)[-1]: channel.pixels for name, channel in file.channels().items()}


def shine(lamp: bpy.types.Object, sun: Sun | None) -> None:
    """Make a Sun lamp shine as a sun does, or not at all."""
    lamp.hide_render = sun is None
    if sun is not None:
        strength = float(np.max(sun.irradiance))
        lamp.data.energy = np.pi * strength
        lamp.data.color = sun.irradiance / strength
        lamp.data.angle = 2 * sun.half_angle
        lamp.rotation_mode = "QUATERNION"
        lamp.rotation_quaternion = _turn_z_to(sun.direction)


def aim(scene: bpy.types.Scene, camera: Camera) -> None:
    """Give the scene's camera and render settings the view of a camera of square pixels."""
    projection = np.asarray(camera.projection)
    data = scene.camera.data
    data.sensor_fit, data.lens_unit = "HORIZONTAL", "FOV"
    data.angle = 2 * float(np.arctan(1 / projection[0, 0]))
    data.shift_x, data.shift_y = projection[0, 2] / 2, projection[1, 2] / 2 * camera.height / camera.width
    data.clip_start, data.clip_end = 0.01, 1000.0
    scene.camera.matrix_world = np.asarray(camera.world_from_camera).T.tolist()
    render = scene.render
    render.resolution_x, render.resolution_y = camera.width, camera.height
    left, top, right, bottom = camera.window
    render.use_border, render.use_crop_to_border = camera.border is not None, False
    render.border_min_x, render.border_max_x = left / camera.width, right / camera.width
    render.border_min_y, render.border_max_y = 1 - bottom / camera.height, 1 - top / camera.height


def use_cycles(scene: bpy.types.Scene, samples: int, denoise: bool, threads: int = 0) -> None:
    """Path trace the scene on the processor, over nothing, into multilayer EXR files; gloss has no caustics."""
    render, cycles = scene.render, scene.cycles
    render.engine, render.film_transparent = "CYCLES", True
    # Persistent data would save 3 % of the time, and give new images the pixels of removed ones: Cycles tells
    # images apart by their address.
    render.use_persistent_data = False
    render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    render.image_settings.color_depth = "32"
    render.resolution_percentage = 100
    if threads:
        render.threads_mode, render.threads = "FIXED", threads
    cycles.device, cycles.samples, cycles.use_adaptive_sampling = "CPU", samples, False
    cycles.use_denoising = denoise
    if denoise:
        cycles.denoiser, cycles.denoising_input_passes = "OPENIMAGEDENOISE", "RGB_ALBEDO_NORMAL"
        cycles.denoising_prefilter = "NONE"  # there is no depth of field or motion blur that makes them noisy
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces, cycles.transmission_bounces = 4, 4, 2, 0
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 0.0
    cycles.pixel_filter_type = "BOX"


def add_ground(scene: bpy.types.Scene) -> tuple[bpy.types.Object, bpy.types.NodeSocket]:
    """A level matt ground that only light sees, not the camera; and the socket of its colour."""
    mesh = bpy.data.meshes.new("ground")
    far = _GROUND
    mesh.from_pydata([(-far, -far, 0), (far, -far, 0), (far, far, 0), (-far, far, 0)], [], [(0, 1, 2, 3)])
    ground = linked(scene, bpy.data.objects.new("ground", mesh))
    ground.visible_camera = False
    material = bpy.data.materials.new("ground")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    diffuse, output = tree.nodes.new("ShaderNodeBsdfDiffuse"), tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(diffuse.outputs[0], output.inputs[0])
    mesh.materials.append(material)
    return ground, diffuse.inputs["Color"]


def add_world(scene: bpy.types.Scene) -> bpy.types.ShaderNodeTexEnvironment:
    """A world that a panorama lights: the node that wants its image."""
    world = bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    tree = world.node_tree
    texture = tree.nodes.new("ShaderNodeTexEnvironment")
    texture.image = new_image("panorama", np.zeros((4, 8, 3), np.float32))
    tree.links.new(texture.outputs[0], next(n for n in tree.nodes if n.type == "BACKGROUND").inputs[0])
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 512
    return texture


def remove(part: bpy.types.Object) -> None:
    """Remove an object with its mesh, material and texture."""
    mesh = part.data
    material = mesh.materials[0]
    image = next(node.image for node in material.node_tree.nodes if node.type == "TEX_IMAGE")
    bpy.data.objects.remove(part)
    bpy.data.meshes.remove(mesh)
    bpy.data.materials.remove(material)
    bpy.data.images.remove(image)


def new_part(skin: Skin, white: bool = True) -> bpy.types.Object:
    """A mesh object with a skin's triangles, texture coordinates and material; white: to the camera."""
    mesh = bpy.data.meshes.new(skin.mesh.name)
    mesh.from_pydata(skin.mesh.vertices.tolist(), [], skin.mesh.triangles.tolist())
    mesh.shade_smooth()
    _mark_sharp_edges(mesh, skin)
    mesh.uv_layers.new(name="uv").uv.foreach_set("vector", skin.corner_uv.astype(np.float32).ravel())
    mesh.materials.append(_new_material(skin, white))
    return bpy.data.objects.new(skin.mesh.name, mesh)


def _mark_sharp_edges(mesh: bpy.types.Mesh, skin: Skin) -> None:
    """Split the smooth shading where the normals of two triangles differ at a vertex that they share."""
    count = len(mesh.vertices)
    triangles, normals = skin.mesh.triangles.astype(np.int64), skin.mesh.corner_normals
    edges, seen = [], []
    for a, b in ((0, 1), (1, 2), (2, 0)):
        forward = triangles[:, a] < triangles[:, b]
        low, high = np.where(forward, a, b), np.where(forward, b, a)
        row = np.arange(len(triangles))
        edges.append(triangles[row, low] * count + triangles[row, high])
        seen.append(normals[row, low])
    keys, edge = np.unique(np.concatenate(edges), return_inverse=True)
    seen = np.concatenate(seen)
    first = np.zeros((len(keys), 3), np.float32)
    first[edge] = seen
    sharp = np.zeros(len(keys), bool)
    np.logical_or.at(sharp, edge, (seen * first[edge]).sum(1) < 0.99)
    ends = np.empty(2 * len(mesh.edges), np.int64)
    mesh.edges.foreach_get("vertices", ends)
    ends = np.sort(ends.reshape(-1, 2), axis=1)
    marks = sharp[np.searchsorted(keys, ends[:, 0] * count + ends[:, 1])]
    mesh.attributes.new("sharp_edge", "BOOLEAN", "EDGE").data.foreach_set("value", marks)


def _new_material(skin: Skin, white: bool) -> bpy.types.Material:
    material = bpy.data.materials.new(skin.mesh.name)
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    texture, whole, aov, output = (
        nodes.new(f"ShaderNode{kind}") for kind in ("TexImage", "BsdfPrincipled", "OutputAOV", "OutputMaterial")
    )
    texture.image = new_image(skin.mesh.name, skin.texture)
    aov.aov_name = "albedo"
    whole.inputs["Roughness"].default_value = skin.roughness
    whole.inputs["Specular IOR Level"].default_value = skin.gloss
    whole.inputs["Diffuse Roughness"].default_value = skin.diffuse_roughness
    links.new(texture.outputs["Color"], whole.inputs["Base Color"])
    links.new(texture.outputs["Color"], aov.inputs["Color"])
    links.new(whole.outputs[0], output.inputs[0])
    if white:
        show_white(material).inputs["Roughness"].default_value = skin.diffuse_roughness
    return material


def show_white(material: bpy.types.Material) -> bpy.types.Node:
    """Make a material white and matt to the camera, as it is to any other ray; returns the white shader."""
    nodes, links = material.node_tree.nodes, material.node_tree.links
    output = next(node for node in nodes if node.type == "OUTPUT_MATERIAL" and node.is_active_output)
    path, white, choice = (nodes.new(f"ShaderNode{kind}") for kind in ("LightPath", "BsdfDiffuse", "MixShader"))
    white.inputs["Color"].default_value = (1, 1, 1, 1)
    for bumpy in (node.inputs["Normal"] for node in nodes if node.type == "BSDF_PRINCIPLED"):
        if bumpy.is_linked:
            links.new(bumpy.links[0].from_socket, white.inputs["Normal"])
    links.new(path.outputs["Is Camera Ray"], choice.inputs[0])
    links.new(output.inputs[0].links[0].from_socket, choice.inputs[1])
    links.new(white.outputs[0], choice.inputs[2])
    links.new(choice.outputs[0], output.inputs[0])
    return white


def new_image(name: str, pixels: np.ndarray) -> bpy.types.Image:
    """A Blender image of linear pixels (H, W, 3), row 0 on top."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height, float_buffer=True)
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = pixels[::-1]
    image.pixels.foreach_set(rgba.ravel())
    image.update()
    return image


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep Blender's progress lines, several a frame, from standard output."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _layers(channels: dict[str, np.ndarray], world_from_camera: np.ndarray) -> dict[str, np.ndarray]:
    """Straight colours and camera-space unit normals from premultiplied passes."""

    def stack(name: str, axes: str) -> np.ndarray:
        return np.stack([channels[f"{name}.{axis}"] for axis in axes], axis=-1).astype(np.float32)

    alpha = np.clip(channels["Combined.A"], 0, 1).astype(np.float32)
    covered = (alpha > 1 / 512)[..., None]
    straight = covered / np.maximum(alpha, 1 / 512)[..., None]
    normal = stack("Normal", "XYZ") @ world_from_camera
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    return {
        "shading": np.maximum(stack("Combined", "RGB") * straight, 0),
        "albedo": np.clip(stack("albedo", "RGB") * straight, 0, 1),
        "normal": normal * covered,
        "alpha": alpha * covered[..., 0],
    }


def _turn_z_to(direction: np.ndarray) -> tuple[float, float, float, float]:
    """Quaternion (w, x, y, z) that turns +z, from where a Sun lamp shines, to a direction."""
    x, y, z = (float(c) for c in direction / np.linalg.norm(direction))
    if z < -0.999999:
        return 0.0, 1.0, 0.0, 0.0
    w = np.sqrt((1 + z) / 2)
    return float(w), -y / (2 * w), x / (2 * w), 0.0


def linked(scene: bpy.types.Scene, thing: bpy.types.Object) -> bpy.types.Object:
    scene.collection.objects.link(thing)
    return thing
