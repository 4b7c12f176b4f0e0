# SPDX-License-Identifier: GPL-3.0-or-later
"""The shadow of a job's characters on their plate: cast by the light, and drawn by networks where that is asked."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..images import srgb_encode
from ..protocol import GENERATED, SHADOW_NETWORKS, HarmonizeJob, check_shadow, write_json
from ..shading.probe import LightProbe, ToldShadow
from ..shading.views import View
from ..weights import CONFIG, WEIGHTS
from .cast import Cast, cast_shadows

if TYPE_CHECKING:
    from ..shading.harmonize import Clock
    from . import appearance
    from .appearance import Networks

NOTABLE = 5.0  # degrees; less of a turn is not told
KEY_FRAMES = 3  # of a film, which tell what its shadow looks like

Shaded = Callable[[View, LightProbe], np.ndarray]


@dataclass
class PlateShadow:
    """Makes the shadows of a job. key: tells apart what else its images depend on. root: where weights lie."""

    job: HarmonizeJob
    device: torch.device
    root: Path
    key: str
    _turns: list[float] = field(default_factory=list)

    @classmethod
    def load(cls, job: HarmonizeJob, device: torch.device, root: Path = WEIGHTS) -> PlateShadow:
        """Raises PenumbraError where networks that are asked for are missing, or the softness is out of range."""
        check_shadow(job.shadow, job.shadow_softness, root)
        key = f"{job.shadow} {job.shadow_softness}"
        if job.shadow == GENERATED:
            texts = ((root / name / CONFIG).read_text("utf-8") for name in SHADOW_NETWORKS)
            key = " ".join([key, *(json.loads(text)["sha256"][:8] for text in texts)])
        return cls(job, device, root, key)

    @functools.cached_property
    def networks(self) -> Networks:
        """Raises PenumbraError where they are damaged."""
        from .appearance import Networks  # imports diffusers, which takes seconds

        return Networks.load(self.device, self.root)

    def steadied(self, folder: Path, lights: list[LightProbe], shaded: Shaded, clock: Clock) -> list[LightProbe]:
        """The lights of the job's frames with what the networks tell of the shadow of all of them.

        Drawn frame by frame, a shadow flickers. So the networks draw that of a few frames; the mean turn of the light,
        and the mean power of the traced shadow that theirs is, are those of all frames.
        shaded: shades the characters of a view.
        """
        frames = self.job.frames
        if self.job.shadow != GENERATED or len(frames) == 1 or all(light.told_shadow for light in lights):
            return lights
        made_of = json.dumps([self.key, [f.key for f in frames], [light.to_json() for light in lights]])
        kept = folder / f"shadow_{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.json"
        if not kept.is_file():
            chosen = sorted({round(i) for i in np.linspace(0, len(frames) - 1, min(len(frames), KEY_FRAMES))})
            views = {i: View.open(folder, frames[i]) for i in chosen}
            told = [self._told(view, lights[i], shaded(view, lights[i]), clock) for i, view in views.items()]
            powers = [power for _, power, _ in told if power is not None]
            mean = np.exp(np.mean(np.log(np.maximum(powers, 1e-2)), 0)) if powers else np.ones(3)
            write_json(kept, {"turn": float(np.mean([turn for turn, _, _ in told])), "power": mean.tolist()})
        found = json.loads(kept.read_text("utf-8"))
        shadow = ToldShadow(found["turn"], tuple(found["power"]))
        return [dataclasses.replace(light, told_shadow=shadow) for light in lights]

    def cast(
        self, view: View, shading: np.ndarray, light: LightProbe, clock: Clock
    ) -> tuple[dict[str, np.ndarray], dict[str, Cast]]:
        """Each character's part (H, W, 3) of the shadow, by name, and what the light has cast, where that is all of it.

        shading: (H, W, 3) of the characters. clock: is told the stage that follows casting, where there is one, and its
        steps; what its progress raises ends the work.
        """
        if self.job.shadow != GENERATED:
            casts = self._cast(view, light)
            return {name: cast.ratio for name, cast in casts.items()}, casts
        from . import appearance

        if told := light.told_shadow:
            turn, power = told.turn, np.array(told.power)
            traced = self._traced(view, light.turned(np.radians(turn)))
        else:
            turn, power, traced = self._told(view, light, shading, clock)
        self._turns.append(turn)
        return (traced if power is None else appearance.deepened(traced, power, view.plate)), {}

    def _told(
        self, view: View, light: LightProbe, shading: np.ndarray, clock: Clock
    ) -> tuple[float, np.ndarray | None, dict[str, np.ndarray]]:
        """Of one frame the turn of its light, degrees, the power of its shadow, None without one, and it as traced."""
        from . import appearance

        scene = self._scene(view, shading)
        agreed = appearance.agreed_light(self.networks, scene, light)
        traced = self._traced(view, agreed)
        clock.begin("Drawing the shadow")
        power = appearance.told_power(self.networks, scene, traced, agreed, clock.within)
        return _turn(light, agreed), power, traced

    def _scene(self, view: View, shading: np.ndarray) -> appearance.Scene:
        from . import appearance

        alpha = view.passes.alpha[..., None]
        composite = srgb_encode(np.clip(view.plate * (1 - alpha) + view.passes.albedo * shading * alpha, 0, 1))
        ground, height = self.job.ground, self.job.ground_height
        return appearance.Scene(view.plate, composite, alpha[..., 0], view.scene, view.camera, ground, height)

    def notices(self) -> tuple[str, ...]:
        """What the artist should know of the shadows that were cast."""
        turn = max(self._turns, key=abs, default=0.0)
        if abs(turn) < NOTABLE:
            return ()
        return (
            f"The shadow's light was turned by {abs(turn):.0f}°: its networks are surer of the side than the probe.",
        )

    @property
    def half_angle(self) -> float | None:
        """Of all suns, radians, where the artist has set it."""
        return None if self.job.shadow_softness is None else float(np.radians(self.job.shadow_softness))

    def _traced(self, view: View, light: LightProbe) -> dict[str, np.ndarray]:
        return {name: cast.ratio for name, cast in self._cast(view, light).items()}

    def _cast(self, view: View, light: LightProbe) -> dict[str, Cast]:
        job = self.job
        if self.half_angle is not None:
            light = light.with_half_angle(self.half_angle)
        return cast_shadows(view.scene, view.camera, light.gathered, job.characters, job.ground, job.ground_height)


def _turn(before: LightProbe, after: LightProbe) -> float:
    """Degrees about the vertical between the dominant directions of two probes."""
    azimuths = [np.arctan2(p.dominant_direction_world[1], p.dominant_direction_world[0]) for p in (before, after)]
    return float((np.degrees(azimuths[1] - azimuths[0]) + 180) % 360 - 180)
