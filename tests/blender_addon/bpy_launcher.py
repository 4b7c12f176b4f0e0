# SPDX-License-Identifier: GPL-3.0-or-later
"""Does with the bpy module what `blender -b FILE --command penumbra ARGUMENTS` does with the extension installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts import extension

if __name__ == "__main__":
    import bpy

    assert (sys.argv[1], sys.argv[3:5]) == ("-b", ["--command", "penumbra"])
    extension.load().register()
    bpy.ops.wm.open_mainfile(filepath=sys.argv[2])
    from penumbra.blender_addon import backend_process, cli

    status = cli.main(sys.argv[5:])
    backend_process.stop_shared()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the bpy module can hang while it frees its memory
