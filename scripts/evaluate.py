# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures on people, places and files that nothing was trained on: ``scripts/evaluate.py WHAT … [--json FILE]``.

WHAT is one of:
  shading     the networks, their ablations and their rivals on shards of test data
  resolution  shading at full resolution, from the light probe and from enlarging ShadingNet's output
  shadow      shadow generators, the physical prior and the predictors on tuples with and without shadows
  person      the light fitted to a person in the plate, beside ProbeNet's, by how it lights another person
  characters  the whole job on rigged characters in panoramas, beside Cycles under the same light
  object      shapes, parts and poses of objects from pictures, or from codes fitted to unseen shapes
  parts       networks that tell the parts of bodies, by the pictures that taught them
  body        LASOR, or BodyNet, on synthesized people that it has not seen, with and without occlusions
  photographs LASOR on rendered pictures of people, whom MediaPipe finds, and MediaPipe's own errors there
  public      LASOR on a user's copy of 3DPW, SSP-3D, SURREAL or UP-3D
  take        a rendered person in motion, recovered from the pictures: each frame by itself, and smoothed
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from backend import device as devices
from backend import weights
from backend.body.lasor.evaluate import results_table as of_bodies
from backend.protocol import PenumbraError, write_json
from backend.shading.evaluate import results_table
from backend.shading.network import ShadingNet
from backend.shading.probe_network import ProbeNet
from scripts import (
    body_evaluation,
    object_evaluation,
    parts_experiment,
    photograph_evaluation,
    public_evaluation,
    shading_evaluation,
    shadow_evaluation,
    take_evaluation,
)

Network = TypeVar("Network", bound=torch.nn.Module)


def shading(options: argparse.Namespace) -> None:
    """The shading error of ShadingNet, the light probe and plain rivals, on shards of unseen people and places."""
    rows, command = shading_evaluation.measure(options)
    _report(options, command, rows, devices.describe(devices.pick(options.device)), shading_evaluation.tables)


def resolution(options: argparse.Namespace) -> None:
    """Full-resolution shading against Cycles: light probes, and plain enlargement of ShadingNet's 128 pixels."""
    from scripts import compare_resolution

    device = devices.pick(options.device)
    networks = _network(ShadingNet, options.weights, device), _network(ProbeNet, options.probenet, device)
    rows = compare_resolution.compare(*networks, options.hdri, options.people, options.samples, options.out)
    folders = " ".join(folder.name for folder in options.hdri)
    command = f"resolution --hdri {folders} --people {options.people} --samples {options.samples}"
    _report(options, command, rows, devices.describe(device))


def _network(kind: type[Network], folder: Path, device: torch.device) -> Network:
    return cast(Network, weights.load_model(folder.name, folder.parent)[0].to(device))


def person(options: argparse.Namespace) -> None:
    """The light fitted to the pixels of a person in the plate, beside ProbeNet's, in the median of traced scenes."""
    from backend.shading.moments import Sources
    from scripts import compare_person_light

    device = devices.pick("cpu")
    sources = Sources.find("test", options.motion, options.hdri)
    network = _network(ProbeNet, options.probenet, device)
    rows = compare_person_light.compare(
        network, sources, options.scenes, options.moved, options.seed, options.out.resolve()
    )
    moved = " ".join(map(str, options.moved))
    command = f"person --scenes {options.scenes} --seed {options.seed} --moved {moved}"
    _report(options, command, rows, devices.describe(device))


def characters(options: argparse.Namespace) -> None:
    """The whole job on rigged characters in panoramas, beside Cycles under the same light; needs the bpy module."""
    from scripts import compare_characters

    rows = compare_characters.compare(
        options.character, options.hdri, options.animation, tuple(options.size), options.samples, options.out.resolve()
    )
    files = " ".join(f"--{name} " + " ".join(p.name for p in getattr(options, name)) for name in ("character", "hdri"))
    size = " ".join(map(str, options.size))
    command = f"characters {files} --animation {options.animation} --size {size} --samples {options.samples}"
    _report(options, command, rows, devices.describe(devices.pick("auto")))


def shadow(options: argparse.Namespace) -> None:
    """Shadow generators, the physical prior and the predictors, on tuples whose shadows are known."""
    rows, command = shadow_evaluation.measure(options)
    _report(options, command, rows, devices.describe(devices.pick("cpu")), shadow_evaluation.tables)


def object_(options: argparse.Namespace) -> None:
    """Chamfer-L1, F-score, part IOU and azimuth error of the joint occupancy field, on unseen generated objects."""
    from backend.objects.evaluate import table

    rows, command = object_evaluation.measure(options)
    _report(options, command, rows, devices.describe(devices.pick(options.device)), table)


def parts(options: argparse.Namespace) -> None:
    """IoU and pixel accuracy of body parts, by networks that synthetic and real pictures have taught."""
    from backend.body.segmentation.evaluate import table

    rows, command = parts_experiment.measure(options)
    _report(options, command, rows, devices.describe(devices.pick(options.device)), table)


