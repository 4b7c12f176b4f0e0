# SPDX-License-Identifier: GPL-3.0-or-later
"""The posed meshes of a frame as a final render sees them.

Only a render engine is given a scene evaluated for rendering (modifiers and subdivision at their render levels,
objects hidden in renders left out), so the meshes are read by one that renders nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import bpy
import numpy as np

from ..backend.protocol import CHARACTER, Camera, Mesh, PenumbraError
from . import camera as cameras
from . import looks, node_trees, own_light, temporary
from .character import MESHABLE

INFINITE = 1e12  # Blender turns an infinite coordinate that a script sets into the largest float


@dataclass(frozen=True)
class Capture:
    """One frame: its camera, its meshes in camera space, and a digest of all that its render passes depend on.

    look: fingerprints of "pose" and "camera", see `looks.look`. suns: those of the scene, see `own_light.suns_of`.
    """

    camera: Camera
    meshes: list[Mesh]
    digest: str
    look: dict[str, str]
    suns: list[dict[str, Any]]


def capture(
    scene: bpy.types.Scene, roles: dict[bpy.types.Object, str], frame: int, rigs: tuple[bpy.types.Object, ...]
) -> Capture:
    """Read a frame of a temporary scene, see `temporary.scene_copy`; `rigs` are the characters' armatures.

    Raises PenumbraError where the character has no faces, or a mesh has invalid coordinates.
    """
    engine = scene.render.engine
    _CaptureEngine.roles, _CaptureEngine.rigs, _CaptureEngine.answer = roles, rigs, None
    bpy.utils.register_class(_CaptureEngine)
    try:
        scene.render.engine = _CaptureEngine.bl_idname
        temporary.render(scene, frame)
    finally:
        answer, _CaptureEngine.answer, _CaptureEngine.roles = _CaptureEngine.answer, None, {}
        _CaptureEngine.rigs = ()
        scene.render.engine = engine
        bpy.utils.unregister_class(_CaptureEngine)
    if isinstance(answer, Exception):
        raise answer
    if answer is None:
        raise PenumbraError(f"Blender did not evaluate frame {frame}.", "Render it once with F12 to see why.")
    return answer


class _CaptureEngine(bpy.types.RenderEngine):
    bl_idname = "PENUMBRA_CAPTURE"
    bl_label = "Penumbra"
    bl_use_postprocess = False
    roles: ClassVar[dict[bpy.types.Object, str]] = {}
    rigs: ClassVar[tuple[bpy.types.Object, ...]] = ()
    answer: ClassVar[Capture | Exception | None] = None

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:
        try:  # Blender only prints what an engine raises
            type(self).answer = _capture(depsgraph, self.roles, self.rigs)
        except Exception as problem:
            type(self).answer = problem


def _capture(
    depsgraph: bpy.types.Depsgraph, roles: dict[bpy.types.Object, str], rigs: tuple[bpy.types.Object, ...]
) -> Capture:
    camera = cameras.protocol_camera(depsgraph)
    digest = hashlib.blake2b(digest_size=16)
    for part in (camera.projection, camera.world_from_camera, np.array(camera.window)):
        digest.update(part.tobytes())
    meshes = list(_meshes(depsgraph, roles, np.linalg.inv(camera.world_from_camera), digest))
    if not any(len(mesh.triangles) for mesh in meshes if mesh.role == CHARACTER):
        raise PenumbraError(
            "The character has no faces that are rendered.",
            "Check that its meshes have faces and are not hidden in renders.",
        )
    for mesh in meshes:
        digest.update(f"{mesh.name}\0{mesh.role}".encode())
        for part in (mesh.vertices, mesh.triangles, mesh.corner_normals):
            digest.update(np.ascontiguousarray(part))
    return Capture(
        camera, meshes, digest.hexdigest(), looks.look(depsgraph, rigs, None), own_light.suns_of(depsgraph, camera)
    )


def _meshes(
    depsgraph: bpy.types.Depsgraph, roles: dict[bpy.types.Object, str], from_world: np.ndarray, digest: Any
) -> Iterator[Mesh]:
    """All traced meshes in camera space; instances take their instancer's role."""
    read: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for instance in depsgraph.object_instances:
        item = instance.object
        owner = (instance.parent if instance.is_instance else item).original
        role = roles.get(owner)
        if role is None or not instance.show_self or item.type not in MESHABLE:
            continue
        if role != CHARACTER and not item.visible_shadow:
            continue  # a prop that casts no shadow blocks no light
        key = item.data.as_pointer()
        if key not in read:
            read[key] = _arrays(item, depsgraph, digest if role == CHARACTER else None)
        vertices, triangles, normals = read[key]
        if len(triangles):
            yield _placed(owner.name, role, from_world @ np.array(instance.matrix_world), vertices, triangles, normals)


