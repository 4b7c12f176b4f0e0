# SPDX-License-Identifier: GPL-3.0-or-later
"""The shadow of a job: softened, or drawn by networks within the outline that the light traces."""

from __future__ import annotations

import dataclasses
from functools import partial, partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.images import Passes
from backend.protocol import GENERATED, Frame, HarmonizeJob, PenumbraError, load_meshes
from backend.shading import harmonize as pipeline
from backend.shading.probe import CELLS, LightProbe, Sun
from backend.shading.views import View
from backend.shadow import appearance
from backend.shadow.generator import Conditions, ShadowGenerator
from backend.shadow.on_plate import PlateShadow

from ..shading.test_harmonize import job_of, make_job, moved, person, rgb, sunny, told_is
from .posts import post
from .tiny import save_networks

__all__ = ["person"]  # a fixture


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_networks(folder)
    return folder


@pytest.fixture
def networks(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job finds the tiny networks; two steps of diffusion will do."""
    monkeypatch.setattr(PlateShadow, "load", partial(PlateShadow.load, root=weights))
    monkeypatch.setattr(ShadowGenerator, "sample", partialmethod(ShadowGenerator.sample, steps=2))


def view(height: int = 160) -> View:
    """A grey post on a light ground."""
    shown = post(height)
    alpha = shown.mask.astype(np.float32)
    image = np.full((*alpha.shape, 3), 0.5, np.float32)
    nothing = np.zeros_like(image)
    passes = Passes(image * alpha[..., None], nothing, alpha, alpha, nothing)
    return View(Frame(1, shown.camera, "", "", {}, ""), shown.camera, shown.scene, passes, image)


def sun(seen: View, confidence: float = 1.0) -> LightProbe:
    """A sun to the right of the camera and behind it, in a dim sky."""
    toward = post(16).toward(-60, 40)
    radiance = np.full((CELLS, 3), 0.2, np.float32)
    suns = (Sun(toward, np.array([1.5, 1.4, 1.2]), 0.005),)
    return LightProbe(radiance, np.zeros(3, np.float32), suns, seen.camera.world_from_camera[:3, :3], confidence)


def job(**changes: object) -> HarmonizeJob:
    return HarmonizeJob({"Post": ["post"]}, (), ground_height=0.0, **changes)


def cast(seen: View, asked: HarmonizeJob, light: LightProbe) -> np.ndarray:
    shadow = PlateShadow.load(asked, torch.device("cpu"))
    return shadow.cast(seen, np.ones_like(seen.plate), light, pipeline.Clock(lambda *_: None, 1))[0]["Post"]


def test_softness_is_the_suns_when_the_shadow_is_cast() -> None:
    seen = view()
    umbra = []
    for softness in (None, 0.0, 6.0, 20.0):
        shadow = cast(seen, job(shadow_softness=softness), sun(seen))[..., 1]
        umbra.append((shadow < 0.35).sum())
    assert umbra[1] == pytest.approx(umbra[0], rel=0.1)  # the probe's own sun is 0.6° wide
    assert umbra[0] > 1.3 * umbra[2] > 3 * umbra[3] > 0


def test_a_shadow_takes_all_of_a_sun_that_the_shading_has_partly_from_about_it() -> None:
    seen = view()
    light = sun(seen)
    (whole,) = light.suns
    spread = np.full((62, 3), 0.2, np.float32) * whole.irradiance / 4  # over 4 π of solid angle, a fifth of it
    part = dataclasses.replace(whole, irradiance=0.8 * whole.irradiance, whole=1.25)
    hedged = dataclasses.replace(light, radiance=light.radiance + spread, suns=(part,), spread=spread)
    np.testing.assert_allclose(cast(seen, job(), hedged), cast(seen, job(), light), atol=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shadow": GENERATED}, r"no trained network for it \(assets/weights/shadow-predictors\)\. Choose Physical"),
        ({"shadow": "painted"}, "no shadow painted"),
        ({"shadow_softness": 45.0}, "45° is out of range"),
    ],
)
def test_what_cannot_be_made_is_said_before_the_work(tmp_path, monkeypatch, changes, message) -> None:
    monkeypatch.setattr(PlateShadow, "load", partial(PlateShadow.load, root=tmp_path))
    with pytest.raises(PenumbraError, match=message):
        PlateShadow.load(job(**changes), torch.device("cpu"))


@pytest.mark.usefixtures("networks")
def test_the_generated_shadow_has_the_traced_outline_and_the_drawn_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = view()
    light = sun(seen)
    physical = cast(seen, job(), light)
    asked: list[Conditions] = []

    def bluish(_generator: ShadowGenerator, c: Conditions, *_: int) -> torch.Tensor:
        """As trained networks would: nothing on the object, beside it a bluish shadow."""
        asked.append(c)
        return 1 - c.mask * torch.tensor([0.4, 0.3, 0.2]).view(3, 1, 1)

    monkeypatch.setattr(ShadowGenerator, "sample", bluish)
    drawn = cast(seen, job(shadow=GENERATED), light)
    assert (drawn[physical == 1] == 1).all()
    umbra = physical.min(-1) < 0.25
    np.testing.assert_allclose(np.median(drawn[umbra], 0), [0.6, 0.7, 0.8], atol=0.06)
    assert np.corrcoef(drawn.mean(-1).ravel(), physical.mean(-1).ravel())[0, 1] > 0.97
    behind = (physical.min(-1) < 0.5) & (seen.passes.alpha > 0)
    assert behind.sum() > 10
    assert drawn[behind][:, 0].max() < 0.8, "the shadow goes on behind the character, or its edge has a halo"

    (c,) = asked
    np.testing.assert_allclose(c.light[0], light.dominant_direction, atol=1e-5)
    assert float(c.light_quality[0]) == float(c.mask_quality[0]) == 1
    np.testing.assert_allclose(1 - c.taken[0], physical.reshape(-1, 3)[physical.sum(-1).argmin()], atol=0.1)
    on = c.object[0, 0].numpy() > 0.5
    assert 0.01 < on.mean() < 0.5
    toward = np.sinh(c.hint[0, 4:].numpy())[:, on].mean(1)
    assert toward[2] < -0.9  # in units of the object's distance
    left = np.arange(on.shape[1]) < np.nonzero(on)[1].min()
    assert c.mask[0, 0].numpy()[:, left].sum() > 0.4 * float(c.mask[0].sum()), "it falls to the left"


@pytest.mark.usefixtures("networks")
def test_the_parts_of_several_characters_make_the_generated_shadow(tmp_path, person, monkeypatch) -> None:
    make_job(tmp_path, person)
    meshes = load_meshes(tmp_path / "meshes_1.npz")
    placed = {who: [moved(m, (x, 0, 0), who) for m in meshes] for who, x in (("Left", -0.5), ("Right", 0.4))}
    characters = {who: [mesh.name for mesh in own] for who, own in placed.items()}
    two = dataclasses.replace(
        job_of(tmp_path, [mesh for own in placed.values() for mesh in own], characters), shadow=GENERATED
    )
    two.save(tmp_path)
    light = dataclasses.replace(sunny(two.frames[0].camera.world_from_camera), confidence=0.0)
    told_is(monkeypatch, lambda _: light)
    stages = []
    result = pipeline.harmonize(tmp_path, lambda stage, done: stages.append((stage, done)))
    frame = result.frames[0]
    parts = [rgb(tmp_path / path) for path in frame.shadows.values()]
    whole = rgb(tmp_path / frame.shadow)
    np.testing.assert_allclose(parts[0] * parts[1], whole, atol=2e-3)
    assert all(0.02 < (part < 1).any(-1).mean() < 0.9 for part in parts)
    assert whole.min() > 0
    assert [done for _, done in stages] == sorted(done for _, done in stages)
    assert [stage for stage, _ in stages].count("Drawing the shadow") == 1 + 2, "at its begin and after each step"
    assert stages[-2][0] == "Drawing the shadow"
    assert stages[-1][1] < 1
    assert any("was turned by" in notice for notice in result.notices), (
        "a probe that knows nothing follows the networks"
    )
    kept = LightProbe.load(tmp_path / frame.probe)
    np.testing.assert_allclose(kept.suns[0].direction, light.suns[0].direction, atol=1e-6)  # the shading's light stays


def test_a_shadow_is_shared_in_proportion() -> None:
    traced = {"a": np.full((1, 2, 3), 0.5, np.float32), "b": np.full((1, 2, 3), 0.25, np.float32)}
    traced["a"][0, 1] = 1
    parts = appearance.shared(np.full((1, 2, 3), 0.2, np.float32), traced)
    np.testing.assert_allclose(parts["a"] * parts["b"], 0.2, rtol=1e-6)
    assert parts["a"][0, 0, 0] == pytest.approx(0.2 ** (1 / 3))
    assert (parts["a"][0, 1] == 1).all()


@pytest.mark.usefixtures("networks")
def test_a_film_has_one_depth_and_one_light_for_its_shadow(tmp_path, person, monkeypatch) -> None:
    """What is drawn differs from frame to frame; the result does not, nor where each frame is a job of its own."""
    make_job(tmp_path, person)
    (first,) = HarmonizeJob.load(tmp_path).frames
    frames = tuple(dataclasses.replace(first, number=number, key=f"frame {number}") for number in (1, 2, 3))
    film = dataclasses.replace(HarmonizeJob.load(tmp_path), frames=frames, shadow=GENERATED)
    light = dataclasses.replace(sunny(first.camera.world_from_camera), confidence=0.0)
    told_is(monkeypatch, lambda _: light)
    depths = iter([0.2, 0.4, 0.6])

    def differing(_generator: ShadowGenerator, c: Conditions, *_: int) -> torch.Tensor:
        return (1 - c.mask * next(depths)).expand_as(c.composite)

    monkeypatch.setattr(ShadowGenerator, "sample", differing)
    film.save(tmp_path)
    result = pipeline.harmonize(tmp_path, lambda *_: None)
    shadows = [rgb(tmp_path / frame.shadow) for frame in result.frames]
    assert next(depths, None) is None, "three frames were drawn"
    np.testing.assert_array_equal(shadows[0], shadows[1])
    np.testing.assert_array_equal(shadows[0], shadows[2])
    probes = [LightProbe.load(tmp_path / frame.probe) for frame in result.frames]
    assert probes[0].told_shadow
    assert probes[0].told_shadow == probes[2].told_shadow
    np.testing.assert_allclose(probes[0].suns[0].direction, light.suns[0].direction, atol=1e-6)
    deepest = float(shadows[0].min())
    assert 0.45 < deepest < 0.75, "the geometric mean of what was drawn"

    monkeypatch.setattr(appearance.Networks, "load", lambda *_: pytest.fail("what is told needs no network"))
    alone = dataclasses.replace(frames[1], light=result.frames[1].probe, key="")
    dataclasses.replace(film, frames=(alone,)).save(tmp_path)
    again = pipeline.harmonize(tmp_path, lambda *_: None).frames[0]
    np.testing.assert_array_equal(rgb(tmp_path / again.shadow), shadows[1])
