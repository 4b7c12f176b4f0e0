# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrays of a body in SMPL's file format, and linear blend skinning on them. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..protocol import PenumbraError

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "body"
SHAPES = 10
# The official SMPL mesh has no names for its vertices; these are the ones in common use.
SMPL_VERTICES = 6890
SMPL_EYES_AND_EARS = {"left_eye": 2800, "right_eye": 6260, "left_ear": 583, "right_ear": 4071}
SMPL_LANDMARKS = {"nose": 332, **SMPL_EYES_AND_EARS, "head_top": 411}

JOINT_NAMES = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle"),
    *("right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hand", "right_hand"),
)


@dataclass(frozen=True, eq=False)
class BodyData:
    """A body in SMPL's T-pose: metres, y-up, facing +z, the body's left at +x.

    v_template (V, 3); shapedirs (V, 3, 10); weights (V, 24), rows sum to 1; j_regressor (24, V); parents (24,), −1 for
    the root; faces (F, 3). posedirs (V, 3, 207) or None where poses correct nothing. landmarks: vertices by name (nose,
    left_eye, right_eye, left_ear, right_ear, head_top), empty where the file does not tell. `extra` holds the file's
    other arrays (texture coordinates, part labels, masks, the drawn population), see assets/body/card.md.
    """

    v_template: np.ndarray
    shapedirs: np.ndarray
    weights: np.ndarray
    j_regressor: np.ndarray
    parents: np.ndarray
    faces: np.ndarray
    posedirs: np.ndarray | None
    landmarks: dict[str, int]
    extra: dict[str, np.ndarray]

    def shaped(self, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (V, 3) and joints (24, 3) of the T-posed body with these betas (10,)."""
        vertices = self.v_template + self.shapedirs @ np.asarray(betas, np.float32)
        return vertices, self.j_regressor @ vertices

    def shape_range(self, children: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Mean (10,) and standard deviation (10,) of the betas of adults, or of children of 5 to 18 years.

        0 and 1, SMPL's own, where the file holds no population.
        """
        if "population_betas" not in self.extra:
            return np.zeros(SHAPES, np.float32), np.ones(SHAPES, np.float32)
        young = self.extra["population_years"] < 18
        betas = self.extra["population_betas"][young if children else ~young].astype(np.float32)
        return betas.mean(0), betas.std(0)

    def coarse(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the vertices of the coarse mesh (C,), and its triangles (F, 3) between them.

        The whole mesh where the file has no coarse one.
        """
        if "coarse_vertices" not in self.extra:
            return np.arange(len(self.v_template)), self.faces
        return self.extra["coarse_vertices"].astype(np.int64), self.extra["coarse_f"].astype(np.int32)


@lru_cache(maxsize=4)
def load_body(path: Path = ASSETS) -> BodyData:
    """Read ``body.npz`` of a folder, or an SMPL file stored as ``.npz`` (no pickles).

    Raises PenumbraError where the file is missing or is no body.
    """
    file = path / "body.npz" if path.is_dir() else path
    try:
        with np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        v_template = arrays.pop("v_template").astype(np.float32)
        weights = arrays.pop("weights").astype(np.float32)
        return BodyData(
            v_template,
            np.ascontiguousarray(arrays.pop("shapedirs")[:, :, :SHAPES], np.float32),
            weights / weights.sum(1, keepdims=True),
            _regressor(arrays, len(v_template)),
            np.where(arrays["kintree_table"][0] > 23, -1, arrays.pop("kintree_table")[0]).astype(np.int64),
            arrays.pop("f").astype(np.int32),
            arrays.pop("posedirs").astype(np.float32) if "posedirs" in arrays else None,
            _landmarks(arrays, len(v_template)),
            arrays,
        )
    except (OSError, KeyError, ValueError) as problem:
        raise PenumbraError(
            f"The body model {file} cannot be read.", "Install Penumbra again, or choose an SMPL file saved as .npz."
        ) from problem


def _regressor(arrays: dict[str, np.ndarray], count: int) -> np.ndarray:
    if "J_regressor" in arrays:
        return arrays.pop("J_regressor").astype(np.float32)
    dense = np.zeros((24, count), np.float32)
    dense[arrays.pop("J_regressor_row"), arrays.pop("J_regressor_column")] = arrays.pop("J_regressor_value")
    return dense


def _landmarks(arrays: dict[str, np.ndarray], count: int) -> dict[str, int]:
    if "landmarks" in arrays:
        names, numbers = arrays.pop("landmark_names"), arrays.pop("landmarks")
        return {str(name): int(number) for name, number in zip(names, numbers, strict=True)}
    return dict(SMPL_LANDMARKS) if count == SMPL_VERTICES else {}


def rotation_matrices(axis_angle: np.ndarray) -> np.ndarray:
    """(..., 3) axis times angle in radians → (..., 3, 3), by Rodrigues' formula."""
    axis_angle = np.asarray(axis_angle, np.float64)
    angle = np.linalg.norm(axis_angle, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(axis_angle / np.maximum(angle[..., 0], 1e-12), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def joint_transforms(joints: np.ndarray, parents: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(24, 4, 4) what takes T-posed points along with each joint.

    joints: (24, 3) in the T-pose. pose: (24, 3) axis-angle, each relative to its parent, the first in the world.
    """
    rotation = rotation_matrices(pose)
    world = np.zeros((len(joints), 4, 4))
    for j, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = rotation[j]
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        world[j] = world[parent] @ local if parent >= 0 else local
    world[:, :3, 3] -= np.einsum("jab,jb->ja", world[:, :3, :3], joints)
    return world


def skin(vertices: np.ndarray, weights: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Linear blend skinning: vertices (V, 3) and weights (V, 24) under transforms (24, 4, 4) → (V, 3) float32."""
    blended = (weights @ transforms[:, :3].reshape(len(transforms), 12).astype(np.float32)).reshape(-1, 3, 4)
    return (np.einsum("vab,vb->va", blended[:, :, :3], vertices) + blended[:, :, 3]).astype(np.float32)
