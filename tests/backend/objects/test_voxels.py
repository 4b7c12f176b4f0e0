# SPDX-License-Identifier: GPL-3.0-or-later
"""Grids say what lies inside, and the sampling of training points is IM-NET's."""

import numpy as np
import pytest
import trimesh

from backend.objects import voxels
from backend.objects.shapes import Part, Shape, make_shape
from backend.objects.solids import box, rod


def test_inside_agrees_with_ray_casting():
    shape = make_shape("chair", 3)
    grid = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for part in shape.parts:
        mesh = trimesh.Trimesh(part.solid.vertices, part.solid.faces, process=False)
        points = voxels.centres(grid, 32)
        near = np.all((points > mesh.bounds[0] - 0.05) & (points < mesh.bounds[1] + 0.05), axis=1)
        np.testing.assert_array_equal(
            voxels.inside(part.solid, 32).reshape(-1)[near], mesh.contains(points[near]), part.label
        )


def test_axes_are_x_y_z_and_the_smaller_part_shows():
    red, blue = np.array([0.8, 0.1, 0.1]), np.array([0.1, 0.1, 0.8])
    parts = (
        Part("body", box((0, 0, 0), (1.0, 0.5, 0.25)), red),
        Part("wheel", box((0.4, 0, 0), (0.2, 0.2, 0.2)), blue),
        Part("wheel", rod((-0.2, -0.6, 0), (-0.2, -0.4, 0), 0.1), blue),
    )
    shape = Shape("car", 0, parts)
    piece, labels, albedos = voxels.pieces_of(shape)
    assert piece[1] == piece[2] != piece[0]  # one label and one colour are one piece
    np.testing.assert_allclose(albedos[piece[0]], red)
    grid = voxels.piece_grid(shape, 64)
    full = (grid > 0) & (grid < voxels.NEAR)
    extent = [np.ptp(axis) + 1 for axis in np.nonzero(grid == 1 + piece[0])]
    np.testing.assert_allclose(extent, [32, 16, 8], atol=1)

    def at(*point):
        return grid[tuple(((np.array(point) + 1) * 32).astype(int))]

    assert at(0.4, 0, 0) == 1 + piece[1]
    assert at(0, 0, 0) == 1 + piece[0]
    assert at(-0.2, -0.5, 0) == 1 + piece[2]
    assert at(0, 0.26, 0) == voxels.NEAR + 1 + piece[0]
    assert at(0, 0.5, 0) == 0
    assert full.mean() == pytest.approx((1.0 * 0.5 * 0.25 + np.pi * 0.01 * 0.2 * 0.75) / 8, rel=0.05)
    assert labels[piece[1]] == 2


def test_the_pyramid_keeps_whatever_touches_a_block():
    fine = np.zeros((64, 64, 64), bool)
    fine[5, 20, 63] = True
    levels = voxels.pyramid(fine)
    assert sorted(levels) == [16, 32, 64]
    assert np.argwhere(levels[16]).tolist() == [[1, 5, 15]]


def test_points_are_distinct_near_the_surface_and_as_many_as_the_public_code_takes():
    random = np.random.default_rng(0)
    x, y, z = np.meshgrid(*[np.arange(64) - 31.5] * 3, indexing="ij")
    ball = x**2 + y**2 + z**2 < 14**2  # 64³: fewer mixed voxels than points
    for side, occupied in voxels.pyramid(ball).items():
        index = voxels.sample(occupied, random)
        assert index.shape == (voxels.POINTS[side], 3)
        assert len(np.unique(index, axis=0)) == len(index)
        assert index.max() < side
    chosen = np.zeros(ball.shape, bool)
    chosen[tuple(voxels.sample(ball, random).T)] = True
    radius = np.sqrt(x**2 + y**2 + z**2)
    assert chosen[np.abs(radius - 14) < 2].all()  # all of the shell
    assert 0.02 < chosen[np.abs(radius - 14) > 8].mean() < 0.2  # and a few of the rest


def test_too_large_a_surface_gives_one_voxel_a_block():
    x = np.broadcast_to(np.arange(64)[:, None, None], (64, 64, 64))
    plates = x // 4 % 2 == 0  # every voxel's neighbourhood is mixed
    index = voxels.sample(plates, np.random.default_rng(0))
    blocks, counts = np.unique(index[(index >= 4).all(1) & (index < 60).all(1)] // 2, axis=0, return_counts=True)
    assert len(blocks) == 28**3  # each block of the core has one at least
    assert counts.mean() < 1.3
