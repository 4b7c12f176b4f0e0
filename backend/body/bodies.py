# SPDX-License-Identifier: GPL-3.0-or-later
"""Posed, rigged, textured bodies of the people in a photograph: Blender's job, and `python -m backend body IMAGE`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import trimesh
from torch import Tensor
from trimesh.exchange.obj import export_obj

from .. import device as devices
from ..images import write_png
from ..import_jobs import BodyJob, BodyPerson, BodyResult
from ..photograph import Photograph, read_photograph, write_upright
from ..protocol import CHARACTER, Mesh, PenumbraError, replacing
from ..shading import probe as probes
from ..shading.network import ShadingNet
from ..shading.probe import LightProbe
from ..weights import load_model
from .albedo import delight
from .detect import Person, people
from .gltf import write_glb
from .lasor.camera import weak_perspective
from .lasor.estimate import Sight, in_picture, sight, translation
from .lasor.network import Estimate, Lasor
from .lasor.proxy import crop
from .lasor.raster import coverage
from .lasor.refine import Refiner
from .lasor.synthesis import TARGET
from .model import BodyModel
from .rotations import axis_angles
from .surface import vertex_normals
from .texture import body_texture

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Body:
    """One person's body in the photograph's camera space, see `lasor.camera`.

    betas: (10,). rotations: (24, 3, 3). place: (3,) metres. outline: (V, 2) pixels, the weak-perspective projection.
    """

    betas: np.ndarray
    rotations: np.ndarray
    place: np.ndarray
    outline: np.ndarray

    def mesh(self, name: str) -> Mesh:
        model = BodyModel.load()
        rotations, place = torch.from_numpy(self.rotations)[None], torch.from_numpy(self.place).float()[None]
        vertices = model(torch.from_numpy(self.betas)[None], rotations, place)[0][0].numpy()
        normals = vertex_normals(vertices, model.body.faces).astype(np.float32)
        return Mesh(name, CHARACTER, vertices, model.body.faces, normals[model.body.faces])


@dataclass(frozen=True)
class Found:
    """The people found in a photograph, from left to right, the bodies of some of them by their number there, and what
    hindered the others' reconstruction."""

    people: list[Person]
    bodies: dict[int, Body]
    problems: dict[int, PenumbraError]


def find_bodies(
    photograph: Photograph, only: int, refine: bool, device: torch.device, progress: Progress = lambda *_: None
) -> Found:
    """Everybody's body, or that of one person `only`, counted from the left, 1 the first.

    Raises PenumbraError where nobody can be reconstructed.
    """
    progress("Finding people", 0.0)
    found = people(photograph.encoded)
    progress("Loading LASOR", 0.4)
    network = cast(Lasor, load_model("lasor")[0]).to(device)
    return bodies_of(found, only, network, photograph.focal, refine, lambda share: progress("Reconstructing", share))


def bodies_of(
    found: list[Person],
    only: int,
    network: Lasor,
    focal: float,
    refine: bool,
    progress: Callable[[float], None] = lambda _: None,
) -> Found:
    """`find_bodies` for people who are found already."""
    if only and not 1 <= only <= len(found):
        raise PenumbraError(f"There is no person {only} in the picture.", f"Choose one of 1 to {len(found)}.")
    bodies: dict[int, Body] = {}
    problems: dict[int, PenumbraError] = {}
    asked = [only - 1] if only else list(range(len(found)))
    for step, number in enumerate(asked):
        progress(0.5 + 0.5 * step / len(asked))
        try:
            bodies[number] = reconstruct(found, number, network, focal, refine)
        except PenumbraError as problem:
            problems[number] = problem
    if not bodies:
        raise next(iter(problems.values()))
    return Found(found, bodies, problems)


@torch.inference_mode()
def reconstruct(found: list[Person], number: int, network: Lasor, focal: float, refine: bool = False) -> Body:
    """The body of one of the people in a picture. Raises PenumbraError where too little is seen of the person."""
    person = found[number]
    height, width = person.mask.shape
    seen = sight(person.mask, person.points, person.confidence)
    estimate = _on_processor(network(seen.proxy.to(network.mean.device)))
    if refine:
        others = np.max([p.mask for i, p in enumerate(found) if i != number] or [np.zeros_like(person.mask)], 0)
        estimate = _refined(estimate, seen, person, others)
    vertices, _ = BodyModel.load()(estimate.betas, estimate.rotations)
    return Body(
        estimate.betas[0].numpy(),
        estimate.rotations[0].numpy(),
        translation(estimate.camera[0], seen.centre, seen.side, (width, height), focal),
        in_picture(weak_perspective(vertices, estimate.camera)[0], seen.centre, seen.side),
    )


def _on_processor(estimate: Estimate) -> Estimate:
    return Estimate(estimate.camera.cpu(), estimate.rotations.cpu(), estimate.betas.cpu())


