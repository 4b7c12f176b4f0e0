# SPDX-License-Identifier: GPL-3.0-or-later
"""Point maps of scenes and lone photographs, viewpoints, and what monocular networks give."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.protocol import PenumbraError
from backend.rays.camera import look_at, perspective, project
from backend.shadow import monocular, viewpoint
from backend.shadow.pointmap import half_thickness, standing

from .posts import EYE, post

POST = post()


def ground_depths() -> np.ndarray:
    """(H, W) −z of the scene behind the post's camera, infinite in the sky."""
    return np.where(POST.points.valid, -POST.points.points[..., 2], np.inf)


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def test_a_scenes_points_project_to_their_own_pixels_and_lie_on_ground_and_post() -> None:
    points = POST.points
    pixels, _ = project(POST.camera, points.points[points.valid])
    row, column = np.nonzero(points.valid)
    np.testing.assert_allclose(pixels, np.stack([column, row], -1) + 0.5, atol=1e-2)
    world = points.points @ POST.camera.world_from_camera[:3, :3].T + POST.camera.world_from_camera[:3, 3]
    assert np.abs(world[points.valid & ~POST.mask][:, 2]).max() < 1e-3
    assert world[POST.mask][:, 2].max() == pytest.approx(1.72, abs=0.03)
    assert world[POST.mask][:, 0].max() == pytest.approx(0.65, abs=0.03)  # the arm points right


def test_a_standing_object_is_as_far_and_as_tall_as_the_true_one() -> None:
    guess = standing(POST.camera, POST.mask)
    off = np.linalg.norm(guess.points - POST.points.points, axis=-1)
    assert np.median(off[POST.mask]) < 0.2  # of five metres
    assert np.median(off[POST.points.valid & ~POST.mask]) < 1e-3


def test_an_object_above_the_horizon_has_no_ground() -> None:
    flying = np.zeros_like(POST.mask)
    flying[2:12, 60:80] = True
    with pytest.raises(PenumbraError, match="no ground under the object"):
        standing(POST.camera, flying)


def test_a_pole_is_as_thick_as_it_is_wide() -> None:
    thickness = half_thickness(POST.points, POST.mask)
    rows, columns = np.nonzero(POST.mask)
    low = rows > np.quantile(rows, 0.8)  # the pole below the arm, radius 0.12
    assert thickness[rows[low], columns[low]].max() == pytest.approx(0.12, rel=0.25)
    assert not thickness[~POST.mask].any()


@pytest.mark.parametrize(("horizon", "roll"), [(0.2, 0.0), (0.7, 0.1), (-0.3, 0.0)])
def test_a_viewpoint_has_the_horizon_it_was_made_of(horizon: float, roll: float) -> None:
    up = viewpoint.up_of_horizon(320, 240, 300.0, horizon, roll)
    camera = viewpoint.pinhole(320, 240, 300.0, up, eye=2.0)
    pose = camera.world_from_camera
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    assert viewpoint.horizon_of(camera) == pytest.approx(horizon, rel=0.01)
    far_right = np.array([5000.0, 2000.0, 2.0])  # world, level with the camera, to its right
    pixel, _ = project(camera, (far_right - pose[:3, 3]) @ pose[:3, :3])
    if roll:
        assert pixel[1] < horizon * 240  # a positive roll lifts the horizon there


def drawn_blocks(focal: float, size: tuple[int, int] = (640, 480)) -> tuple[np.ndarray, np.ndarray]:
    """A photograph of striped blocks through a known camera, and its up direction."""
    fov = 2 * np.arctan(0.5 / focal)
    camera = perspective(*size, fov, world_from_camera=look_at((2, -9, 3.0), (0.5, 0, 1.0)))
    picture = np.full((size[1], size[0]), 200, np.uint8)
    lines = [[(x, y, 0.0), (x, y, 3.0)] for x in range(-4, 5) for y in (0, 3)]
    lines += [[(-4, y, z), (4, y, z)] for y in (0, 3) for z in (0, 0.75, 1.5, 2.25, 3)]
    lines += [[(x, 0, z), (x, 3, z)] for x in range(-4, 5) for z in (0, 3)]
    for a, b in lines:
        pixels, _ = project(
            camera, (np.array([a, b]) - camera.world_from_camera[:3, 3]) @ camera.world_from_camera[:3, :3]
        )
        ends = [tuple(int(v) for v in np.round(p * 16)) for p in pixels]
        cv2.line(picture, ends[0], ends[1], 30, 3, cv2.LINE_AA, shift=4)
    return np.repeat(picture[..., None], 3, -1) / 255.0, camera.world_from_camera[2, :3]


