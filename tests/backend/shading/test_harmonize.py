# SPDX-License-Identifier: GPL-3.0-or-later
"""Harmonize Shading from a job folder to images, on a generated person before an even plate."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from backend.body import people
from backend.images import read_exr, srgb_encode, write_exr, write_png
from backend.protocol import (
    PROBENET,
    SHADINGNET,
    Camera,
    Cancelled,
    Frame,
    HarmonizeJob,
    HarmonizeResult,
    Mesh,
    PenumbraError,
    load_meshes,
    save_meshes,
)
from backend.rays import camera as cameras
from backend.rays import rics
from backend.rays.scene import RayScene
from backend.shading import estimators
from backend.shading import harmonize as pipeline
from backend.shading.probe import CELLS, LightProbe, Sun

WIDTH, HEIGHT = 192, 144
EYE = np.array([0.0, 0.0, 4.0])
PASSES = {"combined": "L.C", "diffuse_color": "L.D", "normal": "L.N", "depth": "L.Z"}


@pytest.fixture(scope="module")
def person() -> list[people.PosedPart]:
    return people.pose_person(people.make_person(5), np.zeros((24, 3)))


def make_job(folder: Path, person: list[people.PosedPart], *, away: float = 0.0, frames: int = 1) -> HarmonizeJob:
    """A job as Blender writes it: the person faces a level camera 4 m away, `away` metres to its right."""
    meshes = [
        Mesh(p.part.name, "character", (p.vertices - EYE + (away, 0, 0)).astype(np.float32), p.faces, p.corner_normals)
        for p in person
    ]
    return job_of(folder, meshes, {"Person": [mesh.name for mesh in meshes]}, frames)


def job_of(folder: Path, meshes: list[Mesh], characters: dict[str, list[str]], frames: int = 1) -> HarmonizeJob:
    """A job of meshes in the camera space of `level_camera`, of even albedo."""
    camera = level_camera()
    surface = rics.trace(RayScene(meshes), camera)
    alpha = surface.valid.astype(np.float32)
    normal = surface.normal @ camera.world_from_camera[:3, :3].T.astype(np.float32)
    channels = {f"L.C.{c}": alpha for c in "RGBA"} | {f"L.D.{c}": 0.5 * alpha for c in "RGB"}
    channels |= {f"L.N.{c}": normal[..., i] for i, c in enumerate("XYZ")} | {"L.Z.Z": np.full_like(alpha, 4.0)}
    plate = np.full((HEIGHT, WIDTH, 3), 0.3, np.float32)
    write_png(folder / "plate.png", plate)
    listed = []
    for number in range(1, frames + 1):
        save_meshes(folder / f"meshes_{number}.npz", meshes)
        write_exr(folder / f"passes_{number}.exr", channels, half=False)
        names = f"meshes_{number}.npz", f"passes_{number}.exr"
        listed.append(Frame(number, camera, *names, PASSES, "plate.png", "sRGB", f"key{number}"))
    job = HarmonizeJob(characters, tuple(listed), device="cpu")
    job.save(folder)
    return job


def level_camera() -> Camera:
    body = cameras.look_at(EYE, np.zeros(3), up=(0, 1, 0))  # body space is y-up, and so is this world turned to z-up
    world = np.eye(4)
    world[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    return cameras.perspective(WIDTH, HEIGHT, np.radians(40), world_from_camera=world @ body)


def moved(mesh: Mesh, by: tuple[float, float, float], name: str) -> Mesh:
    """A copy of a mesh, metres beside it in camera space."""
    return dataclasses.replace(mesh, name=f"{name} {mesh.name}", vertices=mesh.vertices + np.float32(by))


def sunny(world_from_camera: np.ndarray) -> LightProbe:
    """A dim sky and a sun to the right of the camera."""
    toward = np.array([0.8, 0.45, 0.4]) / np.linalg.norm([0.8, 0.45, 0.4])
    radiance = np.full((CELLS, 3), 0.2, np.float32)
    sun = Sun(toward, np.array([1.5, 1.4, 1.2]), 0.01)
    return LightProbe(radiance, np.zeros(3, np.float32), (sun,), world_from_camera[:3, :3])


def told_is(monkeypatch, estimate) -> None:
    """Whatever the job asks for, `estimate` tells the light."""
    monkeypatch.setattr(estimators, "load", lambda *_: estimators.Estimator(estimate, "told", 0.0))


def rgb(path: Path) -> np.ndarray:
    channels = read_exr(path)
    return np.stack([channels[c] for c in "RGB"], axis=-1)


def test_light_from_the_right_falls_on_the_right_and_the_shadow_to_the_left(tmp_path, person, monkeypatch):
    job = make_job(tmp_path, person)
    light = sunny(job.frames[0].camera.world_from_camera)
    told_is(monkeypatch, lambda _: light)
    result = pipeline.harmonize(tmp_path, lambda *_: None)
    frame = HarmonizeResult.load(tmp_path).frames[0]
    assert result.frames[0] == frame

    shading, albedo = rgb(tmp_path / frame.shading), read_exr(tmp_path / frame.albedo)
    covered = albedo["A"] > 0.5
    assert np.allclose(albedo["R"][covered], 0.5, atol=1e-3)
    assert (shading[~covered] == 1).all()
    columns = np.nonzero(covered)[1]
    middle = np.median(columns)
    left, right = (covered & side for side in (np.arange(WIDTH) < middle - 4, np.arange(WIDTH) > middle + 4))
    assert shading[right].mean() > 1.3 * shading[left].mean()
    lit = shading[covered].max(axis=0)
    assert lit[0] > lit[2]  # the sun is warm

    shadow = rgb(tmp_path / frame.shadow)
    assert shadow.max() == 1
    assert 0 < shadow.min() < 0.6
    ground = ~covered & (shadow.min(axis=-1) < 0.8)
    assert np.median(np.nonzero(ground)[1]) < middle
    occlusion = read_exr(tmp_path / frame.occlusion)["Y"]
    assert (occlusion[~covered] == 0).all()
    assert 0 < occlusion[covered].mean() < 0.6


@pytest.mark.parametrize("estimator", [PROBENET, SHADINGNET])
def test_bundled_weights_estimate_even_light_for_an_even_plate(tmp_path, person, estimator):
    dataclasses.replace(make_job(tmp_path, person), estimator=estimator).save(tmp_path)
    stages = []
    result = pipeline.harmonize(tmp_path, lambda stage, fraction: stages.append((stage, fraction)))
    shading = rgb(tmp_path / result.frames[0].shading)
    covered = read_exr(tmp_path / result.frames[0].albedo)["A"] > 0.5
    assert np.isfinite(shading).all()
    assert 0.1 < shading[covered].mean() < 1.2  # the plate is a third of white
    colour = shading[covered].mean(axis=0)
    assert colour.max() < 1.35 * colour.min()  # grey plate, no tint from nowhere
    fractions = [fraction for _, fraction in stages]
    assert fractions == sorted(fractions)
    assert fractions[-1] < 1
    assert set(result.seconds) == {stage for stage, _ in stages}


def test_a_given_light_is_turned_to_the_camera(tmp_path, person):
    job = make_job(tmp_path, person)
    camera = job.frames[0].camera
    turned = np.array([(0, 0, 1), (1, 0, 0), (0, 1, 0)]) @ camera.world_from_camera[:3, :3]
    light = sunny(camera.world_from_camera)
    light.seen_from(turned).save(tmp_path / "light.json")
    frames = tuple(dataclasses.replace(frame, light="light.json") for frame in job.frames)
    dataclasses.replace(job, frames=frames).save(tmp_path)
    result = pipeline.harmonize(tmp_path, lambda *_: None)
    used = LightProbe.load(tmp_path / result.frames[0].probe)
    np.testing.assert_allclose(used.suns[0].direction, light.suns[0].direction, atol=1e-6)
    np.testing.assert_allclose(used.radiance, light.radiance, atol=1e-6)


def test_two_characters_shade_and_shadow_each_other(tmp_path, person, monkeypatch):
    make_job(tmp_path, person)
    meshes = load_meshes(tmp_path / "meshes_1.npz")
    folders = {name: tmp_path / name for name in ("alone", "both")}
    places = {"Left": (-0.45, 0, 0), "Right": (0.45, 0, 0.45)}  # seen from the left one, toward the sun
    results = {}
    for name, folder in folders.items():
        folder.mkdir()
        placed = {who: [moved(mesh, by, who) for mesh in meshes] for who, by in places.items()}
        if name == "alone":
            del placed["Right"]
        characters = {who: [mesh.name for mesh in own] for who, own in placed.items()}
        two = job_of(folder, [mesh for own in placed.values() for mesh in own], characters)
        light = sunny(two.frames[0].camera.world_from_camera)
        told_is(monkeypatch, lambda _, light=light: light)
        results[name] = pipeline.harmonize(folder, lambda *_: None).frames[0]
    both, folder = results["both"], folders["both"]
    covered = read_exr(folder / both.albedo)["A"] > 0
    mattes = {who: read_exr(folder / file)["Y"] for who, file in both.mattes.items()}
    np.testing.assert_array_equal(mattes["Left"] + mattes["Right"], covered)
    columns = {who: np.nonzero(matte)[1].mean() for who, matte in mattes.items()}
    assert columns["Left"] < WIDTH / 2 < columns["Right"]
    product = rgb(folder / both.shadows["Left"]) * rgb(folder / both.shadows["Right"])
    np.testing.assert_allclose(rgb(folder / both.shadow), product, atol=2e-3)
    left = mattes["Left"] == 1
    alone = rgb(folders["alone"] / results["alone"].shading)[left]
    assert rgb(folder / both.shading)[left].mean() < 0.9 * alone.mean()  # the other stands in its sun
    assert results["alone"].mattes == {}


def test_an_interrupted_animation_goes_on(tmp_path, person, monkeypatch):
    job = make_job(tmp_path, person, frames=3)
    calls = []

    def estimate(view):
        calls.append(view.frame.number)
        return sunny(job.frames[0].camera.world_from_camera)

    told_is(monkeypatch, estimate)

    def until_second_frame(stage: str, fraction: float) -> None:
        if stage == "Tracing and shading" and (tmp_path / "frame_0001.json").exists():
            raise Cancelled

    with pytest.raises(Cancelled):
        pipeline.harmonize(tmp_path, until_second_frame)
    assert not (tmp_path / "result.json").exists()
    before = (tmp_path / "shading_0001.exr").stat().st_mtime_ns
    result = pipeline.harmonize(tmp_path, lambda *_: None)
    assert calls == [1, 2, 3]
    assert (tmp_path / "shading_0001.exr").stat().st_mtime_ns == before
    assert [frame.number for frame in result.frames] == [1, 2, 3]


def test_a_character_outside_the_frame_is_said_so(tmp_path, person):
    make_job(tmp_path, person, away=30.0)
    with pytest.raises(PenumbraError, match="not in the camera's view at frame 1"):
        pipeline.harmonize(tmp_path, lambda *_: None)


def test_a_plate_of_another_size_is_said_so(tmp_path, person):
    make_job(tmp_path, person)
    write_png(tmp_path / "plate.png", np.zeros((20, 20, 3), np.float32))
    with pytest.raises(PenumbraError, match="size of the render"):
        pipeline.harmonize(tmp_path, lambda *_: None)


def test_previews_show_the_light_from_its_side_before_the_job_ends(tmp_path, person, monkeypatch):
    job = make_job(tmp_path, person, frames=2)
    light = sunny(job.frames[0].camera.world_from_camera)
    told_is(monkeypatch, lambda _: light)
    shown = []
    pipeline.harmonize(tmp_path, lambda *_: None, show=lambda name: shown.append(np.load(tmp_path / name)))
    assert len(shown) == 2 + 2 * 2, "each estimate, each shading, each finished frame"
    for picture in shown:
        assert picture.shape == (256, 256, 4)
        figure = np.any(picture[..., :3] != np.median(picture.reshape(-1, 4), axis=0)[:3], axis=-1)
        middle = np.median(np.nonzero(figure)[1]).astype(int)
        assert picture[:, middle:][figure[:, middle:]].mean() > 1.1 * picture[:, :middle][figure[:, :middle]].mean()
    assert shown[-1][..., :3].astype(int).sum() < shown[-2][..., :3].astype(int).sum(), "the shadow comes last"
    written = rgb(tmp_path / "shading_0002.exr")
    covered = read_exr(tmp_path / "albedo_0002.exr")["A"] > 0.5
    brightest = written[covered].max(axis=0) * 0.5
    np.testing.assert_allclose(shown[-1][..., :3].max(axis=(0, 1)) / 255, srgb_encode(brightest.clip(0, 1)), atol=0.08)
