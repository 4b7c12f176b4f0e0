# SPDX-License-Identifier: GPL-3.0-or-later
"""What receives the shadow: the receiver meshes that the camera sees, or a level ground plane where there are none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocol import CHARACTER, HOLDOUT, RECEIVER, Camera
from ..rays.camera import pixel_centres, primary_rays
from ..rays.scene import RayScene

_CHUNK = 1 << 17  # pixels


@dataclass(frozen=True)
class Receiver:
    """The receiving surface behind each pixel of a frame, in camera space; 0 where not valid.

    valid: (H, W) bool. point: (H, W, 3) float32 metres. normal: (H, W, 3) float32 unit, on the viewer's side.
    offset: (H, W, 3) float32 metres; rays from the surface start at point + offset.
    """

    valid: np.ndarray
    point: np.ndarray
    normal: np.ndarray
    offset: np.ndarray

    @classmethod
    def nothing(cls, camera: Camera) -> Receiver:
        """Where nothing receives."""
        shape = (camera.height, camera.width)
        return cls(np.zeros(shape, bool), *(np.zeros((*shape, 3), np.float32) for _ in range(3)))

    @property
    def halved(self) -> Receiver:
        """Every second row and column."""
        return Receiver(*(image[::2, ::2] for image in (self.valid, self.point, self.normal, self.offset)))


def ground_height(scene: RayScene, camera: Camera) -> float:
    """World z in metres of the lowest character vertex. Raises ValueError for a scene without a character."""
    up = camera.world_from_camera[2]
    heights = [(m.vertices @ up[:3]).min() + up[3] for m in scene.meshes if m.role == CHARACTER and len(m.vertices)]
    if not heights:
        raise ValueError("no character to stand on the ground")
    return float(min(heights))


def find_receiver(scene: RayScene, camera: Camera, height: float | None) -> Receiver:
    """What receives a shadow at the centre of each pixel of the camera's window.

    Receiver meshes where the scene has any, else the plane at world z = `height` (None: under the lowest character
    vertex), seen from above. Characters and props in front are looked through, as the composite puts them over; a
    holdout in front is an object of the plate that receives nothing.
    """
    receiver = Receiver.nothing(camera)
    pixels = pixel_centres(camera).reshape(-1, 2)
    on_meshes = any(m.role == RECEIVER and len(m.triangles) for m in scene.meshes)
    lift = _lift(scene)
    if not on_meshes and height is None:
        height = ground_height(scene, camera)
    for start in range(0, len(pixels), _CHUNK):
        part = pixels[start : start + _CHUNK]
        origins, directions = primary_rays(camera, part)
        if on_meshes:
            depth, normal = _mesh_hits(scene, origins, directions)
        else:
            depth, normal = _plane_hits(camera, height, origins, directions)
        seen = np.isfinite(depth) & (scene.intersect(origins, directions, (HOLDOUT,)).t > depth)
        column, row = part[seen].astype(np.int64).T
        receiver.valid[row, column] = True
        receiver.point[row, column] = origins[seen] + depth[seen, None] * directions[seen]
        receiver.normal[row, column] = normal[seen]
        receiver.offset[row, column] = lift * normal[seen]
    return receiver


def _plane_hits(
    camera: Camera, height: float, origins: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) depths along rays, infinite where a ray does not come down on the plane, and (N, 3) normals."""
    up, base = camera.world_from_camera[2, :3], camera.world_from_camera[2, 3]
    above, falling = origins @ up + base - height, -(directions @ up)
    meets = (above > 0) & (falling > 1e-6)
    depth = np.where(meets, above / np.where(meets, falling, 1), np.inf)
    return depth, np.broadcast_to(up, directions.shape)


def _mesh_hits(scene: RayScene, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `_plane_hits`, on receiver meshes with their smooth normals."""
    hits = scene.intersect(origins, directions, (RECEIVER,))
    normals = np.zeros(directions.shape)
    for index in np.unique(hits.mesh[hits.mesh >= 0]):
        here = np.flatnonzero(hits.mesh == index)
        corners = scene.meshes[index].corner_normals[hits.triangle[here]]
        u, v = hits.uv[here].T
        normals[here] = np.einsum("nic,ni->nc", corners, np.stack([1 - u - v, u, v], -1))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    away = (normals * directions).sum(1) > 0
    normals[away] *= -1
    return hits.t.astype(np.float64), normals


def _lift(scene: RayScene) -> float:
    """Metres above the receiver at which rays start: small beside the character, well above float32's rounding."""
    low, high = scene.reach(CHARACTER)
    if not np.isfinite(low).all():
        return 1e-4
    return float(max(1e-4 * np.linalg.norm(high - low), 16 * np.spacing(np.float32(np.abs([low, high]).max()))))
