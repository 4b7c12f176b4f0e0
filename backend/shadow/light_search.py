# SPDX-License-Identifier: GPL-3.0-or-later
"""The light, looked for among directions: what each would show on the surfaces that are seen, beside the picture.

Beyond the paper, whose light predictor names a direction at once and has to learn all geometry for that. Here geometry
is computed: by each direction, how the surfaces face it and which of them hide it from others, and how that agrees with
what is bright in the picture. A small network, the same for all directions, weighs these agreements; so few scenes
teach it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..shading.probe_fit import fibonacci_sphere
from .hints import HINT, normals
from .losses import LIGHT_SCALE, quality_target

SIDE = 64  # pixels a side at which directions are tried
DIRECTIONS = 200  # that are tried, all around
AROUND = 0.6  # radians; the likely directions so far from the likeliest take part in the answer
FEATURES = 2 * (3 * 12 + 2 * 4 + 2)  # numbers of `features`
_OBJECT = 1.2  # sides of the object's box: what is seen of its neighbourhood
_FEWEST = 24  # pixels a side of that
_GROWTH = 1.3  # of a ray's steps
_STEPS = tuple(1.5 * _GROWTH**k for k in range(16))  # in footprints of a pixel, up to 77
_THICK = 0.12  # of its distance: how far behind its front something may hide the light
_LOCAL = 13  # pixels a side of the neighbourhood whose mean is taken off
_DARK = 0.01  # linear radiance; logarithms are taken above it
_NOWHERE = 1e9


class Surfaces(NamedTuple):
    """What is seen of B pictures at SIDE × SIDE pixels, N in all; lengths in the unit of H's points."""

    points: Tensor  # (B, 3, N) camera space
    normals: Tensor  # (B, 3, N) unit, 0 where unknown
    object: Tensor  # (B, N) bool
    depths: Tensor  # (B, 2 N) of what may hide light: from all but the object, and from the object
    footprint: Tensor  # (B, N) a pixel's width
    lens: Tensor  # (B, 4) from x / −z to columns, factor and offset, and from y / −z to rows

    @classmethod
    def of(cls, h: Tensor) -> Surfaces:
        """h: (B, 7, H, W) of `hints.hint`."""
        small = F.interpolate(h[:, 3:].float(), (SIDE, SIDE), mode="nearest-exact")
        valid, points = (small[:, 1:] != 0).any(1, keepdim=True), small[:, 1:].sinh()
        object_, there = (small[:, 0] > 0.5).flatten(1), valid.flatten(1)
        depth = -points[:, 2].flatten(1)
        lens = _lens(points, valid)
        footprint = depth.clamp(min=1e-6) / lens[:, :1].abs().clamp(min=1e-3)
        # The composite lacks the object's shadow, but the object has its own: it hides light from itself alone.
        depths = torch.cat([depth.masked_fill(~there | hidden, _NOWHERE) for hidden in (object_, ~there)], 1)
        normal = normals(points, valid)
        return cls(points.flatten(2), normal.flatten(2), object_, depths, footprint, lens)

    @property
    def regions(self) -> tuple[Tensor, Tensor]:
        """(B, 1, SIDE, SIDE) twice, 1 where the object is seen, and where something else is; 0 elsewhere."""
        rest, everything = (self.depths < _NOWHERE).float().unflatten(1, (2, 1, SIDE, SIDE)).unbind(1)
        return everything - rest, rest


