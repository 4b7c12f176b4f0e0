# SPDX-License-Identifier: GPL-3.0-or-later
"""Refinement brings a body nearer to what was seen, and leaves it alone where it cannot."""

import pytest
import torch

from backend.body.lasor.camera import to_pixels, weak_perspective
from backend.body.lasor.person import Estimate
from backend.body.lasor.raster import coverage
from backend.body.lasor.refine import Refiner
from backend.body.poses import limit_poses
from backend.body.rotations import rotation_matrices


@pytest.fixture(scope="module")
def refiner() -> Refiner:
    return Refiner.load()


def person(refiner: Refiner) -> tuple[Estimate, tuple[torch.Tensor, ...]]:
    """Two posed bodies, and what would be seen of them: keypoints, confidences, masks, and nothing hidden."""
    rotations = rotation_matrices(torch.from_numpy(limit_poses(2, 8)))
    truth = Estimate(torch.tensor([[0.9, 0.0, 0.1]] * 2), rotations, torch.zeros(2, 10))
    vertices, joints = refiner.body(truth.betas, truth.rotations)
    points = to_pixels(weak_perspective(refiner.body.keypoints(vertices, joints), truth.camera), 256)
    mask = coverage(to_pixels(weak_perspective(vertices, truth.camera), 128), refiner.body.faces, 128).float()
    return truth, (points, torch.ones(2, 17), mask, torch.zeros(2, 128, 128))


def test_a_disturbed_body_comes_back(refiner):
    truth, seen = person(refiner)
    turned = truth.rotations @ rotation_matrices(
        0.15 * torch.randn(2, 24, 3, generator=torch.Generator().manual_seed(0))
    )
    start = Estimate(truth.camera + torch.tensor([-0.06, 0.03, -0.03]), turned, truth.betas + 0.4)
    refined = refiner(start, *seen, steps=15)
    before, after = refiner.energy(start, *seen), refiner.energy(refined, *seen)
    assert (after < 0.7 * before).all()


def test_it_never_ends_worse(refiner):
    truth, seen = person(refiner)
    exact = refiner.energy(truth, *seen)
    assert (refiner.energy(refiner(truth, *seen, steps=5), *seen) <= exact + 1e-6).all()
    blind = (seen[0], torch.zeros(2, 17), torch.zeros(2, 128, 128), torch.ones(2, 128, 128))  # nothing is known
    refined = refiner(truth, *blind, steps=5)
    torch.testing.assert_close(refined.betas, truth.betas)
    torch.testing.assert_close(refined.rotations, truth.rotations)


def test_what_is_hidden_is_not_held_against_the_body(refiner):
    truth, (points, confidence, mask, unknown) = person(refiner)
    hidden = unknown.clone()
    hidden[:, 64:] = 1
    half = mask * (1 - hidden)
    exact = refiner.energy(truth, points, confidence, mask, unknown)
    assert (refiner.energy(truth, points, confidence, half, unknown) > exact + 0.05).all()
    assert (refiner.energy(truth, points, confidence, half, hidden) <= exact + 1e-4).all()
