# SPDX-License-Identifier: GPL-3.0-or-later
"""Where tensors live: choosing a device, naming versions, giving memory back."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
from collections.abc import Callable
from importlib import metadata

import torch
from torch import Tensor

from .protocol import PenumbraError

CHUNK = 1 << 16  # points a pass
CACHED = 1 << 10  # points a pass and thread, on a processor: their activations stay in its cache, nearly twice as fast
LEAST = 1 << 10  # a pass this small that finds no memory needs another device

_halved = False  # since it was asked last


def pick(name: str = "auto") -> torch.device:
    """The device of a job: "cpu", "cuda", or "auto" for CUDA where there is one.

    Raises PenumbraError where CUDA is asked for and absent, and for any other name.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise PenumbraError(f"There is no device {name}.", "Choose Automatic, CPU or CUDA in the preferences.")
    if name == "cuda" and not torch.cuda.is_available():
        raise PenumbraError(
            "No CUDA device was found.", "Choose Automatic or CPU in the preferences, or update the NVIDIA driver."
        )
    return torch.device(name)


def describe(device: torch.device) -> str:
    """The device as an artist knows it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"CPU, {count} thread{'' if count == 1 else 's'}"


def versions() -> dict[str, str]:
    """What a report must name so that its figures can be made again."""
    packages = {name: metadata.version(name) for name in ("torch", "numpy", "embreex", "opencv-python", "OpenEXR")}
    return {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}", **packages}


def release_memory() -> None:
    """Return unused memory of Python, PyTorch and the C library to the system."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def chunk(device: torch.device) -> int:
    """Points a pass."""
    return CACHED * torch.get_num_threads() if device.type == "cpu" else CHUNK


def in_chunks(points: Tensor, work: Callable[[Tensor], Tensor], size: int = 0) -> Tensor:
    """`work` on the rows of `points`, `size` at a time, put together; in smaller parts where the memory is not enough.

    size: by default `chunk`. Raises torch.OutOfMemoryError where it is not enough for LEAST rows either.
    """
    global _halved
    size = size or chunk(points.device)
    done, start = [], 0
    while start < len(points) or not done:
        try:
            done.append(work(points[start : start + size]))
            start += size
            continue
        except torch.OutOfMemoryError:
            if size <= LEAST:
                raise
        release_memory()  # outside the exception, which holds on to what was computed
        size, _halved = size // 2, True
    return torch.cat(done)


def has_halved() -> bool:
    """Whether memory was short, so that work was done in smaller parts, since this was asked last."""
    global _halved
    was, _halved = _halved, False
    return was
