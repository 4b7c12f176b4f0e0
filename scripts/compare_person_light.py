# SPDX-License-Identifier: GPL-3.0-or-later
"""People whose light is known, photographed in panoramas: what their pixels tell of the light, beside ProbeNet."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from backend.images import srgb_decode
from backend.protocol import Camera, Mesh
from backend.rays.rics import trace
from backend.rays.scene import RayScene
from backend.shading import moments, traced
from backend.shading.crop import CROP, crop_box
from backend.shading.dataset import Frame
from backend.shading.environments import Environment
from backend.shading.moments import Moment, Sources
from backend.shading.photograph import expose, photograph
from backend.shading.probe import LightProbe
from backend.shading.traced import Cells, Light, Skin

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
        box = moments._box(camera, skins)
        small = moments.crop_camera(camera, box, (CROP, CROP))
        layers, shading, scene = self._render(skins, level, small, light)
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
            "",
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
    from backend.rays.camera import pixel_centres, primary_rays
    from backend.shading.environments import sample

    directions = primary_rays(camera, pixel_centres(camera).reshape(-1, 2))[1] @ camera.world_from_camera[:3, :3].T
    return sample(environment.picture, directions).reshape(camera.height, camera.width, 3)
