# SPDX-License-Identifier: GPL-3.0-or-later
"""Each stage learns, goes on exactly where it stopped, and leaves alone what is not its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.objects import evaluate, train
from backend.objects.code_fit import fit_codes
from backend.objects.dataset import ObjectData, point_batch
from backend.objects.encoder import ImageEncoder
from backend.objects.losses import LossWeights
from backend.objects.network import JointField, ObjectConfig, VoxelEncoder
from backend.objects.rendering import Search
from backend.objects.stages import Plan, all_codes
from backend.protocol import PenumbraError
from backend.weights import load_model

TINY = ObjectConfig(("table", "car"), 2, 12, 6, 4, (48, 24), (24, 24), (4, 4, 4, 8), 8, 16, octaves=2)
CPU = torch.device("cpu")
FIRST = Plan(
    stage=1, network=TINY, steps=350, batch=4, rate=1e-2, points=512, sides=((16, 0.0), (32, 0.8)), free_codes=True
)
SECOND = Plan(
    stage=2, network=TINY, steps=16, batch=4, rate=1e-2, rendered=16, search=Search(12, 3), pictures=2, image_from=0.5
)
THIRD = Plan(stage=3, network=TINY, steps=6, batch=2, rate=3e-4, rendered=16, search=Search(12, 3), boundary=16)


@pytest.fixture(scope="module")
def data(known: Path) -> ObjectData:
    return ObjectData([known])


@pytest.fixture(scope="module")
def run(data: ObjectData, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three stages, briefly."""
    folder = tmp_path_factory.mktemp("run")
    for plan in (FIRST, SECOND):
        train.train(train.Trainer(plan, data, folder, CPU), every=1e9)
    train.train(train.Trainer(THIRD, ObjectData([photographs]), folder, CPU), every=1e9)
    return folder


def lines(folder: Path, stage: int) -> list[dict]:
    return [json.loads(line) for line in (folder / f"stage{stage}.jsonl").read_text().splitlines()]


def test_stage_one_learns_shapes_and_colours(run, data):
    modules = train.load_stage(run, 1, TINY)
    batch = point_batch(data, np.arange(4), 16, 4096, {"table": 0, "car": 1}, np.random.default_rng(0))
    with torch.no_grad():
        codes = modules["codes"](batch.index)
        occupancy, _, albedo = modules["field"](codes, batch.points)
    guess = (batch.occupied - batch.occupied.mean()).square().mean()
    assert (occupancy - batch.occupied).square().mean() < 0.6 * guess
    known = batch.coloured
    spread = (batch.colour[known] - batch.colour[known].mean(0)).square().mean()
    assert (albedo - batch.colour)[known].square().mean() < 0.8 * spread
    assert modules["field"].classified(codes).argmax(1).tolist() == batch.label.tolist()


def test_stage_two_learns_codes_and_cameras_and_renders_late(run, data, tmp_path):
    (tmp_path / "stage1.safetensors").write_bytes((run / "stage1.safetensors").read_bytes())
    trainer = train.Trainer(SECOND, data, tmp_path, CPU)
    batch = trainer.stage.batch(np.random.default_rng(0), 0.0)
    log = [trainer.train_step(batch) for _ in range(16)]
    assert log[-1]["camera"] + log[-1]["shape"] < 0.9 * (log[0]["camera"] + log[0]["shape"])
    assert "image" not in log[7]
    assert "image" in log[8]
    assert set(lines(run, 2)[-1]) >= {"category", "shape", "albedo", "camera", "image"}
    assert (run / "stage2.png").exists()


def test_stage_two_may_begin_with_another_encoder_but_for_its_codes(run, data, tmp_path):
    (tmp_path / "stage1.safetensors").write_bytes((run / "stage1.safetensors").read_bytes())
    known = train.load_stage(run, 2)["encoder"].state_dict()
    fresh = train.Trainer(SECOND, data, tmp_path, CPU).stage.encoder.state_dict()
    begun = train.Trainer(SECOND, data, tmp_path, CPU, run).stage.encoder.state_dict()
    for name, value in begun.items():
        of_codes = name.startswith(("heads.category", "heads.shape", "heads.albedo"))
        assert torch.equal(value, (fresh if of_codes else known)[name]), name
    with pytest.raises(PenumbraError, match="other sizes"):
        train.begin_encoder(ImageEncoder(dataclasses.replace(TINY, encoder_width=16)), run)


def test_free_codes_may_begin_with_what_a_voxel_encoder_reads(data, known, tmp_path):
    plan = dataclasses.replace(FIRST, free_codes=False)
    first = train.Trainer(plan, data, tmp_path / "voxels", CPU)
    first.save()
    free = train.Trainer(FIRST, data, tmp_path / "free", CPU, tmp_path / "voxels")
    for name, value in free.stage.field.state_dict().items():
        assert torch.equal(value, first.stage.field.state_dict()[name])
    read = all_codes(first.stage.codes, data)
    torch.testing.assert_close(free.stage.codes(torch.arange(len(data))), read)
    free.save()
    some = ObjectData([known], ("car",))
    rows = [data.names.index(name) for name in some.names]
    torch.testing.assert_close(
        all_codes(train.load_stage(tmp_path / "free", 1)["codes"], some), read.rows(torch.tensor(rows))
    )


