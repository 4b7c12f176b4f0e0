# SPDX-License-Identifier: GPL-3.0-or-later
"""From a picture to the proxy and back: pixels, sides and depths."""

import numpy as np
import pytest
import torch

from backend.body.lasor import estimate
from backend.body.lasor.camera import Lens, perspective, weak_perspective
from backend.body.lasor.raster import coverage
from backend.body.model import BodyModel
from backend.body.poses import limit_poses
from backend.body.rotations import rotation_matrices
from backend.protocol import PenumbraError


def person(size: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """A posed body at the upper left of a picture: its mask (H, W) and keypoints (17, 2)."""
    body = BodyModel.load(coarse=True)
    vertices, joints = body(torch.zeros(1, 10), torch.from_numpy(limit_poses(1, 2)))
    there = torch.tensor([[[-0.8, 0.7, -6.0]]])
    points, _ = perspective(vertices + there, torch.tensor([500.0]), size)
    keypoints, _ = perspective(body.keypoints(vertices, joints) + there, torch.tensor([500.0]), size)
    return coverage(points, body.faces, size)[0].numpy().astype(np.float32), keypoints[0].numpy()


def test_the_proxy_shows_the_person_where_it_is():
    mask, points = person()
    confidence = np.full(17, 0.9)
    confidence[9] = 0.39
    seen = estimate.sight(mask, points, confidence)
    assert seen.proxy.shape == (1, 18, 256, 256)
    peaks = seen.proxy[0, 1:].flatten(1).argmax(1).numpy()
    x = (np.stack([peaks % 256, peaks // 256], 1) + 0.5 - 128) * seen.side / 256 + seen.centre
    assert np.abs(np.delete(x, 9, 0) - np.delete(points, 9, 0)).max() < 1
    assert seen.proxy[0, 1 + 9].max() == 0  # less than the paper's threshold
    rows, columns = seen.proxy[0, 0].nonzero(as_tuple=True)
    assert rows.float().mean().item() == pytest.approx(
        ((np.nonzero(mask)[0].mean() + 0.5 - seen.centre[1]) * 256 / seen.side + 128), abs=1.5
    )
    assert (columns.max() - columns.min()).item() <= 256 / 1.2 + 2


def test_the_picture_s_camera_sees_the_estimate():
    """A lens shows points, near and far, where the picture's camera sees them; and tells its camera from there."""
    flat = torch.randn(2, 17, 3, generator=torch.Generator().manual_seed(0)) * 0.5
    camera = torch.tensor([[0.8, 0.1, -0.2], [0.7, 0.0, 0.3]])
    centres, sides = torch.tensor([[250.0, 130.0], [500.0, 300.0]]), torch.tensor([180.0, 240.0])
    lens = Lens.of(centres, sides, (640, 480), 700.0)
    places = lens.places(camera)
    for row in range(2):
        moved = (flat[row] + places[row]).numpy()
        strong = moved[:, :2] * (1, -1) * 700.0 / -moved[:, 2:] + (320, 240)
        np.testing.assert_allclose(
            estimate.in_picture(lens(flat, camera)[row], centres[row].numpy(), sides[row].item()), strong, atol=1e-2
        )
    assert places[0, 2].item() == pytest.approx(-700 / (0.8 * 90))
    torch.testing.assert_close(lens.likeness(flat, lens(flat, camera)), camera, atol=1e-4, rtol=0)
    level = flat * torch.tensor([1, 1, 0])
    torch.testing.assert_close(lens(level, camera), weak_perspective(level, camera), atol=1e-4, rtol=0)


@pytest.mark.parametrize("place", [(-2.5, 0.4, -6.0), (1.0, -2.0, -5.0)])
def test_a_body_aside_is_turned_to_be_seen_as_the_crop_has_it(place):
    """Far from the axis a crop shows a body as if seen straight: its pose is turned by the line of sight."""
    body, (width, height), focal = BodyModel.load(coarse=True), (640, 480), 500.0
    pose, there = rotation_matrices(torch.from_numpy(limit_poses(1, 2))), torch.tensor(place)
    crop = torch.tensor([width / 2 + focal * there[0] / -there[2], height / 2 - focal * there[1] / -there[2]])
    turn = Lens.of(crop[None], torch.tensor([100.0]), (width, height), focal).turns[0]
    torch.testing.assert_close(turn @ torch.tensor([0, 0, -1.0]), there / there.norm(), atol=1e-5, rtol=0)

    def seen(rotations: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        keypoints = body.keypoints(*body(torch.zeros(1, 10), rotations)) + at
        flat = perspective(keypoints, torch.tensor([focal]), 0)[0][0]
        flat = flat - flat.mean(0)
        return flat / flat.norm(dim=1).mean()

    aside = pose.clone()
    aside[:, 0] = turn @ pose[:, 0]
    straight = seen(pose, torch.tensor([0, 0, -there.norm().item()]))
    wrong = (seen(pose, there) - straight).norm(dim=1).mean()
    assert (seen(aside, there) - straight).norm(dim=1).mean() < 0.6 * wrong


def test_nobody_and_specks_are_refused():
    points, confidence = np.zeros((17, 2)), np.ones(17)
    with pytest.raises(PenumbraError, match="No person"):
        estimate.sight(np.zeros((90, 90)), points, confidence)
    speck = np.zeros((90, 90))
    speck[40:50, 40:45] = 1
    with pytest.raises(PenumbraError, match="too small"):
        estimate.sight(speck, points, confidence)
