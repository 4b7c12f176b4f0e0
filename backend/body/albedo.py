# SPDX-License-Identifier: GPL-3.0-or-later
"""A photographed person without the light: the colours of skin and clothes, and the light that is divided out of them.

The body's normals and its RiCS map are known, so its shading by any light is. Two unknowns are left, the light and the
albedo, which is taken as one colour for each of a few pieces of the person: parts of the body, split by hue. In turns,
the light is fitted to what the pieces' colours leave, and the colours to what the light leaves. How bright and of what
tint the light is, no single body tells: ShadingNet says it from the whole photograph.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np

from ..images import Passes
from ..protocol import CHARACTER, Camera, Frame, Mesh, PenumbraError
from ..rays import rics
from ..rays.camera import crop_camera, pixel_centres, primary_rays
from ..rays.directions import unpack_bits
from ..rays.scene import RayScene
from ..shading import harmonize
from ..shading.crop import CROP, crop
from ..shading.network import ShadingNet
from ..shading.panorama import LUMINANCE
from ..shading.probe import LightProbe
from ..shading.views import CroppedView, View

TURNS = 4
USUAL = 0.3  # luminance of the first turn's albedo, in the mean
LEAST_LIT = 0.4  # of the median luminance: what is darker is divided by this much
DARKEST, LIGHTEST = 0.015, 0.95
WHITEST = 0.8  # albedo that hardly anything exceeds: where it did, the light is brighter than ShadingNet said
CLIPPED = 0.99  # of a photograph's channel: how bright it was is not known
LEAST = 64  # pixels in which a person's light can be told
HUES = 2  # pieces of one part


@dataclass(frozen=True)
class Delit:
    """albedo: (H, W, 3) linear Rec.709 of the pixels `known` (H, W) bool, 0 elsewhere. light: in the camera's axes."""

    albedo: np.ndarray
    known: np.ndarray
    light: LightProbe


def delight(
    picture: np.ndarray, camera: Camera, mesh: Mesh, parts: np.ndarray, mask: np.ndarray, network: ShadingNet
) -> Delit | None:
    """What a picture (H, W, 3), linear Rec.709, shows of a person without its light; None where it shows too little.

    mesh: the person's body, camera space. parts: (T,) of its triangles, from 1. mask: (H, W) in [0, 1], what is seen of
    the person.
    """
    scene = RayScene([dataclasses.replace(mesh, role=CHARACTER)])
    surface = rics.trace(scene, camera)
    inside = cv2.erode(np.float32(mask > 0.5), np.ones((3, 3))) > 0
    known = surface.valid & inside & (picture.max(-1) < CLIPPED)
    passes = Passes(
        np.zeros_like(picture), surface.normal, known.astype(np.float32), np.zeros(known.shape), np.zeros_like(picture)
    )
    view = View(Frame(1, camera, "", "", {}, ""), camera, scene, passes, picture)
    try:
        cropped = CroppedView.of(view)
    except PenumbraError:
        return None
    light = _light(cropped, crop(picture, cropped.box, passes.alpha), parts, network)
    if light is None:
        return None
    shading = harmonize.shade(view, light, surface).image(known)[known]
    floor = LEAST_LIT * np.median(shading @ LUMINANCE)
    shading *= np.maximum(1, floor / np.maximum(shading @ LUMINANCE, 1e-6))[:, None]
    albedo = np.zeros_like(picture)
    albedo[known] = np.clip(picture[known] / np.maximum(shading, 1e-3), DARKEST, LIGHTEST)
    return Delit(albedo, known, light)


def _light(cropped: CroppedView, seen: np.ndarray, parts: np.ndarray, network: ShadingNet) -> LightProbe | None:
    """The light on a person of whom (128, 128, 3) is seen."""
    at = cropped.surface.valid & (cropped.alpha > 0.5)
    if np.count_nonzero(at) < LEAST:
        return None
    colour = np.maximum(seen[at], 1e-4)
    piece = _pieces(colour, parts[_triangles(cropped)[at]])
    albedo = np.stack([np.median(colour[piece == k], 0) for k in range(piece.max() + 1)])
    albedo *= USUAL / (LUMINANCE @ albedo[piece].mean(0))
    guess = np.zeros_like(seen)
    guess[at] = albedo[piece]
    level = dataclasses.replace(cropped, albedo=guess).predict(network)[at].mean(0)
    shading = np.zeros_like(seen)
    for _ in range(TURNS):
        shading[at] = colour / albedo[piece]
        shading[at] *= level / shading[at].mean(0)
        light = cropped.fit_light(shading)
        lit = np.maximum(_lit(cropped, light)[at], 1e-3)
        albedo = np.stack([np.median((colour / lit)[piece == k], 0) for k in range(len(albedo))])
    brightest = float(np.quantile((colour / lit).max(1), 0.95))
    return light.scaled(max(1.0, brightest / WHITEST))


def _lit(cropped: CroppedView, light: LightProbe) -> np.ndarray:
    """(128, 128, 3) shading by a light."""
    surface = cropped.surface
    suns = np.array([sun.direction for sun in light.suns]).reshape(-1, 3)
    reached = np.zeros((CROP, CROP, len(suns)))
    if len(suns):
        reached[surface.valid] = rics.light_visibility(cropped.view.scene, surface, suns, (CHARACTER,))
    return light.shade(~unpack_bits(surface.bits), cropped.normal, reached)


def _triangles(cropped: CroppedView) -> np.ndarray:
    """(128, 128) the triangle that each pixel's centre sees."""
    camera = crop_camera(cropped.view.camera, cropped.box, (CROP, CROP))
    rays = primary_rays(camera, pixel_centres(camera).reshape(-1, 2))
    return cropped.view.scene.intersect(*rays).triangle.reshape(CROP, CROP)


def _pieces(colour: np.ndarray, part: np.ndarray) -> np.ndarray:
    """(N,) numbers from 0 of the pieces that points of one part and of a similar hue make. Shadows change no hue."""
    log = np.log(colour)
    hue = np.float32(log[:, [0, 2]] - log[:, 1:2])
    piece = np.zeros(len(part), int)
    for number in np.unique(part):
        here = np.flatnonzero(part == number)
        if len(here) >= LEAST:
            ends = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 20, 1e-3)
            cv2.setRNGSeed(0)
            _, which, _ = cv2.kmeans(hue[here], HUES, None, ends, 3, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
            piece[here] = HUES * number + which[:, 0]
        else:
            piece[here] = HUES * number
    return np.unique(piece, return_inverse=True)[1]
