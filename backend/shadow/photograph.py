# SPDX-License-Identifier: GPL-3.0-or-later
"""A shadow for an object in a lone photograph: composite and object mask in, ratio image and shadow mask out.

The geometry is that of a level ground with the object standing on it, or of a depth model; the light is given, or found
from another object's shadow in the picture, or predicted. The shadow is the physical one, whose outline is traced, and
whose depth and tint are those of the other object's shadow, or of a clear day; or trained networks draw it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..images import read_image, srgb_encode, write_exr, write_png
from ..protocol import GENERATED, PHYSICAL, SHADOW_NETWORKS, PenumbraError, untrained, write_json
from ..weights import WEIGHTS
from . import generated, light_fit, monocular, relief, tone, viewpoint
from .full_resolution import agreement, enlarged
from .networks import SEEN, ShadowPredictors
from .pointmap import PointMap, standing

if TYPE_CHECKING:
    from .generator import Conditions, ShadowGenerator

METHODS = {PHYSICAL: "Physical prior", GENERATED: "Generated, with the physical prior's outline"}
WORKING = 1280  # pixels of the longer side at which geometry is traced
LOWEST = 0.01  # sine of a light's elevation
SUN = 0.0047  # radians; the sun's half-angle
FAINTEST = 0.004  # share of the light; less is no shadow


@dataclass(frozen=True)
class Request:
    """What to make a shadow of, and what is known.

    light: (3,) toward it, camera space, any length. like: paths of the masks of another object in the picture and of
    its shadow, to find the light and the depth from. horizon: heights of the frame below its top; focal: in longer
    sides of the frame. depth_model: a folder or a repository, see `monocular`. depth: share of the light that a
    physical shadow takes, in (0, 1]; None follows the other shadow, or takes a clear day's. half_angle: of the light,
    radians; larger is softer. shadow: PHYSICAL or GENERATED. samples, seed: of the generator.
    """

    composite: Path
    mask: Path
    light: tuple[float, float, float] | None = None
    like: tuple[Path, Path] | None = None
    horizon: float | None = None
    focal: float | None = None
    depth_model: str | Path | None = None
    depth: float | None = None
    half_angle: float = SUN
    shadow: str = PHYSICAL
    samples: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Shadow:
    """composite: (H, W, 3) linear. object: (H, W) coverage. ratio: (H, W, 3) in (0, 1], exactly 1 outside the shadow.

    mask: (H, W) in [0, 1], the share of the light that the object hides, or of a generated shadow's full depth.
    light: (3,) unit, camera space. light_confidence: in [0, 1]. mask_confidence: the same of the predicted mask, None
    where no network predicted one. points: at the working size, with the geometry's confidence. method: what made the
    shadow. notices: what the user should know.
    """

    composite: np.ndarray
    object: np.ndarray
    ratio: np.ndarray
    mask: np.ndarray
    light: np.ndarray
    light_confidence: float
    mask_confidence: float | None
    light_source: str
    points: PointMap
    method: str
    notices: tuple[str, ...]

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) linear: the composite with the shadow, the object untouched."""
        return self.composite * self.ratio


