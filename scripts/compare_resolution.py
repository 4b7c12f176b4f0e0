# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares full-resolution shading with Cycles, on people that nothing was trained on: by ProbeNet's light, and by ways
up from ShadingNet's 128 pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from backend.images import Passes, srgb_decode
from backend.protocol import Camera, Frame
from backend.rays.camera import crop_camera
from backend.rays.scene import RayScene
from backend.shading import evaluate, moments
from backend.shading.crop import crop, uncrop
from backend.shading.estimators import by_probenet
from backend.shading.harmonize import shade
from backend.shading.moments import Moment, Shot, Sources
from backend.shading.network import ShadingNet
from backend.shading.photograph import background, expose, photograph
from backend.shading.probe import LightProbe
from backend.shading.probe_network import ProbeNet
from backend.shading.traced import Light
from backend.shading.views import CroppedView, View
from backend.shading.visibility import extrapolate
from scripts.scenes.cycles_frame import Stage
from scripts.sheet import write_sheet

SIDE = 512  # pixels of the character's crop at full resolution
SEED = 1


@dataclass(frozen=True)
class Estimate:
    """Full-resolution shading (H, W, 3), and the light that it comes from, if any."""

    shading: np.ndarray
    light: LightProbe | None = None


def compare(
    network: ShadingNet, probenet: ProbeNet, panoramas: list[Path], people: int, samples: int, out: Path
) -> list[dict]:
    """One row a method for each person, and of their means; writes a sheet with all of them into `out`.

    panoramas: folders, of which the test split is used, beside Blender's studios and skies of our own.
    """
    out.mkdir(parents=True, exist_ok=True)
    stage = Stage(samples, denoise=True)
    rows, pictures, found = [], [], {}
    for number, moment in enumerate(tqdm(_moments(panoramas, people), total=people, unit="person")):
        view, truth, light = _render(stage, moment, np.random.default_rng([SEED, number]))
        small = CroppedView.of(view)
        found = estimates(network, probenet, small, truth, light)
        rows += [_row(method, moment, view, truth, light, estimate) for method, estimate in found.items()]
        pictures += _pictures(small, truth, found)
    write_sheet(out / "resolution_sheet.png", pictures, columns=2 + len(found), width=384)
    return rows + evaluate.means(rows, "all")


def estimates(
    network: ShadingNet, probenet: ProbeNet, small: CroppedView, truth: np.ndarray, light: LightProbe
) -> dict[str, Estimate]:
    """Shading at full resolution by each method; truth: (H, W, 3), of which two methods see 128 pixels."""
    alpha = small.view.passes.alpha
    predicted = small.predict(network)
    true = crop(truth, small.box, alpha)

    def shaded(probe: LightProbe) -> Estimate:
        return Estimate(shade(small.view, probe).image(alpha > 0), probe)

    def enlarged(shading: np.ndarray) -> Estimate:
        everywhere = extrapolate(shading, small.alpha > 0, np.ones_like(small.alpha, bool))
        return Estimate(uncrop(everywhere, small.box, alpha.shape[1], alpha.shape[0]))

    return {
        "the probe with the true light": shaded(light),
        "the probe fitted to the true 128 pixels": shaded(small.fit_light(true)),
        "the true 128 pixels enlarged": enlarged(true),
        "ProbeNet": shaded(by_probenet(probenet, small.view)),
        "the probe fitted to ShadingNet's output": shaded(small.fit_light(predicted)),
        "ShadingNet's output enlarged": enlarged(predicted),
    }


def _row(
    method: str, moment: Moment, view: View, truth: np.ndarray, light: LightProbe, estimate: Estimate
) -> dict[str, object]:
    at = view.passes.alpha > 0
    errors = evaluate.measure(estimate.shading[at], truth[at], view.passes.albedo[at], view.passes.alpha[at])
    split = f"{moment.identity}, {moment.clip}, {moment.lights[0].name}"
    row = {"method": method, "split": split, "images": 1, "suns": len(light.suns), **errors}
    return {**row, **evaluate.direction_errors(estimate.light.dominant_direction, light)} if estimate.light else row


def _pictures(small: CroppedView, truth: np.ndarray, found: dict[str, Estimate]) -> list[tuple[str, np.ndarray]]:
    """The plate, and the upper body by all methods, so exposed that Cycles' is not burnt out."""
    alpha = small.view.passes.alpha[..., None]
    exposure = min(1.0, 1 / float(np.quantile(truth[alpha[..., 0] > 0.5], 0.98)))
    upper = np.s_[SIDE // 16 : SIDE // 16 + SIDE // 2, SIDE // 4 : -SIDE // 4]
    shown = [("Cycles", truth), *((method, estimate.shading) for method, estimate in found.items())]
    close = [(title, crop(exposure * shading * alpha, small.box, size=SIDE)[upper]) for title, shading in shown]
    return [("plate", small.view.plate), *close]


def _moments(panoramas: list[Path], people: int) -> Iterator[Moment]:
    """One moment of each of the first `people` of the test split that are drawn."""
    sources, seen = Sources.find("test", [], panoramas), set()
    shard = 0
    while len(seen) < min(people, len(moments.SPLITS["test"])):
        (moment,) = moments.moments(sources, SEED, shard, count=1, lights=1)
        shard += 1
        if moment.identity not in seen:
            seen.add(moment.identity)
            yield moment


def _render(stage: Stage, moment: Moment, random: np.random.Generator) -> tuple[View, np.ndarray, LightProbe]:
    """A moment's middle view, Cycles' shading (H, W, 3) of it, and its true light, all at the plate's exposure."""
    environment = moment.lights[0]
    camera, border = _full_resolution(moment.shots[len(moment.shots) // 2])
    stage.person(moment.identity, moment.skins)
    stage.light(environment, moment.level)
    layers = stage.render(dataclasses.replace(camera, border=border))
    shading, alpha = layers["shading"], layers["alpha"]
    plate = background(environment.picture, camera)
    gain = expose(plate, np.einsum("hwc,hw->c", shading, alpha) / alpha.sum(), random)
    nothing = np.zeros_like(shading)
    passes = Passes(layers["albedo"], layers["normal"], alpha, nothing[..., 0], nothing)
    camera_from_world = np.linalg.inv(camera.world_from_camera)
    scene = RayScene([skin.moved(camera_from_world).mesh for skin in moment.skins])
    photo = srgb_decode(photograph(plate * gain, random) / np.float32(255))
    view = View(Frame(moment.frame, camera, "", "", {}, ""), camera, scene, passes, photo)
    return view, shading * gain.astype(np.float32), Light.of(environment.scaled(gain)).probe(camera.world_from_camera)


def _full_resolution(shot: Shot) -> tuple[Camera, tuple[int, int, int, int]]:
    """The shot's whole frame at a size at which its crop has SIDE pixels, and the part of the frame in the crop."""
    scale = SIDE / (shot.box[2] - shot.box[0])
    width, height = round(shot.camera.width * scale), round(shot.camera.height * scale)
    camera = crop_camera(shot.camera, (0, 0, width / scale, height / scale), (width, height))
    left, top, right, bottom = (round(edge * scale) for edge in shot.box)
    return camera, (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
