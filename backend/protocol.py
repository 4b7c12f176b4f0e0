# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract between Blender and the backend: messages, the job folder, and the errors an artist reads.

Both sides import this module, so it needs nothing but the standard library and NumPy.

A job is a folder. Blender writes ``job.json`` and the files it names; the backend writes ``result.json`` and the files
that it names. A `HarmonizeJob` is answered by a `HarmonizeResult`; the imports' jobs are in `import_jobs`. Between the
processes go JSON lines only: commands to the backend's standard input, messages from its standard output.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PROTOCOL_VERSION = 8

# What a mesh of the scene is to the character's light.
CHARACTER = "character"  # is shaded; occludes itself (RiCS)
RECEIVER = "receiver"  # stands in for a surface of the plate: receives the shadow, blocks suns
PROP = "prop"  # any other rendered mesh: blocks light
HOLDOUT = "holdout"  # stands in for an object of the plate: blocks light and cuts the character out
ROLES = (CHARACTER, RECEIVER, PROP, HOLDOUT)

# Who tells the light of a plate; names of their weights.
PROBENET = "probenet"
SHADINGNET = "shadingnet"

# How a shadow gets its depth and colour.
PHYSICAL = "physical"  # by the light that the character takes away
GENERATED = "generated"  # drawn by trained networks, within the traced outline
SHADOW_NETWORKS = ("shadow-predictors", "shadow-generator")  # names of their weights
SOFTEST = 30.0  # degrees; half-angle of the softest sun


