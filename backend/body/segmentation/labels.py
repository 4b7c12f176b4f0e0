# SPDX-License-Identifier: GPL-3.0-or-later
"""Which parts of a body are told apart in the RiCS paper's section 4.2: its Tables G and H, as data files.

SURREAL's 24 labels are SMPL's joints, from 1; 0 is the background, in every set of labels.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

SURREAL = "surreal"
JOINTS = 24
# The data set by whose parts both are measured, by the number of parts: Table G and Table H.
TABLES = {14: "fsitting", 6: "up"}


@cache
def _table(parts: int) -> list[dict]:
    path = Path(__file__).resolve().parent / f"{TABLES[parts]}.json"
    return json.loads(path.read_text("utf-8"))["parts"]


def names(parts: int) -> list[str]:
    """Of the 14 or 6 parts; the first has the number 1."""
    return [row["name"] for row in _table(parts)]


def merged(labels: np.ndarray, of: str, parts: int) -> np.ndarray:
    """Labels of a data set, uint8, as those of 14 or 6 parts; what the table does not have is background.

    of: "surreal", or the data set that the table is for.
    """
    lookup = np.zeros(256, np.uint8)
    for number, row in enumerate(_table(parts), 1):
        lookup[row[of]] = number
    return lookup[labels]


def mirrored(parts: int) -> np.ndarray:
    """(1 + parts,) what each label is in a mirror."""
    known = ["", *names(parts)]
    swap = {"Left": "Right", "Right": "Left"}
    sides = [next((n for n in swap if name.startswith(n)), "") for name in known]
    return np.array(
        [
            known.index(swap[s] + n.removeprefix(s)) if s else k
            for k, (n, s) in enumerate(zip(known, sides, strict=True))
        ],
        np.uint8,
    )
