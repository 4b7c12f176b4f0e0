# SPDX-License-Identifier: GPL-3.0-or-later
"""The traced shadow data: what is rendered, what a shard holds, and DESOBAv2's layout."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from backend.protocol import CHARACTER, PROP, PenumbraError
from backend.rays.camera import look_at, perspective, project
from backend.shading.environments import Environment
from backend.shading.moments import Sources
from backend.shading.probe import Sun
from backend.shadow import things, traced
from backend.shadow.examples import collate, cropped, example, mirrored
from backend.shadow.lamps import Lamp
from backend.shadow.scenes import ShadowScene, scenes
from backend.shadow.tuples import DESOBA, Desoba, Shards
from scripts import shadow_dataset

SIZE = 96
TO_SUN = np.array([0.6, 0.2, 0.7]) / np.linalg.norm([0.6, 0.2, 0.7])


def scene(bos: bool = True) -> ShadowScene:
    """A pole at the origin and a box to its left, under a sun from the right, on grey ground."""
    random = np.random.default_rng(0)
    grey = np.full((4, 4, 3), 0.4, np.float32)
    floor, _ = things.ground("level", random)
    pole = trimesh.creation.box((0.2, 0.2, 1.5)).apply_translation((0, 0, 0.75))
    block = trimesh.creation.box((0.5, 0.5, 0.8)).apply_translation((-1.6, 0.8, 0.4))
    skins = [things.skin_of(pole, grey, CHARACTER, "pole", 1.0)]
    skins += [things.skin_of(block, grey, PROP, "block", 1.0)] if bos else []
    camera = perspective(SIZE, SIZE, np.radians(50), world_from_camera=look_at((0, -5, 2.5), (-0.5, 0, 0.3)))
    sky = np.full((256, 512, 3), 0.3, np.float32)
    light = Environment("even", np.repeat(np.repeat(sky, 2, 0), 2, 1), sky, (Sun(TO_SUN, np.full(3, 2.0), 0.005),))
    return ShadowScene("pole", bos, [*skins, *floor], camera, light)


LAMP = Lamp(np.array([1.2, -0.4, 2.2]), 0.05, np.array([40.0, 35.0, 30.0]))


def by_lamp() -> ShadowScene:
    """The same under a lamp on the right in place of the sun."""
    shown = scene()
    return dataclasses.replace(shown, light=dataclasses.replace(shown.light, suns=()), lamp=LAMP)


@pytest.fixture(scope="module")
def picture() -> traced.Picture:
    return traced.render(scene())


def test_the_framing_does_not_tell_where_the_light_comes_from() -> None:
    """A camera that always has the shadow in view puts the object on the light's side of the frame."""
    sides, lights = [], []
    for shown in scenes(Sources("train", [], []), 3, 0, 32, SIZE):
        if not shown.light.suns:
            continue
        pose = shown.camera.world_from_camera
        points = np.concatenate([s.mesh.vertices for s in shown.skins if s.mesh.role == CHARACTER])
        pixels, _ = project(shown.camera, (points - pose[:3, 3]) @ pose[:3, :3])
        sides.append(pixels[:, 0].mean() / SIZE - 0.5)
        lights.append(shown.light.suns[0].direction @ pose[:3, 0])
    assert len(sides) > 20
    assert abs(np.corrcoef(sides, lights)[0, 1]) < 0.55


def test_a_lamps_light_fades_and_its_shadows_spread() -> None:
    shown = by_lamp()
    picture = traced.render(shown)

    def shadow_tip(corner: tuple[float, float, float]) -> np.ndarray:
        """Where a line from the lamp through a point meets the ground."""
        away = np.array(corner) - LAMP.place
        return LAMP.place + away * LAMP.place[2] / -away[2]

    in_pole, in_block = (0.8 * shadow_tip(top) + 0.2 * np.array(foot) for top, foot in (
        ((0, 0, 1.5), (0, 0, 0)), ((-1.6, 0.8, 0.8), (-1.6, 0.8, 0)),
    ))  # fmt: skip
    assert picture.target[at(shown, in_pole)].mean() < 0.75 * picture.composite[at(shown, in_pole)].mean()
    assert picture.composite[at(shown, in_block)].mean() < 0.75 * picture.open[at(shown, in_block)].mean()
    dark = traced.render(dataclasses.replace(shown, lamp=None))
    for point in ((0.6, -0.3, 0), (-3.0, 1.5, 0)):
        place = at(shown, point)
        pose = shown.camera.world_from_camera
        toward = LAMP.place - pose[:3, :3] @ picture.points[place] - pose[:3, 3]
        found = 0.3 * (picture.open[place] / dark.open[place] - 1)  # by the sky's shading, whatever the texture
        np.testing.assert_allclose(found, LAMP.intensity * toward[2] / np.linalg.norm(toward) ** 3, rtol=0.02)
    direction = picture.probe.dominant_direction @ shown.camera.world_from_camera[:3, :3].T
    assert direction @ (LAMP.place - [0, 0, 0.75]) / np.linalg.norm(LAMP.place - [0, 0, 0.75]) > np.cos(np.radians(15))


