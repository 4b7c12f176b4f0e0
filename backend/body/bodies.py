# SPDX-License-Identifier: GPL-3.0-or-later
"""Posed, rigged, textured bodies of the people in a photograph: Blender's job, and `python -m backend body IMAGE`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import trimesh
from trimesh.exchange.obj import export_obj

from .. import device as devices
from ..images import write_png
from ..import_jobs import BodyJob, BodyPerson, BodyResult, is_video
from ..photograph import Photograph, focal_notice, read_photograph, upright_copy
from ..protocol import PenumbraError, replacing
from ..worker import TerminalLine
from . import take_files
from .bodynet.surface import Surface
from .gltf import write_glb
from .lasor.raster import coverage
from .model import BodyModel
from .portraits import Portrait, textures
from .reconstruct import Body, Found, Progress, find_bodies, problem_notices
from .rotations import axis_angles


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


def portraits(photograph: Photograph, found: Found) -> dict[int, Portrait]:
    return {number: Portrait(photograph, found.people[number], body) for number, body in found.bodies.items()}


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
    job = BodyJob.load(folder)
    result = take_files.import_take(folder, job, progress) if job.is_take else _import_photograph(folder, job, progress)
    result.save(folder)
    return result


def _import_photograph(folder: Path, job: BodyJob, progress: Progress) -> BodyResult:
    started = time.perf_counter()
    progress("Reading the photograph", 0.0)
    photograph, device = read_photograph(Path(job.image), job.focal), devices.pick(job.device)
    found = find_bodies(
        photograph,
        job.who,
        job.refine,
        device,
        lambda stage, share: progress(stage, 0.05 + 0.55 * share),
        job.method,
    )
    shown = portraits(photograph, found)
    painted, light = textures(shown, lambda stage, share: progress(stage, 0.6 + 0.4 * share))
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
    return BodyResult(
        tuple(written),
        photograph.size,
        photograph.focal,
        "light.json" if light else "",
        upright_copy(photograph, Path(job.image), folder),
        {"Import": time.perf_counter() - started},
        device.type,
        devices.versions(),
        (*focal_notice(photograph.lens), *problem_notices(found.problems)),
    )


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
    who, line = " ".join(arguments.person), TerminalLine()
    try:
        if arguments.sequence or is_video(arguments.image):
            made, seen, notices = take_files.write_take(arguments, who, line.show)
        else:
            made, seen, notices = _write_photograph(arguments, who)
    except PenumbraError as problem:
        line.end()
        print(problem, file=sys.stderr)
        return 1
    line.end()
    print(f"{made} of {seen} people, numbered from left to right, in {arguments.out}.")
    for notice in notices:
        print(notice)
    return 0


def _write_photograph(arguments: argparse.Namespace, who: str) -> tuple[int, int, tuple[str, ...]]:
    """Returns how many bodies were made, of how many people, and notices."""
    photograph = read_photograph(arguments.image, arguments.focal)
    found = find_bodies(photograph, who, arguments.refine, devices.pick("auto"), method=arguments.method)
    painted, light = textures(portraits(photograph, found))
    for number, body in found.bodies.items():
        write(arguments.out / str(number + 1), photograph, body, painted[number])
    if light:
        light.save(arguments.out / "light.json")
    write_png(arguments.out / "overlay.png", overlay(photograph, found))
    notices = (*focal_notice(photograph.lens), *problem_notices(found.problems))
    return len(found.bodies), len(found.people), notices
