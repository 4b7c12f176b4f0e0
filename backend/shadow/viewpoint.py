# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a lone photograph was taken from: focal length, horizon and ground, estimated or given.

A viewpoint is a camera in a world whose ground is the plane z = 0. Estimates come from vanishing points: streets,
walls and furniture have three directions at right angles, and the photograph's straight lines run toward them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..protocol import Camera

EYE = 1.6  # metres above the ground; sets the unit of length, which a shadow's shape does not depend on
USUAL_FOCAL = 1.0  # longer sides of the frame: 53° across it
USUAL_HORIZON = 0.4  # heights of the frame from its top, where nothing tells
_FOCALS = (0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
_NEAR = np.sin(np.radians(2.0))  # a line belongs to a direction that it misses by less
_TRIES = 400
_LONG_SIDE = 640  # pixels at which lines are looked for


@dataclass(frozen=True)
class Viewpoint:
    """camera: world +z up, ground at z = 0. confidence: in [0, 1]; 1 where focal length and horizon are given."""

    camera: Camera
    confidence: float


def pinhole(
    width: int, height: int, focal: float, up: np.ndarray, eye: float = EYE, centre: tuple[float, float] | None = None
) -> Camera:
    """A camera `eye` metres above the ground. focal: pixels. up: (3,) camera space. centre: the principal point."""
    x, y = centre or (width / 2, height / 2)
    near, far = 0.01, 1000.0
    projection = np.zeros((4, 4))
    projection[0, [0, 2]] = 2 * focal / width, 1 - 2 * x / width
    projection[1, [1, 2]] = 2 * focal / height, 2 * y / height - 1
    projection[2, 2:] = -(far + near) / (far - near), -2 * far * near / (far - near)
    projection[3, 2] = -1
    up = np.asarray(up, np.float64) / np.linalg.norm(up)
    right = np.cross([0, 0, -1.0], up) if abs(up[2]) < 0.999 else np.array([1.0, 0, 0])
    right -= right @ up * up
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(up, right), up])  # rows are the world's axes in camera space
    pose[2, 3] = eye
    return Camera(projection, pose, width, height)


def up_of_horizon(width: int, height: int, focal: float, horizon: float, roll: float = 0.0) -> np.ndarray:
    """(3,) the up direction, camera space, of a horizon at `horizon` heights of the frame below its top.

    roll: radians by which the horizon rises to the right, about the frame's centre. focal: pixels.
    """
    pitch = np.arctan((0.5 - horizon) * height / focal)  # how far the camera looks down
    return np.array([-np.sin(roll) * np.cos(pitch), np.cos(roll) * np.cos(pitch), np.sin(pitch)])


def horizon_of(camera: Camera) -> float:
    """The horizon's height at the frame's central column, in heights of the frame below its top; may lie outside."""
    up = camera.world_from_camera[2, :3]
    focal, shift = camera.projection[1, 1], camera.projection[1, 2]
    return float(0.5 - (focal * np.divide(up[2], up[1] if abs(up[1]) > 1e-6 else 1e-6) - shift) / 2)


def estimate(
    photograph: np.ndarray, horizon: float | None = None, focal: float | None = None, eye: float = EYE
) -> Viewpoint:
    """The viewpoint of a photograph (H, W, 3), display-encoded in [0, 1].

    horizon: heights of the frame below its top, may lie outside; focal: in longer sides of the frame. What is given is
    kept; what is not is estimated where enough straight lines agree, and taken as usual where not.
    """
    height, width = photograph.shape[:2]
    side = max(height, width)
    if horizon is not None and focal is not None:
        return Viewpoint(pinhole(width, height, focal * side, up_of_horizon(width, height, focal * side, horizon)), 1.0)
    lines = _straight_lines(photograph)
    length, up, confidence = _manhattan(lines, (focal,) if focal else _FOCALS)
    usual = up_of_horizon(width, height, length * side, USUAL_HORIZON if horizon is None else horizon)
    if horizon is not None or confidence < 0.2:
        return Viewpoint(pinhole(width, height, length * side, usual, eye), confidence)
    return Viewpoint(pinhole(width, height, length * side, up, eye), confidence)


def _straight_lines(photograph: np.ndarray) -> np.ndarray:
    """(N, 4) x0, y0, x1, y1 of straight lines, from the centre and y up, in longer sides of the frame."""
    height, width = photograph.shape[:2]
    scale = min(1.0, _LONG_SIDE / max(height, width))
    grey = cv2.cvtColor(np.round(np.clip(photograph, 0, 1) * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = cv2.createLineSegmentDetector().detect(grey)[0]
    if found is None:
        return np.zeros((0, 4))
    ends = found.reshape(-1, 2, 2).astype(np.float64) - np.array(grey.shape[::-1]) / 2
    ends = ends * [1, -1] / max(grey.shape)
    lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    longest = np.argsort(-lengths)[:300]
    return ends[longest][lengths[longest] > 0.03].reshape(-1, 4)


def _manhattan(lines: np.ndarray, focals: tuple[float, ...]) -> tuple[float, np.ndarray, float]:
    """Focal length in longer sides, up (3,), and confidence, of the three directions that most lines run toward."""
    usual = min(focals, key=lambda f: abs(np.log(f / USUAL_FOCAL)))
    best = (usual, np.array([0.0, 1.0, 0.0]), 0.0)
    slant = np.abs(np.arctan2(lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1]))
    upright = np.flatnonzero(np.minimum(slant, np.pi - slant) < np.radians(25))
    if len(lines) < 12 or len(upright) < 3:
        return best
    random = np.random.default_rng(0)
    weight = np.linalg.norm(lines[:, 2:] - lines[:, :2], axis=1)
    weight /= weight.sum()
    for focal in focals:
        ends = np.stack([lines[:, :2], lines[:, 2:]], 1)
        rays = np.concatenate([ends, np.full((*ends.shape[:2], 1), -focal)], -1)
        planes = np.cross(rays[:, 0], rays[:, 1])
        planes /= np.linalg.norm(planes, axis=1, keepdims=True)
        a, b = planes[random.choice(upright, (2, _TRIES))]
        other = planes[random.choice(len(lines), _TRIES)]
        up = np.cross(a, b)
        side = np.cross(up, other)
        lengths = np.linalg.norm(up, axis=1) * np.linalg.norm(side, axis=1)
        good = lengths > 1e-4
        up = up[good] / np.linalg.norm(up[good], axis=1, keepdims=True)
        up *= np.sign(up[:, 1:2])
        side = side[good] / np.linalg.norm(side[good], axis=1, keepdims=True)
        axes = np.stack([up, side, np.cross(up, side)], 1)
        agrees = np.exp(-0.5 * (np.einsum("tac,nc->tan", axes, planes) / _NEAR) ** 2)
        vertical, level = agrees[:, 0] @ weight, np.maximum(agrees[:, 1], agrees[:, 2]) @ weight
        score = np.maximum.reduce(agrees, 1) @ weight * (np.minimum(vertical, level) > 0.05) * (up[:, 1] > 0.7)
        # Unusual focal lengths need better evidence: a few lines fit any of them.
        score *= np.exp(-0.1 * np.log(focal / USUAL_FOCAL) ** 2)
        top = int(np.argmax(score)) if len(score) else 0
        if len(score) and score[top] > best[2]:
            best = (focal, up[top], float(score[top]))
    by_chance = 0.25  # three directions catch about a quarter of any lines
    return best[0], best[1], float(np.clip((best[2] - by_chance) / (1 - by_chance), 0, 1))
