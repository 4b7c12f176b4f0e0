# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a take as moving bodies: one shape and one camera each, poses and places smoothed over time.

What is kept of a frame is small (see `tracking.Sighting`), so that the length of a take costs time and not memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..footage import Footage
from ..protocol import PenumbraError
from .data import JOINT_NAMES
from .detect import Person, people_if_any
from .lasor.camera import Lens
from .lasor.estimate import Sight, sight
from .lasor.person import Estimate, joined, rows_of, through, with_shape
from .lasor.refine import Refiner
from .model import KEYPOINTS, BodyModel
from .reconstruct import Body, Networks, Progress, asked, evidence, load_networks, outlined
from .smoothing import smooth_curves, smooth_rotations
from .tracking import USUAL_FPS, Sighting, Track, Tracker

BATCH = 4  # frames that are reconstructed together; between two batches, Esc is heard
SHAPED = 8  # frames, the best seen, whose fitted shapes make the take's
# Seconds, the Gaussian's standard deviation: of the joints and of the place in the picture, and of the depth, which is
# known from the person's size alone.
POSE_S, DEPTH_S = 0.1, 0.3
LEAST_CERTAIN = 0.05

_SIDED = {
    "hip": ("hip", "knee"),
    "knee": ("knee", "ankle"),
    "ankle": ("ankle",),
    "foot": ("ankle",),
    "collar": ("shoulder",),
    "shoulder": ("shoulder", "elbow"),
    "elbow": ("elbow", "wrist"),
    "wrist": ("wrist",),
    "hand": ("wrist",),
}
_TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


@dataclass(frozen=True)
class Measured:
    """What the N frames in which a person is seen say, each by itself.

    frames: (N,) their numbers. rotations: (N, 24, 3, 3). pelvis: (N, 3) camera space, metres. origin: (3,) from the
    pelvis to the body's origin, which no pose changes. certainty: (N, 24) of the joints, in [0, 1].
    """

    frames: np.ndarray
    rotations: np.ndarray
    pelvis: np.ndarray
    origin: np.ndarray
    certainty: np.ndarray


@dataclass(frozen=True)
class Performance:
    """One person's body through a take, in the space of its one camera.

    betas: (10,). frames: (F,) from 0, one after the other. rotations: (F, 24, 3, 3). places: (F, 3) metres.
    seen: (F,) False where the pose was filled in. measured: what all of it was made of. best: the frame in which the
    person is seen best, with what was seen of whom there, and the body as it was fitted to it.
    """

    betas: np.ndarray
    frames: np.ndarray
    rotations: np.ndarray
    places: np.ndarray
    seen: np.ndarray
    measured: Measured
    best: int
    sighting: Sighting
    body: Body


@dataclass(frozen=True)
class Performances:
    """Of a take: those asked for by their number from 0, how many people there are, what hindered the others'
    reconstruction, and everybody's tracks."""

    people: dict[int, Performance]
    problems: dict[int, PenumbraError]
    tracks: list[Track]


def find_performances(
    footage: Footage,
    who: str,
    refine: bool,
    device: torch.device,
    progress: Progress = lambda *_: None,
    method: str = "lasor",
) -> Performances:
    """The motions of those who are asked for, see `import_jobs.BodyJob`.

    method: of `BODY_METHODS`. Raises PenumbraError where nobody can be followed, or the method has no weights.
    """
    networks = load_networks(method, device, progress)
    tracks = follow(footage, lambda share: progress("Finding people", 0.02 + 0.48 * share))
    areas = [float(sum(seen.area for seen in track.sightings.values())) for track in tracks]
    chosen = asked(who, areas)
    steps = sum(len(tracks[number].sightings) for number in chosen)
    found: dict[int, Performance] = {}
    problems: dict[int, PenumbraError] = {}
    done = 0
    for number in chosen:
        begun = done / steps

        def share(part: float, begun: float = begun, whole: float = len(tracks[number].sightings) / steps) -> None:
            progress("Reconstructing", 0.5 + 0.5 * (begun + part * whole))

        try:
            found[number] = perform(footage, tracks, number, networks, refine, share)
        except PenumbraError as problem:
            problems[number] = problem
        done += len(tracks[number].sightings)
    if not found:
        raise next(iter(problems.values()))
    return Performances(found, problems, tracks)