class PenumbraError(Exception):
    """A problem that the artist can do something about: one plain sentence, and a remedy.

    fix: the operator of the extension that mends it; empty where none does.
    """

    def __init__(self, message: str, remedy: str = "", fix: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy
        self.fix = fix


def untrained(model: str, remedy: str = "") -> PenumbraError:
    """What is said where there are no weights of this name."""
    return PenumbraError(f"This version of Penumbra has no trained network for it (assets/weights/{model}).", remedy)


class Cancelled(Exception):
    """The artist pressed Esc or Cancel."""


@dataclass(frozen=True)
class Camera:
    """A perspective or orthographic camera of one frame.

    projection: (4, 4) clip from camera space, as `bpy.types.Object.calc_matrix_camera` gives it (OpenGL's clip space);
        lens shift, sensor fit, pixel aspect and clip distances are all in it.
    world_from_camera: (4, 4) rigid, metres; camera space is x right, y up, −z forward.
    width, height: pixels of the whole frame. All images of a job have this size, row 0 on top.
    border: (left, top, right, bottom) pixels, half open: only pixels inside it are traced and shaded.
    """

    projection: np.ndarray
    world_from_camera: np.ndarray
    width: int
    height: int
    border: tuple[int, int, int, int] | None = None

    @property
    def window(self) -> tuple[int, int, int, int]:
        """The pixels to work on: the border, or the whole frame."""
        return self.border or (0, 0, self.width, self.height)

    def to_json(self) -> dict[str, Any]:
        return {
            "projection": np.asarray(self.projection, np.float64).tolist(),
            "world_from_camera": np.asarray(self.world_from_camera, np.float64).tolist(),
            "width": self.width,
            "height": self.height,
            "border": list(self.border) if self.border else None,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Camera:
        return cls(
            np.array(data["projection"], np.float64),
            np.array(data["world_from_camera"], np.float64),
            int(data["width"]),
            int(data["height"]),
            tuple(data["border"]) if data["border"] else None,
        )


@dataclass(frozen=True)
class Mesh:
    """An evaluated, posed triangle mesh.

    vertices: (N, 3) float32 metres, camera space.
    triangles: (T, 3) int32.
    corner_normals: (T, 3, 3) float32 unit smooth normals, camera space.
    """

    name: str
    role: str
    vertices: np.ndarray
    triangles: np.ndarray
    corner_normals: np.ndarray


def save_meshes(path: Path, meshes: list[Mesh]) -> None:
    """Write meshes to one uncompressed ``.npz``."""
    arrays: dict[str, np.ndarray] = {"names": np.array([m.name for m in meshes], str)}
    arrays["roles"] = np.array([m.role for m in meshes], str)
    for i, m in enumerate(meshes):
        arrays[f"{i}.vertices"] = np.ascontiguousarray(m.vertices, np.float32)
        arrays[f"{i}.triangles"] = np.ascontiguousarray(m.triangles, np.int32)
        arrays[f"{i}.corner_normals"] = np.ascontiguousarray(m.corner_normals, np.float32)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load_meshes(path: Path) -> list[Mesh]:
    """Read what `save_meshes` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return [
            Mesh(
                str(name),
                str(role),
                data[f"{i}.vertices"],
                data[f"{i}.triangles"],
                data[f"{i}.corner_normals"],
            )
            for i, (name, role) in enumerate(zip(data["names"], data["roles"], strict=True))
        ]


@dataclass(frozen=True)
class Frame:
    """One frame of a job; paths are relative to the job folder.

    meshes: an ``.npz`` of `save_meshes`.
    passes: Blender's multilayer EXR of the character alone; `pass_names` maps "combined", "diffuse_color",
        "glossy_color", "emission", "normal" (world space), "depth" to the layer.pass prefix of its channels.
    plate: any image file, as photographed; absolute path, with its Blender colour space name.
    key: what this frame's result depends on, to resume an interrupted animation.
    light: ``.json`` of the light probe that lights it; empty estimates it.
    world: panorama, equirectangular as Blender's World has it, whose light is added to that of `light`; or empty.
    look: fingerprints of "pose", "camera" and "plate", by which Blender sees that a result is outdated.
    gloss: Blender's multilayer EXR of its gloss under the light of its result, whose passes `pass_names` names as
        "gloss_alpha" (combined), "gloss_color", "gloss_direct" and "gloss_indirect"; empty as long as there is none.
    """

    number: int
    camera: Camera
    meshes: str
    passes: str
    pass_names: dict[str, str]
    plate: str
    plate_colorspace: str = "sRGB"
    key: str = ""
    light: str = ""
    world: str = ""
    look: dict[str, str] = field(default_factory=dict)
    gloss: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}, "camera": self.camera.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Frame:
        return cls(**{**data, "camera": Camera.from_json(data["camera"])})


@dataclass(frozen=True)
class HarmonizeJob:
    """What Blender asks for: the characters of each frame, lit by its plate.

    characters: by name, the names of a character's meshes. Several shade and shadow each other; their shadows come in
        this order.
    ground_height: world z in metres of the ground plane that receives the shadow; None puts it under the lowest
        character vertex. Used only where no mesh is a receiver.
    ground: False where no ground plane is wanted.
    device: "auto", "cpu" or "cuda".
    estimator: who tells the light of a plate, PROBENET or SHADINGNET.
    match: names of the meshes that stand over a person in the plate, whose pixels then tell the light instead.
    only_light: estimate the light that the frames agree on, write it as ``light_0001.json`` …, and no image.
    multilayer: write each frame's images as one multilayer EXR as well.
    shadow: PHYSICAL or GENERATED.
    shadow_softness: degrees in [0, SOFTEST], the half-angle of the suns when they cast the shadow; None leaves them as
        they are.
    """

    characters: dict[str, list[str]]
    frames: tuple[Frame, ...]
    ground: bool = True
    ground_height: float | None = None
    device: str = "auto"
    estimator: str = PROBENET
    match: tuple[str, ...] = ()
    only_light: bool = False
    multilayer: bool = False
    shadow: str = PHYSICAL
    shadow_softness: float | None = None

    def save(self, folder: Path) -> None:
        """Write ``job.json`` into the job folder."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        write_job(folder, "harmonize", {**data, "frames": [frame.to_json() for frame in self.frames]})

    @classmethod
    def load(cls, folder: Path) -> HarmonizeJob:
        """Read ``job.json``. Raises PenumbraError as `read_job` does."""
        data = read_job(folder)[1]
        frames = tuple(Frame.from_json(f) for f in data["frames"])
        return cls(**{**data, "frames": frames, "match": tuple(data["match"])})


def check_shadow(shadow: str, softness: float | None, weights: Path) -> None:
    """Raises PenumbraError where a `HarmonizeJob` cannot have this shadow; weights: the folder of all networks'."""
    if shadow not in (PHYSICAL, GENERATED):
        raise PenumbraError(f"There is no shadow {shadow}.", f"Choose {PHYSICAL} or {GENERATED}.")
    if softness is not None and not 0 <= softness <= SOFTEST:
        raise PenumbraError(f"A softness of {softness:g}° is out of range.", f"Choose 0 to {SOFTEST:g} degrees.")
    for model in SHADOW_NETWORKS if shadow == GENERATED else ():
        if not (weights / model / "model.safetensors").is_file():
            raise untrained(model, "Choose Physical under Shadow.")


@dataclass(frozen=True)
class FrameResult:
    """The images of one frame, relative to the job folder; EXR, scene-linear Rec.709, whole frame.

    shading: RGB diffuse shading, 1 outside the character's coverage.
    shadow: RGB ratio in (0, 1], 1 outside the shadow.
    occlusion: one channel Y, the cosine-weighted share of the hemisphere that the character blocks; 0 outside it.
    albedo: RGBA, alpha is coverage, colour not premultiplied.
    rics: ``.npz`` that lets Blender re-light without the backend: "valid" (H, W) bool, and for its N pixels in
        row-major order the RiCS map "bits" (N,) uint64, "normals" (N, 3) float16 in camera space, and in 255ths the
        visibility of the probe's "cells" (N, 62) and "suns" (N, S) uint8.
    probe: ``.json`` of the light probe.
    cast: ``.npz`` that lets Blender cast the shadow again without the backend (`backend.shadow.recast.KeptShadow`);
        empty where networks have drawn it.
    key: what the images depend on, to resume an interrupted animation.
    multilayer: all images in one EXR, where the job asks for it; see `multilayer.write`.
    grain: RGB, what the plate's grain adds to the character; 0 outside its coverage.
    gloss: RGB radiance, not premultiplied, where the frame's was rendered.
    photograph: what `grain.Grain` has measured in the plate: "noise" (3, 2), and "blur" in pixels.
    shadows, mattes: of a job of several characters, by name: RGB, each one's own part of the shadow, whose product
        `shadow` is; and one channel Y, which pixels of the coverage are its own.
    """

    number: int
    shading: str
    shadow: str
    occlusion: str
    albedo: str
    rics: str
    probe: str
    key: str = ""
    multilayer: str = ""
    grain: str = ""
    gloss: str = ""
    cast: str = ""
    photograph: dict[str, Any] = field(default_factory=dict)
    shadows: dict[str, str] = field(default_factory=dict)
    mattes: dict[str, str] = field(default_factory=dict)


class Result:
    """Base of what the backend answers: dataclasses in ``result.json``."""

    def save(self, folder: Path) -> None:
        """Write ``result.json`` into the job folder."""
        write_json(folder / "result.json", dataclasses.asdict(self))  # type: ignore[call-overload]


@contextlib.contextmanager
def reading_result() -> Iterator[None]:
    """What cannot be read of a result becomes a PenumbraError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise PenumbraError(
            "The backend left no result that can be read.", "Run again; free some space where the disk is full."
        ) from problem


def read_result(folder: Path) -> dict[str, Any]:
    """The fields that `Result.save` wrote, the notices as their tuple."""
    data = json.loads((folder / "result.json").read_text("utf-8"))
    return {**data, "notices": tuple(data["notices"])}


@dataclass(frozen=True)
class HarmonizeResult(Result):
    """What the backend answers: images by frame, seconds by stage, and what the artist should know."""

    frames: tuple[FrameResult, ...]
    seconds: dict[str, float]
    device: str
    versions: dict[str, str]
    notices: tuple[str, ...] = field(default=())

    @classmethod
    @reading_result()
    def load(cls, folder: Path) -> HarmonizeResult:
        """Read ``result.json``. Raises PenumbraError."""
        data = read_result(folder)
        return cls(**{**data, "frames": tuple(FrameResult(**frame) for frame in data["frames"])})


def write_job(folder: Path, kind: str, data: dict[str, Any]) -> None:
    """Write ``job.json`` into the job folder."""
    write_json(folder / "job.json", {"protocol": PROTOCOL_VERSION, "kind": kind, **data})


def read_job(folder: Path) -> tuple[str, dict[str, Any]]:
    """What `write_job` wrote: kind and data. Raises PenumbraError where it was written for another protocol version."""
    data = json.loads((folder / "job.json").read_text("utf-8"))
    if data.pop("protocol", None) != PROTOCOL_VERSION:
        raise PenumbraError(
            "The backend and the extension are of different versions.", "Update the backend in the preferences."
        )
    return data.pop("kind"), data


# Messages, one JSON object a line. Blender sends: run, cancel, quit. The backend sends: hello, progress, done, error,
# cancelled. Every message but hello and quit carries the job's id. Memory is given back by ending the process.


def hello(device: str, versions: dict[str, str]) -> dict[str, Any]:
    return {"type": "hello", "protocol": PROTOCOL_VERSION, "device": device, "versions": versions}


def run(job_id: str, folder: Path) -> dict[str, Any]:
    return {"type": "run", "id": job_id, "folder": str(folder)}


def cancel(job_id: str) -> dict[str, Any]:
    return {"type": "cancel", "id": job_id}


def progress(job_id: str, stage: str, fraction: float, preview: str = "") -> dict[str, Any]:
    """fraction of the whole job, in [0, 1]; stage is what the artist reads.

    preview: file in the job's folder with a new picture of what is being made, left out where there is none:
    ``.npy`` of (H, W, 4) uint8, sRGB-encoded RGBA, row 0 on top.
    """
    shown = {"preview": preview} if preview else {}
    return {"type": "progress", "id": job_id, "stage": stage, "fraction": fraction, **shown}


def done(job_id: str) -> dict[str, Any]:
    """``result.json`` is written."""
    return {"type": "done", "id": job_id}


def cancelled(job_id: str) -> dict[str, Any]:
    """The job has ended as asked, before it was done."""
    return {"type": "cancelled", "id": job_id}


def error(job_id: str, problem: PenumbraError) -> dict[str, Any]:
    return {"type": "error", "id": job_id, "message": problem.message, "remedy": problem.remedy}


def encode(message: dict[str, Any]) -> bytes:
    """A message as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class replacing:  # noqa: N801 (reads as a verb: with replacing(path) as temporary)
    """A temporary path beside `path` that takes its place only if the block succeeds.

    The temporary name keeps the suffix, so writers that look at it work. A failed block leaves `path` as it was.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.temporary = self.path.with_name(f".{self.path.stem}-{uuid.uuid4().hex[:8]}{self.path.suffix}")

    def __enter__(self) -> Path:
        return self.temporary

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        if kind is None:
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1), "utf-8")
