# SPDX-License-Identifier: GPL-3.0-or-later
"""Tuples to learn and to test from: our own shards, and folders in DESOBAv2's layout.

A tuple is a composite without the object's shadow, the masks of the object and of its shadow, those of other objects
and their shadows, and the picture with the shadow. Ours have exact points, the true light and the true ratio; real ones
have points where a point map is made for them, and a light where `light_fit` finds a trusted one.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..protocol import Camera, PenumbraError
from .pointmap import PointMap

SHARD = "shard_*.npz"
# DESOBAv2's folders, by our names; a list of picture names without their ending is in train.txt and test.txt.
DESOBA = {
    "composite": "shadowfree_imgs",
    "target": "shadow_imgs",
    "object": "object_masks",
    "shadow": "shadow_masks",
    "background_object": "background_object_masks",
    "background_shadow": "background_shadow_masks",
}
_ENDINGS = (".jpg", ".png", ".jpeg")


@dataclass(frozen=True)
class ShadowTuple:
    """composite, target: (H, W, 3) uint8, display-encoded. object, shadow, background_object, background_shadow: (H, W)
    uint8 coverage.

    points: the point map, or None. light: (3,) unit, camera space, or None where it is not known well enough to learn.
    ratio: (H, W, 3) float32 linear, or None. bos: whether another object's shadow can be seen.
    """

    name: str
    composite: np.ndarray
    target: np.ndarray
    object: np.ndarray
    shadow: np.ndarray
    background_object: np.ndarray
    background_shadow: np.ndarray
    points: PointMap | None
    light: np.ndarray | None
    ratio: np.ndarray | None
    bos: bool


class Shards(Sequence[ShadowTuple]):
    """The tuples of folders of shards, in memory; those without a shadow are left out."""

    def __init__(self, folders: Sequence[Path], most: int | None = None, size: int | None = None) -> None:
        """most: tuples to read at the most. size: pixels a side at which they are kept; 256 pixels take 1.5 MB a tuple.

        Raises PenumbraError where there is none, or a file is damaged.
        """
        parts: list[dict[str, np.ndarray]] = []
        self._at: list[tuple[int, int]] = []
        for path in (p for folder in folders for p in sorted(Path(folder).glob(SHARD))):
            if most is not None and len(self._at) >= most:
                break
            try:
                with np.load(path, allow_pickle=False) as file:
                    parts.append(_kept({name: file[name] for name in file.files}, size))
            except (OSError, ValueError, zipfile.BadZipFile) as problem:
                raise PenumbraError(
                    f"The data set's file {path} cannot be read: {problem}.", "Make it again."
                ) from problem
            seen = np.flatnonzero((parts[-1]["shadow"] > 127).any((1, 2)) & (parts[-1]["object"] > 127).any((1, 2)))
            self._at += [(len(parts) - 1, int(i)) for i in seen]
        self._parts = parts
        self._at = self._at[:most]
        if not self._at:
            names = ", ".join(str(f) for f in folders)
            raise PenumbraError(
                f"There is no shadow data in {names}.", "Make some with scripts/make_dataset.py shadow."
            )

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, index: int) -> ShadowTuple:
        part, row = self._at[index]
        a = {name: values[row] for name, values in self._parts[part].items()}
        height, width = a["valid"].shape
        camera = Camera(a["projection"], a["world_from_camera"], width, height)
        return ShadowTuple(
            str(a["name"]),
            *(a[name] for name in DESOBA),
            points=PointMap(a["points"].astype(np.float32), a["valid"], camera),
            light=a["light"] if a["trusted"] else None,
            ratio=a["ratio"].astype(np.float32),
            bos=bool(a["bos"]),
        )


def _kept(arrays: dict[str, np.ndarray], size: int | None) -> dict[str, np.ndarray]:
    """A shard's arrays, images reduced to `size` where they are larger; points are those at the pixels' centres."""
    if size is None or arrays["valid"].shape[1] <= size:
        return arrays
    at = ((np.arange(size) + 0.5) * arrays["valid"].shape[1] / size).astype(int)
    small = {name: arrays[name][:, at][:, :, at] for name in ("points", "valid")}
    for name in (*DESOBA, "ratio"):
        images = arrays[name].astype(np.float32) if name == "ratio" else arrays[name]
        reduced = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images]
        small[name] = np.stack(reduced).astype(arrays[name].dtype)
    return {**arrays, **small}


class Desoba(Sequence[ShadowTuple]):
    """A folder in DESOBAv2's layout; pictures are read when asked for.

    split: "train" or "test"; ``train.txt`` or ``test.txt`` lists its names. Pictures may lie in the folder itself or in
    a folder of the split's name. BOS is where the background has a shadow.
    Raises PenumbraError where a folder, the list or a picture is missing, naming it.
    """

    def __init__(self, folder: Path, split: str = "test") -> None:
        folder = Path(folder)
        self.root = folder / split if (folder / split / DESOBA["composite"]).is_dir() else folder
        absent = [name for name in DESOBA.values() if not (self.root / name).is_dir()]
        if absent:
            raise PenumbraError(f"{self.root} has no folder {absent[0]}.", "Name a folder in DESOBAv2's layout.")
        lists = [p for p in (folder / f"{split}.txt", self.root / f"{split}.txt") if p.is_file()]
        if lists:
            self.names = [line.strip() for line in lists[0].read_text("utf-8").splitlines() if line.strip()]
        else:
            self.names = sorted(p.name for p in (self.root / DESOBA["composite"]).iterdir() if p.suffix in _ENDINGS)
        if not self.names:
            raise PenumbraError(f"{self.root} holds no pictures.", "Name a folder in DESOBAv2's layout.")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> ShadowTuple:
        name = self.names[index]
        images = {ours: self._read(theirs, name, "img" in theirs) for ours, theirs in DESOBA.items()}
        size = images["composite"].shape[:2]
        for ours, image in images.items():
            if image.shape[:2] != size:
                raise PenumbraError(f"{DESOBA[ours]}/{name} is not of its composite's size.", "Check the data set.")
        bos = bool((images["background_shadow"] > 127).any())
        return ShadowTuple(name, **images, points=None, light=None, ratio=None, bos=bos)

    def _read(self, folder: str, name: str, colour: bool) -> np.ndarray:
        stem = self.root / folder / name
        candidates = [stem] if stem.suffix in _ENDINGS else []
        candidates += [stem.parent / (Path(name).stem + ending) for ending in _ENDINGS]
        for path in candidates:
            if path.is_file():
                image = cv2.imread(str(path), cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)
                if image is not None:
                    return np.ascontiguousarray(image[..., ::-1]) if colour else image
        raise PenumbraError(f"{stem} is missing or no image.", "Check the data set.")
