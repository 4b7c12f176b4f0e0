# SPDX-License-Identifier: GPL-3.0-or-later
"""Imported objects that change afterwards, with an emulated backend: what the sliders ask for, and what stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.blender_addon import jobs, panels, reshape

Import = Callable[[str], bpy.types.Object]


@pytest.fixture
def import_object(harmonized_by, scene, photograph) -> Import:
    """Imports the pyramid of a photograph of a given name; "red" has other codes."""
    harmonized_by("render")

    def do(name: str) -> bpy.types.Object:
        path = Path(photograph).with_name(f"{name}.png")
        path.write_bytes(Path(photograph).read_bytes())
        assert bpy.ops.penumbra.import_object(filepath=str(path)) == {"FINISHED"}
        return bpy.context.object

    return do


def height(obj: bpy.types.Object) -> float:
    return max(vertex.co.z for vertex in obj.data.vertices)


def base_colour(material: bpy.types.Material) -> tuple[float, ...]:
    return tuple(material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value[:3])


def test_sliders_and_other_kinds_make_a_new_surface_that_keeps_its_place_and_materials(import_object):
    obj = import_object("plain")
    assert reshape.imported(obj)
    assert panels.PENUMBRA_PT_reshape.poll(bpy.context)
    mesh, own = obj.data, list(obj.data.materials)
    own[0].node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0, 1, 0, 1)  # by the artist
    assert [item[0] for item in reshape._items(mesh.penumbra_shape, None)] == ["table", "lamp"]
    assert mesh.penumbra_shape.toward == "table"
    mesh.penumbra_shape.sliders[0] = 1.0
    assert bpy.ops.penumbra.reshape_object() == {"FINISHED"}
    assert obj.data == mesh
    assert height(obj) == pytest.approx(0.9 + 1.0)
    mesh.penumbra_shape.toward, mesh.penumbra_shape.amount = "lamp", 0.5
    assert bpy.ops.penumbra.reshape_object() == {"FINISHED"}
    assert height(obj) == pytest.approx(0.9 + 1.5)
    assert min(vertex.co.z for vertex in mesh.vertices) == pytest.approx(0, abs=1e-6)
    assert mesh.penumbra_shape.amount == 0.5
    assert list(mesh.materials)[:2] == own
    assert base_colour(own[0]) == (0, 1, 0)
    assert [face.material_index for face in mesh.polygons] == [0, 0, 1, 1, 1, 2]
    assert [value.value for value in mesh.attributes["part"].data] == [3, 3, 7, 7, 7, 9]


def test_two_objects_exchange_shapes_or_colours(import_object):
    plain = import_object("plain")
    plain.data.penumbra_shape.sliders[0] = 0.25
    red = import_object("red")  # its codes make it one higher and half as bright
    assert not bpy.ops.penumbra.exchange_codes.poll()
    plain.select_set(True)
    assert bpy.ops.penumbra.exchange_codes(what="SHAPE") == {"FINISHED"}
    assert (height(plain), height(red)) == (pytest.approx(1.9), pytest.approx(1.15))
    assert red.data.penumbra_shape.sliders[0] == 0.25
    assert plain.data.penumbra_shape.sliders[0] == 0
    np.testing.assert_allclose(base_colour(plain.data.materials[0]), (0.5, 0.1, 0.1), atol=1e-6)
    assert bpy.ops.penumbra.exchange_codes(what="ALBEDO") == {"FINISHED"}
    np.testing.assert_allclose(base_colour(plain.data.materials[0]), (0.25, 0.05, 0.05), atol=1e-6)
    np.testing.assert_allclose(base_colour(red.data.materials[0]), (0.5, 0.1, 0.1), atol=1e-6)
    assert height(plain) == pytest.approx(1.9)


def test_sliders_that_rest_are_followed(import_object):
    obj = import_object("plain")
    obj.data.penumbra_shape.sliders[1] = 0.1
    obj.data.penumbra_shape.sliders[0] = -0.5
    assert bpy.app.timers.is_registered(reshape._follow)
    assert reshape._follow() is None
    until = time.monotonic() + 20
    while jobs.running() and time.monotonic() < until:
        jobs._tick()
        time.sleep(0.02)
    assert height(obj) == pytest.approx(0.4)
    assert not reshape._marked


def test_what_cannot_be_reshaped_says_why(import_object):
    obj = import_object("plain")
    before = height(obj)
    obj.shape_key_add(name="Basis")
    assert not bpy.ops.penumbra.reshape_object.poll()
    obj.shape_key_clear()
    assert bpy.ops.penumbra.reshape_object.poll()
    obj.select_set(False)
    bpy.context.view_layer.objects.active = None
    assert not bpy.ops.penumbra.reshape_object.poll()
    assert height(obj) == before


def test_a_backend_that_fails_leaves_the_object(import_object, harmonized_by):
    obj = import_object("plain")
    obj.data.penumbra_shape.sliders[0] = 1.0
    harmonized_by("refuse")
    with pytest.raises(RuntimeError, match="cannot be read"):
        bpy.ops.penumbra.reshape_object()
    assert height(obj) == pytest.approx(0.9)
    assert len(obj.data.polygons) == 6
