# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m backend doctor`: is this environment fit to work, and what to do where it is not.

Every check stands for itself, so that the first broken thing does not hide the others; nothing heavy is imported before
its check.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OK, NOTICE, PROBLEM = "ok", "notice", "problem"
MODULES = ("numpy", "scipy", "cv2", "OpenEXR", "embreex", "numba", "skimage", "safetensors", "torch")
FREE_GB = 2.0
SLOW_S = 5.0  # one prediction of ShadingNet; a few tenths of a second on a laptop's processor
REPAIR = "Click Repair in the extension's preferences, or install requirements.txt again."


@dataclass(frozen=True)
class Finding:
    """level: "ok", "notice" or "problem"; text: one plain sentence; remedy: what to do about it."""

    level: str
    text: str
    remedy: str = ""


def examine() -> list[Finding]:
    """All checks; the first of them first."""
    found: list[Finding] = []
    for check in (_python, _packages, _modules, _device, _weights, _disk, _speed):
        try:
            found += check()
        except Exception as problem:
            name = check.__name__.strip("_")
            found.append(Finding(PROBLEM, f"The check of {name} failed: {type(problem).__name__}: {problem}.", REPAIR))
    return found


def main(as_json: bool = False) -> int:
    """Print the findings; returns 1 where one is a problem."""
    found = examine()
    if as_json:
        print(json.dumps({"findings": [asdict(finding) for finding in found]}))
    else:
        for finding in found:
            print(f"{finding.level:8}{finding.text}" + (f"\n        {finding.remedy}" if finding.remedy else ""))
    return int(any(finding.level == PROBLEM for finding in found))


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    where = f"Python {version} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] != (3, 11):
        yield Finding(PROBLEM, f"{where}, but the backend needs Python 3.11.", REPAIR)
    else:
        yield Finding(OK, f"{where}.")


