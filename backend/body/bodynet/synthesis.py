# SPDX-License-Identifier: GPL-3.0-or-later
"""Training data made on the fly: LASOR's synthesized proxies with what BodyNet's subnetworks should say of them.

The paper's bodies are seen orthographically. Where the proxy's camera is near, its weak-perspective likeness takes its
place in all targets: heatmaps, part maps and voxels agree with each other, and nearly with the proxy.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..lasor.camera import likeness, to_pixels, weak_perspective
from ..lasor.raster import face_buffer
from ..lasor.synthesis import Synthesis, Synthesizer
from ..model import BodyModel
from .network import BodyNetConfig
from .parts import PELVIS, face_parts
from .voxels import Voxelizer, middle_depth, to_grid


@dataclass(frozen=True)
class Truth:
    """What is known of B bodies in square crops; G the config's grid, V its volume.

    camera (B, 3), see `weak_perspective`; betas (B, 10); rotations (B, 24, 3, 3), the first towards the camera.
    joints: (B, 16, 3) in the crop: x, y from 0 to 1, y down, and metres behind the pelvis. middle: (B,) metres, the
    depth in the volume's middle. parts: (B, G, G) 0 to 14. voxels: (B, V, V, V) uint8, 0 to 6, see `voxels`.
    """

    camera: Tensor
    betas: Tensor
    rotations: Tensor
    joints: Tensor
    middle: Tensor
    parts: Tensor
    voxels: Tensor


@dataclass(frozen=True)
class Example:
    """image: (B, channels, S, S), a proxy or a picture, with its truth."""

    image: Tensor
    truth: Truth


class Labeller:
    """Tells what a network of the config's sizes should say of bodies; on the device of `body`, a coarse body model."""

    def __init__(self, body: BodyModel, config: BodyNetConfig) -> None:
        self.body, self.config = body, config
        self.fourteen, six = face_parts(body)
        self.voxelizer = Voxelizer(body.faces, six)

    @torch.no_grad()
    def __call__(self, betas: Tensor, rotations: Tensor, camera: Tensor, volume: int | None = None) -> Truth:
        """volume: another side of the voxel grid than the config's."""
        vertices, joints = self.body(betas, rotations)
        return self.label(
            vertices, self.body.keypoints(vertices, joints, "bodynet16"), betas, rotations, camera, volume
        )

    @torch.no_grad()
    def label(
        self,
        vertices: Tensor,
        joints: Tensor,
        betas: Tensor,
        rotations: Tensor,
        camera: Tensor,
        volume: int | None = None,
    ) -> Truth:
        """The same for a body that is posed already: vertices (B, C, 3), joints (B, 16, 3)."""
        grid, volume, middle = self.config.grid, volume or self.config.volume, middle_depth(vertices)
        flat = to_pixels(weak_perspective(vertices, camera), grid)
        depth = -vertices[..., 2] + 1000  # the order is all that counts, and orthographic depth changes little there
        face = face_buffer(flat, depth, self.body.faces, grid)
        behind = -(joints[..., 2] - joints[:, PELVIS, None, 2])
        place = torch.cat([to_pixels(weak_perspective(joints, camera), 1), behind[..., None]], 2)
        voxels = self.voxelizer(to_grid(vertices, camera, volume, middle), volume)
        parts = torch.where(face >= 0, self.fourteen[face.clamp(min=0)], 0)
        return Truth(camera, betas, rotations, place, middle, parts, voxels)


class ProxySynthesizer:
    """Draws examples from poses (N, 24, 3) axis-angle on the device of `body`, a coarse body model."""

    def __init__(self, body: BodyModel, poses: np.ndarray, config: BodyNetConfig) -> None:
        self.people, self.body, self.size = Synthesizer(body, poses), body, config.size
        self.labeller = Labeller(body, config)
        self.device = self.people.device

    @torch.no_grad()
    def batch(self, count: int, plan: Synthesis, random: torch.Generator, volume: int | None = None) -> Example:
        """`count` people as `plan` has them. random: a generator on the same device; it decides what is drawn."""
        drawn = self.people.batch(count, plan, random, self.size)
        vertices, joints = self.body(drawn.betas, drawn.rotations)
        camera = likeness(self.body.keypoints(vertices, joints), drawn.keypoints)
        sixteen = self.body.keypoints(vertices, joints, "bodynet16")
        truth = self.labeller.label(vertices, sixteen, drawn.betas, drawn.rotations, camera, volume)
        return Example(drawn.proxy, truth)


def clear(plan: Synthesis) -> Synthesis:
    """What the first lessons show: nobody before the person, and no part missing."""
    return dataclasses.replace(plan.unoccluded(), joint_loss=0.0)
