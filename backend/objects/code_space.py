# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the codes of the training shapes lie, so that people can move through them: JOF's latent space as sliders.

A category's shape codes have a middle and a few main directions (their principal components); an edit moves along
those, or from one category's middle toward another's. What is edited keeps its length, as the voxel encoder's codes all
have the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..import_jobs import SHAPE_SLIDERS
from .network import Codes, ObjectConfig


@dataclass(frozen=True)
class Edit:
    """What an artist does to the codes of one object.

    kind: number of the object's category. sliders: along the category's main directions, in standard deviations.
    toward: number of another category; amount: how far toward it, from 0 to 1.
    """

    kind: int
    sliders: tuple[float, ...] = ()
    toward: int = 0
    amount: float = 0.0


class CodeSpace(nn.Module):
    """Middles of each category's codes, and main directions of its shape codes, one standard deviation long."""

    category: Tensor
    shape: Tensor
    directions: Tensor

    def __init__(self, config: ObjectConfig) -> None:
        super().__init__()
        kinds = len(config.categories)
        self.register_buffer("category", torch.zeros(kinds, config.category_code))
        self.register_buffer("shape", torch.zeros(kinds, config.shape_code))
        self.register_buffer("directions", torch.zeros(kinds, SHAPE_SLIDERS, config.shape_code))

    @torch.no_grad()
    def measure(self, codes: Codes, kind: Tensor) -> None:
        """From the codes (N, …) of training shapes and the numbers (N,) of their categories."""
        for number in range(len(self.shape)):
            own = codes.rows(kind == number)
            if not len(own.shape):
                continue
            self.category[number], self.shape[number] = own.category.mean(0), own.shape.mean(0)
            offsets = own.shape - self.shape[number]
            _, spread, axes = torch.linalg.svd(offsets / max(len(offsets) - 1, 1) ** 0.5, full_matrices=False)
            axes = axes * axes.sum(1, keepdim=True).sign()  # an SVD leaves the sign open
            count = min(SHAPE_SLIDERS, len(axes))
            self.directions[number, :count] = spread[:count, None] * axes[:count]

    def edited(self, codes: Codes, edit: Edit) -> Codes:
        """The codes (1, …) of one object after an edit; those of an empty edit stay exactly as they are."""
        category, shape = codes.category, codes.shape
        if any(edit.sliders):
            sliders = torch.tensor(edit.sliders).to(shape)
            shape = _as_long(shape + sliders @ self.directions[edit.kind, : len(sliders)], shape)
        if edit.amount:
            shape = _as_long(shape + edit.amount * (self.shape[edit.toward] - self.shape[edit.kind]), shape)
            way = self.category[edit.toward] - self.category[edit.kind]
            category = _as_long(category + edit.amount * way, category)
        return Codes(category, shape, codes.albedo)


def _as_long(code: Tensor, as_this: Tensor) -> Tensor:
    return F.normalize(code, dim=-1) * as_this.norm(dim=-1, keepdim=True)
