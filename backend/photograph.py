# SPDX-License-Identifier: GPL-3.0-or-later
"""A photograph as people and objects are looked for in it: upright, of bounded size, with its camera's focal length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
from PIL import Image, ImageOps

from .images import read_image, srgb_encode
from .protocol import Camera, replacing
from .rays.camera import fov_from_lens, perspective

WORKING = 1280  # pixels of the longer side
USUAL = 50 / 36  # longer sides: the focal length of Blender's own camera, for photographs that do not tell theirs
_DIAGONAL = 43.27  # millimetres, of the 35 mm frame that EXIF's equivalent focal length refers to
_ORIENTATION, _EXIF, _FOCAL_35MM, _FOCAL = 0x0112, 0x8769, 0xA405, 0x920A
_PIXELS, _RESOLUTION, _RESOLUTION_UNIT = (0xA002, 0xA003), (0xA20E, 0xA20F), 0xA210  # of the sensor's plane
_UNITS = {2: 25.4, 3: 10.0, 4: 1.0}  # millimetres, by EXIF's unit of resolution
_SENSORS, _LENSES = (3.0, 90.0), (5.0, 3000.0)  # millimetres: diagonals and equivalent lengths that can be true
_TURNS = {3: 2, 6: 3, 8: 1}  # quarter turns to the left, by EXIF's orientation


@dataclass(frozen=True)
class Photograph:
    """picture: (H, W, 3) float32 linear Rec.709. focal: pixels; the axis meets the picture's centre.

    turns: quarter turns to the left that the file's picture was given; it is stored on its side where there are any.
    lens: millimetres, the equivalent focal length on 35 mm film that its EXIF data tell; 0 where they tell none, or
    another one was given.
    """

    picture: np.ndarray
    focal: float
    turns: int = 0
    lens: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)"""
        height, width = self.picture.shape[:2]
        return width, height

    @property
    def encoded(self) -> np.ndarray:
        """(H, W, 3) uint8 sRGB."""
        return np.round(srgb_encode(self.picture.clip(0, 1)) * 255).astype(np.uint8)

    @property
    def camera(self) -> Camera:
        return perspective(*self.size, fov_from_lens(self.focal, max(self.size)))


def read_photograph(path: Path, focal: float = 0.0) -> Photograph:
    """Read an image file, turned upright as its EXIF data say and at most WORKING pixels a side.

    focal: focal length in the picture's longer sides; 0 takes that of its EXIF data, else that of Blender's own camera.
    Raises PenumbraError as `read_image` does.
    """
    picture = read_image(path)
    turns, lens = 0, 0.0
    try:
        with Image.open(path) as file:
            facts = file.getexif()
            turns = _TURNS.get(facts.get(_ORIENTATION, 1), 0)
            lens = 0.0 if focal else _equivalent(facts.get_ifd(_EXIF), file.size)
    except (OSError, ValueError, TypeError, ZeroDivisionError, PIL.UnidentifiedImageError):  # OpenEXR, nonsense
        pass
    picture = bounded(np.rot90(picture, turns))
    height, width = picture.shape[:2]
    pixels = lens / _DIAGONAL * math.hypot(width, height) if lens else (focal or USUAL) * max(width, height)
    return Photograph(picture, pixels, turns, lens)


def bounded(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) at most WORKING pixels a side."""
    scale = WORKING / max(picture.shape[:2])
    picture = np.ascontiguousarray(picture)
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture


def focal_notice(lens: float) -> tuple[str, ...]:
    """What the artist is told of the focal length: that it is the photograph's own, where `Photograph.lens` is one."""
    return (f"The focal length is the photograph's own: {lens:.0f} mm on 35 mm film.",) if lens else ()


def _equivalent(facts: dict[int, Any], size: tuple[int, int]) -> float:
    """Millimetres on 35 mm film, of the same diagonal angle; 0 where EXIF's facts do not tell, or tell nonsense.

    CIPA DC-008 (EXIF 3.0), FocalLengthIn35mmFilm; else FocalLength, on the sensor that FocalPlaneResolution gives.
    size: (width, height) of the file in pixels, for those that do not tell their own.
    """
    lens = float(facts.get(_FOCAL_35MM, 0))
    if not lens and all(tag in facts for tag in (_FOCAL, *_RESOLUTION)):
        unit = _UNITS.get(int(facts.get(_RESOLUTION_UNIT, 2)), 0.0)
        pixels = [float(facts.get(tag, side)) for tag, side in zip(_PIXELS, size, strict=True)]
        diagonal = math.hypot(*(n / float(facts[tag]) * unit for n, tag in zip(pixels, _RESOLUTION, strict=True)))
        if _SENSORS[0] <= diagonal <= _SENSORS[1]:
            lens = float(facts[_FOCAL]) * _DIAGONAL / diagonal
    return lens if _LENSES[0] <= lens <= _LENSES[1] else 0.0


def upright_copy(photograph: Photograph, path: Path, folder: Path) -> str:
    """The name of an upright ``.png`` of a photograph's file in `folder`; empty where the file is upright itself."""
    if not photograph.turns:
        return ""
    write_upright(path, folder / "upright.png")
    return "upright.png"


def write_upright(path: Path, target: Path) -> None:
    """Write an image file that is stored on its side as an upright ``.png`` of the same size."""
    with Image.open(path) as file, replacing(target) as temporary:
        upright = ImageOps.exif_transpose(file)
        (upright if upright.mode.startswith("I") else upright.convert("RGB")).save(temporary)
