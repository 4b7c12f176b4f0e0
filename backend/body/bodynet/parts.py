# SPDX-License-Identifier: GPL-3.0-or-later
"""What BodyNet divides a body into: 16 joints, 14 parts in the image, 6 in space; and the grid of depths."""

from __future__ import annotations

import torch
from torch import Tensor

from ..model import KEYPOINTS, BodyModel

JOINTS = len(KEYPOINTS["bodynet16"])
PELVIS = KEYPOINTS["bodynet16"].index("pelvis")
DEPTHS = 19
DEPTH_STEP = 0.045  # metres; the middle one is the pelvis' (section 3.3: 85 cm in 19 bins)

# The numbers and names of the body's file, 0 being the background, with the SMPL joints that move each.
PARTS14: dict[str, tuple[int, ...]] = {
    "Head": (15,),
    "Torso": (0, 3, 6, 9, 12, 13, 14),
    "RightUpperArm": (17,),
    "RightLowerArm": (19,),
    "RightHand": (21, 23),
    "LeftUpperArm": (16,),
    "LeftLowerArm": (18,),
    "LeftHand": (20, 22),
    "RightUpperLeg": (2,),
    "RightLowerLeg": (5,),
    "RightFoot": (8, 11),
    "LeftUpperLeg": (1,),
    "LeftLowerLeg": (4,),
    "LeftFoot": (7, 10),
}
PARTS6 = ("Head", "Torso", "RightArm", "LeftArm", "RightLeg", "LeftLeg")
TORSO = 1 + PARTS6.index("Torso")
_SIX_OF_14 = (1, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6)
CLASSES2D, CLASSES3D = 1 + len(PARTS14), 1 + len(PARTS6)


def face_parts(body: BodyModel) -> tuple[Tensor, Tensor]:
    """(F,) each triangle's part of 14 and of 6, from 1, by the joint that moves it most."""
    of_joint = torch.zeros(24, dtype=torch.long, device=body.faces.device)
    for number, joints in enumerate(PARTS14.values(), 1):
        of_joint[list(joints)] = number
    fourteen = of_joint[body.weights[body.faces].sum(1).argmax(1)]
    return fourteen, torch.tensor((0, *_SIX_OF_14), device=fourteen.device)[fourteen]
