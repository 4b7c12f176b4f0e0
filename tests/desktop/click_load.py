# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: opens another file while a job runs, and harmonizes there.

With the emulated backend. The other file's path comes after the other arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from driver import REST, SCENE, addon, behave, check, children, click, open_scene, run, shown, until

OTHER = REST[0]


def scenario() -> Generator[float, None, None]:
    """See `driver`."""
    jobs, harmonize, passes = addon("jobs"), addon("harmonize"), addon("passes")
    behave("work")
    sidebar = yield from open_scene(percentage=25)
    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    yield from until(lambda: any("export_process" in line for line in children()), 30.0, "the export runs")
    sidebar = yield from opened(OTHER)
    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    yield from until(lambda: jobs.latest().progress.fraction > harmonize.EXPORTED, 60.0, "the backend works")
    yield from opened(SCENE)
    yield from shown("loaded_in_mid_job")

    behave("render")
    sidebar = yield from opened(OTHER)
    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    yield from until(lambda: not jobs.running(), 60.0, "the job ends")
    check(jobs.latest().state == "done", f"the job is done: {jobs.latest().problem}")
    check(list(passes.result_nodes(bpy.context.scene)) == ["Walker"], "the other file has a result")
    yield from shown("harmonized_after_loading")


def opened(path: Path) -> Generator[float, None, bpy.types.Region]:
    """Open another file as the file browser does, whatever runs, and see that nothing of that is left."""
    sidebar = yield from open_scene(path=path)
    bpy.context.scene.render.resolution_percentage = 25
    check(addon("jobs").latest() is None, "the job is over")
    yield from until(lambda: not children(), 5.0, f"no process is left of it, but {children()}")
    check(not addon("passes").result_nodes(bpy.context.scene), "the other file has no result")
    check(not [i for i in bpy.data.images if "penumbra" in i.filepath], "nor images of one")
    return sidebar


run(scenario())
