# SPDX-License-Identifier: GPL-3.0-or-later
"""BodyNet's losses (equations 1 to 5, appendix B.3), and weights that bring their gradients to one scale (C.2).

Every loss is a mean over pixels or voxels, as in the public code, and over the stacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .heatmaps import around, heatmaps2d
from .network import Outputs
from .parts import CLASSES3D
from .synthesis import Truth

OVERLAP = 0.05  # of the Dice loss beside a volume's cross-entropy, which alone leaves thin limbs out
# (λ_v, λ_FV, λ_SV) of section 3.3, for a shape network that learns alone.
SHAPE_WEIGHTS = {"voxels": 10 / 12, "front": 1 / 12, "side": 1 / 12}


def front(volume: Tensor) -> Tensor:
    """(…, V, V) rows and columns: the front view of volumes (…, V, V, V), the maximum along z (equation 2)."""
    return volume.amax(-3)


def side(volume: Tensor) -> Tensor:
    """(…, V, V) depths and rows: the side view, the maximum along x (equation 2)."""
    return volume.amax(-1)


def flat_losses(outputs: Outputs, truth: Truth) -> dict[str, Tensor]:
    """Of 2D pose and 2D parts (section 3.3): mean square and cross-entropy."""
    target = heatmaps2d(truth.joints, outputs.joints[-1].shape[-1])
    return {
        "joints2d": _mean(F.mse_loss(x, target) for x in outputs.joints),
        "parts2d": _mean(F.cross_entropy(x, truth.parts) for x in outputs.parts),
    }


def deep_losses(outputs: Outputs, truth: Truth) -> dict[str, Tensor]:
    """Of the 3D pose: cross-entropy over all places of a joint, with the heatmap's middle as the true distribution.

    The paper has the mean square, of which next to nothing is to be gained while the maps are empty nearly everywhere.
    """
    assert outputs.joints3d is not None
    index, weight = around(truth.joints, outputs.joints3d[-1].shape[-1])

    def entropy(logits: Tensor) -> Tensor:
        return -(logits.flatten(2).log_softmax(2).gather(2, index) * weight).sum(2).mean()

    return {"joints3d": _mean(entropy(x) for x in outputs.joints3d)}


def voxel_losses(outputs: Outputs, truth: Truth, views: bool = True) -> dict[str, Tensor]:
    """Equation 1 with the volume's overlap, and with views equations 3 and 4.

    The maximum of the logits is the logit of the maximum. The overlap is ours: where depth is uncertain, cross-entropy
    is least for a volume that is occupied nowhere.
    """
    assert outputs.voxels is not None
    target = (truth.voxels > 0).float()
    loss = F.binary_cross_entropy_with_logits
    found = {"voxels": _mean(loss(x, target) + OVERLAP * apart(x.sigmoid(), target) for x in outputs.voxels)}
    if views:
        found["front"] = _mean(loss(front(x), front(target)) for x in outputs.voxels)
        found["side"] = _mean(loss(side(x), side(target)) for x in outputs.voxels)
    return found


def part_losses(outputs: Outputs, truth: Truth, views: bool = True) -> dict[str, Tensor]:
    """Cross-entropy over the seven classes with the parts' overlap, and with views the 14 projections (B.3).

    A part projects by its maximum, the background by its minimum.
    """
    assert outputs.part_voxels is not None
    label = truth.voxels.long()
    volumes = F.one_hot(label, CLASSES3D).movedim(-1, 1).float()
    found = {
        "voxels": _mean(
            F.cross_entropy(x, label) + OVERLAP * apart(x.softmax(1)[:, 1:], volumes[:, 1:])
            for x in outputs.part_voxels
        )
    }
    if views:
        true = _part_views(volumes)
        for name, index in (("front", 0), ("side", 1)):
            found[name] = _mean(_entropy(_part_views(x.softmax(1))[index], true[index]) for x in outputs.part_voxels)
    return found


def apart(found: Tensor, true: Tensor) -> Tensor:
    """1 − soft Dice of volumes (…, V, V, V) in [0, 1], their mean; two empty ones overlap."""
    both, either = (x.sum((-3, -2, -1)) for x in (found * true, found + true))
    return 1 - ((2 * both + 1) / (either + 1)).mean()


def _part_views(volume: Tensor) -> tuple[Tensor, Tensor]:
    """Front and side views (B, 7, V, V) of probabilities (B, 7, V, V, V)."""
    background, parts = volume[:, :1], volume[:, 1:]
    views = [torch.cat([-project(-background), project(parts)], 1) for project in (front, side)]
    return views[0], views[1]


def _entropy(found: Tensor, true: Tensor) -> Tensor:
    """Binary cross-entropies of classes (B, 7, V, V), added up."""
    return found.shape[1] * F.binary_cross_entropy(found.clamp(1e-6, 1 - 1e-6), true)


def _mean(losses: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(losses)).mean()


def gradient_scales(losses: Mapping[str, Tensor], parameters: Sequence[nn.Parameter]) -> dict[str, float]:
    """The mean magnitude of each loss's gradient, over the parameters that it reaches. Keeps the graph."""
    scales = {}
    for name, loss in losses.items():
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        reached = [g for g in gradients if g is not None]
        scales[name] = float(sum(g.abs().sum() for g in reached)) / max(1, sum(g.numel() for g in reached))
    return scales


def balanced_weights(scales: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Weights that add up to 1 and bring the losses' gradients to one scale, from the scales of many steps (C.2)."""
    inverse = {name: len(scales) / max(sum(step[name] for step in scales), 1e-30) for name in scales[0]}
    return {name: value / sum(inverse.values()) for name, value in inverse.items()}
