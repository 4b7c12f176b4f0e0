# SPDX-License-Identifier: GPL-3.0-or-later
"""Scene → job: exact geometry, true passes, and a scene that nothing was done to."""

from __future__ import annotations

import math
import os
import subprocess
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector
from penumbra.backend.protocol import Cancelled, HarmonizeJob, Mesh, PenumbraError, load_meshes
from penumbra.blender_addon import export
from penumbra.blender_addon.character import cast_named, find_cast
from penumbra.blender_addon.export import ExportSettings

from tests.blender_addon import cube, pixels

SIZE = (cube.WIDTH, cube.HEIGHT)
FAST = ExportSettings(samples=4)


@pytest.fixture
def rig(empty_scene: bpy.types.Scene, tmp_path: Path) -> bpy.types.Object:
    return cube.rigged_cube(tmp_path)


def exported(folder: Path, frames: tuple[int, ...] = (10,), settings: ExportSettings = FAST) -> HarmonizeJob:
    layer = bpy.context.view_layer
    character = find_cast([bpy.data.objects["Rig"]], layer)
    return export.export_frames(bpy.context.scene, layer, character, frames, folder, settings).job


def meshes(folder: Path, job: HarmonizeJob, frame: int = 0) -> dict[str, Mesh]:
    return {mesh.name: mesh for mesh in load_meshes(folder / job.frames[frame].meshes)}


def state() -> dict[str, Any]:
    """Everything of the file that an artist could notice: settings, values, selection, and what is in the file."""
    scene = bpy.context.scene
    kept: dict[str, Any] = {}
    for label, owner in (
        ("scene", scene),
        ("render", scene.render),
        ("image", scene.render.image_settings),
        ("cycles", scene.cycles),
        ("view", scene.view_settings),
        ("layer", bpy.context.view_layer),
        *((f"object {o.name}", o) for o in scene.objects),
        *((f"bone {b.name}", b) for o in scene.objects if o.pose for b in o.pose.bones),
    ):
        for prop in owner.bl_rna.properties:
            value = getattr(owner, prop.identifier, None)
            if prop.type in {"BOOLEAN", "INT", "FLOAT", "STRING", "ENUM"} and not prop.identifier.startswith("tag"):
                plain = value if isinstance(value, (str, set)) or not hasattr(value, "__len__") else np.array(value)
                kept[f"{label}.{prop.identifier}"] = str(plain)
    for name in dir(bpy.data):
        blocks = getattr(bpy.data, name)
        if isinstance(blocks, bpy.types.bpy_prop_collection):
            kept[name] = sorted((block.name, block.users) for block in blocks)
    kept["selected"] = sorted(o.name for o in bpy.context.view_layer.objects if o.select_get())
    return kept


def test_posed_vertices_are_exact_in_camera_space(rig: bpy.types.Object, tmp_path: Path) -> None:
    job = exported(tmp_path / "job", (1, 10))
    for frame, world in ((0, cube.CORNERS), (1, cube.posed(cube.CORNERS))):
        mesh = meshes(tmp_path / "job", job, frame)["Body"]
        np.testing.assert_allclose(mesh.vertices, cube.in_camera(world), atol=2e-6)
        assert mesh.role == "character"
        assert len(mesh.triangles) == 12
    camera = job.frames[1].camera
    np.testing.assert_allclose(camera.world_from_camera[:3, 3], (0, -4, 0), atol=1e-6)
    np.testing.assert_allclose(camera.world_from_camera[:3, 1], (0, 0, 1), atol=1e-6)


@pytest.mark.parametrize("scale", [(1, 1, 1), (2, 0.5, 1), (-1, 1, 1), (-1, -2, -0.5)])
def test_winding_and_normals_point_outward(
    rig: bpy.types.Object, tmp_path: Path, scale: tuple[float, float, float]
) -> None:
    rig.scale, rig.rotation_euler = scale, (0.2, 0.3, 0.4)
    mesh = meshes(tmp_path / "job", exported(tmp_path / "job"))["Body"]
    corners = mesh.vertices[mesh.triangles]
    geometric = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    geometric /= np.linalg.norm(geometric, axis=1, keepdims=True)
    outward = corners.mean(axis=1) - mesh.vertices.mean(axis=0)
    assert (np.einsum("ij,ij->i", geometric, outward) > 0).all()
    np.testing.assert_allclose(mesh.corner_normals, np.repeat(geometric[:, None], 3, axis=1), atol=1e-4)


