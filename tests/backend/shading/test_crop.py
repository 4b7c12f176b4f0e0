# SPDX-License-Identifier: GPL-3.0-or-later
"""The crop rule: square, centred, in place, and without the background's colour in the character's edge."""

from __future__ import annotations

import numpy as np

from backend.shading import crop


def coverage(height: int, width: int, top: int, left: int, bottom: int, right: int) -> np.ndarray:
    alpha = np.zeros((height, width), np.float32)
    alpha[top:bottom, left:right] = 1
    return alpha


def test_box_is_square_and_centred_with_ten_percent_margin() -> None:
    assert crop.crop_box(coverage(400, 600, 100, 200, 300, 260)) == (110, 80, 350, 320)
    assert crop.crop_box(np.zeros((40, 60))) is None


def test_a_character_cut_by_the_frame_keeps_its_place_and_scale() -> None:
    alpha = coverage(200, 300, 150, 0, 200, 50)
    box = crop.crop_box(alpha)
    assert box == (-5, 145, 55, 205)
    cut = crop.crop(alpha, box, size=60)
    assert cut[5:55, 5:55].min() == 1
    assert cut.sum() == 50 * 50


def test_coverage_weights_keep_the_background_out_of_colours_and_normals() -> None:
    alpha = coverage(256, 256, 64, 64, 191, 191)
    colour = np.where(alpha[..., None] > 0, np.array([0.8, 0.4, 0.2]), 0).astype(np.float32)
    box = (32, 32, 224, 224)
    cut, covered = crop.crop(colour, box, alpha, size=50), crop.crop(alpha, box, size=50)
    assert (covered > 0.01).sum() > (covered > 0.99).sum()  # there are partly covered pixels
    np.testing.assert_allclose(cut[covered > 0.01], np.tile([0.8, 0.4, 0.2], ((covered > 0.01).sum(), 1)), atol=1e-5)
    normals = np.where(alpha[..., None] > 0, np.array([0.6, 0, 0.8]), 0).astype(np.float32)
    lengths = np.linalg.norm(crop.crop_normals(normals, box, alpha, size=50), axis=-1)
    np.testing.assert_allclose(lengths[covered > 0.01], 1, atol=1e-5)
    assert not lengths[covered == 0].any()


def test_uncrop_puts_the_pixels_back() -> None:
    rng = np.random.default_rng(1)
    image = rng.random((90, 120, 3), np.float32)
    box = (30, -8, 94, 56)
    back = crop.uncrop(crop.crop(image, box, size=64), box, 120, 90)
    np.testing.assert_allclose(back[:56, 30:94], image[:56, 30:94], atol=1e-6)
    assert not back[56:].any()
    assert not back[:, :30].any()
