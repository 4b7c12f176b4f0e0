# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: imports a photograph's object by button and file browser, and undoes.

With the emulated backend. A photograph's path comes after the other arguments. Where the network is missing, the button
is there, tells what is missing, and does nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from driver import REST, addon, behave, check, choose, click, find, key, open_scene, press, run, shown, until

PHOTOGRAPH = REST[0]
BUTTON = "bpy.ops.penumbra.import_object()"


def scenario() -> Generator[float, None, None]:
    """See `driver`."""
    behave("render")
    sidebar = yield from open_scene()
    jobs = addon("jobs")
    if not addon("from_photograph").has_weights("reconstructor"):
        x, y = yield from find(sidebar, BUTTON)
        yield from press(sidebar, x, y)
        yield from shown("object_without_network")
        check(jobs.latest() is None, "the button does nothing")
        try:
            bpy.ops.penumbra.import_object(filepath=str(PHOTOGRAPH))
        except RuntimeError as problem:
            check("no trained network" in str(problem), f"it says why, not {problem}")
            return
        raise AssertionError("there is nothing to import with")
    before = {obj.name for obj in bpy.data.objects}
    yield from click(sidebar, BUTTON)
    yield from choose(PHOTOGRAPH)
    yield from until(lambda: jobs.latest() is not None and not jobs.running(), 60.0, "the job ends")
    check(jobs.latest().state == "done", f"the job is done: {jobs.latest().problem}")
    (table,) = (obj for obj in bpy.data.objects if obj.name not in before and obj.type == "MESH")
    check("part" in table.data.attributes, "its parts are told")
    check(bpy.context.scene.camera.name not in before, "the photograph's camera is the scene's")
    yield from shown("object_imported")
    yield from key("Z", ctrl=True)
    yield 1.0
    check({obj.name for obj in bpy.data.objects} == before, "one step of undo takes it away")


run(scenario())
