# SPDX-License-Identifier: GPL-3.0-or-later
"""The light probe: fitted to known light, made from a known environment, turned, averaged, saved."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from backend.protocol import PenumbraError
from backend.rays.directions import RICS_DIRECTIONS, SOLID_ANGLES, pack_bits, pixel_directions
from backend.shading import probe as probes
from backend.shading.panorama import pixel_solid_angles
from backend.shading.probe import LightProbe, Sun

CENTRES = np.array([[0, 0, 0], [0, 0.45, 0.0], [0.35, -0.1, 0.25], [-0.35, 0.05, 0.1], [0.15, -0.5, 0.1]])
RADII = np.array([0.35, 0.2, 0.15, 0.15, 0.25])
NOTHING = np.zeros(3, np.float32)


def hidden(points: np.ndarray, normals: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(N, K) bool: the ray from each point of a character of balls starts into the surface or meets a ball."""
    hit = normals @ directions.T <= 0
    for centre, radius in zip(CENTRES, RADII, strict=True):
        to_centre = centre - points
        along = to_centre @ directions.T
        distance2 = (to_centre**2).sum(1)[:, None]
        hit |= (distance2 > (radius * 1.0001) ** 2) & (along > 0) & (distance2 - along**2 < radius**2)
    return hit


def seen_from_the_front(size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) and normals (N, 3) of the balls that an orthographic camera on +z sees."""
    step = (np.arange(size) + 0.5) / size * 1.6 - 0.8
    x, y = np.meshgrid(step, -step)
    front, normal = np.full((size, size), -np.inf), np.zeros((size, size, 3))
    for centre, radius in zip(CENTRES, RADII, strict=True):
        inside = radius**2 - (x - centre[0]) ** 2 - (y - centre[1]) ** 2
        depth = np.where(inside > 0, centre[2] + np.sqrt(np.maximum(inside, 0)), -np.inf)
        nearer = depth > front
        front = np.where(nearer, depth, front)
        here = (np.stack([x, y, np.where(nearer, depth, 0)], -1) - centre) / radius
        normal = np.where(nearer[..., None], here, normal)
    mask = np.isfinite(front)
    return np.stack([x, y, front], -1)[mask], normal[mask]


POINTS, NORMALS = seen_from_the_front()
VISIBLE = ~hidden(POINTS, NORMALS, RICS_DIRECTIONS)


def sun_visibility(directions: np.ndarray) -> np.ndarray:
    return ~hidden(POINTS, NORMALS, directions)


def sky(seed: int = 0) -> np.ndarray:
    """A smooth coloured sky with a bright side."""
    side = np.random.default_rng(seed).normal(size=3)
    side /= np.linalg.norm(side)
    return (0.3 + np.maximum(RICS_DIRECTIONS @ side, 0)[:, None] * [1.5, 1.0, 0.6]).astype(np.float32)


def explained(truth: np.ndarray, estimate: np.ndarray) -> float:
    return 1 - ((truth - estimate) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum()


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def total_light(probe: LightProbe) -> np.ndarray:
    suns = sum((sun.irradiance for sun in probe.suns), np.zeros(3))
    return (SOLID_ANGLES[:, None] * probe.radiance).sum(0) + np.pi * suns


@pytest.mark.parametrize("as_bits", [True, False])
def test_fit_recovers_a_skys_shading_despite_noise_and_outliers(as_bits: bool):
    truth = LightProbe(sky(), np.array([0.05, 0.05, 0.08]))
    shading = truth.shade(VISIBLE, NORMALS)
    random = np.random.default_rng(1)
    seen = shading * random.lognormal(0, 0.05, shading.shape)
    seen[random.random(len(seen)) < 0.03] = 9
    seen[0] = np.nan
    fitted = probes.fit(seen, pack_bits(~VISIBLE) if as_bits else VISIBLE, NORMALS)
    assert explained(shading, fitted.shade(VISIBLE, NORMALS)) > 0.99
    assert fitted.radiance.min() >= 0
    assert angle(fitted.dominant_direction, truth.dominant_direction) < 10


def test_unseen_directions_continue_what_their_neighbours_show():
    """Light from behind reaches no point that the camera sees: neither darkness nor nonsense may stand there."""
    even = LightProbe(np.ones((62, 3), np.float32), NOTHING)
    fitted = probes.fit(even.shade(VISIBLE, NORMALS), VISIBLE, NORMALS)
    behind = RICS_DIRECTIONS[:, 2] < -0.8
    assert fitted.radiance[behind].min() > 0.5
    assert fitted.radiance[behind].max() < 1.5


@pytest.mark.parametrize("direction", [[0.5, 0.6, 0.62], [-0.8, 0.3, 0.5], [0.1, 0.9, -0.2]])
def test_fit_finds_a_sun(direction: list[float]):
    direction = np.array(direction) / np.linalg.norm(direction)
    sun = Sun(direction, np.array([3.0, 2.5, 2.0]), 0.005)
    truth = LightProbe(sky(2), NOTHING, (sun,))
    shading = truth.shade(VISIBLE, NORMALS, sun_visibility(direction[None]))
    shading *= np.random.default_rng(3).lognormal(0, 0.05, shading.shape)
    fitted = probes.fit(shading, VISIBLE, NORMALS, sun_visibility=sun_visibility)
    assert len(fitted.suns) == 1
    assert angle(fitted.suns[0].direction, direction) < 2
    assert np.allclose(fitted.suns[0].irradiance, sun.irradiance, rtol=0.15)


def test_fit_finds_no_sun_in_a_soft_sky():
    shading = LightProbe(sky(4), NOTHING).shade(VISIBLE, NORMALS)
    shading *= np.random.default_rng(5).lognormal(0, 0.05, shading.shape)
    assert not probes.fit(shading, VISIBLE, NORMALS, sun_visibility=sun_visibility).suns


def test_confidence_falls_with_noise_and_with_unseen_normals():
    shading = LightProbe(sky(), NOTHING).shade(VISIBLE, NORMALS)
    noise = np.random.default_rng(6).lognormal(0, 0.8, shading.shape)
    flat = np.abs(NORMALS[:, 0]) < 0.1
    clear = probes.fit(shading, VISIBLE, NORMALS).confidence
    assert clear > 0.6
    assert probes.fit(shading * noise, VISIBLE, NORMALS).confidence < 0.7 * clear
    assert probes.fit(shading[flat], VISIBLE[flat], NORMALS[flat]).confidence < 0.3 * clear


def test_fit_without_a_point_is_refused():
    with pytest.raises(ValueError, match="no point"):
        probes.fit(np.ones((5, 3)), VISIBLE[:5], NORMALS[:5], np.zeros(5))


def environment(direction: np.ndarray, radius: float = 0.03, strength: float = 600.0) -> np.ndarray:
    """(256, 512, 3) a dim two-coloured sky with an even disc of light."""
    toward = pixel_directions(256, 512)
    image = np.where(toward[..., 2:] > 0, [0.4, 0.5, 0.7], [0.2, 0.15, 0.1])
    image[toward @ direction > np.cos(radius)] += np.array([1.0, 0.9, 0.7]) * strength
    return image.astype(np.float32)


def test_an_environment_keeps_its_energy_and_gives_its_sun():
    direction = np.array([0.48, -0.64, 0.6])
    image = environment(direction)
    camera = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0.0]])  # the camera's −z looks along world −x, its y is world z
    true = LightProbe.from_environment(image, camera)
    energy = (image * pixel_solid_angles(256, 512)[..., None]).sum((0, 1))
    assert np.allclose(total_light(true), energy, rtol=1e-4)
    assert len(true.suns) == 1
    assert angle(true.suns[0].direction, camera.T @ direction) < 0.3
    assert true.suns[0].half_angle == pytest.approx(0.03, rel=0.15)
    assert np.allclose(true.suns[0].irradiance, np.array([1, 0.9, 0.7]) * 600 * 0.03**2, rtol=0.1)
    assert true.radiance[60, 2] > 5 * true.radiance[61, 2]  # +y is the blue sky
    # In closed form: the sun's irradiance along its direction, and the two half skies' difference upward.
    luminance = np.array([0.2126, 0.7152, 0.0722])
    vector = true.suns[0].irradiance @ luminance * direction
    vector[2] += luminance @ [0.2, 0.35, 0.6]
    assert angle(true.dominant_direction_world, vector / np.linalg.norm(vector)) < 1
    assert true.strength == pytest.approx(np.linalg.norm(vector), rel=0.02)


def test_an_environments_columns_run_as_blenders_do():
    """Centre: world +x. A quarter from the left: world +y."""
    image = np.full((64, 128, 3), 0.1, np.float32)
    image[24:40, 24:40] = 5
    light = LightProbe.from_environment(image, np.eye(3), max_suns=0)
    assert angle(light.dominant_direction_world, np.array([0, 1, 0])) < 5


def test_a_disc_of_light_shades_alike_as_a_sun_and_in_its_cell():
    image = environment(RICS_DIRECTIONS[16].astype(float), 0.05, 100)
    normal, visible = RICS_DIRECTIONS[16:17], np.ones((1, 62))
    with_sun = LightProbe.from_environment(image, np.eye(3))
    without = LightProbe.from_environment(image, np.eye(3), max_suns=0)
    assert len(with_sun.suns) == 1
    assert np.allclose(with_sun.shade(visible, normal), without.shade(visible, normal), rtol=0.03)


def test_turning_the_camera_leaves_the_light_in_the_world():
    image = environment(np.array([0.48, -0.64, 0.6]))
    turn = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    there = LightProbe.from_environment(image, np.eye(3)).seen_from(turn)
    expected = LightProbe.from_environment(image, turn)
    assert np.allclose(there.suns[0].direction, expected.suns[0].direction, atol=1e-6)
    assert np.allclose(total_light(there), total_light(expected), rtol=0.01)
    assert angle(there.dominant_direction, expected.dominant_direction) < 1
    assert np.corrcoef(there.radiance.ravel(), expected.radiance.ravel())[0, 1] > 0.95
    same = there.seen_from(turn)
    assert np.allclose(same.radiance, there.radiance, atol=1e-6)


def test_strength_is_the_difference_between_facing_light_and_facing_away():
    light = LightProbe(sky(8), NOTHING, (Sun(np.array([0, 0.6, 0.8]), np.ones(3), 0.01),))
    facing = np.stack([light.dominant_direction, -light.dominant_direction]).astype(np.float32)
    shading = light.shade(np.ones((2, 62)), facing) @ [0.2126, 0.7152, 0.0722]
    assert shading[0] - shading[1] == pytest.approx(light.strength, rel=0.03)


def test_a_mean_of_frames_keeps_one_sun_and_the_energy():
    sun = np.array([0, 0.6, 0.8])
    near = np.array([0.1, 0.6, 0.79]) / np.linalg.norm([0.1, 0.6, 0.79])
    a = LightProbe(sky(9), NOTHING, (Sun(sun, np.ones(3) * 2, 0.01),))
    b = LightProbe(sky(9), NOTHING, (Sun(near, np.ones(3) * 4, 0.03),))
    c = LightProbe(sky(9), NOTHING)
    both = probes.mean([a, b, c], [1, 1, 2], np.eye(3))
    assert len(both.suns) == 1
    assert np.allclose(both.suns[0].irradiance, 1.5)
    assert angle(both.suns[0].direction, near) < angle(both.suns[0].direction, sun) < 6
    expected = (total_light(a) + total_light(b) + 2 * total_light(c)) / 4
    assert np.allclose(total_light(both), expected, rtol=0.01)


def with_spread_sun() -> LightProbe:
    """A sun a third of which lies in the cells about it."""
    sun = Sun(np.array([0, 0.6, 0.8]), np.array([2.0, 1.6, 1.2]), 0.01, 1.5)
    shares = np.maximum(RICS_DIRECTIONS @ sun.direction, 0) ** 4
    spread = (np.pi * shares / (SOLID_ANGLES @ shares))[:, None] * 0.5 * sun.irradiance
    return LightProbe(np.float32(sky(3) + spread), NOTHING, (sun,), spread=np.float32(spread))


def test_gathered_a_sun_has_all_its_light_and_its_shadow_the_depth_of_those_in_the_plate():
    light = with_spread_sun()
    assert np.allclose(total_light(light.gathered), total_light(light), rtol=1e-5)
    assert np.allclose(light.gathered.radiance, sky(3), atol=1e-6)
    assert np.allclose(light.gathered.suns[0].irradiance, [3.0, 2.4, 1.8])
    for changed in (light.scaled(2), light.turned(0.7), probes.mean([light, light.scaled(3)], [1, 1], np.eye(3))):
        assert np.allclose(total_light(changed.gathered), total_light(changed), rtol=0.01)
        assert changed.gathered.radiance.min() > -1e-3


def test_saved_and_loaded_it_is_the_same_light(tmp_path: Path):
    light = dataclasses.replace(with_spread_sun(), constant=np.array([0.1, 0.2, 0.3]), confidence=0.7)
    light.save(tmp_path / "probe.json")
    loaded = LightProbe.load(tmp_path / "probe.json")
    assert np.allclose(loaded.gathered.radiance, light.gathered.radiance)
    assert np.allclose(loaded.gathered.suns[0].irradiance, light.gathered.suns[0].irradiance)
    assert np.allclose(loaded.radiance, light.radiance)
    assert np.allclose(loaded.constant, light.constant)
    assert np.allclose(loaded.suns[0].direction, light.suns[0].direction)
    assert (loaded.suns[0].half_angle, loaded.confidence) == (0.01, 0.7)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("text", ["", "{}", '{"radiance": [[1, 2, 3]]}'])
def test_a_file_that_is_no_probe_is_named(tmp_path: Path, text: str):
    (tmp_path / "probe.json").write_text(text)
    with pytest.raises(PenumbraError, match=r"probe\.json"):
        LightProbe.load(tmp_path / "probe.json")
