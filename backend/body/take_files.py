# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bodies of a take are written to: Blender's job, and the files of `python -m backend body VIDEO`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from .. import device as devices
from ..footage import Footage, open_footage
from ..images import srgb_encode, write_png
from ..import_jobs import BodyJob, BodyPerson, BodyResult, TakeFacts
from ..photograph import Photograph, focal_notice
from ..protocol import PenumbraError, replacing
from ..rays.camera import project
from .gltf import write_glb
from .lasor.raster import coverage
from .model import BodyModel
from .portraits import Portrait, textures
from .reconstruct import Progress, problem_notices
from .rotations import axis_angles
from .takes import Performance, Performances, find_performances
from .tracking import USUAL_FPS

PALETTE = ((0.9, 0.1, 0.1), (0.1, 0.6, 0.1), (0.1, 0.2, 0.9), (0.8, 0.6, 0.0), (0.6, 0.1, 0.7), (0.0, 0.6, 0.7))


def import_take(folder: Path, job: BodyJob, progress: Progress) -> BodyResult:
    """Do a `BodyJob` of a take; writes the result's files into `folder`. Raises PenumbraError."""
    started = time.perf_counter()
    progress("Reading the take", 0.0)
    footage, device = open_footage(Path(job.image), job.focal, job.fps), devices.pick(job.device)

    def finding(stage: str, share: float) -> None:
        progress(stage, 0.02 + 0.83 * share)

    found = find_performances(footage, job.who, job.refine, device, finding, job.method)
    painted, light = textures(portraits(footage, found), lambda stage, share: progress(stage, 0.85 + 0.15 * share))
    written = []
    for number, one in found.people.items():
        person = BodyPerson(number + 1, f"params_{number + 1}.npz", f"texture_{number + 1}.png")
        write_params(folder / person.params, footage, one)
        write_png(folder / person.texture, painted[number])
        written.append(person)
    if light:
        light.save(folder / "light.json")
    return BodyResult(
        tuple(written),
        footage.size,
        footage.focal,
        "light.json" if light else "",
        "",
        {"Import": time.perf_counter() - started},
        device.type,
        devices.versions(),
        (*focal_notice(footage.lens), *problem_notices(found.problems)),
        TakeFacts(str(footage.path), footage.first, footage.count, footage.fps),
    )


def write_take(arguments: argparse.Namespace, who: str, progress: Progress) -> tuple[int, int, tuple[str, ...]]:
    """The files of `python -m backend body` for a take. Raises PenumbraError.

    Returns how many bodies were made, of how many people, and notices.
    """
    footage, device = open_footage(arguments.image, arguments.focal, arguments.fps), devices.pick("auto")

    def finding(stage: str, share: float) -> None:
        progress(stage, 0.8 * share)

    found = find_performances(footage, who, arguments.refine, device, finding, arguments.method)
    painted, light = textures(portraits(footage, found), lambda stage, share: progress(stage, 0.8 + 0.1 * share))
    for number, one in found.people.items():
        _write_person(arguments.out / str(number + 1), footage, one, painted[number])
    if light:
        light.save(arguments.out / "light.json")
    write_overlay(arguments.out / "overlay.mp4", footage, found, lambda share: progress("Drawing", 0.9 + 0.1 * share))
    notices = (*focal_notice(footage.lens), *problem_notices(found.problems))
    return len(found.people), len(found.tracks), notices


def portraits(footage: Footage, found: Performances) -> dict[int, Portrait]:
    """Everybody in the frame that shows them best."""
    best = {one.best for one in found.people.values()}
    pictures = dict(footage.frames(best))
    shown = ((number, one, pictures.get(one.best)) for number, one in found.people.items())
    return {number: Portrait(picture, one.sighting.person, one.body) for number, one, picture in shown if picture}


def write_params(path: Path, footage: Footage, one: Performance) -> None:
    """See `import_jobs.BodyPerson`."""
    pose = axis_angles(torch.from_numpy(one.rotations)).numpy()
    facts = {"betas": one.betas, "pose": pose, "trans": one.places, "frames": one.frames, "seen": one.seen}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **facts, focal=footage.focal, size=footage.size, fps=footage.fps)


def _write_person(folder: Path, footage: Footage, one: Performance, texture: np.ndarray) -> None:
    """An animated ``body.glb`` in camera space, ``params.npz`` and ``texture.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / "texture.png", texture)
    camera, png = (footage.size, footage.focal), (folder / "texture.png").read_bytes()
    times = one.frames / (footage.fps or USUAL_FPS)
    data = BodyModel.load().body
    write_glb(folder / "body.glb", data, one.betas, one.rotations, one.places, *camera, png, times)
    write_params(folder / "params.npz", footage, one)


def write_overlay(path: Path, footage: Footage, found: Performances, progress=lambda _: None) -> None:
    """The take with the smoothed bodies drawn over it, each in a colour of its own, and the keypoints that were seen.

    Raises PenumbraError where OpenCV cannot write the video.
    """
    width, height = (side - side % 2 for side in footage.size)  # as video codecs want it
    with replacing(path) as temporary:
        video = cv2.VideoWriter(
            str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), footage.fps or USUAL_FPS, (width, height)
        )
        if not video.isOpened():
            raise PenumbraError(f"{path.name} could not be written.", f"Check that {path.parent} can be written to.")
        try:
            for frame, photograph in footage.frames():
                progress(min(1.0, frame / footage.count))
                if photograph:
                    shown = np.round(255 * srgb_encode(drawn(photograph, found, frame).clip(0, 1))).astype(np.uint8)
                    video.write(np.ascontiguousarray(shown[:height, :width, ::-1]))
        finally:
            video.release()


def drawn(photograph: Photograph, found: Performances, frame: int) -> np.ndarray:
    """(H, W, 3) linear: one frame of `write_overlay`."""
    shown, size, model = photograph.picture.copy(), max(photograph.size), BodyModel.load(coarse=True)
    for number, one in found.people.items():
        row = frame - int(one.frames[0])
        if not 0 <= row < len(one.frames):
            continue
        pose = torch.from_numpy(np.float32(one.rotations[row]))[None]
        vertices = model(torch.from_numpy(one.betas)[None], pose)[0][0].numpy() + one.places[row]
        pixels, depth = project(photograph.camera, vertices)
        if (depth <= 0).any():
            continue
        mask = coverage(torch.from_numpy(pixels)[None].float(), model.faces, size)[0].numpy()
        mask = mask[: shown.shape[0], : shown.shape[1]]
        shown[mask] = 0.6 * shown[mask] + 0.4 * np.array(PALETTE[number % len(PALETTE)], np.float32)
        seen = found.tracks[number].sightings.get(frame)
        for (x, y), sure in zip(seen.points, seen.confidence, strict=True) if seen else ():
            if sure > 0:
                cv2.circle(shown, (int(x), int(y)), max(2, size // 200), (0.1, float(sure), 0.1), -1)
    return shown
