# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's cameras in NumPy: projection matrices, rays through pixels, projected points, and crops.

A pixel position is continuous, x to the right and y down from the top left corner of the frame; the centre of the
pixel in row r and column c is (c + 0.5, r + 0.5). Everything is float64 and in camera space unless it says otherwise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..protocol import Camera


def perspective(
    width: int,
    height: int,
    fov: float,
    *,
    fit: str = "AUTO",
    shift: tuple[float, float] = (0.0, 0.0),
    pixel_aspect: tuple[float, float] = (1.0, 1.0),
    clip: tuple[float, float] = (0.1, 1000.0),
    world_from_camera: np.ndarray | None = None,
) -> Camera:
    """A perspective camera with the meaning of Blender's settings.

    fov: radians across the side that `fit` names, Blender's `Camera.angle` (`fov_from_lens` gives it from
        millimetres).
    fit: Blender's sensor_fit. AUTO takes the longer side of the frame, measured with its pixel aspect.
    shift: Blender's lens shift, in units of the fitted side.
    """
    half = clip[0] * np.tan(fov / 2)
    left, right, bottom, top = _view_plane(width, height, 2 * half, fit, shift, pixel_aspect)
    near, far = clip
    projection = np.array(
        [
            [2 * near / (right - left), 0, (right + left) / (right - left), 0],
            [0, 2 * near / (top - bottom), (top + bottom) / (top - bottom), 0],
            [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
            [0, 0, -1, 0],
        ]
    )
    return Camera(projection, _pose(world_from_camera), width, height)


def orthographic(
    width: int,
    height: int,
    scale: float,
    *,
    fit: str = "AUTO",
    shift: tuple[float, float] = (0.0, 0.0),
    pixel_aspect: tuple[float, float] = (1.0, 1.0),
    clip: tuple[float, float] = (0.1, 1000.0),
    world_from_camera: np.ndarray | None = None,
) -> Camera:
    """An orthographic camera that sees `scale` metres across the fitted side (Blender's `Camera.ortho_scale`)."""
    left, right, bottom, top = _view_plane(width, height, scale, fit, shift, pixel_aspect)
    near, far = clip
    projection = np.array(
        [
            [2 / (right - left), 0, 0, -(right + left) / (right - left)],
            [0, 2 / (top - bottom), 0, -(top + bottom) / (top - bottom)],
            [0, 0, -2 / (far - near), -(far + near) / (far - near)],
            [0, 0, 0, 1],
        ]
    )
    return Camera(projection, _pose(world_from_camera), width, height)


def fov_from_lens(focal: float, sensor: float = 36.0) -> float:
    """Radians across a sensor of `sensor` millimetres behind a lens of `focal` millimetres."""
    return 2 * float(np.arctan(sensor / (2 * focal)))


def pointing(azimuth: float, elevation: float) -> np.ndarray:
    """(3,) unit vector, z up: azimuth from +x toward +y, elevation above the horizon, in radians."""
    level = np.cos(elevation)
    return np.array([np.cos(azimuth) * level, np.sin(azimuth) * level, np.sin(elevation)])


def look_at(
    eye: tuple[float, float, float] | np.ndarray,
    target: tuple[float, float, float] | np.ndarray,
    up: tuple[float, float, float] | np.ndarray = (0.0, 0.0, 1.0),
) -> np.ndarray:
    """(4, 4) world_from_camera of a camera at `eye` that looks at `target`; Blender's world has +z up.

    Raises ValueError where eye and target are one point. Looking straight along `up`, any roll is taken.
    """
    eye, target, up = (np.asarray(v, np.float64) for v in (eye, target, up))
    if not np.any(eye != target):
        raise ValueError("eye and target are the same point")
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross(up, back)
    if np.linalg.norm(right) < 1e-9 * np.linalg.norm(up):
        right = np.cross(np.roll(up, 1), back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=-1)
    pose[:3, 3] = eye
    return pose


def pixel_centres(camera: Camera) -> np.ndarray:
    """(h, w, 2) pixel positions of the centres of all pixels of `camera.window`."""
    left, top, right, bottom = camera.window
    return np.stack(np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5), axis=-1)