def follow(footage: Footage, progress: Callable[[float], None] = lambda _: None) -> list[Track]:
    """Everybody in a take. Raises PenumbraError where nobody is."""
    tracker, frames = Tracker(footage.fps), 0
    for frame, photograph in footage.frames():
        progress(min(1.0, frame / footage.count))
        frames = frame + 1
        if photograph:
            tracker.add(frame, [Sighting.of(person) for person in people_if_any(photograph.encoded)])
    tracks = tracker.people(frames)
    if not tracks:
        raise PenumbraError("No person was found in the take.", "Choose a take in which people are seen well.")
    return tracks


def perform(
    footage: Footage,
    tracks: list[Track],
    number: int,
    networks: Networks,
    refine: bool,
    progress: Callable[[float], None] = lambda _: None,
) -> Performance:
    """The motion of one of the people. Raises PenumbraError where too little is seen of the person."""
    looks = _Looks.of(tracks, number, footage)
    estimates = through(looks.lens, looks.estimated(networks, lambda share: progress(0.3 * share)))
    refiner = Refiner.load() if refine else None
    betas = _shape(looks, estimates, refiner)
    estimates = with_shape(estimates, betas, looks.lens)
    if refiner:
        estimates = looks.refined(estimates, refiner, lambda share: progress(0.3 + 0.7 * share))
    measured = _measured(looks, estimates)
    best = int(np.argmax(looks.quality))
    rotations, places, seen = smoothed(measured, footage.fps)
    return Performance(
        betas.numpy(),
        measured.frames[0] + np.arange(len(places)),
        rotations,
        places,
        seen,
        measured,
        int(looks.frames[best]),
        looks.sightings[best],
        _body(looks, estimates, measured, best),
    )


