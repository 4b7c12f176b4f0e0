# SPDX-License-Identifier: GPL-3.0-or-later
"""A photograph as people and objects are looked for in it: upright, of bounded size, with its camera's focal length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL
from PIL import Image, ImageOps

from .images import read_image, srgb_encode
from .protocol import Camera, replacing
from .rays.camera import fov_from_lens, perspective

WORKING = 1280  # pixels of the longer side
_USUAL = 50 / 36  # longer sides: the focal length of Blender's own camera, for photographs that do not tell theirs
_DIAGONAL = 43.27  # millimetres, of the 35 mm frame that EXIF's equivalent focal length refers to
_ORIENTATION, _EXIF, _FOCAL_35MM = 0x0112, 0x8769, 0xA405
_TURNS = {3: 2, 6: 3, 8: 1}  # quarter turns to the left, by EXIF's orientation


@dataclass(frozen=True)
class Photograph:
    """picture: (H, W, 3) float32 linear Rec.709. focal: pixels; the axis meets the picture's centre.

    turns: quarter turns to the left that the file's picture was given; it is stored on its side where there are any.
    """

    picture: np.ndarray
    focal: float
    turns: int = 0

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


def read_photograph(path: Path) -> Photograph:
    """Read an image file, turned upright as its EXIF data say and at most WORKING pixels a side.

    Raises PenumbraError as `read_image` does.
    """
    picture = read_image(path)
    orientation, focal = 1, 0
    try:
        with Image.open(path) as file:
            facts = file.getexif()
            orientation = facts.get(_ORIENTATION, 1)
            focal = float(facts.get_ifd(_EXIF).get(_FOCAL_35MM, 0))
    except (OSError, ValueError, TypeError, PIL.UnidentifiedImageError):  # OpenEXR, Radiance, nonsense
        pass
    picture = np.rot90(picture, _TURNS.get(orientation, 0))
    scale = WORKING / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(np.ascontiguousarray(picture), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = picture.shape[:2]
    pixels = focal / _DIAGONAL * math.hypot(width, height) if focal > 0 else _USUAL * max(width, height)
    return Photograph(np.ascontiguousarray(picture), pixels, _TURNS.get(orientation, 0))


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
