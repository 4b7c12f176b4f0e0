# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures by hand."""

import numpy as np
import pytest

from backend.objects import metrics
from backend.objects.shapes import Part, Shape, make_shape
from backend.objects.solids import box
from backend.objects.voxels import inside


def test_chamfer_is_in_tenths_of_the_longest_edge_and_the_f_score_on_squared_distance():
    true = np.array([[0, 0, 0], [2.0, 0, 0], [0, 1.0, 0]])  # longest edge 2
    found = np.array([[0.018, 0, 0], [2.0, 0.04, 0]])
    scores = metrics.surface_scores(found, true)
    accuracy = (0.009 + 0.02) / 2
    completeness = (0.009 + 0.02 + np.hypot(1, 0.018) / 2) / 3
    assert scores["chamfer"] == pytest.approx(10 * (accuracy + completeness) / 2)
    precision, recall = 1 / 2, 1 / 3  # 0.009² ≤ 1e-4 < 0.02²
    assert scores["f_score"] == pytest.approx(100 * 2 * precision * recall / (precision + recall))
    assert metrics.surface_scores(true, true) == {"chamfer": 0.0, "f_score": pytest.approx(100)}
    assert metrics.surface_scores(np.zeros((0, 3)), true) == {"chamfer": 10.0, "f_score": 0.0}


def test_part_iou_names_branches_by_majority_and_counts_absent_parts_as_found():
    branch = np.array([5, 5, 5, 2, 2, 7])
    label = np.array([0, 0, 1, 1, 1, 1])
    owner = metrics.owners(branch, label, 12)
    assert owner[[5, 2, 7]].tolist() == [0, 1, 1]
    assert metrics.part_iou(branch, label, owner, range(2)) == pytest.approx(100 * (2 / 3 + 3 / 4) / 2)
    assert metrics.part_iou(branch, label, owner, range(3)) == pytest.approx(100 * (2 / 3 + 3 / 4 + 1) / 3)


def test_azimuths_go_around():
    assert metrics.azimuth_error(np.radians(179), np.radians(-179)) == pytest.approx(2)
    assert metrics.azimuth_error(np.radians(-90), np.radians(90)) == pytest.approx(180)


def test_a_shapes_surface_leaves_out_what_other_parts_cover():
    grey = np.full(3, 0.5)
    parts = (Part("body", box((0, 0, 0), (1, 1, 1)), grey), Part("cabin", box((0, 0.5, 0), (0.5, 1, 0.5)), grey))
    points = metrics.surface_of(Shape("car", 0, parts), 20000, np.random.default_rng(0))
    assert len(points) == 20000
    outside = 6 - 0.25 + 0.25 + 4 * 0.5 * 0.5  # the cube but for where the block stands, the block above it
    on_top = (np.abs(points[:, 1] - 1) < 1e-3).mean()
    assert on_top == pytest.approx(0.25 / outside, rel=0.1)
    hidden = (np.abs(points[:, [0, 2]]).max(1) < 0.249) & (np.abs(points[:, 1]) < 0.499)
    assert not hidden.any()


def test_surface_points_of_generated_shapes_lie_on_the_edge_of_their_grids():
    shape = make_shape("chair", 2)
    points = metrics.surface_of(shape, 3000, np.random.default_rng(0))
    grid = np.any([inside(p.solid, 64) for p in shape.parts], axis=0)
    index = ((points + 1) * 32).astype(int).clip(1, 62)
    offsets = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    around = np.stack([grid[tuple((index + offset).T)] for offset in offsets], 1)
    assert (around.any(1) & ~around.all(1)).mean() > 0.98
