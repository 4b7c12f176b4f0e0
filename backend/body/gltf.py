# SPDX-License-Identifier: GPL-3.0-or-later
"""A rigged, posed body as one glTF 2.0 binary file."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..protocol import replacing
from .data import JOINT_NAMES, BodyData
from .surface import vertex_normals

_FLOAT, _USHORT, _UINT = 5126, 5123, 5125
_VERTICES, _TRIANGLES = 34962, 34963


class _Buffer:
    """Arrays in one binary chunk, with the accessors that find them."""

    def __init__(self) -> None:
        self.data, self.views, self.accessors = b"", [], []

    def add(self, array: np.ndarray, kind: str, component: int, target: int | None = None, ends: bool = False) -> int:
        """The number of the array's accessor. ends: least and greatest are told, as positions need it."""
        view = self.view(np.ascontiguousarray(array).tobytes(), target)
        accessor = {"bufferView": view, "componentType": component, "count": len(array), "type": kind}
        limits = {"min": array.min(0).tolist(), "max": array.max(0).tolist()} if ends else {}
        self.accessors.append(accessor | limits)
        return len(self.accessors) - 1

    def view(self, raw: bytes, target: int | None = None) -> int:
        """The number of the view of some bytes."""
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw)}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += raw + bytes(-len(raw) % 4)
        return len(self.views) - 1


def write_glb(
    path: Path,
    body: BodyData,
    betas: np.ndarray,
    rotations: np.ndarray,
    place: np.ndarray,
    size: tuple[int, int],
    focal: float,
    texture: bytes = b"",
    times: np.ndarray | None = None,
) -> None:
    """Write the body in the T-pose with its skin, an armature of SMPL's joints in its pose, and the picture's camera.

    betas: (10,). rotations: (24, 3, 3), each relative to its parent. place: (3,) where the body's origin is in camera
    space, metres. size: (width, height) of the picture, and focal: pixels. texture: a PNG file of the body's albedo.
    times: (F,) seconds of an animation, whose rotations are (F, 24, 3, 3) and places (F, 3).
    """
    moving = () if times is None else (times, rotations, place)
    if moving:
        rotations, place = rotations[0], place[0]
    vertices, joints = body.shaped(betas)
    normals = vertex_normals(vertices, body.faces)
    number, uv, faces = _along_seams(body)
    buffer = _Buffer()
    strongest = np.argsort(-body.weights, 1)[:, :4]
    weights = np.take_along_axis(body.weights, strongest, 1)
    unbind = np.tile(np.eye(4, dtype=np.float32), (24, 1, 1))
    unbind[:, 3, :3] = -joints  # glTF's matrices are stored by columns
    attributes = {
        "POSITION": buffer.add(vertices[number].astype(np.float32), "VEC3", _FLOAT, _VERTICES, ends=True),
        "NORMAL": buffer.add(normals[number].astype(np.float32), "VEC3", _FLOAT, _VERTICES),
        "TEXCOORD_0": buffer.add(uv.astype(np.float32), "VEC2", _FLOAT, _VERTICES),
        "JOINTS_0": buffer.add(strongest[number].astype(np.uint16), "VEC4", _USHORT, _VERTICES),
        "WEIGHTS_0": buffer.add(
            (weights / weights.sum(1, keepdims=True))[number].astype(np.float32), "VEC4", _FLOAT, _VERTICES
        ),
    }
    triangles = buffer.add(faces.astype(np.uint32).reshape(-1), "SCALAR", _UINT, _TRIANGLES)
    material: dict[str, Any] = {"metallicFactor": 0, "roughnessFactor": 0.7}
    if texture:
        material["baseColorTexture"] = {"index": 0}
    lens = {"yfov": 2 * math.atan(size[1] / (2 * focal)), "aspectRatio": size[0] / size[1], "znear": 0.1}
    scene = {
        "asset": {"version": "2.0", "generator": "Penumbra"},
        "scene": 0,
        "scenes": [{"nodes": [24, 25, 26]}],
        "nodes": [
            *_joints(body, joints, rotations),
            {"name": "body_root", "translation": [float(x) for x in place], "children": [0]},
            {"name": "body", "mesh": 0, "skin": 0},
            {"name": "camera", "camera": 0},
        ],
        "cameras": [{"type": "perspective", "perspective": lens}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": triangles, "material": 0}]}],
        "materials": [{"name": "body", "pbrMetallicRoughness": material}],
        "skins": [
            {"joints": list(range(24)), "skeleton": 0, "inverseBindMatrices": buffer.add(unbind, "MAT4", _FLOAT)}
        ],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    if moving:
        scene["animations"] = [_animation(buffer, *moving)]
        scene["buffers"] = [{"byteLength": len(buffer.data)}]
    if texture:
        scene["images"] = [{"bufferView": buffer.view(texture), "mimeType": "image/png"}]
        scene["textures"] = [{"source": 0}]
        scene["buffers"] = [{"byteLength": len(buffer.data)}]
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(buffer.data)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, length))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text)
        file.write(struct.pack("<I4s", len(buffer.data), b"BIN\0") + buffer.data)


def _animation(buffer: _Buffer, times: np.ndarray, rotations: np.ndarray, places: np.ndarray) -> dict[str, Any]:
    """Of the joints' rotations, and of the place of the root, the node after them."""
    moment = buffer.add(np.float32(times)[:, None], "SCALAR", _FLOAT, ends=True)
    turns = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_quat().reshape(*rotations.shape[:2], 4)
    # Neighbouring keys on one hemisphere: not all programs take the short way between two quaternions.
    turns[1:] *= np.cumprod(np.where((turns[1:] * turns[:-1]).sum(-1) < 0, -1, 1), axis=0)[..., None]
    curves = [(j, "rotation", buffer.add(np.float32(turns[:, j]), "VEC4", _FLOAT)) for j in range(turns.shape[1])]
    curves.append((len(JOINT_NAMES), "translation", buffer.add(np.float32(places), "VEC3", _FLOAT)))
    return {
        "name": "take",
        "samplers": [{"input": moment, "output": values, "interpolation": "LINEAR"} for _, _, values in curves],
        "channels": [
            {"sampler": number, "target": {"node": node, "path": path}} for number, (node, path, _) in enumerate(curves)
        ],
    }


def _along_seams(body: BodyData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """glTF's vertices, of which seams of the texture have several at one place: the body's vertex of each, its texture
    coordinates, v downwards, and the triangles (F, 3). A body without a texture layout stays as it is."""
    if "vt" not in body.extra:
        return np.arange(len(body.v_template)), np.zeros((len(body.v_template), 2)), body.faces
    corners = np.stack([body.faces.ravel(), body.extra["ft"].ravel()], 1).astype(np.int64)
    pairs, faces = np.unique(corners, axis=0, return_inverse=True)
    uv = body.extra["vt"][pairs[:, 1]]
    return pairs[:, 0], np.stack([uv[:, 0], 1 - uv[:, 1]], 1), faces.reshape(-1, 3)


def _joints(body: BodyData, joints: np.ndarray, rotations: np.ndarray) -> list[dict[str, Any]]:
    """The nodes of the armature, in SMPL's order."""
    nodes: list[dict[str, Any]] = []
    for j, name in enumerate(JOINT_NAMES):
        parent = int(body.parents[j])
        offset = joints[j] - joints[parent] if parent >= 0 else joints[j]
        turn = Rotation.from_matrix(rotations[j]).as_quat().tolist()
        nodes.append({"name": name, "translation": offset.astype(float).tolist(), "rotation": turn})
        if children := np.nonzero(body.parents == j)[0].tolist():
            nodes[-1]["children"] = children
    return nodes