def at(shown: ShadowScene, point: tuple[float, float, float]) -> tuple[int, int]:
    pose = shown.camera.world_from_camera
    pixel, _ = project(shown.camera, (np.array(point) - pose[:3, 3]) @ pose[:3, :3])
    return int(pixel[1]), int(pixel[0])


def test_shadows_fall_away_from_the_sun_and_each_has_its_picture(picture: traced.Picture) -> None:
    shown = scene()
    reach = -0.6 / 0.7
    of_pole = at(shown, (0.7 * reach, 0.7 * reach / 3, 0.0))
    of_block = at(shown, (-1.6 + 0.75 * reach, 0.8 + 0.75 * reach / 3, 0.0))
    lit = at(shown, (1.0, 0.3, 0.0))
    sky_share = 0.3 / (0.3 + 2.0 * 0.7 / np.linalg.norm([0.6, 0.2, 0.7]))
    for place, composite, target in ((of_pole, 1.0, sky_share), (of_block, sky_share, sky_share), (lit, 1.0, 1.0)):
        open_ = picture.open[place].mean()
        assert picture.composite[place].mean() / open_ == pytest.approx(composite, abs=0.12)
        assert picture.target[place].mean() / open_ == pytest.approx(target, abs=0.12)
    assert picture.object[at(shown, (0, -0.1, 0.7))]
    assert picture.others[at(shown, (-1.6, 0.55, 0.4))]
    np.testing.assert_array_equal(picture.composite[picture.object], picture.target[picture.object])


@pytest.mark.slow
@pytest.mark.parametrize(("shown", "gloss"), [(scene(), 0.1), (by_lamp(), 0.25)], ids=["sun", "lamp"])
def test_cycles_draws_the_same_three_pictures(shown: ShadowScene, gloss: float) -> None:
    """gloss: what the traced tier lacks, a lamp's mirror image above all."""
    pytest.importorskip("bpy")
    from scripts.scenes.shadow_scene import ShadowStage

    picture, truth = traced.render(shown), ShadowStage(samples=8).render(shown)
    pairs = ((truth.open, picture.open), (truth.composite, picture.composite), (truth.target, picture.target))
    for theirs, ours in pairs:
        error = np.abs(cv2.blur(theirs - ours, (9, 9)))  # fine textures are filtered in other ways
        assert error[picture.valid].mean() < gloss * ours[picture.valid].mean()
    ground = picture.valid & ~picture.object & ~picture.others
    for before, after in itertools.pairwise(pairs):
        theirs, ours = (after[i].mean(-1) < 0.6 * before[i].mean(-1) for i in (0, 1))
        assert (theirs & ours & ground).sum() > 0.8 * ((theirs | ours) & ground).sum()
    np.testing.assert_array_equal(truth.composite[truth.object], truth.target[truth.object])
    assert (truth.target == truth.composite).all(-1)[ground].mean() > 0.5


def test_a_tuple_tells_masks_light_and_a_photograph_that_differs_in_the_shadow_only(picture: traced.Picture) -> None:
    shown = scene()
    one = traced.arrays(shown, picture, np.random.default_rng(3))
    shadow = one["shadow"] > 127
    assert traced.worth_showing(one)
    assert bool(one["bos"]) and bool(one["trusted"])  # noqa: PT018
    np.testing.assert_allclose(one["light"], TO_SUN @ shown.camera.world_from_camera[:3, :3], atol=1e-4)
    far = cv2.dilate((one["ratio"].astype(np.float32).min(-1) < 0.999).astype(np.uint8), np.ones((19, 19))) == 0
    assert far.mean() > 0.3
    np.testing.assert_array_equal(one["composite"][far], one["target"][far])
    assert one["composite"][shadow].mean() - one["target"][shadow].mean() > 30
    assert not (shadow & (one["object"] > 127)).any()
    assert (one["background_shadow"] > 127).sum() > 20


