# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the documentation into build/docs: `python3 scripts/build_docs.py [--refresh]`.

A link, anchor or picture inside the documentation that leads nowhere fails the build. --refresh first renews
docs/reference.md: what the commands' own --help says, and the table of operators.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from unittest import mock

import environment
import extension

ROOT = environment.ROOT
REFERENCE = ROOT / "docs" / "reference.md"
# All pages are read and all links looked at anew, as a page that is removed breaks others.
BUILD = ("sphinx", "-W", "--keep-going", "-n", "-q", "-E", "-a", "-b", "html", "docs", "build/docs")
BACKEND, BLENDER = "python -m backend", "blender -b FILE.blend --command penumbra"
COLUMNS = "100"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--refresh", action="store_true", help="renew docs/reference.md from commands and operators")
    options = parser.parse_args()
    environment.run_inside()
    if options.refresh:
        REFERENCE.write_text(refreshed(REFERENCE.read_text("utf-8")), "utf-8")
    sys.stdout.flush()
    status = subprocess.call([sys.executable, "-m", *BUILD], cwd=ROOT)
    if status == 0:
        print(ROOT / "build" / "docs" / "index.html")
    return status


def refreshed(page: str) -> str:
    """The reference as the code has it now: help in the block below the heading that names its command, and operators.

    Raises KeyError where the page lacks a command's heading, or the table. Needs bpy.
    """
    for command, text in helps().items():
        block = re.compile(rf"(?m)(^#+ `{re.escape(command)}`$(?:\n(?!#|```).*)*\n```text\n)(?:(?!```).*\n)*(```)")
        page = _replaced(page, block, lambda found, text=text: found[1] + text + found[2], command)
    table = re.compile(r"(?m)(^\| `bpy\.ops\.` .*\n\|---.*\n)(?:\|.*\n)*")
    return _replaced(page, table, lambda found: found[1] + operators(), "bpy.ops.")


def helps() -> dict[str, str]:
    """What --help says, by command: of the backend, of Blender's command, and of all that they have."""
    sys.path.insert(0, str(ROOT))
    extension.load()
    from penumbra.blender_addon import cli

    from backend import __main__ as backend

    def run_backend(arguments: list[str]) -> None:
        with mock.patch.object(sys, "argv", ["backend", *arguments]):
            backend.main()

    return {**_helps(BACKEND, run_backend), **_helps(BLENDER, cli.main)}


def operators() -> str:
    """Rows of a table of the add-on's operators: name, button, arguments that are not hidden, and tooltip."""
    extension.load()
    from penumbra.blender_addon import operators as package

    modules = [module for module in vars(package).values() if hasattr(module, "CLASSES")]
    classes = (cls for module in modules for cls in module.CLASSES)
    found = [cls for cls in classes if getattr(cls, "bl_idname", "").startswith("penumbra.")]
    rows = []
    for cls in sorted(found, key=lambda cls: cls.bl_idname):
        bases = (base for base in reversed(cls.__mro__) if base.__module__.startswith("penumbra."))
        properties = {name: p for base in bases for name, p in inspect.get_annotations(base, eval_str=True).items()}
        shown = [f"`{n}`" for n, p in properties.items() if "HIDDEN" not in p.keywords.get("options", ())]
        tooltip = " ".join(cls.__doc__.split())
        rows.append(f"| `{cls.bl_idname}` | {cls.bl_label} | {', '.join(shown)} | {tooltip} |\n")
    return "".join(rows)


def _replaced(page: str, part: re.Pattern[str], new: Callable[[re.Match[str]], str], what: str) -> str:
    page, count = part.subn(new, page)
    if count != 1:
        raise KeyError(f"{REFERENCE.name} has no place for {what}")
    return page


def _helps(command: str, run: Callable[[list[str]], object]) -> dict[str, str]:
    """The help of a command and of the commands below it, which its own help lists in braces."""
    whole = _help(run, [])
    below = re.search(r"\{([a-z,]+)\}", whole)
    names = below[1].split(",") if below else []
    return {command: whole, **{f"{command} {name}": _help(run, [name]) for name in names}}


def _help(run: Callable[[list[str]], object], arguments: list[str]) -> str:
    printed = io.StringIO()
    wide = mock.patch.dict(os.environ, {"COLUMNS": COLUMNS})
    with wide, contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        run([*arguments, "--help"])
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()) + "\n"


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # bpy 4.5 sometimes hangs where it frees its memory at the end
