# SPDX-License-Identifier: GPL-3.0-or-later
"""The gloss that Blender has rendered under the light that was found, as an image of a frame's result."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ..images import read_exr, write_exr
from ..protocol import Frame, FrameResult, PenumbraError


def with_gloss(folder: Path, frame: Frame, result: FrameResult) -> FrameResult:
    """Write ``gloss_0001.exr``, linear RGB radiance that is not premultiplied; returns the result with its name.

    Cycles divides its glossy light by the glossy colour, which alone carries the coverage. Raises PenumbraError where
    a pass is missing.
    """
    channels = read_exr(folder / frame.gloss)

    def read(key: str, components: str = "RGB") -> np.ndarray:
        names = [f"{frame.pass_names.get(key)}.{c}" for c in components]
        if absent := [name for name in names if name not in channels]:
            raise PenumbraError(f"The render of the gloss has no pass {absent[0]}.", "Run Harmonize Shading again.")
        return np.stack([channels[name] for name in names], -1)

    alpha = np.clip(read("gloss_alpha", "A"), 0, 1)
    light = np.maximum(read("gloss_direct") + read("gloss_indirect"), 0)
    gloss = np.where(alpha > 0, light * read("gloss_color") / np.maximum(alpha, 1e-6), 0)
    name = f"gloss_{frame.number:04d}.exr"
    write_exr(folder / name, gloss.astype(np.float32))
    return dataclasses.replace(result, gloss=name)
