# SPDX-License-Identifier: GPL-3.0-or-later
"""A pictured object as a solid, and the shadow that it casts on a point map, by ray tracing.

The soft prior says where a shadow may lie; this draws its outline, as sharp as the silhouette is.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from ..protocol import CHARACTER, Mesh
from ..rays.scene import RayScene
from ..shading.probe_fit import disc
from .pointmap import PointMap, half_thickness

RAYS = 32  # over a light's disc
_FINEST = 256  # vertices along the longer side of the object's box
_REACH = 8  # pixels around what a few rays find


def solid(point_map: PointMap, mask: np.ndarray) -> Mesh:
    """The object's front as the map has it and a back of the same outline, closed around; camera space.

    mask: (H, W) coverage. Where the map has no points on the object, the nearest ones are taken.
    """
    object_ = mask > 0.5
    rows, columns = np.flatnonzero(object_.any(1)), np.flatnonzero(object_.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    step = max(1, int(np.ceil(max(bottom - top, right - left) / _FINEST)))
    window = np.s_[max(top - step, 0) : bottom + step, max(left - step, 0) : right + step]
    thickness = half_thickness(point_map, mask)
    known = object_ & point_map.valid
    if not known.any():
        return Mesh("object", CHARACTER, np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), _no_normals(0))
    nearest = distance_transform_edt(~known[window], return_distances=False, return_indices=True)
    distances = point_map.points[window][..., 2][tuple(nearest)]
    # Pixels around the outline take the distance of their nearest neighbour, along their own rays.
    along = _rays(point_map)[window]
    front = along * -distances[..., None]
    back = along * (2 * thickness[window] - distances)[..., None]
    inside = cv2.dilate(object_[window].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    front, back, inside = (a[::step, ::step] for a in (front, back, inside))
    index = np.cumsum(inside).reshape(inside.shape) - 1
    quads = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:] & inside[1:, 1:]
    corner = [index[:-1, :-1][quads], index[1:, :-1][quads], index[1:, 1:][quads], index[:-1, 1:][quads]]
    sheet = np.concatenate(
        [np.stack([corner[0], corner[1], corner[2]], 1), np.stack([corner[0], corner[2], corner[3]], 1)]
    )
    count = int(inside.sum())
    rim = _rim(sheet)
    walls = np.concatenate(
        [np.column_stack([rim, rim[:, 1] + count]), np.column_stack([rim[:, ::-1] + count, rim[:, 0]])]
    )
    triangles = np.concatenate([sheet, sheet[:, ::-1] + count, walls]).astype(np.int32)
    vertices = np.concatenate([front[inside], back[inside]]).astype(np.float32)
    return Mesh("object", CHARACTER, vertices, triangles, _no_normals(len(triangles)))


def cast(point_map: PointMap, mask: np.ndarray, light: np.ndarray, half_angle: float = 0.0047) -> np.ndarray:
    """(H, W) float32 in [0, 1]: the share of a light that the object hides from each pixel.

    light: (3,) unit, camera space, toward it. half_angle: of its disc, radians; the sun's unless given. 0 where a
    surface faces away from the light, which has nothing to lose. Object pixels hold what is beside them.
    """
    object_ = mask > 0.5
    hidden = np.zeros(object_.shape, np.float32)
    receives = point_map.valid & ~object_
    facing = normals(point_map, receives) @ light
    receives &= facing > 0
    scene = RayScene([solid(point_map, mask)])
    # One ray a pixel and four around it find where the shadow is; its edges get all rays.
    touched = np.zeros(object_.shape, np.uint8)
    touched[receives] = _blocked(scene, point_map.points[receives], disc(light, half_angle, 5)).any(1)
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _REACH + 1,) * 2)
    near = receives & cv2.dilate(touched, reach).astype(bool)
    if near.any():
        hidden[near] = _blocked(scene, point_map.points[near], disc(light, half_angle, RAYS)).mean(1)
    if receives.any():
        outside = distance_transform_edt(object_, return_distances=False, return_indices=True)
        hidden = hidden[tuple(outside)]
    return hidden


def normals(point_map: PointMap, where: np.ndarray) -> np.ndarray:
    """(H, W, 3) unit normals toward the viewer, of a map smoothed over a few pixels; the ground's where unknown.

    where: (H, W) bool, the pixels that belong together; others do not take part.
    """
    size = max(3, min(where.shape) // 64 | 1)
    weight = cv2.blur(where.astype(np.float32), (size, size))[..., None]
    smooth = cv2.blur(np.where(where[..., None], point_map.points, 0), (size, size)) / np.maximum(weight, 1e-6)
    across, down = np.gradient(smooth, axis=1), np.gradient(smooth, axis=0)
    normal = np.cross(down, across)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = normal / np.maximum(length, 1e-12)
    normal *= np.where((normal * point_map.points).sum(-1, keepdims=True) > 0, -1, 1)
    unsure = cv2.erode(where.astype(np.uint8), np.ones((size + 2, size + 2), np.uint8)) == 0
    normal[unsure | (length[..., 0] < 1e-9)] = point_map.up
    return normal.astype(np.float32)


def _blocked(scene: RayScene, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    return scene.blocked(points.astype(np.float32), directions[None].astype(np.float32))


def _rays(point_map: PointMap) -> np.ndarray:
    """(H, W, 3) directions through the pixels with −z of length 1."""
    projection, camera = point_map.camera.projection, point_map.camera
    x = (2 * (np.arange(camera.width) + 0.5) / camera.width - 1 + projection[0, 2]) / projection[0, 0]
    y = (1 - 2 * (np.arange(camera.height) + 0.5) / camera.height + projection[1, 2]) / projection[1, 1]
    rays = np.stack([*np.meshgrid(x, y), np.full(point_map.valid.shape, -1.0)], -1)
    return rays.astype(np.float32)


def _rim(sheet: np.ndarray) -> np.ndarray:
    """(E, 2) the edges that only one triangle has."""
    edges = np.concatenate([sheet[:, [0, 1]], sheet[:, [1, 2]], sheet[:, [2, 0]]])
    _, first, count = np.unique(np.sort(edges, 1), axis=0, return_index=True, return_counts=True)
    return edges[first[count == 1]]


def _no_normals(triangles: int) -> np.ndarray:
    return np.zeros((triangles, 3, 3), np.float32)
