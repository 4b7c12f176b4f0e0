# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: imports a photograph's person by button and file browser, cancels, undoes.

A photograph's path comes after the other arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from driver import REST, addon, check, choose, click, key, open_scene, run, shown, until, window

PHOTOGRAPH = REST[0]


def scenario() -> Generator[float, None, None]:
    """See `driver`."""
    sidebar = yield from open_scene()
    jobs = addon("jobs")
    before = {obj.name for obj in bpy.data.objects}

    def new() -> set[str]:
        return {obj.name for obj in bpy.data.objects} - before

    yield from click(sidebar, "bpy.ops.penumbra.import_body()")
    yield from choose(PHOTOGRAPH)
    yield from until(jobs.running, 5.0, "choosing a file starts a job")
    yield from key("ESC")
    yield from until(lambda: not jobs.running(), 10.0, "Esc ends the job")
    check(jobs.latest().state == "cancelled", "it was cancelled")
    check(not new(), "cancelling adds nothing")

    yield from click(sidebar, "bpy.ops.penumbra.import_body()")
    yield from choose(PHOTOGRAPH)
    yield from until(jobs.running, 5.0, "choosing a file starts a job")
    yield from shown("importing")
    yield from until(lambda: not jobs.running(), 300.0, "the job ends")
    check(jobs.latest().state == "done", f"the job is done, not {jobs.latest().state}: {jobs.latest().problem}")
    check({"Person 1", "Person 1 Body"} < new(), f"the person is there, with {new()}")
    check(bpy.context.scene.camera.name in new(), "the photograph's camera is the scene's")
    area = next(a for a in window().screen.areas if a.type == "VIEW_3D")
    area.spaces[0].shading.color_type = "TEXTURE"
    yield from shown("imported")
    yield from key("Z", ctrl=True)
    yield 1.0
    check(not new(), "one step of undo takes it away")


run(scenario())
