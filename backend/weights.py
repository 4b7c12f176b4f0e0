# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled networks: ``assets/weights/<name>/{model.safetensors, config.json, card.md}``.

``config.json`` names the architecture, its sizes, and the SHA-256 of the weights. A network that contains another one
of these as it is, says so in "shared", and keeps no copy of it. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from .protocol import PenumbraError, replacing, write_json

WEIGHTS = Path(os.environ.get("PENUMBRA_WEIGHTS") or Path(__file__).resolve().parent.parent / "assets" / "weights")
MODEL, CONFIG, CARD = "model.safetensors", "config.json", "card.md"


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a network, as ``config.json`` keeps them under "network"; subclasses are dataclasses."""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def _shadingnet(network: dict[str, Any]) -> nn.Module:
    from .shading.network import ShadingConfig, ShadingNet

    return ShadingNet(ShadingConfig.from_json(network))


def _probenet(network: dict[str, Any]) -> nn.Module:
    from .shading.probe_network import ProbeNet, ProbeNetConfig

    return ProbeNet(ProbeNetConfig.from_json(network))


def _paired(network: dict[str, Any]) -> nn.Module:
    from .shading.paired import PairedConfig, PairedNet

    return PairedNet(PairedConfig.from_json(network))


def _lasor(network: dict[str, Any]) -> nn.Module:
    from .body.lasor.network import Lasor, LasorConfig

    return Lasor(LasorConfig.from_json(network))


def _lifter(network: dict[str, Any]) -> nn.Module:
    from .body.lasor.lifter import Lifter

    return Lifter(**network)


def _bodynet(network: dict[str, Any]) -> nn.Module:
    from .body.bodynet.network import BodyNet, BodyNetConfig

    return BodyNet(BodyNetConfig.from_json(network))


def _parts(network: dict[str, Any]) -> nn.Module:
    from .body.segmentation.network import PartsConfig, PartsNet

    return PartsNet(PartsConfig.from_json(network))


def _reconstructor(network: dict[str, Any]) -> nn.Module:
    from .objects.network import ObjectConfig
    from .objects.reconstructor import Reconstructor

    return Reconstructor(ObjectConfig.from_json(network))


def _shadow_predictors(network: dict[str, Any]) -> nn.Module:
    from .shadow.networks import PredictorConfig, ShadowPredictors

    return ShadowPredictors(PredictorConfig.from_json(network))


def _shadow_generator(network: dict[str, Any]) -> nn.Module:
    from .shadow.generator import GeneratorConfig, ShadowGenerator

    return ShadowGenerator.small(GeneratorConfig.from_json(network))


ARCHITECTURES: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "shadingnet": _shadingnet,
    "probenet": _probenet,
    "paired": _paired,
    "parts": _parts,
    "shadow-generator": _shadow_generator,
    "shadow-predictors": _shadow_predictors,
    "lasor": _lasor,
    "lifter": _lifter,
    "bodynet": _bodynet,
    "reconstructor": _reconstructor,
}


def load_model(name: str, root: Path = WEIGHTS) -> tuple[nn.Module, dict[str, Any]]:
    """A bundled network in evaluation mode, float32 on the CPU, and its config.

    Raises PenumbraError where its files are missing, damaged, or of another version.
    """
    state, config = load_state(name, root)
    with fitting(name):
        module = ARCHITECTURES[config["architecture"]](config["network"])
        module.load_state_dict(state)
    return module.eval(), config


def load_state(name: str, root: Path = WEIGHTS) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A bundled network's weights, float32, checked against their hash, and its config. Raises PenumbraError."""
    folder = root / name
    if not (folder / CONFIG).is_file() or not (folder / MODEL).is_file():
        raise PenumbraError(
            f"The weights of {name} are missing from {folder}.",
            "Install Penumbra again, or fetch the folder assets/weights from its repository.",
        )
    with fitting(name):
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        data = (folder / MODEL).read_bytes()
        if hashlib.sha256(data).hexdigest() != config["sha256"]:
            raise ValueError("the checksum differs")
        state = _decoded(safetensors.torch.load(data))
        for prefix, shared in config.get("shared", {}).items():
            theirs, other = load_state(shared["name"], root)
            if other["sha256"] != shared["sha256"]:
                raise ValueError(f"it was trained with another {shared['name']}")
            state |= {f"{prefix}.{key}": value for key, value in theirs.items()}
        return state, config


@contextlib.contextmanager
def fitting(name: str) -> Iterator[None]:
    """Turns what reading weights, or filling a network with them, raises into a PenumbraError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as problem:
        raise PenumbraError(
            f"The weights of {name} cannot be used: they are damaged or of another version.",
            "Install Penumbra again, or fetch the folder assets/weights from its repository.",
        ) from problem


def save_model(
    folder: Path,
    architecture: str,
    module: nn.Module,
    config: dict[str, Any],
    card: str,
    shared: dict[str, str] | None = None,
) -> None:
    """Write a network as float16, its large tensors in 8 bits, with its config and its card.

    config: "network" holds the sizes that the architecture is built from; "architecture" and "sha256" are added.
    shared: parts of it by their names in the module, each the network that lies in a folder of this name beside
    `folder`. Raises ValueError where a weight does not fit into float16.
    """
    shared = shared or {}
    state = {
        key: value.detach().cpu().to(torch.float16).contiguous()
        for key, value in module.state_dict().items()
        if not any(key.startswith(f"{prefix}.") for prefix in shared)
    }
    unfit = [key for key, value in state.items() if not value.isfinite().all()]
    if unfit:
        raise ValueError(f"not finite as float16: {', '.join(unfit)}")
    folder.mkdir(parents=True, exist_ok=True)
    data = safetensors.torch.save(_in_eight_bits(state))
    with replacing(folder / MODEL) as temporary:
        temporary.write_bytes(data)
    config = {"architecture": architecture, **config, "sha256": hashlib.sha256(data).hexdigest()}
    if shared:
        beside = {name: json.loads((folder.parent / name / CONFIG).read_text("utf-8")) for name in shared.values()}
        config["shared"] = {p: {"name": name, "sha256": beside[name]["sha256"]} for p, name in shared.items()}
    write_json(folder / CONFIG, config)
    (folder / CARD).write_text(card, "utf-8")


_SCALE = "::scale"  # after the name of a tensor in 8 bits: what one step of each of its rows is worth
_LARGE = 4096  # values from which on a tensor is kept in 8 bits


def _in_eight_bits(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Large tensors as int8, symmetric about 0, with a scale for each output channel."""
    found = {}
    for key, value in state.items():
        found[key] = value
        if value.ndim > 1 and value.numel() >= _LARGE:
            scale = value.float().flatten(1).abs().amax(1).clamp(min=1e-8) / 127
            found[key] = torch.round(value.float() / _wide(scale, value)).to(torch.int8)
            found[key + _SCALE] = scale
    return found


def _decoded(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """float32 of what `save_model` writes."""
    plain = {key: value.float() for key, value in stored.items() if not key.endswith(_SCALE)}
    for key, value in stored.items():
        if key.endswith(_SCALE):
            name = key.removesuffix(_SCALE)
            plain[name] *= _wide(value, plain[name])
    return plain


def _wide(scale: Tensor, value: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (value.ndim - 1))
