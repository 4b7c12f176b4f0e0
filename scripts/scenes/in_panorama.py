# SPDX-License-Identifier: GPL-3.0-or-later
"""A rigged character from a glTF file in a panorama: as an artist's scene with a plate, and as Cycles lights it there.

The artist's scene holds the character, a camera and a photograph of the panorama through that camera, and no light. The
panorama stands infinitely far away; the character stands on z = 0, on a matt ground as bright as the panorama's floor.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from backend.images import read_exr, write_png
from backend.rays.camera import look_at
from backend.rays.directions import RICS_DIRECTIONS
from backend.shading.environments import Environment, ground_albedo
from backend.shading.panorama import LUMINANCE
from backend.shading.traced import Light

from .cycles_frame import add_ground, add_world, new_image, show_white, silence, use_cycles

TALL = 1.75  # metres, of the character's skinned meshes
LENS = 28.0  # millimetres on a 36 mm sensor
FROM_LIGHT = np.radians(50)  # between the azimuths of the camera and of the main light, seen from the character
FACING = np.radians(25)  # past the camera
DISTANCE, EYE, AIM = 3.1, 1.5, 0.9  # metres: from the character, camera's height, height that it looks at
PLATE_SAMPLES = 16
BRIGHTEST = 1.5  # shading of a white surface that faces the light best: skin there is bright, and nothing burnt out


@dataclass(frozen=True)
class Reference:
    """Cycles' picture of the character, (H, W, …) linear at the plate's exposure.

    colour: premultiplied, gloss and all. alpha: coverage. shading: straight, diffuse light, direct and indirect.
    shadow: the ground's light over its light without the character, at most 1; 1 where there is no ground.
    ground: (H, W) bool, where the camera sees the ground or the character before it.
    """

    colour: np.ndarray
    alpha: np.ndarray
    shading: np.ndarray
    shadow: np.ndarray
    ground: np.ndarray


def build(character: Path, animation: str, panorama: Environment, size: tuple[int, int], blend: Path) -> Environment:
    """Write the artist's scene, and its plate beside it as PNG.

    animation: the first one is taken whose name holds this; its middle is the pose.
    Returns the panorama at the plate's exposure. Raises ValueError where the file lacks a rig or such an animation.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    with silence():
        bpy.ops.import_scene.gltf(filepath=str(character), disable_bone_shape=True)
    panorama = _exposed(panorama)
    toward = Light.of(panorama).probe(np.eye(4)).dominant_direction
    azimuth = float(np.arctan2(toward[1], toward[0])) + FROM_LIGHT
    _rig(scene).name = character.stem
    _pose(scene, animation)
    _stand(scene, azimuth + FACING)
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.view_settings.view_transform, scene.render.dither_intensity = "Standard", 0
    scene.camera = _camera(scene, azimuth)
    _photograph(scene, panorama, blend.with_suffix(".png"))
    background = scene.camera.data.background_images.new()
    background.image = bpy.data.images.load(str(blend.with_suffix(".png")))
    scene.camera.data.show_background_images = True
    bpy.ops.wm.save_as_mainfile(filepath=str(blend), relative_remap=True)
    return panorama


def light_by(panorama: Environment, blend: Path, to: Path) -> None:
    """Save the artist's scene of `build` once more, with the panorama as its World, for Light From Scene."""
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    scene = bpy.context.scene
    image = new_image("panorama", panorama.picture)
    image.pack()
    add_world(scene).image = image
    scene.penumbra.estimator = "scene"
    bpy.ops.wm.save_as_mainfile(filepath=str(to))


def reference(panorama: Environment, samples: int) -> Reference:
    """Render the open scene under an exposed panorama; the scene is left as it was rendered."""
    scene = bpy.context.scene
    use_cycles(scene, samples, denoise=True)
    ground, colour = add_ground(scene)
    colour.default_value = (*ground_albedo(panorama), 1.0)
    add_world(scene).image = new_image("panorama", panorama.picture)
    parts = _meshes(scene, but=ground)
    seen = _render(scene)
    for material in {slot.material for part in parts for slot in part.material_slots}:
        show_white(material)
    white = _render(scene)
    alpha = np.clip(white["Combined.A"], 0, 1)
    shading = _stack(white, "Combined") / np.maximum(alpha, 1 / 512)[..., None]

    ground.visible_camera = True
    for part in parts:
        part.visible_camera = False
    shadowed = _render(scene)
    for part in parts:
        part.hide_render = True
    open_ground = _render(scene)
    at = open_ground["Combined.A"] > 0.5
    without = _stack(open_ground, "Combined")
    ratio = np.clip(_stack(shadowed, "Combined") / np.maximum(without, 1e-6), 0, 1)
    return Reference(
        _stack(seen, "Combined"),
        alpha,
        np.maximum(shading, 0),
        np.where((at & (without.min(-1) > 1e-6))[..., None], ratio, 1),
        at,
    )


