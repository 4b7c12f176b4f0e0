# SPDX-License-Identifier: GPL-3.0-or-later
"""The script of the background Blender: export the scene copy in a folder, and tell of it on standard output.

Run by the command line of `export.spawn_export`, as a script without a package, so it loads the extension it lies in.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from typing import Any

PACKAGE = "penumbra_export"  # an installed extension has another name and stays apart


def main(folder: Path) -> int:
    root = Path(__file__).resolve().parent.parent
    spec = importlib.util.spec_from_file_location(PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)])
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    protocol = importlib.import_module(f"{PACKAGE}.backend.protocol")
    export = importlib.import_module(f"{PACKAGE}.blender_addon.export")

    def send(message: dict[str, Any]) -> None:
        # A line of Blender's that is not ended yet must not spoil the message.
        sys.stdout.buffer.write(b"\n" + protocol.encode(message))
        sys.stdout.buffer.flush()

    try:
        export.run_request(folder, send)
    except protocol.PenumbraError as problem:
        send(protocol.error("", problem))
        return 1
    except BrokenPipeError:  # whoever asked is gone
        return 1
    except Exception as problem:
        traceback.print_exc()
        remedy = "Please report this; the log of the export says more."
        send(protocol.error("", protocol.PenumbraError(f"The export failed: {problem}.", remedy)))
        return 1
    return 0


if __name__ == "__main__":
    status = main(Path(sys.argv[sys.argv.index("--") + 1]))
    sys.stderr.flush()
    os._exit(status)  # the bpy module can hang while it frees its memory
