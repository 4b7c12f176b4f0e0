# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs of people, for evaluation: clothed, shaded by the light probe, before a picture of the light."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from backend.body.bodynet.renders import lit
from backend.body.detect import Person
from backend.body.lasor.proxy import MARGIN, SIZE
from backend.body.lasor.raster import coverage
from backend.body.model import BodyModel
from backend.body.people import make_person
from backend.body.rotations import rotation_matrices
from backend.protocol import CHARACTER, Camera, Mesh
from backend.rays.camera import fov_from_lens, look_at, perspective, pointing, project
from backend.rays.scene import RayScene
from backend.shading.environments import Environment, sky
from backend.shading.moments import SPLITS, Z_UP, posed_skins
from backend.shading.photograph import seen, view_directions
from backend.shading.traced import Skin, see

CONDITIONS = ("in the open", "behind people", "behind objects")
FRAME = (480, 640)  # pixels
VISIBLE = 0.3  # of the body, at least; as in LASOR's synthesis
ASTRAY = 0.06  # of the frame's height: keypoints farther away in the median are somebody else's
TRIES = 8  # to leave so much of it
LIGHTS = {"train": 100, "test": 10_100}  # the first of the skies
_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
_SIDES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))

GREY = 0.5  # that people have in the mean, scene-linear
GAMMA = 2.2


@dataclass(frozen=True)
class Scene:
    """A picture (H, W, 3) uint8 sRGB of a person, and the truth about the person's body in camera space.

    betas (10,); vertices (V, 3) and joints (14, 3), metres; keypoints (17, 2) pixels; hidden (17,) by what is in front;
    body, visible: (H, W) silhouettes of the body under its clothes, whole, and where nothing is in front.
    """

    picture: np.ndarray
    camera: Camera
    betas: np.ndarray
    vertices: np.ndarray
    joints: np.ndarray
    keypoints: np.ndarray
    hidden: np.ndarray
    body: np.ndarray
    visible: np.ndarray

    @property
    def focal(self) -> float:
        """Pixels."""
        return float(self.camera.projection[0, 0]) * self.camera.width / 2

    @property
    def pixel(self) -> float:
        """Of the picture, pixels of LASOR's crop about the body."""
        rows, columns = np.nonzero(self.body)
        return SIZE / (MARGIN * max(np.ptp(rows), np.ptp(columns)))

    def shown_by(self, found: list[Person]) -> int | None:
        """Which of the people who were found is this one."""
        seen_ones = ~self.hidden
        apart = [np.median(np.linalg.norm(person.points - self.keypoints, axis=1)[seen_ones]) for person in found]
        return int(np.argmin(apart)) if apart and min(apart) < ASTRAY * FRAME[1] else None

    def exactly_seen(self) -> Person:
        """What a detector without faults would tell."""
        return Person(self.visible.astype(np.float32), self.keypoints, (~self.hidden).astype(np.float64))


def scenes(condition: str, poses: np.ndarray, count: int, seed: int, split: str = "test") -> Iterator[Scene]:
    """The same people, poses, cameras and lights in every condition; poses (N, 24, 3) axis-angle."""
    for number in range(count):
        random = np.random.default_rng([seed, 12, number])
        identity, other = (int(one) for one in random.permutation(list(SPLITS[split]))[:2])
        pose, beside = poses[random.integers(len(poses), size=2)]
        light = sky(LIGHTS[split] + 100 * seed + number)
        yield _scene(condition, (identity, pose), (other, beside), light, random)


def _scene(
    condition: str,
    who: tuple[int, np.ndarray],
    beside: tuple[int, np.ndarray],
    light: Environment,
    random: np.random.Generator,
) -> Scene:
    """who, beside: seeds of people, and their poses (24, 3)."""
    person, model = make_person(who[0]), BodyModel.load()
    vertices, joints = model(torch.from_numpy(np.float32(person.betas))[None], torch.from_numpy(who[1])[None])
    middle = (vertices[0].amin(0) + vertices[0].amax(0)).numpy() / 2 @ Z_UP.T
    camera = _camera(who[1], middle, random)
    into = np.linalg.inv(camera.world_from_camera)
    there = {"body": vertices[0], **{k: model.keypoints(vertices, joints, k)[0] for k in ("lsp14", "coco17")}}
    there = {name: (x.numpy() @ Z_UP.T) @ into[:3, :3].T + into[:3, 3] for name, x in there.items()}
    pixels, keypoints = (project(camera, there[name])[0] for name in ("body", "coco17"))
    outline = coverage(torch.from_numpy(pixels).float()[None], model.faces, max(FRAME))[0].numpy()
    outline = outline[: FRAME[1], : FRAME[0]]
    before, covered = _before(condition, there["body"], beside, outline, camera, random)
    skins = [skin.moved(into) for skin in posed_skins(person, who[1], np.zeros(3))]
    plate = cv2.resize(seen(light.picture, view_directions(camera, max(FRAME))), FRAME)
    column, row = np.floor(keypoints).astype(int).T.clip(0, np.array(FRAME)[:, None] - 1)
    return Scene(
        photographed([*skins, *before], camera, light, plate),
        camera,
        person.betas,
        there["body"],
        there["lsp14"],
        keypoints,
        covered[row, column],
        outline,
        outline & ~covered,
    )