def _packages() -> Iterator[Finding]:
    """The versions of requirements.txt against what is installed."""
    wanted = re.findall(r"(?m)^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "requirements.txt").read_text("utf-8"))
    other = []
    for name, version in wanted:
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(PROBLEM, f"The package {name} is missing.", REPAIR)
            continue
        if installed.partition("+")[0] != version:
            other.append(f"{name} {installed} instead of {version}")
    if other:
        yield Finding(NOTICE, f"Other versions than were tested: {', '.join(other)}.", REPAIR)
    else:
        yield Finding(OK, f"{len(wanted)} packages.")


def _modules() -> Iterator[Finding]:
    """Whether they load, which a missing library of the system prevents."""
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception as problem:
            reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
            yield Finding(PROBLEM, f"The package {name} cannot be loaded: {reason}.", _library_remedy(reason))


def _library_remedy(reason: str) -> str:
    library = re.search(r"(\S+\.so[.\d]*): cannot open shared object", reason)
    if library:
        return f"Install the system's package with {library.group(1)} (Debian, Ubuntu: apt install libgl1 libgomp1)."
    if "DLL load failed" in reason:
        return "Install the Microsoft Visual C++ Redistributable, and allow Penumbra's folder in the antivirus program."
    return REPAIR


def _device() -> Iterator[Finding]:
    import torch

    from . import device

    chosen = device.pick("auto")
    if chosen.type == "cuda":
        yield from _graphics_card(torch.cuda.get_device_capability(chosen), torch.cuda.get_arch_list())
        free, total = torch.cuda.mem_get_info(chosen)
        yield Finding(OK, f"{device.describe(chosen)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free.")
        return
    yield Finding(OK, f"{device.describe(chosen)}.")
    if torch.version.cuda:
        yield Finding(NOTICE, *_why_no_cuda())
    elif driver := _nvidia_driver():
        yield Finding(
            NOTICE,
            f"An NVIDIA driver ({driver}) is there and this PyTorch cannot use it.",
            "Install CUDA instead of CPU.",
        )


def _graphics_card(capability: tuple[int, int], built_for: list[str]) -> Iterator[Finding]:
    """Whether this PyTorch has code for a card: an architecture of the same major number, or an older PTX."""
    built = [divmod(int(digits), 10) for digits in re.findall(r"(?m)^(?:sm|compute)_(\d+)", "\n".join(built_for))]
    if built and not any(major == capability[0] and minor <= capability[1] for major, minor in built):
        newest, oldest = max(built), min(built)
        what = "too old" if capability < oldest else "too new" if capability > newest else "not supported"
        yield Finding(
            PROBLEM, f"The graphics card is {what} for this PyTorch.", "Choose CPU as the device in the preferences."
        )


def _why_no_cuda() -> tuple[str, str]:
    driver = _nvidia_driver()
    if driver is None:
        return "This is the CUDA environment, and no NVIDIA driver was found.", "Install the driver, or install CPU."
    return f"The NVIDIA driver {driver} does not work with this PyTorch.", "Update it to 580 or newer, or install CPU."


def _nvidia_driver() -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.split()[0] if answer.returncode == 0 and answer.stdout.split() else None


def _weights() -> Iterator[Finding]:
    """The hash of every bundled network."""
    from .weights import CONFIG, MODEL, WEIGHTS

    configs = sorted(WEIGHTS.glob(f"*/{CONFIG}"))
    if not configs:
        yield Finding(PROBLEM, f"There are no weights in {WEIGHTS}.", "Install the extension again.")
    for config in configs:
        name, model = config.parent.name, config.parent / MODEL
        try:
            right = hashlib.sha256(model.read_bytes()).hexdigest() == json.loads(config.read_text("utf-8"))["sha256"]
        except (OSError, ValueError, KeyError):
            right = False
        if right:
            yield Finding(OK, f"The weights of {name} are whole.")
        else:
            yield Finding(PROBLEM, f"The weights of {name} are missing or damaged.", "Install the extension again.")


def _disk() -> Iterator[Finding]:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free / 1e9
    if not os.access(folder, os.W_OK):
        yield Finding(PROBLEM, "The folder for temporary files cannot be written.", "Set TMPDIR to one that can.")
    elif free < FREE_GB:
        yield Finding(NOTICE, f"Only {free:.1f} GB are free for temporary files.", "Free some space.")


def _speed() -> Iterator[Finding]:
    """Seconds for one prediction of ShadingNet, and rays a second through a small mesh."""
    import numpy as np
    import torch

    from . import device
    from .weights import load_model

    chosen = device.pick("auto")
    network = load_model("shadingnet")[0].to(chosen)
    image = np.full((128, 128, 3), 0.5, np.float32)
    normal = np.broadcast_to(np.float32((0, 0, 1)), (128, 128, 3))
    bits, alpha = np.zeros((128, 128), np.uint64), np.ones((128, 128), np.float32)
    box = np.float32((0.25, 0.25, 0.75, 0.75))
    seconds = _best_time(lambda: network.predict(image, image, normal, bits, alpha, box))
    rays = _rays_a_second()
    text = f"ShadingNet takes {seconds:.2f} s on {chosen.type}; {rays / 1e6:.0f} million rays a second"
    if seconds > SLOW_S:
        yield Finding(
            NOTICE, f"{text}, which is slow.", "Close other programs, or use a computer with a graphics card."
        )
    else:
        yield Finding(OK, f"{text} with {torch.get_num_threads()} threads.")


def _rays_a_second() -> float:
    import numpy as np

    from .protocol import CHARACTER, Mesh
    from .rays.scene import RayScene

    count = 200
    y, x = np.mgrid[:count, :count].astype(np.float32)
    vertices = np.stack([x.ravel(), y.ravel(), np.sin(x * y).ravel()], 1)
    corner = (np.arange(count - 1)[:, None] * count + np.arange(count - 1)).ravel()
    triangles = np.concatenate([np.stack([corner, corner + 1, corner + count], 1)]).astype(np.int32)
    normals = np.broadcast_to(np.float32((0, 0, 1)), (len(triangles), 3, 3))
    scene = RayScene([Mesh("waves", CHARACTER, vertices, triangles, normals)])
    origins = np.repeat(vertices, 10, 0) + np.float32((0.3, 0.3, 50))
    directions = np.broadcast_to(np.float32((0, 0, -1)), origins.shape)
    return len(origins) / _best_time(lambda: scene.occluded(origins, directions))


def _best_time(work: Callable[[], object], times: int = 2) -> float:
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best
