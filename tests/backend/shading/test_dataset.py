# SPDX-License-Identifier: GPL-3.0-or-later
"""Shards come back as they were written, and augmentation keeps plate, geometry and shading of one world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.protocol import PenumbraError
from backend.rays.directions import RICS_DIRECTIONS, pack_bits
from backend.shading import dataset
from backend.shading.dataset import ShadingData, batches, collate, exposed, mirror, mirror_bits, view
from backend.shading.light_code import facing_shading

from .analytic_shards import lamp_plate, scene, write_shard


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards")
    for i in range(2):
        write_shard(path / f"shard_{i:05d}.npz", moments=2, lights=2, seed=i)
    return path


def test_frames_keep_every_foreground_pixel(folder: Path) -> None:
    with np.load(folder / "shard_00001.npz") as written:
        frame = dataset.read_shard(folder / "shard_00001.npz")[4]
        images = view(frame, 1)
        np.testing.assert_array_equal(images["normal"], written["normal"][4])
        np.testing.assert_array_equal(images["bits"], written["rics"][4])
        np.testing.assert_array_equal(images["shading"], written["shading"][4, 1])
        np.testing.assert_array_equal(images["alpha"][..., 0] * 255, written["alpha"][4])
        np.testing.assert_array_equal(images["plate"] * 255, written["plate"][4, 1])
        np.testing.assert_array_equal(frame.suns, written["suns"][4])


def test_memory_is_bounded_and_what_is_left_out_is_told(folder: Path) -> None:
    everything = ShadingData([folder])
    assert (everything.moments, everything.images, everything.left_out) == (4, 24, 0)
    half = ShadingData([folder], memory=1, workers=1)
    assert (half.moments, half.left_out) == (2, 1)
    raw = sum(a.nbytes for p in folder.glob("*.npz") for a in np.load(p).values())
    assert everything.bytes < 0.7 * raw


def test_no_shards_or_a_broken_one_is_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(PenumbraError, match="no shard"):
        ShadingData([tmp_path])
    (tmp_path / "shard_00000.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(PenumbraError, match="shard_00000"):
        ShadingData([tmp_path])


def test_mirrored_bits_are_those_of_the_mirrored_directions() -> None:
    reflected = RICS_DIRECTIONS * [-1, 1, 1]
    bits = np.random.default_rng(0).random((40, 62)) < 0.4
    # The mirrored scene blocks direction k where the scene blocks its reflection.
    partner = [int(np.argmax(RICS_DIRECTIONS @ d)) for d in reflected]
    np.testing.assert_allclose(RICS_DIRECTIONS[partner], reflected, atol=1e-6)
    np.testing.assert_array_equal(mirror_bits(pack_bits(bits)), pack_bits(np.ascontiguousarray(bits[:, partner])))


def test_a_mirrored_view_is_a_view_of_the_mirrored_scene() -> None:
    lamp, colour, ambient = np.array([0.6, 0.64, 0.48]), np.array([1.0, 0.8, 0.5]), np.array([0.1, 0.1, 0.2])

    class Walls:  # a generator whose ball is fixed and whose wall stands on the given side
        def __init__(self, side: float) -> None:
            self.side = side

        def uniform(self, low: float, high: float, size: int | None = None) -> np.ndarray | float:
            middle = (low + high) / 2
            return middle if size is None else np.full(size, middle)

        def choice(self, _: list) -> float:
            return self.side

    def images(side: float, lamp: np.ndarray) -> dict[str, np.ndarray]:
        made = scene(Walls(side), lamp, colour, ambient)
        keys = {"bits": made["rics"], "alpha": made["alpha"][..., None], "box": np.float32([0.1, 0.2, 0.5, 0.6])}
        sun = np.array([[*lamp, *colour, 0.01]])
        keys["facing"] = facing_shading(np.tile(ambient, (62, 1)), sun)
        return {**{k: np.float32(made[k]) for k in ("plate", "normal", "albedo", "shading")}, **keys}

    mirrored = mirror(images(1.0, lamp))
    other = images(-1.0, lamp * [-1, 1, 1])
    np.testing.assert_allclose(mirrored["box"], [0.5, 0.2, 0.9, 0.6], atol=1e-6)
    np.testing.assert_array_equal(mirrored["bits"], other["bits"])
    for name in ("plate", "normal", "albedo", "shading", "facing"):
        np.testing.assert_allclose(mirrored[name], other[name], atol=2e-3, err_msg=name)


def test_exposure_scales_plate_and_shading_alike_and_keeps_clipped_light_clipped() -> None:
    plate = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[:, None, None], 3, 2)
    shading = np.full((4, 4, 3), 0.5, np.float32)
    gain = np.array([0.5, 1.0, 1.5], np.float32)
    new = exposed({"plate": plate, "shading": shading, "facing": np.ones((6, 3))}, gain)
    np.testing.assert_allclose(new["facing"], np.tile(gain, (6, 1)))
    np.testing.assert_allclose(new["shading"][0, 0], [0.25, 0.5, 0.75])
    linear = ((plate + 0.055) / 1.055) ** 2.4
    new_linear = ((new["plate"] + 0.055) / 1.055) ** 2.4
    middle = slice(60, 180)
    np.testing.assert_allclose(new_linear[middle], np.minimum(linear[middle] * gain, 1), rtol=0.01)
    assert new["plate"][255].min() == 1
    assert new["plate"].max() <= 1


def test_batches_hold_three_views_of_a_moment_and_stop_when_closed(folder: Path) -> None:
    data = ShadingData([folder])
    stream = batches([data], [1.0], moments=2, seed=0)
    batch = next(stream)
    stream.close()
    assert batch.plate.shape == (6, 3, 128, 128)
    assert batch.bits.shape == (6, 128, 128)
    assert batch.alpha.shape == (6, 1, 128, 128)
    inside = batch.alpha > 0
    lengths = batch.normal.norm(dim=1, keepdim=True)[inside]
    assert abs(lengths - 1).max() < 2e-3
    assert not batch.shading[~inside.expand(-1, 3, -1, -1)].any()


def test_a_halved_batch_keeps_pixels_and_plates(folder: Path) -> None:
    stream = batches([ShadingData([folder])], [1.0], moments=1, seed=0)
    batch = next(stream)
    stream.close()
    half = batch.halved()
    assert half.plate is batch.plate
    assert half.bits.shape == (3, 64, 64)
    torch.testing.assert_close(half.shading[..., 20, 30], batch.shading[..., 40, 60])
    torch.testing.assert_close(half.bits[:, 20, 30], batch.bits[:, 40, 60])


def test_a_failing_thread_fails_the_training(folder: Path) -> None:
    data = ShadingData([folder])
    data.frames[0] = None  # type: ignore[assignment]
    data.frames[3:] = []
    with pytest.raises(AttributeError):
        next(batches([data], [1.0], moments=1, seed=0))


def test_collate_puts_channels_first() -> None:
    made = view(next(iter(dataset_frames())), 0)
    batch = collate([made])
    np.testing.assert_array_equal(batch.plate[0].permute(1, 2, 0), made["plate"])
    np.testing.assert_array_equal(batch.bits[0].numpy().view(np.uint64), made["bits"])


def dataset_frames() -> list[dataset.Frame]:
    lamp = np.array([0.0, 0.6, 0.8])
    made = scene(np.random.default_rng(0), lamp, np.ones(3), np.zeros(3))
    made["plate"] = lamp_plate(lamp, np.ones(3), np.zeros(3))
    lit = {name: made[name][None] for name in ("shading", "plate")}
    shard = {name: made[name][None] for name in ("albedo", "normal", "alpha", "rics")}
    shard |= {name: value[None] for name, value in lit.items()}
    shard |= {"box": np.zeros((1, 4)), "radiance": np.zeros((1, 1, 62, 3)), "suns": np.zeros((1, 1, 2, 7))}
    shard |= {"projection": np.eye(4)[None], "world_from_camera": np.eye(4)[None], "identity": np.array(["x"])}
    shard |= {"clip": np.array(["x"]), "view": np.zeros(1), "frame": np.zeros(1), "light": np.array([["x"]])}
    return [dataset._compact(shard, 0, [0])]
