# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every kind of training has, and the command that a card gives."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from backend.protocol import PenumbraError


def add(parser: argparse.ArgumentParser) -> None:
    """Options of a run: where, how long, on what, what it writes."""
    parser.add_argument("--out", type=Path, required=True, help="checkpoints, log, pictures; outside the repository")
    parser.add_argument("--minutes", type=float, help="of training, over all resumptions")
    parser.add_argument("--steps", type=int, help="of training; this or --minutes is needed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--bfloat16", action="store_true", help="on a processor: pays where it has AVX-512 BF16")
    parser.add_argument("--report", type=float, default=60.0, help="seconds between log lines and checkpoints")
    parser.add_argument("--export", type=Path, help="write the weights, their config and card here")


def plan(options: argparse.Namespace) -> dict[str, Any]:
    """Those of a `RunPlan`. Raises PenumbraError where the run would have no end."""
    if not (options.minutes or options.steps):
        raise PenumbraError("The run has no end.", "Give --minutes or --steps.")
    return {name: getattr(options, name, False) for name in ("minutes", "steps", "seed", "bfloat16")}


def command() -> str:
    """The command line, with folders by their names alone: a card tells nothing of the machine."""
    return "scripts/train.py " + shlex.join(Path(a).name if "/" in a else a for a in sys.argv[1:])
