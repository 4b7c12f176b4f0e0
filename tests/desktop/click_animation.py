# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: harmonizes ten frames, is interrupted by Esc, and goes on where it stopped."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from driver import addon, check, click, key, open_scene, run, shown, until

FRAMES = range(1, 11)


def scenario() -> Generator[float, None, None]:
    """See `driver`."""
    sidebar = yield from open_scene(percentage=25)
    scene, jobs, passes = bpy.context.scene, addon("jobs"), addon("passes")
    scene.frame_start, scene.frame_end = FRAMES[0], FRAMES[-1]
    scene.penumbra.frames = "RANGE"
    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    yield from until(lambda: len(finished()) >= 3, 240.0, "three frames are done")
    yield from shown("animation")
    yield from key("ESC")
    yield from until(lambda: not jobs.running(), 10.0, "Esc ends the job")
    kept = finished()
    check(jobs.latest().state == "cancelled", f"it was cancelled, not {jobs.latest().state}: {jobs.latest().problem}")
    check("kept" in jobs.latest().left, "it says that they are kept")
    check(3 <= len(kept) < len(FRAMES), f"some frames are done, and not all: {len(kept)}")
    check(not passes.result_nodes(scene), "there are no nodes yet")
    yield from shown("animation_interrupted")

    seen: dict[str, int] = {}
    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")

    def ended() -> bool:
        seen.update(finished())
        return not jobs.running()

    yield from until(ended, 240.0, "the job ends")
    check(jobs.latest().state == "done", f"the job is done: {jobs.latest().problem}")
    check({name: seen[name] for name in kept} == kept, "the frames that were done are not done again")
    check(len(seen) > len(kept), "the missing ones are")
    check(passes.result_frames(scene, "Walker") == list(FRAMES), "the result has all frames")
    for number in (FRAMES[-1], FRAMES[4]):
        scene.frame_set(number)
        yield 0.5
        check(
            passes.outdated(bpy.context, "Walker", addon("properties").export_settings(scene)) == [], "as it was made"
        )
    yield from shown("animation_done")


def finished() -> dict[str, int]:
    """The frames that the backend has made so far, and when."""
    paths = addon("preferences").user_folder("jobs").glob("*/frame_*.json")
    return {path.name: path.stat().st_mtime_ns for path in paths if not path.name.startswith(".")}


run(scenario())
