# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of what BodyNet sees, for those who train it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..lasor.synthesis import Synthesis
from .heatmaps import heatmaps2d
from .losses import front, side
from .network import BodyNet, Outputs
from .parts import CLASSES2D
from .picture_data import DEVIATION, MEAN, PictureData
from .synthesis import ProxySynthesizer

TILE = 128
_COLOURS = torch.tensor([[0.0, 0, 0], *(
    [0.5 + 0.5 * np.cos(2.4 * k), 0.5 + 0.5 * np.cos(2.4 * k + 2.1), 0.5 + 0.5 * np.cos(2.4 * k + 4.2)]
    for k in range(CLASSES2D - 1)
)])  # fmt: skip


def outputs_of(network: BodyNet, image: Tensor, stage: int) -> Outputs:
    """What the subnetworks that are trained after this stage say."""
    outputs = network.flat(image)
    if stage > 1:
        outputs = network.deep(image, outputs)
    if stage > 2:
        outputs = network.shaped(image, outputs, *(("voxels", "part_voxels") if stage > 5 else ("voxels",)))
    return outputs


@torch.inference_mode()
def sheet(network: BodyNet, people: ProxySynthesizer | PictureData, stage: int, count: int = 8) -> np.ndarray:
    """(H, W, 3) linear: a column for each of `count` people. The input; then truth above finding of joints and parts;
    after stage 1 the 3D joints from the front, after stage 2 voxels from the front and from the side, and after stage 5
    their parts.
    """
    example = people.batch(count, Synthesis().unoccluded(), torch.Generator().manual_seed(2))
    truth, found = example.truth, outputs_of(network.eval(), example.image, stage)
    grid = found.joints[-1].shape[-1]
    if example.image.shape[1] == 3:
        rows = [(example.image.permute(0, 2, 3, 1) * torch.tensor(DEVIATION) + torch.tensor(MEAN)).clamp(0, 1) ** 2.2]
    else:
        rows = [_grey(torch.maximum(example.image[:, 1:].amax(1), 0.4 * example.image[:, 0]))]
    rows += [_grey(maps.amax(1).clamp(0, 1)) for maps in (heatmaps2d(truth.joints, grid), found.joints[-1])]
    rows += [_COLOURS[label] for label in (truth.parts, found.parts[-1].argmax(1))]
    if found.joints3d is not None:
        rows.append(_grey(found.heatmaps3d.amax((1, 2)).clamp(0, 1)))
    if found.voxels is not None:
        true, seen = (truth.voxels > 0).float(), found.voxels[-1].sigmoid()
        for view in (front, side):
            rows += [_grey(_upright(view(volume), view)) for volume in (true, seen)]
    if found.part_voxels is not None:
        label = found.part_voxels[-1].argmax(1)
        rows += [
            _COLOURS[_upright(view(volume), view)] for view in (front, side) for volume in (truth.voxels.long(), label)
        ]
    tiles = [F.interpolate(row.permute(0, 3, 1, 2), (TILE, TILE))[:, :3] for row in rows]
    return torch.cat([torch.cat(list(row), 2) for row in tiles], 1).permute(1, 2, 0).numpy()


def _upright(view: Tensor, kind: object) -> Tensor:
    """Side views (B, depths, rows) with rows down."""
    return view.mT if kind is side else view


def _grey(image: Tensor) -> Tensor:
    return image[..., None].expand(*image.shape, 3).float()
