# SPDX-License-Identifier: GPL-3.0-or-later
"""People whose light is known, photographed in panoramas: what their pixels tell of the light, beside ProbeNet.

The light that is found on one person is judged by how it lights another one, who is not in the photograph.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.images import srgb_decode
from backend.protocol import Camera, Mesh
from backend.rays.camera import crop_camera, pixel_centres, primary_rays
from backend.rays.scene import RayScene
from backend.shading import evaluate, methods, moments, person_light, traced
from backend.shading.crop import CROP
from backend.shading.dataset import Frame
from backend.shading.environments import Environment, sample
from backend.shading.ground_light import light_of
from backend.shading.moments import Moment, Sources
from backend.shading.photograph import expose, photograph
from backend.shading.probe import LightProbe
from backend.shading.probe_network import ProbeNet
from backend.shading.traced import Cells, Light, Skin
from scripts.sheet import write_sheet

LONG_SIDE = 640  # pixels of the plates


@dataclass(frozen=True)
class Scene:
    """One person in a plate, and another one, who is not in it, to light.

    plate: (H, W, 3) linear, as it is decoded from the photograph. meshes: of the person in it, camera space. frame: of
    the other one, standing in the first one's place, under one light. truth: the light, in the camera's axes.
    """

    name: str
    plate: np.ndarray
    camera: Camera
    meshes: list[Mesh]
    frame: Frame
    truth: LightProbe


class Stage:
    """Renders scenes; keep one, for what it prepares."""

    def __init__(self) -> None:
        self._cells, self._coarse = Cells(traced.DIRECTIONS), Cells(traced.COARSE)

    def scenes(self, sources: Sources, seed: int, count: int) -> Iterator[Scene]:
        """Scenes of a split: the same seed gives the same ones, however many are asked for."""
        for index in range(count):
            random = np.random.default_rng([seed, index])
            one, other = (next(moments.moments(sources, seed, 2 * index + k, 1, 1)) for k in range(2))
            yield self.scene(one, other, random)

    def scene(self, one: Moment, other: Moment, random: np.random.Generator) -> Scene:
        """`other`'s person is lit by `one`'s light."""
        environment, shot = one.lights[0], one.shots[int(random.integers(len(one.shots)))]
        shrink = LONG_SIDE / max(shot.camera.width, shot.camera.height)
        width, height = round(shot.camera.width * shrink), round(shot.camera.height * shrink)
        camera = dataclasses.replace(shot.camera, width=width, height=height)
        light = Light.of(environment)
        layers, shading, scene = self._render(one.skins, one.level, camera, light)
        plate = _background(environment, camera)
        alpha = layers.alpha[..., None]
        mean = (alpha * shading).sum((0, 1)) / max(alpha.sum(), 1)
        gain = np.asarray(expose(plate[None], mean, random), np.float32)
        plate = gain * (plate * (1 - alpha) + alpha * layers.albedo * shading)
        picture = srgb_decode(photograph(plate, random).astype(np.float32) / 255)
        probe = light.probe(camera.world_from_camera)
        truth = dataclasses.replace(
            probe,
            radiance=probe.radiance * gain,
            suns=tuple(dataclasses.replace(sun, irradiance=sun.irradiance * gain) for sun in probe.suns),
        )
        frame = self._frame(_moved(other, one), one.level, camera, light, truth, gain)
        return Scene(f"{one.identity} {environment.name}", picture, camera, list(scene.meshes), frame, truth)

    def _render(
        self, skins: list[Skin], level: float, camera: Camera, light: Light
    ) -> tuple[traced.Layers, np.ndarray, RayScene]:
        bounced = traced.bounce(skins, RayScene([s.mesh for s in skins]), level, [light], self._coarse)
        seen = [skin.moved(np.linalg.inv(camera.world_from_camera)) for skin in skins]
        scene = RayScene([skin.mesh for skin in seen])
        layers = traced.see(seen, camera, scene)
        pose = camera.world_from_camera
        return layers, traced.shade(layers, scene, pose, [light], bounced, self._cells)[0], scene

    def _frame(
        self, skins: list[Skin], level: float, camera: Camera, light: Light, truth: LightProbe, gain: np.ndarray
    ) -> Frame:
        box = moments.box_around(camera, skins)
        small = crop_camera(camera, box, (CROP, CROP))
        layers, shading, _ = self._render(skins, level, small, light)
        at = layers.surface.valid
        suns = np.zeros((1, 2, 7))
        for k, sun in enumerate(truth.suns):
            suns[0, k] = [*sun.direction, *sun.irradiance, sun.half_angle]
        return Frame(
            np.flatnonzero(at),
            layers.albedo[at],
            layers.surface.normal[at],
            np.round(255 * layers.alpha[at]),
            layers.surface.bits[at],
            (shading * gain)[at][None],
            np.zeros((1, CROP, CROP, 3), np.uint8),
            np.zeros(4),
            truth.radiance[None],
            suns,
            small.projection,
            small.world_from_camera,
            identity="",
            film="",
            number=0,
            lights=("",),
        )


def _moved(other: Moment, one: Moment) -> list[Skin]:
    """The other moment's person in the place of the one's, on the same ground."""

    def place(moment: Moment) -> np.ndarray:
        points = np.concatenate([skin.mesh.vertices for skin in moment.skins])
        return np.array([*points[:, :2].mean(0), moment.level])

    matrix = np.eye(4)
    matrix[:3, 3] = place(one) - place(other)
    return [skin.moved(matrix) for skin in other.skins]


def _background(environment: Environment, camera: Camera) -> np.ndarray:
    """(H, W, 3) linear radiance of the panorama in the camera's frame."""
    directions = primary_rays(camera, pixel_centres(camera).reshape(-1, 2))[1] @ camera.world_from_camera[:3, :3].T
    return sample(environment.picture, directions).reshape(camera.height, camera.width, 3)


