# SPDX-License-Identifier: GPL-3.0-or-later
"""Nine harmonics: orthonormal, and right for the Lambertian shading of lights that nine numbers can tell."""

import numpy as np
import torch

from backend.objects.harmonics import LAMBERT, ambient, directional, harmonics, harmonics_of
from backend.shading.probe_fit import fibonacci_sphere

SPHERE = fibonacci_sphere(20000)
WEIGHT = np.full(len(SPHERE), 4 * np.pi / len(SPHERE))


def from_radiance(radiance: np.ndarray) -> np.ndarray:
    """(9, 3) of light from all around, (K, 3)."""
    return (LAMBERT * harmonics_of(SPHERE)).T @ (radiance * WEIGHT[:, None])


def test_the_basis_is_orthonormal():
    basis = harmonics_of(SPHERE)
    np.testing.assert_allclose((basis * WEIGHT[:, None]).T @ basis, np.eye(9), atol=1e-3)


def test_even_light_shades_evenly():
    light = ambient(np.array([0.2, 0.5, 1.5]))
    np.testing.assert_allclose(harmonics_of(SPHERE[::99]) @ light, np.full((203, 3), [0.2, 0.5, 1.5]), atol=1e-6)
    radiance = np.full((len(SPHERE), 3), 0.7)
    np.testing.assert_allclose(from_radiance(radiance), ambient(np.full(3, 0.7)), atol=1e-3)


def test_a_broad_light_shades_as_the_cosine_integral_says():
    toward = np.array([0.3, 0.8, 0.52])
    toward /= np.linalg.norm(toward)
    radiance = (1.0 + SPHERE @ toward)[:, None] * np.array([1.0, 0.5, 0.25])
    light = from_radiance(radiance)
    for normal in (toward, -toward, np.array([1.0, 0, 0]), np.array([0, 0, 1.0])):
        true = (np.maximum(SPHERE @ normal, 0) * WEIGHT) @ radiance / np.pi
        np.testing.assert_allclose(harmonics_of(normal) @ light, true, atol=2e-3)


def test_a_distant_light_is_brightest_where_it_comes_from():
    toward = np.array([0.0, 0.6, 0.8])
    light = directional(toward, np.array([1.0, 1.0, 1.0]))
    shading = (harmonics_of(SPHERE) @ light)[:, 0]
    assert SPHERE[shading.argmax()] @ toward > 0.999
    cosine = np.maximum(SPHERE @ toward, 0)
    assert np.sqrt(((shading - cosine) ** 2).mean()) < 0.04  # nine harmonics hold 99 % of a cosine lobe
    narrow = np.zeros((len(SPHERE), 3))
    narrow[np.argmax(SPHERE @ toward)] = np.pi / WEIGHT[0]  # the same light as a bright spot
    np.testing.assert_allclose(from_radiance(narrow), light, atol=0.03)


def test_torch_and_numpy_agree():
    np.testing.assert_allclose(harmonics(torch.tensor(SPHERE[:50])).numpy(), harmonics_of(SPHERE[:50]))
