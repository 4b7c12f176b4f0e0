# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the networks on test data. `scripts/evaluate.py shading --data DIR… [--json FILE] [--table FILE]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backend import device as devices
from backend import weights
from backend.protocol import PenumbraError, write_json


def shading(options: argparse.Namespace) -> None:
    """The shading error of ShadingNet, the light probe and plain rivals, on shards of unseen people and places."""
    from backend.shading import evaluate
    from backend.shading.dataset import ShadingData
    from backend.shading.network import ShadingNet

    device = devices.pick(options.device)

    def network(folder: Path) -> ShadingNet:
        return cast(ShadingNet, weights.load_model(folder.name, folder.parent)[0]).to(device)

    methods: dict[str, evaluate.Method] = {
        "no harmonization": evaluate.no_harmonization,
        "constant: the plate's mean": evaluate.constant,
        "nine spherical harmonics of the plate": evaluate.nine_harmonics,
    }
    if options.without_rics:
        methods["ShadingNet without RiCS"] = evaluate.by_network(network(options.without_rics))
    full = network(options.weights)
    methods["ShadingNet"] = evaluate.by_network(full)
    methods["ShadingNet with the probe"] = evaluate.by_fitted_probe(full)
    methods["the probe with the true light"] = evaluate.true_light

    rows = []
    for folder in options.data:
        data = ShadingData([folder], options.memory * 1e9)
        frames = data.frames[:: max(1, len(data.frames) // options.frames)] if options.frames else data.frames
        rows += evaluate.evaluate(frames, methods, folder.name)
    table = "\n".join(
        f"**{split}**, {next(r['images'] for r in rows if r['split'] == split)} images\n\n"
        + evaluate.results_table([r for r in rows if r["split"] == split])
        for split in dict.fromkeys(r["split"] for r in rows)
    )
    print(table)
    if options.json:
        command = "scripts/evaluate.py shading --data " + " ".join(f.name for f in options.data)
        facts = {"command": command, "versions": devices.versions(), "device": devices.describe(device)}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.json, {**facts, "rows": rows})
    if options.table:
        options.table.write_text(table, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_subparsers(required=True)
    p = what.add_parser("shading", help=shading.__doc__)
    p.set_defaults(run=shading)
    p.add_argument("--data", type=Path, nargs="+", required=True, help="folders of test shards; each is a split")
    p.add_argument("--weights", type=Path, default=weights.WEIGHTS / "shadingnet", help="a folder of weights")
    p.add_argument("--without-rics", type=Path, help="weights of the ablation")
    p.add_argument("--frames", type=int, help="at most about this many frames of each folder, evenly spread")
    p.add_argument("--memory", type=float, default=6.0, help="GB")
    p.add_argument("--device", default="auto")
    p.add_argument("--json", type=Path, help="write the figures here")
    p.add_argument("--table", type=Path, help="write the Markdown table here")
    options = parser.parse_args()
    try:
        options.run(options)
    except PenumbraError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
