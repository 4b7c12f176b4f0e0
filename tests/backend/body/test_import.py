# SPDX-License-Identifier: GPL-3.0-or-later
"""Import Body from Image with the real weights and MediaPipe, from a photograph to what Blender reads."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from backend.body.bodies import import_bodies
from backend.body.lasor import evaluate
from backend.body.lasor.network import Lasor
from backend.body.model import BodyModel
from backend.body.poses import pose_bank
from backend.import_jobs import BodyJob, BodyResult
from backend.protocol import PenumbraError
from backend.shading.probe import LightProbe
from backend.weights import load_model


def test_the_bundled_network_reads_unseen_people() -> None:
    network = cast(Lasor, load_model("lasor")[0])
    methods = {"mean": evaluate.by_mean(network), "LASOR": evaluate.by_network(network)}
    conditions = {name: evaluate.CONDITIONS[name] for name in ("exact 2D", "a detector's 2D")}
    rows = evaluate.evaluate(methods, pose_bank([], 400, 0, test=True), conditions, 40)
    for mean, lasor in (rows[:2], rows[2:]):
        assert lasor["pa_mpjpe_mm"] < 0.7 * mean["pa_mpjpe_mm"]
        assert lasor["miou"] > 1.5 * mean["miou"]


def test_a_photograph_becomes_a_body_in_its_place(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    cv2.imwrite(str(tmp_path / "astronaut.png"), data.astronaut()[..., ::-1])
    BodyJob(str(tmp_path / "astronaut.png")).save(tmp_path)
    stages: list[tuple[str, float]] = []
    import_bodies(tmp_path, lambda stage, share: stages.append((stage, share)))
    shares = [share for _, share in stages]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] <= 1
    result = BodyResult.load(tmp_path)
    (person,) = result.people
    with np.load(tmp_path / person.params) as params:
        pose = [torch.from_numpy(np.float32(params[name]))[None] for name in ("betas", "pose", "trans")]
    model = BodyModel.load()
    nose = model.keypoints(*model(*pose))[0, 0].numpy()
    pixel = result.focal * nose[:2] * (1, -1) / -nose[2] + 256
    assert np.linalg.norm(pixel - (222, 118)) < 60
    texture = cv2.imread(str(tmp_path / person.texture))
    uv = model.body.extra["vt"][model.body.extra["ft"].astype(int)].mean(1)
    torso = uv[model.body.extra["face_parts6"] == 2]
    seen = texture[((1 - torso[:, 1]) * 1024).astype(int), (torso[:, 0] * 1024).astype(int)]
    blue, _, red = np.median(seen, 0)
    assert red > 1.5 * blue, "the suit is orange"
    assert 0 <= LightProbe.load(tmp_path / result.light).confidence <= 1


def test_a_photograph_of_nobody_is_one_plain_sentence(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    cv2.imwrite(str(tmp_path / "wall.png"), cv2.resize(data.brick(), (256, 256)))
    BodyJob(str(tmp_path / "wall.png")).save(tmp_path)
    with pytest.raises(PenumbraError, match="No person"):
        import_bodies(tmp_path, lambda *_: None)
    assert not (tmp_path / "result.json").exists()
