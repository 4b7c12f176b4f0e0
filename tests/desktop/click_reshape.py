# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: imports a photograph's object with the bundled network, moves one of its
sliders, and undoes. A photograph's path comes after the other arguments."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from driver import REST, addon, check, choose, click, key, open_scene, run, shown, until, window

PHOTOGRAPH = REST[0]


def scenario() -> Generator[float, None, None]:
    """See `driver`."""
    sidebar = yield from open_scene()
    jobs, before = addon("jobs"), set(bpy.data.objects)
    yield from click(sidebar, "bpy.ops.penumbra.import_object()")
    yield from choose(PHOTOGRAPH)
    yield from until(lambda: jobs.latest() is not None and not jobs.running(), 240.0, "the job ends")
    check(jobs.latest().state == "done", f"the job is done: {jobs.latest().problem}")
    (car,) = (obj for obj in bpy.data.objects if obj not in before and obj.type == "MESH")
    check(car.data["penumbra_codes"]["kind"] == "car", "it is known as a car")
    long, wide, high = (car.dimensions[axis] for axis in (1, 0, 2))
    check(long > 1.5 * wide > 0 and long > 1.5 * high, f"it has a car's shape: {tuple(car.dimensions)}")
    area = next(a for a in window().screen.areas if a.type == "VIEW_3D")
    area.spaces[0].shading.color_type = "MATERIAL"
    yield from shown("object_imported")

    name, found = car.name, np.array([v.co for v in car.data.vertices])
    car.data.penumbra_shape.sliders[0] = 2.0
    yield from until(lambda: jobs.running(), 10.0, "the slider starts a job")
    yield from until(lambda: not jobs.running(), 120.0, "it ends")
    changed = np.array([v.co for v in car.data.vertices])
    check(changed.shape != found.shape or np.abs(changed - found).max() > 0.02, "the slider changes the shape")
    yield from shown("reshaped")
    yield from key("Z", ctrl=True)
    yield 1.0
    check(name in bpy.data.objects, "undo leaves the object")
    again = np.array([v.co for v in bpy.data.objects[name].data.vertices])
    check(again.shape == found.shape and np.allclose(again, found), "one step of undo brings the shape back")


run(scenario())
