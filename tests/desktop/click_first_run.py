# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: no backend yet, then Use Existing Python in the preferences, then harmonizes.

The path of the Python to choose comes after the other arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from driver import REST, addon, check, click, find_preference, key, open_scene, press, run, shown, until, window


def scenario() -> Generator[float, None, None]:
    """See `driver`."""
    sidebar = yield from open_scene(percentage=25)
    jobs, passes, preferences = addon("jobs"), addon("passes"), addon("preferences")
    check("not installed" in preferences.backend_status()[0][0], "there is no backend")
    yield from shown("no_backend")
    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    yield from until(lambda: jobs.latest() is not None and not jobs.running(), 5.0, "the job ends at once")
    check("not installed" in jobs.latest().problem.message, f"it says why, not {jobs.latest().problem}")
    check(not passes.result_nodes(bpy.context.scene), "nothing was changed")
    yield from shown("harmonized_without_backend")
    yield from key("ESC")  # closes what Blender reports under the mouse

    yield from click(sidebar, "bpy.ops.penumbra.show_preferences()")
    yield from until(lambda: len(bpy.context.window_manager.windows) == 2, 5.0, "the preferences open")
    yield from shown("preferences_install")
    settings = preferences._preferences()
    area = bpy.context.window_manager.windows[1].screen.areas[0]
    region = next(r for r in area.regions if r.type == "WINDOW")
    x, y = yield from find_preference(region, settings, "source", "EXISTING")
    yield from press(region, x, y)
    check(settings.source == "EXISTING", "Use Existing Python is chosen")
    yield 0.5
    x, y = yield from find_preference(region, settings, "backend_python", "nothing", below=y)
    yield from press(region, x, y)
    bpy.context.window_manager.clipboard = str(REST[0])
    place = bpy.context.window_manager.windows[1]
    yield from key("A", ctrl=True, over=place)
    yield from key("V", ctrl=True, over=place)
    yield from key("RET", over=place)
    check(settings.backend_python == str(REST[0]), f"the path is typed, not {settings.backend_python}")
    yield from click(region, "bpy.ops.penumbra.check_backend()", across=0.15)
    yield from until(lambda: not jobs.running(), 120.0, "the backend is checked")
    check(jobs.latest().state == "done", f"the backend runs: {jobs.latest().problem}")
    yield from shown("preferences_existing")

    with bpy.context.temp_override(window=place):
        bpy.ops.wm.window_close()
    yield 0.5
    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    yield from until(lambda: not jobs.running(), 300.0, "the job ends")
    check(jobs.latest().state == "done", f"the job is done: {jobs.latest().problem}")
    check(len(passes.result_nodes(bpy.context.scene)) == 1, "the result is one node")
    check(len(window().screen.areas) > 1, "the main window is as it was")
    yield from shown("first_result")


run(scenario())
