# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be installed: a backend environment for each platform and accelerator, as `locks.json` lists them.

Standard library only. scripts/compile_locks.py writes the folder LOCKS.
"""

from __future__ import annotations

import ctypes.util
import hashlib
import json
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LABELS = {"cpu": "CPU", "cuda": "CUDA", "rocm": "ROCm", "metal": "Metal"}
DESCRIPTIONS = {
    "cpu": "Any processor; no graphics card is used",
    "cuda": "NVIDIA graphics cards from the RTX 20 series on, with driver 580 or newer",
    "rocm": "AMD graphics cards that ROCm supports",
    "metal": "Macs with Apple silicon",
}
SIZES = "{0} to download, {1} on the disk"
GIGABYTE = 1000  # megabytes
LOCKS = Path("blender_addon", "installation", "locks")  # in the extension's folder


@dataclass(frozen=True)
class Target:
    """One environment that can be installed.

    torch_index: the package index that PyTorch comes from; empty where it comes with all others.
    download_mb, disk_mb: megabytes, of PyTorch's Python as well. tested: whether its installation was ever tried.
    locks: its requirement files in the order in which they are installed.
    """

    platform: str
    accelerator: str
    torch_index: str
    download_mb: int
    disk_mb: int
    tested: bool
    locks: tuple[Path, ...]

    @property
    def label(self) -> str:
        return LABELS[self.accelerator]

    @property
    def sizes(self) -> str:
        """What it takes, for people."""
        return SIZES.format(_size(self.download_mb), _size(self.disk_mb))

    @property
    def fingerprint(self) -> str:
        """Changes with what is to be installed."""
        digest = hashlib.sha256(self.accelerator.encode())
        for path in self.locks:
            digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
        return digest.hexdigest()[:12]


def here() -> str:
    """This platform as Blender's manifests name it, such as "linux-x64"."""
    system = {"linux": "linux", "win32": "windows", "darwin": "macos"}.get(sys.platform, sys.platform)
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine())
    return f"{system}-{machine}"


def available(root: Path, on: str = "") -> list[Target]:
    """The targets of a platform, by default of this one; root is the extension's folder."""
    on = on or here()
    found = []
    for entry in _index(root)["targets"]:
        if entry["platform"] == on:
            locks = tuple(root / LOCKS / name for name in entry["locks"])
            found.append(Target(**{**entry, "locks": locks}))
    return found


def pinned_uv(root: Path) -> tuple[str, Path]:
    """The version of uv that installs, and the requirement file that pins it."""
    return _index(root)["uv"], root / LOCKS / "uv.txt"


def suggested(targets: list[Target]) -> Target | None:
    """The target that fits this machine best, from what can be seen without starting anything."""
    by_name = {target.accelerator: target for target in targets}
    order = ["metal", *(["cuda"] if _has_nvidia() else []), *(["rocm"] if Path("/dev/kfd").exists() else []), "cpu"]
    return next((by_name[name] for name in order if name in by_name), None)


def _has_nvidia() -> bool:
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi")
    return bool(driver or (sys.platform == "win32" and ctypes.util.find_library("nvcuda")))


def _index(root: Path) -> dict[str, Any]:
    return json.loads((root / LOCKS / "locks.json").read_text("utf-8"))


def _size(megabytes: int) -> str:
    return f"{megabytes / GIGABYTE:.1f} GB" if megabytes >= GIGABYTE else f"{megabytes} MB"
