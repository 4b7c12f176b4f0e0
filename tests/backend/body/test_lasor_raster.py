# SPDX-License-Identifier: GPL-3.0-or-later
"""Rasterising: what is nearest, what is covered, and silhouettes whose gradients are the true ones."""

import numpy as np
import pytest
import torch
import trimesh

from backend.body.lasor.raster import Silhouettes, coverage, face_buffer
from backend.body.model import BodyModel
from backend.body.poses import limit_poses


def seen(vertices: torch.Tensor, size: int, scale: float | torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Orthographic pixels (B, V, 2) of vertices (B, V, 3): `scale` pixels a metre, shifted by `shift` (2,) pixels."""
    return torch.stack([vertices[..., 0], -vertices[..., 1]], -1) * scale + size / 2 + shift


def body(count: int = 2, dtype: torch.dtype = torch.float64) -> tuple[BodyModel, torch.Tensor]:
    model = BodyModel.load(coarse=True).to(dtype)
    return model, torch.from_numpy(limit_poses(count, 4)).to(dtype)


def test_the_nearest_triangle_wins():
    """Two rectangles over 8 × 8 pixels: one upright at 2 m, the other before it at its left and behind at its right."""
    square = torch.tensor([[0, 0], [0, 8], [8, 8], [8, 0]], dtype=torch.float64)
    points = torch.cat([square, square])[None]
    depth = torch.tensor([[2.0, 2, 2, 2, 1, 1, 4, 4]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    # 1/depth falls evenly from 1 to 1/4 over the width, and passes 1/2 after two thirds of it: 5.33 pixels.
    nearer = face_buffer(points, depth, faces, 8)[0] >= 2
    assert nearer[:, :5].all()
    assert not nearer[:, 5:].any()
    assert (face_buffer(points, depth, faces.flip(1), 8) == -1).all()  # seen from behind


def test_coverage_is_that_of_pixel_centres():
    ball = trimesh.creation.icosphere(2)
    points = torch.from_numpy(ball.vertices[None, :, :2] * (9.3, -9.3) + (12.2, 10.7))
    mask = coverage(points, torch.from_numpy(ball.faces).long(), 24)[0].numpy()
    centres = np.stack(np.meshgrid(np.arange(24) + 0.5, np.arange(24) + 0.5), -1)
    radius = np.linalg.norm(centres - (12.2, 10.7), axis=-1)
    assert mask[radius < 9.3 * 0.96].all()
    assert not mask[radius > 9.3].any()


def test_parts_cut_off_by_the_frame():
    model, pose = body(1)
    vertices, _ = model(torch.zeros(1, 10).double(), pose)
    whole = coverage(seen(vertices, 64, 60.0, torch.zeros(2)), model.faces, 64)
    shifted = coverage(seen(vertices, 64, 60.0, torch.tensor([40.0, 0])), model.faces, 64)
    assert torch.equal(shifted[:, :, 40:], whole[:, :, :24])
    assert not coverage(seen(vertices, 64, 60.0, torch.tensor([500.0, 0])), model.faces, 64).any()


def test_silhouettes_are_as_large_as_the_body():
    model, pose = body(4)
    vertices, _ = model(torch.zeros(4, 10).double(), pose)
    soft = Silhouettes(model.faces)(seen(vertices, 64, 30.0, torch.zeros(2)), 64, 0.25)
    fine = coverage(seen(vertices, 1024, 480.0, torch.zeros(2)), model.faces, 1024).double()
    assert soft.sum().item() == pytest.approx(fine.sum().item() / 256, rel=0.01)
    assert (soft - torch.nn.functional.avg_pool2d(fine, 16)).abs().mean() < 0.01


def test_gradients_equal_finite_differences():
    model, pose = body()
    silhouettes = Silhouettes(model.faces)
    weight = torch.randn(2, 48, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pose = pose.clone().requires_grad_()
    betas = torch.zeros(2, 10, dtype=torch.float64, requires_grad=True)
    camera = torch.tensor([22.0, 0.3, -0.2], dtype=torch.float64, requires_grad=True)

    def value(p: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return (silhouettes(seen(model(b, p)[0], 48, c[0], c[1:]), 48, 1.0) * weight).sum()

    gradients = torch.autograd.grad(value(pose, betas, camera), (pose, betas, camera))
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        step = [torch.randn(x.shape, generator=generator, dtype=x.dtype) * 1e-6 for x in (pose, betas, camera)]
        ahead = value(*(x + s for x, s in zip((pose, betas, camera), step, strict=True)))
        behind = value(*(x - s for x, s in zip((pose, betas, camera), step, strict=True)))
        expected = sum((g * s).sum().item() for g, s in zip(gradients, step, strict=True))
        assert ((ahead - behind) / 2).item() == pytest.approx(expected, rel=0.02, abs=2e-8)


def test_gradients_foretell_what_a_finer_picture_shows():
    """Derivatives against hard pictures 8 times as fine: of the area by scale and fat, and of what differs from a body
    with a leg elsewhere. Fingers, thinner than a pixel, come and go in steps that no gradient foretells: 15 %.
    """
    model, pose = body(1)
    silhouettes = Silhouettes(model.faces)

    def points(name: str, x: torch.Tensor, pixels: int) -> torch.Tensor:
        betas = torch.zeros(1, 10, dtype=torch.float64).index_add(1, torch.tensor([1]), x[None] * (name == "fat"))
        turned = pose + torch.eye(3).double()[2] * torch.eye(24).double()[2][:, None] * x * (name == "limb")
        scale = (60 + x * (name == "scale")) * pixels / 128
        return seen(model(betas, turned)[0], pixels, scale, torch.zeros(2))

    for name, size, goal in (("scale", 0.4, None), ("fat", 0.1, None), ("limb", 0.02, 0.4)):
        change = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        weight = torch.ones(1, 1024, 1024, dtype=torch.float64)
        if goal:
            weight = 1 - 2 * coverage(points(name, change.detach() + goal, 1024), model.faces, 1024).double()
        soft = silhouettes(points(name, change, 128), 128, 0.5)
        derivative = torch.autograd.grad((soft * torch.nn.functional.avg_pool2d(weight, 8)).sum(), change)[0].item()
        ends = [coverage(points(name, change.detach() + s, 1024), model.faces, 1024) for s in (size, -size)]
        expected = ((ends[0] * weight).sum() - (ends[1] * weight).sum()).item() / 64 / (2 * size)
        assert abs(expected) > 10, name
        assert derivative == pytest.approx(expected, rel=0.15), name


def test_open_meshes_are_refused():
    with pytest.raises(ValueError, match="closed"):
        Silhouettes(torch.tensor([[0, 1, 2], [0, 2, 3]]))
