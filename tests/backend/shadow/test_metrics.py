# SPDX-License-Identifier: GPL-3.0-or-later
"""The measures of shadow generation against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from backend.shadow.metrics import METRICS, best_by_lssim, means, measure, ssim_map

FLAT = np.full((256, 256, 3), 100, np.uint8)


def rectangle(rows: slice, columns: slice, value: int = 255) -> np.ndarray:
    mask = np.zeros((256, 256), np.uint8)
    mask[rows, columns] = value
    return mask


def test_rmse_over_the_image_and_inside_the_true_shadow() -> None:
    image = FLAT.copy()
    image[:64, :, 0] += 30  # a quarter of the rows, one channel of three
    true = rectangle(np.s_[32:96], np.s_[:])  # half of it lies where the image is off
    found = measure(FLAT, true, image, true)
    assert found["GRMSE"] == pytest.approx(np.sqrt(900 / 4 / 3))
    assert found["LRMSE"] == pytest.approx(np.sqrt(900 / 2 / 3))


def test_ssim_has_the_constants_of_images_up_to_one_and_zeros_around() -> None:
    a, b = np.full((64, 64, 3), 100.0), np.full((64, 64, 3), 110.0)
    similar = ssim_map(a, b)[..., 0]
    # Inside a flat image only the means differ.
    assert similar[32, 32] == pytest.approx((2 * 100 * 110 + 1e-4) / (100**2 + 110**2 + 1e-4), rel=1e-6)
    # In the corner the window holds the share s of its weight, and variance arises: E[x²] − E[x]² = a²·s·(1 − s).
    weight = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    s = (weight[5:].sum() / weight.sum()) ** 2
    v = s * (1 - s)
    likeness = (2 * 11000 * s * s + 1e-4) / ((100**2 + 110**2) * s * s + 1e-4)
    structure = (2 * 11000 * v + 9e-4) / ((100**2 + 110**2) * v + 9e-4)
    assert similar[0, 0] == pytest.approx(likeness * structure, rel=1e-9)


def test_one_grey_level_in_a_flat_area_costs_most_of_the_similarity() -> None:
    a, b = np.full((33, 33, 3), 100.0), np.full((33, 33, 3), 100.0)
    b[16, 16] += 1
    weight = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    w = (1 / weight.sum()) ** 2  # the centre's
    expected = (2 * 100 * (100 + w) + 1e-4) / (100**2 + (100 + w) ** 2 + 1e-4) * 9e-4 / (w * (1 - w) + 9e-4)
    assert ssim_map(a, b)[16, 16, 0] == pytest.approx(expected, rel=1e-6)
    assert expected < 0.02  # with the constants of images up to 255 it were 0.999


def test_local_ssim_is_the_mean_inside_the_true_shadow() -> None:
    image = FLAT.copy()
    image[:, 128:] = 110
    found = measure(FLAT, rectangle(np.s_[100:120], np.s_[200:220]), image, rectangle(np.s_[:1], np.s_[:1]))
    assert found["LSSIM"] == pytest.approx((2 * 11000 + 1e-4) / (100**2 + 110**2 + 1e-4), rel=1e-5)


def test_ber_counts_masks_above_191_and_lber_only_misses() -> None:
    true = rectangle(np.s_[:64], np.s_[:])  # a quarter
    found = rectangle(np.s_[16:128], np.s_[:])  # three quarters of it, and a third of the rest
    measured = measure(FLAT, true, FLAT, found)
    assert measured["LBER"] == pytest.approx(0.25)
    assert measured["GBER"] == pytest.approx(1 - 0.5 * (0.75 + 2 / 3))
    assert measure(FLAT, true, FLAT, rectangle(np.s_[:64], np.s_[:], 191))["LBER"] == 1
    assert measure(FLAT, true, FLAT, rectangle(np.s_[:64], np.s_[:], 192))["LBER"] == 0


def test_an_empty_mask_is_left_out_of_its_own_measures_only() -> None:
    nothing = np.zeros((256, 256), np.uint8)
    empty = measure(FLAT, nothing, FLAT, nothing)
    assert {name for name in METRICS if np.isnan(empty[name])} == {"LRMSE", "LSSIM", "GBER", "LBER"}
    full = measure(FLAT, rectangle(np.s_[:9], np.s_[:9]), FLAT + 10, rectangle(np.s_[:9], np.s_[:9]))
    together = means([empty, full])
    assert together["GRMSE"] == pytest.approx(5)
    assert together["LRMSE"] == pytest.approx(10)


def test_the_best_sample_is_the_one_with_the_highest_local_ssim() -> None:
    rows = [dict.fromkeys(METRICS, v) for v in (0.1, 0.7, 0.4)] + [dict.fromkeys(METRICS, np.nan)]
    assert best_by_lssim(rows)["LSSIM"] == 0.7
    assert means(rows)["LSSIM"] == pytest.approx(0.4)
