# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: clicks Harmonize Shading, cancels with Esc, clicks again, waits, undoes.

`-P click_harmonize.py -- scene.blend events.json`, with --enable-event-simulate. Writes what happened when, so that
the screenshots taken from outside can be told apart; the exit status is 0 only where every step went as it should.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path

import bpy

SCENE, EVENTS = (Path(argument) for argument in sys.argv[sys.argv.index("--") + 1 :])
PACKAGE = "bl_ext.user_default.penumbra"
SHOWN_S = 4.0  # longer than two screenshots are apart
_events: list[dict[str, object]] = []


def scenario() -> Generator[float, None, None]:
    """Yields the seconds to wait before it goes on."""
    bpy.context.preferences.view.show_splash = False
    bpy.ops.preferences.addon_enable(module=PACKAGE)
    jobs = importlib.import_module(f"{PACKAGE}.blender_addon.jobs")
    passes = importlib.import_module(f"{PACKAGE}.blender_addon.passes")
    bpy.ops.wm.open_mainfile(filepath=str(SCENE))
    yield 0.5
    area = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == "VIEW_3D")
    area.spaces[0].region_3d.view_perspective = "CAMERA"
    area.spaces[0].show_region_ui = True
    yield 0.5
    sidebar = next(r for r in area.regions if r.type == "UI")
    sidebar.active_panel_category = "Penumbra"
    area.tag_redraw()
    yield 1.0
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


def window() -> bpy.types.Window:
    return bpy.context.window_manager.windows[0]


def point(region: bpy.types.Region, from_top: float | None = None) -> None:
    """Move the mouse into a region."""
    x = region.x + region.width // 3
    y = region.y + (region.height // 2 if from_top is None else region.height - int(from_top))
    window().event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)


def click(region: bpy.types.Region, command: str) -> Generator[float, None, None]:
    """Move the mouse down a region until it is over the button that runs the command, and click that."""
    for y in range(10, region.height, 6):
        point(region, y)
        yield 0.05
        window_manager = bpy.context.window_manager
        window_manager.clipboard = ""
        area = next(a for a in window().screen.areas if region in a.regions[:])
        with bpy.context.temp_override(window=window(), area=area, region=region):
            if bpy.ops.ui.copy_python_command_button.poll():
                bpy.ops.ui.copy_python_command_button()
        if window_manager.clipboard == command:
            x, top = region.x + region.width // 3, region.y + region.height - y - 3
            window().event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=top)
            yield 0.1
            window().event_simulate(type="LEFTMOUSE", value="PRESS", x=x, y=top)
            window().event_simulate(type="LEFTMOUSE", value="RELEASE", x=x, y=top)
            yield 0.2
            return
    raise AssertionError(f"no button runs {command}")


def key(name: str, ctrl: bool = False) -> Generator[float, None, None]:
    area = next(a for a in window().screen.areas if a.type == "VIEW_3D")
    place = {"x": area.x + area.width // 3, "y": area.y + area.height // 2}
    window().event_simulate(type="MOUSEMOVE", value="NOTHING", **place)
    yield 0.1
    window().event_simulate(type=name, value="PRESS", ctrl=ctrl, **place)
    window().event_simulate(type=name, value="RELEASE", ctrl=ctrl, **place)
    yield 0.2


def until(condition: Callable[[], bool], seconds: float, what: str) -> Generator[float, None, None]:
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"{what} within {seconds:.0f} s")
        yield 0.1


def check(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def shown(name: str) -> Generator[float, None, None]:
    """Leave the window as it is for long enough to be photographed."""
    start = time.time()
    yield SHOWN_S
    _events.append({"name": name, "start": start, "end": time.time()})
    EVENTS.write_text(json.dumps(_events))


def drive(steps: Generator[float, None, None] = scenario()) -> float | None:  # noqa: B008 (one scenario a process)
    try:
        return next(steps)
    except StopIteration:
        status = 0
    except BaseException:
        traceback.print_exc()
        status = 1
    importlib.import_module(f"{PACKAGE}.blender_addon.backend_process").stop_shared()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


bpy.app.timers.register(drive, first_interval=1.0, persistent=True)
