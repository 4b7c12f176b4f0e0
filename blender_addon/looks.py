# SPDX-License-Identifier: GPL-3.0-or-later
"""What a result was made of, in short: by this, a pose, camera or plate that has changed since is noticed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
import numpy as np

from . import camera as cameras

if TYPE_CHECKING:
    from .plate import Plate

DECIMALS = 4  # a tenth of a millimetre: what evaluating again may change is far below


def look(depsgraph: bpy.types.Depsgraph, rigs: Iterable[bpy.types.Object], plate: Plate | None) -> dict[str, str]:
    """Fingerprints of the evaluated "pose" and "camera", and of the "plate"."""
    posed = [rig.evaluated_get(depsgraph) for rig in rigs]
    matrices = [matrix for rig in posed for matrix in (rig.matrix_world, *(bone.matrix for bone in rig.pose.bones))]
    camera = cameras.protocol_camera(depsgraph)
    found = {
        "pose": _digest(np.array(matrices)),
        "camera": _digest(camera.projection, camera.world_from_camera, np.array((camera.width, camera.height))),
    }
    if plate is not None:
        found["plate"] = plate_look(plate)
    return found


def plate_look(plate: Plate) -> str:
    return hashlib.sha256(f"{image_stamp(plate.image)} {plate}".encode()).hexdigest()[:12]


def image_stamp(image: bpy.types.Image) -> str:
    """Changes when the image's file or settings do, and not where a computer keeps the same file elsewhere."""
    path = Path(bpy.path.abspath(image.filepath_from_user(), library=image.library))
    if image.packed_file:
        stamp = str(image.packed_file.size)
    else:  # a film is too long to be read
        stamp = str(path.stat().st_mtime_ns) if image.source == "MOVIE" and path.is_file() else file_digest(path)
    space, alpha = image.colorspace_settings.name, image.alpha_mode
    return f"{image.name_full} {path.name} {stamp} {tuple(image.size)} {space} {alpha} {image.source}"


def file_digest(path: Path) -> str:
    """Of a file's contents, which are read again only where its date or size has changed; empty without a file."""
    if not path.is_file():
        return ""
    stat = path.stat()
    return _file_digest(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4096)
def _file_digest(path: Path, _changed_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=12)).hexdigest()


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update((np.round(np.asarray(array, np.float64), DECIMALS) + 0.0).tobytes())  # + 0 makes −0 into 0
    return digest.hexdigest()[:12]
