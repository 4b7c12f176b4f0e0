# SPDX-License-Identifier: GPL-3.0-or-later
"""The body model fitted to what BodyNet sees: to joints, to joints and isosurface (equation 6), or to joints and
outline (SMPLify++, appendix D).

Nothing but the network's outputs is needed. Where the camera's scale is known it can be given, as the paper assumes;
else it is found together with the body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from ..lasor.camera import to_pixels, weak_perspective
from ..lasor.person import SHAPE, changed
from ..lasor.raster import Silhouettes
from ..lasor.refine import fallen
from ..model import KEYPOINTS, BodyModel
from ..rotations import matrices_from_six
from .bones import bone_lengths, rest_joints, scale_of
from .network import BodyNet
from .parts import PELVIS
from .surface import Surface
from .voxels import middle_depth, to_grid

# λ of equation 6, of each joint against one vertex of SMPL's; the paper's 5 is for squares that have no end.
JOINT_WEIGHT = 50.0
SMPL_VERTICES = 6890
FAR = 0.05  # metres: where a limb is missing from the volume, the body's must not fall into its trunk
# From firm to loose, as SMPLify's: weights of the prior, in square metres, and the steps of each. The prior is the
# square of how unlikely an error the whole change is, see `Lifter.spread`.
STAGES = ((1e-3, 40), (4e-4, 60))
JOINT_STAGES = ((2e-3, 60), (1e-3, 60))
LOOSE = 1 / 400  # how firmly a fit stays near the mean pose, which is all that a network without a lifter begins with
RATE, CHANGE_RATE = 0.03, 0.1  # of Adam: of the camera, and of the body in deviations
CLOSE_PIXELS = 10.0  # of SMPLify's pictures of 256 pixels: the unit of w in SMPLify++
JOINT_WEIGHT_PLUS = 100.0  # λ_j of SMPLify++

_B16 = {name: k for k, name in enumerate(KEYPOINTS["bodynet16"])}
_TRUNK = [_B16[n] for n in ("pelvis", "spine2", "neck", "left_hip", "right_hip", "left_shoulder", "right_shoulder")]


@dataclass(frozen=True)
class Fit:
    """One body: camera (3,), see `weak_perspective`; rotations (24, 3, 3); betas (10,).

    middle: metres, the depth (−z) in the middle of the voxel grid. energy: how far it is from what it was fitted to,
    with the priors; begun: the same of what the fit began with.
    """

    camera: Tensor
    rotations: Tensor
    betas: Tensor
    middle: float
    energy: float = float("inf")
    begun: float = float("inf")


@dataclass(frozen=True)
class Joints:
    """What the network says of 16 joints.

    place: (16, 3) x, y from 0 to 1 in the crop, y down, and metres behind the pelvis. flat: (16, 2) x, y likewise, of
    the 2D pose network. weight: (16,) in [0, 1]. rotations: (24, 3, 3) of a first estimate of the pose, where there is
    one, which fits begin with.
    """

    place: Tensor
    flat: Tensor
    weight: Tensor
    rotations: Tensor | None = None

    def detached(self) -> Joints:
        """A copy that descents may use, whatever mode it was made in."""
        values = (getattr(self, f.name) for f in fields(self))
        return Joints(*(x if x is None else x.detach().clone() for x in values))


class Fitter:
    """Fits one body at a time on the CPU.

    spread: (82, 82) of what fits begin with, see `Lifter.spread`. firm: of the prior's weight.
    """

    def __init__(self, body: BodyModel, mean: Tensor, spread: Tensor, firm: float = LOOSE) -> None:
        """body: coarse. mean: (24, 3, 3) of the rotations, for where there is no first estimate of a pose."""
        self.body, self.silhouettes = body, Silhouettes(body.faces)
        self.mean, self.spread, self.firm = mean, spread, firm

    @classmethod
    @torch.inference_mode(False)
    def of(cls, network: BodyNet, body: BodyModel) -> Fitter:
        """With a network's prior: its lifter's errors, or how poses are spread about their mean."""
        mean = matrices_from_six(network.prior_mean.cpu().view(24, 6))
        if network.lifted is not None:
            return cls(body, mean, network.lifted.lifter.spread.cpu(), 1.0)
        return cls(body, mean, spread_about_mean(network.prior_deviation.cpu()))

    @torch.inference_mode(False)
    def to_joints(self, joints: Joints, scale: float | None = None) -> Fit:
        """Pose and camera nearest to the joints; the shape is the mean. scale: the camera's, where it is known."""
        joints = joints.detached()
        start = self._begin(joints, scale)

        def energy(free: _Free) -> Tensor:
            _, points = free.body(self.body)
            return _joint_energy(points, free, joints)

        return self._descend(start, energy, JOINT_STAGES, scale, shape=False)

    @torch.inference_mode(False)
    def to_surface(self, start: Fit, surface: Surface, joints: Joints, volume: int, scale: float | None = None) -> Fit:
        """Equation 6; correspondences are found anew at each step. volume: the side of the surface's grid.

        Returns the fit of least energy that it met, `start` where none had less.
        """
        joints = joints.detached()
        metre = float(start.camera[0]) * volume / 2  # in voxels; distances count in metres of the start
        target = torch.from_numpy(surface.vertices).float()
        sure, tree = torch.from_numpy(surface.confidence).float(), KDTree(surface.vertices)

        def energy(free: _Free) -> Tensor:
            vertices, points = free.body(self.body)
            grid = to_grid(vertices, free.camera[None], volume, free.middle[None])[0]
            with torch.no_grad():
                seen = grid.numpy()
                there = torch.from_numpy(tree.query(seen)[1])
                back = torch.from_numpy(KDTree(seen).query(surface.vertices)[1])
            out = (sure * _robust((target - grid[back]) / metre)).mean()
            home = (sure[there] * _robust((target[there] - grid) / metre)).mean()
            weight = JOINT_WEIGHT * len(joints.place) / SMPL_VERTICES
            return out + home + weight * _joint_energy(points, free, joints)

        return self._descend(start, energy, STAGES, scale)

    @torch.inference_mode(False)
    def to_outline(self, start: Fit, mask: np.ndarray, joints: Joints, scale: float | None = None) -> Fit:
        """SMPLify++: the outline of a silhouette (G, G) in [0, 1], 3D and 2D joints."""
        joints = joints.detached()
        outline = _outline(mask)
        tree, target, side = KDTree(outline), torch.from_numpy(outline).float(), len(mask)
        metre = float(start.camera[0]) / 2  # in crop sides

        def energy(free: _Free) -> Tensor:
            vertices, points = free.body(self.body)
            flat = to_pixels(weak_perspective(vertices, free.camera[None]), side)
            with torch.no_grad():
                rim = self.silhouettes.outline(flat, side)[0]
                far, there = tree.query(flat[0, rim].numpy())
                weight = torch.from_numpy(far).float() * (256 / side / CLOSE_PIXELS)
                nearest = target[torch.from_numpy(there)]
            apart = (flat[0, rim] - nearest).square().sum(1) / side**2
            seen = to_pixels(weak_perspective(points, free.camera[None]), 1)[0]
            flat_joints = (joints.weight * (seen - joints.flat).square().sum(1)).sum()
            deep = JOINT_WEIGHT_PLUS * _joint_energy(points, free, joints) * len(points[0])
            return ((weight * apart).sum() / metre**2 + deep + flat_joints / metre**2) / SMPL_VERTICES

        return self._descend(start, energy, STAGES, scale)

    def at(self, camera: Tensor, rotations: Tensor, betas: Tensor) -> Fit:
        """A body that is known already, as fits begin with it: (3,), (24, 3, 3), (10,)."""
        vertices, _ = self.body(betas[None], rotations[None])
        return Fit(camera, rotations, betas, float(middle_depth(vertices)))

    def _begin(self, joints: Joints, scale: float | None) -> Fit:
        """Scale by the bones' lengths; the pose of the first estimate, or the mean's turned as the trunk is."""
        rest = rest_joints(self.body)
        if scale is None:
            scale = float(scale_of(joints.place[None], joints.weight[None], bone_lengths(rest)))
        place = torch.stack(
            [(2 * joints.place[:, 0] - 1) / scale, (1 - 2 * joints.place[:, 1]) / scale, -joints.place[:, 2]], 1
        )
        rotations = joints.rotations
        if rotations is None:
            rotations = self.mean.clone()
            rotations[0] = _turn(rest[_TRUNK], place[_TRUNK])
        vertices, posed = self.body(torch.zeros(1, 10), rotations[None])
        points = self.body.keypoints(vertices, posed, "bodynet16")[0]
        shift = (place - points)[:, :2].mean(0)
        camera = torch.cat([torch.tensor([scale]), shift])
        return Fit(camera, rotations, torch.zeros(10), float(middle_depth(vertices)))

    def _descend(
        self,
        start: Fit,
        energy: Callable[[_Free], Tensor],
        stages: tuple[tuple[float, int], ...],
        scale: float | None,
        shape: bool = True,
    ) -> Fit:
        """Adam through stages of (prior, steps). The best by energy and the last stage's prior."""
        if scale is not None:
            start = replace(start, camera=torch.cat([start.camera.new_tensor([scale]), start.camera[1:]]))
        free = _Free.of(start, self.spread, shape)
        learned = [free.shift, free.middle] + ([] if scale is not None else [free.size])
        last, total = stages[-1][0], sum(steps for _, steps in stages)
        rates = [{"params": learned, "lr": RATE}, {"params": [free.change], "lr": CHANGE_RATE}]
        descent = torch.optim.Adam(rates)
        falling = torch.optim.lr_scheduler.LambdaLR(descent, lambda step: fallen(step / total))
        best, least, begun = start, float("inf"), float("inf")
        plan = [prior for prior, steps in stages for _ in range(steps)]
        for step in range(total + 1):
            found, apart = energy(free), self.firm * free.change.square().sum()
            judged = float((found + last * apart).detach())
            begun = begun if step else judged
            if judged < least:
                best, least = free.fit(judged, begun), judged
            if step == total:
                break
            descent.zero_grad()
            (found + plan[step] * apart).backward()
            descent.step()
            falling.step()
        return best


