# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures as icons that a panel can draw: they belong to no file, and drawing them changes none."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np

_collection: Any = None  # bpy.utils.previews.ImagePreviewCollection
_stamps: dict[str, Hashable] = {}


def icon(name: str, stamp: Hashable, make: Callable[[], np.ndarray]) -> int:
    """The icon of a picture. `make` makes it, where `stamp` is not that of the picture under this name.

    A picture is (H, W, 4) uint8, display-encoded RGBA, row 0 on top.
    """
    if _stamps.get(name) != stamp:
        _show(name, make())
        _stamps[name] = stamp
    return _collection[name].icon_id


def of_file(path: Path) -> int | None:
    """The icon of a picture in an ``.npy`` file, which is read again when it has changed; None where it is none."""
    try:
        return icon("file", (path, path.stat().st_mtime_ns), lambda: np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return None


def _show(name: str, picture: np.ndarray) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 4:
        raise ValueError(f"{name} is no picture")
    preview = _collection.get(name) or _collection.new(name)
    packed = np.ascontiguousarray(picture[::-1]).view(np.int32).ravel()
    for kind in ("icon", "image"):
        setattr(preview, f"{kind}_size", (picture.shape[1], picture.shape[0]))
        getattr(preview, f"{kind}_pixels").foreach_set(packed)


def register() -> None:
    from bpy.utils import previews  # type: ignore[import-not-found]

    global _collection
    _collection = previews.new()


def unregister() -> None:
    from bpy.utils import previews  # type: ignore[import-not-found]

    previews.remove(_collection)
    _stamps.clear()
