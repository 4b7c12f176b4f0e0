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
from backend.body.bodynet.evaluate import CONDITIONS, measure_network, network_means
from backend.body.bodynet.network import BodyNet
from backend.body.bodynet.train import people_of
from backend.body.choice import find_people
from backend.body.lasor import evaluate
from backend.body.lasor.network import Lasor
from backend.body.model import BodyModel
from backend.body.poses import pose_bank
from backend.import_jobs import BodyJob, BodyResult, PeopleJob, PeopleResult, TakeFacts
from backend.protocol import PenumbraError
from backend.shading.probe import LightProbe
from backend.weights import load_model


def test_the_bundled_network_reads_unseen_people() -> None:
    network = cast(Lasor, load_model("lasor")[0])
    methods = {"mean": evaluate.by_mean(network), "LASOR": evaluate.by_network(network)}
    conditions = {name: evaluate.CONDITIONS[name] for name in ("exact 2D", "a detector's 2D")}
    rows = evaluate.evaluate(methods, pose_bank([], 400, 0, test=True), conditions, 40)
    for mean, lasor in (rows[:2], rows[2:]):
        assert lasor["pa_mpjpe_mm"] < 0.55 * mean["pa_mpjpe_mm"]
        assert lasor["miou"] > 1.5 * mean["miou"]


def test_the_bundled_voxels_are_unseen_people() -> None:
    """BodyNet tells where limbs are in depth: with its joints' depths the other way around it would be worse."""
    network = cast(BodyNet, load_model("bodynet")[0]).eval()
    people = people_of(network.config, pose_bank([], 400, 0, test=True), [], "test", torch.device("cpu"))
    means = network_means(measure_network(network, people, CONDITIONS["exact 2D"], 16))
    assert means["joints3d_mm"] < 100
    assert means["voxel_iou"] > 0.35
    assert means["silhouette_iou"] > 0.65
    assert means["iou_Torso"] > 0.35
    assert min(means["iou_LeftLeg"], means["iou_RightLeg"]) > 0.2


@pytest.mark.parametrize("method", ["bodynet", "both"])
def test_voxels_come_along_with_the_body_fitted_to_them(tmp_path: Path, method: str) -> None:
    pytest.importorskip("mediapipe")
    cv2.imwrite(str(tmp_path / "astronaut.png"), data.astronaut()[..., ::-1])
    BodyJob(str(tmp_path / "astronaut.png"), method=method).save(tmp_path)
    import_bodies(tmp_path, lambda *_: None)
    (person,) = BodyResult.load(tmp_path).people
    with np.load(tmp_path / person.surface) as surface, np.load(tmp_path / person.params) as params:
        vertices, _ = BodyModel.load()(*(torch.from_numpy(params[k])[None] for k in ("betas", "pose")))
        middles = [x.mean(0) for x in (surface["vertices"], vertices[0].numpy() + params["trans"])]
        assert {1, 2} <= set(surface["part"].tolist())  # head and torso
    assert np.abs(middles[0] - middles[1])[:2].max() < 0.35  # below the picture's edge either may be anything


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


def test_a_take_becomes_a_motion(tmp_path: Path) -> None:
    """The astronaut, moved to the right from frame to frame; nobody in the third."""
    pytest.importorskip("mediapipe")
    one = cv2.resize(data.astronaut(), (256, 256))[..., ::-1]
    for frame in range(4):
        picture = np.full((256, 420, 3), 128, np.uint8)
        if frame != 2:
            picture[:, 20 + 40 * frame : 276 + 40 * frame] = one
        cv2.imwrite(str(tmp_path / f"take_{frame + 5:02}.png"), picture)
    BodyJob(str(tmp_path / "take_06.png"), "largest", refine=False, sequence=True, focal=1.5).save(tmp_path)
    stages: list[tuple[str, float]] = []
    import_bodies(tmp_path, lambda stage, share: stages.append((stage, share)))
    shares = [share for _, share in stages]
    assert shares == sorted(shares)
    result = BodyResult.load(tmp_path)
    assert result.take == TakeFacts(str(tmp_path / "take_05.png"), 5, 4, 0.0)
    assert (result.size, result.focal) == ((420, 256), 630.0)
    (person,) = result.people
    with np.load(tmp_path / person.params) as params:
        assert params["pose"].shape == (4, 24, 3)
        assert list(params["seen"]) == [True, True, False, True]
        across = 630 * params["trans"][:, 0] / -params["trans"][:, 2]
    assert np.diff(across) == pytest.approx([40, 40, 40], abs=12)
    texture = cv2.imread(str(tmp_path / person.texture))
    assert texture[..., 2].mean() > texture[..., 0].mean(), "the suit is orange"


def test_people_are_numbered_in_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    one = cv2.resize(data.astronaut(), (256, 256))[..., ::-1]
    cv2.imwrite(str(tmp_path / "two.png"), np.concatenate([one, one[:, ::-1]], 1))
    PeopleJob(str(tmp_path / "two.png")).save(tmp_path)
    find_people(tmp_path, lambda *_: None)
    result = PeopleResult.load(tmp_path)
    left, right = result.boxes
    assert left[0] < 0.22 < left[2] < right[0] < 0.78 < right[2]  # where their noses are
    picture = np.load(tmp_path / result.picture)
    assert picture.shape == (512, 512, 4)
    assert (picture[:120, :, 3] == 0).all()
    assert (picture[140:370, :, 3] == 255).all()
    frame = (picture[..., :3] == (120, 255, 120)).all(-1)
    assert frame[:, round(512 * right[0]) - 3 : round(512 * right[0]) + 3].any(1).sum() > 200


def test_a_photograph_of_nobody_is_one_plain_sentence(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    cv2.imwrite(str(tmp_path / "wall.png"), cv2.resize(data.brick(), (256, 256)))
    BodyJob(str(tmp_path / "wall.png")).save(tmp_path)
    with pytest.raises(PenumbraError, match="No person"):
        import_bodies(tmp_path, lambda *_: None)
    assert not (tmp_path / "result.json").exists()
