# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: harmonizes, gives the scene the plate's light, drags the shadow, turns
the Sun, and goes back."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from bpy_extras import view3d_utils
from driver import addon, check, click, drag, key, open_scene, run, shown, until, window


def scenario() -> Generator[float, None, None]:
    """See `driver`."""
    sidebar = yield from open_scene()
    jobs, passes, scene_light = addon("jobs"), addon("passes"), addon("scene_light")
    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    yield from until(lambda: jobs.latest() is not None and not jobs.running(), 540.0, "the job ends")
    (name,) = passes.result_nodes(bpy.context.scene)
    image = passes.role_image(name, "shading")
    shadow = passes.role_image(name, "shadow")
    found, found_shadow = np.array(image.pixels), np.array(shadow.pixels)

    button = f'bpy.ops.penumbra.light_from_plate(character="{name}")'
    yield from click(sidebar, button)
    suns = scene_light.suns_of(bpy.context.scene, name)
    check(len(suns) == 1, f"the demo's plate has one sun, not {len(suns)}")
    yield from shown("given")
    check("shading_" in image.filepath, "the light found changes nothing")

    handle, sun = addon("shadow_handle"), suns[0].name
    area = next(a for a in window().screen.areas if a.type == "VIEW_3D")
    view = next(r for r in area.regions if r.type == "WINDOW")

    def place() -> tuple[int, int]:
        tip = handle.tip(bpy.data.objects[sun], *handle.caster(bpy.context.scene, name))
        at = view3d_utils.location_3d_to_region_2d(view, area.spaces[0].region_3d, tip)
        return round(view.x + at.x), round(view.y + at.y)

    start, turned = place(), bpy.data.objects[sun].rotation_euler.copy()
    yield from drag(start, (-130, 15))
    end = place()
    check(
        abs(end[0] - start[0] + 130) + abs(end[1] - start[1] - 15) < 8,
        f"the tip is where it was dragged to: {start}, {end}",
    )
    yield from until(lambda: np.abs(np.array(shadow.pixels) - found_shadow).max() > 0.2, 5.0, "the shadow follows")
    yield from until(lambda: "relitshadow_" in shadow.filepath, 10.0, "the new shadow is written")
    yield from shown("dragged")
    yield from key("Z", ctrl=True)
    yield from until(lambda: bpy.data.objects[sun].rotation_euler == turned, 5.0, "undo turns the Sun back")
    yield from until(lambda: "relit" not in passes.role_image(name, "shadow").filepath, 10.0, "and its shadow")
    image, suns = passes.role_image(name, "shading"), scene_light.suns_of(bpy.context.scene, name)

    for obj in bpy.context.view_layer.objects:
        obj.select_set(obj == suns[0])
    bpy.context.view_layer.objects.active = suns[0]
    for pressed, types in (("R", ""), ("Z", ""), ("NINE", "9"), ("ZERO", "0"), ("RET", "")):
        yield from key(pressed, types=types)
    yield from until(lambda: np.abs(np.array(image.pixels) - found).max() > 0.2, 5.0, "the shading follows the Sun")
    yield from until(lambda: "relit_" in image.filepath, 10.0, "the new shading is written")
    area.ui_type = "IMAGE_EDITOR"
    area.spaces[0].image = image
    yield from shown("turned")

    area.ui_type = "VIEW_3D"
    yield 1.0
    sidebar = next(r for r in area.regions if r.type == "UI")
    yield from click(sidebar, button)
    yield from until(lambda: "shading_" in image.filepath, 10.0, "the light found is back")
    check(np.array_equal(np.array(image.pixels), found), "the shading is as it was")


run(scenario())
