# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the demo scene, assets/demo/demo.blend: a walking, clothed person before a photograph of a sunlit square.

    python scripts/scenes/demo.py [--out FILE]

The photograph is a path-traced place of our own, which the person has no part in; it is packed into the file.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backend.body import builtin_motions, people
from backend.images import read_image, srgb_encode
from scripts.scenes import character, square

ROOT = Path(__file__).resolve().parents[2]
PLACE = 1053
PERSON = 303
SIZE = (1280, 720)
CAMERA_AT = math.radians(29)  # the sun stands 55° to the right of the camera
FACING = math.radians(20)  # away from the camera
SEED, SECONDS, FRAME = 3, 2.0, 12


def camera_of(place_or_scene: object) -> bpy.types.Object:
    """The demo's camera: a standing person's eye, 4.6 m from the person."""
    at = (4.6 * math.cos(CAMERA_AT), 4.6 * math.sin(CAMERA_AT), 1.5)
    camera = square.add_camera(place_or_scene, at, (0, 0, 0.95))
    camera.name, camera.data.lens = "Camera", 35
    return camera


def photograph_place(path: Path, samples: int) -> None:
    """Path trace the empty place and save it as a camera would: exposed for the ground, grainy, clipped, JPEG."""
    place = square.build(PLACE)
    with tempfile.TemporaryDirectory() as folder:
        linear = Path(folder) / "place.exr"
        square.render(place, camera_of(place), SIZE, samples, linear)
        image = read_image(linear)
    image *= 0.8 / np.quantile(image.max(axis=-1), 0.97)
    grain = np.random.default_rng(PLACE).standard_normal(image.shape).astype(np.float32)
    image = np.clip(image + 0.004 * grain * np.sqrt(np.maximum(image, 0.02)), 0, 1)
    encoded = np.round(srgb_encode(image)[..., ::-1] * 255).astype(np.uint8)
    cv2.imwrite(str(path), encoded, [cv2.IMWRITE_JPEG_QUALITY, 93])


def build(plate: Path) -> None:
    """Fill Blender's current file with the demo scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    person = people.make_person(PERSON)
    armature = character.build_character(person, "Walker", scene.collection)
    armature.rotation_euler.z = CAMERA_AT + math.pi / 2 + FACING
    walk = builtin_motions.builtin("walk", SEED, SECONDS, person.joints)
    character.apply_pose_sequence(armature, walk.pose, np.zeros_like(walk.trans) + (0, 1, 0) * walk.trans, walk.fps)
    scene.frame_set(FRAME)
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.view_settings.view_transform, scene.render.dither_intensity = "Standard", 0
    scene.camera = camera_of(type("Here", (), {"scene": scene}))
    image = bpy.data.images.load(str(plate))
    image.name = "Plate"
    image.pack()
    scene.camera.data.show_background_images = True
    scene.camera.data.background_images.new().image = image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "demo" / "demo.blend")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--plate", type=Path, help="an earlier photograph of the place, to leave out rendering it")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        plate = options.plate or Path(folder) / "plate.jpg"
        if not options.plate:
            photograph_place(plate, options.samples)
        build(plate)
        bpy.ops.wm.save_as_mainfile(filepath=str(options.out), compress=True)


if __name__ == "__main__":
    main()