def primary_rays(camera: Camera, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rays through pixel positions (…, 2): origins (…, 3) on the near clipping plane, unit directions (…, 3)."""
    pixels = np.asarray(pixels, np.float64)
    ndc = np.stack([2 * pixels[..., 0] / camera.width - 1, 1 - 2 * pixels[..., 1] / camera.height], axis=-1)
    inverse = np.linalg.inv(np.asarray(camera.projection, np.float64)).T
    near, far = (np.concatenate([ndc, np.broadcast_to([z, 1.0], ndc.shape)], axis=-1) @ inverse for z in (-1.0, 1.0))
    near, far = near[..., :3] / near[..., 3:], far[..., :3] / far[..., 3:]
    directions = far - near
    return near, directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def plate_directions(camera: Camera, size: int = 32) -> np.ndarray:
    """(size, size, 3) unit camera-space directions in which the pixels of a camera's plate look."""
    step = (np.arange(size) + 0.5) / size
    return primary_rays(camera, np.stack(np.meshgrid(step * camera.width, step * camera.height), -1))[1]


def project(camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (…, 3) → pixel positions (…, 2) and depths (…) along −z in metres.

    A point at or behind a perspective camera (depth ≤ 0) has no pixel: its position is NaN.
    """
    points = np.asarray(points, np.float64)
    projection = np.asarray(camera.projection, np.float64)
    clip = points @ projection[:, :3].T + projection[:, 3]
    ndc = clip[..., :2] / np.where(clip[..., 3:] > 0, clip[..., 3:], np.nan)
    return (ndc * [1, -1] + 1) / 2 * [camera.width, camera.height], -points[..., 2]


def crop_camera(camera: Camera, box: tuple[float, float, float, float], size: tuple[int, int]) -> Camera:
    """The camera whose whole frame, `size` = (width, height) pixels, is exactly `box` of this camera's frame.

    box: (left, top, right, bottom) pixel positions; may lie between pixels and reach over the frame's edges.
    """
    left, top, right, bottom = box
    crop = np.eye(4)
    crop[0, 0] = camera.width / (right - left)
    crop[0, 3] = (camera.width - 2 * left) / (right - left) - 1
    crop[1, 1] = camera.height / (bottom - top)
    crop[1, 3] = 1 - (camera.height - 2 * top) / (bottom - top)
    projection = crop @ np.asarray(camera.projection, np.float64)
    return replace(camera, projection=projection, width=size[0], height=size[1], border=None)


def whole_camera(crop: Camera, box: np.ndarray) -> Camera:
    """The inverse: the camera whose crop is known. box: (4,) the crop's edges in fractions of the whole frame."""
    left, top, right, bottom = box
    width, height = crop.width / (right - left), crop.height / (bottom - top)
    edges = (-left * width, -top * height, (1 - left) * width, (1 - top) * height)
    return crop_camera(crop, edges, (crop.width, crop.height))


def _view_plane(
    width: int,
    height: int,
    extent: float,
    fit: str,
    shift: tuple[float, float],
    pixel_aspect: tuple[float, float],
) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) of the frame on a plane where the fitted side is `extent` long."""
    tall = height * pixel_aspect[1] / pixel_aspect[0]  # in units of a pixel's width
    if fit not in ("AUTO", "HORIZONTAL", "VERTICAL"):
        raise ValueError(f"unknown sensor fit {fit!r}")
    fitted = tall if fit == "VERTICAL" or (fit == "AUTO" and tall > width) else width
    unit = extent / fitted
    x, y = shift[0] * extent, shift[1] * extent
    return x - width * unit / 2, x + width * unit / 2, y - tall * unit / 2, y + tall * unit / 2


def _pose(world_from_camera: np.ndarray | None) -> np.ndarray:
    return np.eye(4) if world_from_camera is None else np.asarray(world_from_camera, np.float64)
