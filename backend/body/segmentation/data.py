# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures with part labels, in memory: our shards, or the user's copy of FSitting or UP.

A user's copy is a folder with ``train.txt`` and ``test.txt``, each line the paths of a picture and of its labels,
relative to the folder; labels are PNG files with the data set's own numbers (FSitting 0 to 14, UP 0 to 31).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ...protocol import PenumbraError
from ...shading.dataset import read_arrays, reading, shards
from ...shading.moments import SPLITS
from .labels import SURREAL, TABLES, merged, mirrored

SYNTHETIC = ("surreal", "synth")
STAND_IN = "real"  # Cycles renders in place of photographs
KINDS = (*SYNTHETIC, STAND_IN, *TABLES.values())
SUBJECTS = 3  # of the test split, whose stand-in pictures are for training; FSitting has two of six
UP_SHARE = 0.03  # of UP's training data (section 4.2)
ZOOM, TURN, TURNED = (
    0.25,
    30.0,
    0.4,
)  # SURREAL's augmentation: deviations of log₂ scale and degrees; share that is turned


@dataclass(frozen=True)
class PartsData:
    """pictures (N, S, S, 3) uint8 display-encoded; labels (N, S, S) uint8 of `parts` parts, 0 the background."""

    pictures: np.ndarray
    labels: np.ndarray
    parts: int

    @functools.cached_property
    def whitening(self) -> tuple[np.ndarray, np.ndarray]:
        """(3,) mean and deviation of all pixels, in [0, 1]."""
        sample = self.pictures[:: max(1, len(self.pictures) // 500)].reshape(-1, 3) / np.float32(255)
        return sample.mean(0), sample.std(0)

    def batch(self, random: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Random pictures, scaled, turned and mirrored: (B, 3, S, S) whitened float32 and (B, S, S) int64."""
        rows = random.integers(len(self.pictures), size=count)
        drawn = [self._augmented(int(row), random) for row in rows]
        pictures, labels = (np.stack(images) for images in zip(*drawn, strict=True))
        return whitened(pictures, self.whitening), torch.from_numpy(labels.astype(np.int64))

    def _augmented(self, row: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        picture, labels = self.pictures[row], self.labels[row]
        size = labels.shape[0]
        angle = TURN * float(np.clip(random.normal(), -2, 2)) if random.random() < TURNED else 0.0
        matrix = cv2.getRotationMatrix2D(
            ((size - 1) / 2,) * 2, angle, 2 ** float(np.clip(random.normal(0, ZOOM), -0.5, 0.5))
        )
        picture = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR)
        labels = cv2.warpAffine(labels, matrix, (size, size), flags=cv2.INTER_NEAREST)
        if random.random() < 0.5:
            return picture[:, ::-1], mirrored(self.parts)[labels[:, ::-1]]
        return picture, labels


def whitened(pictures: np.ndarray, whitening: tuple[np.ndarray, np.ndarray]) -> Tensor:
    """(N, S, S, 3) uint8 as (N, 3, S, S) float32 of mean 0 and deviation 1."""
    mean, deviation = whitening
    values = (pictures.astype(np.float32) / 255 - mean) / np.maximum(deviation, 1e-3)
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).permute(0, 3, 1, 2)


def load(folders: list[Path], kind: str, parts: int, test: bool, size: int = 256) -> PartsData:
    """Pictures of one of `KINDS`; size: pixels a side of a user's, which ours have already.

    Raises PenumbraError where the folder holds no such pictures, or the kind has not so many parts.
    """
    if kind in TABLES.values():
        if TABLES[parts] != kind:
            raise PenumbraError(f"{kind} has not {parts} parts.", f"Give --parts {parts_of(kind)}.")
        return _listed(folders[0], kind, parts, test, size)
    pictures, labels = [], []
    for path in shards(folders):
        arrays = read_arrays(path)
        with reading(path):
            mine = _chosen(arrays, kind, test)
            pictures.append(arrays[kind][mine])
            labels.append(merged(arrays["labels"][mine], SURREAL, parts))
    return _filled(np.concatenate(pictures), np.concatenate(labels), parts, folders)


def parts_of(kind: str) -> int:
    """How many parts a data set of photographs is measured with."""
    return next(parts for parts, name in TABLES.items() if name == kind)


def _chosen(arrays: dict[str, np.ndarray], kind: str, test: bool) -> np.ndarray:
    """(N,) bool: which pictures of a shard are for training, or for tests: of the stand-in's, by the person."""
    if kind != STAND_IN:
        return np.ones(len(arrays["labels"]), bool)
    taught = {f"person-{seed:06d}" for seed in SPLITS["test"][:SUBJECTS]}
    return np.array([(str(identity) in taught) != test for identity in arrays["identity"]], bool)


def _filled(pictures: np.ndarray, labels: np.ndarray, parts: int, folders: list[Path]) -> PartsData:
    if not len(pictures):
        raise PenumbraError(
            f"There are no such pictures in {', '.join(folder.name for folder in folders)}.",
            "Make some with make_dataset.py parts.",
        )
    return PartsData(pictures, labels, parts)


def _listed(folder: Path, kind: str, parts: int, test: bool, size: int) -> PartsData:
    path = folder / ("test.txt" if test else "train.txt")
    if not path.is_file():
        raise PenumbraError(f"{folder} has no {path.name}.", "Write one: a picture and its labels on each line.")
    lines = [line.split()[:2] for line in path.read_text("utf-8").splitlines() if line.strip()]
    if kind == "up" and not test:
        lines = lines[: max(1, round(UP_SHARE * len(lines)))]
    pictures, labels = [], []
    for picture, label in lines:
        image = cv2.imread(str(folder / picture.lstrip("/")), cv2.IMREAD_COLOR)
        numbers = cv2.imread(str(folder / label.lstrip("/")), cv2.IMREAD_UNCHANGED)
        if image is None or numbers is None or numbers.ndim != 2 or numbers.shape != image.shape[:2]:
            raise PenumbraError(f"{picture} and its labels cannot be read.", "Labels are PNG files of one channel.")
        pictures.append(_square(image[:, :, ::-1], size, cv2.INTER_AREA))
        labels.append(_square(merged(numbers.astype(np.uint8), kind, parts), size, cv2.INTER_NEAREST))
    return _filled(np.array(pictures), np.array(labels), parts, [folder])


def _square(image: np.ndarray, size: int, interpolation: int) -> np.ndarray:
    """The middle of an image, its shorter side whole, resized."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = np.ascontiguousarray(image[top : top + side, left : left + side])
    return cv2.resize(cut, (size, size), interpolation=interpolation)
