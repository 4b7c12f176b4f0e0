# SPDX-License-Identifier: GPL-3.0-or-later
"""ShadingNet's rivals see what they are said to see, learn, and are measured by what they tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend import weights
from backend.shading import evaluate, methods, paired_train
from backend.shading.dataset import ShadingData, collate, view
from backend.shading.paired import KINDS, PairedConfig, PairedNet

from .analytic_shards import write_shard

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ShadingData:
    folder = tmp_path_factory.mktemp("shards")
    write_shard(folder / "shard_00000.npz", moments=1, lights=1)
    return ShadingData([folder])


@pytest.mark.parametrize("kind", KINDS)
def test_a_rival_learns_and_its_weights_are_measured(kind: str, data: ShadingData, tmp_path: Path) -> None:
    network = PairedConfig(kind, stem=8, widths=(8, 8, 8, 8))
    plan = paired_train.Plan(network=network, steps=30, moments=1, rate=1e-2, halved=0.3)
    trainer = paired_train.Trainer(plan, tmp_path / "run", CPU)
    batch = collate([view(frame, 0) for frame in data.frames])
    losses = [sum(float(loss) for loss in trainer.train_step(batch).values()) for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    paired_train.export(trainer, tmp_path / "net", [], "train it")
    loaded, config = weights.load_model("net", tmp_path)
    assert isinstance(loaded, PairedNet)
    assert config["trained"]["steps"] == 30
    row = evaluate.evaluate(data.frames, {kind: methods.by_paired(loaded)}, "balls")[0]
    assert ("shading_mse" in row) == (kind == "shading")
    assert 0 < row["rgb_mse"] < 0.2


def test_the_pasted_picture_lies_where_the_plate_has_it(data: ShadingData) -> None:
    seen: list[torch.Tensor] = []
    network = PairedNet(PairedConfig("harmonization", stem=8, widths=(8, 8, 8, 8)))
    network.unet.translated = lambda maps: seen.append(maps) or maps[:, :3]  # type: ignore[method-assign]
    batch = paired_train.inputs(collate([view(data.frames[0], 0)]))
    rows = torch.linspace(0, 1, 128)[:, None].expand(128, 128)
    network(batch._replace(plate=torch.stack([rows, rows.T, rows])[None]))
    (maps,) = seen
    left, top, right, bottom = (float(v) for v in batch.box[0])
    outside = maps[0, 3] == 0
    assert maps[0, 0][outside].min() == pytest.approx(top, abs=0.02)
    assert maps[0, 0][outside].max() == pytest.approx(bottom, abs=0.02)
    assert maps[0, 1][outside].min() == pytest.approx(left, abs=0.02)
    assert maps[0, 1][outside].max() == pytest.approx(right, abs=0.02)
    torch.testing.assert_close(maps[0, :3, 64, 64], batch.albedo[0, :, 64, 64])
    torch.testing.assert_close(maps[0, 7], rows, atol=0.01, rtol=0)  # and all of the plate
