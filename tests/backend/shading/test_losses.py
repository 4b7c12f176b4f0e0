# SPDX-License-Identifier: GPL-3.0-or-later
"""The losses of equations 1 to 4: what they weigh, what they ignore, and where their gradients go."""

from __future__ import annotations

import numpy as np
import torch

from backend.shading.losses import PAPER, LossWeights, edge_importance, judgement, reconstruction
from backend.shading.network import ShadingConfig, ShadingDiscriminator


def maps(channels: int, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, channels, 128, 128, generator=torch.Generator().manual_seed(channels))


def half_alpha() -> torch.Tensor:
    alpha = torch.zeros(2, 1, 128, 128)
    alpha[:, :, :, :64] = 1
    return alpha


def test_importance_lies_on_shadow_edges_not_on_the_silhouette() -> None:
    shading = np.zeros((128, 128, 3), np.float32)
    covered = np.zeros((128, 128), bool)
    covered[20:108, 20:108] = True
    shading[covered] = 0.8
    shading[20:64, 20:108] = 0.2  # a shadow's edge at row 64
    shading[..., 2] *= 0.5
    importance = edge_importance(shading, covered)
    assert importance[62:66, 30:100].max(0).min() == 1  # every channel, though blue changes half as much
    importance[62:66] = 0
    assert not importance.any()


def test_the_papers_losses_weigh_edges_and_albedo_literally() -> None:
    true = maps(3)
    predicted, albedo, importance = true + 0.5, torch.full_like(true, 0.2), torch.zeros_like(true)
    importance[..., :32] = 0.6
    losses = reconstruction(predicted, true, albedo, importance, half_alpha(), PAPER)
    torch.testing.assert_close(losses["shading"], torch.tensor(0.5 * 0.6 * 0.5))
    torch.testing.assert_close(losses["rgb"], torch.tensor(10 * 0.5 * 0.2))


def test_black_cloth_is_taught_too() -> None:
    true, black = maps(3), torch.zeros(2, 3, 128, 128)
    predicted = (true + 0.5).requires_grad_()
    losses = reconstruction(predicted, true, black, black, half_alpha(), LossWeights())
    sum(losses.values()).backward()
    assert predicted.grad[..., :64].abs().min() > 0
    assert not predicted.grad[..., 64:].any()  # background


def test_noisy_targets_teach_their_mean() -> None:
    noise = torch.distributions.Exponential(20.0).sample((100_000,))  # mean 0.05, median 0.035
    grid = torch.linspace(0.03, 0.06, 61)
    ones = torch.ones(1, 3, 1, 1)

    def best(weights: LossWeights) -> float:
        true = noise.view(1, 1, 1, -1).expand(1, 3, 1, -1)
        costs = [
            float(
                reconstruction(g.expand_as(true), true, ones, ones, ones[:, :1].expand(1, 1, 1, len(noise)), weights)[
                    "rgb"
                ]
            )
            for g in grid
        ]
        return float(grid[int(np.argmin(costs))])

    assert abs(best(PAPER) - 0.0347) < 0.002
    assert abs(best(LossWeights()) - 0.05) < 0.004


def test_d_learns_real_from_fake_from_mismatched() -> None:
    torch.manual_seed(0)
    critic = ShadingDiscriminator(ShadingConfig())
    optimizer = torch.optim.Adam(critic.parameters(), 5e-3)
    # Real shading is as bright as its light; a fake is dark under any light.
    level = torch.tensor([0.1] * 3 + [1.0] * 3).view(6, 1, 1, 1)
    true, light = level * torch.ones(6, 3, 32, 32), level * torch.ones(6, 16, 32, 32)
    objects, alpha, fake = torch.zeros(6, 68, 32, 32), torch.ones(6, 1, 32, 32), torch.zeros(6, 3, 32, 32)
    for _ in range(60):
        optimizer.zero_grad()
        loss = judgement(critic, fake, true, objects, light, alpha, LossWeights())[1]
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        real, wrong = critic(true, objects, light).mean(), critic(true, objects, light.roll(3, 0)).mean()
    assert real > wrong + 0.5
    assert real > critic(fake, objects, light).mean()


def test_d_teaches_g_but_not_through_the_light_and_not_in_the_background() -> None:
    critic = ShadingDiscriminator(ShadingConfig())
    predicted, light = maps(3).requires_grad_(), maps(16).requires_grad_()
    losses, _ = judgement(critic, predicted, maps(3).flip(0), maps(68), light, half_alpha(), LossWeights())
    sum(losses.values()).backward()
    assert light.grad is None
    assert predicted.grad[..., :64].any()
    assert not predicted.grad[..., 64:].any()
    fresh = maps(3)
    same, _ = judgement(critic, fresh, fresh, maps(68), light, half_alpha(), LossWeights())
    assert float(same["features"].detach()) == 0
