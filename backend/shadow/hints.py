# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shadow predictors see of a picture: the hint stack H (physical shadow paper, section 3), and surfaces."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..shading.panorama import LUMINANCE

HINT = 7  # channels of H
SURFACE = 6  # of `surface`
UNSHADED = 0.5  # display-encoded; an object of this grey is one whose shading tells nothing


def hint(composite: Tensor, mask: Tensor, points: Tensor, valid: Tensor) -> Tensor:
    """(B, 7, H, W) H of a composite (B, 3, H, W) in [0, 1], mask and valid (B, 1, H, W) and points (B, 3, H, W) metres.

    Points are divided by the object's mean distance, since a picture tells no unit of length, and bent by asinh, since
    a street is a hundred times as long as what stands in it; 0 where there is none.
    """
    on = mask * valid
    distance = (points.norm(dim=1, keepdim=True) * on).sum((2, 3), keepdim=True) / on.sum((2, 3), keepdim=True).clamp(1)
    scaled = torch.asinh(points / distance.clamp(min=1e-3)) * valid
    return torch.cat([composite * 2 - 1, mask, scaled], 1)


def some_unshaded(h: Tensor, share: float) -> Tensor:
    """H (B, 7, H, W) of which some pictures, drawn by their share, have a grey object: so that their light is not read
    off its shading alone, which is no evidence where the object was lit by an estimate."""
    chosen = torch.rand(len(h), 1, 1, 1, device=h.device) < share
    grey = chosen & (h[:, 3:4] > 0.5)
    return torch.cat([h[:, :3].masked_fill(grey, 2 * UNSHADED - 1), h[:, 3:]], 1)


def surface(h: Tensor) -> Tensor:
    """(B, 6, H, W) of H: unit normals of its point map, camera space, and the same times the picture's luminance."""
    valid = (h[:, 4:] != 0).any(1, keepdim=True)
    normal = normals(h[:, 4:].float().sinh(), valid)  # sinh undoes the bending of `hint`
    luminance = torch.einsum("bchw,c->bhw", h[:, :3].float() / 2 + 0.5, normal.new_tensor(LUMINANCE)).square()[:, None]
    return torch.cat([normal, normal * luminance], 1)


def normals(points: Tensor, valid: Tensor) -> Tensor:
    """(B, 3, H, W) unit normals of points (B, 3, H, W), 0 where a pixel has none; valid (B, 1, H, W) bool.

    Of the neighbours on either side the nearer one tells the slope, as at an object's outline the other one is of
    something behind.
    """
    normal = torch.linalg.cross(_slope(points, valid, 2), _slope(points, valid, 3), dim=1)
    return F.normalize(normal, dim=1) * valid


def _slope(points: Tensor, valid: Tensor, axis: int) -> Tensor:
    """From each point to the next one along an axis of the picture, by the neighbour that is nearer; 0 without one."""
    step = points.diff(dim=axis)
    there = valid.narrow(axis, 1, step.shape[axis]) & valid.narrow(axis, 0, step.shape[axis])
    far = step.square().sum(1, keepdim=True).masked_fill(~there, torch.inf)
    after, before = ((0, 0, 0, 1), (0, 0, 1, 0)) if axis == 2 else ((0, 1, 0, 0), (1, 0, 0, 0))
    far_after, far_before = (F.pad(far, pad, value=torch.inf) for pad in (after, before))
    slope = torch.where(far_after <= far_before, F.pad(step, after), F.pad(step, before))
    return slope * torch.minimum(far_after, far_before).isfinite()
