# SPDX-License-Identifier: GPL-3.0-or-later
"""Harmonize Shading: a job folder of posed meshes, passes and plates becomes shading, shadow and occlusion images.

Two rounds over the frames: the first estimates the light of each plate (`estimators`); the second shades every pixel
with the light that all frames agree on, and casts the shadow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from .. import device as devices
from .. import multilayer
from ..images import read_image, write_exr
from ..protocol import (
    GENERATED,
    Frame,
    FrameResult,
    HarmonizeJob,
    HarmonizeResult,
    PenumbraError,
    replacing,
    write_json,
)
from ..rays import rics
from ..shadow.kept import keep
from ..shadow.on_plate import PlateShadow
from . import estimators, visibility
from . import probe as probes
from .bounce import bounced_in
from .gloss import with_gloss
from .grain import Grain
from .preview import Preview, Show
from .probe import LightProbe
from .views import View

Progress = Callable[[str, float], None]


def harmonize(folder: Path, progress: Progress, device: str = "auto", show: Show | None = None) -> HarmonizeResult:
    """Do the job in `folder`: write the images of every frame and ``result.json`` there.

    progress(stage, fraction of the job) is called often; what it raises ends the job. show(name) is called whenever
    `folder` holds a new picture of the shading as far as it is known; see `preview`.
    Raises PenumbraError with what the artist can do.
    """
    job = HarmonizeJob.load(folder)
    clock, preview = Clock(progress, len(job.frames), job.shadow == GENERATED), Preview(folder, show)
    clock.begin("Loading the network")
    chosen = devices.pick(job.device if device == "auto" else device)
    shadow = PlateShadow.load(job, chosen)
    if all(frame.light for frame in job.frames):
        lights = [given_light(folder, frame) for frame in job.frames]
        notices = ()
    else:
        estimator = estimators.load(job.estimator, chosen, job.match)
        estimates = []
        for frame in job.frames:
            clock.begin("Estimating the light")
            estimates.append(estimate_frame(folder, frame, estimator, preview))
        still = len({frame.plate for frame in job.frames}) == 1
        lights = probes.settled(estimates, [frame.number for frame in job.frames], still)
        notices = estimator.notices(estimates)
    lights = shadow.steadied(folder, lights, lambda view, light: shade(view, light).image(view.passes.alpha > 0), clock)
    results = []
    for frame, light in zip(job.frames, lights, strict=True):
        if job.only_light:
            light.save(folder / f"light_{frame.number:04d}.json")
        else:
            done = _resumed_result(folder, frame, light, shadow.key)
            done = done or render_frame(folder, frame, light, shadow, clock, preview)
            results.append(with_gloss(folder, frame, done) if frame.gloss else done)
    clock.end()
    notices = (*notices, *shadow.notices())
    result = HarmonizeResult(tuple(results), clock.seconds, chosen.type, devices.versions(), notices)
    if job.multilayer:
        result = multilayer.with_layers(folder, result)
    result.save(folder)
    return result


def given_light(folder: Path, frame: Frame) -> LightProbe:
    """The light that a frame comes with. Raises PenumbraError where there is none in it."""
    light = LightProbe.load(folder / frame.light)
    if frame.world:
        world = LightProbe.from_environment(read_image(folder / frame.world), light.world_from_camera)
        light = dataclasses.replace(light, radiance=light.radiance + world.radiance, suns=(*light.suns, *world.suns))
    if not light.is_bright:
        raise PenumbraError(
            "The scene's World is black, and no Sun shines.", "Give it light, or take the light from the plate."
        )
    return light.seen_from(frame.camera.world_from_camera)


def estimate_frame(folder: Path, frame: Frame, estimator: estimators.Estimator, preview: Preview) -> LightProbe:
    """The light of one frame's plate, estimated once for the same input."""
    kept = _estimate_path(folder, frame, estimator.key)
    if frame.key and kept.is_file():
        return LightProbe.load(kept)
    view = View.open(folder, frame)
    light = estimator.estimate(view)
    light.save(kept)
    preview.begun(view, light)
    return light


