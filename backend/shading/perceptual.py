# SPDX-License-Identifier: GPL-3.0-or-later
"""LPIPS and FVD, by networks whose weights the user has; none is bundled, and nothing stands in for them.

Files are read without unpickling objects. Pictures are display-encoded RGB in [0, 1], (H, W, 3).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..protocol import PenumbraError

SMALLEST_FILM = 16  # frames from which on I3D's features are those that FVD is known for


class Lpips(nn.Module):
    """Learned perceptual image patch similarity, version 0.1, on AlexNet (Zhang et al. 2018)."""

    def __init__(self, alexnet: Path, heads: Path) -> None:
        """alexnet: torchvision's weights of AlexNet. heads: LPIPS' ``v0.1/alex.pth``. Raises PenumbraError."""
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(3, 64, 11, 4, 2),
                nn.Conv2d(64, 192, 5, 1, 2),
                nn.Conv2d(192, 384, 3, 1, 1),
                nn.Conv2d(384, 256, 3, 1, 1),
                nn.Conv2d(256, 256, 3, 1, 1),
            ]
        )
        try:
            trained = torch.load(alexnet, "cpu", weights_only=True)
            for layer, place in zip(self.layers, (0, 3, 6, 8, 10), strict=True):
                layer.load_state_dict({name: trained[f"features.{place}.{name}"] for name in ("weight", "bias")})
            linear = torch.load(heads, "cpu", weights_only=True)
            self.heads = [linear[f"lin{k}.model.1.weight"] for k in range(5)]
        except Exception as problem:  # whatever another file makes of it
            raise PenumbraError(
                f"LPIPS cannot read {alexnet.name} and {heads.name}: {type(problem).__name__}.",
                "Give torchvision's AlexNet and LPIPS' alex.pth of version 0.1.",
            ) from problem
        self.requires_grad_(False)

    @torch.inference_mode()
    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """The distance of two pictures; 0 where they are the same."""
        x = torch.from_numpy(np.stack([a, b]).astype(np.float32)).permute(0, 3, 1, 2) * 2 - 1
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        x, total = (x - shift[:, None, None]) / scale[:, None, None], 0.0
        for number, (layer, head) in enumerate(zip(self.layers, self.heads, strict=True)):
            x = torch.relu(layer(F.max_pool2d(x, 3, 2) if number in (1, 2) else x))
            unit = x / (x.norm(dim=1, keepdim=True) + 1e-10)
            total += float((head[0] * (unit[0] - unit[1]) ** 2).sum(0).mean())
        return total


class Fvd:
    """Fréchet video distance on I3D's logits (Unterthiner et al. 2018)."""

    def __init__(self, i3d: Path) -> None:
        """i3d: the TorchScript file ``i3d_torchscript.pt`` that FVD is commonly measured with. Raises PenumbraError."""
        try:
            self.network = torch.jit.load(i3d, "cpu").eval()
        except Exception as problem:  # whatever another file makes of it
            raise PenumbraError(f"FVD cannot read {i3d.name}.", "Give I3D as a TorchScript file.") from problem

    @torch.inference_mode()
    def features(self, film: np.ndarray) -> np.ndarray:
        """(400,) of a film (T, H, W, 3)."""
        frames = torch.from_numpy(film.astype(np.float32) * 255).permute(3, 0, 1, 2)[None]
        return np.asarray(self.network(frames, rescale=True, resize=True, return_features=True)[0], np.float64)

    def distance(self, films: list[np.ndarray], true: list[np.ndarray]) -> float | None:
        """Of as many films as true ones; None of fewer than two, or of films that are too short."""
        if len(films) < 2 or min(map(len, films)) < SMALLEST_FILM:
            return None
        a, b = (np.stack([self.features(film) for film in many]) for many in (films, true))
        return frechet(a, b)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of the Gaussians that fit two sets of features (N, D)."""
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of a product's square root: its eigenvalues are real and positive, but for rounding.
    root = np.sqrt(np.linalg.eigvals(one @ other).real.clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + other) - 2 * root)
