# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain things to light: textured balls and boxes, and a moment of them."""

from __future__ import annotations

import numpy as np
import trimesh

from backend.protocol import CHARACTER, Mesh
from backend.rays.camera import crop_camera, look_at, perspective
from backend.shading.crop import CROP
from backend.shading.environments import Environment
from backend.shading.moments import Moment, Shot
from backend.shading.traced import Skin


def skin(shape: trimesh.Trimesh, colour: tuple[float, float, float], name: str, smooth: bool = True) -> Skin:
    """A matt thing of one colour, in world space."""
    triangles = np.asarray(shape.faces, np.int32)
    flat = np.repeat(shape.face_normals[:, None], 3, 1)
    normals = np.asarray(shape.vertex_normals)[triangles] if smooth else flat
    mesh = Mesh(name, CHARACTER, np.asarray(shape.vertices, np.float32), triangles, normals.astype(np.float32))
    texture = np.full((4, 4, 3), colour, np.float32)
    uv = np.full((len(triangles), 3, 2), 0.5, np.float32)
    return Skin(mesh, uv, texture, gloss=0.0, diffuse_roughness=0.0)


def ball(radius: float, centre: tuple[float, float, float], colour: tuple[float, float, float], name: str) -> Skin:
    shape = trimesh.creation.icosphere(4, radius)
    shape.apply_translation(centre)
    return skin(shape, colour, name)


def moment_of(skins: list[Skin], lights: list[Environment], level: float = 0.0) -> Moment:
    """Three cameras about the things, from the front (-y) and the sides."""
    shots = []
    for azimuth in np.radians([-150, -90, -30]):
        eye = np.array([4 * np.cos(azimuth), 4 * np.sin(azimuth), 1.6])
        camera = perspective(640, 480, np.radians(40), world_from_camera=look_at(eye, [0, 0, 0.8]))
        box = (120, 40, 520, 440)
        shots.append(Shot(camera, crop_camera(camera, box, (CROP, CROP)), box))
    nobody = np.zeros(10), np.zeros((24, 3)), np.zeros(3)
    return Moment("things", "still", 0, skins, level, shots, lights, [], *nobody)
