# SPDX-License-Identifier: GPL-3.0-or-later
"""What the data sets show, and the command that makes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("embreex")

from backend.body.builtin_motions import builtin
from backend.body.motion import INDEX, REST_JOINTS, forward_kinematics
from backend.rays.camera import project
from backend.shading import frames, moments
from backend.shading.moments import Sources
from backend.splits import is_test, is_test_light, of_test_places, place_of
from scripts import make_dataset

NO_FILES = {"train": Sources("train", [], []), "test": Sources("test", [], [])}


@pytest.fixture
def one_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "SPLITS", {"train": range(1), "test": range(1)})


def draw(split: str, shard: int, count: int) -> list[moments.Moment]:
    return list(moments.moments(NO_FILES[split], 0, shard, count, 1))


def test_splits_share_no_identity_and_no_place() -> None:
    assert not set(moments.SPLITS["train"]) & set(moments.SPLITS["test"])
    assert (len(moments.SPLITS["train"]), len(moments.SPLITS["test"])) == (30, 8)
    assert place_of(Path("a/pmndrs_studio.hdr")) == place_of(Path("b/studio.exr")) == "studio"
    assert place_of(Path("place_0007.hdr")) == "place_0007"
    share = np.mean([is_test(f"place_{i:04}") for i in range(2000)])
    assert 0.2 < share < 0.3


def test_no_light_of_a_test_place_is_trained_on(tmp_path: Path) -> None:
    assert not any(map(is_test, ("lobby", "park")))  # the rule's own: the quarter by names would train on them
    assert is_test("forest")  # and would test with this one
    for name in ("pmndrs_city.hdr", "pmndrs_lobby.hdr", "pmndrs_park.hdr", "pmndrs_forest.hdr"):
        (tmp_path / name).touch()
    found = {
        (split, lights): {p.name for folder in Sources.find(split, [], [tmp_path], lights).panoramas for p in folder}
        for split, lights in (("train", ""), ("test", ""), ("test", "train"))
    }
    tested = {name for name in found["test", ""] if name.startswith("pmndrs")}
    assert tested == {"pmndrs_city.hdr", "pmndrs_lobby.hdr", "pmndrs_park.hdr"}
    assert "pmndrs_forest.hdr" in found["train", ""]
    assert found["train", ""] == found["test", "train"]
    assert not found["train", ""] & found["test", ""]
    assert of_test_places("pmndrs_lobby")
    assert not of_test_places("place-3-4")
    assert not is_test_light("pmndrs_bridge")
    assert [is_test_light(f"place_{i:04}") for i in range(40)] == [is_test(f"place_{i:04}") for i in range(40)]


def test_three_cameras_see_the_front_of_the_whole_person(one_person: None) -> None:
    for moment in draw("train", 1, 5):
        points = np.concatenate([skin.mesh.vertices for skin in moment.skins])
        assert 1.2 < np.ptp(points[:, 2]) < 2.4
        assert moment.level <= points[:, 2].min() + 1e-6
        for shot in moment.shots:
            pose = shot.crop.world_from_camera
            seen = (points - pose[:3, 3]) @ pose[:3, :3]
            pixels, depth = project(shot.crop, seen)
            assert depth.min() > 0.2
            whole, _ = project(shot.camera, seen)
            cut = (whole < 0).any() or (whole > [shot.camera.width, shot.camera.height]).any()
            assert np.ptp(pixels, axis=0).max() > 95
            if not cut:  # the crop rule's margin
                assert 3 < pixels.min() < pixels.max() < 125


def test_cameras_stand_in_front() -> None:
    random = np.random.default_rng(0)
    clip = builtin("idle", 0)
    for _ in range(20):
        rig = moments._Rig.draw(clip, REST_JOINTS, random)
        joints = forward_kinematics(clip.pose, clip.trans)[0]
        assert joints[INDEX["left_hip"], 0] > 0  # so the person faces +z, which is -y in the world
        toward = np.stack([np.cos(rig.azimuths), np.sin(rig.azimuths)], axis=1).mean(0)
        assert toward[1] < -0.25


def test_a_shard_does_not_depend_on_those_before_it(one_person: None) -> None:
    again = draw("train", 3, 2)
    for first, second in zip(draw("train", 3, 2), again, strict=True):
        assert (first.clip, first.frame, first.lights[0].name) == (second.clip, second.frame, second.lights[0].name)
        assert (first.shots[1].crop.projection == second.shots[1].crop.projection).all()
    other = draw("train", 4, 2)
    assert (other[0].shots[0].crop.projection != again[0].shots[0].crop.projection).any()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["make_dataset.py", "shading", *arguments])
    monkeypatch.setattr(make_dataset.signal, "signal", lambda *_: None)
    make_dataset.main()


@pytest.mark.slow
def test_the_command_writes_shards_and_goes_on_where_it_stopped(
    one_person: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = ["--tier", "traced", "--split", "train", "--lights", "2", "--shard", "3", "--out", str(tmp_path)]
    run(monkeypatch, *base, "--frames", "3")
    first = tmp_path / "shard_00000.npz"
    written = first.stat().st_mtime_ns
    (tmp_path / ".shard_00001-abc.npz").write_bytes(b"cut short")
    run(monkeypatch, *base, "--frames", "6")
    assert first.stat().st_mtime_ns == written
    assert sorted(p.name for p in tmp_path.iterdir()) == ["card.json", "shard_00000.npz", "shard_00001.npz"]
    with np.load(first, allow_pickle=False) as shard:
        assert shard["shading"].shape == (3, 2, 128, 128, 3)
        covered = shard["alpha"] == 255
        assert covered.sum() > 3000
        assert (shard["rics"][covered] > 0).all()  # a point always hides what is behind it
        assert not shard["shading"][~(shard["alpha"] > 0)[:, None].repeat(2, 1)].any()
        length = np.linalg.norm(shard["normal"][covered].astype(np.float32), axis=-1)
        assert np.abs(length - 1).max() < 0.01
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["frames"] == 6
    assert "--seed 0" in card["command"]
    with pytest.raises(SystemExit, match="another way"):
        run(monkeypatch, *base, "--frames", "6", "--seed", "1")


def test_a_sequence_is_one_film(one_person: None) -> None:
    shots = list(moments.moments(NO_FILES["test"], 0, 0, 3, 1, sequence=True))
    assert [m.frame - shots[0].frame for m in shots] == [0, 1, 2]
    assert len({m.lights[0].name for m in shots}) == len({m.identity for m in shots}) == 1
    assert all(len(m.shots) == 1 for m in shots)
    eyes = np.stack([m.shots[0].camera.world_from_camera[:3, 3] for m in shots])
    assert 0 < np.abs(np.diff(eyes, axis=0)).max() < 0.1  # it tracks the chest
    filming = frames.Filming([1, 2], np.random.default_rng(3))
    views = [{"albedo": np.ones((128, 128, 3)), "normal": np.ones((128, 128, 3)), "alpha": np.ones((128, 128))}]
    views[0] |= {"bits": np.zeros((128, 128), np.uint64), "shading": np.ones((1, 128, 128, 3))}
    arrays = [frames.frames(m, [dict(views[0])], np.random.default_rng(9), filming) for m in shots]
    exposures = [float(a["shading"].max()) for a in arrays]
    assert np.ptp(exposures) == 0
    assert not np.array_equal(arrays[0]["plate"], arrays[1]["plate"])
