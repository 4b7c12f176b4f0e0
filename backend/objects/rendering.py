# SPDX-License-Identifier: GPL-3.0-or-later
"""The physics-based rendering layer (JOF, section 3.3): surface points, normals, and shading by nine harmonics.

The search for surface points passes no gradient; the depth it finds is held, and x = P⁻¹u, the field's derivatives and
the light do (section 3.5). Pictures are square and flattened: pixel j of S² is in row j // S.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..device import chunk, in_chunks
from .harmonics import harmonics
from .network import Codes, JointField

INSIDE = 0.5  # τ
REACH = 1.0  # objects lie in this ball: their bounding box has the diagonal 2


class Search(NamedTuple):
    """How rays are searched. steps: of the Linear search through the ball. halvings: of the Binary search after it; 0
    is the paper's Linear search."""

    steps: int = 32
    halvings: int = 6


class Surface(NamedTuple):
    """Surface points of N pixels a picture: the first interior point of each ray, or the one nearest to being inside.

    points: (B, N, 3), differentiable in P. hit: (B, N) bool, an interior point was found. branch: (B, N).
    occupancy: (B, N) at the points, differentiable in codes and P (equation 5 compares it).
    """

    points: Tensor
    hit: Tensor
    branch: Tensor
    occupancy: Tensor


class Picture(NamedTuple):
    """A rendered picture of N pixels: image = albedo · shading, all (B, N, 3) linear; normals (B, N, 3)."""

    image: Tensor
    albedo: Tensor
    shading: Tensor
    normals: Tensor
    surface: Surface


def pixel_grid(size: int, device: torch.device | None = None) -> Tensor:
    """(size², 2) picture coordinates in (-1, 1) of the pixels' centres, row by row."""
    line = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    v, u = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([u, v], -1).reshape(-1, 2)


def valid_camera(matrix: Tensor) -> Tensor:
    """(B, 3, 4): the pinhole camera that twelve estimated numbers mean; a true projection stays as it is.

    Orthogonal axes, no mirror, no skew, focal lengths of at least 0.5, outside the ball: its rays are always sound,
    which those of an arbitrary 3×4 matrix are not.
    """
    rows = matrix / matrix[:, 2, :3].norm(dim=-1).clamp(min=1e-3)[:, None, None]
    forward = rows[:, 2, :3]
    centre = (rows[:, :2, :3] * forward[:, None]).sum(-1, keepdim=True)  # principal point
    across = rows[:, 0, :3] - centre[:, 0] * forward
    right = F.normalize(across + 1e-6 * forward.roll(1, -1), dim=-1)
    right = F.normalize(right - (right * forward).sum(-1, keepdim=True) * forward, dim=-1)
    down = torch.linalg.cross(forward, right)
    axes = torch.stack([right, down], 1)
    focal = (rows[:, :2, :3] * axes).sum(-1, keepdim=True).clamp(min=0.5)
    left = torch.cat([focal * axes + centre * forward[:, None], forward[:, None]], 1)
    depth = rows[:, 2:, 3:].clamp(min=1.2 * REACH)
    return torch.cat([left, torch.cat([rows[:, :2, 3:], depth], 1)], 2)


def rays(matrix: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Camera centres (B, 1, 3) and directions (B, N, 3) with depth 1: x = centre + d · direction is P⁻¹u at depth d.

    matrix: (B, 3, 4). pixels: (B, N, 2) or (N, 2).
    """
    u = F.pad(pixels, (0, 1), value=1.0)
    right = torch.cat([u.transpose(-1, -2).expand(len(matrix), -1, -1), -matrix[:, :, 3:]], -1)
    solved = torch.linalg.solve(matrix[:, :, :3], right).transpose(1, 2)
    return solved[:, -1:], solved[:, :-1]


@torch.no_grad()
def occupancies(field: JointField, codes: Codes, points: Tensor) -> Tensor:
    """(B, N) at points (B, N, 3), a part of them at a time."""
    size = max(chunk(points.device) // len(points), 1)
    return in_chunks(points.transpose(0, 1), lambda part: field.occupancy(codes, part.transpose(0, 1)).T, size).T


@torch.no_grad()
def search_depth(
    field: JointField, codes: Codes, centre: Tensor, directions: Tensor, search: Search
) -> tuple[Tensor, Tensor]:
    """Depths (B, N) of the rays' surface points, and whether they lie inside, (B, N) bool."""
    near, far = _through_ball(centre, directions)
    step = (far - near) / search.steps
    share = torch.arange(search.steps, device=near.device) + 0.5
    depths = near[..., None] + step[..., None] * share
    at = centre[:, :, None] + depths[..., None] * directions[:, :, None]
    values = occupancies(field, codes, at.flatten(1, 2)).view(depths.shape)
    inside = values > INSIDE
    hit = inside.any(-1)
    chosen = torch.where(hit, inside.to(torch.uint8).argmax(-1), values.argmax(-1))
    inner = depths.gather(-1, chosen[..., None])[..., 0]
    outer = inner - step  # the step before it was outside, or before the ball
    for _ in range(search.halvings):
        middle = (inner + outer) / 2
        deeper = occupancies(field, codes, centre + middle[..., None] * directions) > INSIDE
        inner, outer = torch.where(deeper & hit, middle, inner), torch.where(deeper | ~hit, outer, middle)
    return inner, hit


def find_surface(field: JointField, codes: Codes, matrix: Tensor, pixels: Tensor, search: Search) -> Surface:
    """Surface points of pixels (N, 2) or (B, N, 2), in picture coordinates."""
    centre, directions = rays(matrix, pixels)
    depth, hit = search_depth(field, codes, centre.detach(), directions.detach(), search)
    points = centre + depth[..., None] * directions
    occupancy, branch = field.shape(codes, points).max(-1)
    return Surface(points, hit, branch, occupancy)


def normals_of(field: JointField, codes: Codes, points: Tensor, create_graph: bool) -> Tensor:
    """(B, N, 3) unit normals: the negative gradient of occupancy, which falls toward the outside.

    create_graph: the normals are to be differentiated themselves.
    """
    with torch.enable_grad():
        at = points if points.requires_grad else points.detach().requires_grad_()
        occupancy = field.occupancy(codes, at)
        gradient = torch.autograd.grad(occupancy.sum(), at, create_graph=create_graph)[0]
    return -F.normalize(gradient, dim=-1, eps=1e-8)


def render(
    field: JointField, codes: Codes, matrix: Tensor, light: Tensor, pixels: Tensor, search: Search | None = None
) -> Picture:
    """Equation 3 at some pixels; all pictures of a batch look at the same number of them.

    matrix: (B, 3, 4). light: (B, 9, 3). pixels: (N, 2) or (B, N, 2). Differentiable where gradients are enabled.
    """
    surface = find_surface(field, codes, matrix, pixels, search or Search())
    normals = normals_of(field, codes, surface.points, create_graph=torch.is_grad_enabled())
    shading = harmonics(normals) @ light
    albedo = field.chosen_albedo(codes, surface.points, surface.branch)
    return Picture(albedo * shading, albedo, shading, normals, surface)


def _through_ball(centre: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Depths (B, N) at which rays enter and leave the ball; rays that miss it get a short stretch about their nearest
    point to it. Nothing behind the camera is looked at."""
    a = (directions * directions).sum(-1)
    b = (centre * directions).sum(-1)
    c = (centre * centre).sum(-1) - REACH**2
    root = (b * b - a * c).clamp(min=1e-4 * a).sqrt()
    near = ((-b - root) / a).clamp(min=1e-3)
    return near, torch.maximum((-b + root) / a, near + 1e-3)
