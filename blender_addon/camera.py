# SPDX-License-Identifier: GPL-3.0-or-later
"""Which camera a frame is seen through, and what the job has to know of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import bpy
import numpy as np

from ..backend import protocol
from ..backend.protocol import PenumbraError


def camera_at(scene: bpy.types.Scene, name: str | None, frame: int | None = None) -> bpy.types.Object:
    """The camera object of a frame: the named one, else the last timeline marker's, else the scene's.

    Raises PenumbraError where there is none, or it is neither perspective nor orthographic.
    """
    if name is not None:
        camera = scene.objects.get(name)
        if camera is None or camera.type != "CAMERA":
            raise PenumbraError(f"There is no camera “{name}” in the scene.", "Pick another camera in the panel.")
    else:
        camera = _marked_camera(scene, scene.frame_current if frame is None else frame) or scene.camera
    if camera is None or camera.type != "CAMERA":
        raise PenumbraError(
            "The scene has no camera.",
            "Add one (Shift A, Camera) and look through it at the plate.",
            fix="penumbra.add_camera",
        )
    if camera.data.type not in {"PERSP", "ORTHO"}:
        raise PenumbraError(
            f"“{camera.name}” is a panoramic camera, through which a character cannot be shaded.",
            "Use a perspective or orthographic camera.",
        )
    return camera


def _marked_camera(scene: bpy.types.Scene, frame: int) -> bpy.types.Object | None:
    """The camera that timeline markers bind at a frame; before the first of them, the first."""
    markers = sorted((m for m in scene.timeline_markers if m.camera), key=lambda m: m.frame)
    before = [m for m in markers if m.frame <= frame]
    return before[-1].camera if before else markers[0].camera if markers else None


def frame_size(render: bpy.types.RenderSettings) -> tuple[int, int]:
    """Width and height of a render in pixels."""
    return (
        max(1, render.resolution_x * render.resolution_percentage // 100),
        max(1, render.resolution_y * render.resolution_percentage // 100),
    )


def protocol_camera(depsgraph: bpy.types.Depsgraph) -> protocol.Camera:
    """The evaluated camera of a depsgraph's scene, with render resolution, pixel aspect and border in it."""
    scene = depsgraph.scene
    render = scene.render
    camera = scene.camera.evaluated_get(depsgraph)
    width, height = frame_size(render)
    projection = camera.calc_matrix_camera(
        depsgraph, x=width, y=height, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
    )
    world = np.array(camera.matrix_world, np.float64)
    world[:3, :3] /= np.linalg.norm(world[:3, :3], axis=0)  # Blender ignores a camera's scale
    return protocol.Camera(np.array(projection, np.float64), world, width, height, border_of(render))


def border_of(render: bpy.types.RenderSettings) -> tuple[int, int, int, int] | None:
    """The render border as (left, top, right, bottom) pixels, row 0 on top; None where it is not used."""
    if not render.use_border:
        return None
    width, height = frame_size(render)
    left, right = int(width * render.border_min_x), int(width * render.border_max_x)
    top, bottom = height - int(height * render.border_max_y), height - int(height * render.border_min_y)
    return (left, top, right, bottom) if left < right and top < bottom else None


@contextlib.contextmanager
def border_kept(render: bpy.types.RenderSettings) -> Iterator[None]:
    """The block may set a border; afterwards it is as it was."""
    names = ("use_border", "use_crop_to_border", "border_min_x", "border_max_x", "border_min_y", "border_max_y")
    before = {name: getattr(render, name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(render, name, value)


def set_border(render: bpy.types.RenderSettings, box: tuple[int, int, int, int]) -> None:
    """Render only `box`, (left, top, right, bottom) pixels with row 0 on top, in a frame of full size."""
    width, height = frame_size(render)
    left, top, right, bottom = box
    render.use_border, render.use_crop_to_border = True, False
    # Blender truncates to whole pixels: a quarter pixel keeps rounding on the right side.
    render.border_min_x, render.border_max_x = (left + 0.25) / width, (right + 0.25) / width
    render.border_min_y, render.border_max_y = (height - bottom + 0.25) / height, (height - top + 0.25) / height


def seen_box(camera: protocol.Camera, points: np.ndarray) -> tuple[int, int, int, int] | None:
    """The pixels of the camera's window that hold the projected (N, 3) camera-space points.

    Returns (left, top, right, bottom), or None where none of them can be seen. Where points lie beside and behind
    the camera at once, all of the window.
    """
    clip = points @ camera.projection[:3, :3].T.astype(np.float32) + camera.projection[:3, 3].astype(np.float32)
    w = points @ camera.projection[3, :3].astype(np.float32) + np.float32(camera.projection[3, 3])
    front = w > 1e-6
    if not front.any():
        return None
    left, top, right, bottom = camera.window
    if front.all():
        xy = clip[:, :2] / w[:, None]
        low, high = xy.min(axis=0), xy.max(axis=0)
        xs = (np.array([low[0], high[0]]) * 0.5 + 0.5) * camera.width
        ys = (0.5 - np.array([high[1], low[1]]) * 0.5) * camera.height
        left, right = max(left, int(np.floor(xs[0]))), min(right, int(np.ceil(xs[1])))
        top, bottom = max(top, int(np.floor(ys[0]))), min(bottom, int(np.ceil(ys[1])))
    return (left, top, right, bottom) if left < right and top < bottom else None
