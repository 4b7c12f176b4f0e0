# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of public data sets, on tiny copies of their layouts: a picture, and where its person's limbs are."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import torch

from backend.body import public
from backend.body.model import BodyModel
from backend.body.poses import limit_poses
from backend.protocol import PenumbraError

SIZE = (96, 128)  # width, height
FOCAL = 150.0
AWAY = np.array([0.1, -0.2, 4.0])  # where the body stands, in a camera that looks along +z, y down
POSE = limit_poses(1, 3)[0]
DOWN = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def joints() -> np.ndarray:
    """(24, 3) in the camera."""
    return BodyModel.load(coarse=True)(torch.zeros(1, 10), torch.from_numpy(POSE)[None])[1][0].numpy() @ DOWN.T + AWAY


def flat(joints: np.ndarray) -> np.ndarray:
    return FOCAL * joints[:, :2] / joints[:, 2:] + np.array(SIZE) / 2


def painted(path: Path, joints: np.ndarray, background: int = 0) -> None:
    """A picture with white, or black, dots at the limbs."""
    picture = np.full((SIZE[1], SIZE[0], 3), background, np.uint8)
    for x, y in flat(joints)[public._OF_SMPL]:
        cv2.circle(picture, (round(x), round(y)), 2, (255 - background,) * 3, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def check(example: public.Example, joints: np.ndarray) -> None:
    """The limbs are where the picture's dots are, left ones on their side."""
    np.testing.assert_allclose(example.limbs, flat(joints)[public._OF_SMPL], atol=0.01)
    picture = example.read()
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    column, row = np.round(example.limbs).astype(int).T
    assert (picture[row, column].max(1) > 128).all()
    np.testing.assert_allclose(example.pose, POSE, atol=1e-6)


def threedpw(root: Path, joints: np.ndarray) -> None:
    turn, shift = cv2.Rodrigues(np.array([0.2, 0.5, -0.1]))[0], np.array([1.0, 2.0, 3.0])
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = turn, shift
    world = (joints - shift) @ turn
    data = {
        "sequence": "walk_00",
        "poses": [np.stack([POSE.ravel()] * 2).astype(np.float64)],
        "betas": [np.zeros(10)],
        "genders": ["f"],
        "jointPositions": [np.stack([world.ravel()] * 2)],
        "campose_valid": [np.array([False, True])],
        "cam_poses": np.stack([np.eye(4), camera]),
        "cam_intrinsics": np.array([[FOCAL, 0, SIZE[0] / 2], [0, FOCAL, SIZE[1] / 2], [0, 0, 1]]),
    }
    (root / "sequenceFiles" / "test").mkdir(parents=True)
    (root / "sequenceFiles" / "test" / "walk_00.pkl").write_bytes(pickle.dumps(data, 2))
    painted(root / "imageFiles" / "walk_00" / "image_00001.jpg", joints)


def ssp3d(root: Path, joints: np.ndarray) -> None:
    coco = np.concatenate([np.zeros((5, 2)), flat(joints)[public._OF_SMPL]])
    keypoints = np.concatenate([coco, np.ones((17, 1))], 1)[None]
    np.savez(
        root / "labels.npz",
        fnames=np.array(["a.png"]),
        poses=POSE.reshape(1, 72),
        shapes=np.zeros((1, 10)),
        joints2D=keypoints,
        genders=np.array(["m"]),
    )
    for folder in ("images", "silhouettes"):
        painted(root / folder / "a.png", joints)


def surreal(root: Path, joints: np.ndarray) -> None:
    folder = root / "test" / "run0" / "01_01"
    painted(folder / "frame.png", joints)
    dots = cv2.imread(str(folder / "frame.png"))
    video = cv2.VideoWriter(str(folder / "01_01_c0001.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, SIZE)
    for picture in (np.zeros_like(dots), dots):
        video.write(picture)
    video.release()
    two = {
        "pose": np.stack([0 * POSE.ravel(), POSE.ravel()], 1),
        "shape": np.zeros((10, 2)),
        "joints2D": np.stack([0 * flat(joints).T, flat(joints).T], 2),
        "joints3D": np.stack([0 * joints.T, joints.T], 2),
        "gender": np.array([[0], [1]]),
    }
    scipy.io.savemat(folder / "01_01_c0001_info.mat", two)
    scipy.io.savemat(
        folder / "01_01_c0001_segm.mat", {"segm_1": 0 * dots[..., 0], "segm_2": (dots[..., 0] > 128).astype(np.uint8)}
    )


def up3d(root: Path, joints: np.ndarray) -> None:
    (root / "test.txt").write_text("/00003_image.png\n")
    painted(root / "00003_image.png", joints)
    painted(root / "00003_render_light.png", joints, 255)
    (root / "00003_body.pkl").write_bytes(pickle.dumps({"pose": POSE.ravel(), "betas": np.zeros(10)}, 2))
    lsp = np.zeros((3, 14))
    lsp[:2, public._OF_LSP] = flat(joints)[public._OF_SMPL].T
    np.save(root / "00003_joints.npy", lsp)


LAYOUTS = [("3dpw", threedpw, 0), ("ssp-3d", ssp3d, 0), ("surreal", surreal, 1), ("up-3d", up3d, 0)]


@pytest.mark.parametrize(("kind", "write", "frame"), LAYOUTS)
def test_limbs_are_where_the_picture_has_them(kind: str, write, frame: int, tmp_path: Path, joints: np.ndarray) -> None:
    write(tmp_path, joints)
    examples = list(public.READERS[kind](tmp_path))
    assert len(examples) == frame + 1
    check(examples[frame], joints)
    if examples[frame].joints is not None:
        np.testing.assert_allclose(examples[frame].joints, joints, atol=1e-6)
    if (silhouette := examples[frame].silhouette) is not None:
        mask = silhouette()
        column, row = np.round(examples[frame].limbs).astype(int).T
        assert mask[row, column].all()
        assert mask.mean() < 0.1


@pytest.mark.parametrize("kind", public.READERS)
def test_another_folder_is_told_plainly(kind: str, tmp_path: Path) -> None:
    with pytest.raises(PenumbraError) as caught:
        list(public.READERS[kind](tmp_path))
    assert caught.value.remedy == "Give the data set's own folder."


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path, joints: np.ndarray) -> None:
    up3d(tmp_path, joints)
    (tmp_path / "00003_body.pkl").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "run").encode() + b"'\ntR.")
    with pytest.raises(PenumbraError, match="cannot be read"):
        list(public.up3d(tmp_path))
    assert not (tmp_path / "run").exists()
