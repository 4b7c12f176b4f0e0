# SPDX-License-Identifier: GPL-3.0-or-later
"""The shadow data set: ``make_dataset.py shadow --tier traced --split train --tuples 20000 --out DIR``.

DIR/card.json says how to make the folder again; DIR/shard_00000.npz … (compressed) hold the tuples. What is finished is
kept, so the same command goes on where it was stopped. Scenes whose object or shadow can hardly be seen are left out,
so a shard holds up to N tuples. Images are square, row 0 on top; camera space is x right, y up, −z forward:
  composite, target (N, S, S, 3) uint8 display-encoded photographs without and with the object's shadow;
  object, shadow, background_object, background_shadow (N, S, S) uint8 masks;
  points (N, S, S, 3) float16 metres, camera space; valid (N, S, S) bool;
  ratio (N, S, S, 3) float16 linear light with over light without the object's shadow; 1 on the object;
  light (N, 3) float32 unit, toward what casts the shadow, camera space; trusted (N,) bool, if worth learning;
  projection, world_from_camera (N, 4, 4) float64, world +z up; bos (N,) bool; name (N,) str.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import multiprocessing
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from backend.protocol import PenumbraError, replacing, write_json
from backend.shading.moments import Sources
from backend.shadow import traced
from backend.shadow.scenes import ShadowScene, scenes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=make)
    parser.add_argument("--tier", choices=("traced", "cycles"), required=True, help="cycles needs the bpy module")
    parser.add_argument("--split", choices=("train", "test"), required=True)
    parser.add_argument("--tuples", type=int, required=True, help="scenes in all; a few are left out")
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--shard", type=int, default=64, help="scenes a shard")
    parser.add_argument("--samples", type=int, default=64, help="of Cycles, denoised")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hdri", type=Path, nargs="*", default=[], help="folders of .hdr and .exr panoramas")
    parser.add_argument("--motion", type=Path, nargs="*", default=[], help="folders of .bvh motions")
    parser.add_argument("--workers", type=int, default=1)


def make(arguments: argparse.Namespace) -> None:
    """Write what is missing of a shadow data set."""
    sources = Sources.find(arguments.split, arguments.motion, arguments.hdri)
    path = arguments.out / "card.json"
    old = json.loads(path.read_text("utf-8")) if path.exists() else None
    if old:  # folders may have grown since; the data set keeps to what it began with
        sources = sources.only(old["motions"], [name for folder in old["panoramas"] for name in folder])
    card = _card(arguments, sources)
    if old and any(old.get(k) != v for k, v in card.items() if k not in ("command", "tuples", "versions")):
        raise PenumbraError("The folder holds a data set made in another way.", "Choose another folder.")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for leftover in arguments.out.glob(".shard_*"):
        leftover.unlink()
    write_json(path, card)
    sizes = [min(arguments.shard, arguments.tuples - start) for start in range(0, arguments.tuples, arguments.shard)]
    due = [(i, size) for i, size in enumerate(sizes) if not _shard_path(arguments.out, i).exists()]
    task = functools.partial(_make_shard, arguments, sources)
    done = arguments.tuples - sum(size for _, size in due)
    with tqdm(total=arguments.tuples, initial=done, unit="scene", smoothing=0.05) as bar:
        if arguments.workers == 1:
            for shard in due:
                bar.update(task(shard))
            return
        for library in ("OPENBLAS", "OMP", "MKL"):  # the work is shared out by process
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")
        with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
            for size in pool.imap_unordered(task, due):
                bar.update(size)


def _make_shard(arguments: argparse.Namespace, sources: Sources, shard: tuple[int, int]) -> int:
    index, size = shard
    random = np.random.default_rng([arguments.seed, zlib.crc32(b"photograph"), index])
    render = _renderer(arguments.tier, arguments.samples, arguments.workers)
    made = []
    for scene in scenes(sources, arguments.seed, index, size, arguments.size):
        one = traced.arrays(scene, render(scene), random)
        if traced.worth_showing(one):
            made.append(one)
    if not made:
        raise PenumbraError("A shard's scenes all lack a shadow.", "Make more scenes a shard, or other sizes.")
    with replacing(_shard_path(arguments.out, index)) as temporary:
        np.savez_compressed(temporary, **{name: np.stack([one[name] for one in made]) for name in made[0]})
    return size


@functools.cache
def _renderer(tier: str, samples: int, workers: int) -> Callable[[ShadowScene], traced.Picture]:
    """The tier's renderer, made once a process."""
    if tier == "traced":
        return traced.render
    from scripts.scenes.shadow_scene import ShadowStage

    return ShadowStage(samples, max(1, (os.cpu_count() or 1) // workers)).render


def _shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard_{index:05}.npz"


def _card(arguments: argparse.Namespace, sources: Sources) -> dict:
    """How to make the folder again."""
    given = ("tier", "split", "tuples", "size", "shard", "seed")
    packages = ["numpy", "embreex", "opencv-python", "scipy", "trimesh"]
    if arguments.tier == "cycles":
        given, packages = (*given, "samples"), [*packages, "bpy"]
    return {
        "command": "scripts/make_dataset.py shadow " + " ".join(f"--{n} {getattr(arguments, n)}" for n in given),
        **{name: getattr(arguments, name) for name in given},
        "motions": [path.name for path in sources.motions],
        "panoramas": [[path.name for path in folder] for folder in sources.panoramas],
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
