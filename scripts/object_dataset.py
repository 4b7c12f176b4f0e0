# SPDX-License-Identifier: GPL-3.0-or-later
"""The data set of objects: ``make_dataset.py object --split train --shapes 400 --out DIR``.

Writes DIR/card.json, which says how to make the folder again, and DIR/shard_00000.npz … What is finished is kept: the
same command goes on where it was stopped. A folder may grow: more shapes of the same are welcome.

A shard holds N shapes, category after category in turn, with V views each:
  category (N) str; seed (N) int64: `backend.objects.shapes.make_shape` makes the shape again, in object space;
  picture (bytes) uint8: N·V JPEG files, 128 × 128, one after the other; picture_size (N, V) int32 their lengths;
  mask (bytes), mask_size: PNG files of the visible object's coverage;
  matrix (N, V, 3, 4) float32: JOF's projection of the picture; not in the real split;
and, in train and test alone, where pictures are made as equation 3 of JOF makes them:
  light (N, V, 9, 3) float32 spherical harmonics of the shading;
  grid (N, 64, 64, 64) uint8, [x, y, z]: 1 + piece inside, 129 + the nearest piece in touching voxels, else 0;
  label (N, 16) int8 the pieces' part names, -1 where there is none; albedo (N, 16, 3) float32 linear.

``make_dataset.py photographs --set pix3d|pascal3d --root DIR --out DIR`` writes the same, as far as the real split has
it, from real photographs with silhouettes.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
from tqdm import tqdm

from backend.objects import public
from backend.objects.samples import FIRST_SEED, SPLITS, Lights, photograph_arrays, shape_arrays
from backend.objects.shapes import CATEGORIES, LABELS
from backend.protocol import PenumbraError, replacing, write_json
from backend.shading.environments import find_panoramas

STREAMS = ("picture", "mask")  # bytes of files one after the other
PHOTOGRAPHS = 512  # a shard


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("object", help="generated objects and pictures of them, for the joint occupancy field")
    parser.set_defaults(run=make_objects)
    parser.add_argument("--split", choices=SPLITS, required=True)
    parser.add_argument("--shapes", type=int, required=True, help="of each category")
    parser.add_argument("--views", type=int, default=20, help="pictures of each shape")
    parser.add_argument("--categories", nargs="+", choices=tuple(LABELS), default=list(CATEGORIES))
    parser.add_argument("--shard", type=int, default=64, help="shapes a shard")
    parser.add_argument("--hdri", type=Path, nargs="*", default=[], help="folders of panoramas, beside built-in skies")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)

    photographs = commands.add_parser(
        "photographs", help="photographs of objects out of a public data set, for stage 3"
    )
    photographs.set_defaults(run=make_photographs)
    photographs.add_argument("--set", choices=("pix3d", "pascal3d"), required=True)
    photographs.add_argument("--root", type=Path, required=True, help="the folder that the data set was unpacked into")
    photographs.add_argument("--out", type=Path, required=True)


def make_photographs(arguments: argparse.Namespace) -> None:
    """Write shards of a public data set's photographs; those without a silhouette are left out."""
    found = public.pix3d(arguments.root) if arguments.set == "pix3d" else public.pascal3d(arguments.root, "train")
    shapes, left_out = [], 0
    for number, example in enumerate(found):
        try:
            shapes.append(photograph_arrays(example, number))
        except PenumbraError:
            left_out += 1
    if not shapes:
        raise PenumbraError("No photograph has a silhouette.", "Put masks where the reader looks for them.")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for index, start in enumerate(range(0, len(shapes), PHOTOGRAPHS)):
        _write_shard(arguments.out / f"shard_{index:05}.npz", shapes[start : start + PHOTOGRAPHS])
    card = {"command": f"scripts/make_dataset.py photographs --set {arguments.set}", "photographs": len(shapes)}
    write_json(arguments.out / "card.json", {**card, "left_out": left_out})
    print(f"{len(shapes)} photographs, {left_out} left out")


def make_objects(arguments: argparse.Namespace) -> None:
    """Write what is missing of a data set of objects."""
    lights = Lights(tuple(path for folder in arguments.hdri for path in find_panoramas(folder)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for leftover in arguments.out.glob(".shard_*"):
        leftover.unlink()
    _write_card(arguments, lights)
    names = [(c, FIRST_SEED[arguments.split] + k) for k in range(arguments.shapes) for c in arguments.categories]
    shards = [
        (i, names[start : start + arguments.shard]) for i, start in enumerate(range(0, len(names), arguments.shard))
    ]
    due = [(i, part) for i, part in shards if _holds(arguments.out / f"shard_{i:05}.npz") < len(part)]
    task = functools.partial(_make_shard, arguments.out, arguments.split, arguments.views, lights)
    done = len(names) - sum(len(part) for _, part in due)
    with tqdm(total=len(names), initial=done, unit="shape", smoothing=0.05) as bar:
        if arguments.workers == 1:
            for shard in due:
                bar.update(task(shard))
            return
        for library in ("OPENBLAS", "OMP", "MKL"):  # the work is shared out by process, not by matrix
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")
        with multiprocessing.get_context("spawn").Pool(arguments.workers, _start_worker) as pool:
            for count in pool.imap_unordered(task, due):
                bar.update(count)


def _holds(path: Path) -> int:
    """How many shapes a shard holds; the last shard of a folder that has grown is made again."""
    if not path.exists():
        return 0
    with np.load(path, allow_pickle=False) as shard:
        return len(shard["seed"])


def _make_shard(folder: Path, split: str, count: int, lights: Lights, shard: tuple[int, list[tuple[str, int]]]) -> int:
    index, names = shard
    shapes = [shape_arrays(category, seed, split, count, lights) for category, seed in names]
    _write_shard(folder / f"shard_{index:05}.npz", shapes)
    return len(shapes)


def _write_shard(path: Path, shapes: list[dict[str, np.ndarray]]) -> None:
    arrays = {
        name: (np.concatenate if name in STREAMS else np.stack)([shape[name] for shape in shapes]) for name in shapes[0]
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _start_worker() -> None:
    """Workers end when the parent tells them to, by SIGTERM; Ctrl-C reaches the parent alone."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_card(arguments: argparse.Namespace, lights: Lights) -> None:
    """How to make the folder again. Raises PenumbraError where it holds shards of another data set."""
    options = f"--split {arguments.split} --shapes {arguments.shapes} --views {arguments.views}"
    options += f" --categories {' '.join(arguments.categories)} --shard {arguments.shard}"
    card = {
        "command": f"scripts/make_dataset.py object {options}",
        **{name: getattr(arguments, name) for name in ("split", "shapes", "views", "categories", "shard")},
        "panoramas": [p.name for p in lights.panoramas] + ["built-in skies"],
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", "embreex", "opencv-python")},
    }
    path = arguments.out / "card.json"
    old = json.loads(path.read_text("utf-8")) if path.exists() else None
    changing = ("command", "shapes", "versions")
    if old and any(old.get(name) != value for name, value in card.items() if name not in changing):
        raise PenumbraError("The folder holds a data set made in another way.", "Choose another folder.")
    write_json(path, card)
