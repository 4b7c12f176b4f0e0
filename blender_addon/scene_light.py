# SPDX-License-Identifier: GPL-3.0-or-later
"""Light from Plate: the light that was found as a Sun and a World, so that renders agree with the harmonized result."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from ..backend.rays.directions import cell_shares, pixel_directions
from . import compat, own_light, passes
from .relight import Lamp, Light

OWNER = "penumbra_light_of"  # custom property of our suns and worlds: the character whose result they come from
NUMBER = "penumbra_number"  # of our suns: which one of the probe's
STILL = np.radians(0.05)  # a sun that has turned less stands where rays were cast for it
ROWS = 64  # of the world's picture


def add(scene: bpy.types.Scene, character: str) -> list[bpy.types.Object]:
    """Give the scene the light of a character's result at the current frame, or bring it up to date; returns its suns.

    Raises PenumbraError where the result is missing or its light is not beside the images.
    """
    probe = shown_probe(scene, character)
    scene.world = _world(scene, character, probe)
    suns = [_sun(scene, character, number, probe) for number in range(len(probe["suns"]))]
    for surplus in suns_of(scene, character)[len(suns) :]:
        bpy.data.lights.remove(surplus.data)
    return suns


def shown_probe(scene: bpy.types.Scene, character: str) -> dict[str, Any]:
    """The light probe of the frame that the compositor shows. Raises PenumbraError as `passes.kept_folder` does."""
    frame = passes.shown_frame(scene, character)
    return read_probe(passes.kept_folder(scene, character, "probe", "json") / f"probe_{frame:04d}.json")


def read_probe(path: Path) -> dict[str, Any]:
    """A frame's light probe, as `LightProbe.to_json` of the backend has it; not to be changed."""
    return _parsed(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)  # the panel asks whenever it is drawn
def _parsed(path: Path, stamp: int) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def suns_of(scene: bpy.types.Scene, character: str) -> list[bpy.types.Object]:
    """The suns that `add` has given the scene for a character's result, the first one first."""
    found = [obj for obj in scene.objects if obj.type == "LIGHT" and obj.get(OWNER) == character]
    return sorted(found, key=lambda obj: obj[NUMBER])


def probe_now(scene: bpy.types.Scene, character: str) -> dict[str, Any]:
    """The light probe that the suns and the world of `add` make now. Raises PenumbraError as `passes.kept_folder`."""
    probe = shown_probe(scene, character)
    light = light_now(scene, character, probe)
    lamps = [
        {
            "direction": lamp.direction.tolist(),
            "irradiance": lamp.irradiance.tolist(),
            "half_angle": lamp.half_angle,
            "whole": lamp.whole,
        }
        for lamp in light.lamps
    ]
    sky = {"radiance": light.radiance.tolist(), "constant": light.constant.tolist()}
    if light.spread is not None:
        sky["spread"] = light.spread.tolist()
    told = {key: value for key, value in probe.items() if key != "told_shadow"}  # of the estimated suns, not of these
    return {**told, **sky, "suns": lamps, "confidence": 1.0}


def light_now(scene: bpy.types.Scene, character: str, probe: dict[str, Any]) -> Light:
    """The probe's light with its suns as they stand in the scene now, and its sky as strong as the world is."""
    from_world = np.array(probe["world_from_camera"]).T
    lamps = []
    for obj in suns_of(scene, character):
        toward = from_world @ np.array(obj.matrix_world.to_3x3().normalized().col[2])
        irradiance = own_light.irradiance(obj.data)
        number = obj[NUMBER]
        found = probe["suns"][number] if number < len(probe["suns"]) else {"direction": -toward}
        there = number if np.dot(found["direction"], toward) > np.cos(STILL) else None
        lamps.append(
            Lamp(toward, irradiance * (not obj.hide_render), obj.data.angle / 2, there, found.get("whole", 1.0))
        )
    strength = np.float32(1)
    if scene.world and scene.world.get(OWNER) == character:
        strength = np.float32(_background(scene.world).inputs["Strength"].default_value)
    names = (name for name in ("radiance", "constant", "spread") if name in probe)
    radiance, constant, *spread = (np.array(probe[name], np.float32) * strength for name in names)
    return Light(radiance, constant, tuple(lamps), *spread)


def is_given(scene: bpy.types.Scene, character: str) -> bool:
    """Whether something of the light that `add` has given the scene is still there."""
    return bool(suns_of(scene, character) or (scene.world and scene.world.get(OWNER) == character))


