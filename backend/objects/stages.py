# SPDX-License-Identifier: GPL-3.0-or-later
"""JOF's three training stages (section 3.5): what each learns, from what, by which losses.

1. The field and the codes of all training shapes, from points (equation 8): free codes (an auto-decoder, the public
   code's default) or those of a coloured-voxel encoder.
2. The image encoder, from pictures whose codes and projection are known (L_2); beside the paper's terms, from what the
   field makes of the codes, and from the light.
3. The image encoder and the albedo decoder, from pictures with nothing but a silhouette (equation 4); the shape decoder
   is frozen.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..protocol import PenumbraError
from ..training import RunPlan
from . import losses
from .code_space import CodeSpace
from .dataset import ObjectData, PictureBatch, PointBatch, picture_batch, point_batch
from .encoder import ImageEncoder, Views
from .losses import LossWeights
from .network import Codes, CodeTable, JointField, ObjectConfig, VoxelEncoder
from .rendering import Search, pixel_grid, render, valid_camera
from .symmetry import alike_azimuths, azimuth_of, turned_light
from .voxels import SIDE


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """One run of one stage.

    batch: shapes (stage 1) or pictures. points: of each shape in a step, at most (public code: all there are).
    sides: grid sides of stage 1, and after which share of the run each begins.
    prior: weight of the free codes' mean square, which keeps them together.
    rendered: pixels along a side of rendered pictures; 128 is divided by it. search: of their surface points.
    pictures: how many of a batch of stage 2 are rendered. image_from: after which share of stage 2 they are, as
        projections are too far off before, and rendering costs many times a step.
    boundary: points of the local feature consistency, q.
    asked: points of each shape at which stage 2 compares the field, with what is there; at grid side 64.
    """

    stage: int
    network: ObjectConfig = field(default_factory=ObjectConfig)
    losses: LossWeights = field(default_factory=LossWeights)
    batch: int = 16
    rate: float = 5e-4
    points: int = 1024
    sides: tuple[tuple[int, float], ...] = ((16, 0.0), (32, 0.1), (64, 0.25))
    free_codes: bool = False
    prior: float = 1e-4
    rendered: int = 32
    search: Search = field(default_factory=lambda: Search(24, 5))
    pictures: int = 8
    image_from: float = 0.8
    boundary: int = 128
    asked: int = 512


class FieldStage:
    """Stage 1."""

    def __init__(self, plan: Plan, data: ObjectData) -> None:
        self.plan, self.data = plan, data
        self.numbers = {name: k for k, name in enumerate(plan.network.categories)}
        self.field = JointField(plan.network)
        self.codes: CodeTable | VoxelEncoder = VoxelEncoder(plan.network)
        if plan.free_codes:
            self.codes = CodeTable(data.names, plan.network)
        self.modules: dict[str, nn.Module] = {"field": self.field, "codes": self.codes}
        self.trained = [*self.field.parameters(), *self.codes.parameters()]

    def side(self, done: float) -> int:
        return [side for side, begin in self.plan.sides if done >= begin][-1]

    def batch(self, random: np.random.Generator, done: float) -> PointBatch:
        rows = random.permutation(len(self.data))[: self.plan.batch]
        return self.batch_of(rows, self.side(done), random)

    def batch_of(self, rows: np.ndarray, side: int = 16, random: np.random.Generator | None = None) -> PointBatch:
        """Points of chosen shapes."""
        random = random or np.random.default_rng(0)
        voxels = 0 if self.plan.free_codes else self.plan.network.voxel_side
        return point_batch(self.data, rows, side, self.plan.points, self.numbers, random, voxels)

    def losses(self, batch: PointBatch, done: float) -> dict[str, Tensor]:
        with self.plan.half(batch.points.device):
            codes = self.codes_of(batch)
            found = losses.stage1(
                self.field,
                codes,
                batch.points,
                batch.occupied,
                batch.colour,
                batch.coloured,
                batch.label,
                self.plan.losses.balance,
            )
        if self.plan.free_codes:
            found["prior"] = self.plan.prior * (codes.shape.square().mean() + codes.albedo.square().mean())
        return found

    def codes_of(self, batch: PointBatch) -> Codes:
        return self.codes(batch.index if batch.voxels is None else batch.voxels)


class FitStage:
    """Stage 2. The field and the codes of the same training shapes are stage 1's, and stay as they are."""

    def __init__(self, plan: Plan, data: ObjectData, first: Mapping[str, nn.Module]) -> None:
        self.plan, self.data = plan, data
        self.numbers = {name: k for k, name in enumerate(plan.network.categories)}
        self.field = first["field"].requires_grad_(False)
        self.targets = all_codes(first["codes"], data)
        self.spread = [float(code.var(0).mean().clamp(min=1e-6)) if code.shape[1] else 1.0 for code in self.targets]
        self.encoder = ImageEncoder(plan.network)
        self.encoder.standardise(torch.from_numpy(data.matrices()))
        self.space = CodeSpace(plan.network)
        self.space.measure(self.targets, torch.tensor([self.numbers[category] for category in data.category]))
        self.modules: dict[str, nn.Module] = {"encoder": self.encoder, "space": self.space}
        self.trained = list(self.encoder.parameters())

    def batch(self, random: np.random.Generator, done: float) -> PictureBatch:
        rows = random.integers(len(self.data), size=self.plan.batch)
        pairs = [(int(row), int(random.integers(self.data.views))) for row in rows]
        batch = picture_batch(self.data, pairs, self.numbers, random, self.plan.network.sees_mask)
        batch = batch._replace(alike=torch.from_numpy(np.stack([self.data.symmetries(int(row)) for row in rows])))
        if not self.plan.losses.field:
            return batch
        return batch._replace(points=point_batch(self.data, rows, SIDE, self.plan.asked, self.numbers, random))

    def losses(self, batch: PictureBatch, done: float) -> dict[str, Tensor]:
        """L_2. λ_C, λ_S and λ_A are taken over the variance of their codes, so that none drowns another.

        Not all of a code matters alike to the object, so the field at points of the shape is compared as well; and of
        azimuths that show a symmetric object alike (`symmetry`), all are right, and the likeliest has the true numbers.
        """
        weights = self.plan.losses
        with self.plan.half(batch.picture.device):
            fit = self.encoder(batch.picture)
        targets = self.targets.rows(batch.index)
        distance = losses.code_distance(fit.codes, targets)
        found = {
            name: weights.codes * distance[name] / spread
            for name, spread in zip(Codes._fields, self.spread, strict=True)
            if name in distance
        }
        true = azimuth_of(batch.matrix)
        right = torch.where(alike_azimuths(true, batch.alike), fit.views.logits, -torch.inf)
        found["azimuth"] = weights.azimuth * (fit.views.logits.logsumexp(1) - right.logsumexp(1)).mean()
        seen_from = right.argmax(1)
        numbers = fit.views.numbers[torch.arange(len(true)), seen_from]
        found["camera"] = weights.camera * F.mse_loss(numbers, self.encoder.numbers(batch.matrix, true))
        if weights.light:
            found["light"] = weights.light * F.mse_loss(fit.views.light, turned_light(batch.light, true))
        if batch.points is not None:
            p = batch.points
            with self.plan.half(p.points.device):
                seen = losses.stage1(self.field, fit.codes, p.points, p.occupied, p.colour, p.coloured, p.label)
            found |= {f"{name} at points": weights.field * seen[name] for name in ("occupancy", "albedo")}
        if weights.image and done >= self.plan.image_from:
            part = slice(0, self.plan.pictures)
            true, mask = reduced(batch.linear[part], batch.mask[part], self.plan.rendered)
            pixels = pixel_grid(self.plan.rendered, true.device)
            matrix, light = self.encoder.seen(Views(*(view[part] for view in fit.views)), seen_from[part])
            seen = render(self.field, fit.codes.rows(part), valid_camera(matrix), light, pixels, self.plan.search)
            found["image"] = weights.image * losses.photometric(seen.image, true.flatten(1, 2), mask.flatten(1))
        return found


