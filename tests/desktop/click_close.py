# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a real Blender's window: closes Blender, or has it crash, while a job runs.

"quit" or "crash", and "export" or "backend", come after the other arguments. The test looks from outside what is left.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from driver import REST, addon, check, children, click, key, open_scene, run, shown, until

WAY, WHEN = (str(argument) for argument in REST)


def scenario() -> Generator[float, None, None]:
    """See `driver`."""
    sidebar = yield from open_scene()
    jobs, harmonize = addon("jobs"), addon("harmonize")
    yield from click(sidebar, "bpy.ops.penumbra.harmonize()")
    if WHEN == "export":
        yield from until(lambda: any("export_process" in line for line in children()), 30.0, "the export runs")
    else:
        yield from until(lambda: jobs.latest().progress.fraction > harmonize.EXPORTED, 120.0, "the backend works")
        yield from shown(f"{WAY}_in_mid_job")
    check(jobs.running(), "the job runs")
    check(not bpy.data.is_dirty, "a job that runs has changed nothing that would have to be saved")
    if WAY == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    yield from key("Q", ctrl=True)
    yield 20.0
    check(False, "Blender closes")


run(scenario())
