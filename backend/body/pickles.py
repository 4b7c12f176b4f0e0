# SPDX-License-Identifier: GPL-3.0-or-later
"""Pickles of others, read without running what they say: SMPL's files, and labels of public data sets.

A pickle can run any code. These are read by an unpickler that knows arrays, sparse matrices and chumpy's wrappers by
their names and nothing else; neither chumpy nor smplx is needed.
"""

from __future__ import annotations

import _codecs
import copyreg
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.core import multiarray

# What opening, reading and looking into such a file may raise.
PROBLEMS = (OSError, EOFError, pickle.UnpicklingError, LookupError, ValueError, TypeError, AttributeError)


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


class ArraysUnpickler(pickle.Unpickler):
    """Reads arrays and records; raises UnpicklingError where the file names anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "chumpy":
            return Record
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong into such a file")
        return KNOWN[module, name]


def read_pickle(path: Path) -> Any:
    """What a file holds, of Python 2 or 3. Raises one of `PROBLEMS` where it is damaged or holds something else."""
    with path.open("rb") as file:
        return ArraysUnpickler(file, encoding="latin1").load()


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
