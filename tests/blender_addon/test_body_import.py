# SPDX-License-Identifier: GPL-3.0-or-later
"""Import Body from Image with an emulated backend: what comes into the scene, and what does not when it fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.backend.body.data import joint_transforms, load_body, skin
from penumbra.blender_addon import body_import, compat, from_photograph, jobs, rig
from penumbra.blender_addon.character import find_cast
from penumbra.blender_addon.export import ExportSettings
from penumbra.blender_addon.plate import find_plate, sequence_path

from tests.blender_addon.scenes import contents


def world_vertices(name: str) -> np.ndarray:
    obj = bpy.data.objects[name].evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = obj.to_mesh()
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    obj.to_mesh_clear()
    matrix = np.array(obj.matrix_world)
    return points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def test_bodies_stand_before_the_camera_as_they_were_seen(harmonized_by, scene, photograph):
    harmonized_by("render")
    scene.cursor.location = (3, -2, 0.5)
    assert bpy.ops.penumbra.import_body(filepath=photograph) == {"FINISHED"}
    np.testing.assert_allclose(bpy.data.objects["Person 1"].location[:2], (3, -2), atol=1e-5)
    body, random, lowest = load_body(), np.random.default_rng(7), []
    from_world = np.linalg.inv(np.array(scene.camera.matrix_world))
    for number in (1, 2):
        betas, pose = random.normal(0, 1, 10), random.normal(0, 0.3, (24, 3))
        vertices, joints = body.shaped(betas)
        expected = skin(vertices, body.weights, joint_transforms(joints, body.parents, pose))
        world = world_vertices(f"Person {number} Body")
        seen = world @ from_world[:3, :3].T + from_world[:3, 3]
        np.testing.assert_allclose(seen, expected + np.array([number - 1.5, 0.2 * number, -4]), atol=2e-4)
        lowest.append(world[:, 2].min())
    assert min(lowest) == pytest.approx(0.5, abs=1e-4)
    assert scene.camera.data.lens == pytest.approx(40)
    assert Path(scene.camera.data.background_images[0].image.filepath) == Path(photograph)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (320, 200)


def test_a_body_can_be_animated_reshaped_and_harmonized(harmonized_by, scene, photograph):
    harmonized_by("render")
    bpy.ops.penumbra.import_body(filepath=photograph)
    armature, mesh = bpy.data.objects["Person 2"], bpy.data.objects["Person 2 Body"]
    assert {bone.name for bone in armature.data.bones} == set(rig.JOINT_NAMES)
    assert armature.data.bones["left_elbow"]["mixamo"] == "mixamorig:LeftForeArm"
    assert armature.data.bones["right_hip"]["rigify"] == "thigh.R"
    assert [key.name for key in mesh.data.shape_keys.key_blocks] == ["Basis", *(f"Shape{k:03d}" for k in range(10))]
    before = world_vertices("Person 2 Body")
    armature.pose.bones["right_shoulder"].rotation_quaternion = (1, 0, 0, 0)
    hand = mesh.vertex_groups["Part RightHand"].index
    moved = np.linalg.norm(world_vertices("Person 2 Body") - before, axis=1) > 0.05
    of_hand = [any(group.group == hand for group in vertex.groups) for vertex in mesh.data.vertices]
    assert moved[of_hand].all()
    assert not moved[np.linalg.norm(before - before[moved].mean(0), axis=1) > 1].any()
    (texture,) = (node for node in mesh.active_material.node_tree.nodes if node.type == "TEX_IMAGE")
    assert texture.image.packed_file
    assert texture.image.colorspace_settings.name == "sRGB"
    assert find_cast([mesh], bpy.context.view_layer).name == "Person 2"


def test_the_surface_of_voxels_comes_along_hidden(harmonized_by, scene, photograph):
    harmonized_by("render")
    assert bpy.ops.penumbra.import_body(filepath=photograph, method="bodynet") == {"FINISHED"}
    voxels = bpy.data.objects["Person 2 Voxels"]
    assert voxels.hide_viewport
    assert voxels.hide_render
    assert [value.value for value in voxels.data.attributes["part"].data] == [1, 2, 2, 6]
    assert voxels["parts"].startswith("1 Head, 2 Torso")
    from_world = np.linalg.inv(np.array(scene.camera.matrix_world))
    corner = np.array(voxels.matrix_world @ voxels.data.vertices[2].co)
    np.testing.assert_allclose(from_world[:3, :3] @ corner + from_world[:3, 3], (2, 1, -4), atol=1e-4)
    assert bpy.context.object.name == "Person 1"


def test_a_method_without_weights_says_so(harmonized_by, scene, photograph, monkeypatch):
    harmonized_by("render")
    monkeypatch.setattr(from_photograph, "has_weights", lambda model: model == "lasor")
    before = contents()
    with pytest.raises(RuntimeError, match=r"no trained network for it \(assets/weights/bodynet\)"):
        bpy.ops.penumbra.import_body(filepath=photograph, method="bodynet")
    assert contents() == before


def pose_of(number: int, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices in camera space of the emulated backend's person, and where the third's pelvis is, in a frame."""
    random = np.random.default_rng(7)
    for _ in range(number):
        betas, pose = random.normal(0, 1, 10), random.normal(0, 0.3, (24, 3))
    pose[18, 1] = np.linspace(0.0, -1.5, 6)[row]
    trans = np.array([number - 1.5, 0.2 * number, -4]) + np.linspace((0, 0, 0), (0.5, 0.1, -1.0), 6)[row]
    body = load_body()
    vertices, joints = body.shaped(betas)
    return skin(vertices, body.weights, joint_transforms(joints, body.parents, pose)) + trans, joints[0] + trans


