# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's command line: `python -m backend serve`, `python -m backend run FOLDER`, `python -m backend doctor`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m backend", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve jobs as JSON lines on standard input and output, for Blender")
    run = commands.add_parser("run", help="run the job of one folder and write its result there")
    run.add_argument("folder", type=Path, help="a folder with job.json")
    examine = commands.add_parser("doctor", help="check environment, device, weights and speed, and say what to do")
    examine.add_argument("--json", action="store_true", help="print the findings as JSON")
    arguments = parser.parse_args()
    if arguments.command == "doctor":  # which must work where the others cannot be imported
        from . import doctor

        return doctor.main(arguments.json)
    from . import worker

    return worker.serve() if arguments.command == "serve" else worker.run_once(arguments.folder.resolve())


if __name__ == "__main__":
    sys.exit(main())
