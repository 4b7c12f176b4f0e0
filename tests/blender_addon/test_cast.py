# SPDX-License-Identifier: GPL-3.0-or-later
"""Several characters in one job: one result, in which each has its own strengths."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.backend.protocol import HarmonizeJob
from penumbra.blender_addon import (
    cli,
    compat,
    export,
    pass_nodes,
    passes,
    properties,
    result_files,
)
from penumbra.blender_addon.character import everybody

from tests.blender_addon import pixels

BOTH = "Rig & Twin"


@pytest.fixture
def two(scene: bpy.types.Scene) -> bpy.types.Scene:
    """The scene with a twin of its character on the right, and nothing selected."""
    rig = bpy.data.objects["Rig"]
    twin = rig.copy()
    twin.name, twin.location.x, rig.location.x = "Twin", 0.7, -0.7
    scene.collection.objects.link(twin)
    for part in list(rig.children):
        copy = part.copy()
        copy.parent, copy.modifiers[0].object = twin, twin
        scene.collection.objects.link(copy)
    select()
    scene.frame_set(1)  # what is posed is what is keyed
    bpy.ops.wm.save_mainfile()
    return scene


def select(*names: str) -> None:
    for item in bpy.data.objects:
        item.select_set(item.name in names)
    bpy.context.view_layer.update()


def test_who_is_selected_is_harmonized_together(harmonized_by, two) -> None:
    harmonized_by("render")
    assert properties.chosen_cast(bpy.context).name == BOTH, "all, where none is selected"
    select("Body")
    assert properties.chosen_cast(bpy.context).name == "Rig"
    select("Body", "Twin")
    bpy.ops.penumbra.harmonize()
    assert list(passes.result_nodes(two)) == [BOTH]
    select("Twin")
    assert properties.chosen_cast(bpy.context).name == BOTH, "who has a result with others stays in it"
    two.penumbra.character = bpy.data.objects["Rig"]
    assert properties.chosen_cast(bpy.context).name == "Rig", "unless the artist says so"


def test_a_common_result_takes_the_place_of_single_ones(harmonized_by, two) -> None:
    harmonized_by("render")
    for name in ("Rig", "Twin"):
        two.penumbra.character = bpy.data.objects[name]
        bpy.ops.penumbra.harmonize()
    assert set(passes.result_nodes(two)) == {"Rig", "Twin"}
    two.penumbra.character = None
    bpy.ops.penumbra.harmonize()
    node = passes.result_node(two, BOTH)
    assert list(passes.result_nodes(two)) == [BOTH]
    assert not node.inputs["Plate"].is_linked
    assert node.outputs["Image"].links[0].to_socket == compat.final_input(compat.compositor_tree(two))
    assert {image[pass_nodes.IMAGE].partition("/")[0] for image in bpy.data.images if pass_nodes.IMAGE in image} == {
        BOTH
    }


def test_a_common_result_is_loaded_for_all_of_them(harmonized_by, two, tmp_path: Path) -> None:
    harmonized_by("render")
    bpy.ops.penumbra.harmonize()
    bpy.ops.penumbra.remove()
    assert not passes.result_nodes(two)
    select("Twin")
    bpy.ops.penumbra.load_result(directory=str(tmp_path / "penumbra" / bpy.path.clean_name(BOTH)))
    assert list(passes.result_nodes(two)) == [BOTH]


def test_a_moved_twin_outdates_the_result(harmonized_by, two) -> None:
    harmonized_by("render")
    bpy.ops.penumbra.harmonize()
    settings = properties.export_settings(two)
    assert passes.outdated(bpy.context, BOTH, settings) == []
    bpy.data.objects["Twin"].location.x += 0.1
    bpy.context.view_layer.update()
    assert passes.outdated(bpy.context, BOTH, settings) == ["pose"]


def test_the_command_line_takes_names_or_all(harmonized_by, two, tmp_path: Path) -> None:
    harmonized_by("render")
    command = ["harmonize", "--frames", "1", "--out", str(tmp_path / "out")]
    assert cli.main(command) == cli.DONE
    assert cli.main([*command, "--character", "Twin", "Hat"]) == cli.DONE
    assert cli.main([*command, "--character", "Twin"]) == cli.DONE
    assert {path.name for path in (tmp_path / "out").iterdir()} == {bpy.path.clean_name(BOTH), "Twin"}
    assert (tmp_path / "out" / bpy.path.clean_name(BOTH) / "matte2_0001.exr").is_file()


@pytest.mark.slow
def test_each_has_its_own_strengths(two, real_backend, tmp_path: Path) -> None:
    job = export.export_frames(
        two, bpy.context.view_layer, everybody(bpy.context.view_layer), [1], tmp_path / "job", export.ExportSettings()
    ).job
    assert {name: set(parts) for name, parts in job.characters.items()} == {
        "Rig": {"Body", "Hat"},
        "Twin": {"Body.001", "Hat.001"},
    }
    assert HarmonizeJob.load(tmp_path / "job").characters == job.characters
    bpy.ops.penumbra.harmonize()
    folder = tmp_path / "penumbra" / bpy.path.clean_name(BOTH)
    image = {role: pixels.load(folder / f"{role}_0001.exr") for role in result_files.roles(("Rig", "Twin"))}
    covered, left = image["albedo"][..., 3] > 0.99, np.arange(two.render.resolution_x) < two.render.resolution_x / 2
    for matte, side in (("matte1", left), ("matte2", ~left)):
        np.testing.assert_array_equal(image[matte][..., 0] > 0.5, (image["albedo"][..., 3] > 0) & side)
    np.testing.assert_allclose(image["shadow1"] * image["shadow2"], image["shadow"], atol=2e-3)
    node = passes.result_node(two, BOTH)
    node.inputs["Rig Shading Strength"].default_value = 0.0
    node.inputs["Twin Shadow Strength"].default_value = 0.0
    made = pixels.render(two, tmp_path / "made.exr")[..., :3]
    albedo, shading = image["albedo"][..., :3], image["shading"][..., :3]
    np.testing.assert_allclose(made[covered & left], albedo[covered & left], rtol=2e-3, atol=1e-4)
    expected = (albedo * shading)[covered & ~left]
    np.testing.assert_allclose(made[covered & ~left], expected, rtol=2e-3, atol=1e-4)
    plate = pixels.srgb_decode(pixels.load(tmp_path / "plate.png")[..., :3])
    ground = image["albedo"][..., 3] == 0
    assert image["shadow1"][ground].min() < 0.99
    np.testing.assert_allclose(made[ground], (plate * image["shadow1"][..., :3])[ground], rtol=2e-3, atol=1e-4)
