# SPDX-License-Identifier: GPL-3.0-or-later
"""Who tells the light of a plate: ProbeNet straight away, or ShadingNet, by the shading that it predicts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch

from ..protocol import PROBENET, SHADINGNET, PenumbraError
from ..weights import load_model
from . import person_light
from .ground_light import light_of
from .network import ShadingNet
from .probe import LightProbe
from .probe_network import ProbeNet
from .views import CroppedView, View


@dataclass(frozen=True)
class Estimator:
    """estimate: a view to the light of its plate. key: tells weights apart. unsure: confidence to warn below."""

    estimate: Callable[[View], LightProbe]
    key: str
    unsure: float

    def notices(self, estimates: list[LightProbe]) -> tuple[str, ...]:
        """What the artist should know of the estimates."""
        least = min(estimate.confidence for estimate in estimates)
        if least >= self.unsure:
            return ()
        return (f"The plate tells little about its light (confidence {least:.0%}): check the side that it comes from.",)


def load(name: str, device: torch.device, match: Sequence[str] = ()) -> Estimator:
    """An estimator by the name of its weights; with the names of the meshes of a person in the plate, by their pixels.

    Raises PenumbraError for an unknown name, and where the weights are missing or damaged.
    """
    if match:
        return by_person(device, tuple(match))
    if name not in _KINDS:
        raise PenumbraError(f"There is no light estimator {name}.", f"Choose one of {', '.join(_KINDS)}.")
    module, config = load_model(name)
    module.to(device)
    estimate, unsure = _KINDS[name]
    return Estimator(lambda view: estimate(module, view), config["sha256"][:8], unsure)


def by_person(device: torch.device, names: tuple[str, ...]) -> Estimator:
    """The light on the person over whom the meshes of these names stand, with what ProbeNet tells of the plate."""
    module, config = load_model(PROBENET)
    network = cast(ProbeNet, module.to(device))
    key = hashlib.sha256(json.dumps([config["sha256"], names]).encode()).hexdigest()[:8]
    return Estimator(lambda view: person_light.estimate(network, view, names), key, _UNSURE_FIT)


def by_probenet(network: torch.nn.Module, view: View) -> LightProbe:
    """The light that ProbeNet reads off the plate."""
    return light_of(cast(ProbeNet, network), view.plate, view.camera)


def by_shadingnet(network: torch.nn.Module, view: View) -> LightProbe:
    """ShadingNet shades the character's crop, and the probe is fitted to its shading."""
    seen = CroppedView.of(view)
    return seen.fit_light(seen.predict(cast(ShadingNet, network)))


_UNSURE_FIT = 0.2  # a fit's confidence counts how much of the sphere a person's normals cover: few reach a half
_KINDS: dict[str, tuple[Callable[[torch.nn.Module, View], LightProbe], float]] = {
    PROBENET: (by_probenet, 0.5),
    SHADINGNET: (by_shadingnet, _UNSURE_FIT),
}
