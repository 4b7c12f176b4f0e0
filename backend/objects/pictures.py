# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of fields, for people to look at: parts, albedo, and shaded views beside what they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .dataset import ObjectData, moved, picture_batch
from .encoder import ImageEncoder
from .harmonics import ambient, directional
from .network import Codes, JointField
from .projection import projection
from .rendering import Picture, Search, pixel_grid, render, valid_camera
from .voxels import NEAR, centres

if TYPE_CHECKING:
    from .stages import FieldStage

SIZE = 64
# Distinct colours of twelve parts and more, linear.
PARTS = torch.tensor(
    [
        *([0.9, 0.1, 0.1], [0.1, 0.6, 0.1], [0.1, 0.2, 0.9], [0.9, 0.7, 0.05], [0.7, 0.1, 0.8], [0.05, 0.7, 0.7]),
        *([0.9, 0.4, 0.05], [0.4, 0.2, 0.05], [0.9, 0.5, 0.6], [0.35, 0.5, 0.05], [0.25] * 3, [0.95] * 3),
    ]
)


def studio_light() -> Tensor:
    """(1, 9, 3) float32: even light and a lamp from above, left and ahead."""
    toward = np.array([-0.4, 0.7, 0.6]) / np.linalg.norm([-0.4, 0.7, 0.6])
    return torch.from_numpy(ambient(np.full(3, 0.5)) + directional(toward, np.full(3, 0.6))).float()[None]


def standard_camera(azimuth: float = 35.0) -> Tensor:
    """(1, 3, 4) float32 from a little above; degrees."""
    return torch.from_numpy(projection(np.radians(azimuth), np.radians(20), 0, 4.2, np.radians(30))).float()[None]


def views_of(field: JointField, codes: Codes, matrix: Tensor, light: Tensor, size: int = SIZE) -> dict[str, np.ndarray]:
    """Linear pictures (size, size, 3) of one object, on grey: "image", "albedo", "parts"."""
    device = codes.shape.device
    with torch.no_grad():
        seen = render(field, codes, matrix.to(device), light.to(device), pixel_grid(size, device), Search(24, 5))
    grey = (seen.normals[..., 1:2] * 0.3 + 0.7).clamp(0, 1)
    parts = PARTS.to(device)[seen.surface.branch % len(PARTS)] * grey
    return {
        name: _placed(x, seen, size) for name, x in (("image", seen.image), ("albedo", seen.albedo), ("parts", parts))
    }


def field_sheet(stage: FieldStage, rows: np.ndarray, device: torch.device) -> np.ndarray:
    """Stage 1: for each shape its true grid and its field, lit; albedo; parts."""
    pictures = []
    for row in rows:
        batch = stage.batch_of(np.array([row]))
        with torch.no_grad():
            codes = stage.codes_of(moved(batch, device))
        front = views_of(stage.field, codes, standard_camera(), studio_light())
        true = _grid_picture(stage.data.grid(int(row)), stage.data.albedo(int(row)))
        pictures.append(np.concatenate([true, *front.values()], 1))
    return np.concatenate(pictures)


def fit_sheet(
    field: JointField, encoder: ImageEncoder, data: ObjectData, pairs: list[tuple[int, int]], numbers: dict[str, int]
) -> np.ndarray:
    """Stages 2 and 3: for each picture what it shows, what the fit renders, its albedo, its parts, and from behind."""
    device = next(encoder.parameters()).device
    sees_mask = encoder.stem.in_channels == 4
    batch = picture_batch(data, pairs, numbers, sees_mask=sees_mask)
    with torch.no_grad():
        fit = encoder.eval()(batch.picture.to(device))
    encoder.train()
    rows = []
    for k in range(len(pairs)):
        one = fit.codes.rows(slice(k, k + 1))
        seen = views_of(field, one, valid_camera(fit.matrix[k : k + 1]), fit.light[k : k + 1])
        turned = views_of(field, one, standard_camera(215), studio_light())
        true = batch.linear[k, ::2, ::2].numpy()
        rows.append(np.concatenate([true, *seen.values(), turned["parts"]], 1))
    return np.concatenate(rows)


def _placed(colours: Tensor, seen: Picture, size: int) -> np.ndarray:
    hit = seen.surface.hit[0, :, None]
    return torch.where(hit, colours[0], 0.6).clamp(0, 1).reshape(size, size, 3).cpu().numpy()


def _grid_picture(grid: np.ndarray, albedo: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE, 3) linear: voxels as the standard camera sees them, the nearest in front, brighter from above."""
    where = np.argwhere((grid > 0) & (grid < NEAR))
    points = np.concatenate([centres(where, len(grid)), np.ones((len(where), 1))], 1)
    u = points @ standard_camera()[0].numpy().T
    order = np.argsort(-u[:, 2])
    column, line = (((u[order, k] / u[order, 2]) * 0.5 + 0.5) * SIZE for k in (0, 1))
    above = grid[tuple((where + np.array([0, 1, 0])).clip(0, len(grid) - 1).T)]
    tone = np.where((above == 0) | (above > NEAR), 1.0, 0.7)[order, None]
    colour = albedo[grid[tuple(where.T)].astype(int) - 1][order] * tone
    picture = np.full((SIZE, SIZE, 3), 0.6, np.float32)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = (column + dx - 0.5).astype(int).clip(0, SIZE - 1), (line + dy - 0.5).astype(int).clip(0, SIZE - 1)
            picture[y, x] = colour
    return picture
