# SPDX-License-Identifier: GPL-3.0-or-later
"""Cast shadows against what a ball over a plane casts in closed form."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import trimesh

from backend.protocol import CHARACTER, HOLDOUT, PROP, RECEIVER, Camera, Mesh
from backend.rays import camera as cameras
from backend.rays.scene import RayScene
from backend.shading.probe import LightProbe, Sun
from backend.shadow.cast import cast_shadow, cast_shadows
from backend.shadow.ground import find_receiver, ground_height

RADIUS = 0.3
BALL = np.array([0.2, -0.1, 0.8])  # world
DARK = np.zeros((62, 3), np.float32)
NOTHING = np.zeros(3, np.float32)
TO_SUN = np.array([0.5, 0.25, 1.0]) / np.linalg.norm([0.5, 0.25, 1.0])  # world
# Looks down from z = 3; its x is world y and its y is world −x, so that no two axes stand for each other.
POSE = np.array([[0, -1, 0, 0.0], [1, 0, 0, 0.0], [0, 0, 1, 3.0], [0, 0, 0, 1]])


def overhead(size: int = 160) -> Camera:
    """Sees 4 m × 4 m of the ground around the world's origin."""
    return cameras.orthographic(size, size, 4.0, world_from_camera=POSE)


def in_camera(shape: trimesh.Trimesh, role: str) -> Mesh:
    moved = shape.copy().apply_transform(np.linalg.inv(POSE))
    normals = moved.vertex_normals[moved.faces].astype(np.float32)
    return Mesh(role, role, moved.vertices.astype(np.float32), moved.faces.astype(np.int32), normals)


def ball(centre: np.ndarray = BALL, radius: float = RADIUS, role: str = CHARACTER) -> Mesh:
    return in_camera(trimesh.creation.icosphere(5, radius).apply_translation(centre), role)


def slab(low: tuple[float, float, float], high: tuple[float, float, float], role: str) -> Mesh:
    return in_camera(trimesh.creation.box(bounds=[low, high]), role)


def sunlight(half_angle: float = 0.005, direction: np.ndarray = TO_SUN) -> LightProbe:
    sun = Sun(POSE[:3, :3].T @ direction, np.array([2.0, 1.5, 1.0]), half_angle)
    return LightProbe(DARK, np.full(3, 0.5, np.float32), (sun,), POSE[:3, :3])


def even_sky() -> LightProbe:
    return LightProbe(np.ones((62, 3), np.float32), NOTHING, (), POSE[:3, :3])


def ground_xy(size: int = 160) -> np.ndarray:
    """(H, W, 2) world x and y of the pixels of `overhead`."""
    x, y = np.meshgrid((np.arange(size) + 0.5) / size * 4 - 2, 2 - (np.arange(size) + 0.5) / size * 4)
    return np.stack([-y, x], -1)


def open_to_the_sky(centre: np.ndarray, radius: float, at: np.ndarray) -> float:
    """Cosine-weighted share of the hemisphere over a ground point that a ball leaves open: 1 − (r/D)² cos ϑ."""
    apart = centre - at
    distance = np.linalg.norm(apart)
    return 1 - (radius / distance) ** 2 * apart[2] / distance


def test_a_suns_shadow_of_a_ball_has_the_right_place_size_and_colour():
    ratio = cast_shadow(RayScene([ball()]), overhead(), sunlight(), height=0.0).ratio
    deepest = 0.5 / (0.5 + TO_SUN[2] * np.array([2.0, 1.5, 1.0]))
    dark = ratio[..., 0] < (1 + deepest[0]) / 2
    centre = ground_xy()[dark].mean(0)
    assert np.allclose(centre, BALL[:2] - TO_SUN[:2] / TO_SUN[2] * BALL[2], atol=0.02)
    assert dark.sum() * (4 / 160) ** 2 == pytest.approx(np.pi * RADIUS**2 / TO_SUN[2], rel=0.03)
    core = ratio[np.linalg.norm(ground_xy() - centre, axis=-1) < 0.15]
    assert np.allclose(core, deepest, atol=0.01)
    far = np.linalg.norm(ground_xy() - centre, axis=-1) > 0.5
    assert (ratio[far] == 1).all()
    assert ratio.dtype == np.float32
    assert ratio.min() > 0
    assert ratio.max() == 1


