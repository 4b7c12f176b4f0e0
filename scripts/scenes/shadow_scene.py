# SPDX-License-Identifier: GPL-3.0-or-later
"""The shadow data set's reference tier: scenes by Cycles without shadows of things, without the object's, with all.

One Blender scene serves for all three: what casts no shadow there keeps its place, invisible to all but the camera.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import bpy
import numpy as np

from backend.protocol import CHARACTER, PROP
from backend.shading.photograph import background
from backend.shading.traced import Light
from backend.shadow import traced
from backend.shadow.lamps import Lamp
from backend.shadow.scenes import ShadowScene
from backend.shadow.traced import Picture

from .cycles_frame import add_world, aim, linked, new_image, new_part, remove, rendered, shine, use_cycles

STEADY = 0.02  # two renders differ by so much for their noise alone; from twice that on a difference is shadow


class ShadowStage:
    """Settings of the open Blender file are replaced. samples: of each pixel, denoised."""

    def __init__(self, samples: int, threads: int = 0) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.scene = bpy.context.scene
        use_cycles(self.scene, samples, denoise=True, threads=threads)
        self.scene.camera = linked(self.scene, bpy.data.objects.new("camera", bpy.data.cameras.new("camera")))
        self._suns = [linked(self.scene, bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))) for _ in "ab"]
        self._lamp = linked(self.scene, bpy.data.objects.new("lamp", bpy.data.lights.new("lamp", "POINT")))
        self._lamp.visible_camera = False
        self._panorama = add_world(self.scene)
        self._folder = tempfile.TemporaryDirectory()

    def render(self, shown: ShadowScene) -> Picture:
        """As `traced.render`, whose masks, points and probe it takes."""
        picture = traced.render(shown)
        light = Light.of(shown.light)
        bpy.data.images.remove(self._panorama.image)
        self._panorama.image = new_image("panorama", light.panorama)
        for lamp, sun in zip(self._suns, [*light.suns, None, None], strict=False):
            shine(lamp, sun)
        self._light_lamp(shown.lamp)
        aim(self.scene, shown.camera)
        parts = [(skin.mesh.role, linked(self.scene, new_part(skin, white=False))) for skin in shown.skins]
        behind = background(shown.light.picture, shown.camera, shown.camera.width)
        target = self._render(parts, (), behind)
        composite = self._render(parts, (CHARACTER,), behind)
        open_ = self._render(parts, (CHARACTER, PROP), behind) if shown.bos else composite
        for _, part in parts:
            remove(part)
        target, open_ = composite * _steady(target, composite), composite / _steady(composite, open_)
        for image in (open_, composite):
            image[picture.object] = target[picture.object]
        return dataclasses.replace(picture, open=open_, composite=composite, target=target)

    def _light_lamp(self, lamp: Lamp | None) -> None:
        self._lamp.hide_render = lamp is None
        if lamp is not None:
            strength = float(np.max(lamp.intensity))
            self._lamp.data.energy = 4 * np.pi**2 * strength
            self._lamp.data.color = lamp.intensity / strength
            self._lamp.data.shadow_soft_size = lamp.radius
            self._lamp.location = lamp.place

    def _render(
        self, parts: list[tuple[str, bpy.types.Object]], without: tuple[str, ...], behind: np.ndarray
    ) -> np.ndarray:
        """(H, W, 3) linear radiance; parts of the roles `without` neither hide light nor reflect it."""
        for role, part in parts:
            part.visible_shadow = part.visible_diffuse = part.visible_glossy = role not in without
        channels = rendered(self.scene, Path(self._folder.name) / "frame.exr")
        rgb = np.stack([channels[f"Combined.{c}"] for c in "RGB"], -1)
        alpha = np.clip(channels["Combined.A"], 0, 1)[..., None]
        return (np.maximum(rgb, 0) + (1 - alpha) * behind).astype(np.float32)


def _steady(shaded: np.ndarray, without: np.ndarray) -> np.ndarray:
    """(H, W, 3) ratio of two renders in (0, 1], exactly 1 where they differ by their noise alone."""
    ratio = np.clip(shaded / np.maximum(without, 1e-6), 1e-3, 1)
    ramp = np.clip(((1 - ratio).max(-1, keepdims=True) - STEADY) / STEADY, 0, 1)
    return 1 - (1 - ratio) * ramp
