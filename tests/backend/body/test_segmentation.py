# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of bodies: the tables, the labels of pixels, the data's splits, and what is learnt and measured."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("embreex")

from backend import weights
from backend.body.data import ASSETS, load_body
from backend.body.segmentation import data, evaluate, frames, labels, train
from backend.body.segmentation.network import PartsConfig
from backend.protocol import CHARACTER, Mesh, PenumbraError
from backend.rays.camera import perspective
from backend.rays.scene import RayScene
from backend.shading.probe_fit import fibonacci_sphere

CPU = torch.device("cpu")


@pytest.mark.parametrize(("parts", "other", "count"), [(14, "fsitting", 14), (6, "up", 31)])
def test_each_label_belongs_to_one_part(parts: int, other: str, count: int) -> None:
    for of, known in (("surreal", labels.JOINTS), (other, count)):
        table = labels.merged(np.arange(256, dtype=np.uint8), of, parts)
        assert table[0] == 0
        assert set(table[1 : known + 1]) == set(range(1, parts + 1))
        assert not table[known + 1 :].any()


def test_a_mirror_swaps_sides_alone() -> None:
    for parts in (14, 6):
        swap = labels.mirrored(parts)
        names = ["", *labels.names(parts)]
        np.testing.assert_array_equal(swap[swap], np.arange(parts + 1))
        assert [n for k, n in enumerate(names) if swap[k] == k] == ["", "Head", "Torso"]
        assert names[swap[names.index("Right" + ("Foot" if parts == 14 else "Leg"))]].startswith("Left")


def test_pixels_have_the_labels_of_the_body_that_faces_the_camera() -> None:
    body = load_body(ASSETS)
    faces = body.faces.astype(np.int32)
    mesh = Mesh("body", CHARACTER, body.v_template.astype(np.float32), faces, np.zeros((*faces.shape, 3), np.float32))
    eye = np.array([0.0, 0.0, 4.0])
    vertices = mesh.vertices - eye.astype(np.float32)
    scene = RayScene([Mesh("body", CHARACTER, vertices.astype(np.float32), faces, mesh.corner_normals)])
    camera = perspective(96, 96, np.radians(35))
    found = labels.merged(frames.part_labels(scene, [body.weights.argmax(1)], camera), "surreal", 14)
    columns = {name: np.nonzero(found == k)[1].mean() for k, name in enumerate(labels.names(14), 1)}
    rows = {name: np.nonzero(found == k)[0].mean() for k, name in enumerate(labels.names(14), 1)}
    # The person's right is on the picture's left.
    assert columns["RightHand"] < columns["RightLowerArm"] < columns["Torso"] < columns["LeftUpperArm"]
    assert rows["Head"] < rows["Torso"] < rows["LeftUpperLeg"] < rows["LeftFoot"]


