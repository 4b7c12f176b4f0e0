# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation says what the code does: commands, settings, variables, messages, figures, and where links lead."""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock
from urllib.parse import unquote, urlsplit

import pytest

from scripts import extension

ROOT = extension.ROOT
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
VARIABLE = re.compile(r"PENUMBRA_[A-Z]+(?:_[A-Z]+)*")
UNNAMED = "…"  # stands for a name or number in a message
FIGURES = ("shading", "characters", "resolution", "body", "take", "photographs")  # docs/results with tables


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def sources(*folders: str) -> Iterator[ast.Module]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield ast.parse(path.read_text("utf-8"))


@pytest.fixture
def docs(monkeypatch: pytest.MonkeyPatch):
    """scripts/build_docs.py, which imports its neighbours as scripts do."""
    pytest.importorskip("bpy")
    if sys.version_info[:2] != (3, 11):
        pytest.skip("argparse formats in another way")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("scripts.build_docs")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            assert "." in parts.netloc, link
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert target.is_file(), f"{link} in {page.name}"
        if parts.fragment:
            assert parts.fragment in anchors(target), f"{link} in {page.name}"


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_reference_is_what_the_code_says(docs) -> None:
    page = text_of("docs/reference.md")
    assert docs.refreshed(page) == page, "run scripts/build_docs.py --refresh"


def test_every_variable_is_documented() -> None:
    engines = {"PENUMBRA_CAPTURE"}  # a render engine's identifier
    found = set()
    for tree in sources("backend", "blender_addon", "scripts", "tests"):
        strings = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        found |= {value for value in strings if isinstance(value, str) and VARIABLE.fullmatch(value)}
    documented = set(re.findall(r"(?m)^\| `(PENUMBRA_\w+)` \|", text_of("docs/reference.md")))
    assert documented == found - engines
    farms = {"PENUMBRA_BACKEND_PYTHON", "PENUMBRA_WEIGHTS"}
    assert farms <= set(VARIABLE.findall(text_of("docs/farms.md")))


@pytest.mark.parametrize(
    ("module", "owner"), [("properties", "PenumbraSettings"), ("preferences", "PenumbraPreferences")]
)
def test_every_setting_is_in_the_artists_guide(module: str, owner: str) -> None:
    guide = text_of("docs/artists.md")
    (group,) = (node for node in ast.walk(ast.parse(text_of(f"blender_addon/{module}.py"))) if is_class(node, owner))
    properties = [node.annotation for node in group.body if isinstance(node, ast.AnnAssign)]
    assert properties
    for call in properties:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        assert f"**{given['name'].value}**" in guide
        for item in getattr(given.get("items"), "elts", ()):
            label = item.elts[1].value
            assert f"*{label}*" in guide or f"**{label}**" in guide, label


def is_class(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.ClassDef) and node.name == name


def test_every_button_is_in_a_guide(docs) -> None:
    guides = " ".join((text_of("docs/artists.md") + text_of("docs/troubleshooting.md")).split())
    labels = [row.split(" | ")[1] for row in docs.operators().splitlines()]
    imports = {"Import Body from Image": "**Body**", "Import Object from Image": "**Object**"}
    missing = [label for label in labels if imports.get(label, f"**{label}**") not in guides]
    assert missing == []


def test_quoted_messages_are_the_code_s() -> None:
    said = "\n".join(map(sentence, (node for tree in sources("backend", "blender_addon") for node in ast.walk(tree))))
    quoted = re.findall(r"(?m)^\| (.+[.…)]) \| .+ \|$", text_of("docs/troubleshooting.md"))
    assert len(quoted) > 50
    for message in quoted:
        assert message.strip("*") in said, message


def sentence(node: ast.AST) -> str:
    """A string of the code, with what is filled in as "…"."""
    if isinstance(node, ast.Constant):
        return re.sub(r"\{\d\}", UNNAMED, str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else UNNAMED for part in node.values)
    return ""


@pytest.mark.parametrize("what", FIGURES)
def test_tables_have_the_measured_figures(what: str) -> None:
    evaluate = pytest.importorskip("backend.shading.evaluate")
    lasor = importlib.import_module("backend.body.lasor.evaluate")
    columns = {
        "body": lasor.COLUMNS,
        "take": importlib.import_module("scripts.take_evaluation").COLUMNS,
        "photographs": importlib.import_module("scripts.photograph_evaluation").SHOWN,
    }.get(what)
    of_bodies = columns is not None
    table = functools.partial(lasor.results_table, columns=columns) if of_bodies else evaluate.results_table
    rows = json.loads(text_of(f"docs/results/{what}.json"))["rows"]
    rows = [row for row in rows if not of_bodies or next(iter(columns)) in row]
    if not of_bodies:
        split = rows[0]["split"] if what == "shading" else "all"  # README shows one of shading's splits
        rows = [row for row in rows if row["split"] == split]
    written = [cells(line) for line in (text_of("README.md") + text_of("docs/researchers.md")).splitlines()]
    for measured in map(cells, table(rows).splitlines()[2:]):
        method, *figures = measured
        shown = (row[row.index(method) + 1 :] for row in written if method in row)
        least = 3 if len(figures) > 2 else 1
        assert any(len(row) >= least and set(row) <= set(figures) for row in shown), measured


