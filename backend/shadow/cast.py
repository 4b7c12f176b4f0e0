# SPDX-License-Identifier: GPL-3.0-or-later
"""The character's shadow, cast by ray tracing: how much of a probe's light still reaches what receives it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..protocol import CHARACTER, HOLDOUT, PROP, RECEIVER, Camera
from ..rays.scene import RayScene
from ..shading.panorama import LUMINANCE
from ..shading.probe import LightProbe
from ..shading.probe_fit import disc, fibonacci_sphere
from ..shading.visibility import SLOTS, RayStarts, edge_aware_mean
from .ground import Receiver, find_receiver, ground_height
from .recast import FAINTEST, LEAST, without_the_faintest
from .smooth import SHARE, caster_distance, enlarge, smooth

OTHERS = (RECEIVER, PROP, HOLDOUT)
SKY_RAYS = 24  # a pixel, each slot of a 4 × 4 tile its own: together 384
SUN_RAYS = 8
PREVIEW = 135  # rows of points, at least, that find where there is a shadow at all


@dataclass(frozen=True)
class Cast:
    """A character's shadow.

    ratio: (H, W, 3) float32 in (0, 1], visible light over all light at the receivers, per colour, contact included.
    half: what receives it, at every second row and column.
    sky: (N, 3) float32 in [0, 1], the share of the sky's light that the character lets through at the N valid points
        of `half`, without suns and the constant.
    """

    ratio: np.ndarray
    half: Receiver
    sky: np.ndarray


def cast_shadow(
    scene: RayScene, camera: Camera, probe: LightProbe, ground: bool = True, height: float | None = None
) -> Cast:
    """The shadow of all characters.

    All light is what arrives without the character: where a receiver, prop or holdout hides a light already, the
    character takes none of it. Exactly 1 where nothing receives, and outside the shadow. Pixels of the character hold
    the value of what is behind them, so that its edges composite without a halo.

    probe: in this camera's axes. Its constant cannot be hidden.
    ground: False where only receiver meshes may receive. height: world z in metres of the ground plane, None under
        the lowest character vertex; receiver meshes, where the scene has any, take its place.
    """
    ratio = np.ones((camera.height, camera.width, 3), np.float32)
    roles = {mesh.role for mesh in scene.meshes if len(mesh.triangles)}
    if CHARACTER not in roles or (RECEIVER not in roles and not ground):
        return Cast(ratio, Receiver.nothing(camera).halved, np.ones((0, 3), np.float32))
    receiver = find_receiver(scene, camera, height)
    half = receiver.halved
    sky = np.ones((*half.valid.shape, 3), np.float32)
    if receiver.valid.any():
        directions, colours = light_samples(probe, receiver)
        shaded = _where_shadow_falls(scene, receiver, directions, colours, probe.constant)
        if shaded.any():
            part = replace(receiver, valid=shaded)
            ratio[shaded], sky[part.halved.valid] = _full_resolution(scene, part, directions, colours, probe.constant)
    return Cast((1 - without_the_faintest(1 - ratio)).astype(np.float32), half, sky[half.valid])


def cast_shadows(
    scene: RayScene,
    camera: Camera,
    probe: LightProbe,
    characters: Mapping[str, Collection[str]],
    ground: bool = True,
    height: float | None = None,
) -> dict[str, Cast]:
    """Each character's own part of the shadow, by name; the product of their ratios is the shadow of all.

    A character takes of the light that those before it let through, so that where shadows overlap nothing is darkened
    twice. characters: by name, the names of its meshes. The rest is as in `cast_shadow`.
    """
    if len(characters) == 1:
        return {name: cast_shadow(scene, camera, probe, ground, height) for name in characters}
    if height is None and any(mesh.role == CHARACTER and len(mesh.vertices) for mesh in scene.meshes):
        height = ground_height(scene, camera)  # all stand on the same
    shadows, before = {}, set()
    for name, own in characters.items():
        meshes = [mesh for mesh in scene.meshes if mesh.role != CHARACTER or mesh.name in own]
        meshes += [replace(mesh, role=PROP) for mesh in scene.meshes if mesh.role == CHARACTER and mesh.name in before]
        shadows[name] = cast_shadow(RayScene(meshes), camera, probe, ground, height)
        before |= set(own)
    return shadows


def _full_resolution(
    scene: RayScene, receiver: Receiver, directions: np.ndarray, colours: np.ndarray, constant: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) ratio at all valid pixels: the suns' light, and the sky's from every second pixel, smooth as it is; and
    that sky's share that arrives at every second row's and column's."""
    half = receiver.halved
    if not half.valid.any():  # a sliver of a receiver
        return np.ones((np.count_nonzero(receiver.valid), 3)), np.ones((0, 3))
    sky, suns = np.s_[:, :SKY_RAYS], np.s_[:, SKY_RAYS:]
    spread = edge_aware_mean(half)
    arriving, available = (spread @ light for light in _light(scene, RayStarts(half), directions[sky], colours[sky]))
    radius = SHARE * caster_distance(scene, half.point[half.valid])
    share = smooth(_ratio(arriving, available, np.zeros(3)), half, radius)
    light = enlarge(np.concatenate([share * available, available], 1), half, receiver)
    if directions[suns].size:
        spread = edge_aware_mean(receiver)
        light += spread @ np.concatenate(_light(scene, RayStarts(receiver), directions[suns], colours[suns]), 1)
    return _ratio(light[:, :3], light[:, 3:], constant), share