@torch.inference_mode(False)
def _refined(estimate: Estimate, seen: Sight, person: Person, others: np.ndarray) -> Estimate:
    """Fitted to what was seen. others: (H, W) coverage by other people, behind whom anything may be."""
    known = torch.from_numpy((others < 0.5).astype(np.float32))[None, None]
    centre, side = torch.from_numpy(seen.centre)[None], torch.tensor([seen.side])
    unknown = 1 - crop(known, centre, side, TARGET)[:, 0]  # beyond the picture as well
    confidence = torch.from_numpy(person.confidence * seen.found).float()[None]
    start = Estimate(estimate.camera.clone(), estimate.rotations.clone(), estimate.betas.clone())
    mask = F.avg_pool2d(seen.proxy[:, :1].clone(), seen.proxy.shape[-1] // TARGET)[:, 0]
    points: Tensor = torch.from_numpy(seen.points)[None].float()
    return Refiner(BodyModel.load(coarse=True))(start, points, confidence, mask, unknown)


def overlay(photograph: Photograph, found: Found) -> np.ndarray:
    """(H, W, 3) linear: the bodies' outlines red, the silhouettes that were seen blue, the keypoints green."""
    shown = photograph.picture.copy()
    size, faces = max(photograph.size), BodyModel.load().faces
    for number, body in found.bodies.items():
        person = found.people[number]
        mask = coverage(torch.from_numpy(body.outline)[None].float(), faces, size)[0].numpy()
        mask = mask[: shown.shape[0], : shown.shape[1]]
        for layer, colour in ((person.mask > 0.5, (0.1, 0.2, 0.9)), (mask, (0.9, 0.1, 0.1))):
            shown[layer] = 0.75 * shown[layer] + 0.25 * np.array(colour, np.float32)
        for (x, y), sure in zip(person.points, person.confidence, strict=True):
            if sure > 0:
                cv2.circle(shown, (int(x), int(y)), max(2, size // 200), (0.1, float(sure), 0.1), -1)
    return shown


def textures(
    photograph: Photograph, found: Found, progress: Progress = lambda *_: None
) -> tuple[dict[int, np.ndarray], LightProbe | None]:
    """Albedo textures of the bodies by number, sRGB-free linear (S, S, 3), and the light that the people are seen in.

    None where nobody shows enough of the light; the texture then has the photograph's own colours.
    """
    network, data = cast(ShadingNet, load_model("shadingnet")[0]), BodyModel.load().body
    made: dict[int, np.ndarray] = {}
    lights: list[LightProbe] = []
    for step, (number, body) in enumerate(found.bodies.items()):
        progress("Taking the light from the texture", step / len(found.bodies))
        mesh, mask = body.mesh(f"person {number + 1}"), found.people[number].mask
        parts = data.extra["face_parts6"].astype(np.int64)
        delit = delight(photograph.picture, photograph.camera, mesh, parts, mask, network)
        colour, known = (delit.albedo, delit.known) if delit else (photograph.picture, mask > 0.5)
        made[number] = body_texture(data, mesh, photograph.camera, colour, known)
        if delit:
            lights.append(delit.light)
    if not lights:
        return made, None
    return made, probes.mean(lights, [light.confidence + 1e-3 for light in lights], np.eye(3))


def write_params(path: Path, photograph: Photograph, body: Body) -> None:
    """See `import_jobs.BodyPerson`."""
    pose = axis_angles(torch.from_numpy(body.rotations)).numpy()
    facts = {"betas": body.betas, "pose": pose, "trans": body.place}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **facts, focal=photograph.focal, size=photograph.size)


def import_bodies(folder: Path, progress: Progress) -> BodyResult:
    """Do the `BodyJob` in `folder`; writes ``result.json`` and its files there. Raises PenumbraError."""
    job, started = BodyJob.load(folder), time.perf_counter()
    progress("Reading the photograph", 0.0)
    photograph, device = read_photograph(Path(job.image)), devices.pick(job.device)
    found = find_bodies(
        photograph, job.person, job.refine, device, lambda stage, share: progress(stage, 0.05 + 0.55 * share)
    )
    painted, light = textures(photograph, found, lambda stage, share: progress(stage, 0.6 + 0.4 * share))
    written = []
    for number, body in found.bodies.items():
        person = BodyPerson(number + 1, f"params_{number + 1}.npz", f"texture_{number + 1}.png")
        write_params(folder / person.params, photograph, body)
        write_png(folder / person.texture, painted[number])
        written.append(person)
    if light:
        light.save(folder / "light.json")
    if photograph.turns:
        write_upright(Path(job.image), folder / "upright.png")
    result = BodyResult(
        tuple(written),
        photograph.size,
        photograph.focal,
        "light.json" if light else "",
        "upright.png" if photograph.turns else "",
        {"Import": time.perf_counter() - started},
        device.type,
        devices.versions(),
        tuple(f"Person {number + 1}: {problem}" for number, problem in found.problems.items()),
    )
    result.save(folder)
    return result


def write(folder: Path, photograph: Photograph, body: Body) -> None:
    """``body.glb``, ``body.obj`` (both in camera space) and ``params.npz``."""
    folder.mkdir(parents=True, exist_ok=True)
    data = BodyModel.load().body
    write_glb(folder / "body.glb", data, body.betas, body.rotations, body.place, photograph.size, photograph.focal)
    mesh = trimesh.Trimesh(body.mesh("body").vertices, data.faces, process=False)
    with replacing(folder / "body.obj") as temporary:
        temporary.write_text(export_obj(mesh, include_normals=True), "utf-8")
    write_params(folder / "params.npz", photograph, body)


def run(arguments: argparse.Namespace) -> int:
    """`python -m backend body`: people are numbered from left to right. 0, or 1 where nobody can be reconstructed."""
    try:
        photograph = read_photograph(arguments.image)
        found = find_bodies(photograph, arguments.person, arguments.refine, devices.pick("auto"))
        painted, light = textures(photograph, found)
        for number, body in found.bodies.items():
            write(arguments.out / str(number + 1), photograph, body)
            write_png(arguments.out / str(number + 1) / "texture.png", painted[number])
        if light:
            light.save(arguments.out / "light.json")
        write_png(arguments.out / "overlay.png", overlay(photograph, found))
    except PenumbraError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{len(found.bodies)} of {len(found.people)} people, numbered from left to right, in {arguments.out}.")
    for number, problem in found.problems.items():
        print(f"Person {number + 1}: {problem}")
    return 0
