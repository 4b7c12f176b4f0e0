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
from .dataset import ObjectData, PictureBatch, PointBatch, moved, picture_batch, point_batch
from .doubt import Doubt, numbers
from .encoder import Fit, ImageEncoder, Views
from .losses import LossWeights
from .network import Codes, CodeTable, JointField, ObjectConfig, VoxelEncoder
from .rendering import Search, pixel_grid, render, valid_camera
from .symmetry import alike_azimuths, azimuth_of, turned_light
from .voxels import SIDE

SEVERAL = 64  # shapes whose codes are read at a time
MEASURED = 2048  # pictures on which the encoder's doubt is measured


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """One run of one stage.

    batch: shapes (stage 1) or pictures. points: of each shape in a step, at most (public code: all there are).
    sides: grid sides of stage 1, and after which share of the run each begins.
    prior: weight of the free codes' mean square, which keeps them together.
    rendered: pixels along a side of rendered pictures; 128 is divided by it. search: of their surface points.
    pictures: how many of a batch of stage 2 are rendered. image_from: after which share of stage 2 they are, as
        projections are too far off before, and rendering costs many times a step.
    field_from: after which share of stage 2 the field learns as well, what to make of codes that a picture leaves open;
        not in the paper, whose is 1.
    boundary: points of the local feature consistency, q.
    asked: points of each shape at which stage 2 compares the field, with what is there; at grid side 64.
    """

    stage: int
    network: ObjectConfig = field(default_factory=ObjectConfig)
    losses: LossWeights = field(default_factory=LossWeights)
    batch: int = 16
    rate: float = 5e-4
    points: int = 1024
    sides: tuple[tuple[int, float], ...] = ((16, 0.0), (32, 0.05), (64, 0.12))
    free_codes: bool = False
    prior: float = 1e-4
    rendered: int = 32
    search: Search = field(default_factory=lambda: Search(24, 5))
    pictures: int = 8
    image_from: float = 0.95
    field_from: float = 0.4
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
        self.inner = [*self.field.inner, *self.codes.inner]

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
            found = said_of(self.field, codes, batch, self.plan.losses)
        if self.plan.free_codes:
            found["prior"] = self.plan.prior * (codes.shape.square().mean() + codes.albedo.square().mean())
        return found

    def codes_of(self, batch: PointBatch) -> Codes:
        return self.codes(batch.index if batch.voxels is None else batch.voxels)


