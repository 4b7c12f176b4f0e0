# SPDX-License-Identifier: GPL-3.0-or-later
"""Extracted meshes are closed, in place, and carry parts and albedo."""

import numpy as np
import pytest
import torch
import trimesh
from scipy.ndimage import maximum_filter, minimum_filter

from backend.objects.meshing import extract, occupancy_grid

from .fields import COLOURS, RADII, EggField, egg_codes


@pytest.mark.parametrize("side", [30, 64])  # asked everywhere, and near the surface only
def test_the_egg_becomes_a_closed_mesh_with_two_parts(side):
    mesh = extract(EggField(), egg_codes(), side)
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(4 / 3 * np.pi * np.prod(RADII), rel=0.02)  # positive: faces look out
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices / RADII, axis=1), 1, atol=0.02)
    outward = mesh.vertices / np.square(RADII)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert ((mesh.normals * outward).sum(1) > 0.97).mean() > 0.9  # not at the seam of the halves
    middle = mesh.vertices[mesh.faces].mean(1)
    clear = np.abs(middle[:, 1]) > 0.05
    np.testing.assert_array_equal(mesh.part[clear], (middle[clear, 1] < 0).astype(int))
    for k, colour in mesh.part_albedo().items():
        np.testing.assert_allclose(colour, COLOURS[k], atol=0.05)


def test_nothing_inside_gives_an_empty_mesh_and_an_object_at_the_border_is_closed():
    assert len(extract(EggField(), egg_codes(scale=-1.0), 32).faces) == 0
    large = extract(EggField(), egg_codes(scale=1.6), 32)
    assert trimesh.Trimesh(large.vertices, large.faces, process=False).is_watertight


def test_asking_near_the_surface_only_changes_nothing_there():
    coarse_to_fine = occupancy_grid(EggField(), egg_codes(), 64)
    line = (torch.arange(64) + 0.5) / 32 - 1
    points = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).view(1, -1, 3)
    everywhere = EggField().occupancy(egg_codes(), points).view(64, 64, 64).numpy()
    exact = np.isclose(coarse_to_fine, everywhere, atol=1e-6)
    beside_the_surface = maximum_filter(everywhere, 3) > 0.5
    beside_the_surface &= minimum_filter(everywhere, 3) < 0.5
    assert exact[beside_the_surface].all()
    np.testing.assert_array_equal(coarse_to_fine > 0.5, everywhere > 0.5)
    assert exact.mean() < 0.5
