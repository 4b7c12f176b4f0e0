# SPDX-License-Identifier: GPL-3.0-or-later
"""A rendered moment as the arrays of a data-set shard: exposed, photographed, with its true light and cameras."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..protocol import CHARACTER
from ..rays.rics import trace
from ..rays.scene import RayScene
from . import traced
from .crop import CROP, plate_box
from .moments import Moment, Shot
from .photograph import expose, photograph, seen, view_directions
from .traced import Cells, Light

Views = list[dict[str, np.ndarray]]
"""One dictionary a view: albedo, normal (128, 128, 3), alpha, bits (128, 128), shading (L, 128, 128, 3) unexposed."""

_TURNS = 4  # sets of directions; a moment takes one, so that no direction is special


@dataclass(frozen=True)
class Filming:
    """What stays as it is while a sequence is filmed, and what does not.

    seed: of the camera, which is the same for every frame. grain: goes on from frame to frame. exposures: of each
    light, (3,) gains, locked by the first frame.
    """

    seed: list[int]
    grain: np.random.Generator
    exposures: dict[int, np.ndarray] = field(default_factory=dict)


class Tracer:
    """Renders moments by casting rays. Keep one: what it prepares does not depend on the moment."""

    def __init__(self) -> None:
        turns = np.arange(_TURNS) * 2 * np.pi / _TURNS / 7
        self._cells = [Cells(traced.DIRECTIONS, turn) for turn in turns]
        self._coarse = Cells(traced.COARSE)

    def render(self, moment: Moment) -> Views:
        cells = self._cells[moment.frame % _TURNS]
        lights = [Light.of(environment) for environment in moment.lights]
        world = RayScene([skin.mesh for skin in moment.skins])
        bounced = traced.bounce(moment.skins, world, moment.level, lights, self._coarse)
        views = []
        for shot in moment.shots:
            skins = [skin.moved(np.linalg.inv(shot.crop.world_from_camera)) for skin in moment.skins]
            scene = RayScene([skin.mesh for skin in skins])
            layers = traced.see(skins, shot.crop, scene)
            shading = traced.shade(layers, scene, shot.crop.world_from_camera, lights, bounced, cells)
            view = {"albedo": layers.albedo, "normal": layers.normal, "alpha": layers.alpha, "shading": shading}
            views.append({**view, "bits": layers.surface.bits})
        return views


def rics_of(moment: Moment, shot: Shot) -> np.ndarray:
    """(128, 128) uint64 RiCS map of a shot, for a renderer that has none."""
    skins = [skin.moved(np.linalg.inv(shot.crop.world_from_camera)) for skin in moment.skins]
    assert all(skin.mesh.role == CHARACTER for skin in skins)
    return trace(RayScene([skin.mesh for skin in skins]), shot.crop).bits


def frames(
    moment: Moment, views: Views, random: np.random.Generator, filming: Filming | None = None
) -> dict[str, np.ndarray]:
    """The arrays of a shard (see scripts/make_dataset.py) for the views of one moment; the first axis is the view.

    All views of one light share one exposure; their crops are empty where they leave the frame. filming: of the
    sequence that the moment is a frame of.
    """
    if filming:
        random = np.random.default_rng(filming.seed)
    for shot, view in zip(moment.shots, views, strict=True):
        inside = _inside_frame(shot)
        for name, image in view.items():
            view[name] = np.where(inside[..., None] if image.shape[-1] == 3 else inside, image, image.dtype.type(0))
    directions = [view_directions(shot.camera) for shot in moment.shots]
    lit = [_exposed(moment, views, directions, index, random, filming) for index in range(len(moment.lights))]
    per_light = {name: np.stack([light[name] for light in lit], axis=1) for name in lit[0]}
    count = len(views)
    return {
        "albedo": np.stack([v["albedo"] for v in views]).astype(np.float16),
        "normal": np.stack([v["normal"] for v in views]).astype(np.float16),
        "alpha": np.stack([np.round(v["alpha"] * 255) for v in views]).astype(np.uint8),
        "rics": np.stack([v["bits"] for v in views]),
        **per_light,
        "box": np.stack([plate_box(s.box, s.camera.width, s.camera.height) for s in moment.shots]),
        "projection": np.stack([s.crop.projection for s in moment.shots]).astype(np.float64),
        "world_from_camera": np.stack([s.crop.world_from_camera for s in moment.shots]).astype(np.float64),
        "identity": np.array([moment.identity] * count),
        "clip": np.array([moment.clip] * count),
        "frame": np.full(count, moment.frame, np.int32),
        "view": np.arange(count, dtype=np.int32),
        "light": np.array([[e.name for e in moment.lights]] * count),
    }


def _exposed(
    moment: Moment,
    views: Views,
    directions: list[np.ndarray],
    index: int,
    random: np.random.Generator,
    filming: Filming | None,
) -> dict[str, np.ndarray]:
    """shading, plate, radiance and suns of all views under one light, at one exposure."""
    environment = moment.lights[index]
    plates = np.stack([seen(environment.picture, toward) for toward in directions])
    shading = np.stack([view["shading"][index] for view in views])
    alpha = np.stack([view["alpha"] for view in views])
    mean = np.einsum("vhwc,vhw->c", shading, alpha) / max(float(alpha.sum()), 1.0)
    gain = expose(plates, mean, random)
    if filming:
        gain = filming.exposures.setdefault(index, gain)
    light = Light.of(environment)
    probes = [light.probe(shot.crop.world_from_camera) for shot in moment.shots]
    suns = np.zeros((len(views), 2, 7), np.float32)
    for view, probe in enumerate(probes):
        for k, sun in enumerate(probe.suns):
            suns[view, k] = [*sun.direction, *(sun.irradiance * gain), sun.half_angle]
    return {
        "shading": np.minimum(shading * gain, 6e4).astype(np.float16),
        "plate": np.stack([photograph(plate * gain, random, filming and filming.grain) for plate in plates]),
        "radiance": np.stack([probe.radiance * gain for probe in probes]).astype(np.float32),
        "suns": suns,
    }


def _inside_frame(shot: Shot) -> np.ndarray:
    """(128, 128) bool: the crop's pixels whose centres lie in the whole frame."""
    left, top, right, bottom = shot.box
    grid = (np.arange(CROP) + 0.5) / CROP
    x, y = left + grid * (right - left), top + grid * (bottom - top)
    return ((y >= 0) & (y < shot.camera.height))[:, None] & ((x >= 0) & (x < shot.camera.width))
