# SPDX-License-Identifier: GPL-3.0-or-later
"""A take: a video or a numbered image sequence, of which one frame at a time is in memory."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from .images import srgb_decode
from .import_jobs import is_video
from .photograph import USUAL, Photograph, bounded, read_photograph
from .protocol import PenumbraError


@dataclass(frozen=True)
class Footage:
    """path: of a video, or of the sequence's first image.

    files: of a sequence, one a frame, None where the numbers have a gap; empty for a video.
    first: number of the first frame, 1 for a video. count: of frames; of a video, as many as its file says.
    fps: 0 where it is not known. size: (width, height) as frames are read.
    focal: pixels, one for the whole take. lens: as `Photograph.lens`.
    """

    path: Path
    files: tuple[Path | None, ...]
    first: int
    count: int
    fps: float
    size: tuple[int, int]
    focal: float
    lens: float = 0.0

    def frames(self, only: Collection[int] | None = None) -> Iterator[tuple[int, Photograph | None]]:
        """Each frame's number from 0 and its picture, None where its file is missing; only some where they are given.

        Raises PenumbraError where a frame cannot be read or is of another size than the first.
        """
        last = max(only, default=-1) if only is not None else None
        for number, photograph in self._sequence(only) if self.files else self._video(only):
            if last is not None and number > last:
                return
            if photograph and photograph.size != self.size:
                raise PenumbraError(
                    f"Frame {self.first + number} of {self.path.name} is of another size than the first.",
                    "Give all frames of the take the same size.",
                )
            yield number, photograph

    def _sequence(self, only: Collection[int] | None) -> Iterator[tuple[int, Photograph | None]]:
        for number, file in enumerate(self.files):
            if only is None or number in only:
                yield number, read_photograph(file, self.focal / max(self.size)) if file else None

    def _video(self, only: Collection[int] | None) -> Iterator[tuple[int, Photograph]]:
        """Seeking is not exact in every codec, so frames that are not asked for are decoded and dropped."""
        video, number = cv2.VideoCapture(str(self.path)), 0
        try:
            while video.grab():
                if only is None or number in only:
                    yield number, Photograph(_shown(video), self.focal)
                elif number > max(only):
                    return
                number += 1
        finally:
            video.release()


def open_footage(path: Path, focal: float = 0.0, fps: float = 0.0) -> Footage:
    """A video, or all images that are numbered as the one at `path` is.

    focal: as for `read_photograph`; videos do not tell theirs. fps: of a sequence; videos tell theirs.
    Raises PenumbraError where it cannot be read, and where more numbers are missing in a sequence than are there.
    """
    if not path.is_file():
        raise PenumbraError(f"The take {path.name} was not found.", f"Check that {path} is still there.")
    if is_video(path):
        return _open_video(path, focal)
    found = numbered(path)
    first, last = min(found), max(found)
    files = tuple(found.get(number) for number in range(first, last + 1))
    if len(found) < len(files) / 2:
        raise PenumbraError(
            f"Of the images {first} to {last}, {len(files) - len(found)} are missing.",
            "Put the take's images in a folder of their own, or complete their numbers.",
        )
    photograph = read_photograph(found[first], focal)
    if photograph.turns:
        raise PenumbraError(
            "The images of this sequence are stored on their side.", "Save them upright, without an EXIF orientation."
        )
    return Footage(found[first], files, first, len(files), fps, photograph.size, photograph.focal, photograph.lens)


def numbered(path: Path) -> dict[int, Path]:
    """The images of a sequence by number: those whose names differ from that of `path` in their last number only.

    Raises PenumbraError where the name has no number.
    """
    digits = list(re.finditer(r"\d+", path.stem))
    if not digits:
        raise PenumbraError(f"{path.name} has no number in its name.", "Choose a frame of a numbered image sequence.")
    start, end = digits[-1].span()
    pattern = re.compile(rf"{re.escape(path.stem[:start])}(\d+){re.escape(path.stem[end:])}")
    siblings = (other for other in path.parent.iterdir() if other.suffix == path.suffix)
    matches = ((pattern.fullmatch(other.stem), other) for other in siblings)
    return dict(sorted((int(match[1]), other) for match, other in matches if match))


def _open_video(path: Path, focal: float) -> Footage:
    video = cv2.VideoCapture(str(path))
    try:
        if not video.grab():
            raise PenumbraError(f"The video {path.name} cannot be read.", "Convert it to H.264 in an .mp4 file.")
        picture = _shown(video)
        count, fps = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), float(video.get(cv2.CAP_PROP_FPS))
    finally:
        video.release()
    height, width = picture.shape[:2]
    fps = fps if 1 <= fps <= 1000 else 0.0
    return Footage(path, (), 1, max(count, 1), fps, (width, height), (focal or USUAL) * max(width, height))


def _shown(video: cv2.VideoCapture):
    """(H, W, 3) linear: the frame that was grabbed, turned as the video's file says."""
    whole, picture = video.retrieve()
    if not whole:
        raise PenumbraError("A frame of the video cannot be read.", "Convert it to H.264 in an .mp4 file.")
    return srgb_decode(bounded(picture[..., ::-1]) / 255)
