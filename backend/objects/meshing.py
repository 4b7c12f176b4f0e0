# SPDX-License-Identifier: GPL-3.0-or-later
"""A joint field as a closed mesh: marching cubes, smoothed, with normals, parts and albedo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from scipy.ndimage import maximum_filter, minimum_filter
from skimage.measure import marching_cubes
from torch import Tensor
from trimesh.smoothing import filter_taubin

from ..device import in_chunks
from ..import_jobs import part_albedo
from ..protocol import replacing
from .network import Codes, JointField
from .outline import BESIDE, Outline
from .rendering import INSIDE

SMOOTHED = 20  # steps of Taubin's filter: fields are wrinkled by the sines they see, and it keeps thin parts
_OUTSIDE = 0.1  # voxels that lie below it with all their neighbours are not looked at more closely
_SURE = BESIDE  # those that lie above it are not, either


@dataclass(frozen=True)
class ObjectMesh:
    """An extracted object, in object space (x right, y up, +z its front).

    vertices (V, 3), faces (F, 3) int32 counter-clockwise from outside, normals (V, 3) unit, albedo (V, 3) linear;
    part (F,) int32: the branch that each face's middle triggers. outline: what the picture said of it.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    albedo: np.ndarray
    part: np.ndarray
    outline: Outline | None = None

    def part_albedo(self) -> dict[int, np.ndarray]:
        """(3,) mean linear albedo of each part that there is."""
        return part_albedo(self.faces, self.albedo, self.part)


def extract(
    field: JointField, codes: Codes, side: int = 128, seen: tuple[np.ndarray, np.ndarray] | Outline | None = None
) -> ObjectMesh:
    """The mesh of one object (codes of one row) from a grid of side³ points; empty where nothing is inside.

    seen: the picture that the codes are of: its camera's matrix (3, 4) and mask (H, W), or what these said of a shape.
    """
    values = occupancy_grid(field, codes, side)
    outline = Outline.of(values, *seen) if isinstance(seen, tuple) else seen
    if outline:
        values += INSIDE - outline.of_voxels(side)
    values = np.pad(values, 1)  # closes what touches the border
    if values.max() <= INSIDE:
        nothing = np.zeros((0, 3), np.float32)
        return ObjectMesh(nothing, np.zeros((0, 3), np.int32), nothing, nothing, np.zeros(0, np.int32))
    vertices, faces, _, _ = marching_cubes(values, INSIDE, gradient_direction="ascent")
    smooth = trimesh.Trimesh((vertices - 0.5) * (2 / side) - 1, faces, process=False)
    filter_taubin(smooth, iterations=SMOOTHED)
    vertices, normals = (np.asarray(x, np.float32) for x in (smooth.vertices, smooth.vertex_normals))
    at, middle = (torch.from_numpy(x).to(codes.shape.device) for x in (vertices, vertices[faces].mean(1)))
    with torch.no_grad():
        albedo = in_chunks(at, lambda points: field(codes, points[None])[2][0])
        part = in_chunks(middle, lambda points: field.shape(codes, points[None])[0].argmax(-1))
    albedo, part = (x.cpu().numpy() for x in (albedo, part))
    return ObjectMesh(vertices, np.ascontiguousarray(faces, np.int32), normals, albedo, part.astype(np.int32), outline)


def write_mesh(path: Path, mesh: ObjectMesh) -> None:
    """As `import_jobs.ObjectResult` has it."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, vertices=mesh.vertices, faces=mesh.faces, albedo=mesh.albedo, part=mesh.part)


@torch.no_grad()
def occupancy_grid(field: JointField, codes: Codes, side: int) -> np.ndarray:
    """(side, side, side) float32 occupancy at voxel centres, [x, y, z].

    Asked for on a coarse grid, then twice as finely where a surface can be; elsewhere the coarse value stands.
    """
    device = codes.shape.device
    coarse = side // 4 if side % 4 == 0 and side >= 64 else side
    values = _ask(field, codes, torch.arange(coarse**3, device=device), coarse).cpu().numpy()
    values = values.reshape(coarse, coarse, coarse)
    while len(values) < side:
        doubtful = (maximum_filter(values, 3) > _OUTSIDE) & (minimum_filter(values, 3) < _SURE)
        values, doubtful = (x.repeat(2, 0).repeat(2, 1).repeat(2, 2) for x in (values, doubtful))
        asked = _ask(field, codes, torch.from_numpy(np.flatnonzero(doubtful)).to(device), len(values))
        values[doubtful] = asked.cpu().numpy()
    return values


def _ask(field: JointField, codes: Codes, index: Tensor, side: int) -> Tensor:
    """Occupancy of voxels by their flat index."""

    def occupancy(part: Tensor) -> Tensor:
        place = torch.stack([part // side**2, part // side % side, part % side], -1)
        return field.occupancy(codes, ((place + 0.5) * (2 / side) - 1)[None].float())[0]

    return in_chunks(index, occupancy)
