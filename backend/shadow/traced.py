# SPDX-License-Identifier: GPL-3.0-or-later
"""The bulk tier's renderer of shadow scenes, by rays with Embree: one picture with the object's shadow and one without.

Suns, sky and lamps, matt surfaces, no bounces but the open ground's radiance from below. Everything is linear Rec.709.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from ..protocol import CHARACTER, PROP, RECEIVER
from ..rays.camera import pixel_centres, primary_rays
from ..rays.scene import RayScene
from ..shading.panorama import LUMINANCE
from ..shading.photograph import background, expose, photograph
from ..shading.probe import LightProbe
from ..shading.traced import Light, Skin
from ..shading.visibility import RayStarts, edge_aware_mean
from .cast import SKY_RAYS, light_samples
from .combined_light import casting_light
from .ground import Receiver
from .lamps import Lamp, lamp_light
from .scenes import ShadowScene

DARKEST = 0.06  # share of the light; a shadow that nowhere takes more is none
EDGE = 0.4  # of its deepest part's darkness: where a shadow's mask ends
WIDE = 0.015  # radians; the penumbra of a wider sun is averaged over neighbours, who ask for other parts of it
IN_TURN = (RECEIVER, PROP, CHARACTER)  # what hides light from the pictures `open`, `composite` and `target`


@dataclass(frozen=True)
class Picture:
    """(H, W, 3) linear radiance: `open` has no shadows of objects, `composite` those of others, `target` all.

    The object itself is shaded in full in all of them. object, others: (H, W) bool. points: (H, W, 3) metres, camera
    space, where `valid`. probe: the light, camera space; a lamp is in it as the sun that it is to the object.
    """

    open: np.ndarray
    composite: np.ndarray
    target: np.ndarray
    object: np.ndarray
    others: np.ndarray
    points: np.ndarray
    valid: np.ndarray
    probe: LightProbe


def render(scene: ShadowScene) -> Picture:
    """Trace one scene."""
    camera = scene.camera
    skins = [skin.moved(np.linalg.inv(camera.world_from_camera)) for skin in scene.skins]
    meshes = RayScene([skin.mesh for skin in skins])
    surface, albedo, role = _see(skins, meshes, scene)
    light = Light.of(scene.light)
    probe = light.probe(camera.world_from_camera)
    radiance = np.repeat(background(scene.light.picture, camera, camera.width)[None], 3, 0)
    lamp = scene.lamp.moved(np.linalg.inv(camera.world_from_camera)) if scene.lamp else None
    if surface.valid.any():
        radiance[:, surface.valid] = _light(meshes, surface, probe, lamp, camera.world_from_camera[2, :3]) * albedo
    if lamp is not None:
        middle = np.concatenate([s.mesh.vertices for s in skins if s.mesh.role == CHARACTER]).mean(0)
        probe = dataclasses.replace(probe, suns=(*probe.suns, lamp.seen_from(middle)))
    on_object = role == CHARACTER
    radiance[:, on_object] = radiance[2, on_object]
    points = np.where(surface.valid[..., None], surface.point, 0)
    return Picture(*radiance, on_object, role == PROP, points, surface.valid, probe)


def worth_showing(tuple_: dict[str, np.ndarray]) -> bool:
    """Whether object and shadow of a tuple can be seen at all."""
    return (tuple_["object"] > 127).mean() > 0.003 and (tuple_["shadow"] > 127).mean() > 0.001


def shadow_mask(without: np.ndarray, shaded: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(H, W) bool: where a shadow darkens by EDGE of its deepest part, two pictures (H, W, 3) linear. The same rule for
    both renderers."""
    darkness = 1 - (shaded @ LUMINANCE) / np.maximum(without @ LUMINANCE, 1e-6)
    darkness = np.where(where, darkness, 0)
    some = darkness[darkness > DARKEST]
    if len(some) < 8:
        return np.zeros(where.shape, bool)
    return darkness > max(DARKEST, EDGE * float(np.quantile(some, 0.95)))


