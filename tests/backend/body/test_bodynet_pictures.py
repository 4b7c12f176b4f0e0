# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered pictures of clothed people: the body that comes with each is the one in it, and networks learn from it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.body.bodynet import train
from backend.body.bodynet.network import BodyNetConfig
from backend.body.bodynet.picture_data import PictureData
from backend.body.bodynet.renders import pictures
from backend.body.lasor.camera import to_pixels, weak_perspective
from backend.body.lasor.raster import coverage
from backend.body.lasor.synthesis import Synthesis
from backend.body.model import BodyModel
from backend.body.poses import limit_poses
from backend.protocol import PenumbraError
from backend.shading.moments import Sources, moments

TINY = BodyNetConfig(channels=3, size=64, volume=32, features=16, stacks=1, depth=2)


@pytest.fixture(scope="module")
def shard() -> dict[str, np.ndarray]:
    moment = next(moments(Sources("test", [], []), 2, 0, 1, 1))
    return pictures(moment, BodyModel.load(coarse=True), np.random.default_rng(0), 64)


@pytest.fixture
def folder(shard, tmp_path) -> Path:
    np.savez(tmp_path / "shard_00000.npz", **shard)
    (tmp_path / "card.json").write_text(json.dumps({"split": "test"}))
    return tmp_path


@pytest.mark.slow
def test_the_body_is_the_one_in_the_picture(shard):
    assert shard["picture"].shape == (3, 64, 64, 3)
    assert shard["picture"].dtype == np.uint8
    assert (shard["picture"].std((1, 2)) > 5).any(1).all()
    body = BodyModel.load(coarse=True)
    facts = (torch.from_numpy(shard[name]).float() for name in ("betas", "rotations"))
    vertices, joints = body(*facts)
    camera = torch.from_numpy(shard["camera"]).float()
    mask = coverage(to_pixels(weak_perspective(vertices, camera), 64), body.faces, 64).numpy()
    person = shard["alpha"] > 127
    assert ((mask & person).sum((1, 2)) / (mask | person).sum((1, 2))).min() > 0.6  # hair and clothes are not body's
    rows, columns = np.nonzero(person.any(0))
    assert rows.min() > 0
    assert columns.max() < 63
    # Three cameras from left to right about one pose: the body turns by as much from each to the next.
    head, pelvis = joints[:, 15], joints[:, 0]
    assert (head - pelvis)[:, 1].min() > 0.3  # upright
    first, second, third = torch.from_numpy(shard["rotations"][:, 0]).float()
    angle = [torch.arccos(((b @ a.T).trace() - 1) / 2) for a, b in ((first, second), (second, third))]
    assert 0.4 < angle[0] < 1.6
    assert abs(angle[0] - angle[1]) < 0.5


@pytest.mark.slow
def test_pictures_are_learnt_from_like_proxies(folder, tmp_path):
    body = BodyModel.load(coarse=True)
    data = PictureData([folder], body, TINY, "test")
    example = data.batch(4, Synthesis(), torch.Generator().manual_seed(0))
    assert example.image.shape == (4, 3, 64, 64)
    assert example.image.abs().max() < 3
    assert (example.truth.voxels > 0).any((1, 2, 3)).all()
    with pytest.raises(PenumbraError, match="train split"):
        PictureData([folder], body, TINY)
    (folder / "card.json").write_text(json.dumps({"split": "train"}))
    plan = train.Plan(stage=1, network=TINY, batch=4, steps=3)
    trainer = train.Trainer(plan, limit_poses(5, 0), tmp_path / "run", torch.device("cpu"), [folder])
    assert set(trainer.train_step(trainer.draw())) == {"joints2d", "parts2d"}