def _pose(scene: bpy.types.Scene, animation: str) -> None:
    """Hold the animation's middle frame; of the things that one bone carries, the first is shown."""
    actions = sorted((a for a in bpy.data.actions if animation.lower() in a.name.lower()), key=lambda a: a.name)
    if not actions:
        raise ValueError(f"no animation is called “{animation}”: {', '.join(a.name for a in bpy.data.actions)}")
    rig = _rig(scene)
    for track in list(rig.animation_data.nla_tracks):
        rig.animation_data.nla_tracks.remove(track)
    rig.animation_data.action = actions[0]
    rig.animation_data.action_slot = actions[0].slots[0]
    scene.frame_set(round(sum(actions[0].frame_range) / 2))
    carried = set()
    for item in sorted(rig.children, key=lambda o: o.name):
        if item.parent_type == "BONE":
            item.hide_render = item.hide_viewport = item.parent_bone in carried
            carried.add(item.parent_bone)


def _stand(scene: bpy.types.Scene, facing: float) -> None:
    """Scale the character, turn it to an azimuth (a glTF file's characters face −y), and put it on z = 0."""
    rig = _rig(scene)
    skinned = [o for o in _meshes(scene) if any(m.type == "ARMATURE" for m in o.modifiers)]
    if not skinned:
        raise ValueError("no mesh has an armature")
    height = _heights(skinned)
    rig.scale *= TALL / (height.max() - height.min())
    rig.rotation_mode = "XYZ"
    rig.rotation_euler.z += facing + np.pi / 2
    rig.location.z -= _heights(_meshes(scene)).min()


def _camera(scene: bpy.types.Scene, azimuth: float) -> bpy.types.Object:
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.data.lens = LENS
    eye = (DISTANCE * np.cos(azimuth), DISTANCE * np.sin(azimuth), EYE)
    camera.matrix_world = look_at(eye, (0, 0, AIM)).T.tolist()
    scene.collection.objects.link(camera)
    return camera


def _exposed(panorama: Environment) -> Environment:
    """The panorama at the exposure that a light meter at the character's place would choose."""
    light = Light.of(panorama).probe(np.eye(4))
    facing = np.array([*RICS_DIRECTIONS, *(sun.direction for sun in light.suns)], np.float32)
    shading = light.shade(np.ones((len(facing), 62)), facing, np.ones((len(facing), len(light.suns))))
    return panorama.scaled(BRIGHTEST / float((shading @ LUMINANCE).max()))


def _photograph(scene: bpy.types.Scene, panorama: Environment, path: Path) -> None:
    """Photograph the panorama without the character."""
    use_cycles(scene, PLATE_SAMPLES, denoise=False)
    scene.render.film_transparent = False
    add_world(scene).image = new_image("panorama", panorama.picture)
    hidden = _meshes(scene)
    for part in hidden:
        part.hide_render = True
    write_png(path, _stack(_render(scene), "Combined"))
    for part in hidden:
        part.hide_render = False
    bpy.data.worlds.remove(scene.world)


def _rig(scene: bpy.types.Scene) -> bpy.types.Object:
    rigs = [o for o in scene.objects if o.type == "ARMATURE"]
    if not rigs:
        raise ValueError("the file holds no armature")
    return rigs[0]


def _meshes(scene: bpy.types.Scene, but: bpy.types.Object | None = None) -> list[bpy.types.Object]:
    return [o for o in scene.objects if o.type == "MESH" and not o.hide_render and o != but]


def _heights(meshes: list[bpy.types.Object]) -> np.ndarray:
    """World z of all posed vertices, metres."""
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    heights = []
    for item in meshes:
        posed = item.evaluated_get(graph)
        vertices = np.empty(3 * len(posed.data.vertices), np.float32)
        posed.data.vertices.foreach_get("co", vertices)
        matrix = np.array(posed.matrix_world)
        heights.append(vertices.reshape(-1, 3) @ matrix[2, :3] + matrix[2, 3])
    return np.concatenate(heights)


def _render(scene: bpy.types.Scene) -> dict[str, np.ndarray]:
    """The channels of a render by layer-less names, such as "Combined.R"."""
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / "frame.exr")
        with silence():
            bpy.ops.render.render(write_still=True)
        channels = read_exr(scene.render.filepath)
    return {name.split(".", 1)[-1]: channel for name, channel in channels.items()}


def _stack(channels: dict[str, np.ndarray], name: str) -> np.ndarray:
    return np.stack([channels[f"{name}.{c}"] for c in "RGB"], axis=-1)