def test_stage_three_has_all_losses_and_freezes_the_shape_decoder(run, data):
    assert set(lines(run, 3)[-1]) >= {"image", "silhouette", "features", "albedo", "white"}
    before, after = train.load_stage(run, 2), train.load_stage(run, 3)
    for name, value in before["field"].state_dict().items():
        same = torch.equal(value, after["field"].state_dict()[name])
        assert same != name.startswith("albedo."), name
    encoders = (train.load_stage(run, stage)["encoder"].state_dict() for stage in (2, 3))
    assert any(not torch.equal(a, b) for a, b in zip(*(e.values() for e in encoders), strict=True))


def test_losses_may_be_left_out(run, photographs, tmp_path):
    for stage in (1, 2):
        (tmp_path / f"stage{stage}.safetensors").write_bytes((run / f"stage{stage}.safetensors").read_bytes())
    plan = dataclasses.replace(THIRD, losses=LossWeights(features=0, white=0, albedo=0))
    trainer = train.Trainer(plan, ObjectData([photographs]), tmp_path, CPU)
    found = trainer.train_step(trainer.stage.batch(np.random.default_rng(0), 0.0))
    assert set(found) == {"image", "silhouette"}


@pytest.mark.parametrize("plan", [FIRST, dataclasses.replace(FIRST, free_codes=False)], ids=["free", "voxels"])
def test_a_stopped_run_goes_on_exactly(data, tmp_path, plan):
    random = np.random.default_rng(0)
    trainer = train.Trainer(plan, data, tmp_path, CPU)
    batches = [trainer.stage.batch(random, 0.0) for _ in range(2)]
    trainer.train_step(batches[0])
    trainer.save()
    resumed = train.Trainer(plan, data, tmp_path, CPU)
    assert resumed.run.step == 1
    kept, again = (t.train_step(batches[1]) for t in (trainer, resumed))
    assert {k: float(v) for k, v in kept.items()} == pytest.approx({k: float(v) for k, v in again.items()})
    if not plan.free_codes:
        codes = all_codes(VoxelEncoder(TINY), data)
        torch.testing.assert_close(codes.shape.norm(dim=1), torch.ones(4))


def test_wrong_checkpoints_are_refused(run, data, known, tmp_path):
    with pytest.raises(PenumbraError, match="other sizes"):
        train.Trainer(dataclasses.replace(SECOND, network=dataclasses.replace(TINY, branches=5)), data, run, CPU)
    with pytest.raises(PenumbraError, match="another set of shapes"):
        train.Trainer(FIRST, ObjectData([known], ("car",)), run, CPU)
    with pytest.raises(PenumbraError, match="--stage 1"):
        train.Trainer(SECOND, data, tmp_path, CPU)
    (tmp_path / "stage1.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(PenumbraError, match="damaged"):
        train.Trainer(FIRST, data, tmp_path, CPU)


def test_what_is_exported_loads_and_says_the_same(run, data, known, tmp_path):
    train.export(run, tmp_path / "object", [known], "train it")
    network, config = load_model("object", tmp_path)
    assert set(config["trained"]["steps"]) == {"1", "2", "3"}
    encoder = train.load_stage(run, 3)["encoder"].eval()
    picture = torch.rand(1, 4, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(network(picture).matrix, encoder(picture).matrix, atol=0.05, rtol=0.05)
    assert "train it" in (tmp_path / "object" / "card.md").read_text()


def test_evaluation_measures_every_category_and_their_mean(run, data):
    network = train.assembled(run, 2)
    figures = evaluate.from_pictures(network, data, 24, 2000)
    assert set(figures) == {"table", "car"}
    assert set(figures["car"]) == {"chamfer", "f_score", "azimuth_error", "category_right", "images"}
    rows = evaluate.rows("mine", "test", figures)
    mean = next(row for row in rows if row["category"] == "mean")
    assert mean["chamfer"] == pytest.approx((figures["car"]["chamfer"] + figures["table"]["chamfer"]) / 2)
    written = evaluate.table(rows)
    assert f"{figures['car']['chamfer']:.3f}" in written
    field = network.field
    by_voxels = evaluate.codes_by_voxels(VoxelEncoder(field.config), data)
    for codes_of in (evaluate.codes_by_fitting(field, data, 3), by_voxels):
        figures = evaluate.from_shapes(field, data, codes_of, 24, 2000)["table"]
        assert 0 <= figures["part_iou_joined"] <= figures["part_iou"] <= 100


def test_codes_are_found_through_a_frozen_field(run, data):
    """A shape's codes, looked for from the mean of all, explain its points better than the mean does."""
    modules = train.load_stage(run, 1)
    field: JointField = modules["field"].requires_grad_(False)
    batch = point_batch(data, np.array([1]), 16, 4096, {"table": 0, "car": 1}, np.random.default_rng(0))
    given = batch.points, batch.occupied, batch.colour, batch.coloured
    error = {}
    for steps in (0, 25):
        codes = fit_codes(field, *given, steps=steps, rate=0.05)
        with torch.no_grad():
            error[steps] = float((field.occupancy(codes, batch.points) - batch.occupied).square().mean())
    assert error[25] < 0.9 * error[0]
