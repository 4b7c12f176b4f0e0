# SPDX-License-Identifier: GPL-3.0-or-later
"""Harmonizes the bundled demo scene: `python3 scripts/demo.py [--out DIR]`.

Prepares the environment, then does what the button in Blender does, and writes plate.png, before.png (the character's
albedo pasted on the plate), after.png (Blender's compositor with the result), shading.exr, shadow.exr, occlusion.exr,
sheet.png (all of them side by side) and report.json. Blender's own messages go to blender.log.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import environment
import extension

ROOT = environment.ROOT
SCENE = ROOT / "assets" / "demo" / "demo.blend"
PASSES = ("shading", "shadow", "occlusion")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "demo", help="folder for the pictures")
    out = parser.parse_args().out.resolve()
    environment.run_inside()
    out.mkdir(parents=True, exist_ok=True)
    _quieten(out / "blender.log")
    penumbra = extension.load()
    from penumbra.backend.protocol import Cancelled, PenumbraError

    penumbra.register()
    try:
        demonstrate(out)
    except PenumbraError as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    except Cancelled:
        print("\nCancelled.", file=sys.stderr)
        return 130
    finally:
        penumbra.unregister()  # ends the backend; and bpy crashes at exit where a command is still registered
    print(f"Wrote {out / 'sheet.png'} and the pictures on it")
    return 0


def demonstrate(out: Path) -> None:
    """Run the main job on the demo scene and write every picture and the report into `out`."""
    import bpy
    from penumbra.blender_addon import backend_process, jobs, properties
    from penumbra.blender_addon.character import everybody
    from penumbra.blender_addon.harmonize import RenderHere, Request, harmonize

    clock = Stages(jobs.TerminalLine())
    clock.show(jobs.Progress("Opening the scene", 0.0))
    bpy.ops.wm.open_mainfile(filepath=str(SCENE))
    scene, layer = bpy.context.scene, bpy.context.view_layer
    settings = properties.export_settings(scene)
    shutil.rmtree(out / "passes", ignore_errors=True)  # an earlier demonstration's
    request = Request(scene, layer, everybody(layer), (scene.frame_current,), settings, out / "passes")
    outcome = jobs.run_blocking(jobs.Job(harmonize(request, RenderHere(clock.show))), clock)
    backend = backend_process.running()
    hello = (backend and backend.hello) or {}
    clock.show(jobs.Progress("Rendering the composite", 1.0))
    composite(scene, out / "after.png")
    clock.show(jobs.Progress("Writing the pictures", 1.0))
    write_pictures(scene, settings, out)
    clock.end()
    report = {
        "command": "python3 scripts/demo.py",
        "versions": {**hello.get("versions", {}), "blender": bpy.app.version_string},
        "device": hello.get("device", ""),
        "resolution": [scene.render.resolution_x, scene.render.resolution_y],
        "seconds": {stage: round(seconds, 2) for stage, seconds in clock.seconds.items()},
        "seconds_total": round(sum(clock.seconds.values()), 2),
        "notices": list(outcome.notices),
    }
    from penumbra.backend.protocol import write_json

    write_json(out / "report.json", report)


class Stages:
    """Shows progress as the extension does, and keeps the seconds that each stage took."""

    def __init__(self, line: Any) -> None:
        self.seconds: dict[str, float] = {}
        self._line = line
        self._stage, self._since = "", time.perf_counter()

    def show(self, progress: Any) -> None:
        self._line.show(progress)
        if progress.stage != self._stage:
            self._account()
            self._stage = progress.stage

    def end(self) -> None:
        self._account()
        self._line.end()

    def _account(self) -> None:
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._since = now


def composite(scene: Any, path: Path) -> None:
    """Render the scene's compositor tree as an artist does with F12."""
    import bpy

    # The composite is made of images: should Blender render the scene as well, the least of it will do.
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.filepath = str(path)
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    scene.render.image_settings.color_depth = "8"
    bpy.ops.render.render(write_still=True)


def write_pictures(scene: Any, settings: Any, out: Path) -> None:
    """plate.png, before.png, the passes and the sheet, from the result's images."""
    import numpy as np
    from penumbra.backend import images
    from penumbra.blender_addon.plate import find_plate, write_plate

    with tempfile.TemporaryDirectory() as folder:
        framed = write_plate(find_plate(scene, settings), scene.frame_current, scene.render, Path(folder))
        plate = images.read_image(framed)
    images.write_png(out / "plate.png", plate)
    channels = images.read_exr(result_image(out, "albedo"))
    albedo = np.stack([channels[c] for c in "RGB"], axis=-1)
    alpha = channels["A"][..., None]
    images.write_png(out / "before.png", albedo * alpha + plate * (1 - alpha))
    for name in PASSES:
        shutil.copyfile(result_image(out, name), out / f"{name}.exr")
    write_sheet(out)


def result_image(out: Path, role: str) -> Path:
    """The image that the extension wrote; it puts them into a folder named after the character."""
    (path,) = (out / "passes").rglob(f"{role}_*.exr")
    return path


def write_sheet(out: Path) -> None:
    """Every picture of the demo in one."""
    import sheet
    from penumbra.backend.images import read_image

    files = {
        "Plate": "plate.png",
        "Before: the character's albedo": "before.png",
        "After: Harmonize Shading": "after.png",
        "Shading": "shading.exr",
        "Shadow": "shadow.exr",
        "Occlusion": "occlusion.exr",
    }
    pictures = [(title, read_image(out / name)) for title, name in files.items()]
    sheet.write_sheet(out / "sheet.png", pictures, columns=3, width=640)


def _quieten(log: Path) -> None:
    """Send what Blender's libraries print to a log, and keep the terminal for progress."""
    terminal = os.dup(1)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
    sys.stdout = os.fdopen(terminal, "w")


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # bpy 4.5 sometimes hangs where it frees its memory at the end
