# SPDX-License-Identifier: GPL-3.0-or-later
"""The measures against figures worked out by hand, and the rivals against light that is known."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from backend.protocol import PenumbraError
from backend.rays.camera import crop_camera, perspective, plate_directions, primary_rays, whole_camera
from backend.shading import baselines, evaluate, methods, perceptual
from backend.shading.crop import plate_box
from backend.shading.dataset import Frame, ShadingData
from backend.shading.network import ShadingNet
from backend.shading.probe_fit import fibonacci_sphere
from backend.shading.probe_network import ProbeNet
from backend.weights import WEIGHTS, load_model

from .analytic_shards import lamp_plate, write_shard


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    folder = tmp_path_factory.mktemp("shards")
    write_shard(folder / "shard_00000.npz", moments=2, lights=2)
    return ShadingData([folder]).frames


def test_measures_by_hand() -> None:
    true = np.array([[1.0, 1, 1], [5, 5, 5], [9, 9, 9]])
    estimate = np.array([[0.5, 0.5, 0.5], [2, 2, 2], [0, 0, 0]])
    albedo, alpha = np.full((3, 3), 0.5), np.array([1.0, 1.0, 0.0])
    found = evaluate.measure(estimate, true, albedo, alpha)
    assert found["shading_mse"] == pytest.approx((0.5**2 + 2**2) / 2)  # 5 is clipped to 4
    assert found["shading_mse_scaled"] == pytest.approx(0)
    # sRGB: 0.5 → 0.7354, 0.25 → 0.5371; the second pixel is white in both.
    assert found["rgb_mse"] == pytest.approx((0.7354 - 0.5371) ** 2 / 2, abs=1e-4)


def test_the_true_light_explains_the_truth_and_its_mirror_image_does_not(frames: list[Frame]) -> None:
    rows = evaluate.evaluate(frames, {"true": methods.true_light, "mirrored": mirrored_light}, "balls")
    true, mirrored = rows
    assert true["images"] == 12
    assert true["direction_error"] < 0.1
    assert (true["side"], mirrored["side"]) == (1, 0)
    assert true["shading_mse"] < 0.004
    assert mirrored["shading_mse"] > 10 * true["shading_mse"]
    assert mirrored["direction_error"] > 20


def mirrored_light(frame: Frame, light: int) -> methods.Estimate:
    suns = frame.suns * np.float32([-1, 1, 1, 1, 1, 1, 1])
    return methods.true_light(Frame(**{**vars(frame), "suns": suns}), light)


def test_a_network_is_measured_where_the_character_is(frames: list[Frame]) -> None:
    class Oracle:
        def predict(self, plate, albedo, normal, bits, alpha, box) -> np.ndarray:
            frame = next(f for f in frames if np.array_equal(f.image(f.bits), bits))
            light = int(np.argmin([np.abs(p / 255 - plate).sum() for p in frame.plates]))
            np.testing.assert_array_equal(albedo, frame.image(frame.albedo))
            return frame.image(frame.shading[light].astype(np.float32))

    row = evaluate.evaluate(frames, {"oracle": methods.by_network(Oracle())}, "balls")[0]
    assert row["shading_mse"] == 0
    assert "direction_error" not in row
    # A probe has to explain the oracle's shading nearly as well as the true light does.
    fitted = evaluate.evaluate(frames[:2], {"probe": methods.by_fitted_probe(Oracle())}, "balls")[0]
    assert fitted["shading_mse"] < 0.02
    assert fitted["direction_error"] < 20


def test_shadingnet_can_be_told_the_light_of_each_frame(frames: list[Frame]) -> None:
    told = methods.by_told_network(cast(ShadingNet, load_model("shadingnet", WEIGHTS)[0]))

    def opposite(frame: Frame, light: int) -> methods.Estimate:
        return told(Frame(**{**vars(frame), "suns": frame.suns * np.float32([-1, -1, -1, 1, 1, 1, 1])}), light)

    true, wrong = evaluate.evaluate(frames, {"told": told, "told the opposite": opposite}, "balls")
    assert true["shading_mse"] < 0.7 * wrong["shading_mse"]


def test_suns_are_hidden_where_rics_says_so(frames: list[Frame]) -> None:
    from backend.rays.directions import RICS_DIRECTIONS, unpack_bits

    bits = frames[0].bits
    visible = methods.sun_visibility(bits)(RICS_DIRECTIONS)
    # A direction's own bit outweighs all its neighbours'.
    np.testing.assert_array_equal(visible[:, 12:48] > 0.5, ~unpack_bits(bits)[:, 12:48])


def test_harmonics_are_orthonormal_and_their_shading_is_the_cosine_integral() -> None:
    directions = fibonacci_sphere(20_000)
    basis = baselines.harmonics(directions)
    np.testing.assert_allclose(basis.T @ basis / len(basis), np.eye(9), atol=0.01)
    coefficients = np.random.default_rng(0).normal(size=(9, 3)) * 0.1
    coefficients[0] = 2
    radiance = basis @ coefficients
    normals = fibonacci_sphere(20)
    integral = np.maximum(normals @ directions.T, 0) @ radiance * 4 / len(directions)
    np.testing.assert_allclose(baselines.shade_harmonics(coefficients, normals), integral, atol=0.01)


def test_plate_directions_are_those_of_the_whole_frame() -> None:
    camera = perspective(640, 360, np.radians(50))
    box = (300, -20, 500, 180)
    crop = crop_camera(camera, box, (128, 128))
    directions = plate_directions(whole_camera(crop, plate_box(box, 640, 360)), size=4)
    x, y = np.meshgrid((np.arange(4) + 0.5) * 160, (np.arange(4) + 0.5) * 90)
    np.testing.assert_allclose(directions, primary_rays(camera, np.stack([x, y], -1))[1], atol=1e-5)


@pytest.mark.parametrize(("lamp", "axis", "sign"), [((-0.9, 0, -0.4), 0, -1), ((0, 0.9, -0.4), 1, 1)])
def test_nine_harmonics_find_the_side_of_a_glow(lamp: tuple, axis: int, sign: int) -> None:
    plate = lamp_plate(np.array(lamp), np.ones(3), np.full(3, 0.05)) / np.float32(255)
    camera = perspective(128, 128, np.radians(70))
    directions = plate_directions(camera)
    coefficients = baselines.fit_harmonics(plate, directions)
    sides = np.zeros((2, 3))
    sides[:, axis] = [1, -1]
    bright, dark = baselines.shade_harmonics(coefficients, sides)[::sign]
    assert bright.min() > dark.max() * 1.2


def test_transferred_colours_have_the_plate_s_mean_and_spread() -> None:
    random = np.random.default_rng(0)
    plate = random.uniform(0.3, 0.5, (16, 16, 3))
    mine = baselines.transfer_colours(random.uniform(0.2, 0.8, (500, 3)), plate)
    lab = [np.log10(c.reshape(-1, 3) @ baselines.LMS.T) @ baselines.LAB.T for c in (mine, plate)]
    np.testing.assert_allclose(lab[0].mean(0), lab[1].mean(0), atol=2e-3)
    np.testing.assert_allclose(lab[0].std(0), lab[1].std(0), rtol=0.03)


def film_of(frame: Frame, count: int) -> list[Frame]:
    """The frame again and again, its light going on and off."""
    lit = [frame.shading * np.float16(1 if k % 2 else 0.5) for k in range(count)]
    return [Frame(**{**vars(frame), "number": k, "shading": shading}) for k, shading in enumerate(lit)]


def test_the_temporal_error_is_that_of_the_change(frames: list[Frame]) -> None:
    def steady(frame: Frame, light: int) -> methods.Estimate:
        return methods.Estimate(first.shading[light].astype(np.float32))

    def follows(frame: Frame, light: int) -> methods.Estimate:
        return methods.Estimate(frame.shading[light].astype(np.float32))

    first, *others = film = film_of(frames[0], 4)
    found = {row["method"]: row for row in evaluate.evaluate(film, {"steady": steady, "follows": follows}, "film")}
    assert found["follows"]["temporal_mse"] == 0
    assert found["follows"]["ssim"] == pytest.approx(1)
    albedo, alpha = first.albedo.astype(np.float32), first.alpha.astype(np.float32) / 255
    pictures = [evaluate.displayed(f.shading[0].astype(np.float32), albedo) * alpha[:, None] for f in film]
    both = [
        np.mean([((b - a) ** 2).mean(1) @ alpha / alpha.sum() for a, b in itertools.pairwise(p)])
        for p in (pictures, [evaluate.displayed(f.shading[1].astype(np.float32), albedo) for f in film])
    ]
    assert found["steady"]["temporal_mse"] == pytest.approx(np.mean(both), rel=1e-3)
    apart = evaluate.evaluate([first, others[1]], {"steady": steady}, "no film")[0]
    assert "temporal_mse" not in apart


def test_probenet_s_light_does_not_flicker_with_the_plate_s_noise(frames: list[Frame]) -> None:
    random = np.random.default_rng(0)
    noisy = [np.clip(frames[0].plates + random.normal(0, 12, frames[0].plates.shape), 0, 255) for _ in range(8)]
    film = [Frame(**{**vars(frames[0]), "number": k, "plates": p.astype(np.uint8)}) for k, p in enumerate(noisy)]
    network = cast(ProbeNet, load_model("probenet", WEIGHTS)[0])
    settled, alone = (methods.by_probenet(network, known) for known in (film, film[::2] + film[1::2]))
    changes = [
        np.mean([np.square(b - a).mean() for a, b in itertools.pairwise(e(f, 0).shading for f in film)])
        for e in (settled, alone)
    ]
    assert 0 < changes[0] < 0.2 * changes[1]


def test_seeds_are_one_row_with_their_spread() -> None:
    rows = [{"method": m, "split": "a", "images": 3, "rgb_mse": e} for m, e in (("x, 0", 0.001), ("x, 1", 0.002))]
    rows = evaluate.over_seeds([*rows, {"method": "y", "split": "a", "rgb_mse": 0.5}], {"x, 0": "x", "x, 1": "x"})
    assert [row["method"] for row in rows] == ["x", "y"]
    assert evaluate.results_table(rows, ["fvd"]).splitlines()[2:] == ["| x | 1.50 ± 0.50 |  |", "| y | 500.00 |  |"]


def test_lpips_reads_its_files_and_frechet_is_that_of_gaussians(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    backbone = {f"features.{k}.weight": torch.randn(shape) * 0.02 for k, shape in shapes.items()}
    backbone |= {f"features.{k}.bias": torch.zeros(shape[0]) for k, shape in shapes.items()}
    heads = {f"lin{k}.model.1.weight": torch.rand(1, s[0], 1, 1) for k, s in enumerate(shapes.values())}
    torch.save(backbone, tmp_path / "alexnet.pth")
    torch.save(heads, tmp_path / "alex.pth")
    lpips = perceptual.Lpips(tmp_path / "alexnet.pth", tmp_path / "alex.pth")
    picture = np.random.default_rng(0).random((128, 128, 3))
    noise = np.random.default_rng(1).normal(size=picture.shape)
    near, far = (lpips.distance(picture, np.clip(picture + s * noise, 0, 1)) for s in (0.02, 0.3))
    assert lpips.distance(picture, picture) == 0 < near < far
    with pytest.raises(PenumbraError, match="cannot read"):
        perceptual.Lpips(tmp_path / "alex.pth", tmp_path / "alexnet.pth")
    a = np.random.default_rng(2).normal(size=(4000, 3))
    assert perceptual.frechet(a, a) == pytest.approx(0, abs=1e-6)
    # Two Gaussians of deviations 1 and 2 whose means are (3, 0, 0) apart: 9 + 3 · (2 − 1)².
    assert perceptual.frechet(a, 2 * (a - a.mean(0)) + a.mean(0) + [3, 0, 0]) == pytest.approx(12, rel=0.05)


def test_the_table_shows_thousandths_and_leaves_out_what_is_not_defined() -> None:
    rows = [
        {"method": "a", "rgb_mse": 0.00456, "shading_mse": 0.1, "shading_mse_scaled": 0.05, "direction_error": 12.4},
        {"method": "b", "rgb_mse": 0.001, "shading_mse": 0.1, "shading_mse_scaled": 0.05},
    ]
    assert evaluate.results_table(rows).splitlines()[2:] == [
        "| a | 4.56 | 100.00 | 50.00 | 12° |",
        "| b | 1.00 | 100.00 | 50.00 |  |",
    ]
