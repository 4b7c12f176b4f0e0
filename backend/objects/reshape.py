# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes of imported objects whose codes were edited or exchanged: Blender's job."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch

from .. import device as devices
from ..import_jobs import EditedObject, ReshapeJob, ReshapeResult
from ..protocol import PenumbraError
from ..weights import load_model
from .code_space import Edit
from .meshing import extract, write_mesh
from .network import Codes
from .outline import SIZE, Outline
from .reconstructor import Reconstructor


def reshape(folder: Path, progress: Callable[[str, float], None]) -> ReshapeResult:
    """Do the `ReshapeJob` in `folder`; writes ``result.json`` and its files there. Raises PenumbraError."""
    job, started = ReshapeJob.load(folder), time.perf_counter()
    progress("Loading the joint field", 0.0)
    device = devices.pick(job.device)
    network = cast(Reconstructor, load_model("reconstructor")[0]).to(device)
    meshes = []
    for number, one in enumerate(job.objects):
        progress("Making the mesh", (number + 0.3) / len(job.objects))
        mesh = extract(network.field, _codes(one, network, device), one.side, _outline(one))
        if not len(mesh.faces):
            raise PenumbraError("Nothing is left of the object with this shape.", "Move its sliders less.")
        meshes.append(f"mesh_{number}.npz")
        write_mesh(folder / meshes[-1], mesh)
    seconds = {"Reshape": time.perf_counter() - started}
    result = ReshapeResult(tuple(meshes), seconds, device.type, devices.versions())
    result.save(folder)
    return result


def _outline(one: EditedObject) -> Outline | None:
    """What an object's picture said of it, as far as an edited object should heed that."""
    if not one.levels:
        return None
    return Outline(np.reshape(one.camera, (3, 4)), np.reshape(np.float32(one.levels), (SIZE, SIZE))).generous


def _codes(one: EditedObject, network: Reconstructor, device: torch.device) -> Codes:
    """Raises PenumbraError where they are another network's."""
    kinds = network.config.categories
    codes = Codes(*(torch.tensor([code], device=device) for code in (one.category, one.shape, one.albedo)))
    if tuple(code.shape[1] for code in codes) != network.config.code_lengths or not {one.kind, one.toward} <= set(
        kinds
    ):
        raise PenumbraError("The object was imported by another version of the network.", "Import it again.")
    edit = Edit(kinds.index(one.kind), one.sliders, kinds.index(one.toward), one.amount)
    return network.space.edited(codes, edit)
