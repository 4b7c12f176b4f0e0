# SPDX-License-Identifier: GPL-3.0-or-later
"""Rays cast one by one through the embreex package: works wherever embreex does."""

from __future__ import annotations

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene


class PlainTracer:
    """Triangle meshes to cast rays at. The arguments and results are `PacketTracer`'s."""

    def __init__(self, meshes: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._scene = EmbreeScene(robust=True)
        for vertices, triangles in meshes:
            TriangleMesh(self._scene, vertices, triangles)
        self._scene.run(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))  # builds, before threads share it

    def nearest(
        self, origins: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        found = self._scene.run(origins, directions, output=True)
        return found["tfar"], found["geomID"], found["primID"], np.stack([found["u"], found["v"]], axis=-1)

    def blocked(self, origins: np.ndarray, directions: np.ndarray, active: np.ndarray, t_max: float) -> np.ndarray:
        blocked = np.zeros(active.shape, bool)
        for k in range(active.shape[1]):  # neighbouring rays in one direction visit the same part of the tree
            rays = np.flatnonzero(active[:, k])
            if len(rays):
                toward = directions[:, k] if len(directions) == 1 else directions[rays, k]
                blocked[rays, k] = self._scene.run(origins[rays], toward, dists=min(t_max, 1e30), query="OCCLUDED") >= 0
        return blocked
