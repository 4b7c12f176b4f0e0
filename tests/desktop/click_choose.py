# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: chooses who is imported from a picture that the emulated backend has made.

A photograph's path comes after the other arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from driver import REST, addon, behave, check, choose, click, key, open_scene, run, shown, until, window

PHOTOGRAPH = REST[0]


def scenario() -> Generator[float, None, None]:
    """See `driver`."""
    behave("render")
    sidebar = yield from open_scene()
    jobs, imports = addon("jobs"), addon("operators.imports")
    yield from click(sidebar, "bpy.ops.penumbra.import_body()")
    yield from until(lambda: browser() is not None, 10.0, "the file browser opens")
    browser().active_operator.who = "CHOSEN"
    yield from choose(PHOTOGRAPH)
    yield from until(lambda: jobs.latest() is not None and not jobs.running(), 60.0, "people are looked for")
    found = jobs.latest()
    check(found.state == "done", f"people are found: {found.problem}")
    yield from until(lambda: imports._asked is not None, 5.0, "they are shown")
    yield from shown("people")
    check(found.outcome.count == 2, "two are found")
    check(not bpy.data.objects.get("Person 2"), "nobody is imported before they are chosen")
    yield from key("RET", over=window())
    yield from until(lambda: jobs.latest() is not found and not jobs.running(), 60.0, "the import ends")
    check(jobs.latest().state == "done", f"the import is done: {jobs.latest().problem}")
    check(bpy.data.objects.get("Person 2") is not None, "the largest, who was chosen beforehand, is imported")
    check(bpy.data.objects.get("Person 1") is None, "and nobody else")
    yield from shown("one_imported")


def browser() -> bpy.types.SpaceFileBrowser | None:
    areas = (area for w in bpy.context.window_manager.windows for area in w.screen.areas)
    return next((area.spaces.active for area in areas if area.type == "FILE_BROWSER"), None)


run(scenario())
