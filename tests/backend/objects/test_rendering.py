# SPDX-License-Identifier: GPL-3.0-or-later
"""The differentiable renderer sees what a ray tracer sees of the same object, camera and light."""

import numpy as np
import pytest
import torch

from backend.objects import views
from backend.objects.projection import cropped, pixel_rays, project, projection, viewpoint
from backend.objects.rendering import Search, find_surface, pixel_grid, rays, render, valid_camera
from backend.rays.scene import RayScene

from .fields import RADII, EggField, egg_codes, egg_shape

SIZE = 64


def camera() -> np.ndarray:
    matrix = projection(np.radians(40), np.radians(25), np.radians(5), 4.0, np.radians(30))
    return cropped(matrix, np.array([0.05, -0.03]), 0.9)


def test_projections_put_azimuth_elevation_and_depth_where_they_belong():
    matrix = projection(np.radians(90), 0.0, 0.0, 3.0, np.radians(90))  # the camera stands on +x
    assert viewpoint(matrix) == pytest.approx((np.pi / 2, 0))
    place, depth = project(matrix, np.array([[0, 0, 0], [0, 1, 0], [0, 0, -1], [1, 0, 0]], float))
    np.testing.assert_allclose(depth, [3, 3, 3, 2])
    np.testing.assert_allclose(place, [[0, 0], [0, -1 / 3], [1 / 3, 0], [0, 0]], atol=1e-12)  # up is -v, -z is right
    assert viewpoint(cropped(camera(), np.array([0.2, 0.1]), 0.5)) == pytest.approx(np.radians((40, 25)))


def test_estimated_numbers_become_a_camera_and_true_ones_stay():
    torch.manual_seed(0)
    true = torch.tensor(camera())[None]
    torch.testing.assert_close(valid_camera(true), true, atol=1e-5, rtol=0)
    torch.testing.assert_close(valid_camera(3 * true), true, atol=1e-5, rtol=0)
    found = valid_camera(torch.randn(20, 3, 4))
    forward = found[:, 2, :3]
    torch.testing.assert_close(forward.norm(dim=-1), torch.ones(20))
    across, down = (found[:, k, :3] - (found[:, k, :3] * forward).sum(-1, keepdim=True) * forward for k in (0, 1))
    assert (across * down).sum(-1).abs().max() < 1e-4
    assert (torch.linalg.cross(across, down) * forward).sum(-1).min() > 0.2  # never mirrored, never flat
    assert valid_camera(torch.zeros(1, 3, 4)).isfinite().all()


def test_rays_run_through_their_pixels_as_numpy_has_them():
    matrix = camera()
    origin, directions = pixel_rays(matrix, SIZE)
    centre, found = rays(torch.tensor(matrix)[None], pixel_grid(SIZE).double())
    np.testing.assert_allclose(centre[0, 0], origin, atol=1e-9)
    np.testing.assert_allclose(found[0], directions.reshape(-1, 3), atol=1e-9)
    place, depth = project(matrix, origin + 2.5 * directions.reshape(-1, 3))
    np.testing.assert_allclose(place, pixel_grid(SIZE), atol=1e-6)
    np.testing.assert_allclose(depth, 2.5)


def test_a_lambertian_object_looks_as_traced():
    shape = egg_shape()
    light = views.random_light(np.random.default_rng(3))
    traced = views.see(shape, RayScene([views.mesh_of(shape)]), camera(), SIZE)
    true = views.shade(traced, light)
    matrix, coefficients = (torch.tensor(x, dtype=torch.float32)[None] for x in (camera(), light))
    picture = render(EggField(), egg_codes(), matrix, coefficients, pixel_grid(SIZE))
    hit = picture.surface.hit[0].reshape(SIZE, SIZE).numpy()
    assert (hit == (traced.alpha > 0.5)).mean() > 0.99
    solid = (
        hit & (traced.alpha == 1) & (np.abs(picture.surface.points[0, :, 1].detach().view(SIZE, SIZE)) > 0.1).numpy()
    )
    solid &= traced.normal @ camera()[2, :3] < -0.25  # away from the silhouette, where normals turn within a pixel
    assert solid.sum() > 600
    found = picture.image[0].detach().view(SIZE, SIZE, 3).numpy()
    normals = picture.normals[0].detach().view(SIZE, SIZE, 3).numpy()
    assert (normals * traced.normal).sum(-1)[solid].min() > 0.99
    np.testing.assert_allclose(found[solid], true[solid], atol=0.02)


