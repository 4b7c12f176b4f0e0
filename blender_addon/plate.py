# SPDX-License-Identifier: GPL-3.0-or-later
"""The photograph behind the character, placed in the frame as Blender places a camera's background image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
import numpy as np

from ..backend.protocol import PenumbraError, replacing
from . import compat, looks, temporary
from .camera import camera_at, frame_size

if TYPE_CHECKING:
    from .export import ExportSettings

COLORSPACE = "Linear Rec.709"  # of the plates that are written here


@dataclass(frozen=True)
class Plate:
    """An image and its place in the frame.

    method: "STRETCH", "FIT" or "CROP", as a camera's background image has it.
    scale, offset, flip_x, flip_y: likewise; the offset is in frame widths (x) and heights (y), y up.
    frames: (start, duration, offset, cyclic) of a sequence or movie.
    """

    image: bpy.types.Image
    method: str = "CROP"
    scale: float = 1.0
    offset: tuple[float, float] = (0.0, 0.0)
    flip_x: bool = False
    flip_y: bool = False
    frames: tuple[int, int, int, bool] = (1, 1, 0, False)

    @property
    def is_animated(self) -> bool:
        return self.image.source in {"SEQUENCE", "MOVIE"}

    def fits(self, size: tuple[int, int], frame: int) -> bool:
        """Whether the image's pixels are the frame's pixels, without resampling. Raises PenumbraError."""
        placed = self.scale == 1.0 and self.offset == (0.0, 0.0) and not (self.flip_x or self.flip_y)
        return placed and _image_size(self, frame) == size


def find_plate(scene: bpy.types.Scene, settings: ExportSettings, frame: int | None = None) -> Plate:
    """The image picked in the settings, else the camera's background image.

    An image that is picked and is the camera's background image keeps its place there; any other fills the frame.
    Raises PenumbraError where there is none, or it cannot be placed.
    """
    camera = camera_at(scene, settings.camera, frame)
    backgrounds = [b for b in camera.data.background_images if b.source == "IMAGE" and b.image is not None]
    if settings.plate is not None:
        image = bpy.data.images.get(settings.plate)
        if image is None:
            raise PenumbraError(f"There is no image “{settings.plate}”.", "Pick another plate in the panel.")
        backgrounds = [b for b in backgrounds if b.image == image]
        if not backgrounds:
            return Plate(image, frames=(1, max(1, image.frame_duration), 0, False))
    if not backgrounds:
        if any(b.source == "MOVIE_CLIP" and b.clip for b in camera.data.background_images):
            raise PenumbraError(
                f"The background of “{camera.name}” is a movie clip.", "Pick the same file as an image in the panel."
            )
        raise PenumbraError(
            "There is no plate.",
            f"Give “{camera.name}” a background image, or pick an image in the panel.",
            fix="penumbra.open_plate",
        )
    return _placed(next((b for b in backgrounds if b.show_background_image), backgrounds[0]))


def _placed(background: bpy.types.CameraBackgroundImage) -> Plate:
    if abs(background.rotation) > 1e-6:
        raise PenumbraError(
            f"The background image “{background.image.name}” is rotated in the camera.",
            "Set its rotation to 0, or save a rotated image.",
        )
    user = background.image_user
    return Plate(
        background.image,
        background.frame_method,
        background.scale,
        (background.offset[0], background.offset[1]),
        background.use_flip_x,
        background.use_flip_y,
        (user.frame_start, user.frame_duration, user.frame_offset, user.use_cyclic),
    )


def write_plate(plate: Plate, frame: int, render: bpy.types.RenderSettings, folder: Path) -> Path:
    """Write the plate as the frame shows it: scene-linear Rec.709 RGBA EXR, half float, at the render's size.

    Blender's own compositor reads the image, so that any format, bit depth, colour space, sequence, movie or unsaved
    painting is read as the artist's renders read it. Black and transparent where the image leaves the frame free.
    A plate that is in the folder already is not written again. Raises PenumbraError where it cannot be read.
    """
    width, height = frame_size(render)
    key = f"{looks.image_stamp(plate.image)} {plate} {width} {height} {frame if plate.is_animated else 0}"
    if plate.image.source == "SEQUENCE" and (shown := sequence_path(plate, frame)).is_file():
        key += f" {looks.file_digest(shown)}"
    if plate.image.is_dirty:
        key += hashlib.blake2b(temporary.pixels_of(plate.image)).hexdigest()
    path = folder / f"plate_{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}.exr"
    if path.exists():
        return path
    with replacing(path) as partial:
        size = _image_size(plate, frame)
        _write_image(plate, frame, size, partial)
        if not plate.fits((width, height), frame):
            pixels = read_exr(partial)
            aspect = render.pixel_aspect_x / render.pixel_aspect_y
            write_exr(partial, framed(pixels, plate, (width, height), aspect))
    return path


def framed(pixels: np.ndarray, plate: Plate, size: tuple[int, int], pixel_aspect: float = 1.0) -> np.ndarray:
    """Resample (h, w, C) pixels, row 0 on top, to a frame of `size` (width, height), placed as `plate` says.

    pixel_aspect: width of the frame's pixels over their height.
    """
    width, height = size
    image_aspect = pixels.shape[1] / pixels.shape[0]
    frame_aspect = width * pixel_aspect / height
    # The image's extent in frame widths and heights.
    extent = np.ones(2)
    if plate.method != "STRETCH":
        wider = image_aspect > frame_aspect
        if wider == (plate.method == "FIT"):
            extent[1] = frame_aspect / image_aspect
        else:
            extent[0] = image_aspect / frame_aspect
    extent = extent * plate.scale
    left = 0.5 - extent[0] / 2 + plate.offset[0]
    top = 0.5 - extent[1] / 2 - plate.offset[1]
    if plate.flip_x:
        pixels = pixels[:, ::-1]
    if plate.flip_y:
        pixels = pixels[::-1]
    rows = _resampled(pixels, height, top * height, extent[1] * height)
    return _resampled(rows.swapaxes(0, 1), width, left * width, extent[0] * width).swapaxes(0, 1)


def _resampled(pixels: np.ndarray, count: int, start: float, extent: float) -> np.ndarray:
    """Resample axis 0 to `count` pixels, of which the image covers [start, start + extent).

    The filter is a tent: as wide as an output pixel where the image shrinks, as an input pixel where it grows.
    Outputs whose centre lies outside the image are 0.
    """
    size = pixels.shape[0]
    step = size / extent  # input pixels an output pixel
    radius = max(1.0, step)
    centre = (np.arange(count) + 0.5 - start) * step
    first = np.floor(centre - radius).astype(int)
    total = np.zeros(count, np.float32)
    out = np.zeros((count, *pixels.shape[1:]), np.float32)
    for tap in range(int(np.ceil(2 * radius)) + 1):
        index = first + tap
        weight = np.maximum(0.0, 1.0 - np.abs(index + 0.5 - centre) / radius).astype(np.float32)
        total += weight
        out += weight.reshape(-1, *[1] * (pixels.ndim - 1)) * pixels[np.clip(index, 0, size - 1)]
    inside = (centre > 0) & (centre < size)
    scale = np.where(inside, 1.0 / np.maximum(total, 1e-12), 0.0).astype(np.float32)
    return out * scale.reshape(-1, *[1] * (pixels.ndim - 1))


def _image_size(plate: Plate, frame: int) -> tuple[int, int]:
    if plate.image.source == "SEQUENCE":  # its own size is known only where Blender has shown it
        path = sequence_path(plate, frame)
        if not path.is_file():
            raise PenumbraError(
                f"The plate of frame {frame} is missing: {path.name}.", "Complete the sequence, or shorten the range."
            )
        image = bpy.data.images.load(str(path))
        width, height = image.size
        bpy.data.images.remove(image)
    else:
        width, height = plate.image.size
    if width == 0 or height == 0:
        raise PenumbraError(
            f"The plate “{plate.image.name}” cannot be read.",
            "Find its file again: File, External Data, Find Missing Files.",
        )
    return width, height


def sequence_path(plate: Plate, frame: int) -> Path:
    """The file of an image sequence that a frame shows."""
    start, duration, offset, cyclic = plate.frames
    number = frame - start + 1  # Blender holds the last file after the end, and takes file `offset` before the start
    number = (number - 1) % max(1, duration) + 1 if cyclic else min(max(number, 0), max(1, duration))
    path = Path(bpy.path.abspath(plate.image.filepath, library=plate.image.library))
    digits = "".join(c if c.isdigit() else " " for c in path.stem).split()
    if not digits:
        return path
    head, _, tail = path.stem.rpartition(digits[-1])
    return path.with_name(f"{head}{number + offset:0{len(digits[-1])}d}{tail}{path.suffix}")


def _write_image(plate: Plate, frame: int, size: tuple[int, int], path: Path) -> None:
    with temporary.empty_scene() as scene:
        tree = compat.compositor_tree(scene)
        node = tree.nodes.new("CompositorNodeImage")
        node.image = plate.image
        if plate.is_animated:
            node.frame_start, node.frame_duration, node.frame_offset, node.use_cyclic = plate.frames
            node.use_auto_refresh = True
        tree.links.new(node.outputs["Image"], compat.create_final_input(tree))
        scene.render.resolution_x, scene.render.resolution_y = size
        scene.render.resolution_percentage = 100
        scene.render.dither_intensity = 0.0
        scene.render.use_file_extension = False
        compat.set_exr(scene.render.image_settings, "16")
        temporary.render(scene, frame, str(path))


def read_exr(path: Path) -> np.ndarray:
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = "Non-Color"  # the values as they are
    try:
        return temporary.pixels_of(image).reshape(image.size[1], image.size[0], image.channels)[::-1]
    finally:
        bpy.data.images.remove(image)


def write_exr(path: Path, pixels: np.ndarray) -> None:
    image = bpy.data.images.new("Penumbra Plate", pixels.shape[1], pixels.shape[0], alpha=True, float_buffer=True)
    try:
        image.colorspace_settings.name = "Non-Color"  # `save` encodes linear images as sRGB
        image.alpha_mode = "PREMUL"
        image.pixels.foreach_set(np.ascontiguousarray(pixels[::-1], np.float32).ravel())
        image.file_format = "OPEN_EXR"
        image.filepath_raw = str(path)
        image.save()
    finally:
        bpy.data.images.remove(image)
