# SPDX-License-Identifier: GPL-3.0-or-later
"""A post with an arm on a level ground, seen obliquely, and the exact shadow that a sun draws of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh

from backend.protocol import CHARACTER, Camera, Mesh
from backend.rays.camera import look_at, perspective, pixel_centres, primary_rays
from backend.rays.scene import RayScene
from backend.shadow.pointmap import PointMap, of_scene
from backend.shadow.tuples import ShadowTuple

EYE = 1.7


@dataclass(frozen=True)
class Post:
    """camera: at EYE over z = 0. mask: (H, W) bool of the post. points: the exact map."""

    scene: RayScene
    camera: Camera
    mask: np.ndarray
    points: PointMap

    def toward(self, azimuth: float, elevation: float) -> np.ndarray:
        """Camera-space unit direction of degrees; azimuth 0 is to the right, 90 away from the camera."""
        a, e = np.radians([azimuth, elevation])
        world = np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
        return world @ self.camera.world_from_camera[:3, :3]

    def shadow(self, light: np.ndarray) -> np.ndarray:
        """(H, W) bool: the ground from which the post hides the light."""
        ground = self.points.valid & ~self.mask
        hidden = np.zeros_like(ground)
        starts = self.points.points[ground] + 1e-3 * self.points.up.astype(np.float32)
        hidden[ground] = self.scene.occluded(starts, light[None].astype(np.float32))
        return hidden


def post(size: int = 160) -> Post:
    camera = perspective(size, size, np.radians(50), world_from_camera=look_at((0, -5, EYE), (0, 0, 0.4)))
    parts = [
        trimesh.creation.cylinder(0.12, 1.4).apply_translation((0, 0, 0.7)),
        trimesh.creation.box((0.7, 0.15, 0.15)).apply_translation((0.3, 0, 1.1)),
        trimesh.creation.icosphere(3, 0.22).apply_translation((0, 0, 1.5)),
    ]
    shape = trimesh.util.concatenate(parts).apply_transform(np.linalg.inv(camera.world_from_camera))
    corners = shape.vertex_normals[shape.faces].astype(np.float32)
    mesh = Mesh("post", CHARACTER, shape.vertices.astype(np.float32), shape.faces.astype(np.int32), corners)
    scene = RayScene([mesh])
    origins, directions = primary_rays(camera, pixel_centres(camera).reshape(-1, 2))
    mask = np.isfinite(scene.intersect(origins, directions).t).reshape(size, size)
    return Post(scene, camera, mask, of_scene(scene, camera, height=0.0))


def tuples(size: int = 32) -> list[ShadowTuple]:
    """Posts on grey ground in light from four sides: the lit side of the post is bright, so that it tells the light."""
    shown = post(size)
    made = []
    for azimuth in range(20, 360, 90):
        light = shown.toward(azimuth, 45)
        shadow = shown.shadow(light)
        composite = np.full((size, size, 3), 150, np.uint8)
        composite[shown.mask] = (60 + 120 * (light[0] + 1) / 2, 90, 60 + 120 * (light[2] + 1) / 2)
        target = composite.copy()
        target[shadow] = 80
        ratio = np.where(shadow[..., None], 0.26, 1.0).repeat(3, -1).astype(np.float32)
        masks = (shown.mask * 255, shadow * 255, 0 * shadow, 0 * shadow)
        points = PointMap(shown.points.points, shown.points.valid, shown.camera)
        made.append(
            ShadowTuple(
                str(azimuth), composite, target, *(m.astype(np.uint8) for m in masks), points, light, ratio, False
            )
        )
    return made
