# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in and out of files: photographs, EXR, and the passes that Blender renders.

In memory every image is float32, H×W or H×W×C, row 0 on top, scene-linear Rec.709. Colour is decoded where a file is
read and encoded where one is written, and nowhere else. Alpha is coverage, not premultiplied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from scipy.ndimage import distance_transform_edt

from .protocol import Camera, PenumbraError, replacing
from .rays.camera import primary_rays

SMALLEST, LARGEST = 8, 32768  # pixels along a side of a plate
HALF_MAX = 65504.0
# Blender's names (4.5 to 5.2) of the spaces that need no conversion, and of the one of ordinary photographs.
LINEAR_SPACES = ("Linear Rec.709", "Linear", "scene_linear", "Non-Color", "Raw")
SRGB = "sRGB"


def srgb_decode(encoded: np.ndarray) -> np.ndarray:
    """Display values → linear light, IEC 61966-2-1's two pieces. Values outside [0, 1] follow the same curve."""
    encoded = np.asarray(encoded, np.float32)
    curve = ((np.maximum(encoded, 0) + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, encoded / 12.92, curve).astype(np.float32)


def srgb_encode(linear: np.ndarray) -> np.ndarray:
    """Linear light → display values; the inverse of `srgb_decode`. Nothing is clipped."""
    linear = np.asarray(linear, np.float32)
    curve = 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, curve).astype(np.float32)


def read_image(path: Path | str, colorspace: str | None = None) -> np.ndarray:
    """Read a photograph or a render: (H, W, 3) float32, scene-linear Rec.709.

    PNG, JPEG, TIFF, WebP and BMP of 8, 16 or 32 bits, Radiance .hdr and OpenEXR; grey becomes three equal channels,
    and what a file's alpha leaves open, and values that are no numbers, are black.

    colorspace: Blender's name of what the file holds. None takes "sRGB" for integers and linear for floats.
    Raises PenumbraError for a file that is missing, no image, of a size outside 8 to 32,768, or in another space.
    """
    path = Path(path)
    if not path.is_file():
        raise PenumbraError(f"The image {path.name} was not found.", f"Check that {path} is still there.")
    if path.suffix.lower() == ".exr":
        rgb, alpha = _colour_of_exr(path)
        integer = False
    else:
        rgb, alpha, integer = _decode(path)
    if colorspace is None:
        colorspace = SRGB if integer else LINEAR_SPACES[0]
    if colorspace not in (SRGB, *LINEAR_SPACES):
        raise PenumbraError(
            f"The colour space {colorspace} of {path.name} is not supported.",
            f'Choose "{SRGB}" or "{LINEAR_SPACES[0]}" for the image, or convert it.',
        )
    linear = _linear(rgb, decode=colorspace == SRGB)
    if alpha is not None:
        linear *= _linear(alpha, decode=False)[..., None]
    return np.nan_to_num(linear, posinf=HALF_MAX, neginf=0)


def read_exr(path: Path | str) -> dict[str, np.ndarray]:
    """All channels of an EXR, of all its parts: name → (H, W) float32 over the file's display window.

    Raises PenumbraError where the file cannot be read or has a size outside 8 to 32,768 pixels.
    """
    path = Path(path)
    try:
        headers = OpenEXR.File(str(path), header_only=True)
        left, top, right, bottom = _window(headers.header(), "displayWindow")
        _check_size(path, bottom - top, right - left)
        channels: dict[str, np.ndarray] = {}
        parts = OpenEXR.File(str(path), separate_channels=True).parts
        if len(parts) < len(headers.parts):  # the library only warns of parts that it cannot decode
            raise ValueError("incomplete")
        for part in parts:
            x, y, _, _ = _window(part.header, "dataWindow")
            for name, channel in part.channels.items():
                key = name if name not in channels else f"{part.name()}.{name}"
                channels[key] = _placed(
                    np.asarray(channel.pixels, np.float32), x - left, y - top, right - left, bottom - top
                )
    except (RuntimeError, ValueError, OSError) as problem:
        raise PenumbraError(f"{path.name} is not a readable EXR image.", "Render or export it again.") from problem
    return channels


