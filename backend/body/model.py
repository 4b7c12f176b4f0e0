# SPDX-License-Identifier: GPL-3.0-or-later
"""The body as a differentiable function of shape and pose: linear blend skinning in torch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from .data import ASSETS, load_body


class BodyModel(nn.Module):
    """SMPL's function (Loper et al. 2015) over the arrays of `data.BodyData`; y-up, metres, no parameters to train."""

    v_template: Tensor
    shapedirs: Tensor
    weights: Tensor
    j_regressor: Tensor
    faces: Tensor
    posedirs: Tensor | None

    def __init__(self, path: Path = ASSETS) -> None:
        super().__init__()
        self.body = load_body(Path(path))
        self.parents: list[int] = self.body.parents.tolist()
        for name in ("v_template", "shapedirs", "weights", "j_regressor", "faces"):
            self.register_buffer(name, torch.from_numpy(getattr(self.body, name).copy()), persistent=False)
        correction = self.body.posedirs
        self.register_buffer("posedirs", None if correction is None else torch.from_numpy(correction), persistent=False)

    @classmethod
    def load(cls, path: Path = ASSETS) -> BodyModel:
        """Our body, or a user's SMPL file as ``.npz``. Raises PenumbraError where it cannot be read."""
        return cls(path)

    def forward(self, betas: Tensor, pose: Tensor, trans: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Vertices (B, V, 3) and joints (B, 24, 3) in metres.

        betas: (B, 10). pose: (B, 24, 3) axis-angle or (B, 24, 3, 3) matrices, each relative to its parent, the first
        (the pelvis, about which the body turns) to the world. trans: (B, 3) added to everything.
        """
        rotation = pose if pose.ndim == 4 else rotation_matrices(pose)
        shaped = self.v_template + torch.einsum("vck,bk->bvc", self.shapedirs, betas)
        joints = torch.einsum("jv,bvc->bjc", self.j_regressor, shaped)
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

    def _chain(self, rotation: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """World rotations (B, 24, 3, 3) and positions (B, 24, 3) of the joints."""
        turned, moved = [rotation[:, 0]], [joints[:, 0]]
        for j, parent in enumerate(self.parents[1:], 1):
            turned.append(turned[parent] @ rotation[:, j])
            offset = (joints[:, j] - joints[:, parent])[..., None]
            moved.append(moved[parent] + (turned[parent] @ offset)[..., 0])
        return torch.stack(turned, 1), torch.stack(moved, 1)


def rotation_matrices(axis_angle: Tensor) -> Tensor:
    """(..., 3) axis times angle in radians → (..., 3, 3); differentiable at zero as well."""
    squared = (axis_angle**2).sum(-1)[..., None, None]
    small = squared < 1e-8
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    first = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    second = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / angle**2)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.eye(3, dtype=cross.dtype, device=cross.device) + first * cross + second * cross @ cross
