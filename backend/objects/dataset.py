# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads shards of objects (``scripts/make_dataset.py object``) into memory, and makes batches of the three stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ..images import srgb_decode
from ..protocol import PenumbraError
from .symmetry import symmetries
from .voxels import NEAR, POINTS, centres, pyramid, sample

_DECODED = srgb_decode(np.arange(256) / 255.0)  # display levels → linear
_NOISE = np.random.default_rng(0).standard_normal(1 << 20, np.float32)  # drawing it anew takes longer than all else


class PointBatch(NamedTuple):
    """Stage 1. index: (B,) of the shapes; the rest as `losses.stage1` has it; voxels: (B, 4, S, S, S) or None."""

    index: Tensor
    points: Tensor
    occupied: Tensor
    colour: Tensor
    coloured: Tensor
    label: Tensor
    voxels: Tensor | None


class PictureBatch(NamedTuple):
    """Stages 2 and 3. picture: (B, 4, S, S) display-encoded, cut out by the mask, and the mask. linear: (B, S, S, 3).
    mask: (B, S, S). index: (B,) of the shapes; label: (B,) categories; matrix: (B, 3, 4) or None; light: (B, 9, 3) or
    None; alike: (B, TURNS) bool, `symmetry.symmetries` of the shapes, or None; points: of the shapes, or None."""

    picture: Tensor
    linear: Tensor
    mask: Tensor
    index: Tensor
    label: Tensor
    matrix: Tensor | None
    light: Tensor | None
    alike: Tensor | None = None
    points: PointBatch | None = None


@dataclass(frozen=True)
class Points:
    """One shape's training points of one resolution: indices (K, 3) uint8, and what `piece_grid` says there (K,)."""

    index: np.ndarray
    value: np.ndarray


