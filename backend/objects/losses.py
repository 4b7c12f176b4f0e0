# SPDX-License-Identifier: GPL-3.0-or-later
"""JOF's training losses, equations 4 to 8 of the paper (its text of equation 5 is garbled; see `silhouette`).

The paper's supplement, which holds the weights λ, is not public; the ones here are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..device import in_chunks
from .network import Codes, JointField
from .rendering import INSIDE

CHROMATICITY = 15.0  # α
SPARSITY = 0.8  # p
WHITE = 1.0  # c, the mean shading
ENTROPY = 0.3  # weight of a cross-entropy that takes the place of squares
_FLAT = 1e-4  # added to squared albedo differences, whose power p/2 has no derivative at 0
_POWER_STEPS = 8
_DECIDED = 16.0  # sharpness of the soft choice of a branch
_SPREAD = 0.8  # the branches' shares are balanced from this part of the entropy on that even shares have
_NEIGHBOURS, _NEAR = 3, 0.15  # points with which a point is compared, and how far they may be
_ONE_COLOUR = 0.02
_SURE = 1e-6  # added to probabilities, whose logarithm is asked for


@dataclass(frozen=True)
class LossWeights:
    """λ of equation 4, and of L_2: λ_C, λ_S, λ_A (codes) and λ_P. Ours are azimuth, light and field (see `FitStage`),
    balance and parts; the last two and squares: see `stage1`."""

    image: float = 1.0
    silhouette: float = 1.0
    features: float = 0.005
    albedo: float = 0.02
    white: float = 0.1
    codes: float = 1.0
    camera: float = 1.0
    azimuth: float = 0.5
    light: float = 0.3
    field: float = 10.0
    balance: float = 0.05
    parts: float = 0.02
    squares: bool = False


def stage1(
    field: JointField,
    codes: Codes,
    points: Tensor,
    occupied: Tensor,
    colour: Tensor,
    coloured: Tensor,
    label: Tensor,
    balance: float = 0.0,
    parts: float = 0.0,
    squares: bool = False,
) -> dict[str, Tensor]:
    """L_S, L_A and L_C (equation 8), the last two unweighted, the first two as means over their points.

    points: (B, N, 3). occupied: (B, N) in {0, 1}. colour: (B, N, 3) linear albedo where `coloured` (B, N) bool: inside,
    and in the voxels that touch it. label: (B,) category numbers. balance, parts: weights of terms that are not the
    paper's. Only the branch that wins a point learns from it, so that one soon wins them all; the first asks that
    several win their share of the occupied points, the second is `part_coherence`.
    """
    branches = field.shape(codes, points)
    occupancy, branch = branches.max(-1)
    wrong = F.mse_loss(occupancy, occupied) if squares else ENTROPY * _cross_entropy(occupancy, occupied).mean()
    losses = {"occupancy": wrong}
    if balance:
        share = torch.softmax(_DECIDED * branches[occupied > 0.5], -1).mean(0)
        even = float(np.log(len(share)))
        losses["balance"] = balance * F.relu(_SPREAD * even + (share * share.clamp(min=1e-6).log()).sum())
    # Only coloured points are decoded, some quarter of all: the same number for each shape, cut or filled up by index.
    number = max(int(coloured.sum(1).float().mean()), 1)
    order = torch.argsort((~coloured).to(torch.uint8), dim=1, stable=True)[:, :number]
    known = coloured.gather(1, order)[..., None]
    near = points.gather(1, order[..., None].expand(-1, -1, 3))
    predicted = field.chosen_albedo(codes, near, branch.gather(1, order))
    wanted = colour.gather(1, order[..., None].expand(-1, -1, 3))
    if parts:
        chosen = torch.softmax(_DECIDED * branches.gather(1, order[..., None].expand(-1, -1, branches.shape[-1])), -1)
        losses["parts"] = parts * part_coherence(chosen, near, wanted, known[..., 0])
    losses["albedo"] = ((predicted - wanted) ** 2 * known).sum() / (3 * known.sum()).clamp(min=1)
    if codes.category.shape[1]:
        losses["category"] = F.cross_entropy(field.classified(codes), label)
    return losses


def _cross_entropy(told: Tensor, true: Tensor) -> Tensor:
    """Of probabilities, point by point; PyTorch's own is refused where half precision is in use."""
    return -(true * (told + _SURE).log() + (1 - true) * (1 - told + _SURE).log())


def part_coherence(chosen: Tensor, points: Tensor, colour: Tensor, known: Tensor) -> Tensor:
    """Neighbours of one colour are of one part, neighbours of two colours of two: the mean of their cross-entropies.

    chosen: (B, N, branches) soft choice of a branch at points (B, N, 3) with albedo (B, N, 3) where known (B, N).
    """
    with torch.no_grad():
        distance = torch.cdist(points, points)
        distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        distance.masked_fill_(~known[:, None], torch.inf)
        near, other = distance.topk(min(_NEIGHBOURS, points.shape[1] - 1), largest=False)
    beside = [x.gather(1, other.flatten(1)[..., None].expand(-1, -1, x.shape[-1])) for x in (chosen, colour)]
    their, shade = (x.unflatten(1, other.shape[1:]) for x in beside)
    together = (chosen[:, :, None] * their).sum(-1)
    same = ((colour[:, :, None] - shade).abs().amax(-1) < _ONE_COLOUR).float()
    counts = (known[..., None] & (near < _NEAR)).float()
    return (_cross_entropy(together, same) * counts).sum() / counts.sum().clamp(min=1)


def code_distance(predicted: Codes, true: Codes) -> dict[str, Tensor]:
    """Squared distances of L_2, means over elements, by code."""
    return {name: F.mse_loss(p, t) for name, p, t in zip(Codes._fields, predicted, true, strict=True) if p.shape[1] > 0}


