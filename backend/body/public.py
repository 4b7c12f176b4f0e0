# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of the public data sets that LASOR and BodyNet are measured on, for those who have them: 3DPW, SSP-3D,
SURREAL and UP-3D as they are downloaded. Nothing of them is shipped or needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import scipy.io

from ..protocol import PenumbraError
from .data import JOINT_NAMES
from .pickles import PROBLEMS, read_pickle

# Shoulders, elbows, wrists, hips, knees, ankles, left before right: COCO's last twelve keypoints.
LIMBS = tuple(f"{s}_{j}" for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for s in ("left", "right"))
_OF_SMPL = [JOINT_NAMES.index(name) for name in LIMBS]
_OF_LSP = [9, 8, 10, 7, 11, 6, 3, 2, 4, 1, 5, 0]


@dataclass(frozen=True)
class Example:
    """A person in a picture, and what is known of the person.

    read: gives the picture (H, W, 3) uint8 sRGB. limbs: (12, 2) pixels in the order of LIMBS, NaN where they are not
    known. pose (24, 3) axis-angle and betas (10,): SMPL's, of `gender` ("male", "female", "neutral"). joints: (24, 3)
    SMPL's, metres, in some frame, or None. silhouette: gives (H, W) bool; None where there is none.
    """

    name: str
    read: Callable[[], np.ndarray]
    limbs: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    gender: str
    joints: np.ndarray | None = None
    silhouette: Callable[[], np.ndarray] | None = None


def threedpw(root: Path, split: str = "test") -> Iterator[Example]:
    """3DPW: ``sequenceFiles/<split>/<sequence>.pkl`` beside ``imageFiles/<sequence>/image_NNNNN.jpg``; each person of
    each frame whose camera's pose is valid. Raises PenumbraError where the folder has another layout.
    """
    for path in _files(root / "sequenceFiles" / split, "*.pkl"):
        with _reading(path):
            data = read_pickle(path)
            sequence, intrinsics = str(data["sequence"]), np.asarray(data["cam_intrinsics"])
            cameras = np.asarray(data["cam_poses"])
            people = list(zip(data["poses"], data["betas"], data["jointPositions"], data["campose_valid"], strict=True))
            genders = [{"m": "male", "f": "female"}[str(letter)] for letter in data["genders"]]
        for person, (poses, betas, places, valid) in enumerate(people):
            for frame in np.flatnonzero(valid):
                joints = np.asarray(places[frame], np.float64).reshape(24, 3)
                there = joints @ cameras[frame, :3, :3].T + cameras[frame, :3, 3]
                flat = there @ intrinsics.T
                yield Example(
                    f"{sequence}/{person}/{frame:05}",
                    _picture(root / "imageFiles" / sequence / f"image_{frame:05}.jpg"),
                    (flat[:, :2] / flat[:, 2:])[_OF_SMPL],
                    np.asarray(poses[frame], np.float32).reshape(24, 3),
                    np.asarray(betas, np.float32).ravel()[:10],
                    genders[person],
                    there,
                )


def ssp3d(root: Path) -> Iterator[Example]:
    """SSP-3D: ``labels.npz`` beside ``images/`` and ``silhouettes/``. Raises PenumbraError as `threedpw`."""
    path = root / "labels.npz"
    with _reading(path), np.load(path, allow_pickle=False) as data:
        names = ("fnames", "poses", "shapes", "joints2D", "genders")
        rows = list(zip(*(data[name] for name in names), strict=True))
    for file, pose, betas, keypoints, gender in rows:
        limbs = np.where(keypoints[5:, 2:] > 0, keypoints[5:, :2], np.nan)
        yield Example(
            str(file),
            _picture(root / "images" / str(file)),
            limbs,
            pose.astype(np.float32).reshape(24, 3),
            betas.astype(np.float32)[:10],
            {"m": "male", "f": "female"}[str(gender)],
            silhouette=_mask(root / "silhouettes" / str(file)),
        )


