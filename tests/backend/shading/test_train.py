# SPDX-License-Identifier: GPL-3.0-or-later
"""Training learns, goes on where it stopped, and exports what it has learned."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backend import weights
from backend.protocol import PenumbraError
from backend.shading import train
from backend.shading.dataset import Batch, ShadingData, collate, view
from backend.shading.network import ShadingConfig
from backend.shading.overview import features
from backend.shading.plate_data import Lesson

from .analytic_shards import write_shard

TINY = ShadingConfig(
    encoder_overview=8,
    encoder_stem=4,
    encoder_widths=(8, 8),
    stem=8,
    widths=(8, 8, 8, 8),
    norm="layer",
    critic_widths=(8, 8, 8, 8),
)
PLAN = train.Plan(network=TINY, steps=16, moments=1, rate=5e-3, lessons=0.2, halved=0.4, critic_from=0.5)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ShadingData:
    folder = tmp_path_factory.mktemp("shards")
    write_shard(folder / "shard_00000.npz", moments=1, lights=1)
    return ShadingData([folder])


def lesson_of(batch: Batch) -> Lesson:
    """f needs no more of its light."""
    nothing = torch.zeros(len(batch.plate), 62, 3)
    return Lesson(features(batch.plate), batch.facing, nothing, nothing[:, :2].flatten(1))


def test_a_run_learns_logs_and_exports(data: ShadingData, tmp_path: Path) -> None:
    trainer = train.Trainer(PLAN, tmp_path / "run", CPU)
    batch = collate([view(frame, 0) for frame in data.frames])

    def error() -> float:
        predicted = trainer.average(batch.plate, batch.normal, batch.albedo, batch.bits, batch.box)
        return float(((predicted - batch.shading) * batch.alpha).abs().sum() / batch.alpha.sum())

    before = error()
    train.train(trainer, data, data, every=0)
    assert error() < 0.8 * before
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(log) == trainer.run.step == 16
    assert "critic" not in log[7]  # D joins half-way
    assert {"critic", "features", "adversarial", "steps_per_second"} <= set(log[8])
    assert len(list((tmp_path / "run" / "pictures").glob("*.png"))) == 16

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "card.json").write_text('{"tier": "balls"}')
    train.export(trainer, tmp_path / "weights" / "net", [tmp_path / "data"], "train it")
    network, config = weights.load_model("net", tmp_path / "weights")
    assert config["trained"]["steps"] == 16
    card = (tmp_path / "weights" / "net" / "card.md").read_text()
    assert '"tier": "balls"' in card
    assert str(tmp_path) not in card
    arguments = batch.plate, batch.normal, batch.albedo, batch.bits, batch.box
    with torch.no_grad():
        torch.testing.assert_close(network(*arguments), trainer.average(*arguments), atol=0.02, rtol=0.02)


def test_a_stopped_run_goes_on_exactly(data: ShadingData, tmp_path: Path) -> None:
    torch.manual_seed(1)
    plan = dataclasses.replace(PLAN, lessons=0.0, halved=0.0, critic_from=0.0)
    batch = collate([view(frame, 0) for frame in data.frames])
    trainer = train.Trainer(plan, tmp_path, CPU)
    for _ in range(3):
        trainer.train_step(batch, lesson_of(batch))
    trainer.save()
    resumed = train.Trainer(plan, tmp_path, CPU)
    assert resumed.run.step == 3
    assert resumed.seen == trainer.seen == {"images": 9, "plates": 9}
    kept, again = (t.train_step(batch, lesson_of(batch)) for t in (trainer, resumed))
    assert kept.keys() == again.keys()
    for name, loss in kept.items():
        torch.testing.assert_close(loss, again[name], msg=name)
    for mine, theirs in zip(trainer.average.parameters(), resumed.average.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_in_the_lessons_g_does_not_look_at_what_f_tells(data: ShadingData, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, steps=10, lessons=1.0, halved=1.0)
    batch = collate([view(frame, 0) for frame in data.frames])
    lesson = lesson_of(batch)
    blind = batch._replace(plate=torch.zeros_like(batch.plate))
    with_plate, without = (train.Trainer(plan, tmp_path / name, CPU) for name in ("a", "b"))
    first = with_plate.train_step(batch, lesson)
    torch.testing.assert_close(first["shading"], without.train_step(blind, lesson)["shading"])
    for _ in range(5):
        last = with_plate.train_step(batch, lesson)
    assert last["lesson"] < first["lesson"]


def test_f_learns_alone_and_g_stays_as_it_is(data: ShadingData, tmp_path: Path) -> None:
    batch = collate([view(frame, 0) for frame in data.frames])
    trainer = train.Trainer(PLAN, tmp_path, CPU)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    losses = [trainer.train_step(None, lesson_of(batch))["lesson"] for _ in range(8)]
    assert losses[-1] < losses[0]
    for name, value in trainer.network.state_dict().items():
        if name.startswith("generator"):
            assert torch.equal(value, before[name]), name


def test_a_run_begins_with_weights_as_far_as_they_fit(tmp_path: Path) -> None:
    taught = train.Trainer(PLAN, tmp_path / "taught", CPU)
    train.export(taught, tmp_path / "weights" / "net", [], "teach it")
    blind = dataclasses.replace(PLAN, seed=5, network=dataclasses.replace(TINY, uses_rics=False))
    trainer = train.Trainer(blind, tmp_path / "blind", CPU)
    trainer.begin_with(tmp_path / "weights" / "net")
    train.export(trainer, tmp_path / "weights" / "blind", [], "blind it")
    trained = weights.load_state("blind", tmp_path / "weights")[1]["trained"]
    assert (trained["command"], trained["before"]["command"]) == ("blind it", "teach it")
    mine, theirs = trainer.network.state_dict(), taught.average.state_dict()
    other = [name for name, value in mine.items() if value.shape != theirs[name].shape]
    assert len(other) == 1  # the first convolution of G, which sees no occlusion map
    for name in mine.keys() - set(other):
        torch.testing.assert_close(mine[name], theirs[name], atol=1e-3, rtol=1e-3)


def test_a_checkpoint_of_another_network_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    train.Trainer(PLAN, tmp_path, CPU).save()
    other = dataclasses.replace(PLAN, network=dataclasses.replace(TINY, uses_rics=False))
    with pytest.raises(PenumbraError, match="another network"):
        train.Trainer(other, tmp_path, CPU)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(PenumbraError, match="damaged"):
        train.Trainer(PLAN, tmp_path, CPU)


def test_the_sheet_shows_what_is_there(data: ShadingData, tmp_path: Path) -> None:
    trainer = train.Trainer(PLAN, tmp_path, CPU)
    picture = train.sheet(trainer.average, [(frame, 0) for frame in data.frames])
    assert picture.shape == (3 * 128, 6 * 128, 3)
    shown = view(data.frames[1], 0)
    np.testing.assert_allclose(picture[128:256, 256:384], shown["shading"] / 2, atol=1e-6)
    np.testing.assert_allclose(picture[128:256, 384:512], shown["albedo"])
