# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of the public data sets that JOF uses, for those who have them: ShapeNet as 3D-R2N2 renders and splits it,
Pascal3D+, and Pix3D. Nothing of them is shipped or needed.

Axes are brought to object space (x right, y up, +z the front): ShapeNet has its front at −z, Pascal3D+ has z up and its
front at −y. Where the other two sets count their cameras' azimuths from is not published plainly; they tell none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import scipy.io

from ..protocol import PenumbraError
from .views import CROP, frame

# WordNet synsets of the 13 categories, by the names used here.
SYNSETS = {
    "02691156": "airplane",
    "02828884": "bench",
    "02933112": "cabinet",
    "02958343": "car",
    "03001627": "chair",
    "03211117": "monitor",
    "03636649": "lamp",
    "03691459": "speaker",
    "04090263": "firearm",
    "04256520": "couch",
    "04379243": "table",
    "04401088": "cellphone",
    "04530566": "watercraft",
}
PASCAL = {"aeroplane": "airplane", "car": "car", "chair": "chair", "diningtable": "table", "sofa": "couch"}
PIX3D = {"chair": "chair", "sofa": "couch", "table": "table"}
TRAINED = 0.8  # of each category's models in alphabetical order: 3D-R2N2's split


@dataclass(frozen=True)
class Example:
    """A picture of an object, and what is known of it.

    picture: an image file; its alpha is the silhouette where mask is None and there is one. mask: a file.
    box: (left, top, right, bottom) pixels around the object, or None for the silhouette's.
    azimuth, elevation: radians, where the camera stands about the object, or None.
    model: a file of the true shape, or None: .binvox for ShapeNet, .off for Pascal3D+, .obj for Pix3D.
    """

    name: str
    category: str
    picture: Path
    mask: Path | None = None
    box: tuple[float, float, float, float] | None = None
    azimuth: float | None = None
    elevation: float | None = None
    model: Path | None = None


def shapenet(root: Path, split: str) -> Iterator[Example]:
    """``ShapeNetRendering/<synset>/<model>/rendering/NN.png`` beside ``ShapeNetVox32/<synset>/<model>/model.binvox``.

    split: "train" or "test". Raises PenumbraError where the folder has another layout.
    """
    folder = _folder(root / "ShapeNetRendering")
    for synset, category in SYNSETS.items():
        models = sorted(path for path in (folder / synset).glob("*") if (path / "rendering").is_dir())
        border = int(len(models) * TRAINED)
        for model in models[:border] if split == "train" else models[border:]:
            voxels = root / "ShapeNetVox32" / synset / model.name / "model.binvox"
            for picture in sorted((model / "rendering").glob("*.png")):
                name = f"{synset}/{model.name}/{picture.stem}"
                yield Example(name, category, picture, model=voxels if voxels.exists() else None)


def pascal3d(root: Path, split: str) -> Iterator[Example]:
    """Whole, unoccluded objects of the ImageNet part of Pascal3D+, with the five categories of JOF.

    ``Annotations/<class>_imagenet/<name>.mat``, ``Images/…/<name>.JPEG``, ``CAD/<class>/NN.off`` and
    ``Image_sets/<class>_imagenet_<split>.txt``; masks are looked for in ``Masks/<class>_imagenet/<name>.png``, as the
    data set has none of its own. split: "train" or "val". Raises PenumbraError where the folder has another layout.
    """
    _folder(root / "Annotations")
    for pascal, category in PASCAL.items():
        listed = root / "Image_sets" / f"{pascal}_imagenet_{split}.txt"
        for name in listed.read_text("utf-8").split() if listed.exists() else []:
            part = f"{pascal}_imagenet"
            record = scipy.io.loadmat(root / "Annotations" / part / f"{name}.mat", simplify_cells=True)["record"]
            things = record["objects"]
            for thing in [things] if isinstance(things, dict) else things:  # a single one is no list
                if thing["class"] != pascal or thing["occluded"] or thing["truncated"] or thing["difficult"]:
                    continue
                view, mask = thing["viewpoint"], root / "Masks" / part / f"{name}.png"
                yield Example(
                    f"{part}/{name}",
                    category,
                    root / "Images" / part / f"{name}.JPEG",
                    mask if mask.exists() else None,
                    tuple(float(x) for x in thing["bbox"]),
                    _wrapped(np.radians(float(view["azimuth"]))),
                    float(np.radians(float(view["elevation"]))),
                    root / "CAD" / pascal / f"{int(thing['cad_index']):02}.off",
                )