def render_frame(
    folder: Path, frame: Frame, light: LightProbe, shadow: PlateShadow, clock: Clock, preview: Preview
) -> FrameResult:
    """Shade one frame at the render's resolution, cast its shadow, and write its images."""
    view = View.open(folder, frame)
    clock.begin("Tracing and shading")
    lit = shade(view, light)
    preview.finished(view, lit.surface.valid, lit.shading)
    clock.begin("Casting the shadow")
    shadows, casts = shadow.cast(view, lit.image(view.passes.alpha > 0), light, clock)
    together = np.prod(list(shadows.values()), 0)
    preview.finished(view, lit.surface.valid, lit.shading, together)
    clock.begin("Writing the images")
    key = _key(frame, light, shadow.key)
    result = dataclasses.replace(write_frame(folder, view, light, lit, together), key=key)
    if casts:
        result = dataclasses.replace(result, cast=f"cast_{frame.number:04d}.npz")
        keep(folder / result.cast, casts, view.scene, view.camera, shadow.job.characters, shadow.half_angle)
    if len(shadows) > 1:
        result = write_characters(folder, view, result, lit, shadows, shadow.job.characters)
    write_json(folder / f"frame_{frame.number:04d}.json", dataclasses.asdict(result))  # last: the frame is finished
    return result


@dataclass(frozen=True)
class Lighting:
    """What light makes of a surface, and what it takes to light it again: arrays of the N valid points, row-major.

    surface: the character's, at the pixels' centres. normals: (N, 3) unit, camera space.
    cells: (N, 62) and suns: (N, S) in [0, 1], the share of the probe's light that arrives. shading: (N, 3).
    """

    surface: rics.SurfaceMap
    normals: np.ndarray
    cells: np.ndarray
    suns: np.ndarray
    shading: np.ndarray

    def image(self, covered: np.ndarray) -> np.ndarray:
        """(H, W, 3) shading of all pixels that are `covered` (H, W), those on edges included; 1 elsewhere."""
        valid = self.surface.valid
        shading = np.ones((*valid.shape, 3), np.float32)
        shading[valid] = self.shading
        return visibility.extrapolate(shading, valid, covered)


def shade(view: View, light: LightProbe, surface: rics.SurfaceMap | None = None) -> Lighting:
    """Light the character at full resolution. surface: of the view, where it is traced already."""
    surface = surface or rics.trace(view.scene, view.camera)
    at = surface.valid
    detailed = view.passes.normal[at]  # with bump and normal maps, where the render has them
    normals = np.where(detailed.any(axis=-1, keepdims=True), detailed, surface.normal[at])
    cells = visibility.cell_visibility(view.scene, surface)
    suns = visibility.sun_visibility(view.scene, surface, light.suns)
    shading = light.shade(cells, normals, suns)
    shading += bounced_in(shading, view.passes.albedo[at], cells, normals, np.flatnonzero(at), at.shape[1])
    return Lighting(surface, normals, cells, suns, shading)


def write_frame(folder: Path, view: View, light: LightProbe, lit: Lighting, shadow: np.ndarray) -> FrameResult:
    """Write a frame's images into the job folder; see `protocol.FrameResult`."""
    name = f"{view.frame.number:04d}"
    result = FrameResult(
        number=view.frame.number,
        shading=f"shading_{name}.exr",
        shadow=f"shadow_{name}.exr",
        occlusion=f"occlusion_{name}.exr",
        albedo=f"albedo_{name}.exr",
        rics=f"rics_{name}.npz",
        probe=f"probe_{name}.json",
        grain=f"grain_{name}.exr",
        photograph=(measured := Grain.of(view.plate)).to_json(),
    )
    valid, covered = lit.surface.valid, view.passes.alpha > 0
    occlusion = visibility.extrapolate(rics.occlusion(lit.surface), valid, covered)
    shading = lit.image(covered)
    write_exr(folder / result.shading, shading)
    grain = measured.image(view.passes.albedo * shading, view.frame.number)
    write_exr(folder / result.grain, grain * view.passes.alpha[..., None])
    write_exr(folder / result.shadow, shadow)
    write_exr(folder / result.occlusion, {"Y": np.where(covered, occlusion, 0)})
    write_exr(folder / result.albedo, np.dstack([view.passes.albedo, view.passes.alpha]))
    with replacing(folder / result.rics) as temporary:
        np.savez_compressed(
            temporary,
            valid=valid,
            bits=lit.surface.bits[valid],
            normals=lit.normals.astype(np.float16),
            cells=np.round(lit.cells.astype(np.float32) * 255).astype(np.uint8),
            suns=np.round(lit.suns * 255).astype(np.uint8),
        )
    light.save(folder / result.probe)
    return result


