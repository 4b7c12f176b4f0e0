# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes data sets to train and test on.

``make_dataset.py shading --tier traced --split train --frames 10500 --out DIR`` writes DIR/card.json, which says how to
make the folder again, and DIR/shard_00000.npz … (compressed). What is finished is kept: the same command goes on where
it was stopped, at any time, by Ctrl-C or SIGTERM.

A shard holds N geometry frames, three simultaneous views of a moment after three, under L lights each. Images are
128 × 128, row 0 on top, linear Rec.709, in camera space (x right, y up, -z forward):
  albedo (N, 128, 128, 3) float16; normal (N, 128, 128, 3) float16 unit; alpha (N, 128, 128) uint8 coverage;
  rics (N, 128, 128) uint64; shading (N, L, 128, 128, 3) float16 diffuse, 0 outside the person;
  plate (N, L, 128, 128, 3) uint8 display-encoded photograph of the whole frame without the person;
  radiance (N, L, 62, 3) float32 true mean radiance of the cells about the RiCS directions, the open ground's below;
  suns (N, L, 2, 7) float32: direction to the light, irradiance RGB, half-angle in radians, zeros where there is none;
  box (N, 4) float32: the crop's left, top, right and bottom in fractions of the plate;
  projection, world_from_camera (N, 4, 4) float64 of the crop's camera, world +z up;
  identity, clip (N) str; frame, view (N) int32; light (N, L) str.
Shading, radiance and suns are at the plate's exposure: plate white is a white diffuse surface at shading 1.

``--sequence 30`` writes films for the temporal measures: a shard is one sequence of so many consecutive frames, of one
person, through one camera with a locked exposure, under one light each of L. ``--light-split train`` puts the people of
the test split into the lights of the training split, as the paper's test set has them.

``--tier plates`` writes photographs of places without anybody in them: plate (N, 128, 128, 3), radiance (N, 62, 3),
suns (N, 2, 7) and light (N,) str, as above. There, --frames and --shard count plates. ``--tier daylight`` writes those
of landscapes, and of other built-in places, in daylight alone.

``make_dataset.py parts`` writes people with the parts of their bodies, pictures of --size pixels a side:
`backend.body.segmentation.frames.pictures` tells the arrays. ``--tier traced`` is shaded as SURREAL and by us, ``--tier
cycles --split test`` stands in for photographs.

``--tier pictures`` writes photographs of the people, cropped about them, with the bodies under their clothes, for
BodyNet: what `backend.body.bodynet.renders.pictures` returns, with --size pixels a side.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import multiprocessing
import os
import signal
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backend.body.bodynet import renders
from backend.body.model import BodyModel
from backend.body.segmentation import frames as segmentation
from backend.protocol import PROBENET, Camera, PenumbraError, replacing, write_json
from backend.shading import moments, plates
from backend.shading.frames import Filming, Tracer, Views, frames, rics_of
from backend.shading.moments import Moment, Sources
from backend.shading.probe_network import ProbeNet
from backend.weights import load_model
from scripts import object_dataset, shadow_dataset

if TYPE_CHECKING:
    from scripts.scenes.cycles_frame import Stage

SAMPLES = {"train": 64, "test": 512}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="what", required=True)
    _add_shading(commands.add_parser("shading", help="people under many lights, for ShadingNet and the light probe"))
    _add_parts(commands.add_parser("parts", help="people with the parts of their bodies, shaded in two ways"))
    object_dataset.add_command(commands)
    shadow_dataset.add_arguments(commands.add_parser("shadow", help="objects with and without their shadows, traced"))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    try:
        arguments.run(arguments)
    except PenumbraError as problem:
        sys.exit(str(problem))


def _add_shading(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=make_shading)
    tiers = ("traced", "cycles", "plates", "daylight", "pictures")
    _add_frames(parser, tiers)
    parser.add_argument("--lights", type=int, help="lights a frame (traced: 3, cycles: 1)")
    parser.add_argument("--light-split", choices=tuple(moments.SPLITS), help="of the lights, where it is another")
    parser.add_argument("--sequence", type=int, help="frames of a film; the paper's is 30. A shard is one; tests only")
    parser.add_argument("--size", type=int, default=128, help="pixels a side of pictures; the other tiers have 128")


def _add_parts(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=make_shading, lights=1, light_split=None, sequence=None)
    _add_frames(parser, ("traced", "cycles"))
    parser.add_argument("--size", type=int, default=256, help="pixels a side")