def smoothed(measured: Measured, fps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotations (F, 24, 3, 3), places (F, 3) and seen (F,) of all frames from the first that was measured to the last.

    The place is smoothed as the picture has it: across, where it is known well, less than along the line of sight.
    """
    rate, row = fps or USUAL_FPS, measured.frames - measured.frames[0]
    count = int(row[-1]) + 1
    rotations, weights = np.tile(np.eye(3), (count, 24, 1, 1)), np.zeros((count, 24))
    across, depth = np.zeros((count, 2)), np.zeros((count, 1))
    rotations[row], weights[row] = measured.rotations, measured.certainty
    across[row], depth[row] = measured.pelvis[:, :2] / -measured.pelvis[:, 2:], np.log(-measured.pelvis[:, 2:])
    sure = weights.mean(1)
    rotations = smooth_rotations(rotations, weights, POSE_S * rate)
    across = smooth_curves(across, sure, POSE_S * rate)
    far = np.exp(smooth_curves(depth, sure, DEPTH_S * rate))
    places = np.concatenate([across * far, -far], 1) + measured.origin
    return rotations, places, sure > 0


@dataclass(frozen=True)
class _Looks:
    """The N frames in which a person is seen large enough, what is seen of others there, and the lens of N crops."""

    frames: np.ndarray
    sightings: list[Sighting]
    others: list[list[Sighting]]
    lens: Lens

    @classmethod
    def of(cls, tracks: list[Track], number: int, footage: Footage) -> _Looks:
        mine = tracks[number].sightings
        sights = {frame: found for frame, seen in sorted(mine.items()) if (found := _sight(seen.person))}
        frames = list(sights)
        if not frames:
            raise PenumbraError("The person is too small in the picture.", "Choose a larger picture of the person.")
        rest = tracks[:number] + tracks[number + 1 :]
        others = [[track.sightings[frame] for track in rest if frame in track.sightings] for frame in frames]
        centres = torch.from_numpy(np.stack([found.centre for found in sights.values()]))
        sides = torch.tensor([found.side for found in sights.values()])
        lens = Lens.of(centres, sides, footage.size, footage.focal)
        return cls(np.array(frames), [mine[frame] for frame in frames], others, lens)

    @property
    def certainty(self) -> np.ndarray:
        """(N, 24) how well the keypoints tell each joint's rotation, in [0, 1]."""
        confidence = np.stack([seen.confidence for seen in self.sightings])
        return np.stack([confidence[:, points].mean(1) for points in _TOLD_BY], 1).clip(LEAST_CERTAIN, 1)

    @property
    def quality(self) -> np.ndarray:
        """(N,) how well the person is seen as a whole."""
        return np.array([seen.certainty**2 * np.sqrt(seen.area) for seen in self.sightings])

    def sight(self, row: int) -> Sight:
        seen = _sight(self.sightings[row].person)
        assert seen
        return seen

    def estimated(self, networks: Networks, progress: Callable[[float], None]) -> Estimate:
        """Of every frame by itself."""
        parts = []
        for rows in self._batches(progress):
            proxy = torch.cat([self.sight(row).proxy for row in rows])
            with torch.no_grad():
                parts.append(networks(proxy)[0])
        return joined(parts)

    def refined(self, start: Estimate, refiner: Refiner, progress: Callable[[float], None]) -> Estimate:
        """Camera and pose of every frame, fitted to what is seen there."""
        return joined([self.fitted(start, rows, refiner, True) for rows in self._batches(progress)])

    def fitted(self, start: Estimate, rows: list[int], refiner: Refiner, keep_shape: bool) -> Estimate:
        facts = []
        for row in rows:
            person = self.sightings[row].person
            others = [seen.person.mask for seen in self.others[row]] or [np.zeros_like(person.mask)]
            facts.append(evidence(self.sight(row), person, np.max(others, 0)))
        seen = (torch.cat(column) for column in zip(*facts, strict=True))
        return refiner(rows_of(start, rows), *seen, self.lens.rows(rows), keep_shape=keep_shape)

    def _batches(self, progress: Callable[[float], None]):
        for start in range(0, len(self.frames), BATCH):
            progress(start / len(self.frames))
            yield list(range(start, min(start + BATCH, len(self.frames))))


def _sight(person: Person) -> Sight | None:
    try:
        return sight(person.mask, person.points, person.confidence)
    except PenumbraError:  # too small, or nothing left of the silhouette
        return None


def _shape(looks: _Looks, estimates: Estimate, refiner: Refiner | None) -> torch.Tensor:
    """(10,) one shape for the take: the mean of what the frames say, weighted by how well the person is seen."""
    rows = np.argsort(-looks.quality)[:SHAPED].tolist() if refiner else list(range(len(looks.frames)))
    shown = looks.fitted(estimates, rows, refiner, False) if refiner else estimates
    weights = torch.from_numpy(looks.quality[rows]).float()
    return (weights[:, None] * shown.betas).sum(0) / weights.sum()


def _measured(looks: _Looks, estimates: Estimate) -> Measured:
    body = BodyModel.load(coarse=True)
    pelvis = (body.joint_template + body.joint_directions @ estimates.betas[0])[0].numpy()
    places = looks.lens.places(estimates.camera).numpy().astype(np.float64)
    rotations = estimates.rotations.numpy().astype(np.float64)
    return Measured(looks.frames, rotations, places + pelvis, -pelvis, looks.certainty)


def _body(looks: _Looks, estimates: Estimate, measured: Measured, row: int) -> Body:
    one = rows_of(estimates, [row])
    outline = outlined(one, looks.lens.rows([row]), looks.sight(row))
    place = measured.pelvis[row] + measured.origin
    return Body(one.betas[0].numpy(), measured.rotations[row].astype(np.float32), place, outline)


def _points_of(joint: str) -> list[int]:
    """The numbers of those of COCO's keypoints that tell a joint's rotation."""
    side, _, limb = joint.partition("_")
    names = tuple(f"{side}_{name}" for name in _SIDED[limb]) if limb in _SIDED else _TRUNK
    return [KEYPOINTS["coco17"].index(name) for name in (_FACE if joint in ("neck", "head") else names)]


_TOLD_BY = [_points_of(joint) for joint in JOINT_NAMES]