def write_exr(path: Path | str, image: np.ndarray | Mapping[str, np.ndarray], *, half: bool = True) -> None:
    """Write scene-linear channels to an EXR, atomically.

    image: (H, W) as Y, (H, W, 3) as RGB, (H, W, 4) as RGBA, or (H, W) arrays by channel name.
    half: 16-bit floats, clipped to their range; else 32-bit.
    Raises PenumbraError where the file cannot be written.
    """
    if not isinstance(image, Mapping):
        names = {2: "Y", 3: "RGBA"[: image.shape[-1]]}[image.ndim]
        image = dict(zip(names, np.moveaxis(np.atleast_3d(image), -1, 0), strict=True))
    dtype = np.float16 if half else np.float32
    limit = HALF_MAX if half else np.inf
    channels = {k: np.ascontiguousarray(np.clip(v, -limit, limit), dtype) for k, v in image.items()}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    try:
        with replacing(Path(path)) as temporary:
            OpenEXR.File(header, channels).write(str(temporary))
    except (RuntimeError, OSError) as problem:
        raise _unwritable(path) from problem


def write_png(path: Path | str, linear: np.ndarray) -> None:
    """Write (H, W), (H, W, 3) or (H, W, 4) linear light as an 8-bit sRGB PNG, atomically; alpha stays as it is.

    Raises PenumbraError where the file cannot be written.
    """
    image = np.asarray(linear, np.float32)
    colour = srgb_encode(image[..., :3] if image.ndim == 3 else image)
    if image.ndim == 3 and image.shape[-1] == 4:
        colour = np.concatenate([colour, image[..., 3:]], axis=-1)
    levels = np.round(np.clip(np.nan_to_num(colour), 0, 1) * 255).astype(np.uint8)
    if levels.ndim == 3:
        levels = cv2.cvtColor(levels, cv2.COLOR_RGBA2BGRA if levels.shape[-1] == 4 else cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".png", levels)[1]
    try:
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(encoded.tobytes())
    except OSError as problem:
        raise _unwritable(path) from problem


@dataclass(frozen=True)
class Passes:
    """What Blender rendered of the character, one value a pixel; 0 where it does not cover.

    albedo: (H, W, 3) diffuse colour in [0, 1]. normal: (H, W, 3) unit, camera space. alpha: (H, W) coverage.
    depth: (H, W) metres along −z, of the first sample's surface; infinite where there is none.
    emission: (H, W, 3) radiance.
    """

    albedo: np.ndarray
    normal: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray
    emission: np.ndarray


def read_passes(path: Path | str, pass_names: Mapping[str, str], camera: Camera) -> Passes:
    """Read the multilayer EXR of a `protocol.Frame`.

    Cycles filters its colour and Normal passes over the pixel, so they carry the coverage as a factor: it is divided
    out. The Normal pass is in world space. "glossy_color" and "emission" may be missing from `pass_names`.
    Raises PenumbraError where a pass is missing or the size is not the camera's.
    """
    channels = read_exr(path)

    def read(key: str, components: str) -> np.ndarray:
        prefix = pass_names.get(key)
        names = [f"{prefix}.{c}" for c in components]
        if absent := [name for name in names if name not in channels]:
            raise PenumbraError(
                f"The render of the character has no {key.replace('_', ' ')} pass ({absent[0]}).",
                "Enable the character's collection in the view layer and run again.",
            )
        return np.stack([channels[name] for name in names], axis=-1)

    alpha = np.clip(read("combined", "A")[..., 0], 0, 1)
    if alpha.shape != (camera.height, camera.width):
        raise PenumbraError("The passes are not of the camera's size.", "Run Harmonize Shading again.")
    covered = alpha > 0
    weight = np.where(covered, alpha, 1)[..., None]

    def straight(key: str) -> np.ndarray:
        return np.where(covered[..., None], np.maximum(read(key, "RGB"), 0) / weight, 0).astype(np.float32)

    nothing = np.zeros((*alpha.shape, 3), np.float32)
    normal = _camera_normals(read("normal", "XYZ"), camera)
    normal[~covered] = 0
    albedo = straight("diffuse_color")
    if "glossy_color" in pass_names:
        albedo = _with_metals(albedo, straight("glossy_color"), normal, camera)
    depth = read("depth", "Z")[..., 0]
    return Passes(
        albedo=np.clip(albedo, 0, 1),
        normal=normal,
        alpha=alpha,
        depth=np.where(depth < 1e9, depth, np.inf).astype(np.float32),  # Blender's background is at 1e10
        emission=straight("emission") if "emission" in pass_names else nothing,
    )


def _camera_normals(world: np.ndarray, camera: Camera) -> np.ndarray:
    """Sums of world-space normals (H, W, 3) → unit normals in camera space, 0 where there are none."""
    normal = world @ np.asarray(camera.world_from_camera, np.float32)[:3, :3]  # n·R is Rᵀn: R is a rotation
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.where(length > 1e-6, normal / np.maximum(length, 1e-6), 0).astype(np.float32)


