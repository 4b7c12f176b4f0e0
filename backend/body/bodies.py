# SPDX-License-Identifier: GPL-3.0-or-later
"""Posed, rigged, textured bodies of the people in a photograph: Blender's job, and `python -m backend body IMAGE`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
import trimesh
from trimesh.exchange.obj import export_obj

from .. import device as devices
from ..images import write_png
from ..import_jobs import BodyJob, BodyPerson, BodyResult
from ..photograph import Photograph, read_photograph, upright_copy
from ..protocol import PenumbraError, replacing
from ..shading import probe as probes
from ..shading.network import ShadingNet
from ..shading.probe import LightProbe
from ..weights import load_model
from .albedo import delight
from .bodynet.surface import Surface
from .gltf import write_glb
from .lasor.raster import coverage
from .model import BodyModel
from .reconstruct import Body, Found, Progress, find_bodies
from .rotations import axis_angles
from .texture import body_texture


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
    """Albedo textures of the bodies by number, (S, S, 3) linear, and the light that the people are seen in.

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


def write_surface(path: Path, surface: Surface) -> None:
    """See `import_jobs.BodyPerson`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, vertices=surface.vertices, faces=surface.faces, part=surface.part)


def import_bodies(folder: Path, progress: Progress) -> BodyResult:
    """Do the `BodyJob` in `folder`; writes ``result.json`` and its files there. Raises PenumbraError."""
    job, started = BodyJob.load(folder), time.perf_counter()
    progress("Reading the photograph", 0.0)
    photograph, device = read_photograph(Path(job.image)), devices.pick(job.device)
    found = find_bodies(
        photograph,
        job.person,
        job.refine,
        device,
        lambda stage, share: progress(stage, 0.05 + 0.55 * share),
        job.method,
    )
    painted, light = textures(photograph, found, lambda stage, share: progress(stage, 0.6 + 0.4 * share))
    written = []
    for number, body in found.bodies.items():
        surface = f"surface_{number + 1}.npz" if body.surface else ""
        person = BodyPerson(number + 1, f"params_{number + 1}.npz", f"texture_{number + 1}.png", surface)
        write_params(folder / person.params, photograph, body)
        write_png(folder / person.texture, painted[number])
        if body.surface:
            write_surface(folder / person.surface, body.surface)
        written.append(person)
    if light:
        light.save(folder / "light.json")
    result = BodyResult(
        tuple(written),
        photograph.size,
        photograph.focal,
        "light.json" if light else "",
        upright_copy(photograph, Path(job.image), folder),
        {"Import": time.perf_counter() - started},
        device.type,
        devices.versions(),
        tuple(f"Person {number + 1}: {problem}" for number, problem in found.problems.items()),
    )
    result.save(folder)
    return result


def write(folder: Path, photograph: Photograph, body: Body, texture: np.ndarray) -> None:
    """``body.glb`` and ``body.obj`` in camera space, ``params.npz``, ``texture.png``; where there are voxels, also
    ``surface.obj`` and ``surface.npz``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = BodyModel.load().body
    write_png(folder / "texture.png", texture)
    camera, png = (photograph.size, photograph.focal), (folder / "texture.png").read_bytes()
    write_glb(folder / "body.glb", data, body.betas, body.rotations, body.place, *camera, png)
    mesh = trimesh.Trimesh(body.mesh("body").vertices, data.faces, process=False)
    _write_obj(folder / "body.obj", mesh)
    if body.surface:
        _write_obj(folder / "surface.obj", trimesh.Trimesh(body.surface.vertices, body.surface.faces, process=False))
        write_surface(folder / "surface.npz", body.surface)
    write_params(folder / "params.npz", photograph, body)


def _write_obj(path: Path, mesh: trimesh.Trimesh) -> None:
    with replacing(path) as temporary:
        temporary.write_text(export_obj(mesh, include_normals=True), "utf-8")


def run(arguments: argparse.Namespace) -> int:
    """`python -m backend body`: people are numbered from left to right. 0, or 1 where nobody can be reconstructed."""
    try:
        photograph = read_photograph(arguments.image)
        device = devices.pick("auto")
        found = find_bodies(photograph, arguments.person, arguments.refine, device, method=arguments.method)
        painted, light = textures(photograph, found)
        for number, body in found.bodies.items():
            write(arguments.out / str(number + 1), photograph, body, painted[number])
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
