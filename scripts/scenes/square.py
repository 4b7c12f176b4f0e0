# SPDX-License-Identifier: GPL-3.0-or-later
"""The place of the demo's photograph, for Cycles: a paved square between house fronts, with things that throw shadows.

It is built around the world origin, where a person stands on z = 0; a few metres around it stay free. The same seed
always gives the same square.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from pathlib import Path

import bmesh
import bpy
import numpy as np
from mathutils import Vector


class Place:
    """The scene being built, with the random generator that decides everything about it."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.scene = bpy.context.scene

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def colour(self, saturation: tuple[float, float], value: tuple[float, float], hue: float | None = None) -> tuple:
        """A linear RGBA colour, its hue near `hue` where one is given."""
        h = self.uniform(0, 1) if hue is None else (hue + self.uniform(-0.04, 0.04)) % 1
        return (*colorsys.hsv_to_rgb(h, self.uniform(*saturation), self.uniform(*value)), 1.0)


# Materials ----------------------------------------------------------------------------------------------------------


def material(name: str) -> tuple[bpy.types.Material, bpy.types.NodeTree, bpy.types.Node]:
    """An empty material with a Principled shader: the material, its nodes, the shader."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    return made, made.node_tree, made.node_tree.nodes["Principled BSDF"]


def mottled(a: tuple, b: tuple, scale: float) -> bpy.types.Material:
    """Two colours mixed by noise of two scales, in world metres."""
    made, tree, shader = material("mottled")
    position = tree.nodes.new("ShaderNodeNewGeometry").outputs["Position"]
    fine, coarse = tree.nodes.new("ShaderNodeTexNoise"), tree.nodes.new("ShaderNodeTexNoise")
    for noise, s in ((fine, scale), (coarse, scale * 0.07)):
        noise.inputs["Scale"].default_value = s
        noise.inputs["Detail"].default_value = 6
        tree.links.new(position, noise.inputs["Vector"])
    both = tree.nodes.new("ShaderNodeMath")
    both.operation = "MULTIPLY_ADD"
    both.inputs[1].default_value = 0.5
    tree.links.new(fine.outputs[0], both.inputs[0])
    half = tree.nodes.new("ShaderNodeMath")
    half.operation = "MULTIPLY"
    half.inputs[1].default_value = 0.5
    tree.links.new(coarse.outputs[0], half.inputs[0])
    tree.links.new(half.outputs[0], both.inputs[2])
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = a, b
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.38, 0.62
    tree.links.new(both.outputs[0], ramp.inputs[0])
    tree.links.new(ramp.outputs[0], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.8
    return made


def bricks(place: Place, a: tuple, b: tuple, mortar: tuple, size: float, wide: float = 2.0) -> bpy.types.Material:
    """Bricks, tiles, slabs or windows in a grid, in world metres along the surface."""
    made, tree, shader = material("bricks")
    coordinates = tree.nodes.new("ShaderNodeTexCoord").outputs["UV"]
    brick = tree.nodes.new("ShaderNodeTexBrick")
    for socket, value in (("Color1", a), ("Color2", b), ("Mortar", mortar)):
        brick.inputs[socket].default_value = value
    brick.inputs["Scale"].default_value = 1.0
    brick.inputs["Brick Width"].default_value = size * wide
    brick.inputs["Row Height"].default_value = size
    brick.inputs["Mortar Size"].default_value = size * 0.04
    noise = tree.nodes.new("ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value = 6.0 / size
    noise.inputs["Detail"].default_value = 5
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type, mix.blend_type = "RGBA", "OVERLAY"
    mix.inputs[0].default_value = 0.45
    tree.links.new(coordinates, brick.inputs["Vector"])
    tree.links.new(coordinates, noise.inputs["Vector"])
    tree.links.new(brick.outputs["Color"], mix.inputs[6])
    tree.links.new(noise.outputs[0], mix.inputs[7])
    tree.links.new(mix.outputs[2], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = place.uniform(0.5, 0.9)
    _bump(tree, shader, brick.outputs["Fac"], -0.15)
    return made


def plain(colour: tuple, roughness: float) -> bpy.types.Material:
    made, _, shader = material("plain")
    shader.inputs["Base Color"].default_value = colour
    shader.inputs["Roughness"].default_value = roughness
    return made


def _bump(tree: bpy.types.NodeTree, shader: bpy.types.Node, height: bpy.types.NodeSocket, strength: float) -> None:
    node = tree.nodes.new("ShaderNodeBump")
    node.inputs["Strength"].default_value = abs(strength)
    node.inputs["Distance"].default_value = 0.02
    node.invert = strength < 0
    tree.links.new(height, node.inputs["Height"])
    tree.links.new(node.outputs[0], shader.inputs["Normal"])


# Shapes -------------------------------------------------------------------------------------------------------------


def box(place: Place, centre: tuple, size: tuple, made: bpy.types.Material, turn: float = 0.0) -> None:
    """A box standing on centre's z, turned about z; UVs in metres so that textures keep their size."""
    hx, hy, z = size[0] / 2, size[1] / 2, size[2]
    corners = [(-hx, -hy, 0), (hx, -hy, 0), (hx, hy, 0), (-hx, hy, 0)]
    vertices = corners + [(a, b, z) for a, b, _ in corners]
    faces = [(0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7), (3, 2, 1, 0)]
    wide = [2 * hx, 2 * hy, 2 * hx, 2 * hy]
    uv = [(0, 0, w, 0, w, z, 0, z) for w in wide] + [(0, 0, 2 * hx, 0, 2 * hx, 2 * hy, 0, 2 * hy)] * 2
    mesh = bpy.data.meshes.new("box")
    mesh.from_pydata(vertices, [], faces)
    mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", np.array(uv, np.float32).ravel())
    _place(place, mesh, centre, made, turn)


