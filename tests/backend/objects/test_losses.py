# SPDX-License-Identifier: GPL-3.0-or-later
"""Each of JOF's losses by hand, and what it drives toward."""

import numpy as np
import pytest
import torch

from backend.objects import losses
from backend.objects.network import Codes, JointField, ObjectConfig
from backend.objects.projection import projection
from backend.objects.rendering import find_surface, pixel_grid

from .fields import EggField, egg_codes

TINY = ObjectConfig(("a", "b"), 2, 6, 4, 3, (16, 8), (8, 8))


def test_photometric_error_is_that_of_the_foreground():
    true = torch.zeros(1, 3, 3)
    image = torch.tensor([[[0.3, 0.0, 0.0], [0.0, 0.6, 0.3], [9.0, 9.0, 9.0]]])
    assert losses.photometric(image, true, torch.tensor([[1.0, 1.0, 0.0]])) == pytest.approx((0.1 + 0.3) / 2)


def test_the_silhouette_pulls_occupancy_to_a_half_inside_and_to_zero_outside():
    occupancy = torch.tensor([[0.5, 0.51, 0.1, 0.51, 0.4]])  # the last ray passes by a soft surface
    hit, mask = occupancy >= 0.5, torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0]])
    assert losses.silhouette(occupancy, hit, mask) == pytest.approx((0.0 + 0.0 + 0.4 + 0.51 + 0.0) / 5)


def test_the_silhouette_turns_camera_and_shape_toward_the_mask():
    """An egg too small for its mask wants to grow, and one seen off-centre wants its camera back (section 3.4.1)."""
    true = torch.tensor(projection(0.3, 0.2, 0, 4, 0.55), dtype=torch.float32)[None]
    pixels, field = pixel_grid(32), EggField()
    mask = find_surface(field, egg_codes(), true, pixels, losses_search()).hit.float()
    scale = torch.tensor([[0.8]], requires_grad=True)
    small = find_surface(field, egg_codes()._replace(shape=scale), true, pixels, losses_search())
    assert torch.autograd.grad(losses.silhouette(small.occupancy, small.hit, mask), scale)[0] < 0
    shifted = true.clone()
    shifted[:, 0] += 0.15 * shifted[:, 2]  # the picture moves to the right
    shifted.requires_grad_()
    seen = find_surface(field, egg_codes(), shifted, pixels, losses_search())
    slope = torch.autograd.grad(losses.silhouette(seen.occupancy, seen.hit, mask), shifted)[0]
    assert (slope[:, 0] * shifted[:, 2]).sum() > 0  # descending moves it back to the left


def losses_search():
    from backend.objects.rendering import Search

    return Search(32, 6)


def test_albedo_may_change_where_the_picture_does():
    true = torch.ones(1, 1, 3, 3) * 0.5
    true[0, 0, 2] = torch.tensor([0.9, 0.1, 0.1])  # another chromaticity
    step, mask = torch.zeros(1, 1, 3, 3), torch.ones(1, 1, 3)
    step[0, 0, 1:] = 0.4
    allowed = torch.zeros(1, 1, 3, 3)
    allowed[0, 0, 2:] = 0.4
    distance = float((true[0, 0, 1] / true[0, 0, 1].norm() - true[0, 0, 2] / true[0, 0, 2].norm()).norm())
    jump, flat = (3 * 0.4**2 + 1e-4) ** 0.4, 1e-4**0.4
    weight = np.exp(-15 * distance)
    assert losses.albedo_constancy(step, true, mask) == pytest.approx((jump + weight * flat) / 2, rel=1e-4)
    assert losses.albedo_constancy(allowed, true, mask) == pytest.approx((flat + weight * jump) / 2, rel=1e-4)
    outside = torch.tensor([[[1.0, 0.0, 1.0]]])
    assert losses.albedo_constancy(step, true, outside) == 0  # no pair of foreground pixels
    turned = losses.albedo_constancy(step.transpose(1, 2), true.transpose(1, 2), mask.transpose(1, 2))
    assert turned == pytest.approx(float(losses.albedo_constancy(step, true, mask)))
    step.requires_grad_()
    losses.albedo_constancy(step, true, mask).backward()
    assert step.grad.isfinite().all()


def test_mean_shading_of_a_batch_is_white():
    shading = torch.tensor([[[0.5, 1.0, 2.0], [1.5, 1.0, 1.0], [7.0, 7.0, 7.0]]])
    assert losses.white_shading(shading, torch.tensor([[1.0, 1.0, 0.0]])) == pytest.approx((0 + 0 + 0.5) / 3)


def test_the_leading_direction_is_the_eigenvectors_and_so_is_its_gradient():
    torch.manual_seed(0)
    spread = torch.tensor([3.0, 1.0, 0.5, 0.2, 0.1]).double()
    features = (torch.randn(2, 40, 5).double() * spread).requires_grad_()
    found = losses.leading_direction(features)
    for row in range(2):
        centred = (features[row] - features[row].mean(0)).detach()
        true = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
        assert abs(float(true @ found[row].detach())) == pytest.approx(1, abs=1e-9)
    push, along, step = torch.randn_like(features), torch.randn(2, 5).double(), 1e-5
    slope = torch.autograd.grad((found * along).sum(), features)[0]

    def moved(sign: int) -> torch.Tensor:
        v = losses.leading_direction((features + sign * step * push).detach())
        return v * torch.sign((v * found.detach()).sum(-1, keepdim=True))

    numeric = ((moved(1) - moved(-1)) * along).sum() / (2 * step)
    assert float((slope * push).sum()) == pytest.approx(float(numeric), rel=1e-3)


