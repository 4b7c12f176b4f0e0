# SPDX-License-Identifier: GPL-3.0-or-later
"""The shadow of a job's characters on their plate: cast by the light, and drawn by networks where that is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..images import srgb_encode
from ..protocol import GENERATED, SHADOW_NETWORKS, HarmonizeJob, check_shadow
from ..shading.probe import LightProbe
from ..weights import CONFIG, WEIGHTS
from .cast import cast_shadows

if TYPE_CHECKING:
    from ..shading.harmonize import Clock
    from ..shading.views import View
    from .appearance import Networks

NOTABLE = 5.0  # degrees; less of a turn is not told


@dataclass
class PlateShadow:
    """Makes the shadows of a job. key: tells apart what else its images depend on."""

    job: HarmonizeJob
    networks: Networks | None
    key: str
    _turns: list[float] = field(default_factory=list)

    @classmethod
    def load(cls, job: HarmonizeJob, device: torch.device, root: Path = WEIGHTS) -> PlateShadow:
        """root: where trained weights lie.

        Raises PenumbraError where networks that are asked for are missing or damaged, or the softness is out of range.
        """
        check_shadow(job.shadow, job.shadow_softness, root)
        key = f"{job.shadow} {job.shadow_softness}"
        if job.shadow != GENERATED or job.only_light:
            return cls(job, None, key)
        from .appearance import Networks  # imports diffusers, which takes seconds

        sums = [json.loads((root / name / CONFIG).read_text("utf-8"))["sha256"][:8] for name in SHADOW_NETWORKS]
        return cls(job, Networks.load(device, root), " ".join([key, *sums]))

    def cast(self, view: View, shading: np.ndarray, light: LightProbe, clock: Clock) -> dict[str, np.ndarray]:
        """Each character's part (H, W, 3) of the shadow, by name; see `cast.cast_shadows`.

        shading: (H, W, 3) of the characters. clock: is told the stage that follows casting, where there is one, and its
        steps; what its progress raises ends the work.
        """
        if self.networks is None:
            return self._traced(view, light)
        from . import appearance

        alpha = view.passes.alpha[..., None]
        composite = srgb_encode(np.clip(view.plate * (1 - alpha) + view.passes.albedo * shading * alpha, 0, 1))
        ground, height = self.job.ground, self.job.ground_height
        scene = appearance.Scene(view.plate, composite, alpha[..., 0], view.scene, view.camera, ground, height)
        agreed = appearance.agreed_light(self.networks, scene, light)
        self._turns.append(_turn(light, agreed))
        traced = self._traced(view, agreed)
        clock.begin("Drawing the shadow")
        return appearance.drawn(self.networks, scene, traced, agreed, clock.within)

    def notices(self) -> tuple[str, ...]:
        """What the artist should know of the shadows that were cast."""
        turn = max(self._turns, key=abs, default=0.0)
        if abs(turn) < NOTABLE:
            return ()
        return (
            f"The shadow's light was turned by {abs(turn):.0f}°: its networks are surer of the side than the probe.",
        )

    def _traced(self, view: View, light: LightProbe) -> dict[str, np.ndarray]:
        job = self.job
        if job.shadow_softness is not None:
            light = light.with_half_angle(float(np.radians(job.shadow_softness)))
        return cast_shadows(view.scene, view.camera, light, job.characters, job.ground, job.ground_height)


def _turn(before: LightProbe, after: LightProbe) -> float:
    """Degrees about the vertical between the dominant directions of two probes."""
    azimuths = [np.arctan2(p.dominant_direction_world[1], p.dominant_direction_world[0]) for p in (before, after)]
    return float((np.degrees(azimuths[1] - azimuths[0]) + 180) % 360 - 180)
