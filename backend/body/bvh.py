# SPDX-License-Identifier: GPL-3.0-or-later
"""BVH files as they are: a skeleton of any kind and its rotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..protocol import PenumbraError


@dataclass(frozen=True)
class Bvh:
    """A BVH file: J joints without end sites, offsets (J, 3), root positions (F, 3), local rotations (F, J, 3, 3)."""

    names: list[str]
    parents: list[int]
    offsets: np.ndarray
    positions: np.ndarray
    rotations: np.ndarray
    fps: float


def load_bvh(path: Path) -> Bvh:
    """Read a BVH file. Raises PenumbraError where it is not one."""
    try:
        return _parse_bvh(Path(path).read_text("utf-8", "replace").split())
    except (ValueError, IndexError) as problem:
        raise PenumbraError(
            f"{Path(path).name} is not a BVH motion that can be read.", "Choose another file."
        ) from problem


def _parse_bvh(words: list[str]) -> Bvh:
    names, parents, offsets, channels = [], [], [], []
    stack: list[int] = []
    i = words.index("ROOT")
    while words[i] != "MOTION":
        word = words[i]
        if word in ("ROOT", "JOINT"):
            names.append(words[i + 1])
            parents.append(stack[-1] if stack else -1)
            stack.append(len(names) - 1)
            i += 3
        elif word == "End":  # "End Site { OFFSET x y z }"
            i = words.index("}", i) + 1
        elif word == "OFFSET":
            offsets.append([float(w) for w in words[i + 1 : i + 4]])
            i += 4
        elif word == "CHANNELS":
            count = int(words[i + 1])
            channels.append(words[i + 2 : i + 2 + count])
            i += 2 + count
        elif word == "}":
            stack.pop()
            i += 1
        else:
            raise ValueError(word)
    frames = int(words[words.index("Frames:", i) + 1])
    time = words.index("Time:", i)
    values = np.array(words[time + 2 :], np.float64).reshape(frames, -1)
    return _decode_channels(names, parents, np.array(offsets), channels, values, 1.0 / float(words[time + 1]))


def _decode_channels(
    names: list[str], parents: list[int], offsets: np.ndarray, channels: list[list[str]], values: np.ndarray, fps: float
) -> Bvh:
    rotations = np.empty((len(values), len(names), 3, 3))
    positions = np.tile(offsets[0], (len(values), 1))
    column = 0
    for joint, kinds in enumerate(channels):
        axes, angles = "", []
        for kind in kinds:
            if kind.endswith("position"):
                if joint == 0:
                    positions[:, "XYZ".index(kind[0])] = values[:, column]
            else:
                axes += kind[0]
                angles.append(values[:, column])
            column += 1
        rotations[:, joint] = Rotation.from_euler(axes, np.stack(angles, 1), degrees=True).as_matrix()
    if column != values.shape[1]:
        raise ValueError("wrong number of channels")
    return Bvh(names, parents, offsets, positions, rotations, fps)