def shape(place: Place, add: Callable, centre: tuple, scale: tuple, made: bpy.types.Material) -> None:
    """One of Blender's bmesh primitives, scaled and placed."""
    mesh, b = bpy.data.meshes.new("shape"), bmesh.new()
    add(b)
    for vertex in b.verts:
        vertex.co = Vector(c * s for c, s in zip(vertex.co, scale, strict=True))
    b.to_mesh(mesh)
    b.free()
    mesh.shade_smooth()
    _place(place, mesh, centre, made, place.uniform(0, 6.28))


def _place(place: Place, mesh: bpy.types.Mesh, centre: tuple, made: bpy.types.Material, turn: float) -> None:
    mesh.materials.append(made)
    thing = bpy.data.objects.new(mesh.name, mesh)
    thing.location, thing.rotation_euler = centre, (0, 0, turn)
    place.scene.collection.objects.link(thing)


def ball(b) -> None:
    bmesh.ops.create_icosphere(b, subdivisions=3, radius=1.0)


def cylinder(b) -> None:
    bmesh.ops.create_cone(b, cap_ends=True, segments=24, radius1=1.0, radius2=1.0, depth=2.0)


def clutter(place: Place, count: int, near: float, far: float) -> None:
    """Boxes, balls, posts and benches that throw shadows and colour on the ground."""
    for _ in range(count):
        angle, radius = place.uniform(0, 6.28), place.uniform(near, far)
        x, y = radius * math.cos(angle), radius * math.sin(angle)
        made = mottled(place.colour((0, 0.8), (0.05, 0.8)), place.colour((0, 0.6), (0.05, 0.8)), place.uniform(2, 20))
        what = place.rng.integers(4)
        if what == 0:
            s = place.uniform(0.3, 1.2)
            box(
                place, (x, y, 0), (s, s * place.uniform(0.5, 2), s * place.uniform(0.4, 1.5)), made, place.uniform(0, 3)
            )
        elif what == 1:
            r = place.uniform(0.2, 0.6)
            shape(place, ball, (x, y, r), (r, r, r), made)
        elif what == 2:
            h, r = place.uniform(0.5, 2.2), place.uniform(0.04, 0.25)
            shape(place, cylinder, (x, y, h), (r, r, h), made)
        else:
            turn, length = place.uniform(0, 3), place.uniform(1.2, 2.2)
            box(place, (x, y, 0.42), (length, 0.45, 0.06), made, turn)
            for end in (-0.4, 0.4):
                at = (x + end * length * math.cos(turn), y + end * length * math.sin(turn), 0)
                box(place, at, (0.08, 0.4, 0.42), made, turn)


# Light --------------------------------------------------------------------------------------------------------------