def test_binary_search_finds_the_surface_better_than_linear_search():
    matrix, pixels = torch.tensor(camera(), dtype=torch.float32)[None], pixel_grid(24)
    errors = {}
    for name, search in {"linear": Search(32, 0), "both": Search(24, 8)}.items():  # the same number of evaluations
        surface = find_surface(EggField(), egg_codes(), matrix, pixels, search)
        distance = ((surface.points / torch.tensor(RADII)).norm(dim=-1) - 1)[surface.hit].abs()
        errors[name] = float(distance.mean())
        if name == "both":
            torch.testing.assert_close(
                surface.occupancy[surface.hit], torch.tensor(0.5).expand(surface.hit.sum()), atol=0.01, rtol=0
            )
    assert errors["both"] < 1e-3 < 0.01 < errors["linear"]


def test_rays_that_miss_give_the_point_nearest_to_being_inside():
    matrix = torch.tensor(camera(), dtype=torch.float32)[None]
    surface = find_surface(EggField(), egg_codes(scale=0.5), matrix, torch.tensor([[0.62, 0.0]]), Search(64, 4))
    assert not surface.hit.any()
    centre, direction = rays(matrix, torch.tensor([[0.62, 0.0]]))
    along = centre + torch.linspace(3, 5, 2000)[:, None] * direction
    assert float(surface.occupancy) == pytest.approx(
        float(EggField().occupancy(egg_codes(scale=0.5), along).max()), abs=5e-3
    )


@pytest.mark.parametrize("what", ["matrix", "light", "shape", "albedo"])
def test_gradients_are_those_of_the_held_depth(what):
    """Autograd against finite differences of equation 3, x = P⁻¹u at the depth that the search found."""
    torch.manual_seed(0)
    given = {
        "matrix": torch.tensor(camera())[None],
        "light": torch.tensor(views.random_light(np.random.default_rng(1)))[None],
        "shape": torch.ones(1, 1).double(),
        "albedo": torch.ones(1, 1).double(),
    }
    pixels, field = torch.tensor([[0.05, -0.3], [-0.2, 0.35], [0.3, 0.1]]).double(), EggField()
    codes = egg_codes()._replace(category=torch.zeros(1, 0).double())
    centre, directions = rays(given["matrix"], pixels)
    hold = find_surface(
        field, codes._replace(shape=given["shape"], albedo=given["albedo"]), given["matrix"], pixels, Search()
    )
    depth = ((hold.points - centre) / directions).mean(-1)

    def image(value: torch.Tensor) -> torch.Tensor:
        from backend.objects import rendering

        now = {**given, what: value}
        mine = codes._replace(shape=now["shape"], albedo=now["albedo"])
        start, toward = rays(now["matrix"], pixels)
        points = start + depth[..., None] * toward
        normals = rendering.normals_of(field, mine, points, True)
        branch = field.shape(mine, points).argmax(-1)
        return (rendering.harmonics(normals) @ now["light"] * field.chosen_albedo(mine, points, branch)).sum()

    value = given[what].clone().requires_grad_()
    now = {**given, what: value}
    picture = render(
        field, codes._replace(shape=now["shape"], albedo=now["albedo"]), now["matrix"], now["light"], pixels
    )
    found = torch.autograd.grad(picture.image.sum(), value, allow_unused=True)[0]
    push = torch.randn_like(value)
    step = 1e-5
    slope = ((image(given[what] + step * push) - image(given[what] - step * push)) / (2 * step)).detach()
    if what == "shape":  # the egg's normals and colours do not change where the point is held
        assert float(slope) == pytest.approx(0, abs=1e-6)
        surface = find_surface(field, codes._replace(shape=value), given["matrix"], pixels, Search())
        assert (torch.autograd.grad(surface.occupancy.sum(), value)[0] > 0).all()  # but its occupancy does
        return
    assert float((found * push).sum().detach()) == pytest.approx(float(slope), rel=1e-3)
    assert abs(float(slope)) > 1e-4
