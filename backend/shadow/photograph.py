# SPDX-License-Identifier: GPL-3.0-or-later
"""A shadow for an object in a lone photograph: composite and object mask in, ratio image and shadow mask out.

The geometry is that of a level ground with the object standing on it, or of a depth model; the light is given, or found
from another object's shadow in the picture. The shadow is the physical one: its outline is traced, its depth and tint
are those of a clear day unless told otherwise.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..images import read_image, srgb_encode, write_exr, write_png
from ..protocol import PenumbraError, write_json
from . import light_fit, monocular, relief, viewpoint
from .pointmap import PointMap, standing

METHOD = "Physical prior alone: no trained generator took part"
WORKING = 1280  # pixels of the longer side at which geometry is traced
SUN = 0.0047  # radians; the sun's half-angle
DEPTH = 0.65  # share of the light that the sun brings on a clear day, in the open
TINT = np.array([1.04, 1.0, 0.92])  # of what is taken away: what stays is the sky's, bluish
FAINTEST = 0.004  # share of the light; less is no shadow


@dataclass(frozen=True)
class Request:
    """What to make a shadow of, and what is known.

    light: (3,) toward it, camera space, any length. like: paths of the masks of another object in the picture and of
    its shadow, to find the light from. horizon: heights of the frame below its top; focal: in longer sides of the
    frame. depth_model: a folder, see `monocular`. depth: share of the light that the shadow takes, in (0, 1].
    half_angle: of the light, radians; larger is softer.
    """

    composite: Path
    mask: Path
    light: tuple[float, float, float] | None = None
    like: tuple[Path, Path] | None = None
    horizon: float | None = None
    focal: float | None = None
    depth_model: Path | None = None
    depth: float = DEPTH
    half_angle: float = SUN


@dataclass(frozen=True)
class Shadow:
    """composite: (H, W, 3) linear. object: (H, W) coverage. ratio: (H, W, 3) in (0, 1], exactly 1 outside the shadow.

    mask: (H, W) in [0, 1], the share of the light that the object hides. light: (3,) unit, camera space.
    light_confidence, geometry_confidence: in [0, 1]. points: at the working size. notices: what the user should know.
    """

    composite: np.ndarray
    object: np.ndarray
    ratio: np.ndarray
    mask: np.ndarray
    light: np.ndarray
    light_confidence: float
    light_source: str
    points: PointMap
    notices: tuple[str, ...]

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) linear: the composite with the shadow, the object untouched."""
        return self.composite * self.ratio


