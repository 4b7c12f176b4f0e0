# SPDX-License-Identifier: GPL-3.0-or-later
"""Import Object from Image with an emulated backend: what comes into the scene, and what does not when it fails."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

POINTS = np.array([(-0.5, -0.4, -0.5), (0.5, -0.4, -0.5), (0.5, -0.4, 0.5), (-0.5, -0.4, 0.5), (0, 0.5, 0.1)])


@pytest.fixture
def table(harmonized_by, scene, photograph) -> bpy.types.Object:
    harmonized_by("render")
    scene.cursor.location = (1, 2, 3)
    assert bpy.ops.penumbra.import_object(filepath=photograph, use_light=True) == {"FINISHED"}
    return bpy.context.object


def test_it_stands_at_the_cursor_with_its_parts(table):
    bpy.context.view_layer.update()
    points = np.array([table.matrix_world @ vertex.co for vertex in table.data.vertices])
    np.testing.assert_allclose(points, POINTS[:, [0, 2, 1]] * (1, -1, 1) + (1, 2, 3.4), atol=1e-6)
    assert [attribute.value for attribute in table.data.attributes["part"].data] == [3, 3, 7, 7, 7, 7]
    slots = [face.material_index for face in table.data.polygons]
    assert slots == [0, 0, 1, 1, 1, 1]
    base, side = (m.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value for m in table.data.materials)
    np.testing.assert_allclose(base[:3], (0.5, 0.1, 0.1), atol=1e-6)
    assert side[2] > base[2]
    np.testing.assert_allclose(table.data.color_attributes["Albedo"].data[4].color[:3], (0.1, 0.1, 0.5), atol=1e-6)


def test_the_camera_sees_it_where_the_photograph_does(table, scene):
    """In longer sides from its middle, the picture shows a point at focal length times offset by depth, less shift."""
    a, e = 0.6, 0.3
    right, back = (
        np.array([np.cos(a), 0, -np.sin(a)]),
        np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)]),
    )
    local = (POINTS - 3 * back) @ np.stack([right, np.cross(back, right), back]).T
    expected = 1.2 * local[:, :2] / -local[:, 2:] - (0.1, -0.05)
    bpy.context.view_layer.update()
    for vertex, place in zip(table.data.vertices, expected, strict=True):
        seen = world_to_camera_view(scene, scene.camera, Vector(table.matrix_world @ vertex.co))
        np.testing.assert_allclose(((seen.x - 0.5), (seen.y - 0.5) * 200 / 320), place, atol=1e-4)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (320, 200)


def test_its_light_becomes_a_sun_and_a_world(table, scene):
    """Light of the harmonics 2, and 0.3 along +x and +y: the sun is there, and world and sun keep the mean."""
    (sun,) = (obj for obj in scene.objects if obj.type == "LIGHT" and obj.name.startswith("Sun of"))
    bpy.context.view_layer.update()
    np.testing.assert_allclose(sun.matrix_world.to_3x3().col[2], (0.7071, 0, 0.7071), atol=1e-3)
    shading = sun.data.energy / np.pi
    assert shading == pytest.approx(0.3 * 2**0.5 / 1.0233, rel=1e-3)
    world = scene.world.node_tree.nodes["Background"].inputs["Color"].default_value
    assert world[0] + 0.25 * shading == pytest.approx(2 * 0.28209, rel=1e-3)


def test_the_world_stays_unless_its_light_is_asked_for(harmonized_by, scene, photograph):
    harmonized_by("render")
    before = scene.world, scene.camera
    bpy.ops.penumbra.import_object(filepath=photograph, use_camera=False)
    assert (scene.world, scene.camera) == before