def write_characters(
    folder: Path,
    view: View,
    result: FrameResult,
    lit: Lighting,
    shadows: Mapping[str, np.ndarray],
    characters: Mapping[str, Collection[str]],
) -> FrameResult:
    """Write what tells several characters apart, each one's shadow and matte; returns the result with their names."""
    valid, covered = lit.surface.valid, view.passes.alpha > 0
    names = np.array([mesh.name for mesh in view.scene.meshes])
    shadow_files, matte_files = {}, {}
    for i, (character, meshes) in enumerate(characters.items(), 1):
        own = np.isin(names, list(meshes))[lit.surface.mesh] & valid
        matte = visibility.extrapolate(own.astype(np.float32), valid, covered)
        shadow_files[character] = f"shadow{i}_{result.number:04d}.exr"
        matte_files[character] = f"matte{i}_{result.number:04d}.exr"
        write_exr(folder / shadow_files[character], shadows[character])
        write_exr(folder / matte_files[character], {"Y": np.where(covered, matte, 0)})
    return dataclasses.replace(result, shadows=shadow_files, mattes=matte_files)


# An interrupted animation goes on in its folder: what was estimated or rendered from the same input is not done again.


def _estimate_path(folder: Path, frame: Frame, estimator: str) -> Path:
    """estimator: its key, as another one estimates another light."""
    return folder / f"estimate_{frame.number:04d}_{frame.key}_{estimator}.json"


def _key(frame: Frame, light: LightProbe, shadow: str) -> str:
    """What a frame's images depend on: its input, the light that the frames agreed on, and what draws the shadow."""
    return hashlib.sha256(f"{frame.key} {light.to_json()} {shadow}".encode()).hexdigest()


def _resumed_result(folder: Path, frame: Frame, light: LightProbe, shadow: str) -> FrameResult | None:
    path = folder / f"frame_{frame.number:04d}.json"
    if not frame.key or not path.is_file():
        return None
    result = FrameResult(**json.loads(path.read_text("utf-8")))
    return result if result.key == _key(frame, light, shadow) else None


@dataclass
class Clock:
    """Tells the artist the stage and the share of the work done, and keeps the seconds that each stage took."""

    progress: Progress
    frames: int
    draws: bool = False  # a shadow, which is work besides
    seconds: dict[str, float] = field(default_factory=dict)
    done: float = 0.0
    _stage: str = ""
    _since: float = 0.0

    # Shares of the work, from timing a 1080p frame; those after the first stage are divided among the frames.
    SHARES: ClassVar[dict[str, float]] = {
        "Loading the network": 0.05,
        "Estimating the light": 0.15,
        "Tracing and shading": 0.25,
        "Casting the shadow": 0.45,
        "Drawing the shadow": 1.0,
        "Writing the images": 0.1,
    }

    def begin(self, stage: str) -> None:
        self.end()
        self.progress(stage, self.done)
        self._stage, self._since = stage, time.perf_counter()

    def within(self, fraction: float) -> None:
        """Tell that so much of the running stage is done."""
        self.progress(self._stage, self.done + fraction * self._share())

    def end(self) -> None:
        """Add the running stage to the account."""
        if self._stage:
            spent = time.perf_counter() - self._since
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + spent
            self.done = min(1.0, self.done + self._share())
            self._stage = ""

    def _share(self) -> float:
        """Of the running stage in the whole job."""
        frames = 1 if self._stage == "Loading the network" else self.frames
        return self.SHARES[self._stage] / (sum(self.SHARES.values()) if self.draws else 1) / frames
