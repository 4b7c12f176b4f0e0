# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs that bring what a photograph shows into the scene: their part of the contract in `protocol`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from .protocol import PenumbraError, Result, read_job, read_result, reading_result, write_job

VIDEOS = (".mp4", ".mov", ".avi", ".mkv")
SHAPE_SLIDERS = 6  # main directions that an imported object's shape can be moved along
ALL, LARGEST = "all", "largest"  # who of a picture is asked for; else numbers


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


def numbers_of(who: str) -> tuple[int, ...]:
    """The numbers in "1 3" or "1, 3". Raises PenumbraError where there are none, or other words."""
    words = who.replace(",", " ").split()
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise PenumbraError(f'"{who}" names no people.', 'Give numbers, counted from the left, such as "1 3".')
    return tuple(dict.fromkeys(map(int, words)))


class ImportJob:
    """Base of what Blender asks for: dataclasses in ``job.json``, where `kind` names them."""

    kind: ClassVar[str]

    def save(self, folder: Path) -> None:
        """Write ``job.json`` into the job folder."""
        write_job(folder, self.kind, dataclasses.asdict(self))  # type: ignore[call-overload]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``job.json``. Raises PenumbraError as `read_job` does."""
        return cls(**_with_tuples(read_job(folder)[1]))


@dataclass(frozen=True)
class PeopleJob(ImportJob):
    """What Blender asks for: who is in a photograph, or at the beginning of a take, to choose from.

    image and sequence: as in `BodyJob`.
    """

    kind: ClassVar[str] = "people"

    image: str
    sequence: bool = False
    device: str = "auto"


@dataclass(frozen=True)
class PeopleResult(Result):
    """What the backend answers.

    picture: ``.npy`` of (S, S, 4) uint8, sRGB-encoded RGBA, row 0 on top: the photograph with a numbered box about
    each person, clear where it is not square; relative to the job folder.
    boxes: left, top, right and bottom of each person, as shares of the photograph, from left to right.
    largest: number of the person who covers most of it, 1 the first.
    """

    picture: str
    boxes: tuple[tuple[float, float, float, float], ...]
    largest: int
    device: str
    notices: tuple[str, ...] = field(default=())

    @classmethod
    @reading_result()
    def load(cls, folder: Path) -> PeopleResult:
        """Read ``result.json``. Raises PenumbraError."""
        data = read_result(folder)
        return cls(**{**data, "boxes": tuple(tuple(box) for box in data["boxes"])})


# What tells bodies, with the names of the networks that each needs.
BODY_METHODS = {"lasor": ("lasor",), "bodynet": ("bodynet",), "both": ("lasor", "bodynet")}


@dataclass(frozen=True)
class BodyJob(ImportJob):
    """What Blender asks for: the bodies of the people in a photograph, or their motions in a take.

    image: absolute path; of a video, or of a frame of an image sequence where `sequence` asks for all of it.
    who: ALL, LARGEST, or numbers, see `numbers_of`; counted from the left, 1 the first.
    refine: fit each body to what was seen of the person.
    method: of BODY_METHODS.
    focal: focal length in the picture's longer sides; 0 takes the photograph's own.
    fps: frames a second of a sequence, which its files do not tell; 0 where it is not known.
    device: "auto", "cpu" or "cuda".
    """

    kind: ClassVar[str] = "body"

    image: str
    who: str = ALL
    refine: bool = True
    method: str = "lasor"
    sequence: bool = False
    focal: float = 0.0
    fps: float = 0.0
    device: str = "auto"

    @property
    def is_take(self) -> bool:
        return self.sequence or is_video(Path(self.image))


@dataclass(frozen=True)
class BodyPerson:
    """One person's body; paths are relative to the job folder.

    number: counted from the left, 1 the first; in a take, those who are seen first come first.
    params: ``.npz`` with SMPL's "betas" (10,), "pose" (24, 3) axis-angle and "trans" (3,) metres, in the axes of the
        camera that took the photograph: x right, y up, −z forward. Of a take, "pose" is (F, 24, 3) and "trans" (F, 3),
        for the "frames" (F,) from 0, one after the other; "seen" (F,) is False where a frame was filled in.
    texture: ``.png``, albedo, sRGB.
    surface: ``.npz`` of the voxels' surface, "vertices" (V, 3) in the same axes, "faces" (F, 3) and "part" (F,), the
        body file's six; empty where the method has none, and in a take.
    """

    number: int
    params: str
    texture: str
    surface: str = ""


@dataclass(frozen=True)
class TakeFacts:
    """Of a take. path: the video, or the first image. first: number of its first image, 1 of a video. count: of frames.

    fps: 0 where it is not known; of a sequence, the job's.
    """

    path: str
    first: int
    count: int
    fps: float


