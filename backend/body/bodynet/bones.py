# SPDX-License-Identifier: GPL-3.0-or-later
"""A body of capsules about the 3D joints, in the voxel grid: what the voxel networks begin with (ours).

From heatmaps of 19 depths alone a network of our size learns trunks, and puts limbs, whose depth differs from picture
to picture, into planes that are always full. Capsules stand where the joints are; the network gives them their form.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import KEYPOINTS, BodyModel
from .parts import PARTS6

FAR = 8.0  # what a logit of the capsules is at most, inside and outside


@dataclass(frozen=True)
class Bone:
    """A capsule from joint a to joint b, with its radii there and how far it reaches beyond them, in its length."""

    part: str
    a: str
    b: str
    radii: tuple[float, float]
    beyond: tuple[float, float] = (0.0, 0.0)


def _limbs(side: str) -> list[Bone]:
    arm, leg, (hip, shoulder) = f"{side.title()}Arm", f"{side.title()}Leg", (f"{side}_hip", f"{side}_shoulder")
    return [
        Bone(arm, f"{side}_elbow", f"{side}_wrist", (0.045, 0.035), (0.0, 0.5)),
        Bone(arm, shoulder, f"{side}_elbow", (0.055, 0.045)),
        Bone(leg, f"{side}_knee", f"{side}_ankle", (0.06, 0.05), (0.0, 0.1)),
        Bone(leg, hip, f"{side}_knee", (0.095, 0.065)),
        Bone("Torso", hip, shoulder, (0.1, 0.09)),
    ]


# Radii and reach begin so, and are learned.
BONES = (
    *_limbs("left"),
    *_limbs("right"),
    Bone("Torso", "pelvis", "spine2", (0.14, 0.125)),
    Bone("Torso", "spine2", "neck", (0.13, 0.08)),
    Bone("Torso", "left_hip", "right_hip", (0.1, 0.1)),
    Bone("Torso", "left_shoulder", "right_shoulder", (0.075, 0.075)),
    Bone("Head", "neck", "head", (0.07, 0.1), (0.0, 1.0)),
)
_INDEX = {name: k for k, name in enumerate(KEYPOINTS["bodynet16"])}
_FROM, _TO = ([_INDEX[end] for end in ends] for ends in zip(*((bone.a, bone.b) for bone in BONES), strict=True))
_FACING_UP = 0.2  # of a bone's length: one that is seen shorter says little of the scale


class Bones(nn.Module):
    """Signed logits of the six parts' capsules. lengths: (15,) metres of the mean body's bones."""

    lengths: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.radii = nn.Parameter(torch.tensor([bone.radii for bone in BONES]))
        self.beyond = nn.Parameter(torch.tensor([bone.beyond for bone in BONES]))
        self.sharpness = nn.Parameter(torch.tensor(40.0))  # of a logit, by metre
        self.register_buffer("lengths", bone_lengths(rest_joints(BodyModel.load(coarse=True))))

    def forward(self, place: Tensor, weight: Tensor, side: int) -> Tensor:
        """(B, 6, D, D, D) for D = side, within ±8: positive inside a part's capsules.

        place: (B, 16, 3), joints as `Truth` has them. weight: (B, 16), how sure they are. Always in float32.
        """
        with torch.autocast(place.device.type, enabled=False):
            place, weight = place.float(), weight.float()
            metre = scale_of(place, weight, self.lengths)[:, None] * side / 2  # in voxels
            joints = torch.cat([place[..., :2] * side, place[..., 2:] * metre[..., None]], 2)
            a, b, radii = joints[:, _FROM], joints[:, _TO], self.radii * metre[..., None]
            a, b = a + (a - b) * self.beyond[:, :1], b + (b - a) * self.beyond[:, 1:]
            depth = torch.stack([a[..., 2], b[..., 2]], 2)
            middle = ((depth - radii).amin((1, 2)) + (depth + radii).amax((1, 2))) / 2
            shift = F.pad((side / 2 - middle)[:, None], (2, 0))[:, None]
            logits = _inside(a + shift, b + shift, radii, side) / metre[..., None] * self.sharpness
            parts = [logits[:, [k for k, bone in enumerate(BONES) if bone.part == part]].amax(1) for part in PARTS6]
            return torch.stack(parts, 1).clamp(-FAR, FAR).unflatten(2, (side, side, side))


def _inside(a: Tensor, b: Tensor, radii: Tensor, side: int) -> Tensor:
    """(B, N, D³) how many voxels deep each voxel's centre lies in capsules from a to b (B, N, 3) of radii (B, N, 2)."""
    axis = torch.arange(side, device=a.device) + 0.5 - side / 2
    z, y, x = (c.flatten() for c in torch.meshgrid(axis, axis, axis, indexing="ij"))
    place, ones = torch.stack([x, y, z]), torch.ones(1, len(x), device=a.device)
    a, b = a - side / 2, b - side / 2
    along = b - a
    square = along.square().sum(2, keepdim=True).clamp(min=1e-4)
    raw = torch.cat([along, -(along * a).sum(2, keepdim=True)], 2) / square @ torch.cat([place, ones])
    away = torch.cat([-2 * a, a.square().sum(2, keepdim=True), torch.ones_like(square)], 2) @ torch.cat(
        [place, ones, place.square().sum(0, keepdim=True)]
    )
    share = raw.clamp(0, 1)
    distance = (away + square * share * (share - 2 * raw)).clamp(min=1e-4).sqrt()
    return torch.addcmul(radii[..., :1], share, radii[..., 1:] - radii[..., :1]) - distance


def rest_joints(body: BodyModel) -> Tensor:
    """(16, 3) metres: the joints of the mean body at rest."""
    zeros = body.v_template.new_zeros  # wherever the body is
    vertices, joints = body(zeros(1, 10), zeros(1, 24, 3))
    return body.keypoints(vertices, joints, "bodynet16")[0]


def bone_lengths(rest: Tensor) -> Tensor:
    """(15,) metres, from joints (16, 3)."""
    return (rest[_FROM] - rest[_TO]).norm(dim=1)


def scale_of(place: Tensor, weight: Tensor, lengths: Tensor) -> Tensor:
    """(B,) the cameras' scales by which the bones that are seen have their lengths (15,).

    place, weight: see `Bones.forward`.
    """
    apart = place[:, _FROM] - place[:, _TO]
    seen, behind = apart[..., :2].norm(dim=2), apart[..., 2]
    aside = (lengths.square() - behind.square()).clamp(min=1e-8).sqrt()
    share = torch.minimum(weight[:, _FROM], weight[:, _TO]) * (aside > _FACING_UP * lengths)
    return ((share * 2 * seen).sum(1) / (share * aside).sum(1).clamp(min=1e-3)).clamp(0.2, 5)
