# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist sees of the shading before the job has ended: a small picture of the character on its plate.

It is first made of the light alone, as nothing is traced by then, and again of each finished frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..images import srgb_encode
from ..protocol import replacing
from .crop import Box, crop, crop_box, crop_normals
from .probe import LightProbe
from .views import View

SIDE = 256  # pixels
NAME = "preview.npy"  # (SIDE, SIDE, 4) uint8, sRGB-encoded RGBA, row 0 on top; 0 outside the frame

Show = Callable[[str], None]


class Preview:
    """Writes the picture into the job's folder, and tells its name to `show`; without `show` it does nothing."""

    def __init__(self, folder: Path, show: Show | None) -> None:
        self._folder, self._show = folder, show

    def begun(self, view: View, light: LightProbe) -> None:
        """The view in a light that nothing hides yet."""
        if self._show and (part := _Part.of(view)):
            normals = crop_normals(part.thinned(view.passes.normal), part.box, part.alpha, SIDE)
            nothing_hides = np.broadcast_to(True, (*normals.shape[:2], len(light.radiance)))
            self._tell(self._show, part.picture(view, light.shade(nothing_hides, normals)))

    def finished(self, view: View, valid: np.ndarray, shading: np.ndarray, shadow: np.ndarray | None = None) -> None:
        """The view as it is rendered: shading (N, 3) of the `valid` (H, W) pixels, shadow (H, W, 3) once it is cast."""
        if self._show and (part := _Part.of(view)):
            known = part.thinned(valid)
            image = np.zeros((*known.shape, 3), np.float32)
            image[known] = shading[part.thinned(np.cumsum(valid).reshape(valid.shape))[known] - 1]
            smaller = crop(image, part.box, part.alpha * known, SIDE)
            self._tell(self._show, part.picture(view, smaller, 1 if shadow is None else part.small(shadow)))

    def _tell(self, show: Show, picture: np.ndarray) -> None:
        with replacing(self._folder / NAME) as temporary, temporary.open("wb") as file:
            np.save(file, picture)
        show(NAME)


@dataclass(frozen=True)
class _Part:
    """The character's part of a frame of which every `step`-th pixel is looked at: the picture is small."""

    step: int
    box: Box
    alpha: np.ndarray

    @classmethod
    def of(cls, view: View) -> _Part | None:
        box = crop_box(view.passes.alpha)
        if box is None:
            return None
        step = max(1, (box[2] - box[0]) // (2 * SIDE))
        left, top, right, bottom = (edge // step for edge in box)
        return cls(step, (left, top, right, bottom), view.passes.alpha[::step, ::step])

    def thinned(self, image: np.ndarray) -> np.ndarray:
        return image[:: self.step, :: self.step]

    def small(self, image: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        return crop(self.thinned(image), self.box, weight, SIDE)

    def picture(self, view: View, shading: np.ndarray, shadow: np.ndarray | int = 1) -> np.ndarray:
        """(SIDE, SIDE, 4) uint8 of plate × shadow, over it albedo × shading."""
        cover = crop(self.alpha, self.box, size=SIDE)[..., None]
        ground = self.small(view.plate) * shadow
        figure = self.small(view.passes.albedo, self.alpha) * shading
        inside = crop(np.ones_like(self.alpha), self.box, size=SIDE)[..., None] > 0.5
        encoded = srgb_encode(np.clip(ground + cover * (figure - ground), 0, 1))
        return np.round(np.concatenate([encoded, np.ones_like(cover)], -1) * inside * 255).astype(np.uint8)
