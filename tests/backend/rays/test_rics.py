# SPDX-License-Identifier: GPL-3.0-or-later
"""RiCS maps of shapes whose occlusion is known, and against brute force."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("embreex")

import trimesh

from backend.protocol import CHARACTER, HOLDOUT, PROP, RECEIVER, Camera, Mesh
from backend.rays.camera import crop_camera, fov_from_lens, look_at, orthographic, perspective, project
from backend.rays.directions import RICS_DIRECTIONS, unpack_bits
from backend.rays.rics import SurfaceMap, light_visibility, occlusion, trace
from backend.rays.scene import RayScene

CAMERA = perspective(96, 80, fov_from_lens(50))


def mesh_of(shape: trimesh.Trimesh, role: str = CHARACTER, name: str = "Mesh") -> Mesh:
    """A mesh with the shape's own smooth normals."""
    triangles = np.asarray(shape.faces, np.int32)
    normals = np.asarray(shape.vertex_normals, np.float32)[triangles]
    return Mesh(name, role, np.asarray(shape.vertices, np.float32), triangles, normals)


def sphere(subdivisions: int, radius: float, centre: tuple[float, float, float], role: str = CHARACTER) -> Mesh:
    """An icosphere with the true sphere's normals."""
    shape = trimesh.creation.icosphere(subdivisions, radius)
    normals = np.asarray(shape.vertices / radius, np.float32)[shape.faces]
    return replace(mesh_of(shape, role), vertices=np.float32(shape.vertices + centre), corner_normals=normals)


