# SPDX-License-Identifier: GPL-3.0-or-later
"""A panorama as a light probe's parts: the mean radiance of 62 cells, and the suns that stick out of them.

Equirectangular images follow Blender's World: the top row looks along world +z, the centre column along world +x, and
columns run clockwise seen from above (the left quarter is +y).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ..rays.directions import RICS_DIRECTIONS, SOLID_ANGLES, pixel_directions
from .probe_fit import frame_of

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
SUN_REACH = np.radians(11.0)  # a larger source is one for the cells
SUN_SHARE = 0.04  # of all light; a weaker source is left to its cell
SUN_CONTRAST = 4.0  # over the ring around it


def pixel_solid_angles(height: int, width: int) -> np.ndarray:
    """(H, 1) exact steradians of a pixel of each row."""
    edges = np.cos(np.arange(height + 1) * np.pi / height)
    return ((edges[:-1] - edges[1:]) * 2 * np.pi / width)[:, None]


def nearest_cell(directions: np.ndarray) -> np.ndarray:
    """(…) index of the RiCS direction whose Voronoi cell holds each camera-space direction (…, 3)."""
    return np.argmax(directions.astype(np.float32) @ RICS_DIRECTIONS.T, -1)


@lru_cache(maxsize=8)  # a camera sees many lights, one after the other
def _cells(height: int, width: int, camera_from_world: bytes) -> np.ndarray:
    """(H·W,) the camera-space cell of each pixel of an equirectangular image; the rotation (3, 3) float64 as bytes."""
    rotation = np.frombuffer(camera_from_world).reshape(3, 3)
    rows = np.array_split(pixel_directions(height, width), max(1, height // 64))
    return np.concatenate([nearest_cell(part @ rotation.T).ravel() for part in rows])


def cell_radiance(image: np.ndarray, camera_from_world: np.ndarray) -> np.ndarray:
    """(62, 3) float64 mean radiance of each camera-space cell of an equirectangular image (H, W, 3).

    Scaled so that the energy Σ ω_k L_k is the image's to the last digit, though cell borders cross pixels.
    """
    cell = _cells(*image.shape[:2], np.asarray(camera_from_world, np.float64).tobytes())
    areas = np.broadcast_to(pixel_solid_angles(*image.shape[:2]), image.shape[:2]).ravel()
    pixels = image[..., :3].reshape(-1, 3)
    area = np.bincount(cell, areas, len(SOLID_ANGLES))
    energy = np.stack([np.bincount(cell, areas * pixels[:, c], len(SOLID_ANGLES)) for c in range(3)], 1)
    radiance = energy / np.maximum(area, 1e-9)[:, None]
    total = (SOLID_ANGLES[:, None] * radiance).sum(0)
    return radiance * (energy.sum(0) / np.maximum(total, 1e-12))


def take_sun(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Cut the strongest small source out of an equirectangular image (H, W, 3), which is changed.

    Returns its world direction (3,), its irradiance (3,) over π (the shading of a white surface that faces it), and
    the half-angle in radians of an even disc of the same spread; None where no small source is strong enough. What is
    left behind is the light of the ring around it, so that light is neither lost nor counted twice.
    """
    height, width = image.shape[:2]
    luminance = image @ LUMINANCE
    areas = pixel_solid_angles(height, width)
    blur = max(1.0, height * 2.0 / 180)
    wrapped = cv2.copyMakeBorder(luminance.astype(np.float32), 0, 0, width // 8, width // 8, cv2.BORDER_WRAP)
    smooth = cv2.GaussianBlur(wrapped, (0, 0), blur)[:, width // 8 : width // 8 + width]
    directions = pixel_directions(height, width)
    peak = np.unravel_index(np.argmax(smooth * luminance), luminance.shape)
    cosine = directions @ directions[peak]
    around = (cosine < np.cos(SUN_REACH)) & (cosine > np.cos(1.6 * SUN_REACH))
    ground = np.median(image[around], axis=0)
    inside = (cosine >= np.cos(SUN_REACH)) & (luminance > SUN_CONTRAST * max(float(ground @ LUMINANCE), 1e-6))
    excess = np.where(inside[..., None], np.maximum(image - ground, 0), 0) * areas[..., None]
    energy = excess.sum((0, 1))
    if energy @ LUMINANCE <= SUN_SHARE * float((luminance * areas).sum()):
        return None
    weight = excess @ LUMINANCE
    direction = np.einsum("hw,hwc->c", weight, directions)
    direction /= np.linalg.norm(direction)
    tangent, bitangent = frame_of(direction)
    spread = np.einsum("hw,hw->", weight, (directions @ tangent) ** 2 + (directions @ bitangent) ** 2) / weight.sum()
    image[inside] = np.minimum(image[inside], ground)
    return direction, energy / np.pi, float(np.sqrt(2 * spread))
