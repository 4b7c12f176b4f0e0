# SPDX-License-Identifier: GPL-3.0-or-later
"""f's first lessons: the light that a plate was taken in, before f learns through G what shading it makes.

The RiCS paper has the image-based light of every training plate at hand (section 3.1) and leaves open how f uses it.
Here every pixel of f's map tells how a white surface would be shaded that faces each way. It takes a fraction of the
time that f needs to find its task behind G, and leaves a map that varies over its range, from which G can learn.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from ..rays.directions import RICS_DIRECTIONS, SOLID_ANGLES
from .dataset import CLIPPED, ShadingData
from .network import LightEncoder

FLOOR = 0.03  # of shading; the logarithm is taken above it
BATCH = 48
RATE = 3e-3
FACING = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)  # +x +y +z −x −y −z, camera space


def facing_shading(radiance: np.ndarray, suns: np.ndarray) -> np.ndarray:
    """(…, 6, 3) shading of unhidden white surfaces that face `FACING`.

    radiance: (…, 62, 3) of the probe's cells. suns: (…, 2, 7) direction, irradiance, half-angle, as in a shard.
    """
    cells = np.maximum(FACING @ RICS_DIRECTIONS.T, 0) * SOLID_ANGLES / np.pi
    cosine = np.maximum(np.einsum("fx,...sx->...fs", FACING, suns[..., :3]), 0)
    return np.einsum("fk,...kc->...fc", cells, radiance) + np.einsum("...fs,...sc->...fc", cosine, suns[..., 3:6])


def light_code(shading: Tensor) -> Tensor:
    """(B, 6, 3) shading of surfaces that face `FACING` as the 16 values in (0, 1) that f's map shall have.

    Six of them are brightness, the others red and blue against green, for all ways but −z, which no camera sees.
    """
    log = torch.log(shading + FLOOR)
    brightness = (log.mean(2) + 0.7) / 0.8
    colour = (log[:, :5, ::2] - log[:, :5, 1:2]) / 0.25
    return torch.sigmoid(torch.cat([brightness, colour.flatten(1)], 1))


def teach(encoder: LightEncoder, data: ShadingData, minutes: float, seed: int = 0) -> float:
    """Train f on the plates of `data`, in place. Returns the mean absolute error of its map near the end."""
    device = next(encoder.parameters()).device
    plates = np.concatenate([frame.plates for frame in data.frames])
    answers = np.concatenate([facing_shading(frame.radiance, frame.suns) for frame in data.frames]).astype(np.float32)
    random = np.random.default_rng([seed, len(plates)])
    optimizer = torch.optim.Adam(encoder.parameters(), RATE)
    started, errors = time.monotonic(), [1.0]
    bar = tqdm(total=1.0, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}", desc="light lessons")
    with bar:
        while (done := (time.monotonic() - started) / (60 * minutes)) < 1:
            chosen = random.integers(len(plates), size=BATCH)
            plate, answer = _lesson(plates[chosen], answers[chosen], random)
            optimizer.param_groups[0]["lr"] = RATE * (0.505 + 0.495 * np.cos(np.pi * done))
            told = encoder(plate.to(device))
            right = light_code(answer.to(device))[:, :, None, None].expand_as(told)
            optimizer.zero_grad(set_to_none=True)
            functional.binary_cross_entropy(told.float(), right).backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 5.0)
            optimizer.step()
            errors.append(0.98 * errors[-1] + 0.02 * float((told - right).detach().abs().mean()))
            bar.update(min(done, 1.0) - bar.n)
            bar.set_postfix({"error": f"{errors[-1]:.3f}", "plates": len(errors) * BATCH})
    return errors[-1]


def _lesson(plates: np.ndarray, answers: np.ndarray, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch at other exposures and white balances, half of it mirrored: (B, 3, H, W) and (B, 6, 3)."""
    count = len(plates)
    gain = np.exp(random.uniform(-0.35, 0.35, (count, 1)) + random.normal(0, 0.06, (count, 3))).astype(np.float32)
    display = torch.from_numpy(plates).permute(0, 3, 1, 2).float() / 255
    linear = torch.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)
    linear = linear * torch.from_numpy(gain)[:, :, None, None]
    exposed = torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-6) ** (1 / 2.4) - 0.055)
    exposed = torch.where(display >= CLIPPED / 255, torch.maximum(display, exposed), exposed).clamp(max=1)
    answer = torch.from_numpy(answers * gain[:, None])
    mirrored = torch.from_numpy(random.random(count) < 0.5)
    exposed = torch.where(mirrored[:, None, None, None], exposed.flip(3), exposed)
    answer = torch.where(mirrored[:, None, None], answer[:, [3, 1, 2, 0, 4, 5]], answer)
    return exposed.contiguous(memory_format=torch.channels_last), answer