@pytest.mark.parametrize("focal", [0.85, 1.5])
def test_straight_lines_tell_horizon_and_focal_length(focal: float) -> None:
    picture, up = drawn_blocks(focal)
    found = viewpoint.estimate(picture)
    assert found.confidence > 0.5
    assert angle(found.camera.world_from_camera[2, :3], up) < 2
    assert found.camera.projection[0, 0] / 2 == pytest.approx(focal, rel=0.2)


def test_what_is_given_is_kept_and_noise_tells_nothing() -> None:
    noise = np.random.default_rng(0).random((120, 160, 3))
    blank = viewpoint.estimate(noise)
    assert blank.confidence < 0.2
    assert viewpoint.horizon_of(blank.camera) == pytest.approx(viewpoint.USUAL_HORIZON)
    given = viewpoint.estimate(noise, horizon=0.25, focal=1.5)
    assert given.confidence == 1
    assert viewpoint.horizon_of(given.camera) == pytest.approx(0.25)
    assert given.camera.projection[0, 0] == pytest.approx(3)


def test_moges_axes_are_turned_and_its_ground_is_found() -> None:
    opencv = POST.points.points * [1, -1, -1]
    focal = POST.camera.projection[0, 0] / 2
    intrinsics = np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    believed = viewpoint.pinhole(160, 160, focal * 160, viewpoint.up_of_horizon(160, 160, 160, 0.45))
    found = monocular.from_opencv(opencv, POST.points.valid, intrinsics, believed)
    np.testing.assert_allclose(found.points[found.valid], POST.points.points[found.valid], atol=1e-5)
    assert angle(found.up, POST.points.up) < 0.5
    assert found.camera.world_from_camera[2, 3] == pytest.approx(EYE, rel=0.02)
    pixels, _ = project(found.camera, found.points[found.valid])
    row, column = np.nonzero(found.valid)
    np.testing.assert_allclose(pixels, np.stack([column, row], -1) + 0.5, atol=0.02)


def test_disparity_of_unknown_scale_and_shift_is_brought_to_the_ground() -> None:
    disparity = 7.0 / ground_depths() + 3.0
    found = monocular.from_disparity(disparity, POST.camera)
    np.testing.assert_allclose(found.points[found.valid], POST.points.points[found.valid], rtol=0.02, atol=0.02)
    with pytest.raises(PenumbraError, match="level ground"):
        monocular.from_disparity(-disparity, POST.camera)


def test_absent_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(PenumbraError, match="no depth model at"):
        monocular.load(tmp_path / "nowhere")
    with pytest.raises(PenumbraError, match="holds no depth model"):
        monocular.load(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(PenumbraError, match="package moge"):
        monocular.load(tmp_path)


def test_a_repository_that_cannot_be_had_says_so(tmp_path: Path) -> None:
    # A process of its own: the hub's package reads these when it is imported.
    asked = "import sys; from backend.shadow import monocular; monocular.load(sys.argv[1])"
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", asked, "nobody/no-depth-model"], env=offline, capture_output=True, text=True, check=False
    )
    assert "PenumbraError: The depth model nobody/no-depth-model is no local folder" in done.stderr


def test_a_transformers_depth_model_loads_from_its_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14,
        out_features=["stage1", "stage2"], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, patch_size=14, reassemble_hidden_size=16, reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8], fusion_hidden_size=8, head_hidden_size=4,
        depth_estimation_type="metric", max_depth=20,
    )  # fmt: skip
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(tmp_path, safe_serialization=True)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "depth_anything"
    camera = dataclasses.replace(POST.camera, width=160, height=160)
    found = monocular.load(tmp_path)(np.random.default_rng(0).random((160, 160, 3)), camera)
    assert found.points.shape == (160, 160, 3)
    assert found.valid.mean() > 0.9
    assert (found.points[found.valid][:, 2] < 0).all()
