# SPDX-License-Identifier: GPL-3.0-or-later
"""Every text can be translated: the files of the languages hold what the source says, and German comes out German.

Blender as a Python module knows English only, so that its language is pretended here; a desktop Blender speaks it.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest
from penumbra.backend.protocol import PenumbraError
from penumbra.blender_addon import drawing, jobs, panels, result_panel, translations

from scripts import texts
from scripts.desktop import LAUNCHER, Desktop

LANGUAGES = sorted(texts.LANGUAGES.glob("*.po"))


@pytest.fixture
def german(extension: None, monkeypatch: pytest.MonkeyPatch) -> bpy.types.PreferencesView:
    view = bpy.context.preferences.view
    monkeypatch.setattr(translations, "_language", lambda: "de_DE")
    view.use_translate_interface = view.use_translate_tooltips = view.use_translate_reports = True
    return view


class Layout:
    """Keeps what a panel draws."""

    def __init__(self, shown: list[str]) -> None:
        self.__dict__["shown"] = shown

    def __getattr__(self, name: str) -> Any:
        def draw(*arguments: Any, **options: Any) -> Any:
            self.shown += [str(options[key]) for key in ("text", "placeholder") if options.get(key)]
            return (Layout(self.shown), Layout(self.shown)) if name == "panel" else Layout(self.shown)

        return draw

    def __setattr__(self, name: str, value: object) -> None:
        pass


def drawn(panel: Any) -> list[str]:
    shown: list[str] = []
    panel.draw(SimpleNamespace(layout=Layout(shown)), _context())
    return shown


def _context() -> Any:
    """The context with a wide sidebar, which there is none of without a window."""
    names = ("scene", "view_layer", "selected_objects", "object", "evaluated_depsgraph_get")
    facts = {name: getattr(bpy.context, name) for name in names}
    preferences = SimpleNamespace(system=SimpleNamespace(ui_scale=1.0))
    return SimpleNamespace(region=SimpleNamespace(width=10_000), preferences=preferences, **facts)


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_the_languages_hold_the_texts_of_the_source(path: Path) -> None:
    held, said = set(translations.read(path)), set(texts.collect())
    assert sorted(said - held) == [], "run scripts/texts.py, and translate what is new"
    assert sorted(held - said) == [], "run scripts/texts.py"


def test_texts_of_each_kind_are_found() -> None:
    found = texts.collect()
    assert "Harmonize Shading" in found  # an operator's label
    assert "End the running job and leave the scene as it is" in found  # a tooltip
    assert "Only the frame that is shown" in found  # of an item of an enumeration
    assert "The image {0} was not found." in found  # the backend's
    assert "Casting the shadow" in found  # a stage
    assert "The simulation “{0}” of “{1}” is not baked: bake it first." in found  # a notice
    assert "Free some space, {0}" in found  # in a table


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_translations_have_the_holes_of_their_texts(path: Path) -> None:
    for text, translation in translations.read(path).items():
        if translation:
            assert sorted(re.findall(r"\{\d\}", translation)) == sorted(re.findall(r"\{\d\}", text)), text


def test_german_is_complete() -> None:
    assert [text for text, german in translations.read(texts.LANGUAGES / "de_DE.po").items() if not german] == []


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("The image plate.png was not found.", "Das Bild plate.png wurde nicht gefunden."),
        ("The camera.png image of frame 7 is missing.", "Das Bild „camera.png“ von Einzelbild 7 fehlt."),
        ("The shadow image of frame 7 is missing.", "Das Bild „Schatten“ von Einzelbild 7 fehlt."),
        ("“plate” has no armature.", "„plate“ hat kein Skelett."),
        ("“Rig” has no result in the compositor.", "„Rig“ hat kein Ergebnis im Compositor."),
        (
            "Rendering albedo and normals, frame 2 (1 of 3)",
            "Albedo und Normalen werden gerendert, Einzelbild 2 (1 von 3)",
        ),
        (
            "Free some space, then click Install Backend again: it goes on where it stopped.",
            "Platz schaffen, dann erneut auf „Rechenprogramm installieren“ klicken: Es geht dort weiter, wo es stehen"
            " blieb.",
        ),
        (
            "The result is packed into the .blend file. The folder /a b cannot be written (disk full).",
            "Das Ergebnis ist in die .blend-Datei gepackt. Der Ordner /a b ist nicht beschreibbar (disk full).",
        ),
        ("Nobody has ever said this.", "Nobody has ever said this."),
    ],
)
def test_what_is_put_together_comes_out_german(english: str, german: str) -> None:
    assert translations.translate(english, "de_DE") == german


def test_an_error_of_the_backend_is_drawn_and_reported_in_german(german: Any, empty_scene: object) -> None:
    """With its values inside, as it comes in a message."""
    problem = PenumbraError("plate.png has only 4×5 pixels.", "Choose a larger image.")
    shown: list[str] = []
    drawing.text(Layout(shown), _context(), problem.message, "ERROR")
    assert shown == ["plate.png hat nur 4×5 Pixel."]
    assert translations.report(problem) == "plate.png hat nur 4×5 Pixel. Ein größeres Bild wählen."
    german.use_translate_interface = german.use_translate_reports = False
    assert translations.label(problem.message) == problem.message
    assert translations.report(problem) == str(problem)
    assert translations.tooltip(problem) == "plate.png hat nur 4×5 Pixel. Ein größeres Bild wählen."
    german.use_translate_tooltips = False
    assert translations.tooltip(problem) == str(problem)


def test_the_panels_are_german(german: object, harmonized_by: Any, scene: bpy.types.Scene, tmp_path: Path) -> None:
    bpy.data.objects["Rig"].select_set(False)
    scene.camera.data.background_images[0].image = None
    shown = drawn(panels.PENUMBRA_PT_harmonize)
    assert "Es gibt kein Hintergrundbild." in shown
    assert "Neben der Datei" in shown
    bpy.ops.wm.revert_mainfile()
    harmonized_by("render")
    bpy.ops.penumbra.harmonize()
    (tmp_path / "penumbra" / "Rig" / "probe_0001.json").unlink()  # it has no light for the balls
    bpy.context.scene.penumbra.compare = 0.5
    bpy.context.scene.camera.location.x += 1
    bpy.context.view_layer.update()
    shown = drawn(result_panel.PENUMBRA_PT_result)
    assert "Rig" in shown
    assert "Veraltet: Seither geändert: Kamera" in shown
    assert "Auch gerenderte Bilder zeigen den Vergleich" in shown


def test_a_running_job_is_german(german: object) -> None:
    job = jobs.Job(iter(()))  # type: ignore[arg-type]
    job.progress = jobs.Progress("Casting the shadow", 0.5)
    job._started -= 60
    assert jobs.status_text(job) == "Der Schatten wird geworfen  50%, noch 60 s"


def test_every_tooltip_is_one_that_is_translated(extension: None) -> None:
    """Blender looks for the very text that it has of an operator or a property."""
    known = set(texts.collect())
    operators = [getattr(bpy.ops.penumbra, name).get_rna_type() for name in dir(bpy.ops.penumbra)]
    assert len(operators) > 15
    for operator in operators:
        assert {operator.name, operator.description} <= known, operator
        for prop in operator.properties:
            if prop.identifier not in {"rna_type", "name"} and not prop.is_hidden:  # the name of a preset is Blender's
                assert {prop.name, prop.description} <= known, (operator, prop.identifier)
    for prop in bpy.context.scene.penumbra.bl_rna.properties:
        if prop.identifier not in {"rna_type", "name"}:
            assert {prop.name, prop.description} <= known, prop.identifier


@pytest.mark.desktop
@pytest.mark.skipif(not LAUNCHER, reason="PENUMBRA_BLENDER does not name a desktop Blender")
def test_a_german_blender(tmp_path: Path) -> None:
    blender = Desktop(tmp_path / "blender", visible=(tmp_path,))
    (tmp_path / "ask.py").write_text(_ASK)
    ended = blender.run("-b", "--python-exit-code", "1", "-P", str(tmp_path / "ask.py"))
    assert ended.returncode == 0, ended.stdout
    assert "IT IS GERMAN" in ended.stdout


_ASK = """
import importlib
import bpy

view = bpy.context.preferences.view
view.language = "de_DE"
view.use_translate_interface = view.use_translate_tooltips = view.use_translate_reports = True
translate = bpy.app.translations
operator = bpy.ops.penumbra.harmonize.get_rna_type()
assert translate.pgettext_iface(operator.name, "Operator") == "Schattierung anpassen"
assert translate.pgettext_tip(operator.description).startswith("Die Figur nach")
frames = bpy.context.scene.penumbra.bl_rna.properties["frames"]
assert translate.pgettext_iface(frames.enum_items["CURRENT"].name, frames.translation_context) == "Aktuelles"
ours = importlib.import_module("bl_ext.user_default.penumbra.blender_addon.translations")
assert ours.label("The image a.png was not found.") == "Das Bild a.png wurde nicht gefunden."
view.language = "en_US"
assert ours.label("The image a.png was not found.") == "The image a.png was not found."
print("IT IS GERMAN")
"""