def arrays(scene: ShadowScene, picture: Picture, random: np.random.Generator) -> dict[str, np.ndarray]:
    """One tuple as the shards hold it (see scripts/make_dataset.py), photographed."""
    background_ = picture.valid & ~picture.object
    shadow = shadow_mask(picture.composite, picture.target, background_)
    others_shadow = shadow_mask(picture.open, picture.composite, background_ & ~picture.others)
    up = scene.camera.world_from_camera[2, :3]
    level = picture.probe.shade(np.ones((1, 62)), up[None])[0]  # of an open, level white surface
    light, distinct = casting_light(picture.probe)
    gain = expose(picture.composite[None], level, random)
    seed = int(random.integers(1 << 31))
    # The same camera took both: the same noise, curve and compression.
    composite, target = (
        photograph(image * gain, np.random.default_rng(seed)) for image in (picture.composite, picture.target)
    )
    ratio = np.where(background_[..., None], picture.target / np.maximum(picture.composite, 1e-6), 1)
    return {
        "composite": composite,
        "target": target,
        "object": (picture.object * 255).astype(np.uint8),
        "shadow": (shadow * 255).astype(np.uint8),
        "background_object": (picture.others * 255).astype(np.uint8),
        "background_shadow": (others_shadow * 255).astype(np.uint8),
        "points": picture.points.astype(np.float16),
        "valid": picture.valid,
        "ratio": np.clip(ratio, 1e-3, 1).astype(np.float16),
        "light": light.astype(np.float32),
        "trusted": np.array(distinct and bool(shadow.any())),
        "projection": np.asarray(scene.camera.projection, np.float64),
        "world_from_camera": np.asarray(scene.camera.world_from_camera, np.float64),
        "bos": np.array(scene.bos and bool(others_shadow.any())),
        "name": np.array(scene.name),
    }


def _see(skins: list[Skin], meshes: RayScene, scene: ShadowScene) -> tuple[Receiver, np.ndarray, np.ndarray]:
    """What is seen, (N, 3) albedo of its valid pixels in row-major order, and (H, W) the role that each pixel shows."""
    camera = scene.camera
    origins, directions = primary_rays(camera, pixel_centres(camera).reshape(-1, 2))
    hits = meshes.intersect(origins, directions)
    found = hits.mesh >= 0
    albedo, normal = np.zeros((2, len(found), 3), np.float32)
    role = np.full(len(found), "", object)
    for index, skin in enumerate(skins):
        here = np.flatnonzero(hits.mesh == index)
        weights = np.column_stack([1 - hits.uv[here].sum(1), hits.uv[here]])
        albedo[here] = _texture(skin, np.einsum("nij,ni->nj", skin.corner_uv[hits.triangle[here]], weights))
        normal[here] = np.einsum("nij,ni->nj", skin.mesh.corner_normals[hits.triangle[here]], weights)
        role[here] = skin.mesh.role
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    normal *= np.where((normal * directions).sum(1, keepdims=True) > 0, -1, 1)
    point = origins + np.where(found, hits.t, 0)[:, None] * directions
    shape = (camera.height, camera.width)
    lift = 2e-4 * np.where(found, hits.t, 1)[:, None] + 5e-4
    images = (a.reshape(*shape, 3).astype(np.float32) for a in (point, normal, lift * normal))
    return Receiver(found.reshape(shape), *images), albedo[found], role.reshape(shape)


def _texture(skin: Skin, uv: np.ndarray) -> np.ndarray:
    """(N, 3) bilinear albedo at (N, 2) texture coordinates, v up, repeated beyond [0, 1]."""
    height, width = skin.texture.shape[:2]
    at = np.stack([(1 - uv[:, 1] % 1) * height - 0.5, uv[:, 0] % 1 * width - 0.5])
    channels = [map_coordinates(skin.texture[..., c], at, order=1, mode="grid-wrap") for c in range(3)]
    return np.stack(channels, -1)


def _light(meshes: RayScene, surface: Receiver, probe: LightProbe, lamp: Lamp | None, up: np.ndarray) -> np.ndarray:
    """(3, N, 3) shading of the valid points behind the ground alone, behind other things too, and behind all."""
    directions, colours = light_samples(probe, surface)
    starts = RayStarts(surface)
    sky, suns = np.zeros((2, 3, starts.count, 3), np.float32)
    begins = np.concatenate([[0], starts.ends[:-1]])
    for slot, (begin, end) in enumerate(zip(begins, starts.ends, strict=True)):
        if begin == end:
            continue
        toward = directions[slot]
        cosine = np.maximum(starts.normals[:, begin:end].T @ toward.T, 0)
        # Light from below is the open ground's own, which the ground does not hide.
        open_ = cosine > 0
        level = toward @ up > 0
        for step, role in enumerate(IN_TURN):
            asked = open_ & level if role == RECEIVER else open_
            open_ &= ~meshes.blocked(starts.origins[begin:end], toward[None], asked, (role,))
            received = cosine * open_
            sky[step, begin:end] = received[:, :SKY_RAYS] @ colours[slot, :SKY_RAYS]
            suns[step, begin:end] = received[:, SKY_RAYS:] @ colours[slot, SKY_RAYS:]
    spread = edge_aware_mean(surface)
    by_lamp = np.zeros_like(sky) if lamp is None else lamp_light(lamp, meshes, starts, IN_TURN)
    result = np.empty((3, starts.count, 3), np.float32)
    for step in range(3):
        in_order = np.empty((2, starts.count, 3), np.float32)
        in_order[:, starts.order] = sky[step] + by_lamp[step], suns[step]
        wide = any(sun.half_angle > WIDE for sun in probe.suns)
        result[step] = spread @ in_order[0] + (spread @ in_order[1] if wide else in_order[1])
    return result