class SelfStage:
    """Stage 3. Pictures of one category come together, which the local feature consistency compares."""

    def __init__(self, plan: Plan, data: ObjectData, earlier: Mapping[str, nn.Module]) -> None:
        self.plan, self.data = plan, data
        self.numbers = {name: k for k, name in enumerate(plan.network.categories)}
        self.field, self.encoder = cast(JointField, copy.deepcopy(earlier["field"])), copy.deepcopy(earlier["encoder"])
        self.field.requires_grad_(False)
        self.field.albedo.requires_grad_(True)
        self.modules: dict[str, nn.Module] = {"field": self.field, "encoder": self.encoder}
        self.trained = [*self.encoder.parameters(), *self.field.albedo.parameters()]
        self.members = {c: np.flatnonzero([c == d for d in data.category]) for c in dict.fromkeys(data.category)}

    def batch(self, random: np.random.Generator, done: float) -> PictureBatch:
        pairs = []
        while len(pairs) < self.plan.batch:
            members = self.members[str(random.choice(list(self.members)))]
            rows = random.choice(members, min(4, self.plan.batch - len(pairs)))
            pairs += [(int(row), int(random.integers(self.data.views))) for row in rows]
        return picture_batch(self.data, pairs, self.numbers, random, self.plan.network.sees_mask)

    def losses(self, batch: PictureBatch, done: float) -> dict[str, Tensor]:
        """L_3, equation 4."""
        return self_supervised(self.field, self.encoder, batch, self.plan)


