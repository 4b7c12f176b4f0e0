# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert an official SMPL file, ``.pkl``, to the ``.npz`` that Penumbra reads: `convert_smpl.py IN.pkl OUT.npz`.

The official files are pickles, which `backend.body.pickles` reads without running them. What comes out stays under
SMPL's licence.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backend.body.data import SHAPES
from backend.body.pickles import PROBLEMS, as_array, read_pickle
from backend.protocol import PenumbraError


def convert(source: Path, target: Path) -> None:
    """Write the arrays of an official SMPL file as ``.npz``. Raises PenumbraError where it is none."""
    try:
        stored = read_pickle(source)
        arrays = {
            "v_template": as_array(stored["v_template"]).astype(np.float32),
            "shapedirs": as_array(stored["shapedirs"])[:, :, :SHAPES].astype(np.float32),
            "posedirs": as_array(stored["posedirs"]).astype(np.float32),
            "weights": as_array(stored["weights"]).astype(np.float32),
            "J_regressor": as_array(stored["J_regressor"]).astype(np.float32),
            "kintree_table": as_array(stored["kintree_table"]).astype(np.int64),
            "f": as_array(stored["f"]).astype(np.int32),
        }
    except PROBLEMS as problem:
        reason = f"{source.name} is not an SMPL file: {problem}."
        raise PenumbraError(reason, "Choose an official SMPL .pkl.") from problem
    np.savez_compressed(target, **arrays)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="IN.pkl")
    parser.add_argument("target", type=Path, metavar="OUT.npz")
    options = parser.parse_args()
    try:
        convert(options.source, options.target)
    except PenumbraError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