@pytest.mark.parametrize("what", ["person", "shading"])
def test_tables_of_splits_have_the_measured_figures(what: str) -> None:
    evaluate = pytest.importorskip("backend.shading.evaluate")
    rows = json.loads(text_of(f"docs/results/{what}.json"))["rows"]
    for split in {row["split"] for row in rows}:
        mine = [row for row in rows if row["split"] == split]
        assert f"**{split}**, {mine[0]['images']} images\n\n{evaluate.results_table(mine)}" in text_of(
            "docs/researchers.md"
        )


@pytest.mark.parametrize(("what", "module"), [("parts", "body.segmentation"), ("fields", "objects")])
def test_tables_as_they_are_printed(what: str, module: str) -> None:
    pytest.importorskip("torch")
    table = importlib.import_module(f"backend.{module}.evaluate").table
    assert table(json.loads(text_of(f"docs/results/{what}.json"))["rows"]) in text_of("docs/researchers.md")


def test_readme_shows_rows_of_the_first_split() -> None:
    evaluate = pytest.importorskip("backend.shading.evaluate")
    rows = json.loads(text_of("docs/results/shading.json"))["rows"]
    table = evaluate.results_table([row for row in rows if row["split"] == rows[0]["split"]])
    measured = {method: figures for method, *figures in map(cells, table.splitlines())}
    region = text_of("README.md").partition("<!-- begin: shading figures -->")[2].partition("<!-- end")[0]
    shown = [cells(line) for line in region.splitlines() if line.startswith("| ")]
    assert len(shown) > 5
    for method, *figures in shown:
        assert set(figures) <= set(measured[method]), method


def cells(line: str) -> list[str]:
    """What a row of a table holds, without empty cells."""
    return [cell for cell in map(str.strip, line.split("|")) if cell]


def test_the_installations_are_those_of_the_locks() -> None:
    targets = importlib.import_module("penumbra.blender_addon.installation.targets")
    guide = text_of("docs/artists.md")
    found = [t for on in ("linux-x64", "windows-x64", "macos-arm64") for t in targets.available(ROOT, on)]
    assert len(found) == len(json.loads(text_of(f"{targets.LOCKS.as_posix()}/locks.json"))["targets"])
    for target in found:
        download, disk = (re.match(r"[\d.]+ [MG]B", size)[0] for size in target.sizes.split(", "))
        tried = "yes" if target.tested else "not yet"
        row = rf"(?m)^\| {target.label} \| {target.platform}\b.* \| {download} \| {disk} \| {tried} \|$"
        assert re.search(row, guide), target


# Commands that the documents print are understood by the programs that they call.


class Understood(Exception):
    """The arguments were parsed."""


def commands() -> list[str]:
    """Every command in a block of code, in one line; synopses with brackets are the reference's business."""
    lines = (line for page in PAGES for block in blocks(page, ("```",)) for line in block)
    return [line for line in dict.fromkeys(lines) if line and "[" not in line]


def blocks(page: Path, fences: tuple[str, ...]) -> Iterator[list[str]]:
    """The lines of each block that begins with one of these fences."""
    fence, block = "", []
    for line in page.read_text("utf-8").replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            if fence in fences:
                yield block
            fence, block = ("" if fence else line), []
        else:
            block.append(line.strip())


@pytest.mark.parametrize("command", commands())
def test_printed_commands_are_understood(command: str, docs, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command)
    run, arguments = program(words)
    if run is None:
        pytest.skip("not a program of ours")
    parse = argparse.ArgumentParser.parse_args

    def understand(parser: argparse.ArgumentParser, given: list[str] | None = None) -> None:
        parse(parser, given)
        raise Understood

    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    with mock.patch.object(argparse.ArgumentParser, "parse_args", understand), pytest.raises(Understood):
        run()


def program(words: list[str]) -> tuple[Callable[[], object] | None, list[str]]:
    """The function that a command line calls, and its arguments; None for programs of others."""
    scripts = [i for i, word in enumerate(words) if re.fullmatch(r"scripts/\w+\.py", word)]
    if scripts:
        name, rest = words[scripts[0]], words[scripts[0] + 1 :]
        assert (ROOT / name).is_file(), name
        module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
        parses = "ArgumentParser" in text_of(name)
        return (module.main if parses else None), rest
    if "backend" in words and words[words.index("backend") - 1] == "-m":
        return importlib.import_module("backend.__main__").main, words[words.index("backend") + 1 :]
    if "--command" in words and "penumbra" in words:
        cli = importlib.import_module("penumbra.blender_addon.cli")
        arguments = words[words.index("penumbra") + 1 :]
        return (lambda: cli.main(arguments)), arguments
    return None, []
