# SPDX-License-Identifier: GPL-3.0-or-later
"""People in plates with the parts of their bodies, rendered twice: as SURREAL does, and harmonized (RiCS paper, 4.2).

The two pictures differ in nothing but the shading. SURREAL's is that of nine spherical harmonics drawn at random,
whatever the plate shows, and casts no shadow; ours is what ProbeNet reads off the plate, with the RiCS map. A third, by
a path tracer in the true light, stands in for photographs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...protocol import Camera
from ...rays.camera import pixel_centres, primary_rays
from ...rays.scene import RayScene
from ...shading import traced
from ...shading.baselines import shade_harmonics
from ...shading.light_code import facing_shading
from ...shading.moments import Moment, Shot
from ...shading.photograph import background, expose, photograph, seen, view_directions
from ...shading.probe import LightProbe
from ...shading.probe_network import ProbeNet
from ...shading.visibility import cell_visibility, extrapolate, sun_visibility
from ..bodynet.renders import crop_about

AMBIENT, SPREAD = (0.5, 1.4), 0.7  # SURREAL's coefficients: the first within, the others up to ±, the light from above
_LOBE = np.sqrt(np.pi) / 2  # from `shade_harmonics` to the irradiance of orthonormal coefficients, which SURREAL shows

Render = Callable[[Moment, Camera], dict[str, np.ndarray]]
"""Shading, albedo (S, S, 3) and alpha (S, S) of a moment under its first light, by a path tracer."""


def pictures(
    moment: Moment, network: ProbeNet, render: Render | None, random: np.random.Generator, size: int
) -> dict[str, np.ndarray]:
    """The arrays of a shard for the views of a moment, under its first light; the first axis is the view.

    surreal and synth, or with `render` real: (N, S, S, 3) uint8 display-encoded; labels (N, S, S) uint8, SURREAL's 24;
    identity and clip (N,) str.
    """
    found = [_view(moment, shot, network, render, random, size) for shot in moment.shots]
    count = len(found)
    arrays = {name: np.stack([view[name] for view in found]) for name in found[0]}
    return {**arrays, "identity": np.array([moment.identity] * count), "clip": np.array([moment.clip] * count)}


def _view(
    moment: Moment, shot: Shot, network: ProbeNet, render: Render | None, random: np.random.Generator, size: int
) -> dict[str, np.ndarray]:
    skins = [skin.moved(np.linalg.inv(shot.camera.world_from_camera)) for skin in moment.skins]
    crop = crop_about(shot.camera, np.concatenate([skin.mesh.vertices for skin in skins]), random, size)
    scene = RayScene([skin.mesh for skin in skins])
    labels = part_labels(scene, moment.joints, crop)
    environment = moment.lights[0]
    light = traced.Light.of(environment).probe(shot.camera.world_from_camera)
    suns = np.zeros((2, 7))
    for k, sun in enumerate(light.suns):
        suns[k] = [*sun.direction, *sun.irradiance, sun.half_angle]
    whole = background(environment.picture, shot.camera)
    gain = np.asarray(expose(whole, facing_shading(light.radiance, suns)[:3].mean(0), random), np.float32)
    plate = seen(environment.picture, view_directions(crop, size)) * gain
    camera_seed = int(random.integers(1 << 30))  # one camera took all of them

    def taken(layers: dict[str, np.ndarray], shading: np.ndarray) -> np.ndarray:
        alpha = layers["alpha"][..., None]
        lit = alpha * layers["albedo"] * shading + (1 - alpha) * plate
        return photograph(lit, np.random.default_rng(camera_seed))

    if render:
        layers = render(moment, crop)
        return {"labels": labels, "real": taken(layers, layers["shading"] * gain)}
    looked = traced.see(skins, crop, scene)
    layers = {"albedo": looked.albedo, "alpha": looked.alpha}
    told = network.predict(photograph(whole * gain, np.random.default_rng(camera_seed)).astype(np.float32) / 255)
    coefficients = draw_harmonics(random)
    normals = looked.normal @ shot.camera.world_from_camera[:3, :3].T
    return {
        "labels": labels,
        "surreal": taken(layers, surreal_shading(coefficients, normals)),
        "synth": taken(layers, _harmonized(told, scene, looked)),
    }


def draw_harmonics(random: np.random.Generator) -> np.ndarray:
    """(9,) orthonormal coefficients of a white light, +z up, drawn as SURREAL's: ambient, and mostly from above."""
    coefficients = SPREAD * random.uniform(-1, 1, 9)
    coefficients[0] = random.uniform(*AMBIENT)
    coefficients[3] = SPREAD * random.random()
    return coefficients


def surreal_shading(coefficients: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(…, 3) irradiance of nine coefficients (9,) at normals (…, 3): no shadow and no bounce (Ramamoorthi 2001)."""
    return _LOBE * shade_harmonics(np.repeat(coefficients[:, None], 3, 1), normals)


def _harmonized(light: LightProbe, scene: RayScene, layers: traced.Layers) -> np.ndarray:
    """(S, S, 3) shading of the person by a light, with the shadows that the person casts on itself."""
    surface = layers.surface
    shading = np.zeros((*surface.valid.shape, 3), np.float32)
    visibility = cell_visibility(scene, surface).astype(np.float32)
    suns = sun_visibility(scene, surface, light.suns)
    shading[surface.valid] = light.shade(visibility, surface.normal[surface.valid], suns)
    return extrapolate(shading, surface.valid, layers.alpha > 0)


def part_labels(scene: RayScene, joints: list[np.ndarray], camera: Camera) -> np.ndarray:
    """(H, W) uint8 of SURREAL's labels at the pixels' centres, 0 beside the person; scene in camera space.

    joints: of each mesh's vertices, the SMPL joint that moves it most.
    """
    origins, directions = primary_rays(camera, pixel_centres(camera).reshape(-1, 2))
    hits = scene.intersect(origins, directions)
    labels = np.zeros(camera.height * camera.width, np.uint8)
    corner = np.column_stack([1 - hits.uv.sum(1), hits.uv]).argmax(1)
    for index, mesh in enumerate(scene.meshes):
        here = np.flatnonzero(hits.mesh == index)
        labels[here] = 1 + joints[index][mesh.triangles[hits.triangle[here], corner[here]]]
    return labels.reshape(camera.height, camera.width)
