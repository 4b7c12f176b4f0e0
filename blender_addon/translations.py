# SPDX-License-Identifier: GPL-3.0-or-later
"""What Penumbra shows, in the language that Blender speaks; `languages` holds a file a language.

Names, tooltips and labels are translated by Blender, which is told of them here. What is put together while Penumbra
runs, in Blender or in the backend, is translated where it is shown: its template is looked for, such as "The image
{0} was not found.", and what stands in the holes is kept.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import bpy

from ..backend.protocol import PenumbraError

CONTEXT = "Penumbra"  # of words that mean something else in Blender: "Current" is a scene there
LANGUAGES = Path(__file__).with_name("languages")
_ENTRY = re.compile(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n?)+)', re.MULTILINE)
_HOLE = re.compile(r"\{(\d)\}")
# Words of ours that are put into texts; names that begin in upper case are the artist's.
WORDS = (
    *("albedo", "shading", "shadow", "occlusion", "plate", "pose", "camera", "normal", "depth", "diffuse color"),
    *("right", "left", "above", "below", "behind", "the camera's side"),
    *("chair", "table", "couch", "lamp", "cabinet", "bench", "car", "airplane"),
)
# The pattern that a text must have, its holes by their numbers and whether a name of the artist's is in it, and the
# translation.
_Template = tuple[re.Pattern[str], list[tuple[str, bool]], str]
_LEAST = 6  # letters that a template must have beside its holes to be told from a text


def label(text: str) -> str:
    """A text of a panel or the status bar."""
    return _translated(text, "interface")


def tooltip(text: str | PenumbraError) -> str:
    """Why an operator cannot run."""
    return _translated(text, "tooltips")


def report(text: str | PenumbraError) -> str:
    """What an operator reports."""
    return _translated(text, "reports")


def read(path: Path) -> dict[str, str]:
    """The texts of a ``.po`` file and their translations, which are empty where there are none."""

    def joined(quoted: str) -> str:
        return "".join(json.loads(line) for line in quoted.splitlines())

    found = _ENTRY.findall(path.read_text("utf-8"))
    return {joined(text): joined(translation) for text, translation in found if joined(text)}


def translate(text: str, language: str) -> str:
    """A text in a language; as it is where there is no translation."""
    exact, templates = _catalogue(language)
    if translation := exact.get(text):
        return translation
    for pattern, holes, translation in templates:
        if match := pattern.fullmatch(text):
            values = {
                number: value if a_name else _of_hole(value, language)
                for (number, a_name), value in zip(holes, match.groups(), strict=True)
            }
            return _fill(translation, values)
    return text


def _fill(template: str, values: dict[str, str]) -> str:
    return _HOLE.sub(lambda hole: values[hole[1]], template)


def _of_hole(value: str, language: str) -> str:
    """Another sentence, or a word of ours, is translated; a name or a number is kept."""
    a_sentence = value.endswith(".") and " " in value
    a_word = value in _catalogue(language)[0] and (value.islower() or " " in value)
    return translate(value, language) if a_sentence or a_word else value


@functools.lru_cache(maxsize=512)
def _cached(text: str, language: str) -> str:
    return translate(text, language)


def _translated(text: str | PenumbraError, what: str) -> str:
    view, language = bpy.context.preferences.view, _language()
    parts = (text.message, text.remedy) if isinstance(text, PenumbraError) else (text,)
    if getattr(view, f"use_translate_{what}") and (LANGUAGES / f"{language}.po").is_file():
        parts = (_cached(part, language) for part in parts)
    return " ".join(filter(None, parts))


def _language() -> str:
    return bpy.app.translations.locale


@functools.cache
def _catalogue(language: str) -> tuple[dict[str, str], list[_Template]]:
    """Translations by text, and templates, the most telling first."""
    path = LANGUAGES / f"{language}.po"
    exact = {text: translation for text, translation in read(path).items() if translation} if path.is_file() else {}
    telling = {text: len(re.findall(r"\w", _HOLE.sub("", text))) for text in exact if _HOLE.search(text)}
    templates = []
    for text in sorted((text for text in telling if telling[text] >= _LEAST), key=lambda text: -telling[text]):
        pattern = "".join("(.+?)" if i % 2 else re.escape(part) for i, part in enumerate(_HOLE.split(text)))
        holes = [(number, f"“{{{number}}}”" in text) for number in _HOLE.findall(text)]
        templates.append((re.compile(pattern, re.DOTALL), holes, exact[text]))
    return exact, templates


def register() -> None:
    texts = {path.stem: _catalogue(path.stem)[0] for path in LANGUAGES.glob("*.po")}
    both = {
        language: {
            (context, text): translation
            for text, translation in exact.items()
            for context in ("*", "Operator", CONTEXT)
        }
        for language, exact in texts.items()
    }
    bpy.app.translations.register(__name__, both)


def unregister() -> None:
    bpy.app.translations.unregister(__name__)
    _catalogue.cache_clear()
    _cached.cache_clear()