def body(options: argparse.Namespace) -> None:
    """LASOR's or BodyNet's errors on unseen bodies and motions, from exact and disturbed 2D, also behind things."""
    rows, command = body_evaluation.measure(options)
    _report(options, command, rows, devices.describe(devices.pick("cpu")), body_evaluation.tables)


def photographs(options: argparse.Namespace) -> None:
    """LASOR on rendered pictures of unseen people in the open, behind people and behind objects, found by MediaPipe."""
    rows, command = photograph_evaluation.measure(options)
    _report(options, command, rows, devices.describe(devices.pick("cpu")), photograph_evaluation.tables)


def public(options: argparse.Namespace) -> None:
    """LASOR on people of a public data set, found by MediaPipe; of SMPL's body only joints and silhouettes compare."""
    rows, command = public_evaluation.measure(options)
    columns = {name: column for name, column in public_evaluation.COLUMNS.items() if name in rows[0]}
    _report(options, command, rows, devices.describe(devices.pick("cpu")), lambda r: of_bodies(r, columns))


def take(options: argparse.Namespace) -> None:
    """A rendered person in motion, recovered by MediaPipe, LASOR, fit and smoothing from the pictures alone."""
    rows, command = take_evaluation.measure(options)
    columns = take_evaluation.COLUMNS
    _report(options, command, rows, devices.describe(devices.pick("cpu")), lambda r: of_bodies(r, columns))


def _tables(rows: list[dict]) -> str:
    """A table of each split."""
    return "\n".join(
        f"**{split}**, {next(r['images'] for r in rows if r['split'] == split)} images\n\n"
        + results_table([r for r in rows if r["split"] == split])
        for split in dict.fromkeys(r["split"] for r in rows)
    )


def _report(
    options: argparse.Namespace,
    command: str,
    rows: list[dict],
    device: str,
    tables: Callable[[list[dict]], str] = _tables,
) -> None:
    """Print the tables, and write what is asked for."""
    table = tables(rows)
    print(table)
    if options.json:
        facts = {"command": f"scripts/evaluate.py {command}", "versions": devices.versions(), "device": device}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.json, {**facts, "rows": rows})
    if options.table:
        options.table.write_text(table, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(required=True)
    shading_evaluation.add_arguments(_command(what, shading))
    p = _command(what, resolution)
    p.add_argument("--hdri", type=Path, nargs="*", default=[], help="folders of panoramas; those of the test split")
    p.add_argument("--people", type=int, default=8, help="how many people of the test split")
    p.add_argument("--samples", type=int, default=256, help="of Cycles, denoised")
    p.add_argument("--weights", type=Path, default=weights.WEIGHTS / "shadingnet", help="a folder of ShadingNet's")
    p.add_argument("--probenet", type=Path, default=weights.WEIGHTS / "probenet", help="a folder of ProbeNet's")
    p.add_argument("--device", default="auto")
    p.add_argument("--out", type=Path, required=True, help="folder for the picture")
    p = _command(what, person)
    p.add_argument("--scenes", type=int, default=16, help="how many people under test lights")
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--moved", type=int, nargs="+", default=[0, 3, 6], help="pixels of the mesh beside the person")
    p.add_argument("--hdri", type=Path, nargs="*", default=[], help="folders of panoramas; those of the test split")
    p.add_argument("--motion", type=Path, nargs="*", default=[], help="folders of .bvh motions")
    p.add_argument("--probenet", type=Path, default=weights.WEIGHTS / "probenet", help="a folder of ProbeNet's")
    p.add_argument("--out", type=Path, required=True, help="folder for the picture")
    p = _command(what, characters)
    p.add_argument("--character", type=Path, nargs="+", required=True, help="rigged, animated .glb or .gltf files")
    p.add_argument("--hdri", type=Path, nargs="+", required=True, help="panoramas, .hdr or .exr")
    p.add_argument("--animation", default="walk", help="a word in the name of the animation that poses them")
    p.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"), help="pixels")
    p.add_argument("--samples", type=int, default=128, help="of Cycles, denoised")
    p.add_argument("--out", type=Path, required=True, help="folder for scenes, results and pictures")
    shadow_evaluation.add_arguments(_command(what, shadow))
    object_evaluation.add_arguments(_command(what, object_))
    body_evaluation.add_arguments(_command(what, body))
    photograph_evaluation.add_arguments(_command(what, photographs))
    public_evaluation.add_arguments(_command(what, public))
    take_evaluation.add_arguments(_command(what, take))
    parts_experiment.add_evaluation(_command(what, parts))
    options = parser.parse_args()
    try:
        options.run(options)
    except PenumbraError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _command(
    commands: argparse._SubParsersAction, run: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    parser = commands.add_parser(run.__name__.strip("_"), help=run.__doc__)
    parser.set_defaults(run=run)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--table", type=Path, help="write the Markdown table here")
    return parser


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    if "bpy" in sys.modules:
        os._exit(status)  # bpy 4.5 sometimes hangs where it frees its memory at the end
    sys.exit(status)