def photometric(image: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """Equation 6. image, true: (B, N, 3). mask: (B, N) in [0, 1]."""
    return ((image - true).abs() * mask[..., None]).sum() / (3 * mask.sum()).clamp(min=1)


def silhouette(occupancy: Tensor, hit: Tensor, mask: Tensor) -> Tensor:
    """Equation 5, mended: occupancy (B, N) at surface points against 0.5 where mask (B, N) is, and 0 outside.

    In the mask only what lacks to a half counts. A surface point's occupancy is a half but for the search's error, and
    the absolute value would push the surface inward for that error with full force, all over the object. Outside, only
    rays count that hit (B, N) bool: those that pass by a soft surface would make every object smaller than it is.
    """
    within = mask > 0.5
    return torch.where(within, F.relu(INSIDE - occupancy), occupancy * hit).mean()


def albedo_constancy(albedo: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """L_alb-const: neighbours of the same chromaticity have the same albedo; mean over neighbouring foreground pairs.

    albedo, true: (B, S, S, 3), the second the input picture. mask: (B, S, S).
    """
    chroma = true / true.norm(dim=-1, keepdim=True).clamp(min=1e-4)
    total, pairs = albedo.new_zeros(()), albedo.new_zeros(())
    for axis in (1, 2):  # each pair once is each pixel's four neighbours, halved
        n = albedo.shape[axis] - 1

        def both(x: Tensor, axis: int = axis, n: int = n) -> tuple[Tensor, Tensor]:
            return x.narrow(axis, 0, n), x.narrow(axis, 1, n)

        (a, b), (c, d), (m, k) = both(albedo), both(chroma), both((mask > 0.5).to(albedo.dtype))
        weight = torch.exp(-CHROMATICITY * (c - d).norm(dim=-1)) * m * k
        total = total + (weight * (((a - b) ** 2).sum(-1) + _FLAT) ** (SPARSITY / 2)).sum()
        pairs = pairs + (m * k).sum()
    return total / pairs.clamp(min=1)


def white_shading(shading: Tensor, mask: Tensor) -> Tensor:
    """L_bws: the mean shading of all foreground pixels of a batch is 1, by channel. shading: (B, N, 3)."""
    mean = (shading * mask[..., None]).sum((0, 1)) / mask.sum().clamp(min=1)
    return (mean - WHITE).abs().mean()


def leading_direction(features: Tensor) -> Tensor:
    """(B, K) leading eigenvector of the covariance of q features (B, q, K), unit, of either sign.

    Found by an eigen-decomposition, then a few power iterations, which pass gradients that stay finite where
    eigenvalues meet.
    """
    centred = features - features.mean(1, keepdim=True)
    with torch.no_grad():
        vector = torch.linalg.svd(centred, full_matrices=False).Vh[:, 0]
    for _ in range(_POWER_STEPS):
        vector = torch.einsum("bqk,bq->bk", centred, torch.einsum("bqk,bk->bq", centred, vector))
        vector = F.normalize(vector, dim=-1, eps=1e-12)
    return vector


def feature_consistency(directions: Tensor, category: Tensor) -> Tensor:
    """Equation 7 over all pairs of one category: L1 distance of leading eigenvectors (B, K), of the nearer sign."""
    first, second = torch.triu_indices(len(directions), len(directions), 1, device=directions.device)
    same = category[first] == category[second]
    a, b = directions[first[same]], directions[second[same]]
    if not len(a):
        return directions.sum() * 0
    return torch.minimum((a - b).abs().sum(-1), (a + b).abs().sum(-1)).mean()


@torch.no_grad()
def boundary_points(field: JointField, codes: Codes, count: int, side: int = 24) -> Tensor:
    """(B, count, 3) points between adjacent parts: interior points whose neighbour triggers another branch.

    Looked for on a grid of side³ points. Shapes with fewer such points repeat them; those with one part alone give
    points of their inside.
    """
    line = (torch.arange(side, device=codes.shape.device) + 0.5) * (2 / side) - 1
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1)
    found = []
    for row in range(len(codes.shape)):
        one = codes.rows(slice(row, row + 1))
        branches = in_chunks(grid.view(-1, 3), lambda part, one=one: field.shape(one, part[None])[0])
        value, branch = branches.max(-1)
        inside, branch = (value > INSIDE).view(side, side, side), branch.view(side, side, side)
        inside = inside | ((value == value.max()).view(side, side, side))  # never none at all
        middles = []
        for axis in range(3):
            a, b = (branch.narrow(axis, k, side - 1) for k in (0, 1))
            m, n = (inside.narrow(axis, k, side - 1) for k in (0, 1))
            change = (a != b) & m & n
            p, q = (grid.narrow(axis, k, side - 1) for k in (0, 1))
            middles.append((p[change] + q[change]) / 2)
        points = torch.cat(middles)
        points = points if len(points) else grid[inside]
        choice = torch.randint(len(points), (count,), device=points.device)
        if len(points) >= count:
            choice = torch.randperm(len(points), device=points.device)[:count]
        found.append(points[choice])
    return torch.stack(found)


def local_features(maps: tuple[Tensor, ...], matrix: Tensor, points: Tensor) -> Tensor:
    """(B, q, K) features F of an encoder's maps where 3D points (B, q, 3) are seen (B, 3, 4)."""
    u = F.pad(points, (0, 1), value=1.0) @ matrix.transpose(1, 2)
    place = (u[..., :2] / u[..., 2:].clamp(min=1e-3)).clamp(-1.5, 1.5)
    sampled = [F.grid_sample(m, place[:, None], align_corners=False, padding_mode="border")[:, :, 0] for m in maps]
    return torch.cat(sampled, 1).transpose(1, 2)
