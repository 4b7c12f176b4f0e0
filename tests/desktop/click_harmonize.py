# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: clicks Harmonize Shading, cancels with Esc, clicks again, waits, undoes."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from driver import addon, check, click, key, open_scene, point, run, shown, until, window


def scenario() -> Generator[float, None, None]:
    """See `driver`."""
    sidebar = yield from open_scene()
    jobs, passes = addon("jobs"), addon("passes")
    area = next(a for a in window().screen.areas if a.type == "VIEW_3D")
    yield from shown("ready")

    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    yield from until(jobs.running, 5.0, "the click starts a job")
    yield from until(lambda: jobs.latest().progress.fraction > 0.0, 120.0, "progress comes")
    yield from shown("progress")
    check(jobs.latest().state == "running", "the job still runs")
    yield from key("ESC")
    yield from until(lambda: not jobs.running(), 10.0, "Esc ends the job")
    check(jobs.latest().state == "cancelled", "it was cancelled")
    check(not passes.result_nodes(bpy.context.scene), "cancelling leaves no nodes")
    yield from shown("cancelled")

    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    yield from until(lambda: not jobs.running(), 540.0, "the job ends")
    check(jobs.latest().state == "done", f"the job is done, not {jobs.latest().state}: {jobs.latest().problem}")
    check(len(passes.result_nodes(bpy.context.scene)) == 1, "the result is one node")
    shading = np.array(passes.role_image("Walker", "shading").pixels)
    yield from shown("done")

    area.type = "NODE_EDITOR"
    area.ui_type = "CompositorNodeTree"
    yield 1.0
    with bpy.context.temp_override(area=area, region=next(r for r in area.regions if r.type == "WINDOW")):
        bpy.ops.node.view_all()
    yield from shown("compositor")
    area.type = "VIEW_3D"
    yield 1.0
    point(area.regions[-1])
    yield from key("Z", ctrl=True)
    yield 1.0
    check(not passes.result_nodes(bpy.context.scene), "one step of undo takes the result away")
    yield from shown("undone")
    yield from key("Z", ctrl=True, shift=True)
    yield 1.0
    check(list(passes.result_nodes(bpy.context.scene)) == ["Walker"], "redo brings it back")
    check(np.array_equal(np.array(passes.role_image("Walker", "shading").pixels), shading), "with its pixels")
    check(passes.result_node(bpy.context.scene, "Walker").outputs["Image"].is_linked, "and its link")
    yield from shown("redone")


run(scenario())