def pix3d(root: Path) -> Iterator[Example]:
    """``pix3d.json`` and what it names: whole objects of JOF's three categories.

    Raises PenumbraError where the file is missing.
    """
    listing = root / "pix3d.json"
    if not listing.is_file():
        raise PenumbraError(f"There is no pix3d.json in {root}.", "Give the folder that Pix3D was unpacked into.")
    for entry in json.loads(listing.read_text("utf-8")):
        if entry["category"] not in PIX3D or entry["truncated"] or entry["occluded"] or entry["slightly_occluded"]:
            continue
        yield Example(
            entry["img"],
            PIX3D[entry["category"]],
            root / entry["img"],
            root / entry["mask"],
            tuple(float(v) for v in entry["bbox"]),
            model=root / entry["model"],
        )


def crop(example: Example) -> tuple[np.ndarray, np.ndarray]:
    """(CROP, CROP, 3) uint8 display-encoded RGB and (CROP, CROP) uint8 silhouette: what training and use look at.

    Raises PenumbraError where the picture cannot be read, or has no silhouette.
    """
    image = cv2.imread(str(example.picture), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise PenumbraError(f"{example.picture.name} is not a readable image.", "Check the data set's folder.")
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    mask = image[..., 3] if image.shape[2] == 4 else None
    if example.mask is not None:
        mask = cv2.imread(str(example.mask), cv2.IMREAD_GRAYSCALE)
    if mask is None or mask.max() < 128:
        raise PenumbraError(f"{example.picture.name} has no silhouette.", "Put a mask beside it.")
    return cut_out(image[..., 2::-1], mask)[:2]


def cut_out(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A picture (H, W, 3) uint8 RGB with an object's silhouette (H, W) uint8, cropped as the encoder sees it.

    Returns (CROP, CROP, 3) and (CROP, CROP) uint8, and the square's middle (2,) and half its side, in pixels.
    """
    rows, columns = np.nonzero(mask >= 128)
    edges = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]], float)
    middle, half = frame(edges)
    scale = CROP / (2 * half)
    # OpenCV counts from pixel centres: the crop's left edge is at -0.5.
    shift = scale * (half - middle + 0.5) - 0.5
    place = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    rgb, silhouette = (
        cv2.warpAffine(_softened(x, scale), place, (CROP, CROP), flags=way, borderMode=border)
        for x, border in ((image, cv2.BORDER_REPLICATE), (mask, cv2.BORDER_CONSTANT))
    )
    return rgb, silhouette, middle, half


def read_binvox(path: Path) -> np.ndarray:
    """(N, N, N) bool of a .binvox file, [x, y, z] in object space. Raises PenumbraError for another file."""
    header, _, body = path.read_bytes().partition(b"data\n")
    lines = header.decode("ascii", "replace").splitlines()
    sizes = [line.split()[1:] for line in lines if line.startswith("dim")]
    if not lines or not lines[0].startswith("#binvox") or not sizes:
        raise PenumbraError(
            f"{path.name} is not a voxel file.", "Give the folder that ShapeNetVox32 was unpacked into."
        )
    runs = np.frombuffer(body, np.uint8).reshape(-1, 2)
    grid = np.repeat(runs[:, 0] > 0, runs[:, 1]).reshape([int(n) for n in sizes[0]])
    return np.ascontiguousarray(grid.transpose(0, 2, 1)[::-1, :, ::-1])  # x, z, y in the file; the front from -z to +z


def _softened(image: np.ndarray, scale: float) -> np.ndarray:
    """Blurred for being made smaller."""
    image = np.ascontiguousarray(image)
    return cv2.GaussianBlur(image, (0, 0), 0.4 / scale) if scale < 0.8 else image


def _wrapped(angle: float) -> float:
    """An angle in [-π, π)."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise PenumbraError(f"There is no folder {path}.", "Give the folder that the data set was unpacked into.")
    return path