@dataclass(frozen=True)
class _Free:
    """What a fit may change. change: (82,) of the body that it begins with, in the directions of `spread`. size: the
    logarithm of the camera's scale. shape: whether betas change.
    """

    begun: Fit
    spread: Tensor
    shape: bool
    change: Tensor
    size: Tensor
    shift: Tensor
    middle: Tensor

    @classmethod
    def of(cls, fit: Fit, spread: Tensor, shape: bool) -> _Free:
        begun = replace(fit, rotations=fit.rotations.detach().clone(), betas=fit.betas.detach().clone())
        numbers = (torch.zeros(len(spread)), fit.camera[0].log(), fit.camera[1:], torch.tensor(fit.middle))
        return cls(begun, spread, shape, *(x.detach().clone().requires_grad_() for x in numbers))

    @property
    def camera(self) -> Tensor:
        return torch.cat([self.size.exp()[None], self.shift])

    @property
    def person(self) -> tuple[Tensor, Tensor]:
        """Rotations (24, 3, 3) and betas (10,)."""
        rotations, betas = changed(self.begun.rotations, self.begun.betas, self.change, self.spread)
        return rotations, betas if self.shape else self.begun.betas

    def body(self, model: BodyModel) -> tuple[Tensor, Tensor]:
        """Vertices (1, V, 3) and 16 joints (1, 16, 3), metres."""
        rotations, betas = self.person
        vertices, joints = model(betas[None], rotations[None])
        return vertices, model.keypoints(vertices, joints, "bodynet16")

    @torch.no_grad()
    def fit(self, energy: float, begun: float) -> Fit:
        rotations, betas = self.person
        return Fit(self.camera.clone(), rotations, betas, float(self.middle), energy, begun)