def _before(
    condition: str,
    body: np.ndarray,
    beside: tuple[int, np.ndarray],
    outline: np.ndarray,
    camera: Camera,
    random: np.random.Generator,
) -> tuple[list[Skin], np.ndarray]:
    """What stands before a body (V, 3) in camera space with an outline (H, W), and the pixels (H, W) that it covers."""
    before: list[Skin] = []
    covered = np.zeros(outline.shape, bool)
    if condition == "in the open":
        return before, covered
    into = np.linalg.inv(camera.world_from_camera)
    for _ in range(TRIES):
        if condition == "behind people":
            step = np.eye(4)
            step[0, 3], step[2, 3] = random.choice([-1, 1]) * random.uniform(0.15, 0.6), random.uniform(0.4, 0.9)
            before = [skin.moved(step @ into) for skin in posed_skins(make_person(beside[0]), beside[1], np.zeros(3))]
        else:
            before = [_obstacle(body, random)]
        covered = see(before, camera, RayScene([skin.mesh for skin in before])).alpha > 0.5
        if (outline & ~covered).sum() > VISIBLE * outline.sum():
            break
    return before, covered


def _camera(pose: np.ndarray, middle: np.ndarray, random: np.random.Generator) -> Camera:
    """One that sees the whole person, from the front more often than from behind."""
    facing = rotation_matrices(torch.from_numpy(pose[:1]))[0, :, 2].numpy() @ Z_UP.T
    azimuth = np.arctan2(facing[1], facing[0]) + np.radians(random.normal(0, 60))
    height, lens = np.radians(random.uniform(-5, 20)), random.uniform(28, 70)
    fov = fov_from_lens(lens)
    away = random.uniform(0.8, 1.3) * 2.0 / (2 * np.tan(fov / 2))
    return perspective(*FRAME, fov, world_from_camera=look_at(middle + away * pointing(azimuth, height), middle))


def _obstacle(body: np.ndarray, random: np.random.Generator) -> Skin:
    """A wall before the legs, or a post before a side, of a body (V, 3) in camera space."""
    low, high = body.min(0), body.max(0)
    size = np.array([1.8, random.uniform(0.2, 0.55) * (high[1] - low[1]), 0.15])
    corner = np.array([body[:, 0].mean() - 0.9, low[1] - 0.3, high[2] + random.uniform(0.1, 0.5)])
    size[1] += 0.3
    if random.random() < 0.5:
        size = np.array([random.uniform(0.15, 0.35), 3.0, 0.15])
        corner[:2] = random.uniform(low[0], high[0]) - size[0] / 2, low[1] - 0.5
    quads = np.array(_SIDES)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    vertices = (corner + _CORNERS * size).astype(np.float32)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    mesh = Mesh("obstacle", CHARACTER, vertices, faces, np.repeat(normal[:, None], 3, 1).astype(np.float32))
    colour = np.broadcast_to(random.uniform(0.05, 0.7, 3).astype(np.float32), (4, 4, 3)).copy()
    return Skin(mesh, np.full((len(faces), 3, 2), 0.5), colour)


def photographed(skins: list[Skin], camera: Camera, light: Environment, plate: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 as a camera shows it, of skins in camera space before a plate (H, W, 3), scene-linear."""
    layers, shading = lit(skins, camera, light)
    alpha = layers.alpha[..., None]
    exposure = GREY / max(float(shading[layers.alpha > 0.5].mean()), 1e-6)
    shown = exposure * (alpha * layers.albedo * shading + (1 - alpha) * plate)
    return np.round(255 * np.clip(shown, 0, 1) ** (1 / GAMMA)).astype(np.uint8)
