# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes: who is who from frame to frame, and motion that is smooth without being flattened, late or turned about."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from backend.body import takes
from backend.body.detect import Person
from backend.body.gltf import write_glb
from backend.body.lasor.raster import coverage
from backend.body.model import BodyModel
from backend.body.poses import limit_poses
from backend.body.reconstruct import asked
from backend.body.smoothing import angles_between, smooth_curves, smooth_rotations
from backend.body.takes import Measured, find_performances, smoothed
from backend.body.tracking import Sighting, Tracker
from backend.footage import numbered, open_footage
from backend.protocol import PenumbraError
from backend.rays.camera import fov_from_lens, perspective, project

SIZE, FPS = (320, 240), 24.0


def sighting(x: float, y: float = 100.0, height: float = 80.0) -> Sighting:
    """A person of 17 points about (x, y)."""
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (17, 2)) * (height / 3, height) + (x, y)
    box = np.array([x - height / 6, y - height / 2, x + height / 6, y + height / 2])
    return Sighting(points, np.full(17, 0.9), box, int(height**2 / 3), b"")


def test_people_who_cross_stay_themselves():
    tracker = Tracker(FPS)
    for frame in range(40):
        right, left = sighting(20 + 6 * frame), sighting(260 - 6 * frame, 112)
        hidden = 18 <= frame < 23  # one is behind the other
        found = [right] if hidden else [right, left]
        tracker.add(frame, found[:: 1 if frame % 2 else -1])
    tracker.add(40, [sighting(150, 40, 30)])  # a picture on the wall, once
    first, second = tracker.people(41)
    assert [round(first.sightings[f].box[0] - (20 + 6 * f)) for f in (0, 17, 25, 39)] == [-13] * 4
    assert [round(second.sightings[f].box[0] - (260 - 6 * f)) for f in (0, 17, 25, 39)] == [-13] * 4
    assert set(range(18, 23)).isdisjoint(second.sightings)


def test_those_who_are_asked_for():
    areas = [3.0, 9.0, 5.0]
    assert asked("all", areas) == [0, 1, 2]
    assert asked("largest", areas) == [1]
    assert asked("3, 1", areas) == [2, 0]
    with pytest.raises(PenumbraError, match=r"no person 4 .* 1 to 3"):
        asked("1 4", areas)
    with pytest.raises(PenumbraError, match="names no people"):
        asked("Ann", areas)


def swing(frames: int, degrees: float = 40.0, period: float = 24.0) -> np.ndarray:
    """(F, 1, 3, 3) a pendulum beyond the half turn, where quaternions and angles wrap."""
    angle = np.pi + np.radians(degrees) * np.sin(2 * np.pi * np.arange(frames) / period)
    return Rotation.from_rotvec(angle[:, None] * [0.6, 0.0, 0.8]).as_matrix()[:, None]