@pytest.fixture
def numbered(tmp_path, photograph) -> Path:
    """Images 7 to 16 of a sequence."""
    for number in range(7, 17):
        shutil.copy(photograph, tmp_path / f"shot_{number:04}.png")
    return tmp_path / "shot_0007.png"


def test_a_take_becomes_an_animation_before_its_moving_background(harmonized_by, extension, empty_scene, numbered):
    harmonized_by("render")
    scene = bpy.context.scene
    scene.cursor.location = (3, -2, 0.5)
    assert bpy.ops.penumbra.import_body(filepath=str(numbered), sequence=True) == {"FINISHED"}
    assert (scene.frame_start, scene.frame_end, scene.frame_current) == (1, 10, 1)
    assert scene.render.fps / scene.render.fps_base == pytest.approx(30000 / 1001, abs=1e-4)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (320, 200)
    background = scene.camera.data.background_images[0]
    assert background.image.source == "SEQUENCE"
    plate = find_plate(scene, ExportSettings())
    assert [sequence_path(plate, frame).name for frame in (1, 10)] == ["shot_0007.png", "shot_0016.png"]
    from_world = np.linalg.inv(np.array(scene.camera.matrix_world))
    for number, row in ((1, 0), (1, 5), (2, 3)):
        scene.frame_set(1 + number + row)
        world = world_vertices(f"Person {number} Body")
        seen = world @ from_world[:3, :3].T + from_world[:3, 3]
        np.testing.assert_allclose(seen, pose_of(number, row)[0], atol=5e-4)
    armature = bpy.data.objects["Person 1"]
    curves = compat.fcurves(armature.animation_data)
    assert {curve.group.name for curve in curves} == set(rig.JOINT_NAMES)
    assert {tuple(curve.range()) for curve in curves} == {(2.0, 7.0)}
    assert armature.animation_data.action.layers  # layered, as Blender has them since 4.4


def test_a_scene_with_animation_keeps_its_time(harmonized_by, scene, numbered, capsys):
    harmonized_by("render")
    scene.camera.keyframe_insert("location", frame=101)
    scene.frame_start, scene.frame_end, scene.render.fps = 101, 105, 25
    bpy.ops.penumbra.import_body(filepath=str(numbered), sequence=True)
    assert (scene.frame_start, scene.frame_end, scene.render.fps) == (101, 105, 25)
    curves = compat.fcurves(bpy.data.objects["Person 1"].animation_data)
    assert {tuple(curve.range()) for curve in curves} == {(102.0, 107.0)}
    assert scene.camera.data.background_images[0].image_user.frame_start == 101
    said = capsys.readouterr().out
    assert "The take has 29.97 frames a second and the scene 25" in said
    assert "goes on to frame 110" in said


def test_a_take_that_cannot_be_built_is_taken_out_again(harmonized_by, scene, numbered, monkeypatch):
    harmonized_by("render")
    monkeypatch.setattr(body_import, "_material", lambda *_: 1 / 0)
    before, actions = contents(), set(bpy.data.actions)
    with pytest.raises(RuntimeError, match="division by zero"):
        bpy.ops.penumbra.import_body(filepath=str(numbered), sequence=True)
    assert contents() == before
    assert set(bpy.data.actions) == actions


