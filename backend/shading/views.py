# SPDX-License-Identifier: GPL-3.0-or-later
"""One frame of a job as it is seen: its camera, its traced meshes, the character's passes and the plate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..images import Passes, read_image, read_passes, srgb_encode
from ..protocol import CHARACTER, Camera, Frame, PenumbraError, load_meshes
from ..rays import rics
from ..rays.camera import crop_camera
from ..rays.directions import unpack_bits
from ..rays.scene import RayScene
from . import probe as probes
from .bounce import bounced_in
from .crop import CROP, Box, crop, crop_box, crop_normals, plate_box
from .network import ShadingNet
from .probe import LightProbe


@dataclass
class View:
    """One frame before its light is known. Arrays are (height, width, …), as `images.Passes` describes them."""

    frame: Frame
    camera: Camera
    scene: RayScene
    passes: Passes
    plate: np.ndarray

    @classmethod
    def open(cls, folder: Path, frame: Frame) -> View:
        """Read a frame of a job. Raises PenumbraError where the plate does not fit or the character is not in it."""
        camera = frame.camera
        plate = read_image(folder / frame.plate, frame.plate_colorspace)
        if plate.shape[:2] != (camera.height, camera.width):
            raise PenumbraError("The plate has not the size of the render.", "Run Harmonize Shading again.")
        passes = read_passes(folder / frame.passes, frame.pass_names, camera)
        if not (passes.alpha > 0).any():
            raise PenumbraError(
                f"The character is not in the camera's view at frame {frame.number}.",
                "Move the camera or the character, or choose other frames.",
            )
        return cls(frame, camera, RayScene(load_meshes(folder / frame.meshes)), passes, plate)


@dataclass(frozen=True)
class CroppedView:
    """A view as ShadingNet sees it: the character's square `box` at 128 × 128 pixels, traced anew.

    albedo, normal: (128, 128, 3), and alpha: (128, 128), averaged over what each pixel covers.
    """

    view: View
    box: Box
    surface: rics.SurfaceMap
    albedo: np.ndarray
    normal: np.ndarray
    alpha: np.ndarray

    @classmethod
    def of(cls, view: View) -> CroppedView:
        """Raises PenumbraError where the character is too small to be shaded."""
        passes = view.passes
        box = crop_box(passes.alpha)
        if box is None:
            raise _too_small(view.frame)
        surface = rics.trace(view.scene, crop_camera(view.camera, box, (CROP, CROP)))
        alpha = crop(passes.alpha, box)
        if np.count_nonzero(surface.valid & (alpha > 0.5)) < 16:
            raise _too_small(view.frame)
        albedo = crop(passes.albedo, box, passes.alpha)
        return cls(view, box, surface, albedo, crop_normals(passes.normal, box, passes.alpha), alpha)

    def predict(self, network: ShadingNet) -> np.ndarray:
        """ShadingNet's shading, (128, 128, 3)."""
        camera = self.view.camera
        return network.predict(
            srgb_encode(np.clip(self.view.plate, 0, 1)),
            self.albedo,
            self.normal,
            self.surface.bits,
            self.alpha,
            plate_box(self.box, camera.width, camera.height),
        )

    def fit_light(self, shading: np.ndarray) -> LightProbe:
        """The light that explains a shading (128, 128, 3) best, but for what the character throws on itself."""
        at = self.surface.valid
        visible = ~unpack_bits(self.surface.bits[at])
        own = bounced_in(shading[at], self.albedo[at], visible, self.normal[at], np.flatnonzero(at), CROP)
        return probes.fit(
            shading[at] - own,
            self.surface.bits[at],
            self.normal[at],
            np.where(self.alpha[at] > 0.5, self.alpha[at], 0),
            world_from_camera=self.view.camera.world_from_camera,
            sun_visibility=lambda directions: rics.light_visibility(
                self.view.scene, self.surface, directions, (CHARACTER,)
            ),
        )


def _too_small(frame: Frame) -> PenumbraError:
    return PenumbraError(
        f"The character covers too few pixels at frame {frame.number} to be shaded.",
        "Move the camera closer, or render at a higher resolution.",
    )