def _add_frames(parser: argparse.ArgumentParser, tiers: tuple[str, ...]) -> None:
    parser.add_argument("--tier", choices=tiers, required=True, help="cycles needs the bpy module")
    parser.add_argument("--split", choices=tuple(moments.SPLITS), required=True)
    parser.add_argument("--frames", type=int, required=True, help="geometry frames in all, in threes")
    parser.add_argument("--shard", type=int, default=96, help="geometry frames a shard")
    parser.add_argument("--samples", type=int, help="of Cycles (train: 64, denoised; test: 512)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hdri", type=Path, nargs="*", default=[], help="folders of .hdr and .exr panoramas")
    parser.add_argument("--motion", type=Path, nargs="*", default=[], help="folders of .bvh motions")
    parser.add_argument("--workers", type=int, default=1)


def make_shading(arguments: argparse.Namespace) -> None:
    """Write what is missing of a shading data set."""
    arguments.lights = arguments.lights or {"traced": 3}.get(arguments.tier, 1)
    arguments.samples = arguments.samples or SAMPLES[arguments.split]
    if arguments.sequence:
        if arguments.split != "test" or arguments.tier not in ("traced", "cycles"):
            raise PenumbraError("Sequences are for tests.", "Give --split test, and --tier traced or cycles.")
        if arguments.frames % arguments.sequence:
            raise PenumbraError("Frames come in whole sequences.", f"Give a multiple of {arguments.sequence}.")
        arguments.shard = arguments.sequence
    elif arguments.frames % moments.VIEWS or arguments.shard % moments.VIEWS:
        raise PenumbraError("Frames come in threes, one a camera.", "Give multiples of three.")
    path = arguments.out / "card.json"
    old = json.loads(path.read_text("utf-8")) if path.exists() else None
    sources = Sources.find(arguments.split, arguments.motion, arguments.hdri, arguments.light_split or "")
    if old:  # folders may have grown since; the data set keeps to what it began with
        sources = sources.only(old["motions"], [name for folder in old["panoramas"] for name in folder])
    arguments.out.mkdir(parents=True, exist_ok=True)
    for leftover in arguments.out.glob(".shard_*"):
        leftover.unlink()
    card = _card(arguments, sources)
    _check_card(old, card)
    write_json(path, card)

    sizes = [min(arguments.shard, arguments.frames - start) for start in range(0, arguments.frames, arguments.shard)]
    due = [(i, size) for i, size in enumerate(sizes) if not shard_path(arguments.out, i).exists()]
    done = arguments.frames - sum(size for _, size in due)
    task = functools.partial(_make_shard, arguments, sources)
    with tqdm(total=arguments.frames, initial=done, unit="frame", smoothing=0.05) as bar:
        if arguments.workers == 1:
            for shard in due:
                bar.update(task(shard))
            return
        for library in ("OPENBLAS", "OMP", "MKL"):  # the work is shared out by process, not by matrix
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")
        pool = multiprocessing.get_context("spawn").Pool(arguments.workers, _start_worker)
        with pool:  # ends the workers on the way out, finished or not
            for size in pool.imap_unordered(task, due):
                bar.update(size)


def _stop(*_: object) -> None:
    """End at once, with all workers; an exception would be lost where Blender calls Python."""
    for worker in multiprocessing.active_children():
        worker.terminate()
    os._exit(143)


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard_{index:05}.npz"


