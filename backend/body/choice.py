# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in a photograph, as a picture with numbered boxes to choose from."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from .. import device as devices
from ..footage import open_footage
from ..import_jobs import PeopleJob, PeopleResult, is_video
from ..photograph import Photograph, read_photograph
from ..protocol import PenumbraError
from .detect import Person, people, people_if_any
from .reconstruct import Progress
from .tracking import Sighting

SIDE = 512  # pixels of the picture
LOOKED_AT = 120  # frames of a take at most, until somebody is seen
_BLACK, _WHITE, _GREEN = (0, 0, 0, 255), (255, 255, 255, 255), (120, 255, 120, 255)


def find_people(folder: Path, progress: Progress) -> PeopleResult:
    """Do the `PeopleJob` in `folder`; writes ``result.json`` and its picture there. Raises PenumbraError."""
    job = PeopleJob.load(folder)
    path = Path(job.image)
    progress("Finding people", 0.0)
    if job.sequence or is_video(path):
        photograph, found = _first_seen(path, progress)
    else:
        photograph = read_photograph(path)
        found = people(photograph.encoded)
    seen = [Sighting.of(person) for person in found]
    with (folder / "people.npy").open("wb") as file:
        np.save(file, numbered(photograph.encoded, [one.box for one in seen]))
    sides = np.tile(photograph.size, 2)
    boxes = tuple(tuple(map(float, one.box / sides)) for one in seen)
    largest = 1 + int(np.argmax([one.area for one in seen]))
    result = PeopleResult("people.npy", boxes, largest, devices.pick(job.device).type)
    result.save(folder)
    return result


def _first_seen(path: Path, progress: Progress) -> tuple[Photograph, list[Person]]:
    """The first frame of a take that shows somebody, as `tracking.Tracker` numbers people."""
    for frame, photograph in islice(open_footage(path).frames(), LOOKED_AT):
        progress("Finding people", frame / LOOKED_AT)
        if photograph and (found := people_if_any(photograph.encoded)):
            return photograph, found
    raise PenumbraError("Nobody is seen at the beginning of the take.", "Import everybody, or cut the take.")


def numbered(picture: np.ndarray, boxes: list[np.ndarray]) -> np.ndarray:
    """(SIDE, SIDE, 4) uint8: a picture (H, W, 3) with boxes (4,) in its pixels and their numbers, 1 the first."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    small = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    square = np.zeros((SIDE, SIDE, 4), np.uint8)
    left, top = (SIDE - small.shape[1]) // 2, (SIDE - small.shape[0]) // 2
    square[top : top + small.shape[0], left : left + small.shape[1], :3] = small
    square[top : top + small.shape[0], left : left + small.shape[1], 3] = 255
    for number, box in enumerate(boxes, 1):
        corners = np.round(box * scale + (left, top, left, top)).astype(int)
        begin, end = (tuple(map(int, corner)) for corner in corners.reshape(2, 2))
        for colour, thickness in ((_BLACK, 4), (_GREEN, 2)):
            cv2.rectangle(square, begin, end, colour, thickness)
        for colour, thickness in ((_BLACK, 8), (_WHITE, 3)):
            cv2.putText(
                square, str(number), (begin[0] + 6, begin[1] + 34), cv2.FONT_HERSHEY_SIMPLEX, 1.1, colour, thickness
            )
    return square
