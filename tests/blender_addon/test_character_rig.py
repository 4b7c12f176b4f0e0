# SPDX-License-Identifier: GPL-3.0-or-later
"""The generated character in Blender equals the one that the ray tracer sees."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from penumbra.blender_addon.rig import to_blender  # noqa: E402

from backend.body.people import make_person, pose_person  # noqa: E402
from scripts.scenes.character import apply_pose_sequence, build_character  # noqa: E402


@pytest.fixture(scope="module")
def scene():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    person = make_person(4)
    return person, build_character(person)


def test_posed_meshes_equal_pose_person(scene):
    person, armature = scene
    rng = np.random.default_rng(5)
    poses, trans = rng.normal(0, 0.4, (3, 24, 3)), rng.normal(0, 1, (3, 3))
    apply_pose_sequence(armature, poses, trans, fps=25)
    for frame in range(3):
        bpy.context.scene.frame_set(frame + 1)
        depsgraph = bpy.context.evaluated_depsgraph_get()
        for posed in pose_person(person, poses[frame], trans[frame]):
            obj = bpy.data.objects[f"{armature.name} {posed.part.name}"].evaluated_get(depsgraph)
            mesh = obj.to_mesh()
            found = np.empty(len(mesh.vertices) * 3, np.float32)
            mesh.vertices.foreach_get("co", found)
            world = found.reshape(-1, 3) @ np.array(obj.matrix_world.to_3x3()).T + np.array(
                obj.matrix_world.translation
            )
            assert np.abs(world - to_blender(posed.vertices)).max() < 1e-3, posed.part.name
            normals = np.empty(len(mesh.loops) * 3, np.float32)
            mesh.corner_normals.foreach_get("vector", normals)
            cosine = (normals.reshape(-1, 3, 3) * to_blender(posed.corner_normals)).sum(-1)
            assert np.median(cosine) > 0.999
            obj.to_mesh_clear()


def test_materials_show_the_albedo(scene):
    person, armature = scene
    for part in person.parts:
        obj = bpy.data.objects[f"{armature.name} {part.name}"]
        image = next(node.image for node in obj.data.materials[0].node_tree.nodes if node.type == "TEX_IMAGE")
        pixels = np.empty(image.size[0] * image.size[1] * 4, np.float32)
        image.pixels.foreach_get(pixels)
        shown = pixels.reshape(image.size[1], image.size[0], 4)[::-1, :, :3]
        linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
        assert np.abs(linear - part.texture).max() < 0.01
        assert image.colorspace_settings.name == "sRGB"