def test_a_penumbra_grows_with_the_suns_size():
    def share_between(half_angle: float) -> float:
        ratio = cast_shadow(RayScene([ball()]), overhead(), sunlight(half_angle), height=0.0).ratio[..., 0]
        depth = (1 - ratio) / (1 - ratio).max()
        return float(((depth > 0.1) & (depth < 0.9)).sum())

    narrow, wide = share_between(0.06), share_between(0.15)
    assert 1.7 < wide / narrow < 3.2


@pytest.mark.parametrize("height", [0.32, 0.8, 1.5])
def test_contact_darkens_as_an_even_skys_geometry_says(height: float):
    centre = np.array([0.2, -0.1, height])
    ratio = cast_shadow(RayScene([ball(centre)]), overhead(), even_sky(), height=0.0).ratio
    for offset in ([0, 0], [0.35, 0], [0, -0.5], [-0.8, 0.3]):
        at = np.array([*(centre[:2] + offset), 0.0])
        pixel = np.argmin(np.linalg.norm(ground_xy() - at[:2], axis=-1))
        expected = open_to_the_sky(centre, RADIUS, np.array([*ground_xy().reshape(-1, 2)[pixel], 0]))
        sharpness = 0.1 if height < 0.4 and offset == [0, 0] else 0.012  # at the contact, a picture this coarse blurs
        assert ratio.reshape(-1, 3)[pixel] == pytest.approx(expected, abs=sharpness)


def test_the_ground_is_under_the_lowest_vertex_unless_its_height_is_given():
    scene, camera = RayScene([ball()]), overhead()
    assert ground_height(scene, camera) == pytest.approx(BALL[2] - RADIUS, abs=1e-3)
    assert find_receiver(scene, camera, None).point[0, 0, 2] == pytest.approx(BALL[2] - RADIUS - 3, abs=1e-3)
    assert find_receiver(scene, camera, 0.25).point[0, 0, 2] == pytest.approx(-2.75, abs=1e-3)
    assert (cast_shadow(scene, camera, sunlight(), ground=False).ratio == 1).all()


def test_a_receiver_takes_the_planes_place_and_its_height():
    table = slab((-5, -5, 0.3), (5, 5, 0.4), RECEIVER)
    ratio = cast_shadow(RayScene([ball(), table]), overhead(), sunlight(), height=0.0).ratio
    dark = ratio[..., 0] < 0.5
    expected = BALL[:2] - TO_SUN[:2] / TO_SUN[2] * (BALL[2] - 0.4)
    assert np.allclose(ground_xy()[dark].mean(0), expected, atol=0.02)
    ledge = slab((-5, -5, 0.3), (-0.5, 5, 0.4), RECEIVER)  # ends before the shadow: nothing else receives
    assert (cast_shadow(RayScene([ball(), ledge]), overhead(), sunlight()).ratio == 1).all()


@pytest.mark.parametrize("role", [PROP, HOLDOUT, RECEIVER])
def test_ground_in_anothers_shadow_is_not_darkened_again(role: str):
    toward = np.array([0.0, 0.0, 1.0])
    roof = slab((-4, -4, 3.5), (0.2, 4, 3.6), role)  # above the camera, over the half of the ground with x < 0.2
    floor = [slab((-5, -5, -0.1), (5, 5, 0), RECEIVER)]
    ratio = cast_shadow(RayScene([ball(), roof, *floor]), overhead(), sunlight(direction=toward), height=0.0).ratio
    x = ground_xy()[..., 0]
    assert (ratio[x < 0.1] == 1).all()
    assert ratio[(x > 0.3) & (np.linalg.norm(ground_xy() - BALL[:2], axis=-1) < 0.2)].max() < 0.4


