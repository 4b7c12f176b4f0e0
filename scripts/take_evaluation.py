# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures Import Body on a take: a rendered person in a motion is recovered from the pictures alone.

The person is clothed and lit as in BodyNet's pictures, and walks past one camera that stands. What is measured is what
MediaPipe, LASOR, the fit and the smoothing make of it together.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from backend import device as devices
from backend.body import metrics, takes
from backend.body.builtin_motions import BUILTIN, builtin
from backend.body.bvh import load_bvh
from backend.body.model import BodyModel
from backend.body.motion import resample
from backend.body.people import make_person
from backend.body.retarget import retarget
from backend.body.rotations import rotation_matrices
from backend.footage import open_footage
from backend.import_jobs import LARGEST
from backend.rays.camera import fov_from_lens, look_at, perspective
from backend.shading.environments import sky
from backend.shading.moments import Z_UP, posed_skins
from backend.shading.photograph import seen, view_directions
from scripts.rendered_people import photographed

COLUMNS = {
    "pa_mpjpe_mm": ("PA-MPJPE, mm", "{:.1f}"),
    "mpjpe_mm": ("MPJPE about the pelvis, mm", "{:.1f}"),
    "acceleration_error": ("acceleration error, m/s²", "{:.1f}"),
    "acceleration": ("mean acceleration, m/s²", "{:.1f}"),
    "depth_jitter_mm": ("change of the depth's error a frame, mm", "{:.1f}"),
}
PERSON, HABIT = 103, 1003  # of the people and built-in motions that no network has seen
AWAY, LENS = 4.5, 50.0  # metres, and millimetres of Blender's sensor, which videos are taken to have


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--motion", default="walk", help="a .bvh file, or one of the built-in motions, by a habit for tests")
    p.add_argument("--frames", type=int, default=24)
    p.add_argument("--start", type=int, default=0, help="the motion's first frame")
    p.add_argument("--fps", type=int, default=24)
    p.add_argument("--size", type=int, nargs=2, default=(480, 360), metavar=("WIDTH", "HEIGHT"), help="pixels")
    p.add_argument("--side", type=float, default=35.0, help="degrees by which the camera stands aside of the front")
    p.add_argument("--out", type=Path, help="folder in which the pictures are kept, to be looked at")


def measure(options: argparse.Namespace) -> tuple[list[dict], str]:
    """The rows, and the command's arguments that give them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        true = render(folder, options)
        rows = recover(folder, true, options.fps, Path(options.motion).stem)
    facts = {"motion": Path(options.motion).name, "frames": options.frames, "start": options.start, "fps": options.fps}
    facts |= {"size": " ".join(map(str, options.size)), "side": f"{options.side:g}"}
    return rows, " ".join(["take", *(f"--{name} {value}" for name, value in facts.items())])


def render(folder: Path, options: argparse.Namespace) -> np.ndarray:
    """Write the frames into `folder`. Returns the true joints (F, 24, 3), camera space, metres."""
    person = make_person(PERSON)
    if options.motion in BUILTIN:
        whole = builtin(options.motion, HABIT, rest_joints=person.joints)
    else:
        whole = retarget(load_bvh(Path(options.motion)), person.joints)
    clip = resample(whole, options.fps).slice(options.start, options.start + options.frames)
    joints = _joints(np.float32(person.betas), rotation_matrices(torch.from_numpy(clip.pose)).numpy(), clip.trans)
    middle = (joints.reshape(-1, 3).min(0) + joints.reshape(-1, 3).max(0)) / 2 @ Z_UP.T
    facing = rotation_matrices(torch.from_numpy(clip.pose[:, 0]))[:, :, 2].mean(0).numpy() @ Z_UP.T
    azimuth = np.arctan2(facing[1], facing[0]) + np.radians(options.side)
    eye = middle + AWAY * np.array([np.cos(azimuth), np.sin(azimuth), 0.1])
    pose = look_at(eye, middle)
    camera = perspective(*options.size, fov_from_lens(LENS), world_from_camera=pose)
    light = sky(10_003)
    folder.mkdir(parents=True, exist_ok=True)
    into_camera = np.linalg.inv(pose)
    plate = cv2.resize(seen(light.picture, view_directions(camera, max(options.size))), options.size)
    for frame in range(len(clip)):
        skins = [skin.moved(into_camera) for skin in posed_skins(person, clip.pose[frame], clip.trans[frame])]
        picture = photographed(skins, camera, light, plate)
        cv2.imwrite(str(folder / f"walk_{frame + 1:04}.png"), picture[..., ::-1])
    return joints @ Z_UP.T @ into_camera[:3, :3].T + into_camera[:3, 3]


def recover(folder: Path, true: np.ndarray, fps: float, split: str) -> list[dict]:
    """A row for what the frames say, each by itself, and one for what is made of them."""
    footage = open_footage(min(folder.glob("walk_*.png")), fps=fps)
    rows = []
    for name, refine in (("LASOR", False), ("LASOR, refined", True)):
        started = time.perf_counter()
        found = takes.find_performances(footage, LARGEST, refine, devices.pick("cpu"))
        (made,) = found.people.values()
        alone, seconds = made.measured, time.perf_counter() - started
        for title, rotations, places, at in (
            (f"{name}, each frame by itself", alone.rotations, alone.pelvis + alone.origin, alone.frames),
            (f"{name}, smoothed", made.rotations, made.places, made.frames),
        ):
            joints = _joints(made.betas, rotations, places)
            rows.append({"method": title, "split": split, "images": len(at), "seconds": seconds})
            rows[-1] |= errors(joints, true[at], fps)
    return [*rows, {"method": "the true motion", "split": split, "images": len(true), **errors(true, true, fps)}]


def _joints(betas: np.ndarray, rotations: np.ndarray, places: np.ndarray) -> np.ndarray:
    model = BodyModel.load(coarse=True)
    turned, moved = torch.from_numpy(np.float32(rotations)), torch.from_numpy(np.float32(places))
    return model(torch.from_numpy(betas).expand(len(turned), -1), turned, moved)[1].numpy()


def errors(joints: np.ndarray, true: np.ndarray, fps: float) -> dict[str, float]:
    """Of joints (F, 24, 3) in camera space, metres. Accelerations are about the pelvis (Kanazawa et al. 2019)."""
    about, true_about = joints - joints[:, :1], true - true[:, :1]
    acceleration, true_acceleration = (np.diff(x, 2, axis=0) * fps**2 for x in (about, true_about))
    depth = np.diff(np.log(joints[:, 0, 2] / true[:, 0, 2])) * -true[1:, 0, 2]
    return {
        "pa_mpjpe_mm": 1000 * float(metrics.pa_mpjpe(joints, true).mean()),
        "mpjpe_mm": 1000 * float(np.linalg.norm(about - true_about, axis=2).mean()),
        "acceleration_error": float(np.linalg.norm(acceleration - true_acceleration, axis=2).mean()),
        "acceleration": float(np.linalg.norm(acceleration, axis=2).mean()),
        "depth_jitter_mm": 1000 * float(np.abs(depth).mean()),
    }
