# SPDX-License-Identifier: GPL-3.0-or-later
"""Pixels through Blender itself: what the compositor makes, what an EXR holds. Row 0 is on top everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import bpy
import numpy as np
from penumbra.blender_addon import compat


def load(path: Path | str) -> np.ndarray:
    """(H, W, 4) float32 values of an image file, as it holds them."""
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = "Non-Color"
    pixels = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(image.size[1], image.size[0], 4)[::-1]
    bpy.data.images.remove(image)
    return pixels


def save(path: Path | str, pixels: np.ndarray, *, eight_bit: bool = False) -> None:
    """Write (H, W, 3 or 4) values: a float EXR, or as they are into the codes of an 8-bit PNG."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new("saved", width, height, alpha=True, float_buffer=not eight_bit)
    if not eight_bit:
        image.colorspace_settings.name = "Non-Color"  # `save` encodes linear images as sRGB
        image.alpha_mode = "PREMUL"
        image.use_half_precision = False
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., : pixels.shape[2]] = pixels
    image.pixels.foreach_set(np.ascontiguousarray(rgba[::-1]).ravel())
    image.file_format = "PNG" if eight_bit else "OPEN_EXR"
    image.filepath_raw = str(path)
    image.save()
    bpy.data.images.remove(image)


def render(scene: bpy.types.Scene, path: Path, frame: int | None = None) -> np.ndarray:
    """What the scene's compositor makes of a frame, scene-linear float."""
    if frame is not None:
        scene.frame_set(frame)
    compat.set_exr(scene.render.image_settings, "32")
    scene.render.filepath = str(path)
    with bpy.context.temp_override(scene=scene):
        bpy.ops.render.render(write_still=True)
    return load(path)


def read_pass(path: Path, name: str, size: tuple[int, int]) -> np.ndarray:
    """A pass of a multilayer EXR of `size` (width, height), by its name in the file ("Penumbra.Normal")."""
    layer, label = name.split(".")
    scene = bpy.data.scenes.new("reader")
    tree = compat.create_compositor_tree(scene)
    node = tree.nodes.new("CompositorNodeImage")
    node.image = bpy.data.images.load(str(path))
    scene.render.resolution_x, scene.render.resolution_y = size
    node.layer = layer
    tree.links.new(node.outputs[label], compat.create_final_input(tree))
    image = node.image
    pixels = render(scene, path.with_name("pass.exr"))
    bpy.data.scenes.remove(scene)
    bpy.data.images.remove(image)
    return pixels


def srgb_decode(encoded: np.ndarray) -> np.ndarray:
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def composite(
    plate: np.ndarray,
    images: Mapping[str, np.ndarray],
    shading: float = 1,
    shadow: float = 1,
    tint: tuple[float, float, float] = (1, 1, 1),
) -> np.ndarray:
    """What the group has to make: plate × shadow, over it albedo × shading; (H, W, 3)."""
    ground = plate * np.clip(1 - shadow * np.float32(tint) * (1 - images["shadow"]), 0, 1)
    figure = images["albedo"][..., :3] * (1 + shading * (images["shading"] - 1))
    alpha = images["albedo"][..., 3:]
    return figure * alpha + ground * (1 - alpha)
