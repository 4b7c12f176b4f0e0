# SPDX-License-Identifier: GPL-3.0-or-later
"""The RiCS directions, their solid angles and their bits."""

from __future__ import annotations

import numpy as np
import pytest

from backend.rays.directions import RICS_DIRECTIONS, SOLID_ANGLES, pack_bits, unpack_bits


def test_order_of_the_directions() -> None:
    assert RICS_DIRECTIONS.shape == (62, 3)
    np.testing.assert_allclose(np.linalg.norm(RICS_DIRECTIONS, axis=1), 1, atol=1e-6)
    half, root = 0.5, np.sqrt(0.75)
    np.testing.assert_allclose(RICS_DIRECTIONS[0], [0, root, half], atol=1e-6)  # 30° from +y, toward the camera
    np.testing.assert_allclose(RICS_DIRECTIONS[24], [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(RICS_DIRECTIONS[27], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(RICS_DIRECTIONS[33], [-1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(RICS_DIRECTIONS[48 + 6], [0, -root, -half], atol=1e-6)
    np.testing.assert_allclose(RICS_DIRECTIONS[60:], [[0, 1, 0], [0, -1, 0]])


def test_solid_angles_are_the_voronoi_cells() -> None:
    spatial = pytest.importorskip("scipy.spatial")
    directions = RICS_DIRECTIONS.astype(np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cells = spatial.SphericalVoronoi(directions, threshold=1e-9)
    np.testing.assert_allclose(SOLID_ANGLES, cells.calculate_areas(), rtol=1e-5)
    np.testing.assert_allclose(SOLID_ANGLES.sum(dtype=np.float64), 4 * np.pi, rtol=1e-6)
    np.testing.assert_allclose(SOLID_ANGLES[[0, 24, 60]], [0.1373, 0.2682, 0.2189], atol=5e-5)


def test_bits_survive_packing() -> None:
    bits = np.random.default_rng(1).random((3, 5, 62)) < 0.5
    packed = pack_bits(bits)
    assert packed.shape == (3, 5)
    assert packed.dtype == np.uint64
    np.testing.assert_array_equal(unpack_bits(packed), bits)
    np.testing.assert_array_equal(pack_bits(np.eye(62, dtype=bool)), np.uint64(1) << np.arange(62, dtype=np.uint64))
    np.testing.assert_array_equal(unpack_bits(packed[::-1, ::2]), bits[::-1, ::2])
    np.testing.assert_array_equal(unpack_bits(packed[1, 2]), bits[1, 2])
    with pytest.raises(ValueError, match="62"):
        pack_bits(bits[..., :60])
