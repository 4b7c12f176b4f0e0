# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks the backend's side of the protocol and misbehaves on request: `emulated_backend.py BEHAVIOUR`.

For tests of job control only. "work" reports progress for ever, answers cancel and writes its process id beside the
job; the others are named after what goes wrong.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

_behaviour = sys.argv[1]
_cancelled = threading.Event()


def _send(kind: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"type": kind, **fields}) + "\n")
    sys.stdout.flush()


def _work(job_id: str, folder: Path) -> None:
    (folder / "pid").write_text(str(os.getpid()))
    steps = 4 if _behaviour == "finish" else 1000
    for i in range(steps):
        _send("progress", id=job_id, stage="Shading", fraction=i / steps)
        if _behaviour == "refuse" and i == 3:
            return _send("error", id=job_id, message="The plate cannot be read.", remedy="Choose another image.")
        if _behaviour == "crash" and i == 3:
            print("out of memory, or some such", file=sys.stderr)
            os._exit(9)
        if _behaviour == "garbage" and i == 3:
            sys.stdout.write("Loading checkpoint shards: 50%\n")
            sys.stdout.flush()
        while _behaviour == "hang" and i == 3:
            time.sleep(1)
        if _cancelled.is_set() and _behaviour != "stubborn":
            return _send("cancelled", id=job_id)
        time.sleep(0.02)
    return _send("done", id=job_id)


def main() -> None:
    if _behaviour == "absent":
        print("No module named torch", file=sys.stderr)
        sys.exit(1)
    if _behaviour == "mute":
        time.sleep(60)
    version = 999 if _behaviour == "stranger" else 1
    _send("hello", protocol=version, device="cpu", versions={"python": sys.version.split()[0]})
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "run":
            _cancelled.clear()
            work = threading.Thread(target=_work, args=(message["id"], Path(message["folder"])), daemon=True)
            work.start()
        elif message["type"] == "cancel":
            _cancelled.set()
        elif message["type"] == "quit":
            return


main()