def test_passes_hold_albedo_alpha_world_normals_and_depth(rig: bpy.types.Object, tmp_path: Path) -> None:
    bpy.context.scene.world = bpy.data.worlds.new("Bright")
    job = exported(tmp_path / "job", (1,), ExportSettings(samples=16))
    frame = job.frames[0]
    read = {k: pixels.read_pass(tmp_path / "job" / frame.passes, v, SIZE) for k, v in frame.pass_names.items()}
    alpha = read["combined"][..., 3]
    middle = (cube.HEIGHT // 2, cube.WIDTH // 2)
    assert alpha[middle] == pytest.approx(1, abs=1e-4)
    assert alpha[0].max() == 0
    half = 0.5 / 3.5 * bpy.context.scene.camera.data.lens / 36 * cube.WIDTH  # the front face, in pixels
    assert alpha.sum() == pytest.approx((2 * half) ** 2, rel=0.02)
    np.testing.assert_allclose(read["diffuse_color"][middle][:3], cube.ALBEDO, atol=1e-3)
    np.testing.assert_allclose(read["normal"][middle][:3], (0, -1, 0), atol=1e-3)
    assert read["depth"][middle][0] == pytest.approx(3.5, abs=1e-3)


def test_what_stands_in_front_cuts_the_character(rig: bpy.types.Object, tmp_path: Path) -> None:
    left = cube.CORNERS * [0.5, 0.1, 3] + [-0.25, -1.5, 0]  # covers the left half of the cube
    catcher = cube.mesh_object("Catcher", left)
    catcher.is_shadow_catcher = True
    cube.mesh_object("Prop", cube.moved(5, 0, 0))
    held = cube.mesh_object("Held", cube.moved(-5, 0, 0))
    held.is_holdout = True
    hidden = cube.mesh_object("Hidden", cube.CORNERS)
    hidden.hide_render = True
    job = exported(tmp_path / "job", (1,))
    found = {name: mesh.role for name, mesh in meshes(tmp_path / "job", job).items()}
    roles = sorted(role for name, role in found.items())
    assert roles == ["character", "holdout", "prop", "receiver"]
    assert "Hidden" not in found
    alpha = pixels.read_pass(tmp_path / "job" / job.frames[0].passes, "Penumbra.Combined", SIZE)[..., 3]
    row = alpha[cube.HEIGHT // 2]
    assert row[cube.WIDTH // 2 - 4] == 0
    assert row[cube.WIDTH // 2 + 4] == pytest.approx(1, abs=1e-4)
    assert catcher.is_shadow_catcher


def test_modifiers_and_instances_are_those_of_a_render(rig: bpy.types.Object, tmp_path: Path) -> None:
    body = bpy.data.objects["Body"]
    subdivision = body.modifiers.new("Subdivision", "SUBSURF")
    subdivision.subdivision_type, subdivision.levels, subdivision.render_levels = "SIMPLE", 0, 1
    collection = bpy.data.collections.new("Trees")
    tree = cube.mesh_object("Tree", cube.CORNERS)
    bpy.context.scene.collection.objects.unlink(tree)
    collection.objects.link(tree)
    wood = bpy.data.objects.new("Wood", None)
    wood.instance_type, wood.instance_collection, wood.location = "COLLECTION", collection, (3, 0, 0)
    bpy.context.scene.collection.objects.link(wood)
    found = meshes(tmp_path / "job", exported(tmp_path / "job", (1,)))
    assert len(found["Body"].triangles) == 48
    np.testing.assert_allclose(found["Wood"].vertices, cube.in_camera(cube.moved(3, 0, 0)), atol=2e-6)


def test_camera_has_shift_pixel_aspect_and_border(rig: bpy.types.Object, tmp_path: Path) -> None:
    scene = bpy.context.scene
    render = scene.render
    render.use_border, render.border_min_x, render.border_max_x = True, 0.25, 1.0
    render.border_min_y, render.border_max_y = 0.0, 0.75  # the lower three quarters
    render.resolution_percentage, render.pixel_aspect_y = 50, 1.5
    scene.camera.data.shift_x = 0.1
    camera = exported(tmp_path / "job", (1,)).frames[0].camera
    assert (camera.width, camera.height, camera.border) == (32, 18, (8, 5, 32, 18))
    point = np.array((0.4, 1.0, -0.3))
    clip = camera.projection @ np.append(cube.in_camera(point[None])[0], 1)
    expected = world_to_camera_view(scene, scene.camera, Vector(point))
    np.testing.assert_allclose(clip[:2] / clip[3] * 0.5 + 0.5, expected[:2], atol=1e-5)


def test_the_scene_is_untouched(rig: bpy.types.Object, tmp_path: Path) -> None:
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    catcher = cube.mesh_object("Ground", cube.CORNERS - [0, 0, 2])
    catcher.is_shadow_catcher = True
    scene.frame_set(4)
    rig.pose.bones["Bone"].location.x = 0.77  # a change that is not keyed
    rig["custom"] = 1.0
    rig.keyframe_insert('["custom"]', frame=1)
    rig["custom"] = 3.0
    bpy.context.view_layer.update()
    before = state()
    exported(tmp_path / "job", (1, 10))
    assert state() == before

    def stop(stage: str, fraction: float) -> None:
        if fraction > 0.2:
            raise Cancelled

    with pytest.raises(Cancelled):
        export.export_frames(
            scene, bpy.context.view_layer, cast_named(["Rig"], bpy.context.view_layer), [9], tmp_path, FAST, stop
        )
    assert state() == before
    bpy.data.objects["Body"].data.vertices[0].co.x = math.nan
    with pytest.raises(PenumbraError, match="invalid coordinates"):
        exported(tmp_path / "other")
    after = state()
    assert after == before


def test_a_frame_is_rendered_again_only_where_it_changed(rig: bpy.types.Object, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    first = exported(folder, (1, 10))
    stamps = [(folder / f.passes).stat().st_mtime_ns for f in first.frames]
    again = exported(folder, (1, 10))
    assert [f.key for f in again.frames] == [f.key for f in first.frames]
    assert [(folder / f.passes).stat().st_mtime_ns for f in again.frames] == stamps
    shader = bpy.data.materials["Body"].node_tree.nodes["Diffuse BSDF"]
    shader.inputs["Color"].default_value = (0.1, 0.9, 0.1, 1)
    changed = exported(folder, (1,))
    assert changed.frames[0].key != first.frames[0].key
    albedo = pixels.read_pass(folder / changed.frames[0].passes, changed.frames[0].pass_names["diffuse_color"], SIZE)
    np.testing.assert_allclose(albedo[cube.HEIGHT // 2, cube.WIDTH // 2][:3], (0.1, 0.9, 0.1), atol=1e-3)


def _no_camera() -> None:
    bpy.context.scene.camera = None


def _panorama() -> None:
    bpy.context.scene.camera.data.type = "PANO"


def _no_plate() -> None:
    bpy.context.scene.camera.data.background_images.clear()


def _lost_plate() -> None:
    image = bpy.context.scene.camera.data.background_images[0].image
    image.filepath = "/nowhere/plate.png"
    image.reload()


def _outside() -> None:
    bpy.data.objects["Rig"].location = (50, 0, 0)


def _behind() -> None:
    bpy.data.objects["Rig"].location = (0, -50, 0)


def _no_faces() -> None:
    bpy.data.objects["Body"].data.clear_geometry()


def _hidden() -> None:
    bpy.data.objects["Body"].hide_render = True


def _infinite() -> None:
    bpy.data.objects["Body"].data.vertices[3].co.z = math.inf


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_no_camera, "no camera"),
        (_panorama, "panoramic"),
        (_no_plate, "no plate"),
        (_lost_plate, "cannot be read"),
        (_outside, "outside the camera's frame in frame 1"),
        (_behind, "outside the camera's frame in frame 1"),
        (_no_faces, "no faces"),
        (_hidden, "no mesh that is rendered"),
        (_infinite, "invalid coordinates"),
    ],
)
def test_bad_input_ends_in_one_sentence(rig: bpy.types.Object, tmp_path: Path, spoil: Any, sentence: str) -> None:
    spoil()
    bpy.context.view_layer.update()
    before = state()
    with pytest.raises(PenumbraError, match=sentence) as problem:
        exported(tmp_path / "job", (1,))
    assert problem.value.remedy
    assert state() == before
    assert not (tmp_path / "job" / "job.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="folders have no write permission on Windows")
def test_an_unwritable_folder_is_told(rig: bpy.types.Object, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PenumbraError, match="cannot be written"):
        exported(tmp_path / "file" / "job")


def test_the_background_process_makes_the_same_job(rig: bpy.types.Object, tmp_path: Path) -> None:
    scene, layer, here, there = bpy.context.scene, bpy.context.view_layer, tmp_path / "here", tmp_path / "there"
    image = scene.camera.data.background_images[0].image
    image.pixels[:4] = (1, 0, 1, 1)  # painted, not saved: the lower left corner
    expected = exported(here, (10,))
    character = cast_named(["Body"], layer)
    before = state()
    command = export.spawn_export(scene, layer, character, [10], there, FAST, "job 1")
    assert state() == before
    assert image.is_dirty
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    messages = [m for m in map(export.parse_message, done.stdout.splitlines()) if m]
    assert done.returncode == 0, done.stderr
    assert messages[-1] == {"type": "done", "id": "job 1", "notices": []}
    fractions = [m["fraction"] for m in messages if m["type"] == "progress"]
    assert fractions == sorted(fractions)
    job = HarmonizeJob.load(there)
    a, b = meshes(here, expected)["Body"], meshes(there, job)["Body"]
    np.testing.assert_array_equal(a.vertices, b.vertices)
    plate = pixels.load(job.frames[0].plate)
    np.testing.assert_allclose(plate[-1, 0, :3], (1, 0, 1), atol=1e-3)
    assert plate[0, -1, 0] == pytest.approx(pixels.load(expected.frames[0].plate)[0, -1, 0], abs=1e-3)


def test_the_background_process_tells_its_errors(rig: bpy.types.Object, tmp_path: Path) -> None:
    scene, layer = bpy.context.scene, bpy.context.view_layer
    rig.location = (50, 0, 0)
    command = export.spawn_export(scene, layer, cast_named(["Rig"], layer), [1], tmp_path / "job", FAST, "job 1")
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    last = [m for m in map(export.parse_message, done.stdout.splitlines()) if m][-1]
    assert done.returncode != 0
    assert last["type"] == "error"
    assert "outside the camera's frame" in last["message"]
    assert last["remedy"]
