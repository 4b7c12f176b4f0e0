# SPDX-License-Identifier: GPL-3.0-or-later
"""The truth about a rendered photograph of a person agrees with its pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from backend.body.detect import Person
from backend.body.model import BodyModel
from backend.body.poses import limit_poses
from backend.body.public import Example
from backend.body.reconstruct import load_networks, reconstruct
from scripts import public_evaluation
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


def test_public_examples_are_measured_against_their_own_truth(drawn: dict[str, Scene]) -> None:
    scene = drawn["in the open"]
    person = scene.exactly_seen()
    pose = np.zeros((24, 3), np.float32)
    example = Example("a", lambda: scene.picture, scene.keypoints[5:], pose, pose[0], "male", None, lambda: scene.body)
    far = Person(person.mask, person.points + 300, person.confidence)
    assert public_evaluation.shown([far, person], example) == 1
    assert public_evaluation.shown([far], example) is None
    body = reconstruct([person], 0, load_networks("lasor", torch.device("cpu")), 500.0, True)
    model = BodyModel.load(coarse=True)
    betas, rotations = torch.from_numpy(body.betas)[None], torch.from_numpy(body.rotations)[None]
    joints = model(betas, rotations)[1][0].numpy()
    turned = joints @ np.array([[0.6, 0, 0.8], [0, 1, 0], [-0.8, 0, 0.6]]) * 1.3 + 2
    values = public_evaluation.measured(body, dataclasses.replace(example, joints=turned), None)
    assert values["pa_mpjpe_13_mm"] < 1e-2
    assert values["miou"] > 0.6
    off = turned + np.random.default_rng(0).normal(0, 0.1, turned.shape)
    assert public_evaluation.measured(body, dataclasses.replace(example, joints=off), None)["pa_mpjpe_13_mm"] > 50