def self_supervised(field_: JointField, encoder: ImageEncoder, batch: PictureBatch, plan: Plan) -> dict[str, Tensor]:
    """Equation 4, weighted, by its terms; a term of weight 0 is left out."""
    fit = encoder(batch.picture)
    true, mask = reduced(batch.linear, batch.mask, plan.rendered)
    found = picture_losses(field_, fit.codes, fit.matrix, fit.light, true, mask, plan.losses, plan.search)
    if plan.losses.features:
        points = losses.boundary_points(field_, fit.codes, plan.boundary)
        local = losses.local_features(fit.features, valid_camera(fit.matrix), points)
        directions = losses.leading_direction(local)
        found["features"] = plan.losses.features * losses.feature_consistency(directions, batch.label)
    return found


def picture_losses(
    field_: JointField,
    codes: Codes,
    matrix: Tensor,
    light: Tensor,
    true: Tensor,
    mask: Tensor,
    weights: LossWeights,
    search: Search,
) -> dict[str, Tensor]:
    """The terms of equation 4 that ask what was rendered. true: (B, S, S, 3) linear; mask: (B, S, S)."""
    size, flat = true.shape[1], mask.flatten(1)
    seen = render(field_, codes, valid_camera(matrix), light, pixel_grid(size, true.device), search)
    found = {}
    if weights.image:
        found["image"] = weights.image * losses.photometric(seen.image, true.flatten(1, 2), flat)
    if weights.silhouette:
        found["silhouette"] = weights.silhouette * losses.silhouette(seen.surface.occupancy, flat)
    if weights.albedo:
        square = seen.albedo.unflatten(1, (size, size))
        found["albedo"] = weights.albedo * losses.albedo_constancy(square, true, mask)
    if weights.white:
        found["white"] = weights.white * losses.white_shading(seen.shading, flat)
    return found


def reduced(linear: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Pictures (B, S, S, 3) and masks (B, S, S) at fewer pixels, means over squares."""
    step = linear.shape[1] // size
    if step * size != linear.shape[1]:
        raise ValueError(f"{linear.shape[1]} pixels cannot be brought to {size}")
    small = F.avg_pool2d(torch.cat([linear.permute(0, 3, 1, 2), mask[:, None]], 1), step)
    return small[:, :3].permute(0, 2, 3, 1), small[:, 3]


@torch.no_grad()
def all_codes(source: nn.Module, data: ObjectData) -> Codes:
    """Codes of all shapes of a data set, from an auto-decoder's table or a voxel encoder.

    Raises PenumbraError where the table lacks one of them.
    """
    if isinstance(source, CodeTable):
        rows = {name: row for row, name in enumerate(source.shapes)}
        if not rows.keys() >= set(data.names):
            raise PenumbraError("Stage 1 was trained on other shapes.", "Give stage 2 some of those.")
        return source(torch.tensor([rows[name] for name in data.names])).detach()
    encoder = cast(VoxelEncoder, source).eval()
    found = []
    for row in range(len(data)):
        found.append(encoder(torch.from_numpy(data.voxels(row, encoder.side))[None]))
    return Codes(*(torch.cat(codes) for codes in zip(*found, strict=True)))