def spread_about_mean(deviation: Tensor) -> Tensor:
    """(82, 82) as `Lifter.spread`, of poses whose rotations, six numbers each, have a deviation (144,) each by itself.

    The pelvis may turn any way.
    """
    turns = deviation.view(24, 6).mean(1, keepdim=True).expand(-1, 3).clone()
    turns[0] = 1
    return torch.diag(torch.cat([turns.flatten(), torch.ones(SHAPE)]))


def _robust(apart: Tensor) -> Tensor:
    """(N,) squares of distances (N, 3) in metres, which end at that of `FAR` (Geman and McClure)."""
    square = apart.square().sum(1)
    return square / (1 + square / FAR**2)


def _joint_energy(points: Tensor, free: _Free, joints: Joints) -> Tensor:
    """Square metres between points (1, 16, 3) and the joints, weighted mean; sideways at the scale of the fit."""
    flat = to_pixels(weak_perspective(points, free.camera[None]), 1)[0]
    behind = -(points[0, :, 2] - points[0, PELVIS, 2])
    metre = free.size.detach().exp() / 2  # in crop sides
    apart = (flat - joints.place[:, :2]).square().sum(1) / metre**2 + (behind - joints.place[:, 2]).square()
    return (joints.weight * apart).sum() / joints.weight.sum().clamp(min=1e-6)


def _turn(points: Tensor, target: Tensor) -> Tensor:
    """(3, 3) the rotation that brings points (N, 3) nearest to target (N, 3) about their means."""
    a, b = points - points.mean(0), target - target.mean(0)
    u, _, vt = torch.linalg.svd(a.T @ b)
    sign = torch.ones(3)
    sign[2] = torch.det(vt.T @ u.T).sign()
    return vt.T @ torch.diag(sign) @ u.T


def _outline(mask: np.ndarray) -> np.ndarray:
    """(N, 2) pixels x, y along the outline of a mask (G, G), at four times its resolution."""
    side = 4 * len(mask)
    fine = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR) > 0.5
    found, _ = cv2.findContours(fine.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return np.full((1, 2), len(mask) / 2)
    return (np.concatenate(found)[:, 0] + 0.5) / 4