def panorama(probe: dict[str, Any], rows: int = ROWS) -> np.ndarray:
    """(rows, 2 rows, 3) radiance without suns in all directions, as Blender's World takes it, row 0 on top.

    What nothing hides in the probe, its constant, is even light here.
    """
    camera = pixel_directions(rows, 2 * rows) @ np.array(probe["world_from_camera"])  # the transpose, from the left
    light = cell_shares(camera) @ np.array(probe["radiance"], np.float32)
    return (light + np.array(probe["constant"], np.float32)).astype(np.float32)


def _sun(scene: bpy.types.Scene, character: str, number: int, probe: dict[str, Any]) -> bpy.types.Object:
    existing = suns_of(scene, character)
    if number < len(existing):
        obj = existing[number]
    else:
        name = f"Sun of {character}" if number == 0 else f"Sun {number + 1} of {character}"
        obj = bpy.data.objects.new(name, bpy.data.lights.new(name, "SUN"))
        obj[OWNER], obj[NUMBER] = character, number
        scene.collection.objects.link(obj)
    aim(obj, probe["suns"][number], probe)
    obj.data[OWNER] = character
    return obj


def aim(obj: bpy.types.Object, sun: dict[str, Any], probe: dict[str, Any]) -> None:
    """Let a Sun shine as one of a probe's."""
    irradiance = np.maximum(sun["irradiance"], 0)
    strongest = max(float(irradiance.max()), 1e-6)
    obj.data.energy = np.pi * strongest  # shading is π-normalised
    obj.data.color = irradiance / strongest
    obj.data.angle = 2 * sun["half_angle"]
    turn(obj, Vector(np.array(probe["world_from_camera"]) @ np.array(sun["direction"])))


def turn(obj: bpy.types.Object, toward: Vector) -> None:
    """Let a Sun stand in a direction of the world."""
    obj.rotation_mode = "XYZ"
    obj.rotation_euler = toward.to_track_quat("Z", "Y").to_euler()


def _world(scene: bpy.types.Scene, character: str, probe: dict[str, Any]) -> bpy.types.World:
    world = next((w for w in bpy.data.worlds if w.get(OWNER) == character), None)
    if world is None:
        world = bpy.data.worlds.new(f"Light of {character}")
        world[OWNER] = character
        compat.use_nodes(world)
        if scene.world:
            scene.world.use_fake_user = True  # it is the artist's: it stays in the file
    shine(world, f"Light of {character}", probe)
    return world


def shine(world: bpy.types.World, name: str, probe: dict[str, Any]) -> bpy.types.Image:
    """Let a World shine as a probe's cells do, by a picture of this name, which is returned."""
    tree, background = world.node_tree, _background(world)
    picture = next((node for node in tree.nodes if node.bl_idname == "ShaderNodeTexEnvironment"), None)
    if picture is None:
        picture = tree.nodes.new("ShaderNodeTexEnvironment")
        picture.location = (background.location.x - 300, background.location.y)
        tree.links.new(picture.outputs["Color"], background.inputs["Color"])
    background.inputs["Strength"].default_value = 1.0
    picture.image = _image(picture.image, name, panorama(probe))
    return picture.image


def _background(world: bpy.types.World) -> bpy.types.Node:
    """The node that shines, which a new world has; the artist may have taken it away."""
    tree = world.node_tree
    found = next((node for node in tree.nodes if node.bl_idname == "ShaderNodeBackground"), None)
    if found is None:
        found = tree.nodes.new("ShaderNodeBackground")
        output = tree.nodes.new("ShaderNodeOutputWorld")
        tree.links.new(found.outputs["Background"], output.inputs["Surface"])
    return found


def _image(image: bpy.types.Image | None, name: str, pixels: np.ndarray) -> bpy.types.Image:
    """A packed image of linear pixels (H, W, 3), row 0 on top; `image` itself where there is one."""
    height, width = pixels.shape[:2]
    image = image or bpy.data.images.new(name, width, height, float_buffer=True)
    image.colorspace_settings.name = "Linear Rec.709"
    opaque = np.dstack([pixels, np.ones((height, width), np.float32)])[::-1]
    image.pixels.foreach_set(np.ascontiguousarray(opaque, np.float32).ravel())
    image.update()
    image.pack()
    return image
