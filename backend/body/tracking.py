# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is who in the frames of a take: people are followed by the overlap of their boxes and by their poses.

Between one frame and the next, the assignment of least cost (Kuhn 1955) by the boxes' intersection over union and by
COCO's object keypoint similarity, to where each person would be if walking on as before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from .detect import Person

# COCO's per-keypoint constants, of its evaluation.
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
LEAST = 0.15  # of the similarity: who is less like is somebody else
LOST = 1.0  # seconds after which somebody who comes back is a new person
USUAL_FPS = 24.0  # of takes that do not tell
FASTEST = 0.15  # of the person's size a frame
BRIEFEST = 5  # frames: what is seen in fewer is no person, but in a short take


@dataclass(frozen=True)
class Sighting:
    """A person in one frame, small enough to be kept for all of a take.

    points (17, 2), confidence (17,): as in `detect.Person`. box: (4,) left, top, right, bottom, pixels. area: pixels of
    the silhouette. mask: PNG.
    """

    points: np.ndarray
    confidence: np.ndarray
    box: np.ndarray
    area: int
    mask: bytes

    @classmethod
    def of(cls, person: Person) -> Sighting:
        inside = person.mask > 0.5
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
        packed = cv2.imencode(".png", np.round(255 * person.mask).astype(np.uint8))[1].tobytes()
        return cls(person.points, person.confidence, box, int(inside.sum()), packed)

    @property
    def person(self) -> Person:
        mask = cv2.imdecode(np.frombuffer(self.mask, np.uint8), cv2.IMREAD_GRAYSCALE)
        return Person(np.float32(mask) / 255, self.points, self.confidence)

    @property
    def certainty(self) -> float:
        """Mean confidence of the keypoints, in [0, 1]."""
        return float(self.confidence.mean())


@dataclass
class Track:
    """One person by frame; pixels a frame of the mean motion."""

    sightings: dict[int, Sighting] = field(default_factory=dict)
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))

    @property
    def last(self) -> int:
        return max(self.sightings)

    def add(self, frame: int, seen: Sighting) -> None:
        if self.sightings:
            before = self.sightings[self.last]
            moved = (_middle(seen.box) - _middle(before.box)) / (frame - self.last)
            limit = FASTEST * np.ptp(seen.box.reshape(2, 2), 0).max()
            self.velocity = 0.5 * self.velocity + 0.5 * moved.clip(-limit, limit)
        self.sightings[frame] = seen


class Tracker:
    """Takes the people of one frame after the other."""

    def __init__(self, fps: float = 0.0) -> None:
        self.tracks: list[Track] = []
        self._patience = max(1, round(LOST * (fps or USUAL_FPS)))

    def add(self, frame: int, found: list[Sighting]) -> None:
        """frame: a number greater than all before."""
        known = [track for track in self.tracks if frame - track.last <= self._patience]
        likeness = np.array([[similarity(track, frame, seen) for seen in found] for track in known])
        free = set(range(len(found)))
        if likeness.size:
            for i, j in zip(*linear_sum_assignment(-likeness), strict=True):
                if likeness[i, j] >= LEAST:
                    known[i].add(frame, found[j])
                    free.remove(j)
        for j in sorted(free):
            self.tracks.append(Track({frame: found[j]}))

    def people(self, frames: int) -> list[Track]:
        """Those who are seen long enough in a take of so many frames: who is seen first, and of these from the left."""
        least = min(BRIEFEST, max(1, frames // 4))
        kept = [track for track in self.tracks if len(track.sightings) >= least]

        def place(track: Track) -> tuple[int, float]:
            first = min(track.sightings)
            return first, float(_middle(track.sightings[first].box)[0])

        return sorted(kept, key=place)


def similarity(track: Track, frame: int, seen: Sighting) -> float:
    """In [0, 1], of a sighting and where a track would be in that frame."""
    before = track.sightings[track.last]
    moved = track.velocity * (frame - track.last)
    box = before.box + np.tile(moved, 2)
    return 0.5 * box_iou(box, seen.box) + 0.5 * keypoint_similarity(before, seen, moved)


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of boxes (4,)."""
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def keypoint_similarity(a: Sighting, b: Sighting, moved: np.ndarray) -> float:
    """COCO's OKS of the keypoints that both see, a's moved by (2,) pixels; the scale is the box's area."""
    both = np.minimum(a.confidence, b.confidence)
    if both.sum() < 1e-6:
        return 0.0
    scale = np.prod(a.box[2:] - a.box[:2])
    squared = ((a.points + moved - b.points) ** 2).sum(1)
    return float((both * np.exp(-squared / (2 * scale * (2 * SIGMAS) ** 2))).sum() / both.sum())


def _middle(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2
