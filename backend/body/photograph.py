# SPDX-License-Identifier: GPL-3.0-or-later
"""Posed, rigged bodies of the people in a photograph: `python -m backend body IMAGE --out DIR`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import PIL
import torch
import torch.nn.functional as F
import trimesh
from PIL import Image
from trimesh.exchange.obj import export_obj

from ..images import read_image, srgb_encode, write_png
from ..protocol import PenumbraError, replacing
from ..weights import load_model
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

WORKING = 1280  # pixels of the longer side at which people are looked for
FOCAL = 50 / 36  # longer sides of the picture: Blender's own camera, where nothing is known of the photograph's
_TURNS = {3: 2, 6: 3, 8: 1}  # quarter turns to the left, by EXIF's orientation


@dataclass(frozen=True)
class Body:
    """One person's body. Camera space as in `lasor.camera`; the picture is the working one.

    betas: (10,). rotations: (24, 3, 3). place: (3,) metres. outline: (V, 2) pixels, the weak-perspective projection.
    """

    betas: np.ndarray
    rotations: np.ndarray
    place: np.ndarray
    outline: np.ndarray


def read_photograph(path: Path) -> np.ndarray:
    """(H, W, 3) linear, upright as its EXIF data say, at most WORKING pixels a side.

    Raises PenumbraError as `read_image` does.
    """
    picture = read_image(path)
    try:
        with Image.open(path) as file:
            orientation = file.getexif().get(0x0112, 1)
    except (OSError, PIL.UnidentifiedImageError):  # OpenEXR, Radiance
        orientation = 1
    picture = np.rot90(picture, _TURNS.get(orientation, 0))
    scale = WORKING / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(np.ascontiguousarray(picture), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture)


@torch.inference_mode()
def reconstruct(found: list[Person], number: int, network: Lasor, refine: bool = False) -> Body:
    """The body of one of the people in a picture. Raises PenumbraError where too little is seen of the person."""
    person = found[number]
    height, width = person.mask.shape
    seen = sight(person.mask, person.points, person.confidence)
    estimate = network(seen.proxy)
    if refine:
        others = np.max([p.mask for i, p in enumerate(found) if i != number] or [np.zeros_like(person.mask)], 0)
        estimate = _refined(estimate, seen, person, others)
    body = BodyModel.load()
    vertices, _ = body(estimate.betas, estimate.rotations)
    return Body(
        estimate.betas[0].numpy(),
        estimate.rotations[0].numpy(),
        translation(estimate.camera[0], seen.centre, seen.side, (width, height), FOCAL * max(width, height)),
        in_picture(weak_perspective(vertices, estimate.camera)[0], seen.centre, seen.side),
    )


@torch.inference_mode(False)
def _refined(estimate: Estimate, seen: Sight, person: Person, others: np.ndarray) -> Estimate:
    """Fitted to what was seen. others: (H, W) coverage by other people, behind whom anything may be."""
    known = torch.from_numpy((others < 0.5).astype(np.float32))[None, None]
    centre, side = torch.from_numpy(seen.centre)[None], torch.tensor([seen.side])
    unknown = 1 - crop(known, centre, side, TARGET)[:, 0]  # beyond the picture as well
    confidence = torch.from_numpy(person.confidence * seen.found).float()[None]
    start = Estimate(estimate.camera.clone(), estimate.rotations.clone(), estimate.betas.clone())
    mask = F.avg_pool2d(seen.proxy[:, :1].clone(), seen.proxy.shape[-1] // TARGET)[:, 0]
    points = torch.from_numpy(seen.points)[None].float()
    return Refiner(BodyModel.load(coarse=True))(start, points, confidence, mask, unknown)


def overlay(picture: np.ndarray, found: list[Person], bodies: dict[int, Body]) -> np.ndarray:
    """(H, W, 3) linear: the bodies' outlines red, the silhouettes that were seen blue, the keypoints green."""
    shown = picture.copy()
    faces = BodyModel.load().faces
    for number, body in bodies.items():
        size = max(picture.shape[:2])
        mask = coverage(torch.from_numpy(body.outline)[None].float(), faces, size)[0].numpy()
        mask = mask[: picture.shape[0], : picture.shape[1]]
        for layer, colour in ((found[number].mask > 0.5, (0.1, 0.2, 0.9)), (mask, (0.9, 0.1, 0.1))):
            shown[layer] = 0.75 * shown[layer] + 0.25 * np.array(colour, np.float32)
        for (x, y), sure in zip(found[number].points, found[number].confidence, strict=True):
            if sure > 0:
                cv2.circle(shown, (int(x), int(y)), max(2, size // 200), (0.1, float(sure), 0.1), -1)
    return shown


def write(folder: Path, body: Body, size: tuple[int, int]) -> None:
    """``body.glb``, ``body.obj`` (both in camera space) and ``params.npz``. size: (width, height) of the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    model, focal = BodyModel.load(), FOCAL * max(size)
    write_glb(folder / "body.glb", model.body, body.betas, body.rotations, body.place, size, focal)
    rotations, betas = torch.from_numpy(body.rotations)[None], torch.from_numpy(body.betas)[None]
    vertices, _ = model(betas, rotations, torch.from_numpy(body.place).float()[None])
    mesh = trimesh.Trimesh(vertices[0].numpy(), model.body.faces, process=False)
    with replacing(folder / "body.obj") as temporary:
        temporary.write_text(export_obj(mesh, include_normals=True), "utf-8")
    pose = axis_angles(rotations[0]).numpy()
    with replacing(folder / "params.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, betas=body.betas, pose=pose, trans=body.place, focal=focal, size=size)


def run(arguments: argparse.Namespace) -> int:
    """`python -m backend body`: people are numbered from left to right. 0, or 1 where nobody can be reconstructed."""
    try:
        picture = read_photograph(arguments.image)
        network = cast(Lasor, load_model("lasor")[0])
        found = people(np.round(srgb_encode(picture.clip(0, 1)) * 255).astype(np.uint8))
        bodies, problems = _all(found, arguments.person, network, arguments.refine)
        if not bodies:
            raise next(iter(problems.values()))
        for number, body in bodies.items():
            write(arguments.out / str(number + 1), body, picture.shape[1::-1])
        write_png(arguments.out / "overlay.png", overlay(picture, found, bodies))
    except PenumbraError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{len(bodies)} of {len(found)} people, numbered from left to right, in {arguments.out}.")
    for number, problem in problems.items():
        print(f"Person {number + 1}: {problem}")
    return 0


def _all(
    found: list[Person], only: int | None, network: Lasor, refine: bool
) -> tuple[dict[int, Body], dict[int, PenumbraError]]:
    """Bodies by number, and what hindered the others. only: one person, counted from 1."""
    if only is not None and not 1 <= only <= len(found):
        raise PenumbraError(f"There is no person {only} in the picture.", f"Choose one of 1 to {len(found)}.")
    bodies: dict[int, Body] = {}
    problems: dict[int, PenumbraError] = {}
    for number in range(len(found)) if only is None else [only - 1]:
        try:
            bodies[number] = reconstruct(found, number, network, refine)
        except PenumbraError as problem:
            problems[number] = problem
    return bodies, problems
