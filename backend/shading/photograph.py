# SPDX-License-Identifier: GPL-3.0-or-later
"""A panorama seen through a camera, and photographed: exposed, white-balanced, tone-curved, noisy, clipped, 8 bits.

The exposure scales what is in front of the camera too: plate white 1.0 is a white diffuse surface at shading 1.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..images import srgb_encode
from ..protocol import Camera
from ..rays.camera import primary_rays
from .environments import sample
from .panorama import LUMINANCE

PLATE = 128  # pixels of a plate in the data sets, the whole frame whatever its aspect
_OVERSAMPLING = 2


def background(panorama: np.ndarray, camera: Camera, size: int = PLATE) -> np.ndarray:
    """What the camera sees of a panorama (H, W, 3): the whole frame, resized to (size, size, 3) linear radiance."""
    return seen(panorama, view_directions(camera, size))


def view_directions(camera: Camera, size: int = PLATE) -> np.ndarray:
    """(2·size, 2·size, 3) world-space directions in which the whole frame is sampled, whatever its aspect."""
    grid = (np.arange(size * _OVERSAMPLING) + 0.5) / (size * _OVERSAMPLING)
    pixels = np.stack(np.meshgrid(grid * camera.width, grid * camera.height), axis=-1)
    return primary_rays(camera, pixels)[1] @ camera.world_from_camera[:3, :3].T


def seen(panorama: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(size, size, 3) linear radiance of a panorama in `view_directions`."""
    size = len(directions) // _OVERSAMPLING
    return cv2.resize(sample(panorama, directions), (size, size), interpolation=cv2.INTER_AREA)


def expose(plates: np.ndarray, shading: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(3,) gain of one locked exposure for simultaneous views, as a photographer or a camera's meter would choose it.

    plates: (…, 3) linear radiance of the frames. shading: (3,) mean shading of the person who stands in them, who is
    part of what gets exposed for: never nearly black nor burnt out, whatever the background.
    """
    luminance = np.maximum(plates.reshape(-1, 3) @ LUMINANCE, 1e-6)
    metered = 0.2 / np.exp(np.log(luminance + 0.02 * luminance.mean()).mean())
    highlights = 1.0 / np.quantile(luminance, random.uniform(0.8, 0.99))
    gain = np.exp(random.uniform(0.55, 1.0) * np.log(metered / highlights)) * highlights * 2.0 ** random.normal(0, 0.4)
    subject = float(shading @ LUMINANCE)
    gain = np.clip(gain * subject, random.uniform(0.08, 0.35), random.uniform(0.5, 1.6)) / max(subject, 1e-6)
    colour = plates.reshape(-1, 3).mean(0) / luminance.mean() + shading / max(subject, 1e-6)
    cast = np.clip(colour / (colour @ LUMINANCE), 0.2, 5.0)
    balance = cast ** -random.uniform(0.0, 0.9) * np.exp(random.normal(0, 0.03, 3))
    return gain * balance / (balance @ LUMINANCE)


def photograph(
    plate: np.ndarray, random: np.random.Generator, graining: np.random.Generator | None = None
) -> np.ndarray:
    """An exposed plate (H, W, 3), linear, as an 8-bit display-encoded photograph (H, W, 3) with its faults.

    graining: draws the grain, where `random` has to draw the same camera for every frame of a sequence.
    """
    image = plate.astype(np.float32)
    if random.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.3, 1.0))
    level = 10 ** random.uniform(-3.5, -2.2)
    grain = (graining or random).standard_normal(image.shape).astype(np.float32)
    image = image + grain * np.sqrt(level * (0.5 * image + level))
    image = _shoulder(np.maximum(image, 0), random.uniform(0.6, 1.0))
    display = srgb_encode(np.clip(image, 0, 1)) ** random.uniform(0.92, 1.08)
    contrast = random.uniform(-0.05, 0.4)
    display += contrast * (display * display * (3 - 2 * display) - display)
    grey = (display @ LUMINANCE.astype(np.float32))[..., None]
    display = grey + (display - grey) * random.uniform(0.85, 1.2)
    photo = np.round(np.clip(display, 0, 1) * 255).astype(np.uint8)
    if random.random() < 0.5:
        quality = int(random.integers(60, 96))
        photo = cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return photo


def _shoulder(x: np.ndarray, knee: float) -> np.ndarray:
    """Roll highlights off from `knee` toward 1, then clip."""
    room = max(1 - knee, 1e-3)
    return np.where(x > knee, knee - room * np.expm1(-np.maximum(x - knee, 0) / room), x)