def sky(place: Place) -> None:
    """Blender's physical sky, clear with a sun or veiled by cloud."""
    world = bpy.data.worlds.new("sky")
    place.scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    node = nodes.new("ShaderNodeTexSky")
    node.sky_type = "NISHITA"
    sunny = bool(place.rng.random() < 0.7)
    node.sun_disc = sunny
    node.sun_size = math.radians(place.uniform(0.6, 1.6))
    node.sun_elevation = math.radians(place.uniform(8, 70))
    node.sun_rotation = place.uniform(0, 2 * math.pi)
    node.sun_intensity = place.uniform(0.3, 1.0)
    node.air_density, node.dust_density = place.uniform(0.7, 1.8), place.uniform(0.3, 4)
    cloud = nodes.new("ShaderNodeTexNoise")
    cloud.inputs["Scale"].default_value = place.uniform(1.5, 4)
    cloud.inputs["Detail"].default_value = 8
    ramp = nodes.new("ShaderNodeMapRange")
    ramp.inputs["From Min"].default_value = place.uniform(0.45, 0.6) if sunny else place.uniform(0.0, 0.35)
    ramp.inputs["From Max"].default_value = ramp.inputs["From Min"].default_value + place.uniform(0.1, 0.3)
    mix = nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    grey = place.uniform(2, 6)
    mix.inputs[7].default_value = (grey * 0.95, grey, grey * 1.04, 1)
    links.new(cloud.outputs[0], ramp.inputs[0])
    factor = ramp.outputs[0]
    if sunny:  # the disc shines through: a cloud never covers it
        bright = nodes.new("ShaderNodeRGBToBW")
        dim = nodes.new("ShaderNodeMath")
        dim.operation = "LESS_THAN"
        dim.inputs[1].default_value = 200
        keep = nodes.new("ShaderNodeMath")
        keep.operation = "MULTIPLY"
        links.new(node.outputs[0], bright.inputs[0])
        links.new(bright.outputs[0], dim.inputs[0])
        links.new(dim.outputs[0], keep.inputs[0])
        links.new(ramp.outputs[0], keep.inputs[1])
        factor = keep.outputs[0]
    links.new(factor, mix.inputs[0])
    links.new(node.outputs[0], mix.inputs[6])
    links.new(mix.outputs[2], nodes["Background"].inputs[0])
    nodes["Background"].inputs[1].default_value = 1.0


# Places -------------------------------------------------------------------------------------------------------------


def ground(place: Place, made: bpy.types.Material) -> None:
    box(place, (0, 0, -0.2), (160, 160, 0.2), made)


def facades(place: Place, count: int, near: float, far: float, height: tuple[float, float]) -> None:
    """House fronts with rows of windows, around the free middle."""
    for i in range(count):
        angle = 2 * math.pi * (i + place.uniform(-0.25, 0.25)) / count
        deep, wide, tall = place.uniform(6, 10), place.uniform(6, 16), place.uniform(*height)
        radius = place.uniform(near, far) + deep / 2
        x, y = radius * math.cos(angle), radius * math.sin(angle)
        hue = place.uniform(0, 0.14)
        wall = place.colour((0.05, 0.6), (0.25, 0.75), hue)
        box(
            place,
            (x, y, 0),
            (wide, deep, tall),
            bricks(place, wall, [c * 0.85 for c in wall[:3]] + [1], wall, place.uniform(0.1, 0.4)),
            angle + math.pi / 2,
        )
        glass, frame = (
            plain(place.colour((0.1, 0.4), (0.02, 0.12), 0.58), 0.1),
            plain(place.colour((0, 0.1), (0.5, 0.9)), 0.5),
        )
        inward = (-math.cos(angle), -math.sin(angle))
        along = (-inward[1], inward[0])
        for storey in range(int(tall / 3)):
            for column in range(int(wide / 2.4)):
                offset = (column + 0.5) * 2.4 - wide / 2 + (wide % 2.4) / 2
                for made, grow, out in ((frame, 0.12, 0.02), (glass, 0.0, 0.05)):
                    at = (
                        x + inward[0] * (deep / 2 + out) + along[0] * offset,
                        y + inward[1] * (deep / 2 + out) + along[1] * offset,
                    )
                    box(
                        place,
                        (*at, storey * 3 + 1 - grow / 2),
                        (1.1 + grow, 0.04, 1.4 + grow),
                        made,
                        angle + math.pi / 2,
                    )


# Pictures -----------------------------------------------------------------------------------------------------------


def build(seed: int) -> Place:
    """A new, empty Blender file with the square of this seed in it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    place = Place(seed)
    slabs = [place.colour((0, 0.35), (0.3, 0.65), 0.09) for _ in range(2)]
    ground(place, bricks(place, *slabs, (0.12, 0.11, 0.1, 1), place.uniform(0.3, 1.2), place.uniform(1, 2)))
    facades(place, int(place.rng.integers(6, 12)), 16, 40, (6, 20))
    clutter(place, 14, 3, 12)
    sky(place)
    return place


def render(place: Place, camera: bpy.types.Object, size: tuple[int, int], samples: int, path: Path) -> None:
    """Path trace the place through a camera into a scene-linear EXR, denoised."""
    scene = place.scene
    scene.camera = camera
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = samples, True
    scene.cycles.use_adaptive_sampling = True
    scene.cycles.max_bounces, scene.cycles.sample_clamp_indirect = 6, 20
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_depth = "32"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


def add_camera(place: Place, at: tuple, toward: tuple) -> bpy.types.Object:
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.location = at
    camera.rotation_euler = (Vector(toward) - Vector(at)).to_track_quat("-Z", "Y").to_euler()
    place.scene.collection.objects.link(camera)
    return camera