def test_features_are_compared_within_a_category_whatever_their_sign():
    directions = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    category = torch.tensor([0, 0, 1, 0])
    pair = 0.4 + 0.8  # of the fourth with each of the first two
    assert losses.feature_consistency(directions, category) == pytest.approx((0 + pair + pair) / 3)
    assert losses.feature_consistency(directions, torch.arange(4)) == 0


def test_boundary_points_lie_between_parts_and_features_where_they_are_seen():
    points = losses.boundary_points(EggField(), egg_codes(2), 50)
    assert points.shape == (2, 50, 3)
    assert points[..., 1].abs().max() < 1e-6  # the egg's halves meet at y = 0
    assert (points[..., [0, 2]].norm(dim=-1) < 0.62).all()
    matrix = torch.tensor(projection(0.4, 0.5, 0, 4, 0.6), dtype=torch.float32)[None].expand(2, -1, -1)
    u = torch.nn.functional.pad(points, (0, 1), value=1.0) @ matrix.transpose(1, 2)
    line = (torch.arange(64) + 0.5) / 32 - 1
    ramp = torch.stack(torch.meshgrid(line, line, indexing="xy")).expand(2, 2, 64, 64)  # each pixel's u and v
    found = losses.local_features((ramp, ramp[:, :1]), matrix, points)
    assert found.shape == (2, 50, 3)
    torch.testing.assert_close(found[..., :2], u[..., :2] / u[..., 2:], atol=1e-4, rtol=0)


def test_stage_one_compares_occupancy_colour_and_category():
    torch.manual_seed(0)
    field = JointField(TINY)
    codes = Codes(torch.randn(2, 2), torch.randn(2, 6), torch.randn(2, 4))
    points = torch.rand(2, 9, 3) * 2 - 1
    occupied, colour = (torch.rand(2, 9) > 0.5).float(), torch.rand(2, 9, 3)
    coloured = torch.zeros(2, 9, dtype=torch.bool)
    coloured[:, ::3] = True
    given = field, codes, points, occupied, colour, coloured, torch.tensor([0, 1])
    found, squares = losses.stage1(*given), losses.stage1(*given, squares=True)
    with torch.no_grad():
        occupancy, branch, albedo = field(codes, points)
    found = {name: float(loss.detach()) for name, loss in found.items()}
    told = torch.where(occupied > 0.5, occupancy, 1 - occupancy)
    assert found["occupancy"] == pytest.approx(float(-losses.ENTROPY * told.log().mean()), rel=1e-4)
    assert float(squares["occupancy"].detach()) == pytest.approx(float(((occupancy - occupied) ** 2).mean()))
    assert found["albedo"] == pytest.approx(float(((albedo - colour) ** 2)[coloured].mean()), rel=1e-5)
    logits = field.classifier(codes.category).detach()
    assert found["category"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1]))))
    assert branch.max() < TINY.branches


def test_the_balance_is_least_where_all_branches_win_their_share():
    """Three branches that win a third of the occupied points each; one that wins them all."""
    points = torch.linspace(-1, 1, 30)[None, :, None].expand(1, 30, 3)

    class Field(EggField):
        def __init__(self, edges: tuple[float, float]) -> None:
            self.edges = edges

        def shape(self, codes: Codes, at: torch.Tensor) -> torch.Tensor:
            x = at[..., 0]
            won = torch.bucketize(x.contiguous(), torch.tensor(self.edges))
            return torch.nn.functional.one_hot(won, 3).float()

        def chosen_albedo(self, codes: Codes, at: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(at)

    def balance(edges: tuple[float, float]) -> float:
        one = torch.ones(1, 30)
        colour, all_of_them = torch.zeros(1, 30, 3), one > 0
        found = losses.stage1(
            Field(edges), egg_codes(), points, one, colour, all_of_them, torch.tensor([0]), balance=2.0
        )
        return float(found["balance"])

    assert balance((-0.33, 0.33)) == balance((-0.5, 0.5)) == 0
    assert balance((2.0, 3.0)) == pytest.approx(2 * 0.8 * np.log(3), abs=0.02)


def test_a_part_is_of_one_piece_and_one_colour():
    """A row of points, half of them red and half blue, and who wins them."""
    points = torch.linspace(-1, 1, 40)[None, :, None].expand(1, 40, 3)
    half = torch.arange(40)[None] >= 20
    colour = torch.where(half[..., None], torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0]))

    def wrong(branch: torch.Tensor) -> float:
        chosen = torch.nn.functional.one_hot(branch, 3).float()
        return float(losses.part_coherence(chosen, points, colour, torch.ones(1, 40, dtype=torch.bool)))

    one, speckled = torch.zeros(1, 40, dtype=torch.long), torch.arange(40)[None] % 2
    assert wrong(half.long()) < 0.01 < wrong(one) < wrong(speckled)