def _with_metals(diffuse: np.ndarray, glossy: np.ndarray, normal: np.ndarray, camera: Camera) -> np.ndarray:
    """Albedo (H, W, 3) that stays meaningful on metals, which have a glossy colour instead of a diffuse one.

    Any surface has a glossy colour: up to 8 % seen frontally, rising to 100 % at grazing angles (Schlick's
    approximation of Fresnel's equations). Only what exceeds that is metal; a ramp keeps half-metallic surfaces without
    a seam. Grazing pixels cannot be told apart and take after the nearest frontal one.
    """
    rows, columns = np.nonzero(normal.any(axis=-1))
    view = -primary_rays(camera, np.stack([columns + 0.5, rows + 0.5], axis=-1))[1]
    cosine = np.zeros(normal.shape[:2], np.float32)
    cosine[rows, columns] = np.clip(np.einsum("nc,nc->n", view, normal[rows, columns]), 0, 1)
    fresnel = 0.08 + 0.92 * (1 - cosine) ** 5
    metal = np.clip(glossy.max(axis=-1) / fresnel - 1, 0, 1)[..., None] * glossy
    frontal = cosine > 0.5
    if not metal[frontal].any():
        return diffuse
    nearest = distance_transform_edt(~frontal, return_distances=False, return_indices=True)
    return diffuse + np.where(normal.any(axis=-1, keepdims=True), metal[tuple(nearest)], 0)


def _decode(path: Path) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Decode with OpenCV: RGB as stored, alpha or None, and whether the values are integers."""
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, OSError):
        image = None
    if image is None:
        raise PenumbraError(f"{path.name} is not a readable image.", "Open it in an image editor and save it as PNG.")
    _check_size(path, *image.shape[:2])
    if image.ndim == 2:
        image = image[..., None]
    alpha = image[..., -1] if image.shape[-1] in (2, 4) else None
    colour = image[..., 2::-1] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    return colour, alpha, np.issubdtype(image.dtype, np.integer)


def _colour_of_exr(path: Path) -> tuple[np.ndarray, None]:
    """The colour of an EXR: its own R, G, B or Y, else the first combined pass of a multilayer file."""
    channels = read_exr(path)
    for prefix in ("", *(name[:-1] for name in channels if name.endswith((".Combined.R", ".R")))):
        if all(prefix + c in channels for c in "RGB"):
            return np.stack([channels[prefix + c] for c in "RGB"], axis=-1), None
    if "Y" in channels and "BY" not in channels:
        return np.repeat(channels["Y"][..., None], 3, axis=-1), None
    raise PenumbraError(f"{path.name} holds no RGB colour.", "Export it again with R, G and B channels.")


def _linear(values: np.ndarray, *, decode: bool) -> np.ndarray:
    """Stored values → float32 linear; integers through a table, which is exact and quick."""
    if not np.issubdtype(values.dtype, np.integer):
        values = np.asarray(values, np.float32)
        return srgb_decode(values) if decode else values.copy()
    if values.dtype not in (np.uint8, np.uint16):
        raise PenumbraError("Images of 32-bit integers are not supported.", "Save the image with 16 bits or as EXR.")
    top = np.iinfo(values.dtype).max
    levels = np.arange(top + 1, dtype=np.float64) / top
    table = srgb_decode(levels) if decode else levels.astype(np.float32)
    return table[values]


def _check_size(path: Path, height: int, width: int) -> None:
    if min(height, width) < SMALLEST:
        raise PenumbraError(f"{path.name} has only {width}×{height} pixels.", "Choose a larger image.")
    if max(height, width) > LARGEST:
        raise PenumbraError(
            f"{path.name} is too large: {width}×{height} pixels.", "Scale it below 32,768 pixels a side."
        )


def _window(header: Mapping[str, tuple[np.ndarray, np.ndarray]], name: str) -> tuple[int, int, int, int]:
    """A window of an EXR header as (left, top, right, bottom), half open."""
    (left, top), (right, bottom) = header[name]
    return int(left), int(top), int(right) + 1, int(bottom) + 1


def _placed(pixels: np.ndarray, x: int, y: int, width: int, height: int) -> np.ndarray:
    """`pixels` at column x, row y of a black frame; what reaches over the frame is cut."""
    if (x, y) == (0, 0) and pixels.shape == (height, width):
        return pixels
    frame = np.zeros((height, width), np.float32)
    target = frame[max(y, 0) : max(y + pixels.shape[0], 0), max(x, 0) : max(x + pixels.shape[1], 0)]
    target[...] = pixels[max(-y, 0) :, max(-x, 0) :][: target.shape[0], : target.shape[1]]
    return frame


def _unwritable(path: Path | str) -> PenumbraError:
    return PenumbraError(
        f"{Path(path).name} could not be written.", f"Check that {Path(path).parent} can be written to and has space."
    )
