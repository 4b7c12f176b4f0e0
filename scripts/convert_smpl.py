# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert an official SMPL file, ``.pkl``, to the ``.npz`` that Penumbra reads: `convert_smpl.py IN.pkl OUT.npz`.

The official files are pickles, and a pickle can run any code. This one is read by an unpickler that knows arrays,
sparse matrices and chumpy's wrappers by their names and nothing else; neither chumpy nor smplx is needed. What comes
out stays under SMPL's licence.
"""

from __future__ import annotations

import _codecs
import argparse
import copyreg
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.core import multiarray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backend.body.data import SHAPES
from backend.protocol import PenumbraError


class Record:
    """Stands in for an object of a class that is not loaded: keeps the state that was stored."""

    state: dict[str, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state


class SparseMatrix(Record):
    """Stands in for SciPy's compressed sparse columns."""


_MULTIARRAY = vars(multiarray)
KNOWN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _MULTIARRAY["_reconstruct"],
    ("numpy._core.multiarray", "_reconstruct"): _MULTIARRAY["_reconstruct"],
    ("numpy.core.multiarray", "scalar"): _MULTIARRAY["scalar"],
    ("numpy._core.multiarray", "scalar"): _MULTIARRAY["scalar"],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("scipy.sparse.csc", "csc_matrix"): SparseMatrix,
    ("scipy.sparse._csc", "csc_matrix"): SparseMatrix,
    ("copy_reg", "_reconstructor"): vars(copyreg)["_reconstructor"],
    ("copyreg", "_reconstructor"): vars(copyreg)["_reconstructor"],
    ("_codecs", "encode"): _codecs.encode,  # how Python 3 writes the bytes of an array
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
}


class SmplUnpickler(pickle.Unpickler):
    """Reads arrays and records; raises UnpicklingError where the file names anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "chumpy":
            return Record
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong into an SMPL file")
        return KNOWN[module, name]


def as_array(stored: Any) -> np.ndarray:
    """The numbers of an array, of a sparse matrix, or of chumpy's array or selection from one."""
    if not isinstance(stored, Record):
        return np.asarray(stored)
    state = stored.state
    if isinstance(stored, SparseMatrix):
        shape = state.get("_shape", state.get("shape"))
        return scipy.sparse.csc_matrix((state["data"], state["indices"], state["indptr"]), shape).toarray()
    if "idxs" in state:
        return as_array(state["a"]).ravel()[state["idxs"]].reshape(state["preferred_shape"])
    return as_array(state["x"])


def convert(source: Path, target: Path) -> None:
    """Write the arrays of an official SMPL file as ``.npz``. Raises PenumbraError where it is none."""
    try:
        with source.open("rb") as file:
            stored = SmplUnpickler(file, encoding="latin1").load()
        arrays = {
            "v_template": as_array(stored["v_template"]).astype(np.float32),
            "shapedirs": as_array(stored["shapedirs"])[:, :, :SHAPES].astype(np.float32),
            "posedirs": as_array(stored["posedirs"]).astype(np.float32),
            "weights": as_array(stored["weights"]).astype(np.float32),
            "J_regressor": as_array(stored["J_regressor"]).astype(np.float32),
            "kintree_table": as_array(stored["kintree_table"]).astype(np.int64),
            "f": as_array(stored["f"]).astype(np.int32),
        }
    except (OSError, EOFError, pickle.UnpicklingError, LookupError, ValueError, TypeError, AttributeError) as problem:
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
