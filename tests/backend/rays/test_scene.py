# SPDX-License-Identifier: GPL-3.0-or-later
"""Ray casting against brute force, by both ways of reaching Embree, and meshes that are not as they should be."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("embreex")

import trimesh

from backend.protocol import CHARACTER, PROP, RECEIVER, Mesh, PenumbraError
from backend.rays import scene as scene_module
from backend.rays.plain import PlainTracer
from backend.rays.scene import RayScene


def mesh_of(shape: trimesh.Trimesh, role: str = CHARACTER, name: str = "Mesh") -> Mesh:
    """A mesh with the shape's own smooth normals."""
    triangles = np.asarray(shape.faces, np.int32)
    normals = np.asarray(shape.vertex_normals, np.float32)[triangles]
    return Mesh(name, role, np.asarray(shape.vertices, np.float32), triangles, normals)


def soup(role: str = CHARACTER, name: str = "Mesh", seed: int = 0, count: int = 60) -> Mesh:
    """Random triangles in a box of two metres."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-1, 1, (count, 1, 3)) + rng.uniform(-0.4, 0.4, (count, 3, 3))
    triangles = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
    normals = np.repeat(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, None], 3, axis=1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return Mesh(name, role, corners.reshape(-1, 3).astype(np.float32), triangles, normals.astype(np.float32))


def brute_force(mesh: Mesh, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, T) distances, infinite where missed, and (N, T) how far, in barycentric terms, each ray is from the edge.

    By volumes of tetrahedra (Möller and Trumbore, 1997), in float64.
    """
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles].astype(np.float64), 1, 0)
    from_a = origins[:, None] - a
    across, along = np.cross(directions[:, None], c - a), np.cross(from_a, b - a)
    with np.errstate(divide="ignore", invalid="ignore"):
        volume = 1 / np.einsum("ntc,tc->nt", across, b - a)
        u = volume * np.einsum("ntc,ntc->nt", from_a, across)
        v = volume * np.einsum("ntc,nc->nt", along, directions)
        t = volume * np.einsum("ntc,tc->nt", along, c - a)
        inside = np.minimum(np.minimum(u, v), 1 - u - v)
        return np.where((inside >= 0) & (t > 0), t, np.inf), np.nan_to_num(np.abs(inside), nan=np.inf)


