# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: what the panel says of a result that no longer fits, how it looks in the light
theme and in a narrow sidebar, and two characters harmonized together. With the emulated backend."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from driver import addon, behave, check, click, drag, key, open_scene, run, shown, until, window


def scenario() -> Generator[float, None, None]:
    """See `driver`."""
    behave("render")
    sidebar = yield from open_scene(percentage=25)
    scene, jobs, passes, result_panel = bpy.context.scene, addon("jobs"), addon("passes"), addon("result_panel")

    def outdated() -> list[str]:
        return passes.outdated(bpy.context, "Walker", addon("properties").export_settings(scene))

    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    yield from until(lambda: not jobs.running(), 60.0, "the job ends")
    check(jobs.latest().state == "done", f"the job is done: {jobs.latest().problem}")
    check(outdated() == [], "it fits the scene")

    yield from key("RIGHT_ARROW")
    check(scene.frame_current == 13, "the timeline moves on")
    check("Frame 13 has no result" in result_panel.frame_text(scene, "Walker"), "this frame has no result")
    yield from shown("another_frame")
    yield from key("LEFT_ARROW")
    check(result_panel.frame_text(scene, "Walker") == "", "frame 12 has")

    rig = bpy.data.objects["Walker"]
    bpy.context.view_layer.objects.active = rig
    rig.select_set(True)
    for pressed, types in (("G", ""), ("X", ""), ("ONE", "1"), ("RET", "")):
        yield from key(pressed, types=types)
    check(outdated() == ["pose"], f"the pose has changed, and not {outdated()}")
    scene.camera.data.lens += 5.0
    yield 0.5
    check(outdated() == ["pose", "camera"], f"so has the camera, and not {outdated()}")
    yield from shown("outdated")

    yield from drag((sidebar.x + 1, sidebar.y + sidebar.height // 2), (70, 0))
    check(sidebar.width < 240, f"the sidebar is narrow, and not {sidebar.width} wide")
    yield from shown("narrow")
    yield from drag((sidebar.x + 1, sidebar.y + sidebar.height // 2), (-90, 0))

    light = next(Path(folder) / "Blender_Light.xml" for folder in bpy.utils.preset_paths("interface_theme"))
    bpy.ops.script.execute_preset(filepath=str(light), menu_idname="USERPREF_MT_interface_theme_presets")
    yield from shown("light_theme")

    twin = [obj.copy() for obj in (rig, *rig.children)]
    for obj in twin:
        scene.collection.objects.link(obj)
    for obj in twin[1:]:
        obj.parent = twin[0]
        for modifier in obj.modifiers:
            if modifier.type == "ARMATURE":
                modifier.object = twin[0]
    twin[0].location.x -= 1.2
    for obj in bpy.context.view_layer.objects:
        obj.select_set(False)
    bpy.context.view_layer.objects.active = None
    for area in window().screen.areas:
        area.tag_redraw()
    yield 0.5
    both = f"{rig.name} & {twin[0].name}"
    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    yield from until(lambda: not jobs.running(), 60.0, "the job of both ends")
    check(list(passes.result_nodes(scene)) == [both], "one result has taken the place of the first")
    check(any("taken out" in notice for notice in jobs.latest().outcome.notices), "which is said")
    yield from shown("two_characters")


run(scenario())