def test_rotations_are_smoothed_without_lag_or_flattening():
    true, random = swing(72), np.random.default_rng(3)
    noisy = Rotation.from_rotvec(random.normal(0, 0.08, (72, 3))).as_matrix()[:, None] @ true
    noisy[30] = np.diag([1.0, -1, -1]) @ noisy[30]  # one frame is taken for its back
    weights = np.full((72, 1), 0.9)
    weights[50:54] = 0  # and in some nobody is seen
    noisy[50:54] = np.eye(3)
    smooth = smooth_rotations(noisy, weights, 3.0)
    np.testing.assert_allclose(smooth @ smooth.transpose(0, 1, 3, 2), np.tile(np.eye(3), (72, 1, 1, 1)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(smooth), 1)
    away = np.degrees(angles_between(smooth, true))[:, 0]
    assert away[3:-3].mean() < 0.6 * np.degrees(angles_between(noisy, true))[3:-3].mean()
    assert away[28:33].max() < 8
    assert away[50:54].max() < 12
    kept = np.degrees(angles_between(smooth[18:19], smooth[30:31]))[0, 0]  # from one end of the swing to the other
    assert kept == pytest.approx(80, abs=8)
    steps = angles_between(smooth[1:], smooth[:-1])
    assert steps.max() < 1.5 * angles_between(true[1:], true[:-1]).max()


def test_curves_of_second_degree_are_kept_and_gaps_bridged():
    time = np.arange(40.0)
    true = np.stack([0.01 * (time - 15) ** 2, 3 - 0.2 * time], 1)
    weights = np.ones(40)
    weights[20:24] = 0
    seen = true.copy()
    seen[20:24] = 99
    smooth = smooth_curves(seen, weights, 3.0)
    assert np.abs(smooth - true)[:18].max() < 0.01
    assert np.abs(smooth - true).max() < 0.15


def test_depth_is_smoothed_more_than_what_the_picture_shows():
    random, frames = np.random.default_rng(0), np.arange(48)
    depth = 4.0 * np.exp(random.normal(0, 0.03, 48))
    pelvis = np.stack([0.3 * depth, -0.1 * depth, -depth], 1)  # a person who stands; the size is hard to tell
    still = np.tile(np.eye(3), (48, 24, 1, 1))
    measured = Measured(frames + 5, still, pelvis, np.array([0.0, 0.9, 0.0]), np.ones((48, 24)))
    rotations, places, seen = smoothed(measured, FPS)
    found = places - (0, 0.9, 0)
    np.testing.assert_allclose(found[:, 0] / -found[:, 2], 0.3, atol=1e-6)
    np.testing.assert_allclose(found[:, 1] / -found[:, 2], -0.1, atol=1e-6)
    assert np.abs(found[:, 2] + 4).mean() < 0.7 * np.abs(depth - 4).mean()
    assert np.abs(np.diff(found[:, 2])).mean() < 0.15 * np.abs(np.diff(depth)).mean()
    assert seen.all()
    np.testing.assert_allclose(rotations, still, atol=1e-9)


def walk(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Joints (F, 24, 3) and pose of somebody who raises an arm and walks to the right; camera space."""
    pose = np.repeat(limit_poses(1, 2).astype(np.float32), frames, 0)
    pose[:, 16, 2] = np.linspace(-0.6, 0.6, frames)
    place = np.stack([np.linspace(-0.8, 0.8, frames), np.full(frames, 0.1), np.full(frames, -5.0)], 1)
    return pose, place.astype(np.float32)


def test_a_take_becomes_a_motion(tmp_path, monkeypatch):
    """MediaPipe's place is taken by what is true, with the third frame empty; the network is the bundled one."""
    pose, place = walk(8)
    body = BodyModel.load(coarse=True)
    vertices, joints = body(torch.zeros(8, 10), torch.from_numpy(pose), torch.from_numpy(place))
    keypoints = body.keypoints(vertices, joints).numpy()
    camera = perspective(*SIZE, fov_from_lens(50.0))
    shown: list[list[Person]] = []
    for frame in range(8):
        outline = torch.from_numpy(project(camera, vertices[frame].numpy())[0])[None].float()
        mask = coverage(outline, body.faces, max(SIZE))[0].numpy()[: SIZE[1]].astype(np.float32)
        person = Person(mask, project(camera, keypoints[frame])[0], np.full(17, 0.9))
        shown.append([] if frame == 2 else [person])
        cv2.imwrite(str(tmp_path / f"walk_{frame + 11:03}.png"), np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))
    (tmp_path / "walk_014.png").unlink()
    told = iter(person for number, person in enumerate(shown) if number != 3)
    monkeypatch.setattr(takes, "people_if_any", lambda _: next(told))
    footage = open_footage(tmp_path / "walk_013.png")
    assert (footage.first, footage.count, footage.files[3]) == (11, 8, None)
    stages: list[float] = []
    found = find_performances(footage, "largest", False, torch.device("cpu"), lambda _, share: stages.append(share))
    assert stages == sorted(stages)
    made = found.people[0]
    assert list(made.frames) == list(range(8))
    assert list(made.seen) == [True, True, False, False, True, True, True, True]
    assert made.betas.shape == (10,)
    moved = body(torch.from_numpy(made.betas)[None].expand(8, -1), torch.from_numpy(np.float32(made.rotations)))[1]
    pelvis = moved[:, 0].numpy() + made.places
    pixels, true = project(camera, pelvis)[0], project(camera, joints[:, 0].numpy())[0]
    assert np.abs(pixels - true).max() < 12
    assert np.abs(np.diff(pixels[:, 0]) - np.diff(true[:, 0])).max() < 8


def test_the_file_s_animation_gives_each_frame_s_pose(tmp_path):
    model, frames = BodyModel.load(), 5
    turns = swing(frames, 60, 5) @ np.eye(3)
    rotations = np.tile(np.eye(3), (frames, 24, 1, 1))
    rotations[:, 18] = turns[:, 0]
    places = np.linspace((0, 0, -4), (1, 0, -4), frames)
    times = np.arange(frames) / FPS
    write_glb(tmp_path / "body.glb", model.body, np.zeros(10), rotations, places, SIZE, 400.0, b"", times)
    raw = (tmp_path / "body.glb").read_bytes()
    length = struct.unpack("<I", raw[12:16])[0]
    scene, binary = json.loads(raw[20 : 20 + length]), raw[28 + length :]
    assert scene["buffers"][0]["byteLength"] == len(binary)
    (animation,) = scene["animations"]

    def read(number: int) -> np.ndarray:
        accessor = scene["accessors"][number]
        view = scene["bufferViews"][accessor["bufferView"]]
        return np.frombuffer(binary[view["byteOffset"] :][: view["byteLength"]], np.float32).reshape(
            accessor["count"], -1
        )

    curves = {
        (channel["target"]["node"], channel["target"]["path"]): animation["samplers"][channel["sampler"]]
        for channel in animation["channels"]
    }
    elbow = curves[18, "rotation"]
    np.testing.assert_allclose(read(elbow["input"])[:, 0], times, atol=1e-6)
    np.testing.assert_allclose(Rotation.from_quat(read(elbow["output"])).as_matrix(), turns[:, 0], atol=1e-5)
    assert ((read(elbow["output"])[1:] * read(elbow["output"])[:-1]).sum(1) > 0).all()
    root = next(k for k, node in enumerate(scene["nodes"]) if node["name"] == "body_root")
    np.testing.assert_allclose(read(curves[root, "translation"]["output"]), places, atol=1e-6)


def test_footage_is_read_frame_by_frame(tmp_path: Path):
    path = tmp_path / "take.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for level in range(0, 250, 25):
        video.write(np.full((48, 64, 3), level, np.uint8))
    video.release()
    footage = open_footage(path)
    assert (footage.count, footage.fps, footage.size, footage.first) == (10, 25, (64, 48), 1)
    assert footage.focal == pytest.approx(64 * 50 / 36)
    assert open_footage(path, 2.0).focal == 128
    levels = {number: frame.encoded.mean() for number, frame in footage.frames({2, 7})}
    assert list(levels) == [2, 7]
    np.testing.assert_allclose(list(levels.values()), (50, 175), atol=3)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(PenumbraError, match="cannot be read"):
        open_footage(tmp_path / "broken.mp4")


def test_sequences_are_those_of_one_pattern(tmp_path: Path):
    for name in ("a_009.png", "a_010.png", "a_011.jpg", "b_010.png", "a_012.png", "a_010_mask.png", "plain.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((16, 16, 3), np.uint8))
    assert {n: p.name for n, p in numbered(tmp_path / "a_010.png").items()} == {
        9: "a_009.png",
        10: "a_010.png",
        12: "a_012.png",
    }
    with pytest.raises(PenumbraError, match="no number"):
        numbered(tmp_path / "plain.png")
    cv2.imwrite(str(tmp_path / "a_900.png"), np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(PenumbraError, match="888 are missing"):
        open_footage(tmp_path / "a_010.png")
    (tmp_path / "a_900.png").unlink()
    cv2.imwrite(str(tmp_path / "a_012.png"), np.zeros((16, 20, 3), np.uint8))
    with pytest.raises(PenumbraError, match=r"Frame 12 of a_009\.png is of another size"):
        list(open_footage(tmp_path / "a_010.png").frames())