def test_shadows_of_several_characters_overlap_without_darkening_twice():
    toward = TO_SUN / TO_SUN[2]
    low = dataclasses.replace(ball(), name="low")
    high = dataclasses.replace(ball(BALL + 0.9 * toward + (0, 0.3, 0)), name="high")  # its shadow half covers the other
    characters = {"Low": ["low"], "High": ["high"]}
    casts = cast_shadows(RayScene([low, high]), overhead(), sunlight(), characters, height=0.0)
    parts = {name: cast.ratio for name, cast in casts.items()}
    together = cast_shadow(RayScene([low, high]), overhead(), sunlight(), height=0.0).ratio
    alone = [cast_shadow(RayScene([mesh]), overhead(), sunlight(), height=0.0).ratio for mesh in (low, high)]
    both = (alone[0][..., 0] < 0.25) & (alone[1][..., 0] < 0.25)
    assert both.sum() > 60
    np.testing.assert_array_equal(parts["Low"], alone[0])
    assert parts["High"][both].mean() > 0.97  # the light is gone already
    product = parts["Low"] * parts["High"]
    assert np.abs(product - together).mean() < 2e-3
    assert np.allclose(product[both], together[both], atol=0.02)


def test_a_holdout_in_front_receives_nothing_and_the_character_is_looked_through():
    toward = np.array([0.0, 0.0, 1.0])
    ball_only = cast_shadow(RayScene([ball()]), overhead(), sunlight(direction=toward), height=0.0).ratio
    behind_the_ball = np.linalg.norm(ground_xy() - BALL[:2], axis=-1) < 0.2
    assert ball_only[behind_the_ball].max() < 0.4
    screen = slab((-1, -1, 2.0), (-0.2, 1, 2.1), HOLDOUT)  # hides half of the shadow from the camera
    ratio = cast_shadow(RayScene([ball(), screen]), overhead(), sunlight(), height=0.0).ratio
    x = ground_xy()[..., 0]
    assert (ratio[(x > -1) & (x < -0.25)] == 1).all()
    assert ratio[x > -0.15].min() < 0.4


def test_nothing_above_the_horizon_nor_in_the_dark_changes():
    level = cameras.look_at((0, -4, 1), (0, 0, 1))
    camera = cameras.perspective(96, 64, 1.0, world_from_camera=level)
    moved = ball()
    vertices = moved.vertices @ POSE[:3, :3].T + POSE[:3, 3]
    vertices = (vertices - level[:3, 3]) @ level[:3, :3]
    scene = RayScene([dataclasses.replace(moved, vertices=vertices.astype(np.float32))])
    sun = Sun(level[:3, :3].T @ np.array([0.0, -0.6, 0.8]), np.ones(3), 0.01)
    light = LightProbe(DARK, NOTHING, (sun,), level[:3, :3])
    ratio = cast_shadow(scene, camera, light, height=0.0).ratio
    assert (ratio[:32] == 1).all()
    assert ratio[32:].min() < 0.4
    assert (cast_shadow(scene, camera, LightProbe(DARK, NOTHING)).ratio == 1).all()
    below = Sun(level[:3, :3].T @ np.array([0.0, 0.0, -1.0]), np.ones(3), 0.01)
    assert (cast_shadow(scene, camera, LightProbe(DARK, NOTHING, (below,))).ratio == 1).all()


def test_only_the_border_is_worked_on():
    camera = dataclasses.replace(overhead(), border=(0, 0, 80, 160))
    whole = cast_shadow(RayScene([ball()]), overhead(), sunlight(0.05), height=0.0).ratio
    part = cast_shadow(RayScene([ball()]), camera, sunlight(0.05), height=0.0).ratio
    assert (part[:, 80:] == 1).all()
    assert np.abs(part[:, :76] - whole[:, :76]).max() < 0.02
    assert part.min() < 0.5


def test_an_even_skys_shadow_is_smooth_and_fades_to_nothing():
    """No copy of the ball's outline for each ray: neighbours differ by little, and the far ground by nothing."""
    ratio = cast_shadow(RayScene([ball(np.array([0, 0, 0.8]))]), overhead(), even_sky(), height=0.0).ratio[..., 0]
    assert np.abs(np.diff(ratio, axis=0)).max() < 0.012
    curvature = np.diff(ratio, 2, axis=1)
    assert np.abs(curvature).max() < 0.006
    small = cast_shadow(RayScene([ball(np.array([0, 0, 0.1]), 0.05)]), overhead(), even_sky(), height=0.0).ratio
    assert (small[np.linalg.norm(ground_xy(), axis=-1) > 1.5] == 1).all()
    assert small.min() < 0.9