def torus(centre: tuple[float, float, float] = (0.1, 0.05, -4.0), sections: int = 48) -> Mesh:
    """A tilted ring, which hides much of itself."""
    shape = trimesh.creation.torus(0.8, 0.35, major_sections=sections, minor_sections=sections // 2)
    shape.apply_transform(trimesh.transformations.rotation_matrix(1.1, [1, 0.4, 0.2]))
    shape.apply_translation(centre)
    return mesh_of(shape)


def disc(radius: float, height: float, centre: tuple[float, float, float], role: str = CHARACTER) -> Mesh:
    """A horizontal disc whose normal is +y."""
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    rim = np.stack([radius * np.sin(angle), np.zeros(720), radius * np.cos(angle)], axis=-1)
    vertices = np.float32(np.vstack([[0, 0, 0], rim]) + centre + [0, height, 0])
    at = np.arange(720, dtype=np.int32)
    triangles = np.stack([np.zeros(720, np.int32), at + 1, (at + 1) % 720 + 1], axis=-1)
    return Mesh("Disc", role, vertices, triangles, np.broadcast_to(np.float32([0, 1, 0]), (720, 3, 3)))


def at_point(surface: SurfaceMap, point: tuple[float, float, float]) -> tuple[int, int]:
    """The pixel that sees the surface nearest to a point."""
    distance = np.where(surface.valid, np.linalg.norm(surface.point - np.float32(point), axis=-1), np.inf)
    return tuple(np.unravel_index(distance.argmin(), distance.shape))


@pytest.mark.parametrize("camera", [CAMERA, orthographic(96, 80, 3.0)], ids=["perspective", "orthographic"])
@pytest.mark.parametrize("subdivisions", [1, 2, 4])
def test_a_sphere_hides_exactly_the_inward_directions(camera: Camera, subdivisions: int) -> None:
    surface = trace(RayScene([sphere(subdivisions, 1.0, (0.3, 0.2, -4.0))]), camera)
    assert surface.valid.sum() > 1500
    normals = surface.normal[surface.valid]
    cosine = normals @ RICS_DIRECTIONS.T
    clear = np.abs(cosine) > 2e-3  # a tenth of a degree beside the terminator is left to rounding
    np.testing.assert_array_equal(unpack_bits(surface.bits[surface.valid])[clear], cosine[clear] <= 0)
    assert occlusion(surface).max() < 1e-3
    assert (surface.blockers == 0).all()
    outward = surface.point[surface.valid] - np.float32([0.3, 0.2, -4.0])
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    np.testing.assert_allclose(normals, outward, atol=1e-5 if subdivisions == 4 else 0.02)
    geometric = surface.geometric_normal[surface.valid]
    assert ((geometric * outward).sum(axis=1) > 0.9).all()
    assert (np.abs(np.linalg.norm(geometric, axis=1) - 1) < 1e-5).all()


@pytest.mark.parametrize("angle", [45.0, 75.0])
def test_an_overhang_hides_its_share_of_the_sky(angle: float) -> None:
    """A disc over a floor: from under its middle it spans `angle` around +y, sin² of it of the cosine-weighted sky."""
    middle = (0.0, -1.0, -5.0)
    roof = disc(0.8 * np.tan(np.radians(angle)), 0.8, middle)
    scene = RayScene([disc(6.0, 0.0, middle), roof])
    x, y = project(CAMERA, np.array(middle))[0]
    surface = trace(scene, crop_camera(CAMERA, (x - 1, y - 1, x + 1, y + 1), (65, 65)))
    pixel = (32, 32)
    np.testing.assert_allclose(surface.point[pixel], middle, atol=1e-4)
    polar = np.degrees(np.arccos(RICS_DIRECTIONS[:, 1]))
    np.testing.assert_array_equal(unpack_bits(surface.bits[pixel]), (polar < angle) | (polar > 89))

    rng = np.random.default_rng(0)
    turn, lift = rng.uniform(0, 2 * np.pi, 20_000), np.sqrt(rng.random(20_000))
    level = np.sqrt(1 - lift**2)
    sky = np.stack([level * np.sin(turn), lift, level * np.cos(turn)], axis=-1)
    only = replace(surface, valid=np.zeros_like(surface.valid))
    only.valid[pixel] = True
    visible = light_visibility(scene, only, sky)
    assert visible.shape == (1, 20_000)
    assert visible.mean() == pytest.approx(np.cos(np.radians(angle)) ** 2, abs=0.015)
    assert occlusion(surface)[pixel] == pytest.approx(np.sin(np.radians(angle)) ** 2, abs=0.08)  # 62 directions only


def test_bits_equal_brute_force() -> None:
    from .test_scene import brute_force

    mesh = mesh_of(trimesh.util.concatenate([trimesh.creation.icosphere(1), trimesh.creation.torus(1.3, 0.2, 10, 6)]))
    mesh = replace(mesh, vertices=mesh.vertices + np.float32([0.1, 0.0, -5.0]))
    surface = trace(RayScene([mesh]), perspective(40, 32, fov_from_lens(50)))
    valid = surface.valid
    origins = np.repeat((surface.point + surface.offset)[valid], 62, axis=0).astype(np.float64)
    directions = np.tile(RICS_DIRECTIONS, (valid.sum(), 1)).astype(np.float64)
    leaving = np.einsum("nc,nc->n", np.repeat(surface.normal[valid], 62, axis=0), directions) > 2e-3
    inward = np.einsum("nc,nc->n", np.repeat(surface.normal[valid], 62, axis=0), directions) < 0
    bits = unpack_bits(surface.bits[valid]).ravel()
    hit, clear = np.empty(len(origins), bool), np.empty(len(origins), bool)
    for rows in np.array_split(np.arange(len(origins)), 40):
        t, edge = brute_force(mesh, origins[rows], directions[rows])
        hit[rows], clear[rows] = np.isfinite(t).any(axis=1), edge.min(axis=1) > 1e-4
    assert (clear & leaving).sum() > 5_000
    assert 0.1 < hit[clear & leaving].mean() < 0.9
    np.testing.assert_array_equal(bits[clear & leaving], hit[clear & leaving])
    assert bits[inward].all()


def test_a_closed_mesh_needs_no_shortcut() -> None:
    """Rays into the surface, traced after all, hit the far side: nothing but grazing rays depends on the shortcut."""
    scene = RayScene([torus(sections=96)])
    surface = trace(scene, CAMERA)
    valid = surface.valid
    traced = scene.blocked((surface.point + surface.offset)[valid], RICS_DIRECTIONS[None])
    clear = np.abs(surface.normal[valid] @ RICS_DIRECTIONS.T) > 0.15
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(unpack_bits(surface.bits[valid])[clear], traced[clear])


def test_moving_mesh_and_camera_together_changes_nothing() -> None:
    world = torus((0.0, 0.0, 1.0))
    motion = trimesh.transformations.rotation_matrix(
        0.7, [0.3, 1.0, -0.5]
    ) @ trimesh.transformations.translation_matrix([4, -3, 2])

    def seen(move: np.ndarray) -> SurfaceMap:
        camera = replace(CAMERA, world_from_camera=move @ look_at((1.0, -4.0, 2.0), (0.0, 0.0, 1.0)))
        to_camera = np.linalg.inv(camera.world_from_camera) @ move
        return trace(
            RayScene(
                [
                    Mesh(
                        "Mesh",
                        CHARACTER,
                        np.float32(world.vertices @ to_camera[:3, :3].T + to_camera[:3, 3]),
                        world.triangles,
                        np.float32(world.corner_normals @ to_camera[:3, :3].T),
                    )
                ]
            ),
            camera,
        )

    before, after = seen(np.eye(4)), seen(motion)
    both = before.valid & after.valid
    assert (before.valid ^ after.valid).sum() <= 2
    np.testing.assert_allclose(before.normal[both], after.normal[both], atol=1e-3)
    differing = unpack_bits(before.bits[both]) != unpack_bits(after.bits[both])
    assert differing.mean() < 2e-4


@pytest.mark.parametrize("scale", [0.01, 200.0])
def test_offsets_follow_the_size_of_the_scene(scale: float) -> None:
    mesh = torus()
    small = trace(RayScene([replace(mesh, vertices=mesh.vertices * np.float32(scale))]), _scaled(CAMERA, scale))
    surface = trace(RayScene([mesh]), CAMERA)
    both = surface.valid & small.valid
    assert both.sum() > 0.99 * surface.valid.sum() > 1000
    assert (unpack_bits(surface.bits[both]) != unpack_bits(small.bits[both])).mean() < 5e-4


def _scaled(camera: Camera, scale: float) -> Camera:
    """The same view of a scene that is `scale` times as large."""
    return perspective(camera.width, camera.height, fov_from_lens(50), clip=(0.1 * scale, 1000 * scale))


def test_both_sides_of_open_cloth_face_the_viewer() -> None:
    """A single sheet: what lies behind it is hidden, whichever way its triangles wind."""
    square = np.float32([[-1, -1, -3], [1, -1, -3], [1, 1, -3], [-1, 1, -3]])
    front = np.int32([[0, 1, 2], [0, 2, 3]])
    normals = np.broadcast_to(np.float32([0, 0, 1]), (2, 3, 3))
    for triangles, corner_normals in ((front, normals), (front[:, ::-1], -normals), (front[:, ::-1], normals)):
        surface = trace(RayScene([Mesh("Sheet", CHARACTER, square, triangles, corner_normals)]), CAMERA)
        assert surface.valid.sum() > 1000
        np.testing.assert_allclose(
            surface.geometric_normal[surface.valid], [[0, 0, 1]] * surface.valid.sum(), atol=1e-6
        )
        np.testing.assert_allclose(surface.normal[surface.valid], [[0, 0, 1]] * surface.valid.sum(), atol=1e-6)
        np.testing.assert_array_equal(
            unpack_bits(surface.bits[surface.valid]),
            np.broadcast_to(RICS_DIRECTIONS[:, 2] <= 0, (surface.valid.sum(), 62)),
        )


def test_parts_hide_each_other_and_props_are_kept_apart() -> None:
    """A sphere with a small disc over it, which is in turn part of the character and each kind of other mesh."""
    ball, middle = sphere(3, 0.5, (0.0, 0.0, -4.0)), (0.0, 0.5, -4.0)
    up = 60
    found = {}
    for role in (CHARACTER, PROP, HOLDOUT, RECEIVER):
        scene = RayScene([ball, disc(0.6, 0.3, middle, role)])
        surface = trace(scene, perspective(96, 80, fov_from_lens(50)))
        pixel = at_point(surface, (0.0, 0.46, -3.81))
        lit = np.zeros(surface.valid.shape, bool)
        lit[surface.valid] = light_visibility(scene, surface, RICS_DIRECTIONS[[up]])[:, 0]
        found[role] = (
            tuple(bool(unpack_bits(bits[pixel])[up]) for bits in (surface.bits, surface.blockers)),
            bool(lit[pixel]),
        )
        if role == CHARACTER:
            assert surface.valid[at_point(surface, (0.0, 0.8, -3.6))]
        assert not light_visibility(scene, surface, -RICS_DIRECTIONS[[up]])[
            surface.normal[surface.valid][:, 1] > 0.01
        ].any()
    assert found == {
        CHARACTER: ((True, False), False),
        PROP: ((False, True), False),
        HOLDOUT: ((False, True), False),
        RECEIVER: ((False, False), False),
    }


def test_each_point_may_have_its_own_directions() -> None:
    scene = RayScene([torus()])
    surface = trace(scene, CAMERA)
    count = int(surface.valid.sum())
    shared = light_visibility(scene, surface, RICS_DIRECTIONS[[3, 27]])
    np.testing.assert_array_equal(shared, ~unpack_bits(surface.bits[surface.valid])[:, [3, 27]])
    own = np.tile(RICS_DIRECTIONS[[3, 27]], (count, 1, 1))
    own[::2] = own[::2, ::-1]
    visible = light_visibility(scene, surface, own)
    visible[::2] = visible[::2, ::-1]
    np.testing.assert_array_equal(visible, shared)


def test_border_and_crop_see_the_same_surface() -> None:
    scene = RayScene([torus()])
    whole = trace(scene, CAMERA)
    part = trace(scene, replace(CAMERA, border=(20, 10, 60, 50)))
    inside = np.zeros_like(whole.valid)
    inside[10:50, 20:60] = True
    np.testing.assert_array_equal(part.valid, whole.valid & inside)
    np.testing.assert_array_equal(part.bits, np.where(inside, whole.bits, 0))
    crop = trace(scene, crop_camera(CAMERA, (20, 10, 60, 50), (40, 40)))
    assert (crop.valid != whole.valid[10:50, 20:60]).sum() <= 2
    np.testing.assert_allclose(crop.point, whole.point[10:50, 20:60], atol=1e-3)


def test_nothing_to_see() -> None:
    for meshes in ([], [sphere(1, 0.5, (0, 0, -4.0), PROP)], [sphere(1, 0.5, (0, 0, 4.0))]):
        scene = RayScene(meshes)
        surface = trace(scene, CAMERA)
        assert not surface.valid.any()
        assert not surface.bits.any()
        assert light_visibility(scene, surface, RICS_DIRECTIONS).shape == (0, 62)
        assert not occlusion(surface).any()


def test_missing_normals_are_the_triangles() -> None:
    ball = sphere(2, 1.0, (0.0, 0.0, -4.0))
    for value in (0.0, np.nan):
        surface = trace(RayScene([replace(ball, corner_normals=np.full_like(ball.corner_normals, value))]), CAMERA)
        np.testing.assert_array_equal(surface.normal, surface.geometric_normal)
        assert surface.valid.sum() > 1000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; ru_maxrss would count the parent before the exec")
def test_memory_of_a_full_hd_frame() -> None:
    """Peak resident memory of a process that traces a character over a quarter of a 1920×1080 frame."""
    code = """
from pathlib import Path
from tests.backend.rays.test_rics import sphere
from backend.rays.camera import fov_from_lens, perspective
from backend.rays.rics import trace
from backend.rays.scene import RayScene
surface = trace(RayScene([sphere(5, 0.63, (0.0, 0.0, -3.9))]), perspective(1920, 1080, fov_from_lens(50)))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(surface.valid.mean(), int(status["VmHWM"].split()[0]) * 1024)
"""
    root = Path(__file__).parents[3]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    coverage, peak = map(float, answer.stdout.split())
    assert coverage > 0.25
    assert peak < 2e9
