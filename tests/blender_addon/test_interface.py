# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel offers and marks: fixes for what is missing, outdated results, earlier results, before and after."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import bpy
import pytest
from penumbra.backend.protocol import PenumbraError
from penumbra.blender_addon import backend_process, compat, panels, passes, preferences, properties, result_panel

SETTINGS = properties.export_settings


def problem() -> PenumbraError | None:
    return panels._look(bpy.context)[1]


def fix(found: PenumbraError | None, **options: object) -> set[str]:
    """Run the operator of the problem's button."""
    assert found
    assert found.fix
    module, name = found.fix.split(".")
    return getattr(getattr(bpy.ops, module), name)(**options)


def test_no_camera_and_no_plate_are_mended_by_their_buttons(scene, tmp_path: Path) -> None:
    plate = scene.camera.data.background_images[0].image.filepath
    bpy.data.objects.remove(scene.camera)
    assert fix(problem()) == {"FINISHED"}
    assert scene.camera
    found = problem()
    assert "no plate" in found.message
    assert fix(found, filepath=bpy.path.abspath(plate)) == {"FINISHED"}
    assert scene.penumbra.plate
    assert scene.camera.data.background_images[0].image == scene.penumbra.plate
    assert problem() is None


def test_a_plate_that_is_no_image_is_refused(scene, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(RuntimeError, match="no image"):
        bpy.ops.penumbra.open_plate(filepath=str(tmp_path / "notes.txt"))
    assert scene.penumbra.plate is None


@pytest.mark.skipif(compat.V5, reason="4.5 only: later compositors cannot be switched off")
def test_a_compositor_that_is_switched_off_is_told_before_the_work(scene) -> None:
    scene.use_nodes = True
    scene.use_nodes = False
    assert not bpy.ops.penumbra.harmonize.poll()
    assert fix(problem()) == {"FINISHED"}
    assert problem() is None


def test_without_a_backend_the_panel_offers_to_install_it(scene, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(backend_process, "ROOT", tmp_path)
    monkeypatch.delenv(backend_process.PYTHON_VARIABLE, raising=False)
    assert problem().fix == "penumbra.show_preferences"


def test_pose_camera_and_plate_that_change_outdate_the_result(harmonized_by, scene) -> None:
    harmonized_by("render")
    scene.frame_set(1)  # what is posed is what is keyed
    bpy.ops.penumbra.harmonize()

    def outdated() -> list[str]:
        return passes.outdated(bpy.context, "Rig", SETTINGS(scene))

    assert outdated() == []
    chest = bpy.data.objects["Rig"].pose.bones["Chest"]
    chest.location.x += 0.01
    bpy.context.view_layer.update()
    assert outdated() == ["pose"]
    chest.location.x -= 0.01
    scene.camera.location.x += 0.01
    bpy.context.view_layer.update()
    assert outdated() == ["camera"]
    scene.camera.location.x -= 0.01
    bpy.context.view_layer.update()
    assert outdated() == [], "what is put back is as it was"
    path = Path(bpy.path.abspath(scene.camera.data.background_images[0].image.filepath))
    content = path.read_bytes()
    os.utime(path, ns=(1, 1))
    assert outdated() == [], "a copy of the plate is the plate"
    path.write_bytes(content + b"\0")
    assert outdated() == ["plate"]
    assert result_panel.frame_text(scene, "Rig") == ""
    scene.frame_set(2)
    assert outdated() == [], "of this frame there is no result"
    assert result_panel.frame_text(scene, "Rig") == "Frame 2 has no result; 1 is shown"


def test_every_frame_of_a_range_knows_its_own_pose(harmonized_by, scene) -> None:
    harmonized_by("render")
    scene.penumbra.frames = "RANGE"
    bpy.ops.penumbra.harmonize()
    for number in (1, 2, 3):
        scene.frame_set(number)
        assert passes.outdated(bpy.context, "Rig", SETTINGS(scene)) == []


def test_an_earlier_result_is_shown_without_a_backend(harmonized_by, scene, tmp_path: Path, monkeypatch) -> None:
    harmonized_by("render")
    scene.penumbra.frames = "RANGE"
    bpy.ops.penumbra.harmonize()
    bpy.ops.penumbra.remove()
    assert not passes.result_nodes(scene)
    monkeypatch.setattr(preferences, "backend", lambda: pytest.fail("no backend is needed"))
    assert bpy.ops.penumbra.load_result(directory=str(tmp_path / "penumbra" / "Rig")) == {"FINISHED"}
    node = passes.result_node(scene, "Rig")
    assert list(node.node_tree[passes.FRAMES]) == [1, 2, 3]
    scene.frame_set(2)
    assert passes.outdated(bpy.context, "Rig", SETTINGS(scene)) == []
    with pytest.raises(RuntimeError, match="no result"):
        bpy.ops.penumbra.load_result(directory=str(tmp_path))


def test_every_setting_keeps_its_value_in_the_file(harmonized_by, scene) -> None:
    harmonized_by("render")
    bpy.ops.penumbra.harmonize()
    other = {"FLOAT": 0.25, "STRING": "//elsewhere"}
    settings = scene.penumbra
    rig, plate = bpy.data.objects["Rig"], bpy.data.images["plate.png"]
    chosen, changed = {"character": rig, "person": rig, "plate": plate}, {}
    for prop in settings.bl_rna.properties:
        if prop.identifier in {"rna_type", "name"}:
            continue
        if prop.type == "POINTER":
            value = chosen[prop.identifier]
        elif prop.type == "ENUM":
            value = next(item.identifier for item in prop.enum_items if item.identifier != prop.default)
        else:
            value = not prop.default if prop.type == "BOOLEAN" else other[prop.type]
        setattr(settings, prop.identifier, value)
        changed[prop.identifier] = getattr(value, "name", value)
    assert len(changed) > 8
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    settings = bpy.context.scene.penumbra
    kept = {name: getattr(settings, name) for name in changed}
    assert {name: getattr(value, "name", value) for name, value in kept.items()} == changed


def test_the_icons_are_there(root: Path) -> None:
    known = set(bpy.types.UILayout.bl_rna.functions["operator"].parameters["icon"].enum_items.keys())
    used = set()
    for path in (root / "blender_addon").rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)):
            drawn = isinstance(call.func, ast.Attribute) and ast.unparse(call.func) == "drawing.text"
            given = [keyword.value for keyword in call.keywords if keyword.arg == "icon"] + drawn * call.args[3:]
            constants = (part for value in given for part in ast.walk(value) if isinstance(part, ast.Constant))
            used |= {part.value for part in constants if isinstance(part.value, str)}
    assert len(used) > 15
    assert used <= known


def test_what_can_be_done_again_with_other_values_is_in_the_panel_of_the_last_operation() -> None:
    for name in dir(bpy.ops.penumbra):
        operator = getattr(bpy.ops.penumbra, name)
        if {prop.identifier for prop in operator.get_rna_type().properties} & {"turn", "sky", "character"}:
            assert {"REGISTER", "UNDO"} <= operator.bl_options, name


@pytest.mark.parametrize(
    ("direction", "text"), [((0, 0, 1), "Light from above"), ((-1, -1, 0), "Light from left and the camera's side")]
)
def test_the_light_in_words(scene, direction: tuple[float, ...], text: str) -> None:
    scene.camera.rotation_euler.x = 1.5707963
    bpy.context.view_layer.update()
    record = {"light": {"dominant_direction_world": direction, "confidence": 0.5, "strength": 1.0}}
    assert result_panel.light_text(record, scene.camera) in (
        f"{text}, 50% sure",
        "Light from the camera's side and left, 50% sure",
    )
    given = {"light": {**record["light"], "confidence": 1.0}}
    assert "sure" not in result_panel.light_text(given, scene.camera), "it was not found"
    assert result_panel.light_text({}, scene.camera) == ""
