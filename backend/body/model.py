# SPDX-License-Identifier: GPL-3.0-or-later
"""The body as a differentiable function of shape and pose: linear blend skinning in torch."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..protocol import PenumbraError
from .data import ASSETS, JOINT_NAMES, load_body
from .rotations import rotation_matrices

# Keypoints by SMPL's joints and the file's landmarks. A hip of COCO is a point of the skin; as in STRAPS, SMPL's joints
# stand for it and for the other limbs.
_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
KEYPOINTS: dict[str, tuple[str, ...]] = {
    "coco17": (
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        *(f"{side}_{limb}" for limb in _LIMBS for side in ("left", "right")),
    ),
    "lsp14": (
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist"),
        *("right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"),
    ),
    "bodynet16": (
        *("left_ankle", "left_knee", "left_hip", "right_hip", "right_knee", "right_ankle", "pelvis", "spine2"),
        *("neck", "head", "left_wrist", "left_elbow", "left_shoulder", "right_shoulder", "right_elbow", "right_wrist"),
    ),
}


class BodyModel(nn.Module):
    """SMPL's function (Loper et al. 2015) over the arrays of `data.BodyData`; y-up, metres, no parameters to train.

    coarse: only the vertices of the file's coarse mesh, with the same joints; `vertex_numbers` (C,) tells which.
    """

    v_template: Tensor
    shapedirs: Tensor
    weights: Tensor
    faces: Tensor
    joint_template: Tensor
    joint_directions: Tensor
    posedirs: Tensor | None

    def __init__(self, path: Path = ASSETS, coarse: bool = False) -> None:
        super().__init__()
        self.body = body = load_body(Path(path))
        self.parents: list[int] = body.parents.tolist()
        rows, faces = body.coarse() if coarse else (np.arange(len(body.v_template)), body.faces)
        self.vertex_numbers = rows
        arrays = {
            "v_template": body.v_template[rows],
            "shapedirs": body.shapedirs[rows],
            "weights": body.weights[rows],
            "faces": faces.astype(np.int64),
            "joint_template": body.j_regressor @ body.v_template,
            "joint_directions": np.einsum("jv,vck->jck", body.j_regressor, body.shapedirs),
            "posedirs": None if body.posedirs is None else body.posedirs[rows],
        }
        for name, array in arrays.items():
            tensor = None if array is None else torch.from_numpy(np.ascontiguousarray(array))
            self.register_buffer(name, tensor, persistent=False)
        self.landmarks = {name: int(np.searchsorted(rows, number)) for name, number in body.landmarks.items()}

    @classmethod
    def load(cls, path: Path = ASSETS, coarse: bool = False) -> BodyModel:
        """Our body, or a user's SMPL file as ``.npz``. Raises PenumbraError where it cannot be read."""
        return cls(path, coarse)

    def landmarks_only(self) -> BodyModel:
        """A copy whose only vertices are the landmarks, in their order: for joints and keypoints of many bodies."""
        found = copy.deepcopy(self)
        rows = list(self.landmarks.values())
        found.vertex_numbers = self.vertex_numbers[rows]
        for name in ("v_template", "shapedirs", "weights", "posedirs"):
            if (array := getattr(self, name)) is not None:
                setattr(found, name, array[rows].clone())
        found.faces = self.faces[:0]
        found.landmarks = {name: number for number, name in enumerate(self.landmarks)}
        return found

    def forward(self, betas: Tensor, pose: Tensor, trans: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Vertices (B, V, 3) and joints (B, 24, 3) in metres.

        betas: (B, 10). pose: (B, 24, 3) axis-angle or (B, 24, 3, 3) matrices, each relative to its parent, the first
        (the pelvis, about which the body turns) to the world. trans: (B, 3) added to everything.
        """
        rotation = pose if pose.ndim == 4 else rotation_matrices(pose)
        shaped = self.v_template + torch.einsum("vck,bk->bvc", self.shapedirs, betas)
        joints = self.joint_template + torch.einsum("jck,bk->bjc", self.joint_directions, betas)
        if self.posedirs is not None:
            bend = (rotation[:, 1:] - torch.eye(3, dtype=rotation.dtype, device=rotation.device)).flatten(1)
            shaped = shaped + torch.einsum("vck,bk->bvc", self.posedirs, bend)
        turned, moved = self._chain(rotation, joints)
        shift = moved - torch.einsum("bjxy,bjy->bjx", turned, joints)
        blended = torch.einsum("vj,bjk->bvk", self.weights, torch.cat([turned.flatten(2), shift], 2))
        vertices = torch.einsum("bvxy,bvy->bvx", blended[..., :9].unflatten(-1, (3, 3)), shaped) + blended[..., 9:]
        if trans is None:
            return vertices, moved
        return vertices + trans[:, None], moved + trans[:, None]

    def keypoints(self, vertices: Tensor, joints: Tensor, order: str = "coco17") -> Tensor:
        """(B, K, 3) the points of `KEYPOINTS[order]`, from what `forward` returned.

        Raises PenumbraError where the order asks for landmarks that the body's file does not name.
        """
        names = KEYPOINTS[order]
        if not all(name in JOINT_NAMES or name in self.landmarks for name in names):
            raise PenumbraError("This body model does not tell where nose, eyes and ears are.", "Use the bundled one.")
        points = torch.cat([joints, vertices[:, list(self.landmarks.values())]], 1)
        number = {name: i for i, name in enumerate((*JOINT_NAMES, *self.landmarks))}
        return points[:, [number[name] for name in names]]

    def _chain(self, rotation: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """World rotations (B, 24, 3, 3) and positions (B, 24, 3) of the joints."""
        turned, moved = [rotation[:, 0]], [joints[:, 0]]
        for j, parent in enumerate(self.parents[1:], 1):
            turned.append(turned[parent] @ rotation[:, j])
            offset = (joints[:, j] - joints[:, parent])[..., None]
            moved.append(moved[parent] + (turned[parent] @ offset)[..., 0])
        return torch.stack(turned, 1), torch.stack(moved, 1)
