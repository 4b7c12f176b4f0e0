# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiles the folder blender_addon/installation/locks: what the extension installs for each platform and accelerator.

`python3 scripts/compile_locks.py [--wheels DIR]` resolves requirements.txt and requirements-alone.txt with the pinned
uv and writes one hashed requirement file a target, and locks.json, which lists them. Where PyTorch's own package index
cannot be reached, its build is pinned without a hash, unless its wheel lies in DIR. Run it after a change of the
requirements, and try the installation of the targets that locks.json calls tested.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import environment

LOCKS = environment.ROOT / "blender_addon" / "installation" / "locks"
UV = "0.13.8"
# What MediaPipe asks for and does not use, or has under another name.
UNUSED = ("jax", "jaxlib", "opencv-contrib-python", "sentencepiece", "sounddevice")
TORCH_INDEX = "https://download.pytorch.org/whl/"
PLATFORMS = {
    "linux-x64": "x86_64-manylinux_2_28",
    "windows-x64": "x86_64-pc-windows-msvc",
    "macos-arm64": "aarch64-apple-darwin",
}


@dataclass(frozen=True)
class Target:
    """build: of PyTorch, where its index has several; empty takes the package index's own.

    The megabytes of a tested target are measured, those of the others estimated.
    """

    platform: str
    accelerator: str
    build: str
    download_mb: int
    disk_mb: int
    tested: bool = False


TARGETS = (
    Target("linux-x64", "cpu", "cpu", 515, 1700, tested=True),
    Target("linux-x64", "cuda", "", 3250, 8000),
    Target("linux-x64", "rocm", "rocm7.1", 5050, 16000),
    Target("windows-x64", "cpu", "", 450, 1500),
    Target("windows-x64", "cuda", "cu130", 2650, 6000),
    Target("macos-arm64", "metal", "", 400, 1300),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="a folder with wheels of PyTorch's builds")
    wheels = parser.parse_args().wheels
    with tempfile.TemporaryDirectory() as folder:
        tools = Path(folder)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", tools, f"uv=={UV}"], check=True)
        uv = next(path for path in (tools / "bin").iterdir() if path.stem == "uv")
        LOCKS.mkdir(exist_ok=True)
        for old in LOCKS.iterdir():
            old.unlink()
        entries = [compile_target(uv, target, wheels) for target in TARGETS]
        (LOCKS / "uv.txt").write_text(resolve(uv, "", f"uv=={UV}"), "utf-8")
        index = {"uv": UV, "targets": entries}
    (LOCKS / "locks.json").write_text(json.dumps(index, indent=1) + "\n", "utf-8")


def compile_target(uv: Path, target: Target, wheels: Path | None) -> dict[str, object]:
    """Write a target's requirement files; returns its entry in locks.json."""
    requirements = "".join(
        (environment.ROOT / name).read_text("utf-8") for name in ("requirements.txt", environment.ALONE)
    )
    name = f"{target.platform}-{target.accelerator}"
    lock = resolve(uv, target.platform, requirements)
    if not target.build:
        files = {f"{name}.txt": lock}
    else:
        # The dependencies of Windows' plain build are those of every build, without CUDA.
        plain = packages(resolve(uv, "windows-x64", requirements))
        ours = packages(resolve(uv, target.platform, re.sub(r"(?m)^torch==.*$", dependencies(plain), requirements)))
        torch = re.search(r"(?m)^torch==(\S+)", requirements).group(1)  # type: ignore[union-attr]
        pin = f"torch=={torch}+{target.build}"
        files = {f"{name}.txt": "".join(ours.values()), f"{name}-torch.txt": hashed(target.platform, pin, wheels)}
    tested = "Its installation was tried." if target.tested else "UNTESTED: its installation was never tried."
    for file, text in files.items():
        head = f"# Compiled by scripts/compile_locks.py for {name}, Python 3.11. {tested}\n"
        (LOCKS / file).write_text(head + text, "utf-8")
    return {
        "platform": target.platform,
        "accelerator": target.accelerator,
        "torch_index": TORCH_INDEX + target.build if target.build else "",
        "download_mb": target.download_mb,
        "disk_mb": target.disk_mb,
        "tested": target.tested,
        "locks": list(files),
    }


def resolve(uv: Path, platform: str, requirements: str) -> str:
    """The hashed lock of some requirements, for a platform or all; their wheels are not downloaded."""
    command = [uv, "pip", "compile", "-", "--python-version", "3.11"]
    command += ["--python-platform", PLATFORMS[platform]] if platform else ["--universal"]
    shape = ["--generate-hashes", "--no-header", "--no-annotate", "--only-binary", ":all:", "--quiet"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as overrides:
        overrides.write("".join(f"{name}; python_version < '3'\n" for name in UNUSED))
        overrides.flush()
        ended = subprocess.run(
            [*command, *shape, "--overrides", overrides.name],
            input=requirements,
            env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"},  # PyTorch has no wheel for older ones
            capture_output=True,
            text=True,
            check=False,
        )
    if ended.returncode:
        sys.exit(f"uv could not resolve {platform or requirements}: {ended.stderr}")
    return ended.stdout


def packages(lock: str) -> dict[str, str]:
    """name → the lines of a package in a lock."""
    return {part.partition("==")[0]: part for part in re.split(r"(?m)^(?=\S)", lock) if "==" in part}


def dependencies(plain: dict[str, str]) -> str:
    """The requirements that stand for PyTorch's own dependencies."""
    names = ("filelock", "fsspec", "jinja2", "networkx", "sympy", "typing-extensions", "setuptools")
    return "\n".join(plain[name].split()[0] for name in names if name in plain)


def hashed(platform: str, pin: str, wheels: Path | None) -> str:
    """The pin with the hash of its wheel, where that is at hand; else as it is."""
    tag = PLATFORMS[platform].partition("-")[2]
    found = list(wheels.glob(f"{pin.replace('==', '-')}-cp311-*{tag}*.whl")) if wheels else []
    return f"{pin} --hash=sha256:{hashlib.sha256(found[0].read_bytes()).hexdigest()}\n" if found else f"{pin}\n"


if __name__ == "__main__":
    main()