def test_surreal_s_shading_is_the_irradiance_of_its_coefficients() -> None:
    random = np.random.default_rng(0)
    coefficients = frames.draw_harmonics(random)
    coefficients[0] = 6  # bright enough to be positive everywhere
    # Orthonormal harmonics, in the order of the module's, band by band.
    x, y, z = fibonacci_sphere(20_000).T
    second = [np.sqrt(15) * x * y, np.sqrt(15) * y * z, np.sqrt(5) / 2 * (3 * z * z - 1), np.sqrt(15) * x * z]
    basis = np.stack([np.ones_like(x), *(np.sqrt(3) * axis for axis in (x, y, z)), *second], 1)
    basis = np.column_stack([basis, np.sqrt(15) / 2 * (x * x - y * y)]) / np.sqrt(4 * np.pi)
    radiance, directions = basis @ coefficients, np.stack([x, y, z], 1)
    normals = fibonacci_sphere(12)
    irradiance = np.maximum(normals @ directions.T, 0) @ radiance * 4 * np.pi / len(directions)
    np.testing.assert_allclose(frames.surreal_shading(coefficients, normals)[:, 1], irradiance, rtol=0.01)
    above, below = (
        np.mean([frames.surreal_shading(frames.draw_harmonics(random), np.array([0, 0, s])) for _ in range(300)])
        for s in (1.0, -1.0)
    )
    assert above > below


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Pictures whose parts are bands of their own brightness."""
    rows = np.linspace(0, 24.9, 64).astype(np.uint8)
    numbers = np.broadcast_to(rows[:, None], (64, 64))
    arrays = {"labels": np.stack([numbers] * 8), "identity": np.array([f"person-{k:06d}" for k in range(100, 108)])}
    for kind, gain in (("surreal", 5), ("synth", 8), ("real", 10)):
        arrays[kind] = np.stack([np.repeat(numbers[..., None] * gain, 3, 2).astype(np.uint8)] * 8)
    np.savez(tmp_path / "shard_00000.npz", **arrays)
    return tmp_path


def test_the_stand_in_s_people_are_taught_or_tested(shards: Path) -> None:
    taught, tested = (data.load([shards], "real", 6, test) for test in (False, True))
    assert (len(taught.pictures), len(tested.pictures)) == (3, 5)
    assert len(data.load([shards], "synth", 14, False).pictures) == 8


def test_augmented_pictures_keep_their_labels(shards: Path) -> None:
    pictures = data.load([shards], "synth", 14, False)
    random = np.random.default_rng(0)
    mean, deviation = pictures.whitening
    drawn, numbers = pictures.batch(random, 16)
    assert abs(float(drawn.mean())) < 0.6
    brightness = (drawn.permute(0, 2, 3, 1).numpy() * deviation + mean)[..., 0] * 255 / 8
    head = numbers.numpy() == 1  # SURREAL's 16
    assert np.abs(np.median(brightness[head]) - 16) < 0.6


def test_a_copy_of_fsitting_is_read_with_its_own_numbers(tmp_path: Path) -> None:
    picture, numbers = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.uint8)
    numbers[:, 15:] = 4  # RightUpperArm
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    cv2.imwrite(str(tmp_path / "a_labels.png"), numbers)
    (tmp_path / "test.txt").write_text("a.png a_labels.png\n")
    read = data.load([tmp_path], "fsitting", 14, True, 16)
    assert set(read.labels[0, :, :7].ravel()) == {0}
    assert set(read.labels[0, :, 9:].ravel()) == {labels.names(14).index("RightUpperArm") + 1}
    with pytest.raises(PenumbraError, match=r"no train\.txt"):
        data.load([tmp_path], "fsitting", 14, False, 16)
    with pytest.raises(PenumbraError, match="6 parts"):
        data.load([tmp_path], "fsitting", 6, True, 16)


def test_measures_by_hand_and_the_median_of_runs() -> None:
    confused = np.array([[90, 10, 0, 0], [5, 15, 0, 0], [0, 10, 30, 0], [0, 0, 0, 0]])
    found = evaluate.measures(confused)  # the last part appears nowhere
    assert found["pixel_accuracy"] == pytest.approx((15 / 20 + 30 / 40) / 2)
    assert found["iou"] == pytest.approx((15 / 40 + 30 / 40) / 2)
    rows = [{"method": "Real", "split": "s", "images": 2, "iou": v, "pixel_accuracy": 1 - v} for v in (0.1, 0.5, 0.2)]
    (row,) = evaluate.medians(rows)
    assert (row["iou"], row["pixel_accuracy"], row["runs"]) == (0.2, 0.8, 3)
    assert (row["iou_range"], row["pixel_accuracy_range"]) == ([0.1, 0.5], [0.5, 0.9])


def test_a_network_learns_is_tuned_and_exported(shards: Path, tmp_path: Path) -> None:
    pictures = data.load([shards], "synth", 6, False)
    plan = train.Plan(kind="synth", network=PartsConfig(6, 64, 16, depth=2), steps=100, batch=2, rate=3e-3)
    trainer = train.Trainer(plan, tmp_path / "run", CPU)
    random = np.random.default_rng(0)
    losses = [float(trainer.train_step(*pictures.batch(random, 2))["parts"]) for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    train.export(trainer, tmp_path / "synth", [shards], "train it")
    tuned = train.Trainer(train.Plan(kind="real", network=plan.network, steps=5), tmp_path / "tuned", CPU)
    tuned.begin_with(tmp_path / "synth")
    train.export(tuned, tmp_path / "real", [shards], "tune it")
    network, config = weights.load_model("real", tmp_path)
    assert (config["trained"]["kind"], config["trained"]["before"]["kind"]) == ("real", "synth")
    confused = evaluate.confusion(network, pictures, pictures.whitening)
    assert confused.sum() == pictures.labels.size
