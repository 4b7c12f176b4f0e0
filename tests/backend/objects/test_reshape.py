# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes that are edited stay where they were, go where they are sent, and become meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend import weights
from backend.import_jobs import EditedObject, ReshapeJob, ReshapeResult
from backend.objects import reshape
from backend.objects.code_space import CodeSpace, Edit
from backend.objects.network import Codes, ObjectConfig
from backend.objects.reconstructor import Reconstructor
from backend.protocol import PenumbraError

CONFIG = ObjectConfig(("table", "car"), 2, 12, 6, 4, (48, 24), (24, 24), (4, 4, 4, 8), 8, 16)


@pytest.fixture
def space() -> CodeSpace:
    """Tables differ along the first axis most, twice as much as along the second; cars are elsewhere."""
    random = torch.Generator().manual_seed(0)
    shape = torch.zeros(400, 12)
    shape[:200, 0] = 2 * torch.randn(200, generator=random)
    shape[:200, 1] = torch.randn(200, generator=random)
    shape[200:, 2] = 5
    kind = torch.arange(400) // 200
    category = torch.nn.functional.one_hot(kind, 2).float()
    found = CodeSpace(CONFIG)
    found.measure(Codes(category, shape, torch.zeros(400, 6)), kind)
    return found


def codes() -> Codes:
    shape = torch.zeros(1, 12)
    shape[0, 3] = 3.0
    return Codes(torch.tensor([[1.0, 0.0]]), shape, torch.ones(1, 6))


def test_main_directions_are_those_in_which_a_category_differs(space):
    torch.testing.assert_close(space.directions[0, 0].abs(), 2 * torch.eye(12)[0], atol=0.3, rtol=0)
    torch.testing.assert_close(space.directions[0, 1].abs(), torch.eye(12)[1], atol=0.3, rtol=0)
    moved = space.edited(codes(), Edit(0, (1.0,))).shape[0]
    assert abs(float(moved[0])) > 1.0
    assert float(moved.norm()) == pytest.approx(3.0)
    opposite = space.edited(codes(), Edit(0, (-1.0,))).shape[0]
    torch.testing.assert_close(opposite[0], -moved[0])


def test_nothing_moves_without_an_edit_and_all_of_the_way_leads_to_the_other_category(space):
    same = space.edited(codes(), Edit(0, (0.0, 0.0), 1, 0.0))
    assert all(torch.equal(a, b) for a, b in zip(same, codes(), strict=True))
    there = space.edited(codes(), Edit(0, (), 1, 1.0))
    torch.testing.assert_close(there.category, torch.tensor([[0.0, 1.0]]))
    assert float(there.shape[0, 2]) > float(there.shape[0, 0].abs())
    assert torch.equal(there.albedo, codes().albedo)


@pytest.fixture
def trained(tmp_path: Path, monkeypatch) -> Path:
    """A ball of random parts: occupancy that falls from the middle outward is all that this needs."""
    torch.manual_seed(0)
    network = Reconstructor(CONFIG)
    with torch.no_grad():
        for layer in (network.field.shape.first, *network.field.shape.hidden, network.field.shape.last):
            layer.weight.normal_(0, 0.3)
        network.field.shape.last.bias.normal_(0, 0.3)
    weights.save_model(
        tmp_path / "weights" / "reconstructor", "reconstructor", network, {"network": CONFIG.to_json()}, ""
    )
    monkeypatch.setattr(reshape, "load_model", lambda name: weights.load_model(name, tmp_path / "weights"))
    return tmp_path


def edited(**changes: object) -> EditedObject:
    plain = {"category": (1.0, 0.0), "shape": (0.3,) * 12, "albedo": (0.2,) * 6, "kind": "table", "side": 16}
    return EditedObject(**{**plain, "sliders": (0.0,), "toward": "table", "amount": 0.0, **changes})


def test_a_job_makes_a_mesh_of_each_object(trained):
    folder = trained / "job"
    folder.mkdir()
    ReshapeJob((edited(), edited(albedo=(-0.9,) * 6)), "cpu").save(folder)
    reshape.reshape(folder, lambda *_: None)
    first, second = (dict(np.load(folder / name)) for name in ReshapeResult.load(folder).meshes)
    np.testing.assert_array_equal(first["vertices"], second["vertices"])
    assert len(first["faces"]) == len(first["part"])
    assert np.abs(first["albedo"] - second["albedo"]).max() > 1e-4


@pytest.mark.parametrize("change", [{"shape": (0.3,) * 5}, {"toward": "boat"}])
def test_codes_of_another_network_are_refused(trained, change):
    folder = trained / "job"
    folder.mkdir()
    ReshapeJob((edited(**change),), "cpu").save(folder)
    with pytest.raises(PenumbraError, match="another version"):
        reshape.reshape(folder, lambda *_: None)
    assert not (folder / "result.json").exists()