def test_videos_are_taken(harmonized_by, extension, empty_scene, tmp_path, monkeypatch):
    monkeypatch.setattr(from_photograph, "has_weights", lambda model: True)
    harmonized_by("render")
    cv2 = pytest.importorskip("cv2")
    video = cv2.VideoWriter(str(tmp_path / "take.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 200))
    for _ in range(10):
        video.write(np.full((200, 320, 3), 90, np.uint8))
    video.release()
    bpy.ops.penumbra.import_body(filepath=str(tmp_path / "take.avi"))
    background = bpy.context.scene.camera.data.background_images[0]
    assert background.image.source == "MOVIE"
    assert (background.image_user.frame_start, background.image_user.frame_duration) == (1, 10)
    assert (bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y) == (320, 200)


def test_people_are_chosen_by_number(harmonized_by, scene, photograph):
    harmonized_by("render")
    assert bpy.ops.penumbra.import_body(filepath=photograph, people="2") == {"FINISHED"}
    assert "Person 2" in bpy.data.objects
    assert "Person 1" not in bpy.data.objects
    with pytest.raises(RuntimeError, match="Nobody was chosen"):
        bpy.ops.penumbra.import_body(filepath=photograph, who="CHOSEN")
    with pytest.raises(RuntimeError, match='"Ann" names no people'):
        bpy.ops.penumbra.import_body(filepath=photograph, people="Ann")


def test_who_is_found_is_shown(harmonized_by, scene, photograph):
    harmonized_by("render")
    before = contents()
    found = jobs.run_blocking(jobs.Job(body_import.find_people(Path(photograph))), jobs.TerminalLine())
    assert (found.count, found.largest, found.picture.shape) == (2, 2, (32, 32, 4))
    assert contents() == before


def test_what_is_being_edited_stays_so(harmonized_by, scene, photograph):
    harmonized_by("render")
    mesh = next(obj for obj in scene.objects if obj.type == "MESH")
    bpy.context.view_layer.objects.active = mesh
    bpy.ops.object.mode_set(mode="EDIT")
    camera = scene.camera
    bpy.ops.penumbra.import_body(filepath=photograph, use_camera=False)
    assert bpy.context.object == mesh
    assert mesh.mode == "EDIT"
    assert scene.camera == camera
    bpy.ops.object.mode_set(mode="OBJECT")


def test_an_import_is_one_step_of_undo(harmonized_by, scene, photograph):
    harmonized_by("render")
    before = contents()
    bpy.ops.ed.undo_push(message="Before")
    bpy.ops.penumbra.import_body(filepath=photograph)
    assert contents() != before
    bpy.ops.ed.undo()
    assert contents() == before


@pytest.mark.parametrize("behaviour", ["refuse", "crash", "finish"])
@pytest.mark.parametrize("what", ["import_body", "import_object"])
def test_a_failed_import_changes_nothing(harmonized_by, scene, photograph, behaviour, what):
    """ "finish" says that it is done and has written nothing."""
    harmonized_by(behaviour)
    before = contents()
    with pytest.raises(RuntimeError):
        getattr(bpy.ops.penumbra, what)(filepath=photograph)
    assert contents() == before
    assert not list(Path(bpy.app.tempdir).glob("penumbra-*"))


def test_what_cannot_be_built_is_taken_out_again(harmonized_by, scene, photograph, monkeypatch):
    harmonized_by("render")
    monkeypatch.setattr(body_import, "_material", lambda *_: 1 / 0)
    before = contents()
    with pytest.raises(RuntimeError, match="division by zero"):
        bpy.ops.penumbra.import_body(filepath=photograph)
    assert contents() == before


def test_without_weights_the_button_says_so(scene, tmp_path, monkeypatch):
    monkeypatch.setenv("PENUMBRA_WEIGHTS", str(tmp_path))
    assert not bpy.ops.penumbra.import_body.poll()
    with pytest.raises(RuntimeError, match="no trained network"):
        bpy.ops.penumbra.import_body(filepath=str(tmp_path / "people.png"))
    (tmp_path / "people.png").touch()
    for model, other in (("bodynet", "lasor"), ("lasor", "bodynet")):  # either will do, if it is the one asked for
        (tmp_path / model).mkdir()
        (tmp_path / model / "model.safetensors").touch()
        assert bpy.ops.penumbra.import_body.poll()
        with pytest.raises(RuntimeError, match=f"no trained network for it .*{other}"):
            bpy.ops.penumbra.import_body(filepath=str(tmp_path / "people.png"), method=other)
        shutil.rmtree(tmp_path / model)


def test_a_missing_image_is_one_plain_sentence(scene, photograph, tmp_path):
    with pytest.raises(RuntimeError, match="There is no image"):
        bpy.ops.penumbra.import_body(filepath=str(tmp_path / "nobody.jpg"))
    (tmp_path / "people.txt").write_text("")
    with pytest.raises(RuntimeError, match=r"people\.txt is no image"):
        bpy.ops.penumbra.import_body(filepath=str(tmp_path / "people.txt"))
