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
SHOWN_S = 30.0  # at most
_PACKAGE = "bl_ext.user_default.penumbra"
_events: list[dict[str, object]] = []


def addon(name: str) -> ModuleType:
    """A module of the installed extension's blender_addon."""
    return importlib.import_module(f"{_PACKAGE}.blender_addon.{name}")


def open_scene(percentage: int = 100, path: Path = SCENE) -> Generator[float, None, bpy.types.Region]:
    """Open a scene with the extension enabled, the sidebar's tab shown; returns the sidebar.

    percentage: of its render size, where a small one is enough.
    """
    bpy.context.preferences.view.show_splash = False
    bpy.ops.preferences.addon_enable(module=_PACKAGE)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    yield 0.5
    bpy.context.scene.render.resolution_percentage = percentage
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


def point(region: bpy.types.Region, from_top: float | None = None, across: float = 0.3) -> None:
    """Move the mouse into a region; across: the share of its width, from the left."""
    y = region.y + (region.height // 2 if from_top is None else region.height - int(from_top))
    x = region.x + int(across * region.width)
    _of(region)[0].event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)


def click(region: bpy.types.Region, command: str, across: float = 0.3) -> Generator[float, None, None]:
    """Move the mouse down a region until it is over the button that runs the command, and click that."""
    x, y = yield from find(region, command, across)
    yield from press(region, x, y)


def find(region: bpy.types.Region, command: str, across: float = 0.3) -> Generator[float, None, tuple[int, int]]:
    """Move the mouse down a region until it is over the button that runs a command; returns (x, y) in the window."""

    def runs() -> bool:
        bpy.context.window_manager.clipboard = ""
        _call(region, "copy_python_command_button")
        return bpy.context.window_manager.clipboard == command

    return (yield from _down(region, runs, command, across=across))


def find_preference(
    region: bpy.types.Region, settings: bpy.types.AddonPreferences, name: str, other: object, below: int | None = None
) -> Generator[float, None, tuple[int, int]]:
    """The same for a preference of an add-on: the one that is no longer `other` when its button is reset to default.

    below: look only below this y, as what is above is reset as well.
    """
    setattr(settings, name, other)
    yield 0.5

    def resets() -> bool:
        _call(region, "reset_default_button")
        return getattr(settings, name) != other

    from_top = 10 if below is None else region.y + region.height - below + 20
    return (yield from _down(region, resets, name, from_top, across=0.8))  # its label is on the left


def _down(
    region: bpy.types.Region, found: Callable[[], bool], what: str, from_top: int = 10, across: float = 0.3
) -> Generator[float, None, tuple[int, int]]:
    for y in range(from_top, region.height, 6):
        point(region, y, across)
        yield 0.05
        if found():
            return region.x + int(across * region.width), region.y + region.height - y - 3
    raise AssertionError(f"no button of {what}")


def press(region: bpy.types.Region, x: int, y: int) -> Generator[float, None, None]:
    """Click a place of a region's window."""
    place = _of(region)[0]
    place.event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
    yield 0.1
    for value in ("PRESS", "RELEASE"):
        place.event_simulate(type="LEFTMOUSE", value=value, x=x, y=y)
    yield 0.2


def drag(start: tuple[int, int], by: tuple[int, int]) -> Generator[float, None, None]:
    """Drag with the left mouse button in the main window."""
    for kind, value, part in (
        ("MOUSEMOVE", "NOTHING", 0.0),
        ("LEFTMOUSE", "PRESS", 0.0),
        *(("MOUSEMOVE", "NOTHING", step / 10) for step in range(1, 11)),
        ("LEFTMOUSE", "RELEASE", 1.0),
    ):
        x, y = (round(at + part * way) for at, way in zip(start, by, strict=True))
        window().event_simulate(type=kind, value=value, x=x, y=y)
        yield 0.1


def _of(region: bpy.types.Region) -> tuple[bpy.types.Window, bpy.types.Area]:
    """Where a region is."""
    places = ((w, a) for w in bpy.context.window_manager.windows for a in w.screen.areas)
    return next((w, a) for w, a in places if region in a.regions[:])


def _call(region: bpy.types.Region, operator: str) -> None:
    """Call an operator of `bpy.ops.ui` on the button under the mouse, where there is one."""
    place, area = _of(region)
    with bpy.context.temp_override(window=place, area=area, region=region):
        if getattr(bpy.ops.ui, operator).poll():
            getattr(bpy.ops.ui, operator)()


def key(
    name: str, ctrl: bool = False, shift: bool = False, types: str = "", over: bpy.types.Window | None = None
) -> Generator[float, None, None]:
    """Press a key over the 3D View, or in the middle of another window.

    types: the character that it types, where that counts.
    """
    if over is None:
        over, area = window(), next(a for a in window().screen.areas if a.type == "VIEW_3D")
        place = {"x": area.x + area.width // 3, "y": area.y + area.height // 2}
        over.event_simulate(type="MOUSEMOVE", value="NOTHING", **place)
        yield 0.1
    else:
        place = {"x": over.width // 2, "y": over.height // 2}
    over.event_simulate(type=name, value="PRESS", ctrl=ctrl, shift=shift, unicode=types or None, **place)
    over.event_simulate(type=name, value="RELEASE", ctrl=ctrl, shift=shift, **place)
    yield 0.2


def behave(behaviour: str) -> None:
    """Have the emulated backend behave so from its next start on; see tests/blender_addon/emulated_backend.py."""
    addon("backend_process").stop_shared()
    Path(os.environ["PENUMBRA_BACKEND_PYTHON"]).with_name("behaviour").write_text(behaviour)


def children() -> list[str]:
    """Command lines of the processes that this Blender has started and that run."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip() for pid in pids]
    return [line for line in lines if line]  # one that is dead already has none


def choose(path: Path) -> Generator[float, None, None]:
    """Choose a file in the file browser that has been opened."""

    def browser() -> tuple[bpy.types.Window, bpy.types.Area] | None:
        found = [(w, a) for w in bpy.context.window_manager.windows for a in w.screen.areas if a.type == "FILE_BROWSER"]
        return found[0] if found else None

    yield from until(lambda: browser() is not None, 10.0, "the file browser opens")
    yield 1.0
    place, area = browser()
    yield from shown("file_browser")
    area.spaces.active.params.directory = str(path.parent).encode()
    area.spaces.active.params.filename = path.name
    with bpy.context.temp_override(window=place, area=area, region=area.regions[-1]):
        bpy.ops.file.execute()
    yield 0.5


def until(condition: Callable[[], bool], seconds: float, what: str) -> Generator[float, None, None]:
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"{what} within {seconds:.0f} s")
        yield 0.1


def check(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def shown(name: str) -> Generator[float, None, None]:
    """Leave the window as it is until it is drawn and a screenshot was taken of it."""
    for _ in range(3):  # Blender draws between the steps
        yield 0.2
    start = time.time()
    while time.time() < start + SHOWN_S:
        taken = [path.stat().st_mtime for path in EVENTS.parent.glob("screen-*.png")]
        if sum(moment > start for moment in taken) >= 3:  # the first was begun before, the last may not be whole yet
            break
        yield 0.2
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
