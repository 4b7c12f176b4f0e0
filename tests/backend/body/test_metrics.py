# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of estimated bodies, against figures worked out by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from backend.body import metrics

SQUARE = np.array([[[1.0, 1, 0], [1, -1, 0], [-1, -1, 0], [-1, 1, 0]]])


def test_alignment_undoes_similarities_and_nothing_else():
    points = np.random.default_rng(0).normal(size=(3, 9, 3))
    turns = Rotation.random(3, random_state=1).as_matrix()
    moved = 1.7 * points @ turns + [[[1.0, -2, 3]]]
    np.testing.assert_allclose(metrics.pa_mpjpe(moved, points), 0, atol=1e-12)
    np.testing.assert_allclose(metrics.procrustes(points, moved), moved, atol=1e-12)
    mirrored = points * (-1, 1, 1)  # a mirror image is another body
    assert (metrics.pa_mpjpe(mirrored, points) > 0.2).all()


def test_one_moved_corner_by_hand():
    """Of a square with corners (±1, ±1), two opposite corners move in by half: no rotation, no shift, scale 1.2.

    Σ a·b = 2 + 2 + 1 + 1 = 6 and Σ a² = 2 + 2 + 0.5 + 0.5 = 5, so the scale is 6/5. What remains is 0.2·√2 at two
    corners and 0.4·√2 at the other two: 0.3·√2 on average.
    """
    moved = SQUARE.copy()
    moved[0, [1, 3]] *= 0.5
    assert metrics.pa_mpjpe(moved, SQUARE)[0] == pytest.approx(0.3 * np.sqrt(2))
    assert metrics.pve_pa(moved, SQUARE)[0] == pytest.approx(0.3 * np.sqrt(2))


def test_scale_correction_by_hand():
    """The same square: its mean square radius is (2 + 2 + 0.5 + 0.5) / 4 against 2, so the scale is √1.6."""
    moved = SQUARE.copy()
    moved[0, [1, 3]] *= 0.5
    scale = np.sqrt(1.6)
    expected = (np.sqrt(2) * (scale - 1) + np.sqrt(2) * (1 - scale / 2)) / 2
    assert metrics.pve_t_sc(moved + 5, SQUARE)[0] == pytest.approx(expected)
    assert metrics.pve_t_sc(3 * SQUARE - 2, SQUARE)[0] == pytest.approx(0)
    quarter = SQUARE @ Rotation.from_euler("z", 90, degrees=True).as_matrix().T  # it does not rotate
    assert metrics.pve_t_sc(quarter, SQUARE)[0] == pytest.approx(2)


def test_iou_by_hand():
    a, b = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    a[0, :2, :2] = True  # 4 pixels
    b[0, 1:3, :3] = True  # 6 pixels, 2 of them shared
    np.testing.assert_allclose(metrics.iou(a, b), [2 / 8, 1])