def surreal(root: Path, split: str = "test") -> Iterator[Example]:
    """SURREAL: ``<split>/run*/<sequence>/<clip>.mp4`` beside ``<clip>_info.mat`` and ``<clip>_segm.mat``; every frame.

    Raises PenumbraError as `threedpw`.
    """
    for path in _files(root / split, "run*/*/*_info.mat"):
        clip = path.name.removesuffix("_info.mat")
        with _reading(path):
            data = scipy.io.loadmat(path)
            count = data["pose"].shape[1]
            flat, joints = data["joints2D"].reshape(2, 24, count), data["joints3D"].reshape(3, 24, count)
            genders = data["gender"].ravel()
            shapes = data["shape"].reshape(10, count)
        for frame in range(count):
            yield Example(
                f"{clip}/{frame:03}",
                _frame(path.with_name(f"{clip}.mp4"), frame),
                flat[:, _OF_SMPL, frame].T.astype(np.float64),
                data["pose"][:, frame].astype(np.float32).reshape(24, 3),
                shapes[:, frame].astype(np.float32),
                ("female", "male")[int(genders[frame])],
                joints[:, :, frame].T.astype(np.float64),
                _segments(path.with_name(f"{clip}_segm.mat"), frame),
            )


def up3d(root: Path, split: str = "test") -> Iterator[Example]:
    """UP-3D: ``<split>.txt`` with a line ``/NNNNN_image.png`` for each picture, beside which are ``_body.pkl``,
    ``_joints.npy`` and ``_render_light.png``. Raises PenumbraError as `threedpw`.
    """
    path = root / f"{split}.txt"
    with _reading(path):
        lines = path.read_text("utf-8").split()
    for line in lines:
        name = line.strip("/").removesuffix("_image.png")
        body, joints = root / f"{name}_body.pkl", root / f"{name}_joints.npy"
        with _reading(body):
            data = read_pickle(body)
            pose, betas = (np.asarray(data[key], np.float32).ravel() for key in ("pose", "betas"))
            pose = pose.reshape(24, 3)
        with _reading(joints):
            lsp = np.load(joints, allow_pickle=False).astype(np.float64)
        yield Example(
            name,
            _picture(root / f"{name}_image.png"),
            lsp[:2, _OF_LSP].T,
            pose,
            betas[:10],
            "neutral",
            silhouette=_rendered(root / f"{name}_render_light.png"),
        )


READERS: dict[str, Callable[[Path], Iterator[Example]]] = {
    "3dpw": threedpw,
    "ssp-3d": ssp3d,
    "surreal": surreal,
    "up-3d": up3d,
}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what reading a file of a data set raises into a PenumbraError."""
    try:
        yield
    except PROBLEMS as problem:
        raise PenumbraError(f"{path} cannot be read: {problem}.", "Give the data set's own folder.") from problem


def _files(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if not found:
        raise PenumbraError(f"There is no {pattern} in {folder}.", "Give the data set's own folder.")
    return found


def _picture(path: Path) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise PenumbraError(f"{path} cannot be read.", "Give the data set's own folder.")
        return np.ascontiguousarray(picture[..., ::-1])

    return read


def _mask(path: Path) -> Callable[[], np.ndarray]:
    return lambda: _picture(path)().max(2) > 0


def _rendered(path: Path) -> Callable[[], np.ndarray]:
    """Of a body on white."""
    return lambda: _picture(path)().min(2) < 255


def _frame(path: Path, number: int) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        video = cv2.VideoCapture(str(path))
        video.set(cv2.CAP_PROP_POS_FRAMES, number)
        found, picture = video.read()
        video.release()
        if not found:
            raise PenumbraError(f"{path} has no frame {number}.", "Give the data set's own folder.")
        return np.ascontiguousarray(picture[..., ::-1])

    return read


def _segments(path: Path, frame: int) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        with _reading(path):
            return scipy.io.loadmat(path, variable_names=[f"segm_{frame + 1}"])[f"segm_{frame + 1}"] > 0

    return read