@dataclass(frozen=True)
class BodyResult(Result):
    """What the backend answers: bodies from left to right, and the camera that took the photograph or take.

    size: (width, height) of the picture; focal: in its pixels; the axis meets its centre. light: ``.json`` of the
    light probe that was found on the people, empty where they show too little of it; upright: ``.png`` of a photograph
    whose file is stored on its side, else empty. Paths are relative to the job folder. take: None for a photograph.
    """

    people: tuple[BodyPerson, ...]
    size: tuple[int, int]
    focal: float
    light: str
    upright: str
    seconds: dict[str, float]
    device: str
    versions: dict[str, str]
    notices: tuple[str, ...] = field(default=())
    take: TakeFacts | None = None

    @classmethod
    @reading_result()
    def load(cls, folder: Path) -> BodyResult:
        """Read ``result.json``. Raises PenumbraError."""
        data = read_result(folder)
        people = tuple(BodyPerson(**person) for person in data["people"])
        take = TakeFacts(**data["take"]) if data.get("take") else None
        return cls(**{**data, "people": people, "size": tuple(data["size"]), "take": take})


@dataclass(frozen=True)
class ObjectJob(ImportJob):
    """What Blender asks for: the object in a photograph, as a mesh with parts, albedo, light and camera.

    image, mask: absolute paths; the mask is white on the object, and empty where box or the image's alpha tells.
    box: left, top, right, bottom around the object, in fractions of the picture, or None.
    side: of the grid that the mesh is made on. refine: fit the object to the picture.
    device: "auto", "cpu" or "cuda".
    """

    kind: ClassVar[str] = "object"

    image: str
    mask: str = ""
    box: tuple[float, float, float, float] | None = None
    side: int = 128
    refine: bool = True
    device: str = "auto"


@dataclass(frozen=True)
class ObjectResult(Result):
    """What the backend answers: an object in object space, x right, y up, +z its front, within the unit ball.

    mesh: ``.npz`` with "vertices" (V, 3), "faces" (F, 3), "albedo" (V, 3) linear Rec.709, and "part" (F,), each face's;
        relative to the job folder, as the other files.
    codes: ``.npz`` of the network's codes.
    axes: (3, 3) right, up and back of the camera that took the photograph; place: (3,) where it stands. focal: in the
        photograph's longer sides. shift: (right, up) of the picture's middle from the axis, in longer sides.
    light: (9, 3) spherical harmonics of a white surface's shading, in object space.
    category: the known kind that it is nearest to, with its probability; kinds: all that are known.
    upright: as in `BodyResult`.
    """

    mesh: str
    codes: str
    size: tuple[int, int]
    axes: list[list[float]]
    place: list[float]
    focal: float
    shift: tuple[float, float]
    light: list[list[float]]
    category: str
    probability: float
    kinds: tuple[str, ...]
    upright: str
    seconds: dict[str, float]
    device: str
    versions: dict[str, str]
    notices: tuple[str, ...] = field(default=())

    @classmethod
    @reading_result()
    def load(cls, folder: Path) -> ObjectResult:
        """Read ``result.json``. Raises PenumbraError."""
        data = read_result(folder)
        return cls(**{**data, **{name: tuple(data[name]) for name in ("size", "shift", "kinds")}})


def part_albedo(faces: np.ndarray, albedo: np.ndarray, part: np.ndarray) -> dict[int, np.ndarray]:
    """(3,) mean linear albedo of each part that there is, of a mesh as `ObjectResult` has it."""
    of_face = albedo[faces].mean(1)
    return {int(number): of_face[part == number].mean(0) for number in np.unique(part)}


@dataclass(frozen=True)
class EditedObject:
    """An imported object's codes, and what was done to them since.

    category, shape, albedo: the codes. kind: the category that it was taken for; side: of the mesh's grid.
    sliders: SHAPE_SLIDERS of them or less, toward and amount: see `objects.code_space.Edit`.
    camera, levels: `objects.outline.Outline`, row by row; empty where none is known.
    """

    category: tuple[float, ...]
    shape: tuple[float, ...]
    albedo: tuple[float, ...]
    kind: str
    side: int
    sliders: tuple[float, ...]
    toward: str
    amount: float
    camera: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()


@dataclass(frozen=True)
class ReshapeJob(ImportJob):
    """What Blender asks for: the meshes of edited objects."""

    kind: ClassVar[str] = "reshape"

    objects: tuple[EditedObject, ...]
    device: str = "auto"

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``job.json``. Raises PenumbraError as `read_job` does."""
        data = read_job(folder)[1]
        return cls(tuple(EditedObject(**_with_tuples(one)) for one in data["objects"]), data["device"])


@dataclass(frozen=True)
class ReshapeResult(Result):
    """What the backend answers. meshes: of each object, in order, as `ObjectResult.mesh`."""

    meshes: tuple[str, ...]
    seconds: dict[str, float]
    device: str
    versions: dict[str, str]
    notices: tuple[str, ...] = field(default=())

    @classmethod
    @reading_result()
    def load(cls, folder: Path) -> ReshapeResult:
        """Read ``result.json``. Raises PenumbraError."""
        return cls(**_with_tuples(read_result(folder)))


def _with_tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
