# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the translations up to date with the source: `python3 scripts/texts.py` after a text was added or changed.

`blender_addon/languages/LANGUAGE.po` is edited by people, with any editor for .po files. New texts are added without a
translation, and those that are gone are taken out. To begin a language, make an empty file of its name in Blender,
such as fr_FR.po, and run this.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = ROOT / "blender_addon" / "languages"

# What prints to a terminal or a report for developers, and what trains and measures, is not shown to artists.
UNSEEN = re.compile(
    r"blender_addon/(presets/|cli|farm|compat|report)|backend/(doctor|training|shadow/(?!cast|on_plate)|objects/(dataset|public|train)"
    r"|shading/(dataset|environments|train)|body/(bvh|retarget|gltf|public|lasor/lifting|bodynet/(picture_data|train))|__main__)|.*/evaluate"
)
SENTENCE = re.compile(r"(?=.*[a-z]{2}).* .*(\.|, \{\d\})", re.DOTALL)
# Arguments that are shown, by the name of the call: keywords, and positions.
KEYWORDS = {"text", "heading", "placeholder", "name", "description"}
SHOWN = {
    "PenumbraError": (0, 1),
    "Progress": (0,),
    "Outcome": (0,),
    "PeopleFound": (0,),
    "Cancelled": (0,),
    "Job": (1,),
    "progress": (0,),
    "begin": (0,),
    "label": (0,),
    "tooltip": (0,),
    "report": (0,),
    "text": (2,),
    "append": (0,),
}
IN_BACKEND = {"PenumbraError", "progress", "begin"}
PROPERTIES = re.compile(r"(Bool|Int|Float|FloatVector|Enum|String|Pointer)Property")
LABELS = {"bl_label", "bl_description", "LABELS", "IMPORTS", "DESCRIPTIONS", "SIZES", "UNTRACEABLE", "WORDS"}


def collect() -> dict[str, list[str]]:
    """Every text that an artist can read, f-strings with numbered holes, and the files that it is in."""
    found: dict[str, list[str]] = {}
    for path in sorted([*(ROOT / "blender_addon").rglob("*.py"), *(ROOT / "backend").rglob("*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if not UNSEEN.match(name):
            for text in dict.fromkeys(texts(ast.parse(path.read_text("utf-8")), name.startswith("blender_addon"))):
                found.setdefault(text, []).append(name)
    for path in sorted((ROOT / "blender_addon" / "presets").rglob("*.py")):
        found.setdefault(path.stem.replace("_", " "), []).append(path.relative_to(ROOT).as_posix())
    return found


def texts(module: ast.Module, in_blender: bool) -> Iterator[str]:
    """The texts of a module: sentences, wherever they are, and what is handed to a call that shows it."""
    skipped = {id(part) for node in ast.walk(module) for part in _no_texts(node)}
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef) and in_blender:
            yield from _operator_tooltip(node)
        shown = list(_shown(node, in_blender))
        for part in (part for value in shown for part in _leaves(value)):
            if (text := template(part)) and re.search(r"[A-Za-z]{2}", re.sub(r"\{\d\}", "", text)):
                yield text
        text = template(node) if id(node) not in skipped else None
        if text and SENTENCE.fullmatch(text):
            yield text


def template(node: ast.AST) -> str | None:
    """The text of a literal, with {0}, {1} … in place of an f-string's expressions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        holes = iter(range(len(node.values)))
        return "".join(str(v.value) if isinstance(v, ast.Constant) else f"{{{next(holes)}}}" for v in node.values)
    return None


def _no_texts(node: ast.AST) -> Iterator[ast.AST]:
    """Docstrings, the parts of f-strings, and what is printed."""
    if isinstance(node, ast.Expr):
        yield node.value
    if isinstance(node, ast.JoinedStr):
        yield from node.values
    if isinstance(node, ast.Call) and _name(node) in {
        "print",
        "ValueError",
        "TypeError",
        "RuntimeError",
        "ArgumentParser",
    }:
        yield from node.args


def _operator_tooltip(node: ast.ClassDef) -> Iterator[str]:
    assigned = {ast.unparse(target) for part in node.body if isinstance(part, ast.Assign) for target in part.targets}
    if "_OT_" in node.name and "bl_description" not in assigned:
        yield (ast.get_docstring(node) or "").removesuffix(".")


def _shown(node: ast.AST, in_blender: bool) -> Iterator[ast.AST]:
    """Expressions whose value an artist reads."""
    if in_blender and isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) and target.id in LABELS for target in targets) and node.value:
            yield node.value
    if not isinstance(node, ast.Call):
        return
    name = _name(node)
    if in_blender or name in IN_BACKEND:
        yield from (node.args[i] for i in SHOWN.get(name, ()) if i < len(node.args))
    if in_blender and (name in {"operator", "prop", "label", "column", "progress"} or PROPERTIES.fullmatch(name)):
        yield from (keyword.value for keyword in node.keywords if keyword.arg in KEYWORDS)
    if PROPERTIES.fullmatch(name):
        items = next((k.value for k in node.keywords if k.arg == "items"), None)
        yield from (part for item in getattr(items, "elts", ()) for part in item.elts[1:])


def _leaves(node: ast.AST) -> Iterator[ast.AST]:
    """The literals among which an expression chooses."""
    if isinstance(node, ast.IfExp):
        yield from (*_leaves(node.body), *_leaves(node.orelse))
    elif isinstance(node, ast.BoolOp):
        yield from (leaf for value in node.values for leaf in _leaves(value))
    elif isinstance(node, (ast.Tuple, ast.List)):
        yield from (leaf for value in node.elts for leaf in _leaves(value))
    elif isinstance(node, ast.Starred):
        yield from _leaves(node.value)
    elif isinstance(node, ast.Dict):
        yield from (leaf for value in node.values for leaf in _leaves(value))
    else:
        yield node


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def write(path: Path, found: dict[str, list[str]], translations: dict[str, str]) -> None:
    """A ``.po`` file of all texts, with those translations that there are."""
    language = path.stem
    lines = [f'msgid ""\nmsgstr ""\n"Language: {language}\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n']
    for text in sorted(found, key=lambda text: (found[text][0], text)):
        quoted = [json.dumps(string, ensure_ascii=False) for string in (text, translations.get(text, ""))]
        lines.append(f"#: {' '.join(found[text])}\nmsgid {quoted[0]}\nmsgstr {quoted[1]}\n")
    path.write_text("\n".join(lines), "utf-8")


def main() -> None:
    sys.path.insert(0, str(ROOT))
    found = collect()
    for path in sorted(LANGUAGES.glob("*.po")):
        translations = _read(path)
        write(path, found, translations)
        missing = sum(not translations.get(text) for text in found)
        print(f"{path.name}: {len(found)} texts, {missing} without a translation")


def _read(path: Path) -> dict[str, str]:
    """As `blender_addon.translations.read`, which needs Blender."""
    entries = re.findall(r'^msgid (".*")\nmsgstr (".*")', path.read_text("utf-8"), re.MULTILINE)
    return {json.loads(text): json.loads(translation) for text, translation in entries}


if __name__ == "__main__":
    main()
