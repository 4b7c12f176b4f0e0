# SPDX-License-Identifier: GPL-3.0-or-later
"""A frame's result as one multilayer EXR, as Nuke, Fusion and Blender read it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from .images import read_exr, write_exr
from .protocol import FrameResult, HarmonizeResult


def with_layers(folder: Path, result: HarmonizeResult) -> HarmonizeResult:
    """Write ``penumbra_0001.exr`` … into the job folder; returns the result with their names."""
    return dataclasses.replace(
        result, frames=tuple(dataclasses.replace(frame, multilayer=write(folder, frame)) for frame in result.frames)
    )


def write(folder: Path, frame: FrameResult) -> str:
    """Write one frame's layers and return the file's name.

    R, G, B, A: the harmonized character, premultiplied; matte.A: its coverage; albedo.RGB, shading.RGB, shadow.RGB,
    occlusion.Y, and gloss.RGB where there is one, as `protocol.FrameResult` has them. Of several characters also
    NAME_matte.A and NAME_shadow.RGB, in whose names what compositors do not read is an underscore. Scene-linear
    Rec.709, whole frame.
    """
    albedo, shading, shadow = (read_exr(folder / name) for name in (frame.albedo, frame.shading, frame.shadow))
    matte = albedo["A"]
    gloss = read_exr(folder / frame.gloss) if frame.gloss else None
    channels = {n: (albedo[n] * shading[n] + (gloss[n] if gloss else 0)) * matte for n in "RGB"}
    channels |= {"A": matte, "matte.A": matte, "occlusion.Y": read_exr(folder / frame.occlusion)["Y"]}
    layers = {"albedo": albedo, "shading": shading, "shadow": shadow, **({"gloss": gloss} if gloss else {})}
    for name, matte_file in frame.mattes.items():
        layer = re.sub(r"\W", "_", name, flags=re.ASCII)
        channels[f"{layer}_matte.A"] = read_exr(folder / matte_file)["Y"]
        layers[f"{layer}_shadow"] = read_exr(folder / frame.shadows[name])
    for layer, image in layers.items():
        channels |= {f"{layer}.{name}": image[name] for name in "RGB"}
    name = f"penumbra_{frame.number:04d}.exr"
    write_exr(folder / name, channels)
    return name
