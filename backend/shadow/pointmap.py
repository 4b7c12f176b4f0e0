# SPDX-License-Identifier: GPL-3.0-or-later
"""Point maps: what each pixel of a picture shows, as a point in space (physical shadow paper, section 3).

Three providers give one: a scene's meshes (exact), a monocular network (`monocular`), and, for a lone photograph, a
level ground with the object standing on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from ..protocol import Camera, PenumbraError
from ..rays.camera import pixel_centres, primary_rays
from ..rays.scene import RayScene
from .ground import find_receiver

FARTHEST = 150.0  # metres; ground beyond is no use as a receiver


@dataclass(frozen=True)
class PointMap:
    """points: (H, W, 3) float32 metres, camera space (x right, y up, −z forward), 0 where not valid.

    valid: (H, W) bool. camera: through whose pixels the points are seen; world +z is up, and its ground is z = 0 where
    the map says nothing better. confidence: in [0, 1], how far distances can be trusted; 1 for meshes.
    """

    points: np.ndarray
    valid: np.ndarray
    camera: Camera
    confidence: float = 1.0

    @property
    def up(self) -> np.ndarray:
        """(3,) unit, camera space."""
        return np.asarray(self.camera.world_from_camera, np.float64)[2, :3]

    def resized(self, width: int, height: int) -> PointMap:
        """At another size: each pixel takes the point at its centre."""
        rows = ((np.arange(height) + 0.5) * self.valid.shape[0] / height).astype(int)
        columns = ((np.arange(width) + 0.5) * self.valid.shape[1] / width).astype(int)
        at = np.ix_(rows, columns)
        camera = replace(self.camera, width=width, height=height, border=None)
        return PointMap(self.points[at], self.valid[at], camera, self.confidence)


def of_scene(scene: RayScene, camera: Camera, ground: bool = True, height: float | None = None) -> PointMap:
    """The exact map of what a camera sees of meshes, and of the ground plane where no mesh is a receiver.

    ground, height: as `cast.cast_shadow` takes them.
    """
    pixels = pixel_centres(camera)
    origins, directions = primary_rays(camera, pixels.reshape(-1, 2))
    t = scene.intersect(origins, directions).t.astype(np.float64).reshape(pixels.shape[:2])
    left, top, right, bottom = camera.window
    points, depth = (
        np.zeros((camera.height, camera.width, 3), np.float32),
        np.full((camera.height, camera.width), np.inf),
    )
    depth[top:bottom, left:right] = t
    valid = np.isfinite(depth)
    along = directions.reshape(*pixels.shape[:2], 3) * np.where(np.isfinite(t), t, 0)[..., None]
    points[top:bottom, left:right] = origins.reshape(along.shape) + along
    points[~valid] = 0
    if ground:
        receiver = find_receiver(scene, camera, height)
        behind = receiver.valid & ~valid
        points[behind], valid = receiver.point[behind], valid | receiver.valid
    return PointMap(points, valid, camera)


def standing(camera: Camera, mask: np.ndarray, confidence: float = 0.3) -> PointMap:
    """The map of a level ground, z = 0, on which the object stands upright, turned to the camera.

    mask: (H, W) of the object, coverage. Its lowest pixels touch the ground.
    Raises PenumbraError where there is no ground under the object.
    """
    origins, directions = primary_rays(camera, pixel_centres(camera))
    pose = np.asarray(camera.world_from_camera, np.float64)
    up = pose[2, :3]
    falling = -(directions @ up)
    height = origins @ up + pose[2, 3]
    distance = np.where(falling > 1e-6, height / np.maximum(falling, 1e-6), np.inf)
    object_ = mask > 0.5
    if not object_.any():
        raise PenumbraError("The object is too small to be placed.", "Mark more of it in the mask.")
    foot = _foot(object_)
    if not np.isfinite(distance[foot]) or distance[foot] > FARTHEST:
        raise PenumbraError(
            "There is no ground under the object: it ends above the horizon.",
            "Give the horizon's height, or an object that stands on the ground.",
        )
    base = origins[foot] + distance[foot] * directions[foot]
    facing = -base - (-base @ up) * up  # level, toward the camera
    facing /= np.linalg.norm(facing)
    toward = directions @ facing
    on_object = (base - origins) @ facing / np.where(toward < -1e-6, toward, -1e-6)
    distance = np.where(object_, np.maximum(on_object, 1e-3), distance)
    valid = distance < FARTHEST
    points = origins + np.where(valid, distance, 0)[..., None] * directions
    return PointMap(np.where(valid[..., None], points, 0).astype(np.float32), valid, camera, confidence)


def half_thickness(point_map: PointMap, mask: np.ndarray) -> np.ndarray:
    """(H, W) metres by which an object bulges toward the viewer and away, if it were round where it is narrow.

    A picture shows a front alone; a paper-thin object would cast no shadow in light from its side. Each part of the
    silhouette is taken for as deep as it is wide: √(R² − (R − e)²), e from the edge, R the largest disc's radius.
    """
    object_ = mask > 0.5
    edge = distance_transform_edt(np.pad(object_, 1))[1:-1, 1:-1]
    radius = edge.copy()
    for r in np.geomspace(1.0, max(edge.max(), 1.0), 12)[::-1]:  # the largest disc that covers a pixel
        disc = np.array(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(r) + 1,) * 2))
        covered = cv2.dilate((edge >= r).astype(np.uint8), disc).astype(bool)
        radius[covered] = np.maximum(radius[covered], r)
    pixel = -point_map.points[..., 2] * 2 / (point_map.camera.projection[0, 0] * point_map.camera.width)
    bulge = np.sqrt(np.maximum(2 * radius * edge - edge * edge, 0))
    return np.where(object_ & point_map.valid, bulge * pixel, 0).astype(np.float32)


def _foot(object_: np.ndarray) -> tuple[int, int]:
    """Row and column of a mask's lowest point; single stray pixels below it do not count."""
    rows = np.flatnonzero(object_.sum(1) >= max(1, 0.02 * object_.sum(1).max()))
    columns = np.flatnonzero(object_[rows[-1]])
    return int(rows[-1]), int(columns[len(columns) // 2])
