# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights come back as they were saved, and damage is told plainly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from backend import weights
from backend.protocol import PenumbraError
from backend.shading.network import ShadingConfig, ShadingNet

CONFIG = ShadingConfig(encoder_stem=4, widths=(8, 8, 16, 16), uses_rics=False)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, ShadingNet]:
    module = ShadingNet(CONFIG)
    weights.save_model(tmp_path / "net", "shadingnet", module, {"network": CONFIG.to_json()}, "# Card\n")
    return tmp_path, module


def test_round_trip(saved: tuple[Path, ShadingNet]) -> None:
    root, module = saved
    loaded, config = weights.load_model("net", root)
    assert isinstance(loaded, ShadingNet)
    assert loaded.config == CONFIG
    assert config["architecture"] == "shadingnet"
    assert not loaded.training
    for mine, theirs in zip(module.parameters(), loaded.parameters(), strict=True):
        assert theirs.dtype == torch.float32
        torch.testing.assert_close(mine, theirs, atol=3e-3, rtol=1e-3)


def test_large_tensors_are_nearly_the_same_in_eight_bits(saved: tuple[Path, ShadingNet]) -> None:
    root, module = saved
    with torch.no_grad():  # rows of very different size keep their own scale
        next(p for p in module.parameters() if p.ndim > 1 and p.numel() > 5000)[0] *= 100
    weights.save_model(root / "net", "shadingnet", module, {"network": CONFIG.to_json()}, "# Card\n")
    loaded, _ = weights.load_model("net", root)
    for mine, theirs in zip(module.parameters(), loaded.parameters(), strict=True):
        rows = mine.flatten(1) if mine.ndim > 1 else mine[None]
        error = (theirs - mine).reshape(rows.shape).abs().amax(1)
        assert (error <= 0.0046 * rows.abs().amax(1) + 1e-3 * (mine.ndim == 1)).all()
    float16 = 2 * sum(p.numel() for p in module.parameters())
    assert (root / "net" / weights.MODEL).stat().st_size < 0.75 * float16


def damage_bytes(folder: Path) -> None:
    path = folder / weights.MODEL
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(data)


def damage_config(folder: Path) -> None:
    (folder / weights.CONFIG).write_text("{")


def change_architecture(folder: Path) -> None:
    config = json.loads((folder / weights.CONFIG).read_text())
    config["network"]["stem"] += 1
    (folder / weights.CONFIG).write_text(json.dumps(config))


def remove_model(folder: Path) -> None:
    (folder / weights.MODEL).unlink()


@pytest.mark.parametrize("harm", [damage_bytes, damage_config, change_architecture, remove_model])
def test_damage_ends_in_one_sentence_with_a_remedy(saved: tuple[Path, ShadingNet], harm) -> None:
    harm(saved[0] / "net")
    with pytest.raises(PenumbraError) as caught:
        weights.load_model("net", saved[0])
    assert caught.value.message.endswith(".")
    assert caught.value.remedy


def test_weights_that_overflow_half_precision_are_not_saved(tmp_path: Path) -> None:
    module = ShadingNet(CONFIG)
    with torch.no_grad():
        module.generator.out[1].bias.fill_(1e6)
    with pytest.raises(ValueError, match="float16"):
        weights.save_model(tmp_path / "net", "shadingnet", module, {"network": CONFIG.to_json()}, "")
    assert not (tmp_path / "net").exists()
