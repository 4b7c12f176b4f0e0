# SPDX-License-Identifier: GPL-3.0-or-later
"""The script that installs the backend, run by Blender's own Python: `install_process.py install|repair REQUEST`.

REQUEST is JSON: "root" (the extension's folder), "store", "accelerator", "wheels" (or null) and "log".
Tells of it in JSON lines on standard output, and ends, with all that it started, when its standard input does. It is a
script without a package, so it loads the extension it lies in.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

PACKAGE = "penumbra_install"
QUIET = 0.002  # of the whole: less progress is not told


def main(what: str, request: dict[str, Any]) -> int:
    """Returns the exit status: 0 where the environment is installed, verified and in use."""
    load(Path(__file__).resolve().parent.parent)
    protocol = importlib.import_module(f"{PACKAGE}.backend.protocol")
    install, store, targets = (
        importlib.import_module(f"{PACKAGE}.blender_addon.installation.{name}")
        for name in ("install", "store", "targets")
    )
    stop = threading.Event()
    threading.Thread(target=_wait_for_end, args=(stop,), daemon=True).start()

    def send(message: dict[str, Any]) -> None:
        sys.stdout.buffer.write(protocol.encode(message))
        sys.stdout.buffer.flush()

    try:
        root = Path(request["root"])
        target = next(t for t in targets.available(root) if t.accelerator == request["accelerator"])
        wheels = Path(request["wheels"]) if request["wheels"] else None
        place = store.Store(Path(request["store"]))
        job = install.Installation(
            root, place, target, wheels, Path(request["log"]), _Teller(send, protocol, stop), stop
        )
        getattr(job, what)()
    except protocol.PenumbraError as problem:
        traceback.print_exc()
        send(protocol.error("", problem))
        return 1
    except protocol.Cancelled:
        send(protocol.cancelled(""))
        return 130
    except Exception as problem:
        traceback.print_exc()
        failures = importlib.import_module(f"{PACKAGE}.blender_addon.installation.failures")
        send(protocol.error("", failures.explain(f"error: {type(problem).__name__}: {problem}")))
        return 1
    send(protocol.done(""))
    return 0


class _Teller:
    """Tells of progress, but not of every byte."""

    def __init__(self, send: Any, protocol: Any, stop: threading.Event) -> None:
        self._send, self._protocol, self._stop, self._told = send, protocol, stop, ("", -1.0)

    def __call__(self, stage: str, fraction: float) -> None:
        if self._stop.is_set():
            raise self._protocol.Cancelled
        if stage != self._told[0] or fraction - self._told[1] > QUIET:
            self._told = stage, fraction
            self._send(self._protocol.progress("", stage, fraction))


def load(root: Path) -> None:
    """Make the extension's modules importable without registering it."""
    spec = importlib.util.spec_from_file_location(PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)])
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)


def _wait_for_end(stop: threading.Event) -> None:
    while os.read(0, 1024):  # not sys.stdin, whose lock a thread would hold when Python ends
        continue
    stop.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