def compare(network: ProbeNet, sources: Sources, count: int, moved: list[int], seed: int, out: Path) -> list[dict]:
    """Rows of medians, one a method and split; a split is how far the mesh is beside the person, in pixels.

    Writes into `out` a sheet of plates, and of balls in the true light, the fitted one and ProbeNet's.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows: dict[int, list[dict]] = {pixels: [] for pixels in moved}
    pictures: list[tuple[str, np.ndarray]] = []
    for scene in Stage().scenes(sources, seed, count):
        print(scene.name, file=sys.stderr, flush=True)
        told = light_of(network, scene.plate, scene.camera)
        found = {"ProbeNet": told, "the true light": scene.truth}
        for pixels in moved:
            plate = np.roll(scene.plate, (pixels, pixels), (0, 1))
            seen = person_light.Seen.of(plate, scene.camera, scene.meshes)
            # Of somebody too small the light is ProbeNet's, as the artist is told.
            found["matched to the person"] = (
                person_light.fit_to_plate(network, seen, plate, scene.camera) if seen else told
            )
            rows[pixels] += [{"method": name, **_measured(scene, probe)} for name, probe in found.items()]
            if pixels == moved[0]:
                pictures += _pictures(scene, found)
    write_sheet(out / "people.png", pictures, columns=4, width=160)
    return [row for pixels in moved for row in _medians(rows[pixels], f"mesh {pixels} pixels beside the person")]


def _measured(scene: Scene, probe: LightProbe) -> dict[str, float]:
    """The errors of the light, and of the other person's shading by it."""
    frame = scene.frame
    shading = methods.by_probe(probe, frame).shading
    true, albedo = frame.shading[0].astype(np.float64), frame.albedo.astype(np.float64)
    errors = evaluate.measure(shading, true, albedo, frame.alpha / 255)
    return {**errors, **evaluate.direction_errors(probe.dominant_direction, scene.truth)}


def _medians(rows: list[dict], split: str) -> list[dict]:
    result = []
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        result.append({"method": method, "split": split, "images": len(mine)})
        for metric in ("rgb_mse", "shading_mse", "shading_mse_scaled", "direction_error"):
            result[-1][metric] = float(np.median([row[metric] for row in mine if metric in row]))
    return result


def _pictures(scene: Scene, found: dict[str, LightProbe]) -> list[tuple[str, np.ndarray]]:
    """The plate, and a grey ball in each light, all squares."""
    height, width = scene.plate.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 3), np.float32)
    square[(side - height) // 2 :, (side - width) // 2 :][:height, :width] = scene.plate
    grid = (np.arange(128) + 0.5) / 64 - 1
    x, y = np.meshgrid(grid, -grid)
    inside = x * x + y * y < 0.9
    normals = np.stack([x, y, np.sqrt(np.maximum(1 - x * x - y * y, 0))], -1)[inside].astype(np.float32)
    balls = []
    for name, probe in found.items():
        facing = np.stack([normals @ sun.direction > 0 for sun in probe.suns], 1) if probe.suns else None
        ball = np.zeros((*inside.shape, 3), np.float32)
        ball[inside] = 0.5 * probe.shade(np.ones((len(normals), len(probe.radiance))), normals, facing)
        balls.append((name, ball))
    return [(scene.name[:22], square), *sorted(balls, key=lambda ball: ball[0] != "the true light")]