def _start_worker() -> None:
    """Workers end when the parent tells them to, by SIGTERM; Ctrl-C reaches the parent alone."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _make_shard(arguments: argparse.Namespace, sources: Sources, shard: tuple[int, int]) -> int:
    index, size = shard
    if arguments.what == "parts":
        return _write_shard(arguments.out, index, _parts(arguments, sources, index, size))
    if arguments.tier in ("plates", "daylight"):
        made = plates.shard(sources, arguments.seed, index, size, daylit=arguments.tier == "daylight")
        return _write_shard(arguments.out, index, made)
    if arguments.tier == "pictures":
        random, body = (
            np.random.default_rng([arguments.seed, zlib.crc32(b"picture"), index]),
            BodyModel.load(coarse=True),
        )
        drawn = moments.moments(sources, arguments.seed, index, size // moments.VIEWS, 1)
        parts = [renders.pictures(moment, body, random, arguments.size) for moment in drawn]
        return _write_shard(arguments.out, index, {n: np.concatenate([part[n] for part in parts]) for n in parts[0]})
    renderer = _renderer(arguments.tier, arguments.split, arguments.samples, arguments.workers)
    seed = [arguments.seed, zlib.crc32(b"photograph"), index]
    random = np.random.default_rng(seed)
    filming = Filming(seed, np.random.default_rng([*seed, 1])) if arguments.sequence else None
    count = size if filming else size // moments.VIEWS
    parts = []
    for moment in moments.moments(sources, arguments.seed, index, count, arguments.lights, bool(filming)):
        parts.append(frames(moment, renderer(moment), random, filming))
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return _write_shard(arguments.out, index, arrays)


def _parts(arguments: argparse.Namespace, sources: Sources, index: int, size: int) -> dict[str, np.ndarray]:
    """The arrays of a shard of `backend.body.segmentation.frames.pictures`."""
    random = np.random.default_rng([arguments.seed, zlib.crc32(b"parts"), index])
    render = None
    if arguments.tier == "cycles":
        render = functools.partial(_rendered_parts, _stage(arguments.samples, arguments.workers, True))
    drawn = moments.moments(sources, arguments.seed, index, size // moments.VIEWS, 1)
    shown = [segmentation.pictures(moment, _probenet(), render, random, arguments.size) for moment in drawn]
    return {name: np.concatenate([part[name] for part in shown]) for name in shown[0]}


def _write_shard(folder: Path, index: int, arrays: dict[str, np.ndarray]) -> int:
    """Returns the number of frames written."""
    with replacing(shard_path(folder, index)) as temporary:
        np.savez_compressed(temporary, **arrays)
    return len(next(iter(arrays.values())))


@functools.cache
def _renderer(tier: str, split: str, samples: int, workers: int) -> Callable[[Moment], Views]:
    """The tier's renderer, made once a process: a function from moments to views."""
    if tier == "traced":
        return Tracer().render
    return functools.partial(_render_with_cycles, _stage(samples, workers, split == "train"))


@functools.cache
def _stage(samples: int, workers: int, denoise: bool) -> Stage:
    """Cycles, made once a process."""
    from scripts.scenes.cycles_frame import Stage

    return Stage(samples, denoise, threads=max(1, (os.cpu_count() or 1) // workers))


@functools.cache
def _probenet() -> ProbeNet:
    """The bundled ProbeNet, which harmonizes."""
    return cast(ProbeNet, load_model(PROBENET)[0])


def _rendered_parts(stage: Stage, moment: Moment, camera: Camera) -> dict[str, np.ndarray]:
    """What `segmentation.pictures` asks of a path tracer."""
    stage.person(moment.identity, moment.skins)
    stage.light(moment.lights[0], moment.level)
    return stage.render(camera)


def _render_with_cycles(stage: Stage, moment: Moment) -> Views:
    stage.person(moment.identity, moment.skins)
    rendered = []
    for environment in moment.lights:
        stage.light(environment, moment.level)
        rendered.append([stage.render(shot.crop) for shot in moment.shots])
    views = []
    for view, shot in enumerate(moment.shots):
        shading = np.stack([light[view]["shading"] for light in rendered])
        views.append({**rendered[0][view], "shading": shading, "bits": rics_of(moment, shot)})
    return views


def _card(arguments: argparse.Namespace, sources: Sources) -> dict:
    """How to make the folder again."""
    given = ("tier", "split", "frames", "lights", "shard", "samples", "seed")
    given += ("size",) if arguments.tier == "pictures" or arguments.what == "parts" else ()
    given += tuple(name for name in ("sequence", "light_split") if getattr(arguments, name))
    packages = ["numpy", "embreex", "opencv-python", "scipy"] + (["bpy"] if arguments.tier == "cycles" else [])
    said = " ".join(f"--{name.replace('_', '-')} {getattr(arguments, name)}" for name in given)
    return {
        "command": f"scripts/make_dataset.py {arguments.what} {said}",
        **{name: getattr(arguments, name) for name in given},
        "identities": list(moments.SPLITS[arguments.split]),
        "motions": [path.name for path in sources.motions] + ["built-in"],
        "panoramas": [[path.name for path in folder] for folder in sources.panoramas]
        + [["built-in skies"], ["built-in places"]],
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def _check_card(old: dict | None, card: dict) -> None:
    """Raises PenumbraError where the folder holds shards of another data set; more frames of the same are welcome."""
    changing = ("command", "frames", "versions")
    if old and any(old.get(name) != value for name, value in card.items() if name not in changing):
        raise PenumbraError("The folder holds a data set made in another way.", "Choose another folder.")


if __name__ == "__main__":
    main()