def _arrays(
    item: bpy.types.Object, depsgraph: bpy.types.Depsgraph, digest: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (N, 3), triangles (T, 3) and corner normals (T, 3, 3) of an evaluated object, in its own space."""
    mesh = item.to_mesh(depsgraph=depsgraph)
    try:
        mesh.calc_loop_triangles()
        vertices = np.empty(len(mesh.vertices) * 3, np.float32)
        triangles = np.empty(len(mesh.loop_triangles) * 3, np.int32)
        corners = np.empty(len(mesh.loop_triangles) * 3, np.int32)
        normals = np.empty(len(mesh.loops) * 3, np.float32)
        mesh.vertices.foreach_get("co", vertices)
        mesh.loop_triangles.foreach_get("vertices", triangles)
        mesh.loop_triangles.foreach_get("loops", corners)
        mesh.corner_normals.foreach_get("vector", normals)
        if digest is not None:
            _digest_look(item, mesh, digest)
    finally:
        item.to_mesh_clear()
    return vertices.reshape(-1, 3), triangles.reshape(-1, 3), normals.reshape(-1, 3)[corners].reshape(-1, 3, 3)


def _placed(
    name: str, role: str, matrix: np.ndarray, vertices: np.ndarray, triangles: np.ndarray, normals: np.ndarray
) -> Mesh:
    """A mesh moved by a (4, 4) matrix. A mirroring one turns the winding, so that faces keep their outside."""
    with np.errstate(all="ignore"):
        moved = (vertices @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)
    if not (np.abs(moved) < INFINITE).all():  # false for NaN as well
        raise PenumbraError(
            f"“{name}” has vertices with invalid coordinates (not a number, or infinite).",
            "Delete those vertices, or mend the modifier or shape key that makes them.",
        )
    # The cofactor matrix is det · inverse transpose: it exists for flat objects, too.
    linear = matrix[:3, :3]
    cofactor = np.stack([np.cross(linear[i - 2], linear[i - 1]) for i in range(3)])
    turned = normals @ cofactor.T
    if np.linalg.det(linear) < 0:
        turned, triangles = -turned[:, ::-1], triangles[:, ::-1]
    length = np.linalg.norm(turned, axis=2, keepdims=True)
    flat = np.cross(moved[triangles[:, 1]] - moved[triangles[:, 0]], moved[triangles[:, 2]] - moved[triangles[:, 0]])
    turned = np.where(length > 0, turned / np.maximum(length, 1e-30), _unit(flat)[:, None])
    return Mesh(name, role, moved, triangles, turned.astype(np.float32))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 0, vectors / np.maximum(length, 1e-30), (0.0, 0.0, 1.0))


def _digest_look(item: bpy.types.Object, mesh: bpy.types.Mesh, digest: Any) -> None:
    """What the albedo depends on besides the pose: texture coordinates, material numbers, and the materials' values."""
    for layer in mesh.uv_layers:
        uv = np.empty(len(mesh.loops) * 2, np.float32)
        layer.uv.foreach_get("vector", uv)
        digest.update(uv)
    index = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", index)
    digest.update(index)
    for slot in item.material_slots:
        if slot.material is not None and slot.material.node_tree is not None:
            for line in node_trees.values(slot.material.node_tree):
                digest.update(line.encode())