@pytest.fixture(params=["packets", "plain"], autouse=True)
def tracer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here holds for both tracers."""
    if request.param == "plain":
        monkeypatch.setattr(scene_module, "Tracer", PlainTracer)
    elif scene_module.Tracer is PlainTracer:
        pytest.skip("no packets on this machine")


def rays(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 3))
    return rng.uniform(-1.5, 1.5, (count, 3)), directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_hits_equal_brute_force() -> None:
    meshes = [soup(name="a", seed=3), soup(PROP, "b", seed=4), soup(name="c", seed=5, count=7)]
    origins, directions = rays(20_000)
    scene = RayScene(meshes)
    hits = scene.intersect(origins, directions)
    tables = [brute_force(m, origins, directions) for m in meshes]
    t, edge = np.hstack([table[0] for table in tables]), np.hstack([table[1] for table in tables])
    clear = edge.min(axis=1) > 1e-5
    assert clear.mean() > 0.95
    nearest = t.argmin(axis=1)
    np.testing.assert_array_equal(hits.mesh[clear] < 0, np.isinf(t.min(axis=1))[clear])
    found = np.flatnonzero(clear & (hits.mesh >= 0))
    assert len(found) > 4_000
    np.testing.assert_allclose(hits.t[found], t.min(axis=1)[found], rtol=1e-4, atol=1e-5)
    start = np.array([0, 60, 120])
    np.testing.assert_array_equal(start[hits.mesh[found]] + hits.triangle[found], nearest[found])
    corners = np.concatenate([m.vertices[m.triangles] for m in meshes])[nearest[found]]
    weights = np.column_stack([1 - hits.uv[found].sum(axis=1), hits.uv[found]])
    point = origins[found] + directions[found] * hits.t[found, None]
    np.testing.assert_allclose(np.einsum("nij,ni->nj", corners, weights), point, atol=2e-5)

    of_role = np.hstack([tables[0][0], tables[2][0]])
    np.testing.assert_array_equal(
        scene.occluded(origins, directions, (CHARACTER,))[clear], np.isfinite(of_role).any(axis=1)[clear]
    )
    np.testing.assert_array_equal(scene.occluded(origins, directions, t_max=0.8)[clear], (t < 0.8).any(axis=1)[clear])
    assert not scene.occluded(origins, directions, (RECEIVER,)).any()


def test_blocked_equals_single_rays() -> None:
    scene = RayScene([soup(seed=6), soup(PROP, seed=7)])
    origins, directions = rays(20_001)
    active = np.random.default_rng(8).random((len(origins), 3)) < 0.6
    shared = scene.blocked(origins, directions[None, :3], active)
    for k in range(3):
        np.testing.assert_array_equal(shared[:, k], active[:, k] & scene.occluded(origins, directions[k : k + 1]))
    own = np.stack([directions, -directions], axis=1)
    both = scene.blocked(origins, own, t_max=0.7)
    np.testing.assert_array_equal(both[:, 1], scene.occluded(origins, -directions, t_max=0.7))
    assert 0.05 < both.mean() < 0.95


def test_scenes_without_triangles() -> None:
    origins, directions = rays(10)
    empty = Mesh("Empty", CHARACTER, np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros((0, 3, 3)))
    for scene in (RayScene([]), RayScene([empty])):
        assert (scene.intersect(origins, directions).mesh == -1).all()
        assert np.isinf(scene.intersect(origins, directions).t).all()
        assert not scene.occluded(origins, directions).any()
    scene = RayScene([empty, soup(seed=9)])
    hits = scene.intersect(*rays(1000))
    assert set(np.unique(hits.mesh)) == {-1, 1}  # the empty mesh keeps its place in the numbering
    assert len(scene.intersect(origins[:0], directions[:0]).t) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vertices_that_are_not_numbers_are_refused(value: float) -> None:
    mesh = soup(name="Torn sleeve")
    mesh.vertices[17, 1] = value
    with pytest.raises(PenumbraError, match="Torn sleeve") as problem:
        RayScene([soup(), mesh])
    assert problem.value.remedy


def test_triangles_of_missing_vertices_are_refused() -> None:
    mesh = soup()
    mesh.triangles[3, 2] = 10_000
    with pytest.raises(ValueError, match="Mesh"):
        RayScene([mesh])


def test_degenerate_triangles_are_never_hit() -> None:
    mesh = soup(count=40)
    mesh.triangles[:20, 2] = mesh.triangles[:20, 1]
    mesh.vertices[mesh.triangles[20:30]] = 0.25  # three corners in one point
    hits = RayScene([mesh]).intersect(*rays(20_000))
    assert hits.triangle.max() >= 30
    assert not ((hits.triangle >= 0) & (hits.triangle < 30)).any()


def test_a_million_faces() -> None:
    side = 708
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    vertices = np.stack([x, y, -4 + 0.2 * np.sin(5 * x) * np.cos(4 * y)], axis=-1).reshape(-1, 3).astype(np.float32)
    grid = np.arange(side * side, dtype=np.int32).reshape(side, side)
    a, b, c, d = (corner.ravel() for corner in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], axis=-1), np.stack([b, d, c], axis=-1)])
    assert len(triangles) > 999_000
    up = np.broadcast_to(np.float32([0, 0, 1]), (len(triangles), 3, 3))
    scene = RayScene([Mesh("Hill", CHARACTER, vertices, triangles, up)])
    origins = np.random.default_rng(0).uniform(-0.9, 0.9, (5000, 3)) * [1, 1, 0]
    hits = scene.intersect(origins, np.tile([0.0, 0.0, -1.0], (5000, 1)))
    height = 4 - 0.2 * np.sin(5 * origins[:, 0]) * np.cos(4 * origins[:, 1])
    np.testing.assert_allclose(hits.t, height, atol=1e-4)