def views(h: Tensor) -> Tensor:
    """(2 B, 7, SIDE, SIDE) of H: whole pictures, then what is around their objects, larger."""
    near = []
    for one in h:
        rows, columns = (torch.nonzero((one[3] > 0.5).any(axis))[:, 0] for axis in (1, 0))
        if not len(rows):
            near.append(one[None])
            continue
        extent = max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + 1
        side = min(max(_FEWEST, round(_OBJECT * extent)), min(one.shape[1:]))
        top, left = (
            min(max(int(at[0] + at[-1] + 1 - side) // 2, 0), size - side)
            for at, size in zip((rows, columns), one.shape[1:], strict=True)
        )
        near.append(one[None, :, top : top + side, left : left + side])
    return torch.cat([_small(part) for part in (h, *near)])


def shown_by(s: Surfaces, directions: Tensor) -> Tensor:
    """(B, K, 4, SIDE, SIDE) what lights from K directions (B, K, 3) would show of the surfaces, in [0, 1].

    How they face the light; the same where it is not hidden, if things are as thin as they can be, and if they are
    thick; and where thick ones hide it.
    """
    factor_x, offset_x, factor_y, offset_y = s.lens[:, None, None].unbind(3)
    facing = torch.einsum("bcn,bkc->bkn", s.normals, directions).clamp(min=0)
    x, y, z = (s.points + s.footprint[:, None] * s.normals)[:, :, None].unbind(1)
    to_x, to_y, to_z = directions[..., None].unbind(2)
    footprint, own_depths = s.footprint[:, None], torch.where(s.object, SIDE * SIDE, 0)[:, None]
    thin, thick = torch.zeros_like(facing), torch.zeros_like(facing)
    for step in _STEPS:
        along = step * footprint
        depth = -(z + to_z * along)
        column = (factor_x * (x + to_x * along) / depth.clamp(min=1e-6) + offset_x).round()
        row = (factor_y * (y + to_y * along) / depth.clamp(min=1e-6) + offset_y).round()
        inside = (depth > 1e-3) & (column >= 0) & (column < SIDE) & (row >= 0) & (row < SIDE)
        at = (row.clamp(0, SIDE - 1) * SIDE + column.clamp(0, SIDE - 1)).long() + own_depths
        behind = torch.where(inside, depth - s.depths.gather(1, at.flatten(1)).view_as(at), -1.0)
        hides, reach = (behind / footprint).clamp(0, 1), (_GROWTH - 1) * along
        thin = torch.maximum(thin, hides * (behind < 2 * footprint + reach))
        thick = torch.maximum(thick, hides * (behind < _THICK * depth + reach))
    maps = torch.stack([facing, facing * (1 - thin), facing * (1 - thick), thick * (facing > 0)], 2)
    return maps.unflatten(3, (SIDE, SIDE))


def looks(h: Tensor) -> Tensor:
    """(B, 3, SIDE, SIDE) of H: the logarithm of brightness, and of red and of blue less that."""
    encoded = (F.interpolate(h[:, :3].float(), (SIDE, SIDE), mode="area") / 2 + 0.5).clamp(0, 1)
    colour = (encoded**2.2 + _DARK).log()
    bright = colour.mean(1, keepdim=True)
    return torch.cat([bright, colour[:, ::2] - bright], 1)


def agreements(seen: Tensor, regions: tuple[Tensor, Tensor], maps: Tensor) -> Tensor:
    """(B, K, 12 L) correlations of L looks (B, L, SIDE, SIDE) with the first three of `shown_by`'s maps.

    On the object and on all else; as they are, and less the mean of what is around: so that neither the one tells that
    the other is brighter, nor a wide gradient of paint or haze hides a shadow's edge.
    """
    lit = maps[:, :, :3].flatten(1, 2)
    found = []
    for where in regions:
        for centred in (_less_mean, _less_local_mean):
            one, many = (centred(images, where).flatten(2) for images in (seen, lit))
            size = one.square().sum(2)[:, :, None] * many.square().sum(2)[:, None]
            least = 1e-2 * where.sum((2, 3))[:, :, None]
            found.append(torch.einsum("bln,bmn->blm", one, many) / (size + least).sqrt().clamp(min=1e-6))
    together = torch.stack(found, 1).unflatten(3, (maps.shape[1], 3))  # regions and means, looks, directions, maps
    return together.permute(0, 3, 1, 2, 4).flatten(2)


@torch.no_grad()
def features(h: Tensor, directions: Tensor) -> Tensor:
    """(B, K, FEATURES) what speaks for each direction (B, K, 3): of the whole picture, and of the object seen nearer.

    Agreements, the maps' means on the object and on all else, and how large these are.
    """
    seen = views(h)
    surfaces = Surfaces.of(seen)
    maps = shown_by(surfaces, directions.repeat(2, 1, 1))
    parts = [agreements(looks(seen), surfaces.regions, maps)]
    for where in surfaces.regions:
        share = where.mean((2, 3))
        parts.append((maps * where[:, None]).mean((3, 4)) / share[:, None].clamp(min=1 / SIDE**2))
        parts.append(share[:, None].expand(-1, maps.shape[1], -1))
    return torch.cat(torch.cat(parts, 2).chunk(2), 2)


class LightSearch(nn.Module):
    """How likely each direction is, by its `features`."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.judge = nn.Sequential(
            nn.BatchNorm1d(FEATURES), nn.Linear(FEATURES, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1),
        )  # fmt: skip

    @property
    def inner(self) -> list[nn.Module]:
        """Everything but the first layer and the last."""
        return [self.judge[3]]

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3) unit direction, and (B,) how sure it is: the quality (`losses.quality_target`) to be expected of it.

        h: (B, 7, H, W).
        """
        around = h.new_tensor(fibonacci_sphere(DIRECTIONS))[None].expand(len(h), -1, -1)
        likely = self.scores(features(h, around)).softmax(1)
        likeliest = around[0, likely.argmax(1)]
        near = torch.einsum("bkc,bc->bk", around, likeliest) > torch.cos(h.new_tensor(AROUND))
        best = F.normalize(((likely * near)[..., None] * around).sum(1), dim=1)
        error = 1 - torch.einsum("bkc,bc->bk", around, best)
        return best, (likely * quality_target(error, LIGHT_SCALE)).sum(1)

    def scores(self, speaking: Tensor) -> Tensor:
        """(B, K) logits of features (B, K, FEATURES)."""
        return self.judge(speaking.flatten(0, 1)).view(speaking.shape[:2]).float()


def _small(h: Tensor) -> Tensor:
    """H at SIDE × SIDE pixels: colours are averaged, all else is that of one pixel."""
    sizes = {"size": (SIDE, SIDE)}
    colours, rest = h[:, :3].float(), h[:, 3:HINT].float()
    return torch.cat(
        [F.interpolate(colours, **sizes, mode="area"), F.interpolate(rest, **sizes, mode="nearest-exact")], 1
    )


def _less_mean(images: Tensor, where: Tensor) -> Tensor:
    """Images (B, C, H, W) less the mean of where (B, 1, H, W) is 1; 0 elsewhere."""
    mean = (images * where).sum((2, 3), keepdim=True) / where.sum((2, 3), keepdim=True).clamp(min=1)
    return (images - mean) * where


def _less_local_mean(images: Tensor, where: Tensor) -> Tensor:
    def around(image: Tensor) -> Tensor:
        for size in ((_LOCAL, 1), (1, _LOCAL)):
            image = F.avg_pool2d(image, size, 1, (size[0] // 2, size[1] // 2))
        return image

    return (images - around(images * where) / around(where).clamp(min=1e-4)) * where


def _lens(points: Tensor, valid: Tensor) -> Tensor:
    """(B, 4) the pinhole camera through which points (B, 3, S, S) are seen where they are, by least squares."""
    weight = valid.flatten(1).float()
    total = weight.sum(1, keepdim=True).clamp(min=1)
    pixel = torch.arange(points.shape[-1], device=points.device, dtype=torch.float32).expand(points.shape[-2:])
    found = []
    for axis, place in ((0, pixel), (1, pixel.T)):
        slope = (points[:, axis] / (-points[:, 2]).clamp(min=1e-6)).flatten(1)
        middle = (weight * slope).sum(1, keepdim=True) / total
        centre = (weight * place.flatten()).sum(1, keepdim=True) / total
        apart = weight * (slope - middle)
        factor = (apart * (place.flatten() - centre)).sum(1) / (apart * (slope - middle)).sum(1).clamp(min=1e-9)
        found += [factor, centre[:, 0] - factor * middle[:, 0]]
    return torch.stack(found, 1)