def test_data_is_made_resumed_and_read(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    shadow_dataset.add_arguments(parser)
    given = ["--tier", "traced", "--split", "train", "--size", "32", "--shard", "3", "--out", str(tmp_path), "--tuples"]
    shadow_dataset.make(parser.parse_args([*given, "3"]))
    first = (tmp_path / "shard_00000.npz").read_bytes()
    shadow_dataset.make(parser.parse_args([*given, "6"]))
    assert (tmp_path / "shard_00000.npz").read_bytes() == first
    assert len(list(tmp_path.glob("shard_*.npz"))) == 2
    with pytest.raises(PenumbraError, match="another way"):
        shadow_dataset.make(parser.parse_args([*given, "6", "--seed", "1"]))
    data = Shards([tmp_path])
    one = data[0]
    pixels, _ = project(one.points.camera, one.points.points[one.points.valid])
    row, column = np.nonzero(one.points.valid)
    assert np.abs(pixels - np.stack([column, row], -1) - 0.5).max() < 0.5
    batch = collate([example(data[0], 32), example(data[0], 32, np.random.default_rng(0))])
    assert batch.composite.shape == (2, 3, 32, 32)
    assert batch.points.shape == (2, 3, 32, 32)
    kept_small, reduced = (example(d[0], 16) for d in (Shards([tmp_path], size=16), data))
    for name, values in reduced.items():
        np.testing.assert_allclose(kept_small[name], values, atol=1e-3, err_msg=name)


def test_a_mirrored_example_is_the_mirrored_scene() -> None:
    shown = scene()
    one = traced.arrays(shown, traced.render(shown), np.random.default_rng(3))
    arrays = {"points": one["points"].astype(np.float32).transpose(2, 0, 1), "light": one["light"]}
    other = mirrored({**arrays, "object": one["object"][None]})
    assert other["light"][0] == -one["light"][0]
    assert (other["object"][0] == one["object"][:, ::-1]).all()
    row, column = 80, 20
    np.testing.assert_allclose(
        other["points"][:, row, SIZE - 1 - column], arrays["points"][:, row, column] * [-1, 1, 1]
    )


def test_a_cropped_example_holds_its_object_and_every_pixel_its_point() -> None:
    ramp = np.stack([*np.mgrid[0:SIZE, 0:SIZE], np.zeros((SIZE, SIZE))]).astype(np.float32)
    object_ = np.zeros((1, SIZE, SIZE), bool)
    object_[:, 20:50, 60:70] = True
    arrays = {"composite": ramp, "points": ramp, "object": object_, "light": np.float32([0, 0, 1])}
    sides = set()
    for seed in range(20):
        part = cropped(arrays, np.random.default_rng(seed))
        step = part["composite"][0].max() - part["composite"][0].min()
        sides.add(round(float(step)))
        np.testing.assert_allclose(part["composite"], part["points"], atol=1)
        assert part["object"].sum() == pytest.approx(300 * (SIZE / (step + 1)) ** 2, rel=0.1)
        assert (part["light"] == arrays["light"]).all()
    assert len(sides) > 8
    assert min(sides) > 0.5 * SIZE


def write_desoba(folder: Path, names: tuple[str, ...] = ("a", "b")) -> None:
    """Two pictures in DESOBAv2's layout: an object, its shadow, and in the first one the shadow of another thing."""
    random = np.random.default_rng(0)
    for n, name in enumerate(names):
        composite = random.integers(120, 200, (40, 40, 3)).astype(np.uint8)
        target = composite.copy()
        target[20:30, 20:30] //= 2
        masks = {
            k: np.zeros((40, 40), np.uint8) for k in ("object", "shadow", "background_object", "background_shadow")
        }
        masks["object"][10:20, 20:30] = masks["shadow"][20:30, 20:30] = 255
        masks["background_shadow"][5:9, 5:9] = 255 if n == 0 else 0
        for ours, image in {"composite": composite, "target": target, **masks}.items():
            (folder / DESOBA[ours]).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / DESOBA[ours] / f"{name}.png"), image[..., ::-1] if image.ndim == 3 else image)
    (folder / "test.txt").write_text("\n".join(names) + "\n")


def test_desobas_layout_is_read(tmp_path: Path) -> None:
    write_desoba(tmp_path)
    data = Desoba(tmp_path, "test")
    assert [one.bos for one in data] == [True, False]
    one = data[1]
    assert one.composite[25, 25].sum() > 1.8 * one.target[25, 25].sum()
    assert one.object.max() == 255
    assert one.points is None
    ratio = example(one, 40)["ratio"]
    assert 0.1 < np.median(ratio[:, 22:28, 22:28]) < 0.35  # half the code is a fifth of the light
    assert (ratio[:, :8] == 1).all()
    (tmp_path / DESOBA["shadow"] / "b.png").unlink()
    with pytest.raises(PenumbraError, match=r"shadow_masks/b"):
        data[1]
    with pytest.raises(PenumbraError, match="no folder"):
        Desoba(tmp_path / "nowhere")
