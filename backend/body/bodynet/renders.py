# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures to learn from: clothed people on photographs of places, shaded by the light probe, and the body in them.

The people, motions, cameras and lights are those of the shading data sets. Each picture is the square crop about a
person that BodyNet sees, as large as LASOR's.
"""

from __future__ import annotations

import numpy as np
import torch

from ...protocol import Camera
from ...rays.camera import crop_camera, project
from ...rays.scene import RayScene
from ...shading import traced
from ...shading.environments import Environment
from ...shading.moments import Z_UP, Moment, Shot
from ...shading.photograph import expose, photograph, seen, view_directions
from ...shading.visibility import cell_visibility, extrapolate, sun_visibility
from ..lasor.camera import from_pixels, likeness, straightened
from ..lasor.proxy import MARGIN
from ..model import BodyModel
from ..rotations import rotation_matrices

ZOOM, ASIDE = 0.1, 0.03  # how much the crop's margin, and its middle in sides of the crop, vary by ±


def pictures(moment: Moment, body: BodyModel, random: np.random.Generator, size: int) -> dict[str, np.ndarray]:
    """The arrays of a shard for the views of a moment, under its first light; the first axis is the view.

    picture (N, S, S, 3) uint8 display-encoded; alpha (N, S, S) uint8 coverage by the clothed person; betas (N, 10),
    rotations (N, 24, 3, 3) and camera (N, 3) as in `synthesis.Truth`; identity and clip (N,) str. body: coarse.
    """
    found = [_picture(moment, shot, body, random, size) for shot in moment.shots]
    count = len(found)
    arrays = {name: np.stack([view[name] for view in found]) for name in found[0]}
    return {**arrays, "identity": np.array([moment.identity] * count), "clip": np.array([moment.clip] * count)}


def _picture(
    moment: Moment, shot: Shot, body: BodyModel, random: np.random.Generator, size: int
) -> dict[str, np.ndarray]:
    into_camera = np.linalg.inv(shot.camera.world_from_camera)
    skins = [skin.moved(into_camera) for skin in moment.skins]
    crop = crop_about(shot.camera, np.concatenate([skin.mesh.vertices for skin in skins]), random, size)
    layers, shading = lit(skins, crop, moment.lights[0])
    plate = seen(moment.lights[0].picture, view_directions(crop, size))
    alpha = layers.alpha[..., None]
    mean = (shading * alpha).sum((0, 1)) / max(float(alpha.sum()), 1.0)
    shown = alpha * layers.albedo * shading + (1 - alpha) * plate
    picture = photograph(shown * expose(plate, mean, random), random)
    covered = np.round(layers.alpha * 255).astype(np.uint8)
    return {"picture": picture, "alpha": covered, **_truth(moment, into_camera, crop, body, size)}


def lit(skins: list[traced.Skin], camera: Camera, environment: Environment) -> tuple[traced.Layers, np.ndarray]:
    """What the camera sees of a person, skins in camera space, and the person's shading (H, W, 3) by a light."""
    scene = RayScene([skin.mesh for skin in skins])
    layers = traced.see(skins, camera, scene)
    probe = traced.Light.of(environment).probe(camera.world_from_camera)
    surface = layers.surface
    shading = np.zeros((camera.height, camera.width, 3), np.float32)
    visibility = cell_visibility(scene, surface).astype(np.float32)
    shading[surface.valid] = probe.shade(
        visibility, surface.normal[surface.valid], sun_visibility(scene, surface, probe.suns)
    )
    return layers, extrapolate(shading, surface.valid, layers.alpha > 0)


def crop_about(camera: Camera, points: np.ndarray, random: np.random.Generator, size: int) -> Camera:
    """The camera of the square about a person, points (N, 3) in camera space."""
    pixels, _ = project(camera, points)
    low, high = np.nanmin(pixels, 0), np.nanmax(pixels, 0)
    side = (high - low).max() * (MARGIN + random.uniform(-ZOOM, ZOOM))
    centre = (low + high) / 2 + side * random.uniform(-ASIDE, ASIDE, 2)
    left, top = centre - side / 2
    return crop_camera(camera, (left, top, left + side, top + side), (size, size))


@torch.no_grad()
def _truth(moment: Moment, into_camera: np.ndarray, crop: Camera, body: BodyModel, size: int) -> dict[str, np.ndarray]:
    """The body as its own line of sight shows it: a camera that looks at it straight sees it so turned."""
    betas = torch.from_numpy(np.asarray(moment.betas, np.float32))[None]
    rotations = rotation_matrices(torch.from_numpy(np.asarray(moment.pose, np.float32)))[None]
    keypoints = body.keypoints(*body(betas, rotations))[0].numpy() + moment.trans
    there = (keypoints @ Z_UP.T) @ into_camera[:3, :3].T + into_camera[:3, 3]
    pixels, _ = project(crop, there)
    straight = straightened(there.mean(0)) @ into_camera[:3, :3] @ Z_UP
    rotations[:, 0] = torch.from_numpy(straight).float() @ rotations[:, 0]
    points = body.keypoints(*body(betas, rotations))
    camera = likeness(points, from_pixels(torch.from_numpy(pixels).float()[None], size))
    return {"betas": betas[0].numpy(), "rotations": rotations[0].numpy(), "camera": camera[0].numpy()}
