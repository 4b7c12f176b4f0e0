# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows what Import Body from Image makes of a photograph, beside it: through its camera, and turned.

    python scripts/show_body.py IMAGE… --out PICTURE.png

Each photograph is imported into an empty scene by the extension, and rendered in even light, which shows the albedo.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path

import bpy
import cv2
import numpy as np
from mathutils import Vector

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backend.images import read_exr
from backend.photograph import read_photograph
from scripts import extension
from scripts.scenes.cycles_frame import silence
from scripts.sheet import write_sheet

SIZE = 480  # pixels of a picture, square
TURNS = {"From the right": 60, "From behind": 180}  # degrees about the vertical
BEHIND = 0.06  # scene-linear grey


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=24)
    options = parser.parse_args()
    extension.load().register()
    pictures = [picture for image in options.images for picture in views(image.resolve(), options.samples)]
    write_sheet(options.out, pictures, 2 + len(TURNS), SIZE)


def views(image: Path, samples: int) -> list[tuple[str, np.ndarray]]:
    """The photograph, the imported people over it, and the first of them turned; titles and linear pictures."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.penumbra.import_body(filepath=str(image))
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples = "CYCLES", samples
    scene.render.film_transparent = True
    scene.world = bpy.data.worlds.new("Even light")
    if not scene.world.node_tree:
        scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (1, 1, 1, 1)
    photograph = read_photograph(image).picture
    width, height = scene.render.resolution_x, scene.render.resolution_y
    scene.render.resolution_percentage = max(1, round(100 * SIZE / max(width, height)))
    shown = [(image.stem, _square(photograph)), ("Imported", _square(_over(_rendered(scene), photograph)))]
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.resolution_percentage = 100
    target = Vector(bpy.data.objects["Person 1"].location) + Vector((0, 0, 0.95))
    for title, degrees in TURNS.items():
        turn = math.radians(degrees)
        scene.camera.location = target + 5 * Vector((math.sin(turn), -math.cos(turn), 0.1))
        scene.camera.rotation_euler = (target - scene.camera.location).to_track_quat("-Z", "Y").to_euler()
        scene.camera.data.lens = 80
        shown.append((title, _over(_rendered(scene), np.full((SIZE, SIZE, 3), BEHIND, np.float32))))
    return shown


def _rendered(scene: bpy.types.Scene) -> np.ndarray:
    """(H, W, 4) linear, premultiplied."""
    with tempfile.TemporaryDirectory() as folder:
        scene.render.image_settings.file_format = "OPEN_EXR"
        scene.render.image_settings.color_mode = "RGBA"
        scene.render.filepath = str(Path(folder) / "view.exr")
        with silence():
            bpy.ops.render.render(write_still=True)
        channels = read_exr(scene.render.filepath)
    return np.stack([channels[name] for name in "RGBA"], -1)


def _over(rendered: np.ndarray, behind: np.ndarray) -> np.ndarray:
    height, width = rendered.shape[:2]
    behind = cv2.resize(behind, (width, height), interpolation=cv2.INTER_AREA)
    return rendered[..., :3] + (1 - rendered[..., 3:]) * behind


def _square(picture: np.ndarray) -> np.ndarray:
    """In the middle of a (SIZE, SIZE, 3) square."""
    scale = SIZE / max(picture.shape[:2])
    width, height = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    square = np.full((SIZE, SIZE, 3), BEHIND, np.float32)
    left, top = (SIZE - width) // 2, (SIZE - height) // 2
    square[top : top + height, left : left + width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return square


if __name__ == "__main__":
    main()
