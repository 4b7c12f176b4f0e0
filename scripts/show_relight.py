# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows what dragging the tip of a character's shadow does to a result: `show_relight.py --out PICTURE.png`.

Harmonizes the demo scene, gives it the plate's light, and drags the shadow's tip to either side, as the handle in the
3D View does; Blender's compositor renders each. The backend is asked once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bpy
import demo
import extension
from mathutils import Vector

from backend.images import read_image
from scripts.scenes.cycles_frame import silence
from scripts.sheet import write_sheet

PLACES = {"The shadow dragged to the right": (2.0, 0.5), "… and to the left": (-2.5, -0.3)}  # metres across and ahead
SHOWN = (slice(130, 700), slice(240, 1140))  # of a picture of 1280 × 720


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    penumbra = extension.load()
    penumbra.register()
    with tempfile.TemporaryDirectory() as folder:
        pictures = {title: read_image(path)[SHOWN] for title, path in views(Path(folder)).items()}
    write_sheet(options.out, list(pictures.items()), len(pictures), 520)
    penumbra.unregister()


def views(folder: Path) -> dict[str, Path]:
    """The demo's composite as it was found, and with the shadow's tip at each of PLACES."""
    from penumbra.blender_addon import jobs, live_light, passes, properties, scene_light, shadow_handle
    from penumbra.blender_addon.character import everybody
    from penumbra.blender_addon.harmonize import RenderHere, Request, harmonize

    bpy.ops.wm.open_mainfile(filepath=str(demo.SCENE))
    scene, layer = bpy.context.scene, bpy.context.view_layer
    settings = properties.export_settings(scene)
    request = Request(scene, layer, everybody(layer), (scene.frame_current,), settings, folder / "passes")
    jobs.run_blocking(jobs.Job(harmonize(request, RenderHere(lambda _: None))), jobs.TerminalLine())
    (name,) = passes.result_nodes(scene)
    shown = {"As the plate's light was found": folder / "found.png"}
    with silence():
        demo.composite(scene, folder / "found.png")
    bpy.ops.penumbra.light_from_plate(character=name)
    (sun,) = scene_light.suns_of(scene, name)
    top, ground = shadow_handle.caster(scene, name)
    camera = scene.camera.matrix_world.to_3x3()
    for title, (across, ahead) in PLACES.items():
        shadow_handle.move_tip(
            sun, top, ground, Vector((top.x, top.y, 0)) + across * camera.col[0] - ahead * camera.col[2]
        )
        layer.update()
        while (pause := live_light.tick()) is not None:
            time.sleep(pause)
        shown[title] = folder / f"{len(shown)}.png"
        with silence():
            demo.composite(scene, shown[title])
    return shown


if __name__ == "__main__":
    main()
