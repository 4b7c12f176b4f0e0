# SPDX-License-Identifier: GPL-3.0-or-later
"""What a result keeps of a frame's shadow, from which `recast` casts it again under other suns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from ..protocol import Camera, replacing
from ..rays.scene import RayScene
from .cast import Cast

FINEST = 1e-3  # of a character's extent: vertices that are nearer to each other become one


def keep(
    path: Path,
    casts: Mapping[str, Cast],
    scene: RayScene,
    camera: Camera,
    characters: Mapping[str, Collection[str]],
    half_angle: float | None = None,
) -> None:
    """Write the ``.npz`` that `recast.KeptShadow` reads.

    casts: by character. characters: by name, the names of its meshes. half_angle: of all suns, radians, where it is
    not theirs.
    """
    half = next(iter(casts.values())).half
    arrays = {
        "shape": np.array((camera.height, camera.width)),
        "characters": np.array(len(casts)),
        "projection": np.asarray(camera.projection, np.float64),
        "half_angle": np.array(np.nan if half_angle is None else half_angle),
        "valid": half.valid,
        "depth": -half.point[half.valid][:, 2],
        "normals": half.normal[half.valid].astype(np.float16),
    }
    for i, (name, cast) in enumerate(casts.items()):
        own = [mesh for mesh in scene.meshes if mesh.name in characters[name]]
        arrays[f"sky{i}"] = cast.sky.astype(np.float16)
        arrays[f"vertices{i}"], arrays[f"triangles{i}"] = joined([(m.vertices, m.triangles) for m in own])
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def joined(meshes: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) float32 and triangles (T, 3) int32 of meshes as one, without detail too fine for a shadow."""
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    vertices = np.concatenate([vertices for vertices, _ in meshes])
    triangles = np.concatenate([own + start for (_, own), start in zip(meshes, starts[:-1], strict=True)])
    size = FINEST * float(np.ptp(vertices, axis=0).max())
    cells = np.round((vertices - vertices.min(0)) / max(size, 1e-9)).astype(np.int64)
    _, first, number = np.unique(cells @ [1, 1 << 20, 1 << 40], return_index=True, return_inverse=True)
    triangles = np.unique(np.sort(number.ravel()[triangles], 1), axis=0)
    distinct = (np.diff(triangles, axis=1) > 0).all(1)
    return vertices[first].astype(np.float32), triangles[distinct].astype(np.int32)
