# SPDX-License-Identifier: GPL-3.0-or-later
"""The albedo of reconstructed people, and the light that they are seen in, from the pictures that show them best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from ..photograph import Photograph
from ..shading import probe as probes
from ..shading.network import ShadingNet
from ..shading.probe import LightProbe
from ..weights import load_model
from .albedo import delight
from .detect import Person
from .model import BodyModel
from .reconstruct import Body, Progress
from .texture import body_texture


@dataclass(frozen=True)
class Portrait:
    """A person in the photograph that gives the texture."""

    photograph: Photograph
    person: Person
    body: Body


def textures(
    shown: dict[int, Portrait], progress: Progress = lambda *_: None
) -> tuple[dict[int, np.ndarray], LightProbe | None]:
    """Albedo textures of the bodies by number, (S, S, 3) linear, and the light that the people are seen in.

    None where nobody shows enough of the light; the texture then has the photograph's own colours.
    """
    network, data = cast(ShadingNet, load_model("shadingnet")[0]), BodyModel.load().body
    made: dict[int, np.ndarray] = {}
    lights: list[LightProbe] = []
    for step, (number, portrait) in enumerate(shown.items()):
        progress("Taking the light from the texture", step / len(shown))
        photograph, mask = portrait.photograph, portrait.person.mask
        mesh = portrait.body.mesh(f"person {number + 1}")
        parts = data.extra["face_parts6"].astype(np.int64)
        delit = delight(photograph.picture, photograph.camera, mesh, parts, mask, network)
        colour, known = (delit.albedo, delit.known) if delit else (photograph.picture, mask > 0.5)
        made[number] = body_texture(data, mesh, photograph.camera, colour, known)
        if delit:
            lights.append(delit.light)
    if not lights:
        return made, None
    return made, probes.mean(lights, [light.confidence + 1e-3 for light in lights], np.eye(3))
