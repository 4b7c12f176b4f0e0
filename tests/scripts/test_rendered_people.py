# SPDX-License-Identifier: GPL-3.0-or-later
"""The truth about a rendered photograph of a person agrees with its pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from backend.body.poses import limit_poses
from scripts.rendered_people import FRAME, VISIBLE, Scene, scenes


@pytest.fixture(scope="module")
def drawn() -> dict[str, Scene]:
    return {name: next(scenes(name, limit_poses(20, 1), 1, 0)) for name in ("in the open", "behind objects")}


def test_keypoints_lie_in_the_body(drawn: dict[str, Scene]) -> None:
    scene = drawn["in the open"]
    assert scene.picture.shape == (*FRAME[::-1], 3)
    column, row = np.floor(scene.keypoints).astype(int).T
    assert binary_dilation(scene.body, iterations=2)[row, column].all()
    assert not scene.hidden.any()
    assert np.array_equal(scene.body, scene.visible)
    rows, columns = np.nonzero(scene.body)
    assert scene.pixel * max(np.ptp(rows), np.ptp(columns)) == pytest.approx(256 / 1.2)


def test_what_is_in_front_changes_the_picture_there_and_hides_keypoints(drawn: dict[str, Scene]) -> None:
    clear, behind = drawn["in the open"], drawn["behind objects"]
    np.testing.assert_array_equal(clear.keypoints, behind.keypoints)
    covered = behind.body & ~behind.visible
    assert 0 < covered.sum() < (1 - VISIBLE) * behind.body.sum()
    changed = np.abs(clear.picture.astype(int) - behind.picture).max(2) > 8
    assert changed[covered].mean() > 0.9
    column, row = np.floor(behind.keypoints).astype(int).T
    assert not behind.hidden[~binary_dilation(covered, iterations=2)[row, column]].any()


def test_the_exactly_seen_person_is_recognised(drawn: dict[str, Scene]) -> None:
    clear, behind = drawn["in the open"], drawn["behind objects"]
    person = clear.exactly_seen()
    other = type(person)(person.mask, person.points + 60, person.confidence)
    assert clear.shown_by([other, person]) == 1
    assert clear.shown_by([other]) is None
    assert (behind.exactly_seen().confidence == ~behind.hidden).all()
