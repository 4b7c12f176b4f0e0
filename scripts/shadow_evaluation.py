# SPDX-License-Identifier: GPL-3.0-or-later
"""``scripts/evaluate.py shadow --data DIR…``: the measures of shadow generation on test tuples."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from backend.images import srgb_decode
from backend.protocol import PenumbraError
from backend.shadow.tuples import DESOBA, Desoba, ShadowTuple, Shards
from scripts.sheet import write_sheet

SHOWN = 3
DRAWN = ("prior, true light and points", "corrected mask")

if TYPE_CHECKING:
    from backend.shadow.evaluate import Method


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of shards, or DESOBAv2's")
    parser.add_argument("--tuples", type=int, help="at most this many of each folder")
    parser.add_argument("--predictors", type=Path, help="a folder of weights of stages 1 and 2")
    parser.add_argument(
        "--generator",
        type=Path,
        nargs="*",
        default=[],
        help="folders of weights of stage 3; the first is also asked ungated, and with the true mask and light",
    )
    parser.add_argument("--picture", type=Path, help="write a sheet of some tuples as the methods shadow them, PNG")
    parser.add_argument("--stable-diffusion", type=Path, help="its folder, where the generators were trained on it")


def measure(options: argparse.Namespace) -> tuple[list[dict], str]:
    """The rows of all folders, those of the predictors without a method; and the command that makes them."""
    from backend.shadow import evaluate  # it imports diffusers, which takes seconds
    from backend.shadow.generated import load_generator, load_predictors

    if options.generator and not options.predictors:
        raise PenumbraError("A generator needs its predictors.", "Give --predictors what stages 1 and 2 wrote.")
    predictors = load_predictors(options.predictors) if options.predictors else None
    generators = {folder.name: load_generator(folder, options.stable_diffusion) for folder in options.generator}
    rows = []
    for folder in options.data:
        data = _data(folder, options.tuples)
        methods: dict[str, Method] = {
            "no shadow": evaluate.no_shadow,
            "prior, true light and points": evaluate.prior_alone,
            "prior, true light on level ground": evaluate.prior_on_guessed_ground,
        }
        seeded = []
        if predictors is not None:
            methods["corrected mask"] = evaluate.by_mask(predictors)
            rows += evaluate.evaluate_predictors(data, predictors)
            for name, generator in generators.items():
                for told in ("", "ungated", "oracle") if not seeded else ("",):
                    seeded.append(f"{name}, {told}" if told else name)
                    methods[seeded[-1]] = evaluate.by_generator(predictors, generator, told)
        rows += evaluate.evaluate(data, methods, seeded)
        if options.picture:
            _write_sheet(options.picture, data, methods, seeded)
    given = {"data": options.data, "predictors": [options.predictors] * (predictors is not None)}
    given |= {"generator": options.generator, "tuples": [Path(str(options.tuples))] * bool(options.tuples)}
    said = [f"--{name} " + " ".join(p.name for p in values) for name, values in given.items() if values]
    return rows, " ".join(["shadow", *said])


def _write_sheet(path: Path, data: Sequence[ShadowTuple], methods: dict[str, Method], seeded: Sequence[str]) -> None:
    """Composite, answers and truth of SHOWN tuples with and as many without other objects' shadows, evenly spread."""
    pictures = []
    for bos in (True, False):
        some = [one for one in data if one.bos == bos]
        for one in some[:: max(1, len(some) // SHOWN)][:SHOWN]:
            drawn = [name for name in methods if name in DRAWN or (name in seeded and "ungated" not in name)]
            answers = {name: methods[name](one, 0)[0] for name in drawn}
            columns = {"no shadow": one.composite, **answers, "true": one.target}
            pictures += [(name, srgb_decode(image / 255)) for name, image in columns.items()]
    write_sheet(path, pictures, len(pictures) // (2 * SHOWN), 200)


def _data(folder: Path, most: int | None) -> Sequence[ShadowTuple]:
    """A folder of shards, or DESOBAv2's test split."""
    if not any((f / DESOBA["composite"]).is_dir() for f in (folder, folder / "test")):
        return Shards([folder], most)
    data = Desoba(folder, "test")
    return [data[i] for i in range(min(len(data), most or len(data)))]


def tables(rows: list[dict]) -> str:
    """Markdown: the predictors' rows, then the methods' by split."""
    from backend.shadow.evaluate import results_table

    predictors = [{"predictors on": r["split"], **r} for r in rows if "method" not in r]
    parts = [results_table(predictors)] if predictors else []
    for split in dict.fromkeys(r["split"] for r in rows if "method" in r):
        parts.append(f"**{split}**\n\n" + results_table([r for r in rows if r["split"] == split and "method" in r]))
    return "\n".join(parts)
