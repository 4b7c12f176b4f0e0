# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios in a real Blender's window share: mouse, keys, waiting, screenshots, and the run itself.

`-P SCENARIO.py -- scene.blend events.json …`, with --enable-event-simulate. A scenario is a generator that yields the
seconds to wait before it goes on. What was shown when is written to events.json, so that the screenshots taken from
outside can be told apart; the exit status is 0 only where every step went as it should.
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
from types import ModuleType

import bpy

SCENE, EVENTS, *REST = (Path(argument) for argument in sys.argv[sys.argv.index("--") + 1 :])
SHOWN_S = 4.0  # longer than two screenshots are apart
_PACKAGE = "bl_ext.user_default.penumbra"
_events: list[dict[str, object]] = []


def addon(name: str) -> ModuleType:
    """A module of the installed extension's blender_addon."""
    return importlib.import_module(f"{_PACKAGE}.blender_addon.{name}")


def open_scene() -> Generator[float, None, bpy.types.Region]:
    """Open the scene with the extension enabled, the sidebar's tab shown; returns the sidebar."""
    bpy.context.preferences.view.show_splash = False
    bpy.ops.preferences.addon_enable(module=_PACKAGE)
    bpy.ops.wm.open_mainfile(filepath=str(SCENE))
    yield 0.5
    area = next(a for a in window().screen.areas if a.type == "VIEW_3D")
    area.spaces[0].region_3d.view_perspective = "CAMERA"
    area.spaces[0].show_region_ui = True
    yield 0.5
    sidebar = next(r for r in area.regions if r.type == "UI")
    sidebar.active_panel_category = "Penumbra"
    area.tag_redraw()
    yield 1.0
    return sidebar


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


def key(name: str, ctrl: bool = False, types: str = "") -> Generator[float, None, None]:
    """Press a key over the 3D View. types: the character that it types, where that counts."""
    area = next(a for a in window().screen.areas if a.type == "VIEW_3D")
    place = {"x": area.x + area.width // 3, "y": area.y + area.height // 2}
    window().event_simulate(type="MOUSEMOVE", value="NOTHING", **place)
    yield 0.1
    window().event_simulate(type=name, value="PRESS", ctrl=ctrl, unicode=types or None, **place)
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


def run(scenario: Generator[float, None, None]) -> None:
    """Drive a scenario by a timer, and end Blender after it."""

    def drive() -> float | None:
        try:
            return next(scenario)
        except StopIteration:
            status = 0
        except BaseException:
            traceback.print_exc()
            status = 1
        addon("backend_process").stop_shared()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    bpy.app.timers.register(drive, first_interval=1.0, persistent=True)