class FitStage:
    """Stage 2. Field and codes of the same training shapes are stage 1's; the codes stay as they are."""

    def __init__(self, plan: Plan, data: ObjectData, first: Mapping[str, nn.Module]) -> None:
        self.plan, self.data = plan, data
        self.numbers = {name: k for k, name in enumerate(plan.network.categories)}
        self.field = cast(JointField, first["field"])
        self.targets = all_codes(first["codes"], data)
        self.spread = [float(code.var(0).mean().clamp(min=1e-6)) if code.shape[1] else 1.0 for code in self.targets]
        self.encoder = ImageEncoder(plan.network)
        self.encoder.standardise(torch.from_numpy(data.matrices()))
        self.space = CodeSpace(plan.network)
        self.pictures = data.pictures
        self.space.measure(self.targets, torch.tensor([self.numbers[category] for category in data.category]))
        self.doubt = Doubt(plan.network)
        self.modules: dict[str, nn.Module] = {
            "field": self.field,
            "encoder": self.encoder,
            "space": self.space,
            "doubt": self.doubt,
        }
        self.trained = [*self.encoder.parameters(), *self.field.parameters()]
        self.inner = [*self.encoder.inner, *self.field.inner]

    def batch(self, random: np.random.Generator, done: float) -> PictureBatch:
        chosen = self.pictures[random.integers(len(self.pictures), size=self.plan.batch)]
        rows = chosen[:, 0]
        batch = picture_batch(self.data, chosen.tolist(), self.numbers, random, self.plan.network.sees_mask)
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
        self.field.requires_grad_(done >= self.plan.field_from)
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
        right = self.right(fit, batch)
        found["azimuth"] = weights.azimuth * (fit.views.logits.logsumexp(1) - right.logsumexp(1)).mean()
        seen_from = right.argmax(1)
        numbers = fit.views.numbers[torch.arange(len(true)), seen_from]
        found["camera"] = weights.camera * F.mse_loss(numbers, self.encoder.numbers(batch.matrix, true))
        if weights.light:
            found["light"] = weights.light * F.mse_loss(fit.views.light, turned_light(batch.light, true))
        if batch.points is not None:
            p = batch.points
            with self.plan.half(p.points.device):
                seen = said_of(self.field, fit.codes, p, weights)
            terms = seen.keys() & {"occupancy", "albedo", "parts"}
            found |= {f"{name} at points": weights.field * seen[name] for name in sorted(terms)}
        if weights.image and done >= self.plan.image_from:
            part = slice(0, self.plan.pictures)
            true, mask = reduced(batch.linear[part], batch.mask[part], self.plan.rendered)
            pixels = pixel_grid(self.plan.rendered, true.device)
            matrix, light = self.encoder.seen(Views(*(view[part] for view in fit.views)), seen_from[part])
            seen = render(self.field, fit.codes.rows(part), valid_camera(matrix), light, pixels, self.plan.search)
            found["image"] = weights.image * losses.photometric(seen.image, true.flatten(1, 2), mask.flatten(1))
        return found

    @staticmethod
    def right(fit: Fit, batch: PictureBatch) -> Tensor:
        """(B, AZIMUTHS) logits of the azimuths from which objects look as in the pictures, of others -∞."""
        alike = alike_azimuths(azimuth_of(batch.matrix), batch.alike)
        return torch.where(alike, fit.views.logits, -torch.inf)

    @torch.no_grad()
    def measure_doubt(self, random: np.random.Generator) -> None:
        """Measure how far the encoder is off on pictures of the training shapes."""
        device, errors = next(self.encoder.parameters()).device, []
        for _ in range(MEASURED // self.plan.batch + 1):
            batch = moved(self.batch(random, 1.0), device)
            with self.plan.half(device):
                fit = self.encoder(batch.picture)
            seen_from, true = self.right(fit, batch).argmax(1), azimuth_of(batch.matrix)
            camera = self.encoder.numbers(batch.matrix, true)
            light = turned_light(batch.light, true).flatten(1)
            truth = torch.cat([*self.targets.rows(batch.index), camera, light], 1)
            errors.append(truth - numbers(fit.codes, fit.views, seen_from))
        self.doubt.measure(torch.cat(errors))


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
        self.inner = [*self.encoder.inner, self.field.albedo.hidden]
        category = np.array(data.category)[data.pictures[:, 0]]
        self.members = {c: data.pictures[category == c] for c in dict.fromkeys(data.category)}

    def batch(self, random: np.random.Generator, done: float) -> PictureBatch:
        pairs = []
        while len(pairs) < self.plan.batch:
            members = self.members[str(random.choice(list(self.members)))]
            pairs += random.choice(members, min(4, self.plan.batch - len(pairs))).tolist()
        return picture_batch(self.data, pairs, self.numbers, random, self.plan.network.sees_mask)

    def losses(self, batch: PictureBatch, done: float) -> dict[str, Tensor]:
        """L_3, equation 4."""
        return self_supervised(self.field, self.encoder, batch, self.plan)


def said_of(field_: JointField, codes: Codes, batch: PointBatch, weights: LossWeights) -> dict[str, Tensor]:
    """`losses.stage1` of a batch of points."""
    there = batch.points, batch.occupied, batch.colour, batch.coloured, batch.label
    return losses.stage1(field_, codes, *there, weights.balance, weights.parts, weights.squares)


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
    pixels: Tensor | None = None,
) -> dict[str, Tensor]:
    """The terms of equation 4 that ask what was rendered. true: (B, S, S, 3) linear; mask: (B, S, S); pixels: (S², 2)
    where they were seen, by default all over the picture."""
    size, flat = true.shape[1], mask.flatten(1)
    pixels = pixel_grid(size, true.device) if pixels is None else pixels
    seen = render(field_, codes, valid_camera(matrix), light, pixels, search)
    found = {}
    if weights.image:
        found["image"] = weights.image * losses.photometric(seen.image, true.flatten(1, 2), flat)
    if weights.silhouette:
        found["silhouette"] = weights.silhouette * losses.silhouette(seen.surface.occupancy, seen.surface.hit, flat)
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
    for rows in np.array_split(np.arange(len(data)), len(data) // SEVERAL + 1):
        found.append(encoder(torch.from_numpy(np.stack([data.voxels(int(row), encoder.side) for row in rows]))))
    return Codes(*(torch.cat(codes) for codes in zip(*found, strict=True)))
