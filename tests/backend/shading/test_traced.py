# SPDX-License-Identifier: GPL-3.0-or-later
"""The tracer against closed forms and against Cycles, and the frames that come of it against the light probe."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

pytest.importorskip("embreex")

from backend.rays.directions import pixel_directions, unpack_bits
from backend.rays.rics import light_visibility, trace
from backend.rays.scene import RayScene
from backend.shading.environments import Environment, sky
from backend.shading.formula import shade
from backend.shading.frames import Tracer, Views, frames
from backend.shading.moments import Moment
from backend.shading.probe import Sun
from backend.shading.traced import Skin
from tests.backend.shading.things import ball, moment_of, skin

WHITE, RED = (0.8, 0.8, 0.8), (0.7, 0.02, 0.02)


def even(level: float = 1.0, suns: tuple[Sun, ...] = ()) -> Environment:
    image = np.full((256, 512, 3), level, np.float32)
    return Environment("even", image, image, suns)


def normals_in_world(moment: Moment, views: Views, view: int) -> np.ndarray:
    return views[view]["normal"] @ moment.shots[view].crop.world_from_camera[:3, :3].T


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    return Tracer()


def test_a_ball_far_above_the_ground_in_even_light(tracer: Tracer) -> None:
    """Shading is the open sky's share plus the ground's, albedo 0.6 × shading 1 from below."""
    moment = moment_of([ball(0.5, (0, 0, 0.8), WHITE, "ball")], [even()], level=-60.0)
    views = tracer.render(moment)
    for view in range(3):
        up = normals_in_world(moment, views, view)[..., 2]
        covered = views[view]["alpha"] > 0.99
        expected = (1 + up) / 2 + 0.6 * (1 - up) / 2
        assert np.abs(views[view]["shading"][0] - expected[..., None])[covered].max() < 0.03


def test_a_sun_lights_the_side_it_stands_on(tracer: Tracer) -> None:
    toward = np.array([0.6, -0.64, 0.48])
    sun = Sun(toward, np.array([2.0, 1.0, 0.5]), 0.005)
    moment = moment_of([ball(0.5, (0, 0, 0.8), WHITE, "ball")], [even(0.0, (sun,))], level=-60.0)
    views = tracer.render(moment)
    for view in range(3):
        facing = np.maximum(normals_in_world(moment, views, view) @ toward, 0)
        covered = views[view]["alpha"] > 0.99
        bounce = 0.04 * toward[2] * 2  # of the ground, whose albedo is the least there is
        error = views[view]["shading"][0] - facing[..., None] * sun.irradiance
        assert np.abs(error)[covered].max() < 0.04 + bounce
        assert facing[covered].max() > 0.9


def test_colours_bleed_and_bodies_shadow_the_ground(tracer: Tracer) -> None:
    """A white ball on the ground, beside a red wall and without it."""
    wall = trimesh.creation.box((0.1, 1.5, 1.5))
    wall.apply_translation((0.65, 0, 0.75))
    white = ball(0.5, (0, 0, 0.5), WHITE, "ball")
    with_wall = tracer.render(moment_of([white, skin(wall, RED, "wall", smooth=False)], [even()]))[1]
    alone = tracer.render(moment_of([white], [even()]))[1]
    seen = (alone["alpha"] > 0.99) & (with_wall["albedo"][..., 1] > 0.7)
    right = seen & (alone["normal"][..., 0] > 0.6)  # the front camera has the wall on its right
    shading = with_wall["shading"][0][right].mean(0)
    assert shading[0] > 1.2 * shading[1]
    assert (shading < 0.9 * alone["shading"][0][right].mean(0)).all()
    foot = (alone["alpha"] > 0.99) & (alone["normal"][..., 1] < -0.5)
    aloft = tracer.render(moment_of([white], [even()], level=-60.0))[1]
    assert alone["shading"][0][foot].mean() < 0.9 * aloft["shading"][0][foot].mean()


def room() -> Environment:
    """Light from some sides only, in colours."""
    directions = pixel_directions(256, 512)
    image = np.full((256, 512, 3), 0.15, np.float32)
    for toward, colour, size in (
        ((0.8, -0.5, 0.4), (6.0, 4.0, 2.0), 0.85),
        ((-0.7, -0.2, 0.7), (0.5, 1.5, 4.0), 0.9),
        ((0.1, 0.9, 0.3), (1.0, 5.0, 1.0), 0.9),
    ):
        image[directions @ np.array(toward) / np.linalg.norm(toward) > size] = colour
    sun = Sun(np.array([-0.48, -0.6, 0.64]), np.array([1.5, 1.2, 0.9]), np.radians(1.0))
    return Environment("room", image, image, (sun,))


def crowd() -> list[Skin]:
    box = trimesh.creation.box((0.5, 0.5, 0.9))
    box.apply_translation((0.5, 0.1, 0.45))
    return [
        ball(0.4, (-0.3, 0.0, 0.4), WHITE, "low"),
        ball(0.25, (-0.2, -0.2, 1.05), (0.2, 0.6, 0.3), "high"),
        skin(box, RED, "box", smooth=False),
    ]


@pytest.mark.slow
def test_cycles_agrees(tracer: Tracer) -> None:
    """Axes of panoramas, suns, cameras, the ground and the bounce, all at once; a mirrored light must not agree."""
    pytest.importorskip("bpy")
    from scripts.scenes.cycles_frame import Stage

    lights = [room(), room().mirrored()]
    moment = moment_of(crowd(), lights)
    views = tracer.render(moment)
    stage = Stage(samples=64, denoise=True)
    stage.person(moment.identity, moment.skins)
    errors = np.empty((2, 2, 3))
    for i, light in enumerate(lights):
        stage.light(light, moment.level)
        for v, shot in enumerate(moment.shots):
            truth = stage.render(shot.crop)
            seen = (truth["alpha"] > 0.99) & (views[v]["alpha"] > 0.99)
            assert seen.sum() > 1500
            for j in range(2):
                difference = np.abs(views[v]["shading"][j] - truth["shading"])[seen].mean()
                errors[i, j, v] = difference / truth["shading"][seen].mean()
            assert np.abs(views[v]["alpha"] - truth["alpha"]).mean() < 0.003
            assert np.abs(views[v]["albedo"] - truth["albedo"])[seen].mean() < 0.01
            assert np.abs(views[v]["normal"] - truth["normal"])[seen].mean() < 0.02
    assert max(errors[0, 0].max(), errors[1, 1].max()) < 0.1
    assert min(errors[0, 1].min(), errors[1, 0].min()) > 0.2


@pytest.mark.slow
def test_cycles_takes_each_person_for_themselves() -> None:
    """Images of people that come and go must not be taken for each other."""
    pytest.importorskip("bpy")
    from scripts.scenes.cycles_frame import Stage

    stage = Stage(samples=1, denoise=False)
    random = np.random.default_rng(0)
    for person in range(8):
        colours = random.uniform(0.05, 0.9, (2 + person % 3, 3))
        balls = [ball(0.2, (0.45 * i - 0.7, 0, 0.8), tuple(c), f"part {i}") for i, c in enumerate(colours)]
        moment = moment_of(balls, [even()])
        stage.person(f"person {person}", moment.skins)
        stage.light(moment.lights[0], moment.level)
        truth = stage.render(moment.shots[1].crop)
        seen = truth["albedo"][truth["alpha"] > 0.99]
        for colour in colours:
            assert (np.abs(seen - colour).max(1) < 0.01).sum() > 100


def test_frames_hold_the_light_that_shades_them(tracer: Tracer) -> None:
    """The stored cells, suns, camera, RiCS map and exposure give the stored shading, by the probe's formula."""
    moment = moment_of([ball(0.4, (-0.2, 0, 0.5), WHITE, "a"), ball(0.3, (0.3, -0.2, 0.9), RED, "b")], [sky(1), sky(4)])
    arrays = frames(moment, tracer.render(moment), np.random.default_rng(0))
    assert {name: (a.shape, str(a.dtype)) for name, a in arrays.items() if a.dtype.kind != "U"} == {
        "albedo": ((3, 128, 128, 3), "float16"),
        "normal": ((3, 128, 128, 3), "float16"),
        "alpha": ((3, 128, 128), "uint8"),
        "rics": ((3, 128, 128), "uint64"),
        "box": ((3, 4), "float32"),
        "shading": ((3, 2, 128, 128, 3), "float16"),
        "plate": ((3, 2, 128, 128, 3), "uint8"),
        "radiance": ((3, 2, 62, 3), "float32"),
        "suns": ((3, 2, 2, 7), "float32"),
        "projection": ((3, 4, 4), "float64"),
        "world_from_camera": ((3, 4, 4), "float64"),
        "frame": ((3,), "int32"),
        "view": ((3,), "int32"),
    }
    for v, shot in enumerate(moment.shots):
        skins = [s.moved(np.linalg.inv(arrays["world_from_camera"][v])) for s in moment.skins]
        covered = arrays["alpha"][v] == 255
        visible = ~unpack_bits(arrays["rics"][v])[covered]
        for light in range(2):
            suns = [Sun(s[:3], s[3:6], s[6]) for s in arrays["suns"][v, light] if s[3:6].any()]
            assert len(suns) == len(moment.lights[light].suns) > 0
            scene = RayScene([s.mesh for s in skins])
            surface = trace(scene, shot.crop)
            lit = light_visibility(scene, surface, np.array([s.direction for s in suns]))
            lit = lit[covered[surface.valid]]
            normals = arrays["normal"][v][covered].astype(np.float32)
            again = shade(arrays["radiance"][v, light], np.zeros(3), visible, normals, suns, lit)
            stored = arrays["shading"][v, light][covered].astype(np.float32)
            assert np.abs(again - stored).mean() / stored.mean() < 0.12
            assert 0.1 < stored.mean() < 3