class ObjectData:
    """Shapes of one or more folders of shards, in order. Raises PenumbraError where a folder has none."""

    def __init__(self, folders: list[Path], categories: tuple[str, ...] = ()) -> None:
        """categories: takes those shapes alone; () takes all."""
        paths = [path for folder in folders for path in sorted(Path(folder).glob("shard_*.npz"))]
        if not paths:
            raise PenumbraError(
                f"There are no shards in {', '.join(str(f) for f in folders)}.",
                "Make them with make_dataset.py object.",
            )
        self._shapes: list[dict] = [shape for path in paths for shape in _shapes_of(path, categories)]
        if not self._shapes:
            raise PenumbraError("The shards hold no shape of these categories.", "Choose others.")
        self.category = [str(s["category"]) for s in self._shapes]
        self.seed = [int(s["seed"]) for s in self._shapes]
        self._points: dict[tuple[int, int], Points] = {}
        self._symmetries: dict[int, np.ndarray] = {}
        self._voxels: dict[tuple[int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._shapes)

    @property
    def names(self) -> list[str]:
        """What tells the shapes, in order."""
        return [f"{category} {seed}" for category, seed in zip(self.category, self.seed, strict=True)]

    @property
    def pictures(self) -> np.ndarray:
        """(K, 2) shape and view of all pictures."""
        return np.array([(row, view) for row, s in enumerate(self._shapes) for view in range(len(s["pictures"]))])

    @property
    def has_shapes(self) -> bool:
        """Whether grids, light and projections are there to learn from."""
        return all("grid" in s for s in self._shapes)

    def matrices(self) -> np.ndarray:
        """(N·V, 3, 4) of all pictures."""
        return np.concatenate([s["matrix"] for s in self._shapes])

    def grid(self, index: int) -> np.ndarray:
        """(64, 64, 64) uint8, as `voxels.piece_grid` makes it."""
        packed, shape = self._shapes[index]["grid"], (64, 64, 64)
        return np.frombuffer(cv2.imdecode(packed, cv2.IMREAD_UNCHANGED), np.uint8).reshape(shape)

    def albedo(self, index: int) -> np.ndarray:
        """(16, 3) linear albedo of the shape's pieces."""
        return self._shapes[index]["albedo"]

    def labels(self, index: int) -> np.ndarray:
        """(16,) number of each piece's part name, for evaluation; -1 where there is no piece."""
        return self._shapes[index]["label"]

    def symmetries(self, index: int) -> np.ndarray:
        """(TURNS,) bool, `symmetry.symmetries` of the shape, found on first use."""
        if index not in self._symmetries:
            self._symmetries[index] = symmetries(self.grid(index), self.albedo(index))
        return self._symmetries[index]

    def voxels(self, index: int, side: int) -> np.ndarray:
        """(4, side, side, side) float32 in [0, 1]: its `coloured_voxels`, made on first use, kept in 8 bits."""
        if (index, side) not in self._voxels:
            voxels = coloured_voxels(self.grid(index), self.albedo(index), side)
            self._voxels[index, side] = np.round(voxels * 255).astype(np.uint8)
        return self._voxels[index, side].astype(np.float32) / 255

    def points(self, index: int, side: int) -> Points:
        """A shape's points, drawn on first use and kept: the public code draws them once, too."""
        if (index, side) not in self._points:
            grid = self.grid(index)
            levels = pyramid((grid > 0) & (grid < NEAR))
            where = sample(levels[side], np.random.default_rng([index, side]))
            self._points[index, side] = Points(where, _values(grid, side)[tuple(where.T)])
        return self._points[index, side]

    def picture(self, index: int, view: int) -> tuple[np.ndarray, np.ndarray]:
        """(S, S, 3) uint8 display-encoded RGB, and (S, S) uint8 mask."""
        shape = self._shapes[index]
        rgb = cv2.imdecode(shape["pictures"][view], cv2.IMREAD_COLOR)[..., ::-1]
        return rgb, cv2.imdecode(shape["masks"][view], cv2.IMREAD_GRAYSCALE)

    def matrix(self, index: int, view: int) -> np.ndarray | None:
        matrices = self._shapes[index].get("matrix")
        return None if matrices is None else matrices[view]

    def light(self, index: int, view: int) -> np.ndarray | None:
        lights = self._shapes[index].get("light")
        return None if lights is None else lights[view]


def moved(batch: NamedTuple, device: torch.device) -> Any:
    """A batch with all its tensors on a device."""
    return type(batch)(*(x if x is None else moved(x, device) if isinstance(x, tuple) else x.to(device) for x in batch))


def point_batch(
    data: ObjectData,
    rows: np.ndarray,
    side: int,
    count: int,
    numbers: dict[str, int],
    random: np.random.Generator,
    voxel_side: int = 0,
) -> PointBatch:
    """Points of some shapes. count: at most, of each shape. numbers: category → its number. voxel_side: 0 for none."""
    at, values = [], []
    for row in rows:
        points = data.points(int(row), side)
        chosen = random.integers(POINTS[side], size=count) if count < POINTS[side] else slice(None)
        at.append(centres(points.index[chosen], side))
        values.append(points.value[chosen])
    value = np.stack(values)
    colours = np.stack([data.albedo(int(row)) for row in rows])
    piece = np.where(value > 0, (value % NEAR).astype(int) - 1, 0)
    voxels = None
    if voxel_side:
        voxels = torch.from_numpy(np.stack([data.voxels(int(row), voxel_side) for row in rows]))
    return PointBatch(
        torch.from_numpy(np.asarray(rows, np.int64)),
        torch.from_numpy(np.stack(at)),
        torch.from_numpy(((value > 0) & (value < NEAR)).astype(np.float32)),
        torch.from_numpy(np.take_along_axis(colours, piece[..., None], 1)),
        torch.from_numpy(value > 0),
        torch.tensor([numbers[data.category[int(row)]] for row in rows]),
        voxels,
    )


def coloured_voxels(grid: np.ndarray, albedo: np.ndarray, side: int) -> np.ndarray:
    """(4, side, side, side) float32: the input V of the voxel encoder, and what is occupied, as albedo may be black.

    side: that of the grid, halved any number of times.
    """
    colours = np.zeros((256, 4), np.float32)
    colours[1 : 1 + len(albedo)] = np.pad(albedo, ((0, 0), (0, 1)), constant_values=1)
    voxels = colours[grid]
    while len(voxels) > side:
        voxels = voxels[::2] + voxels[1::2]
        voxels = voxels[:, ::2] + voxels[:, 1::2]
        voxels = (voxels[:, :, ::2] + voxels[:, :, 1::2]) / 8
    return np.ascontiguousarray(np.moveaxis(voxels, -1, 0))


def picture_batch(
    data: ObjectData,
    pairs: list[tuple[int, int]],
    numbers: dict[str, int],
    random: np.random.Generator | None = None,
    sees_mask: bool = True,
) -> PictureBatch:
    """Pictures of (shape, view) pairs. random: roughens the mask and the exposure that the encoder sees."""
    inputs, linears, masks = [], [], []
    for index, view in pairs:
        rgb, mask = data.picture(index, view)
        seen, cut = (rgb, mask) if random is None else roughened(rgb, mask, random)
        inputs.append(encoder_input(seen, cut, sees_mask))
        linears.append(_DECODED[rgb])
        masks.append(mask.astype(np.float32) / 255)
    rows = [index for index, _ in pairs]
    optional = []
    for get in (data.matrix, data.light):
        found = [get(index, view) for index, view in pairs]
        optional.append(None if any(f is None for f in found) else torch.from_numpy(np.stack(found)))
    return PictureBatch(
        torch.from_numpy(np.stack(inputs)),
        torch.from_numpy(np.stack(linears)),
        torch.from_numpy(np.stack(masks)),
        torch.tensor(rows),
        torch.tensor([numbers[data.category[row]] for row in rows]),
        *optional,
    )


def encoder_input(rgb: np.ndarray, mask: np.ndarray, sees_mask: bool = True) -> np.ndarray:
    """What E sees of an 8-bit crop (S, S, 3) and its 8-bit mask (S, S): (4, S, S) float32, or (3, S, S)."""
    picture = np.moveaxis(rgb.astype(np.float32) / 255, -1, 0)
    if not sees_mask:
        return np.ascontiguousarray(picture)
    alpha = mask.astype(np.float32)[None] / 255
    return np.ascontiguousarray(np.concatenate([picture * alpha, alpha]))  # else channels lie last, and E is slow


def roughened(rgb: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A mask as artists and GrabCut make it, and a picture of another exposure, tint and sharpness."""
    if random.random() < 0.5:
        kernel = np.ones((3, 3), np.uint8)
        mask = (cv2.dilate if random.random() < 0.5 else cv2.erode)(mask, kernel)
    seen = rgb.astype(np.float32) * np.exp(random.normal(0, 0.12) + random.normal(0, 0.03, 3)).astype(np.float32)
    if random.random() < 0.3:
        seen = cv2.GaussianBlur(seen, (0, 0), random.uniform(0.3, 1.0))
    first = random.integers(len(_NOISE) - seen.size)
    seen += _NOISE[first : first + seen.size].reshape(seen.shape) * np.float32(random.uniform(0, 5))
    return np.clip(seen, 0, 255).astype(np.uint8), mask


def _values(grid: np.ndarray, side: int) -> np.ndarray:
    """`piece_grid` at a coarser side: the greatest inside piece of a block, else a touching one, else 0."""
    step = len(grid) // side
    blocks = grid.reshape(side, step, side, step, side, step)
    inside = np.where(blocks < NEAR, blocks, 0).max((1, 3, 5))
    return np.where(inside > 0, inside, blocks.max((1, 3, 5)))


def _shapes_of(path: Path, categories: tuple[str, ...]) -> list[dict]:
    """The shapes of one shard, with grids packed as PNG: they are mostly empty, and memory is dear."""
    with np.load(path, allow_pickle=False) as shard:
        arrays = {name: shard[name] for name in shard.files}
    count = len(arrays["seed"])
    files = {name: _parted(arrays.pop(name), arrays.pop(f"{name}_size")) for name in ("picture", "mask")}
    shapes = []
    for i in range(count):
        if categories and str(arrays["category"][i]) not in categories:
            continue
        shape = {name: array[i] for name, array in arrays.items()}
        shape |= {"pictures": files["picture"][i], "masks": files["mask"][i]}
        if "grid" in shape:
            shape["grid"] = cv2.imencode(".png", shape["grid"].reshape(512, 512))[1].ravel()
        shapes.append(shape)
    return shapes


def _parted(stream: np.ndarray, sizes: np.ndarray) -> list[list[np.ndarray]]:
    """A stream of files by shape and view."""
    ends = np.cumsum(sizes.ravel()).reshape(sizes.shape)
    return [[stream[e - s : e].copy() for e, s in zip(*row, strict=True)] for row in zip(ends, sizes, strict=True)]
