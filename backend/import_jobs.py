# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs that bring what a photograph shows into the scene: their part of the contract in `protocol`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from .protocol import Result, read_job, read_result, reading_result, write_job


@dataclass(frozen=True)
class BodyJob:
    """What Blender asks for: the bodies of the people in a photograph.

    image: absolute path. person: only this one, counted from the left, 1 the first; 0 asks for everybody.
    refine: fit each body to what was seen of the person.
    method: "lasor" or "bodynet".
    device: "auto", "cpu" or "cuda".
    """

    image: str
    person: int = 0
    refine: bool = True
    method: str = "lasor"
    device: str = "auto"

    def save(self, folder: Path) -> None:
        """Write ``job.json`` into the job folder."""
        write_job(folder, "body", dataclasses.asdict(self))

    @classmethod
    def load(cls, folder: Path) -> BodyJob:
        """Read ``job.json``. Raises PenumbraError as `read_job` does."""
        return cls(**read_job(folder)[1])


@dataclass(frozen=True)
class BodyPerson:
    """One person's body; paths are relative to the job folder.

    number: counted from the left, 1 the first.
    params: ``.npz`` with SMPL's "betas" (10,), "pose" (24, 3) axis-angle and "trans" (3,) metres, in the axes of the
        camera that took the photograph: x right, y up, −z forward.
    texture: ``.png``, albedo, sRGB.
    surface: ``.npz`` of the voxels' surface, "vertices" (V, 3) in the same axes, "faces" (F, 3) and "part" (F,), the
        body file's six; empty where the method has none.
    """

    number: int
    params: str
    texture: str
    surface: str = ""


@dataclass(frozen=True)
class BodyResult(Result):
    """What the backend answers: bodies from left to right, and the camera that took the photograph.

    size: (width, height) of the picture; focal: in its pixels; the axis meets its centre. light: ``.json`` of the
    light probe that was found on the people, empty where they show too little of it; upright: ``.png`` of a photograph
    whose file is stored on its side, else empty. Paths are relative to the job folder.
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

    @classmethod
    @reading_result()
    def load(cls, folder: Path) -> BodyResult:
        """Read ``result.json``. Raises PenumbraError."""
        data = read_result(folder)
        people = tuple(BodyPerson(**person) for person in data["people"])
        return cls(**{**data, "people": people, "size": tuple(data["size"])})


@dataclass(frozen=True)
class ObjectJob:
    """What Blender asks for: the object in a photograph, as a mesh with parts, albedo, light and camera.

    image, mask: absolute paths; the mask is white on the object, and empty where box or the image's alpha tells.
    box: left, top, right, bottom around the object, in fractions of the picture, or None.
    side: of the grid that the mesh is made on. refine: fit the object to the picture.
    device: "auto", "cpu" or "cuda".
    """

    image: str
    mask: str = ""
    box: tuple[float, float, float, float] | None = None
    side: int = 128
    refine: bool = True
    device: str = "auto"

    def save(self, folder: Path) -> None:
        """Write ``job.json`` into the job folder."""
        write_job(folder, "object", dataclasses.asdict(self))

    @classmethod
    def load(cls, folder: Path) -> ObjectJob:
        """Read ``job.json``. Raises PenumbraError as `read_job` does."""
        data = read_job(folder)[1]
        return cls(**{**data, "box": tuple(data["box"]) if data["box"] else None})


@dataclass(frozen=True)
class ObjectResult(Result):
    """What the backend answers: an object in object space, x right, y up, +z its front, within the unit ball.

    mesh: ``.npz`` with "vertices" (V, 3), "faces" (F, 3), "albedo" (V, 3) linear Rec.709, and "part" (F,), each face's;
        relative to the job folder, as the other files.
    codes: ``.npz`` of the network's codes.
    axes: (3, 3) right, up and back of the camera that took the photograph; place: (3,) where it stands. focal: in the
        photograph's longer sides. shift: (right, up) of the picture's middle from the axis, in longer sides.
    light: (9, 3) spherical harmonics of a white surface's shading, in object space.
    category: the known kind that it is nearest to, with its probability.
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
        return cls(**{**data, "size": tuple(data["size"]), "shift": tuple(data["shift"])})
