# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs every check: `python3 scripts/test.py [pytest arguments]`.

Without arguments: ruff, pyright, the documentation, and all tests on Blender 4.5, then the extension's tests on Blender
5.2 where a Python 3.13 is at hand. With arguments: pytest only, with these, on both. The exit status is not 0 if
anything failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import build_docs
import environment

NO_TESTS_COLLECTED = 5


def main(arguments: Sequence[str]) -> int:
    try:
        python = environment.prepare()
        python_52 = environment.prepare_blender_52()
    except environment.Unprepared as problem:
        print(problem, file=sys.stderr)
        return 1
    if python_52 is None:
        print("Notice: no Python 3.13 is at hand, so nothing is tested on Blender 5.2.")
    if not os.environ.get("PENUMBRA_BLENDER"):
        print("Notice: PENUMBRA_BLENDER names no Blender launcher, so the desktop tests are skipped.")

    passed = True
    if not arguments:
        passed &= run("Lint", python, "ruff", "check", ".")
        passed &= run("Format", python, "ruff", "format", "--check", ".")
        passed &= run("Types", python, "pyright")
        passed &= run("Documentation", python, *build_docs.BUILD)
    passed &= run("Tests on Blender 4.5", python, "pytest", *arguments)
    if python_52 and not any(argument.startswith("tests/backend") for argument in arguments):
        chosen = arguments or ["tests/blender_addon", "tests/test_repository.py"]
        allowed = [NO_TESTS_COLLECTED] if arguments else []  # they may select nothing that runs on both
        passed &= run("Tests on Blender 5.2", python_52, "pytest", *chosen, allowed=allowed)
    print("\nEverything passed." if passed else "\nSomething failed.")
    return 0 if passed else 1


def run(title: str, python: Path, module: str, *arguments: str, allowed: Sequence[int] = ()) -> bool:
    """Run a module of an environment in the repository root; says what, how long it took and how it ended."""
    print(f"\n=== {title}", flush=True)
    started = time.monotonic()
    variables = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    status = subprocess.call([str(python), "-m", module, *arguments], cwd=str(environment.ROOT), env=variables)
    passed = status in (0, *allowed)
    print(f"=== {title}: {'passed' if passed else 'failed'}, {time.monotonic() - started:.0f} s", flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