def cast_in_photograph(request: Request, root: Path = WEIGHTS) -> Shadow:
    """Make the shadow. root: where trained weights lie, if there are any.

    Raises PenumbraError for pictures, masks and lights of which there is none to make, and where weights that it takes
    are missing.
    """
    composite, object_, other = _read(request)
    height, width = object_.shape
    scale = min(1.0, WORKING / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(srgb_encode(np.clip(composite, 0, 1)), size, interpolation=cv2.INTER_AREA)
    small_object = cv2.resize(object_, size, interpolation=cv2.INTER_AREA)
    if not (small_object > 0.5).any():
        raise PenumbraError("The object is too small to cast a shadow.", "Mark more of it in the mask.")
    points = _points(request, small, small_object)
    known = _known_light(request, points, other)
    predictors, generator = _networks(request, root)
    seen = None
    if predictors is not None:
        side = generator.config.size if generator else SEEN
        seen = generated.observe(predictors, small, small_object, points, side, known[0] if known else None)
    if known is None and seen is None:
        raise PenumbraError(
            "Nothing says where the light comes from, and the light predictor's weights are missing.",
            "Give --light X Y Z, or --like with the masks of another object in the picture and of its shadow.",
        )
    light, confidence, source = known or _predicted_light(seen, points)
    hidden = relief.cast(points, small_object, light, request.half_angle)
    outside = 1 - object_
    hidden = np.clip(cv2.resize(hidden, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1) * outside
    if seen is not None and generator is not None:
        ratio, mask = generated.draw(generator, seen, request.samples, request.seed)
        ratio, mask = enlarged(ratio, mask, hidden, agreement(hidden, seen.mask[0, 0].numpy()))
        ratio, mask = 1 - (1 - ratio) * outside[..., None], mask * outside
    else:
        mask = np.where(hidden > FAINTEST, hidden, 0)
        ratio = 1 - mask[..., None] * _taken(request, composite, object_, other)
    ratio = tone.fitted(ratio, composite, other[1] if other else None).astype(np.float32)
    notices = tuple(_notices(request, points, mask))
    sure = None if seen is None else float(seen.mask_quality[0])
    method = METHODS[request.shadow]
    return Shadow(composite, object_, ratio, mask, light, confidence, sure, source, points, method, notices)


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
            shadow=arguments.shadow,
            samples=arguments.samples,
            seed=arguments.seed,
        )
        shadow = cast_in_photograph(request)
        write(shadow, arguments.out)
    except PenumbraError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{shadow.method}. Light: {shadow.light_source}.")
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
        "method": shadow.method,
        "direction": [round(float(v), 5) for v in shadow.light],
        "azimuth": round(float(np.degrees(np.arctan2(world[1], world[0]))), 2),
        "elevation": round(float(np.degrees(np.arcsin(np.clip(world[2], -1, 1)))), 2),
        "light_source": shadow.light_source,
        "light_confidence": round(shadow.light_confidence, 3),
        "mask_confidence": None if shadow.mask_confidence is None else round(shadow.mask_confidence, 3),
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


def _read(request: Request) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """The composite (H, W, 3), linear, the object (H, W), and where they are given another object and its shadow."""
    if not (0 < _depth(request) <= 1 and 0 <= request.half_angle < 1 and request.samples > 0):
        raise PenumbraError(
            "The strength, the softness or the number of samples is out of range.",
            "Strength is in (0, 1], softness below 57°, samples at least one.",
        )
    composite = read_image(request.composite)
    object_ = read_mask(request.mask, composite.shape[:2])
    check_mask(object_)
    if request.like is None:
        return composite, object_, None
    other, shadow = (read_mask(path, object_.shape) for path in request.like)
    check_mask(other)
    return composite, object_, (other, shadow)


def _networks(request: Request, root: Path) -> tuple[ShadowPredictors | None, ShadowGenerator | None]:
    """The predictors, where their weights are, and the generator, where it is asked for."""
    if request.shadow == PHYSICAL:
        known = generated.available(generated.PREDICTORS, root)
        return (generated.load_predictors(root / generated.PREDICTORS) if known else None), None
    for name in SHADOW_NETWORKS:
        if not generated.available(name, root):
            raise untrained(name, f"Choose --shadow {PHYSICAL}.")
    predictors = generated.load_predictors(root / generated.PREDICTORS)
    return predictors, generated.load_generator(root / generated.GENERATOR)


def _depth(request: Request) -> float:
    return tone.DEPTH if request.depth is None else request.depth


def _points(request: Request, photograph: np.ndarray, object_: np.ndarray) -> PointMap:
    """The geometry, at the working size: the depth model's, or a level ground with the object standing on it."""
    view = viewpoint.estimate(photograph, request.horizon, request.focal)
    if request.depth_model:
        return monocular.load(request.depth_model)(photograph, view.camera)
    return standing(view.camera, object_, view.confidence)


def _known_light(
    request: Request, points: PointMap, other: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, float, str] | None:
    """The direction, how far it can be trusted, and where it comes from; None where nothing tells it."""
    if request.light is not None:
        light = np.array(request.light, np.float64)
        if not np.isfinite(light).all() or np.linalg.norm(light) < 1e-6:
            raise PenumbraError("The light's direction has no length.", "Give three numbers, not all zero.")
        light = light / np.linalg.norm(light)
        if light @ points.up <= LOWEST:
            raise PenumbraError("The light lies below the horizon.", "Give a light whose direction points upward.")
        return light, 1.0, "given"
    if other is None:
        return None
    size = points.valid.shape[::-1]
    object_, shadow = (cv2.resize(mask, size, interpolation=cv2.INTER_AREA) for mask in other)
    seen = points if request.depth_model else standing(points.camera, object_, points.confidence)
    found = light_fit.fit_light(seen, object_, shadow)
    return _raised(found.direction, points), found.overlap, "another object's shadow"


def _predicted_light(seen: Conditions, points: PointMap) -> tuple[np.ndarray, float, str]:
    return _raised(seen.light[0].double().numpy(), points), float(seen.light_quality[0]), "predicted"


def _raised(light: np.ndarray, points: PointMap) -> np.ndarray:
    """An estimated light that would lie below the horizon, brought just above it."""
    light = light + max(0.0, 0.05 - float(light @ points.up)) * points.up
    return light / np.linalg.norm(light)


def _taken(
    request: Request, composite: np.ndarray, object_: np.ndarray, other: tuple[np.ndarray, np.ndarray] | None
) -> np.ndarray:
    """(3,) the share of the light that a physical shadow takes."""
    found = None
    if other is not None and request.depth is None:
        found = tone.taken_by(composite, other[1], np.maximum(other[0], object_))
    return np.clip(_depth(request) * tone.TINT, 0, 0.98) if found is None else found


def _notices(request: Request, points: PointMap, mask: np.ndarray) -> Iterator[str]:
    if not request.depth_model and points.confidence < 0.2 and request.horizon is None:
        yield "The picture tells little about the horizon; give --horizon if the shadow lies wrong."
    if not request.depth_model:
        yield "The shadow falls on a level ground; walls and steps of the picture are not known without a depth model."
    if mask.max() < 0.5:
        yield "The shadow lies outside the picture, or behind the object."
