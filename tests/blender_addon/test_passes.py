# SPDX-License-Identifier: GPL-3.0-or-later
"""Result → compositor nodes: the pixels that they make, and a tree in which nothing of the artist's is cut."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import bpy
import numpy as np
import pytest
from penumbra.backend.protocol import FrameResult, HarmonizeResult, PenumbraError
from penumbra.blender_addon import compat, exact_plate, export, passes
from penumbra.blender_addon.character import cast_named
from penumbra.blender_addon.export import ExportSettings

from tests.blender_addon import cube, pixels

SETTINGS = ExportSettings(samples=1)
RENDERED = ("Render Result", "Viewer Node")  # come with a render of the test
OTHER = os.environ.get("PENUMBRA_OTHER_BPY", str(Path(__file__).parents[2] / ".venv-bpy52" / "bin" / "python"))
ROLES = ("albedo", "shading", "shadow", "occlusion")
CLOSE = {"rtol": 5e-4, "atol": 1e-5}  # the compositor keeps a photograph of 8 bits in half floats
PLATE = pixels.srgb_decode(cube.plate_codes())


@pytest.fixture
def scene(empty_scene: bpy.types.Scene, tmp_path: Path) -> bpy.types.Scene:
    cube.rigged_cube(tmp_path)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    return empty_scene


def images(seed: int) -> dict[str, np.ndarray]:
    """A made-up result: a character left of the middle with a soft edge, a shadow to its right, all rows different."""
    shape = (cube.HEIGHT, cube.WIDTH)
    y, x = np.mgrid[: cube.HEIGHT, : cube.WIDTH]
    rng = np.random.default_rng(seed)
    alpha = np.clip((10 - np.hypot(x - 20, (y - 12 - seed % 3) * 0.8)) / 3, 0, 1)
    albedo = np.dstack([rng.uniform(0.1, 0.9, (*shape, 3)), alpha])
    shading = np.where(alpha[..., None] > 0, rng.uniform(0, 2, (*shape, 3)), 1)
    shadow = np.where(((x > 25) & (x < 45) & (y > 20))[..., None], rng.uniform(0.2, 1, (*shape, 3)), 1)
    occlusion = np.dstack([rng.uniform(0, 1, shape) * (alpha > 0)] * 3)
    named = zip(ROLES, (albedo, shading, shadow, occlusion), strict=True)
    return {role: values.astype(np.float32) for role, values in named}


def result(folder: Path, frames: tuple[int, ...] = (1,)) -> HarmonizeResult:
    folder.mkdir(exist_ok=True)
    done = []
    for number in frames:
        names = {role: f"{role}_{number}.exr" for role in ROLES}
        for role, values in images(number).items():
            pixels.save(folder / names[role], values)
        done.append(FrameResult(number, rics="none.npz", probe="none.json", **names))
    return HarmonizeResult(tuple(done), {}, "cpu", {})


def apply(scene: bpy.types.Scene, folder: Path, frames: tuple[int, ...] = (1,), name: str = "Rig") -> passes.Applied:
    return passes.apply_result(scene, name, result(folder, frames), folder, SETTINGS)


def file_state() -> dict[str, object]:
    """What the compositor and the file hold."""
    scene = bpy.context.scene
    tree = compat.compositor_tree(scene)
    blocks = ("images", "node_groups", "scenes", "objects")
    links = [] if tree is None else [(x.from_node.name, x.from_socket.name, x.to_node.name) for x in tree.links]
    return {
        "names": {n: sorted(b.name for b in getattr(bpy.data, n) if b.name not in RENDERED) for n in blocks},
        "tree": None if tree is None else sorted(node.name for node in tree.nodes),
        "links": sorted(links),
    }


@pytest.mark.parametrize(("shading", "shadow"), [(1, 1), (0, 1), (1, 0), (0, 0), (0.5, 0.25)])
def test_the_group_makes_the_composite(scene: bpy.types.Scene, tmp_path: Path, shading: float, shadow: float) -> None:
    applied = apply(scene, tmp_path / "job")
    assert applied.linked
    assert applied.notices == ()
    applied.node.inputs["Shading Strength"].default_value = shading
    applied.node.inputs["Shadow Strength"].default_value = shadow
    made = pixels.render(scene, tmp_path / "made.exr")[..., :3]
    np.testing.assert_allclose(made, pixels.composite(PLATE, images(1), shading, shadow), **CLOSE)


def test_the_tint_colours_the_light_that_the_shadow_takes(scene: bpy.types.Scene, tmp_path: Path) -> None:
    node = apply(scene, tmp_path / "job").node
    assert tuple(node.inputs["Shadow Tint"].default_value) == (1, 1, 1, 1)
    for strength, tint in ((1.0, (1.0, 0.6, 0.0)), (0.5, (0.2, 1.0, 1.0)), (1.0, (3.0, 0.5, -1.0))):
        node.inputs["Shadow Strength"].default_value = strength
        node.inputs["Shadow Tint"].default_value = (*tint, 1.0)
        made = pixels.render(scene, tmp_path / "made.exr")[..., :3]
        np.testing.assert_allclose(made, pixels.composite(PLATE, images(1), 1, strength, tint), **CLOSE)
    again = apply(scene, tmp_path / "job").node
    assert again.inputs["Shadow Tint"].default_value[0] == 3, "it is the artist's, and stays"


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_a_white_tint_changes_no_pixel(scene: bpy.types.Scene, tmp_path: Path, strength: float) -> None:
    """The node makes what one mix of 1 and the shadow by the strength would make."""
    node = apply(scene, tmp_path / "job").node
    node.inputs["Shadow Strength"].default_value = strength
    tinted = pixels.render(scene, tmp_path / "made.exr")
    nodes, link = node.node_tree.nodes, node.node_tree.links.new
    last = next(n for n in nodes if n.label == "At least 0")
    image = next(n for n in nodes if n.bl_idname == "ShaderNodeMix" and n.data_type == "VECTOR").inputs[5]
    factor = next(n for n in nodes if n.label == "Strength × Tint").inputs["Scale"]
    mix = nodes.new("ShaderNodeMix")
    mix.data_type, mix.inputs[6].default_value = "RGBA", (1, 1, 1, 1)
    link(factor.links[0].from_socket, mix.inputs[0])
    link(image.links[0].from_socket, mix.inputs[7])
    for socket in [found.to_socket for found in last.outputs[0].links]:
        link(mix.outputs[2], socket)
    plain = pixels.render(scene, tmp_path / "made.exr")
    np.testing.assert_allclose(plain, tinted, rtol=2.5e-7 if compat.V5 else 0)  # 5.2 mixes colours in another order


def test_a_result_of_before_the_tint_gets_it(scene: bpy.types.Scene, tmp_path: Path) -> None:
    node = apply(scene, tmp_path / "job").node
    interface = node.node_tree.interface
    interface.remove(interface.items_tree["Shadow Tint"])
    node = apply(scene, tmp_path / "job").node
    made = pixels.render(scene, tmp_path / "made.exr")[..., :3]
    np.testing.assert_allclose(made, pixels.composite(PLATE, images(1)), **CLOSE)


def test_mute_shows_the_plate_and_outputs_show_the_passes(scene: bpy.types.Scene, tmp_path: Path) -> None:
    node = apply(scene, tmp_path / "job").node
    node.inputs["Mute"].default_value = 1
    np.testing.assert_allclose(pixels.render(scene, tmp_path / "m.exr")[..., :3], PLATE, **CLOSE)
    tree = compat.compositor_tree(scene)
    for role in ("shading", "shadow", "occlusion"):
        tree.links.new(node.outputs[role.capitalize()], compat.final_input(tree))
        made = pixels.render(scene, tmp_path / "m.exr")[..., :3]
        np.testing.assert_allclose(made, images(1)[role], atol=1e-6)


def test_an_image_given_as_plate_lies_over_the_photograph(scene: bpy.types.Scene, tmp_path: Path) -> None:
    node = apply(scene, tmp_path / "job").node
    node.inputs["Mute"].default_value = 1
    tree = compat.compositor_tree(scene)
    theirs = tree.nodes.new("CompositorNodeRGB")
    theirs.outputs[0].default_value = (0.2, 0.1, 0.0, 0.5)  # premultiplied
    tree.links.new(theirs.outputs[0], node.inputs["Plate"])
    made = pixels.render(scene, tmp_path / "m.exr")
    np.testing.assert_allclose(made[..., :3], PLATE * 0.5 + np.float32((0.2, 0.1, 0.0)), **CLOSE)
    np.testing.assert_allclose(made[..., 3], 1.0, atol=1e-6)


def test_the_plate_reaches_an_8_bit_file_unchanged(scene: bpy.types.Scene, tmp_path: Path) -> None:
    apply(scene, tmp_path / "job")
    assert not exact_plate.is_plate_exact(scene)
    exact_plate.make_plate_exact(scene)
    assert exact_plate.is_plate_exact(scene)
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGB", "8"
    scene.render.filepath = str(tmp_path / "view.png")
    bpy.ops.render.render(write_still=True)
    codes = np.rint(pixels.load(tmp_path / "view.png")[..., :3] * 255)
    untouched = (images(1)["albedo"][..., 3] == 0) & (images(1)["shadow"] == 1).all(axis=2)
    assert 0.5 < untouched.mean() < 0.9
    np.testing.assert_array_equal(codes[untouched], np.rint(cube.plate_codes() * 255)[untouched])


@pytest.mark.parametrize(
    ("name", "value"), [("view_transform", "AgX"), ("exposure", 0.5), ("gamma", 1.2), ("use_curve_mapping", True)]
)
def test_what_changes_the_plate_is_told(scene: bpy.types.Scene, name: str, value: object) -> None:
    exact_plate.make_plate_exact(scene)
    setattr(scene.view_settings, name, value)
    assert len(exact_plate.plate_deviations(scene)) == 1


def test_running_again_updates_in_place(scene: bpy.types.Scene, tmp_path: Path) -> None:
    node = apply(scene, tmp_path / "job").node
    node.inputs["Shadow Strength"].default_value = 0.5
    before = file_state()
    again = passes.apply_result(scene, "Rig", result(tmp_path / "job"), tmp_path / "job", SETTINGS)
    assert again.node == node
    assert file_state() == before
    for role, values in images(2).items():
        pixels.save(tmp_path / "job" / f"{role}_1.exr", values)
    passes.apply_result(scene, "Rig", HarmonizeResult(result_frames(1), {}, "cpu", {}), tmp_path / "job", SETTINGS)
    made = pixels.render(scene, tmp_path / "made.exr")[..., :3]
    np.testing.assert_allclose(made, pixels.composite(PLATE, images(2), 1, 0.5), **CLOSE)
    assert file_state()["links"] == before["links"]


def result_frames(number: int) -> tuple[FrameResult, ...]:
    names = {role: f"{role}_{number}.exr" for role in ROLES}
    return (FrameResult(number, rics="none.npz", probe="none.json", **names),)


def test_removing_leaves_the_file_as_it_was(scene: bpy.types.Scene, tmp_path: Path) -> None:
    before = file_state()
    apply(scene, tmp_path / "job")
    passes.remove_result(scene, "Rig")
    assert file_state() == before
    with pytest.raises(PenumbraError):
        passes.remove_result(scene, "Rig")


def test_the_artists_tree_is_not_cut(scene: bpy.types.Scene, tmp_path: Path) -> None:
    tree = compat.create_compositor_tree(scene)
    theirs = tree.nodes.new("CompositorNodeImage")
    theirs.image = bpy.data.images["plate.png"]
    tree.links.new(theirs.outputs["Image"], compat.create_final_input(tree))
    before = file_state()
    applied = apply(scene, tmp_path / "job")
    assert not applied.linked
    assert "link the Image" in applied.notices[0]
    assert file_state()["links"] == before["links"]
    passes.link_to_output(scene, "Rig")
    assert compat.final_input(tree).links[0].from_node == applied.node
    passes.remove_result(scene, "Rig")
    assert file_state() == before


def test_blenders_default_tree_is_taken_and_given_back(scene: bpy.types.Scene, tmp_path: Path) -> None:
    tree = compat.create_compositor_tree(scene)
    layers = tree.nodes.new("CompositorNodeRLayers")
    tree.links.new(layers.outputs["Image"], compat.create_final_input(tree))
    before = file_state()
    assert apply(scene, tmp_path / "job").linked
    passes.remove_result(scene, "Rig")
    assert file_state() == before


@pytest.mark.parametrize("first", ["Rig", "Other"])
def test_two_characters_are_chained(scene: bpy.types.Scene, tmp_path: Path, first: str) -> None:
    before = file_state()
    apply(scene, tmp_path / "job")
    apply(scene, tmp_path / "job2", (2,), "Other")
    expected = pixels.composite(pixels.composite(PLATE, images(1)), images(2))
    made = pixels.render(scene, tmp_path / "made.exr")[..., :3]
    np.testing.assert_allclose(made, expected, **CLOSE)
    passes.remove_result(scene, first)
    left = images(2 if first == "Rig" else 1)
    made = pixels.render(scene, tmp_path / "made.exr")[..., :3]
    np.testing.assert_allclose(made, pixels.composite(PLATE, left), **CLOSE)
    passes.remove_result(scene, "Other" if first == "Rig" else "Rig")
    assert file_state() == before


def test_an_animation_plays_as_a_sequence(scene: bpy.types.Scene, tmp_path: Path) -> None:
    apply(scene, tmp_path / "job", (11, 12))
    apply(scene, tmp_path / "job2", (13,))  # one frame more joins the sequence
    for frame in (11, 12, 13, 12):
        made = pixels.render(scene, tmp_path / "made.exr", frame)[..., :3]
        np.testing.assert_allclose(made, pixels.composite(PLATE, images(frame)), **CLOSE, err_msg=str(frame))


def test_an_unsaved_file_packs_one_frame_and_refuses_a_range(empty_scene: bpy.types.Scene, tmp_path: Path) -> None:
    cube.rigged_cube(tmp_path)
    before = file_state()
    with pytest.raises(PenumbraError, match="folder"):
        apply(empty_scene, tmp_path / "job", (1, 2))
    assert file_state()["tree"] == before["tree"]
    apply(empty_scene, tmp_path / "job")
    for path in (tmp_path / "job").iterdir():
        path.unlink()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "late.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "late.blend"))
    made = pixels.render(bpy.context.scene, tmp_path / "made.exr")[..., :3]
    np.testing.assert_allclose(made, pixels.composite(PLATE, images(1)), **CLOSE)


def test_a_missing_image_changes_nothing(scene: bpy.types.Scene, tmp_path: Path) -> None:
    before = file_state()
    made = result(tmp_path / "job")
    (tmp_path / "job" / "shadow_1.exr").unlink()
    with pytest.raises(PenumbraError, match="shadow image of frame 1"):
        passes.apply_result(scene, "Rig", made, tmp_path / "job", SETTINGS)
    assert file_state() == before


def test_a_plate_of_another_shape_is_shown_as_the_job_saw_it(scene: bpy.types.Scene, tmp_path: Path) -> None:
    scene.render.resolution_x = 48
    background = scene.camera.data.background_images[0]
    background.frame_method = "CROP"
    layer = bpy.context.view_layer
    folder = tmp_path / "job"
    job = export.export_frames(scene, layer, cast_named(["Rig"], layer), [1], folder, SETTINGS).job
    cropped = {role: values[:, 8:56] for role, values in images(1).items()}
    for role, values in cropped.items():
        pixels.save(folder / f"{role}_1.exr", values)
    (folder / "none.json").write_text("{}")
    passes.apply_result(scene, "Rig", HarmonizeResult(result_frames(1), {}, "cpu", {}), folder, SETTINGS)
    made = pixels.render(scene, tmp_path / "made.exr")[..., :3]
    np.testing.assert_allclose(made, pixels.composite(PLATE[:, 8:56], cropped), atol=1e-3)
    assert Path(job.frames[0].plate).exists()


@pytest.mark.skipif(compat.V5 or not Path(OTHER).is_file(), reason="needs bpy 4.5 and the Python of a later one")
def test_a_later_blender_makes_the_same_pixels_and_gives_them_back(scene: bpy.types.Scene, tmp_path: Path) -> None:
    apply(scene, tmp_path / "job")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    here = pixels.render(scene, tmp_path / "here.exr")
    script = (
        "import bpy, os, sys; bpy.ops.wm.open_mainfile(filepath=sys.argv[1]); s = bpy.context.scene\n"
        "i = s.render.image_settings\n"
        "if hasattr(i, 'media_type'): i.media_type = 'IMAGE'\n"
        "i.file_format, i.color_depth, s.render.filepath = 'OPEN_EXR', '32', sys.argv[2]\n"
        "bpy.ops.render.render(write_still=True)\n"
        "bpy.ops.wm.save_as_mainfile(filepath=sys.argv[3]); os._exit(0)"
    )
    names = ("scene.blend", "there.exr", "later.blend")
    there = [OTHER, "-c", script, *(str(tmp_path / name) for name in names)]
    subprocess.run(there, check=True, timeout=120, capture_output=True)
    np.testing.assert_array_equal(pixels.load(tmp_path / "there.exr"), here)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "later.blend"))
    again = bpy.context.scene
    assert passes.result_node(again, "Rig")
    np.testing.assert_array_equal(pixels.render(again, tmp_path / "back.exr"), here)
    passes.remove_result(again, "Rig")
    assert not passes.result_nodes(again)
