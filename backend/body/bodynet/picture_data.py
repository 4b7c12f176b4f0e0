# SPDX-License-Identifier: GPL-3.0-or-later
"""Shards of rendered pictures (`renders`) as examples to learn from, in place of proxies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...protocol import PenumbraError
from ..lasor.synthesis import Synthesis
from ..model import BodyModel
from .network import BodyNetConfig
from .synthesis import Example, Labeller

# Of SURREAL's pictures, display-encoded in [0, 1] (the public code's).
MEAN, DEVIATION = (0.510, 0.467, 0.411), (0.230, 0.235, 0.232)
JITTER = 0.2  # colours of training pictures are multiplied by 1 ± this, each channel by its own (the public code's)


def standardised(pictures: Tensor) -> Tensor:
    """(B, 3, S, S) as the network takes it, from display-encoded pictures (B, 3, S, S) in [0, 1]."""
    mean, deviation = (torch.tensor(x, device=pictures.device).view(3, 1, 1) for x in (MEAN, DEVIATION))
    return (pictures - mean) / deviation


class PictureData:
    """All pictures of some folders, in memory; draws from them as a `ProxySynthesizer` draws proxies."""

    def __init__(self, folders: list[Path], body: BodyModel, config: BodyNetConfig, split: str = "train") -> None:
        """body: coarse. Raises PenumbraError where there are no pictures, or those of another split."""
        for folder in folders:
            card = folder / "card.json"
            if card.exists() and json.loads(card.read_text("utf-8"))["split"] != split:
                raise PenumbraError(f"{folder} is not of the {split} split.", "Give another folder.")
        paths = [path for folder in folders for path in sorted(folder.glob("shard_*.npz"))]
        if not paths:
            raise PenumbraError(
                "There are no pictures to learn from.", "Make some with make_dataset.py shading --tier pictures."
            )
        shards = [dict(np.load(path, allow_pickle=False)) for path in paths]
        self.pictures = torch.from_numpy(np.concatenate([shard["picture"] for shard in shards])).permute(0, 3, 1, 2)
        names = ("betas", "rotations", "camera")
        self.betas, self.rotations, self.cameras = (
            torch.from_numpy(np.concatenate([shard[name] for shard in shards])).float() for name in names
        )
        self.body, self.config, self.split = body, config, split
        self.labeller = Labeller(body, config)
        self.device = body.v_template.device

    @torch.no_grad()
    def batch(self, count: int, plan: Synthesis, random: torch.Generator, volume: int | None = None) -> Example:
        """`count` pictures; of the train split with their colours changed. Of `plan` pictures know nothing."""
        rows = torch.randint(len(self.pictures), (count,), generator=random, device=random.device).cpu()
        pictures = self.pictures[rows].to(self.device).float() / 255
        if self.split == "train":
            gain = 1 + JITTER * (2 * torch.rand(count, 3, 1, 1, generator=random, device=random.device) - 1)
            pictures = (pictures * gain.to(self.device)).clamp(max=1)
        small = F.interpolate(pictures, (self.config.size,) * 2, mode="area")
        body = (x[rows].to(self.device) for x in (self.betas, self.rotations, self.cameras))
        return Example(standardised(small), self.labeller(*body, volume))
