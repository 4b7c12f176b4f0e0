# SPDX-License-Identifier: GPL-3.0-or-later
"""The data sets' tier "plates" in memory, for those who read light: photographs as an overview sees them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..protocol import PenumbraError
from ..rays.directions import MIRRORED as MIRRORED_CELLS
from ..rays.directions import SOLID_ANGLES, cell_shares
from ..splits import of_test_places
from . import overview
from .dataset import another_gain, exposed_plate, read_arrays, reading, shards
from .light_code import MIRRORED, facing_shading
from .panorama import LUMINANCE


class Lesson(NamedTuple):
    """Plates as an overview sees them, and the light they were taken in: camera space, at the plates' exposure."""

    features: Tensor  # (B, 4096), `overview.features`
    facing: Tensor  # (B, 6, 3), as `light_code.light_code` takes it
    cells: Tensor  # (B, 62, 3) radiance of the cells, with the weaker sun in them
    sun: Tensor  # (B, 6) direction and irradiance of the stronger sun; 0 where there is none

    def to(self, device: torch.device) -> Self:
        return type(self)(*(t.to(device, non_blocking=True).float() for t in self))

    def at(self, chosen: Tensor | slice) -> Self:
        return type(self)(*(t[chosen] for t in self))

    def mirrored(self) -> Self:
        """The same plates in a mirror that changes the sign of x."""
        turn = self.sun.new_tensor([-1.0, 1, 1, 1, 1, 1])
        facing, cells = self.facing[:, list(MIRRORED)], self.cells[:, list(MIRRORED_CELLS)]
        return type(self)(overview.mirrored(self.features), facing, cells, self.sun * turn)


class PlateData:
    """All plates of some folders as one lesson, their features counted once, in float16."""

    def __init__(self, folders: list[Path], seed: int = 0) -> None:
        """Every plate is exposed anew, as the frames are; those of test places (`splits.TEST_PLACES`) are left out, and
        counted in `left_out`. Raises PenumbraError where there is no shard.
        """
        random, parts = np.random.default_rng([seed, 8]), []
        self._counts: Counter[Path] = Counter()  # plates of each folder, in their order
        self.left_out = 0
        for path in tqdm(shards(folders), desc="Looking at plates", unit="shard"):
            with reading(path):
                arrays = read_arrays(path)
                kept = np.array([not of_test_places(str(light)) for light in arrays["light"]], bool)
                self.left_out += int((~kept).sum())
                if kept.any():
                    parts.append(_lesson({name: values[kept] for name, values in arrays.items()}, random))
                    self._counts[path.parent] += int(kept.sum())
        if not parts:
            raise PenumbraError("There are only plates of test places to learn from.", "Make others.")
        self.all = Lesson(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

    def hold_out(self, share: float) -> Lesson:
        """Take away the last plates of every folder, and return them: neighbours show the same light."""
        kept = torch.cat([torch.arange(count) < round((1 - share) * count) for count in self._counts.values()])
        held_out, self.all = self.all.at(~kept), self.all.at(kept)
        return held_out

    def draw(self, random: np.random.Generator, count: int) -> Lesson:
        """Random plates, every other one mirrored."""
        drawn = self.all.at(torch.from_numpy(random.integers(len(self.all.features), size=count)))
        drawn = drawn._replace(features=drawn.features.float())
        halves = zip(drawn.at(slice(count // 2)), drawn.at(slice(count // 2, None)).mirrored(), strict=True)
        return Lesson(*(torch.cat(pair) for pair in halves))


def _lesson(arrays: dict[str, np.ndarray], random: np.random.Generator) -> Lesson:
    """arrays: of one shard; see `plates.shard`."""
    gains = np.stack([another_gain(random) for _ in arrays["plate"]])
    plates = torch.from_numpy(np.stack([_exposed(p, g) for p, g in zip(arrays["plate"], gains, strict=True)]))
    cells = arrays["radiance"].astype(np.float32) * gains[:, None]
    suns = arrays["suns"].astype(np.float32)
    suns[:, :, 3:6] *= gains[:, None]
    facing = facing_shading(cells, suns).astype(np.float32)
    strongest = (suns[:, :, 3:6] @ LUMINANCE).argmax(1)[:, None, None]
    sun, weaker = (np.take_along_axis(suns, k, 1)[:, 0, :6] for k in (strongest, 1 - strongest))
    shares = cell_shares(weaker[:, :3]) / SOLID_ANGLES  # what is no sun has no irradiance
    cells += np.pi * shares[:, :, None] * weaker[:, None, 3:6]
    features = overview.features(plates.permute(0, 3, 1, 2)).half()
    return Lesson(features, *(torch.from_numpy(a.astype(np.float32)) for a in (facing, cells, sun)))


def _exposed(plate: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """(128, 128, 3) float32 display-encoded, of an 8-bit plate: each of its codes is exposed once."""
    codes = exposed_plate(np.repeat(np.arange(256, dtype=np.float32)[:, None] / 255, 3, 1), gain)
    return np.stack([codes[:, c][plate[..., c]] for c in range(3)], -1)
