# SPDX-License-Identifier: GPL-3.0-or-later
"""Every person in a photograph: silhouette and COCO's 17 keypoints, by MediaPipe's packaged pose models.

The packaged solution sees one person. Its detector, run by itself, gives a circle for every one; the solution then
looks at one circle after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import cv2
import numpy as np

from ..protocol import PenumbraError
from .calibration import SHARES, calibrated

# Of MediaPipe's 33 points, COCO's 17 in COCO's order.
COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
ROOM = 1.25  # the crop's side over the circle's diameter; MediaPipe's own
SAME = 0.35  # of the larger radius: circles whose centres are nearer belong to one person
ASTRAY = 0.5  # of the radius: hips found farther from the circle's centre are another person's
TWICE = 0.7  # of the smaller silhouette: who shares as much was found twice
BESIDE = 0.02  # of the silhouette's longer side: points farther from it than so are hidden, or wrong
LEAST_RADIUS = 12.0  # pixels
_DETECTOR = """
input_stream: "image"
output_stream: "detections"
node { calculator: "PoseDetectionCpu" input_stream: "IMAGE:image" output_stream: "DETECTIONS:detections" }
"""


@dataclass(frozen=True)
class Person:
    """What is seen of one person.

    mask: (H, W) float32 in [0, 1], without what is hidden. points: (17, 2) pixels, x first, COCO's order.
    confidence: (17,) in [0, 1]; 0 where another person, a thing or the picture's end hides the point.
    """

    mask: np.ndarray
    points: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class _Circle:
    """About the hips, through the farthest of the outstretched body; pixels."""

    centre: np.ndarray
    radius: float
    score: float


def people(picture: np.ndarray) -> list[Person]:
    """Those whom MediaPipe finds in picture (H, W, 3), uint8 sRGB, from left to right.

    Raises PenumbraError where nobody is found, or MediaPipe is not installed.
    """
    if found := people_if_any(picture):
        return found
    raise PenumbraError("No person was found in the picture.", "Choose a picture in which people are seen well.")


def people_if_any(picture: np.ndarray, shares: np.ndarray = SHARES) -> list[Person]:
    """As `people`, empty where nobody is found. shares: of the calibration."""
    circles = _circles(picture)
    with _mediapipe().solutions.pose.Pose(static_image_mode=True, enable_segmentation=True) as pose:
        found = [person for circle in circles if (person := _look(pose, picture, circle, shares))]
    apart = separated(found) if found else []
    return sorted(
        apart, key=lambda person: float((person.mask.sum(0) * np.arange(len(picture[0]))).sum() / person.mask.sum())
    )


def separated(found: list[Person]) -> list[Person]:
    """Each pixel left to the person who claims it most, and points behind others, or away from what is left of the
    person, without confidence.

    Of two findings of one person, the first stays.
    """
    kept: list[Person] = []
    for person in found:
        if all(_overlap(person.mask, other.mask) < TWICE for other in kept):
            kept.append(person)
    claims = np.stack([person.mask for person in kept])
    owner = claims.argmax(0)
    result = []
    for number, person in enumerate(kept):
        others = (owner != number) & (claims.max(0) > 0.5)
        mask = np.where(others, 0, person.mask).astype(np.float32)
        column, row = np.floor(person.points).astype(int).T
        height, width = mask.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        hidden = (others | _away(mask))[row.clip(0, height - 1), column.clip(0, width - 1)]
        result.append(replace(person, mask=mask, confidence=person.confidence * inside * ~hidden))
    return [person for person in result if (person.mask > 0.5).any()]


def _away(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: where no point of a person with this silhouette can be seen."""
    rows, columns = np.nonzero(mask > 0.5)
    if not len(rows):
        return np.ones(mask.shape, bool)
    distance = cv2.distanceTransform((mask <= 0.5).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance > 1 + BESIDE * max(np.ptp(rows), np.ptp(columns))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Shared pixels over those of the smaller mask."""
    a, b = a > 0.5, b > 0.5
    return float((a & b).sum() / max(min(a.sum(), b.sum()), 1))


def _mediapipe() -> Any:
    try:
        import mediapipe
    except ImportError as problem:
        raise PenumbraError(
            "Finding people in photographs needs MediaPipe.",
            'Run "pip install -r requirements.txt" and "pip install --no-deps -r requirements-alone.txt" '
            "with the backend's Python.",
        ) from problem
    return mediapipe


def _circles(picture: np.ndarray) -> list[_Circle]:
    """A circle for every person, the surest first."""
    _mediapipe()
    from google.protobuf import text_format
    from mediapipe.framework import calculator_pb2
    from mediapipe.python.solution_base import SolutionBase

    graph = text_format.Parse(_DETECTOR, cast(Any, calculator_pb2).CalculatorGraphConfig())
    circles: list[_Circle] = []
    with SolutionBase(graph_config=graph, outputs=["detections"]) as detector:
        for left, top, part in _windows(picture):
            for detection in cast(Any, detector.process({"image": part})).detections or []:
                marks = detection.location_data.relative_keypoints
                hips, end = (np.array([m.x, m.y]) * part.shape[1::-1] + (left, top) for m in marks[:2])
                circles.append(_Circle(hips, float(np.linalg.norm(end - hips)), detection.score[0]))
    kept: list[_Circle] = []
    for circle in sorted(circles, key=lambda c: -c.score):
        near = (np.linalg.norm(circle.centre - c.centre) < SAME * max(circle.radius, c.radius) for c in kept)
        if circle.radius > LEAST_RADIUS and not any(near):
            kept.append(circle)
    return kept


def _windows(picture: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Left, top and pixels of the whole picture and, where it is oblong, of squares along it that overlap by half."""
    yield 0, 0, picture
    height, width = picture.shape[:2]
    side, length = min(height, width), max(height, width)
    count = int(np.ceil((length - side) / (side / 2))) if length > 1.2 * side else 0
    for start in np.linspace(0, length - side, count + 1).astype(int) if count else ():
        x, y = (start, 0) if width > height else (0, start)
        yield x, y, np.ascontiguousarray(picture[y : y + side, x : x + side])


def _look(pose: Any, picture: np.ndarray, circle: _Circle, shares: np.ndarray) -> Person | None:
    """The person in a circle; None where the solution sees nobody there, or somebody else."""
    half = int(np.ceil(ROOM * circle.radius))
    left, top = np.round(circle.centre).astype(int) - half
    height, width = picture.shape[:2]
    # Black beyond the picture's ends, as MediaPipe pads.
    around = cv2.copyMakeBorder(
        picture[max(top, 0) : max(top + 2 * half, 0), max(left, 0) : max(left + 2 * half, 0)],
        *(max(-top, 0), max(top + 2 * half - height, 0), max(-left, 0), max(left + 2 * half - width, 0)),
        cv2.BORDER_CONSTANT,
    )
    seen = pose.process(around)
    if not seen.pose_landmarks or seen.segmentation_mask is None:
        return None
    marks = [seen.pose_landmarks.landmark[i] for i in COCO]
    points = np.array([[mark.x, mark.y] for mark in marks]) * around.shape[1::-1] + (left, top)
    if np.linalg.norm(points[11:13].mean(0) - circle.centre) > ASTRAY * circle.radius:
        return None
    mask = np.zeros((height, width), np.float32)
    rows, columns = slice(max(top, 0), min(top + 2 * half, height)), slice(max(left, 0), min(left + 2 * half, width))
    mask[rows, columns] = seen.segmentation_mask[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return Person(mask, calibrated(points[None], shares)[0], np.array([mark.visibility for mark in marks]))
