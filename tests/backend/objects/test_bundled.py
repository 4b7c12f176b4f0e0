# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled network on objects that it has not learned from, and its codes under the artist's sliders."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.objects import metrics, objects
from backend.objects.dataset import ObjectData, picture_batch
from backend.objects.evaluate import symmetries_of
from backend.objects.meshing import extract
from backend.objects.projection import project, viewpoint
from backend.objects.reconstructor import Reconstructor
from backend.objects.rendering import valid_camera
from backend.objects.samples import FIRST_SEED
from backend.objects.shapes import CATEGORIES
from backend.objects.views import CROP
from backend.photograph import Photograph
from backend.weights import WEIGHTS, load_model

from .conftest import made

SOLID = ("couch", "cabinet", "car")  # that fill their outlines


@pytest.fixture(scope="module")
def network() -> Reconstructor:
    return load_model("reconstructor")[0]


@pytest.fixture(scope="module")
def unseen(tmp_path_factory) -> ObjectData:
    """Two shapes of each category, of the test split."""
    return ObjectData([made(tmp_path_factory.mktemp("unseen"), "test", 2, 1, CATEGORIES)])


def test_it_knows_kind_viewpoint_and_outline(network, unseen):
    right, azimuths, outlines = [], [], []
    for row, category in enumerate(unseen.category):
        assert unseen.seed[row] >= FIRST_SEED["test"]
        batch = picture_batch(unseen, [(row, 0)], defaultdict(int))
        with torch.no_grad():
            fit = network(batch.picture)
            right.append(network.config.categories[int(network.field.classified(fit.codes).argmax())] == category)
        matrix = valid_camera(fit.matrix)[0].double().numpy()
        true = unseen.matrix(row, 0).astype(np.float64)
        alike = symmetries_of(category, unseen.seed[row])
        azimuths.append(metrics.azimuth_error(viewpoint(matrix)[0], viewpoint(true)[0], alike))
        if category in SOLID:
            mesh = extract(network.field, fit.codes, 32, (matrix, batch.mask[0].numpy()))
            outlines.append(_overlap(project(matrix, mesh.vertices)[0], batch.mask[0].numpy() > 0.5))
    assert np.mean(right) > 0.85
    assert np.median(azimuths) < 20
    assert np.mean(outlines) > 0.6


def test_a_photograph_becomes_files(network, unseen, tmp_path: Path):
    row = unseen.category.index("car")
    batch = picture_batch(unseen, [(row, 0)], defaultdict(int))
    mask = np.pad((batch.mask[0].numpy() > 0.5).astype(np.uint8) * 255, 24)
    rgb = np.pad(batch.linear[0].numpy(), ((24, 24), (24, 24), (0, 0)))
    found = objects.find_object(Photograph(rgb, 200.0), mask, network, side=64)
    assert found.category == "car"
    assert len(found.mesh.part_albedo()) > 1
    objects.write(tmp_path, found)
    assert np.load(tmp_path / "codes.npz")["shape"].shape == (network.config.shape_code,)
    assert json.loads((tmp_path / "camera.json").read_text())["category"] == "car"


def test_all_of_it_is_at_most_eight_megabytes():
    folder = WEIGHTS / "reconstructor"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8_000_000


def _overlap(place: np.ndarray, mask: np.ndarray) -> float:
    """IOU of a mask and of the pixels that a mesh's vertices (V, 2) surround, line by line."""
    column, line = ((place + 1) / 2 * CROP).astype(int).clip(0, CROP - 1).T
    filled = np.zeros_like(mask)
    for y in np.unique(line):
        on = column[line == y]
        filled[y, on.min() : on.max() + 1] = True
    return float((filled & mask).sum() / (filled | mask).sum())
