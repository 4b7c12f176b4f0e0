# SPDX-License-Identifier: GPL-3.0-or-later
"""The learned rivals of ShadingNet: one U-Net from 2D pictures alone to a harmonized character (RiCS paper, 4.1).

Three kinds stand for three papers:

* ``colour``: albedo, normal, alpha and plate to the character's colour, as Pix2PixHD was asked;
* ``shading``: the same to shading, which multiplies the albedo, as Deep CG2Real was asked;
* ``harmonization``: the albedo pasted into the plate, and its mask, to the character's colour, as DoveNet was asked.

All see the plate twice: what of it lies around the character, aligned with it, and all of it, as ShadingNet's f does.
The U-Net is that of ShadingNet's generator, without occlusion map and light map. They learn by regression alone:
their papers' discriminators trade squared error for sharpness, which Table 1's first column would count against them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..weights import NetworkConfig
from .network import UNet, crop_map

KINDS = ("colour", "shading", "harmonization")


@dataclass(frozen=True)
class PairedConfig(NetworkConfig):
    """kind: one of `KINDS`. stem, widths, norm: of the U-Net, by default those of the bundled ShadingNet."""

    kind: str = "colour"
    stem: int = 24
    widths: tuple[int, int, int, int] = (24, 48, 64, 96)
    norm: str = "layer"

    @property
    def channels(self) -> int:
        """Of the input: plate twice and alpha, and normal and albedo or the composite."""
        return 10 if self.kind == "harmonization" else 13


class Inputs(NamedTuple):
    """What a rival sees, as in `dataset.Batch`, but a display-encoded albedo; tensors of B images."""

    plate: Tensor
    normal: Tensor
    albedo: Tensor
    alpha: Tensor
    box: Tensor


class PairedNet(nn.Module):
    """A U-Net from pictures to the character's linear shading, or to its display-encoded colour."""

    def __init__(self, config: PairedConfig | None = None) -> None:
        super().__init__()
        self.config = config or PairedConfig()
        self.unet = UNet(self.config.channels, self.config.stem, self.config.widths, self.config.norm)
        self.to(memory_format=torch.channels_last)

    @property
    def colours(self) -> bool:
        """Whether it tells colour, not shading."""
        return self.config.kind != "shading"

    def forward(self, seen: Inputs) -> Tensor:
        """(B, 3, S, S); meaningless outside the character."""
        size = seen.albedo.shape[-1]
        everything = torch.tensor([0.0, 0, 1, 1], device=seen.box.device).expand(len(seen.box), 4)
        plates = [crop_map(seen.plate, box, size).to(seen.albedo.dtype) for box in (seen.box, everything)]
        if self.config.kind != "harmonization":
            return self.unet.translated(torch.cat([seen.normal, seen.albedo, seen.alpha, *plates], 1))
        pasted = seen.alpha * seen.albedo + (1 - seen.alpha) * plates[0]
        return self.unet.translated(torch.cat([pasted, seen.alpha, *plates], 1))

    @torch.inference_mode()
    def predict(
        self, plate: np.ndarray, albedo: np.ndarray, normal: np.ndarray, alpha: np.ndarray, box: np.ndarray
    ) -> np.ndarray:
        """(128, 128, 3) float32 of one cropped character. Arguments as `ShadingNet.predict`, display-encoded albedo."""
        device = next(self.parameters()).device
        maps = (plate, normal, albedo, alpha[..., None])
        tensors = [
            torch.from_numpy(np.ascontiguousarray(m, np.float32)).permute(2, 0, 1)[None].to(device) for m in maps
        ]
        seen = Inputs(*tensors, torch.as_tensor(np.asarray(box, np.float32))[None].to(device))
        return np.maximum(self(seen)[0].permute(1, 2, 0).float().cpu().numpy(), 0)
