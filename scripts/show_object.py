# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows what Import Object from Image makes of models that somebody else built.

    python scripts/show_object.py MODEL.gltf… --out PICTURE.png

Cycles photographs each model from before and above it, under each of two of Blender's panoramas, on nothing; each
photograph is reconstructed with refinement. A row shows what `backend.objects.objects.sheet` does.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backend.images import write_png
from backend.objects.objects import find_object, sheet
from backend.objects.silhouette import silhouette
from backend.photograph import read_photograph
from backend.weights import load_model
from scripts.scenes.cycles_frame import silence

PLACES = {"courtyard": 35, "interior": -30}  # panorama → azimuth of the camera, degrees from the object's front
SIZE = 384  # pixels of a photograph, square
ANGLE = 35  # degrees of view
HEIGHT = 0.36  # of the camera over its distance on the ground


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=32)
    options = parser.parse_args()
    network, rows = load_model("reconstructor")[0], []
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            for place, azimuth in PLACES.items():
                picture = Path(folder) / f"{model.stem}_{place}.png"
                take(model, place, azimuth, picture, options.samples)
                photograph = read_photograph(picture)
                found = find_object(photograph, silhouette(photograph, picture, None, None), network, refine=True)
                print(f"{picture.stem}: {found.category} ({found.probability:.0%})", *found.notices)
                rows.append(sheet(*found.crop, found.mesh, found.fit))
    write_png(options.out, np.concatenate(rows))


def take(model: Path, place: str, azimuth: float, out: Path, samples: int) -> None:
    """Photograph a glTF model; writes a PNG whose alpha is the model's coverage."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with silence():
        bpy.ops.import_scene.gltf(filepath=str(model.resolve()))
    scene = bpy.context.scene
    corners = [o.matrix_world @ Vector(c) for o in scene.objects if o.type == "MESH" for c in o.bound_box]
    low, high = (Vector([f(p[k] for p in corners) for k in range(3)]) for f in (min, max))
    scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(scene.camera)
    scene.camera.data.angle = math.radians(ANGLE)
    turn = math.radians(azimuth)
    toward = Vector((math.sin(turn), -math.cos(turn), HEIGHT)).normalized()
    scene.camera.location = (low + high) / 2 + 1.8 * (high - low).length * toward
    scene.camera.rotation_euler = (-toward).to_track_quat("-Z", "Y").to_euler()
    scene.world = bpy.data.worlds.new(place)
    if not scene.world.node_tree:
        scene.world.use_nodes = True
    tree = scene.world.node_tree
    panorama = tree.nodes.new("ShaderNodeTexEnvironment")
    lights = Path(bpy.utils.resource_path("LOCAL")) / "datafiles" / "studiolights" / "world"
    panorama.image = bpy.data.images.load(str(lights / f"{place}.exr"))
    tree.links.new(panorama.outputs["Color"], tree.nodes["Background"].inputs["Color"])
    scene.render.engine, scene.cycles.samples = "CYCLES", samples
    scene.render.film_transparent = True
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = str(out)
    with silence():
        bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main()