def light_samples(probe: LightProbe, receiver: Receiver) -> tuple[np.ndarray, np.ndarray]:
    """Directions (16, R, 3) that stand for the probe's light, for each slot of a tile, and their colours (16, R, 3).

    Cosine times colour, summed over a slot, is an estimate of the shading. Sky directions are drawn where much light
    comes from, seen from the receiver's normals on the whole; each is one of 16 neighbours, one for each slot, so
    that every slot sees the whole sky. Suns are discs.
    """
    sky = fibonacci_sphere(1 << 14)
    normals = receiver.normal[receiver.valid]
    normals = normals[:: len(normals) // 256 + 1]
    radiance = probe.radiance_at(sky)
    importance = (radiance @ LUMINANCE) * np.maximum(sky @ normals.T, 0).mean(1)
    importance += 0.1 * importance.mean() * (importance > 0) + 1e-12
    order = np.argsort(_along_a_curve(sky), kind="stable")
    upto = np.cumsum(importance[order])
    count = SLOTS * SKY_RAYS
    drawn = order[np.searchsorted(upto, (np.arange(count) + 0.5) / count * upto[-1])]
    # 1/π · radiance / probability density, over the number of directions in a slot.
    weight = importance.sum() * 4 / len(sky) / importance[drawn] / SKY_RAYS
    directions = [sky[drawn].reshape(SKY_RAYS, SLOTS, 3)]
    colours = [(radiance[drawn] * weight[:, None]).reshape(SKY_RAYS, SLOTS, 3)]
    for sun in probe.suns:
        directions.append(disc(sun.direction, sun.half_angle, SUN_RAYS * SLOTS).reshape(SUN_RAYS, SLOTS, 3))
        colours.append(np.broadcast_to(sun.irradiance / SUN_RAYS, (SUN_RAYS, SLOTS, 3)))
    joined = (np.concatenate(parts).swapaxes(0, 1).astype(np.float32) for parts in (directions, colours))
    return tuple(joined)


def _along_a_curve(directions: np.ndarray) -> np.ndarray:
    """(N,) position on a Z-order curve over an equal-area map of the sphere; neighbours on it are near each other."""
    u = (np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi) + 0.5) * 1023
    v = (directions[:, 2] / 2 + 0.5) * 1023
    position = np.zeros(len(directions), np.int64)
    for bit in range(10):
        position |= (u.astype(np.int64) >> bit & 1) << (2 * bit)
        position |= (v.astype(np.int64) >> bit & 1) << (2 * bit + 1)
    return position


def _where_shadow_falls(
    scene: RayScene, receiver: Receiver, directions: np.ndarray, colours: np.ndarray, constant: np.ndarray
) -> np.ndarray:
    """(H, W) bool: the valid pixels near which a coarse grid of points, each asked for all directions, is shadowed."""
    grid = np.zeros_like(receiver.valid)
    step = len(grid) // PREVIEW
    if step < 2:
        return receiver.valid
    grid[step // 2 :: step, step // 2 :: step] = True
    grid &= receiver.valid
    part = Receiver(grid, receiver.point, receiver.normal, receiver.offset)
    starts = RayStarts(part)
    everything = np.broadcast_to(directions.reshape(1, -1, 3), (SLOTS, directions.shape[0] * directions.shape[1], 3))
    arriving, available = _light(
        scene, starts, everything, np.broadcast_to(colours.reshape(1, -1, 3) / SLOTS, everything.shape)
    )
    shadow = np.zeros(receiver.valid.shape, np.uint8)
    shadow[grid] = _ratio(arriving, available, constant).min(1) < 1 - FAINTEST
    reach = cv2.getStructuringElement(cv2.MORPH_RECT, (8 * step + 1, 8 * step + 1))
    return cv2.dilate(shadow, reach).astype(bool) & receiver.valid


def _light(
    scene: RayScene, starts: RayStarts, directions: np.ndarray, colours: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) light that arrives at the points, and (N, 3) what would arrive without the character."""
    arriving, available = np.zeros((2, starts.count, 3), np.float32)
    others = any(mesh.role in OTHERS and len(mesh.triangles) for mesh in scene.meshes)

    def of_part(rows: slice, slot: int) -> None:
        origins = starts.origins[rows]
        for direction, colour in zip(directions[slot], colours[slot], strict=True):
            cosine = sum(direction[axis] * starts.normals[axis, rows] for axis in range(3))
            up = np.flatnonzero(cosine > 0)
            if others:
                up = up[~scene.occluded(origins[up], direction[None], OTHERS)]
            clear = ~scene.occluded(origins[up], direction[None], (CHARACTER,))
            light = cosine[up, None] * colour
            available[rows][up] += light
            arriving[rows][up] += light * clear[:, None]

    begins = np.concatenate([[0], starts.ends[:-1]])
    parts = [
        (slice(first, min(first + 16384, end)), slot)
        for slot, (begin, end) in enumerate(zip(begins, starts.ends, strict=True))
        for first in range(begin, end, 16384)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda part: of_part(*part), parts):
            pass  # raises what a part raised
    result = np.empty((2, starts.count, 3), np.float32)
    result[0, starts.order], result[1, starts.order] = arriving, available
    return result[0], result[1]


def _ratio(arriving: np.ndarray, available: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """(N, 3); 1 where there is no light to take away. Not 0 in the deepest shadow: the ratio is divided by, too."""
    available = available + constant
    return np.where(available > 1e-6, np.clip((arriving + constant) / np.maximum(available, 1e-6), LEAST, 1), 1)