def cast_in_photograph(request: Request) -> Shadow:
    """Make the shadow. Raises PenumbraError for pictures, masks and lights of which there is none to make."""
    if not (0 < request.depth <= 1 and 0 <= request.half_angle < 1):
        raise PenumbraError(
            "The strength or the softness is out of range.", "Strength is in (0, 1], softness below 57°."
        )
    composite = read_image(request.composite)
    object_ = read_mask(request.mask, composite.shape[:2])
    check_mask(object_)
    height, width = object_.shape
    scale = min(1.0, WORKING / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(srgb_encode(np.clip(composite, 0, 1)), size, interpolation=cv2.INTER_AREA)
    small_object = cv2.resize(object_, size, interpolation=cv2.INTER_AREA)
    if not (small_object > 0.5).any():
        raise PenumbraError("The object is too small to cast a shadow.", "Mark more of it in the mask.")
    view = viewpoint.estimate(small, request.horizon, request.focal)
    if request.depth_model:
        points = monocular.load(request.depth_model)(small, view.camera)
    else:
        points = standing(view.camera, small_object, view.confidence)
    light, confidence, source = _light(request, points, size, object_.shape)
    if light @ points.up <= 0.01:
        raise PenumbraError("The light lies below the horizon.", "Give a light whose direction points upward.")
    hidden = relief.cast(points, small_object, light, request.half_angle)
    hidden = np.clip(cv2.resize(hidden, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1) * (1 - object_)
    taken = np.clip(request.depth * TINT, 0, 0.98)
    ratio = 1 - hidden[..., None] * taken
    ratio = np.where(hidden[..., None] > FAINTEST, ratio, 1).astype(np.float32)
    return Shadow(
        composite, object_, ratio, hidden, light, confidence, source, points, tuple(_notices(request, points, hidden))
    )


def run(arguments: argparse.Namespace) -> int:
    """`python -m backend shadow`: make the shadow and write it. 0, or 1 where it cannot be made."""
    try:
        request = Request(
            arguments.composite,
            arguments.mask,
            light=tuple(arguments.light) if arguments.light else None,
            like=tuple(arguments.like) if arguments.like else None,
            horizon=arguments.horizon,
            focal=arguments.focal,
            depth_model=arguments.depth_model,
            depth=arguments.strength,
            half_angle=float(np.radians(arguments.softness)),
        )
        shadow = cast_in_photograph(request)
        write(shadow, arguments.out)
    except PenumbraError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{METHOD}. Light: {shadow.light_source}.")
    for notice in shadow.notices:
        print(notice)
    return 0


def read_mask(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) coverage in [0, 1] of a mask picture: its alpha where it has a varying one, else its brightness.

    Raises PenumbraError where it is missing, none, or not of the given shape.
    """
    path = Path(path)
    if not path.is_file():
        raise PenumbraError(f"The mask {path.name} was not found.", f"Check that {path} is still there.")
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise PenumbraError(f"{path.name} is not a readable image.", "Save the mask as PNG.")
    if image.shape[:2] != tuple(shape):
        raise PenumbraError(
            f"The mask has {image.shape[1]}×{image.shape[0]} pixels, the composite {shape[1]}×{shape[0]}.",
            "Both must be of one size.",
        )
    top = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1.0
    image = image.astype(np.float32) / top
    if image.ndim == 3 and image.shape[2] == 4 and np.ptp(image[..., 3]) > 0.5:
        return image[..., 3]
    return image if image.ndim == 2 else image[..., :3].mean(-1)


def check_mask(mask: np.ndarray) -> None:
    """Raises PenumbraError where a mask (H, W) marks nothing or everything."""
    share = float((mask > 0.5).mean())
    if share == 0:
        raise PenumbraError("The mask is empty.", "It should be white where the object is.")
    if share > 0.95:
        raise PenumbraError(
            "The mask covers the whole picture.", "It should be white where the object is, black elsewhere."
        )


def write(shadow: Shadow, folder: Path) -> None:
    """image.png, ratio.exr, mask.png, light.json, and explanation.png, which shows how it came about."""
    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / "image.png", shadow.image)
    write_exr(folder / "ratio.exr", shadow.ratio)
    cv2.imwrite(str(folder / "mask.png"), np.round(shadow.mask * 255).astype(np.uint8))
    cv2.imwrite(str(folder / "explanation.png"), np.round(explain(shadow)[..., ::-1] * 255).astype(np.uint8))
    world = shadow.points.camera.world_from_camera[:3, :3] @ shadow.light
    facts = {
        "method": METHOD,
        "direction": [round(float(v), 5) for v in shadow.light],
        "azimuth": round(float(np.degrees(np.arctan2(world[1], world[0]))), 2),
        "elevation": round(float(np.degrees(np.arcsin(np.clip(world[2], -1, 1)))), 2),
        "light_source": shadow.light_source,
        "light_confidence": round(shadow.light_confidence, 3),
        "geometry_confidence": round(shadow.points.confidence, 3),
        "horizon": round(viewpoint.horizon_of(shadow.points.camera), 4),
        "notices": list(shadow.notices),
    }
    write_json(folder / "light.json", facts)


def explain(shadow: Shadow) -> np.ndarray:
    """(h, 2w, 3) display-encoded: the composite with horizon, light and shadow's outline; and the result."""
    height, width = shadow.points.valid.shape
    before, after = (
        cv2.resize(srgb_encode(np.clip(i, 0, 1)), (width, height), interpolation=cv2.INTER_AREA)
        for i in (shadow.composite, shadow.image)
    )
    picture = np.ascontiguousarray(before * 0.7 + 0.1)
    mask = cv2.resize(shadow.mask, (width, height), interpolation=cv2.INTER_AREA)
    picture = picture * (1 - 0.5 * mask[..., None]) + 0.5 * mask[..., None] * np.array([0.9, 0.2, 0.1])
    object_ = cv2.resize(shadow.object, (width, height), interpolation=cv2.INTER_AREA)
    thick = max(1, width // 400)
    for image, colour in ((mask, (1.0, 0.85, 0.1)), (object_, (0.2, 0.9, 0.4))):
        outline, _ = cv2.findContours((image > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, colour, thick)
    row = round(viewpoint.horizon_of(shadow.points.camera) * height)
    cv2.line(picture, (0, row), (width, row), (0.3, 0.6, 1.0), thick)
    rows, columns = np.nonzero(object_ > 0.5)
    start = (int(columns.mean()), int(rows.min()))
    toward = shadow.light[:2] * [1, -1] * 0.25 * min(width, height)
    end = (int(start[0] + toward[0]), int(start[1] + toward[1]))
    cv2.arrowedLine(picture, end, start, (1.0, 0.95, 0.6), 2 * thick, tipLength=0.2)
    return np.clip(np.concatenate([picture, after], 1), 0, 1)


def _light(
    request: Request, points: PointMap, size: tuple[int, int], shape: tuple[int, int]
) -> tuple[np.ndarray, float, str]:
    """The direction, how far it can be trusted, and where it comes from."""
    if request.light is not None:
        light = np.array(request.light, np.float64)
        if not np.isfinite(light).all() or np.linalg.norm(light) < 1e-6:
            raise PenumbraError("The light's direction has no length.", "Give three numbers, not all zero.")
        return light / np.linalg.norm(light), 1.0, "given"
    if request.like is None:
        raise PenumbraError(
            "Nothing says where the light comes from, and no light predictor is bundled yet.",
            "Give --light X Y Z, or --like with the masks of another object in the picture and of its shadow.",
        )
    other, shadow = (cv2.resize(read_mask(p, shape), size, interpolation=cv2.INTER_AREA) for p in request.like)
    check_mask(other)
    seen = points if request.depth_model else standing(points.camera, other, points.confidence)
    found = light_fit.fit_light(seen, other, shadow)
    return found.direction, found.overlap, "another object's shadow"


def _notices(request: Request, points: PointMap, hidden: np.ndarray):
    if not request.depth_model and points.confidence < 0.2 and request.horizon is None:
        yield "The picture tells little about the horizon; give --horizon if the shadow lies wrong."
    if not request.depth_model:
        yield "The shadow falls on a level ground; walls and steps of the picture are not known without a depth model."
    if hidden.max() < 0.5:
        yield "The shadow lies outside the picture, or behind the object."
