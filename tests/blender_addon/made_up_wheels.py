# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder that can be installed from without a network: tiny wheels, their locks, and a uv that is a script.

The made-up uv makes real environments and unpacks real wheels. The file `misbehave` beside the wheels tells it what
goes wrong; `calls` beside them holds what it did.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from pathlib import Path

from penumbra.blender_addon.installation import targets

UV = """#!python
import hashlib, os, pathlib, re, subprocess, sys, time, urllib.parse, zipfile
arguments = sys.argv[1:]
wheels = pathlib.Path(urllib.parse.unquote(urllib.parse.urlparse(os.environ["UV_PYTHON_INSTALL_MIRROR"]).path))
task = (wheels / "misbehave").read_text() if (wheels / "misbehave").exists() else ""

def call(text):
    with (wheels / "calls").open("a") as file:
        file.write(text + chr(10))

if arguments[:2] == ["python", "install"]:
    sys.exit("error: error sending request: failed to lookup address information")
if arguments[0] == "venv":
    call("venv")
    folder = next(a for a in arguments[1:] if os.sep in a)
    sys.exit(subprocess.call([sys.executable, "-m", "venv", "--without-pip", folder]))
python = pathlib.Path(arguments[arguments.index("--python") + 1])
again = [arguments[i + 1] for i, a in enumerate(arguments) if a == "--reinstall-package"]
site = next(python.parent.parent.glob("lib/python*/site-packages"))
lock = pathlib.Path(arguments[arguments.index("-r") + 1]).read_text()
for name, version, sha in re.findall(r"(\\S+)==(\\S+) --hash=sha256:(\\S+)", lock):
    if (site / f"{name}-{version}.dist-info").exists() and name not in again:
        continue
    if task == "full" and name == "second":
        sys.exit("error: No space left on device (os error 28)")
    if task == "hang" and name == "second":
        call("hang %d" % os.getpid())
        time.sleep(60)
    archive = wheels / f"{name}-{version}-py3-none-any.whl"
    if hashlib.sha256(archive.read_bytes()).hexdigest() != sha:
        sys.exit("error: Hash mismatch for " + name)
    print(" Downloading " + name + " (1.0MiB)", file=sys.stderr, flush=True)
    zipfile.ZipFile(archive).extractall(site)
    call(name + " " + version)
"""
DOCTOR = """
import json, pathlib, sys
import first, second
level = "problem" if pathlib.Path("sick").exists() else "ok"
print(json.dumps({"findings": [{"level": level, "text": "It is " + second.WORD, "remedy": "Rest."}]}))
"""


class Folder:
    """The root of an extension with locks and a backend, and the wheels to install from, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.root, self.wheels = folder / "root", folder / "wheels"
        for part in (self.root / targets.LOCKS, self.root / "backend", self.wheels):
            part.mkdir(parents=True)
        (self.root / "backend" / "__main__.py").write_text(DOCTOR)
        digest = self.wheel("uv", "9.9", {"uv-9.9.data/scripts/uv": UV})
        (self.root / targets.LOCKS / "uv.txt").write_text(f"uv==9.9 --hash=sha256:{digest}\n")
        self.lock("1.0")

    def lock(self, version: str) -> targets.Target:
        """Have the extension want the packages in this version; returns what can be installed."""
        pins = [
            f"{name}=={version} --hash=sha256:{self.wheel(name, version, {f'{name}.py': f'WORD = {version!r}'})}"
            for name in ("first", "second")
        ]
        (self.root / targets.LOCKS / "all.txt").write_text("\n".join(pins) + "\n")
        entry = {"platform": targets.here(), "accelerator": "cpu", "torch_index": "", "locks": ["all.txt"]}
        entry |= {"download_mb": 1, "disk_mb": 1, "tested": True}
        (self.root / targets.LOCKS / "locks.json").write_text(json.dumps({"uv": "9.9", "targets": [entry]}))
        return targets.available(self.root)[0]

    def wheel(self, name: str, version: str, files: dict[str, str]) -> str:
        """Write a wheel and return its SHA-256."""
        info = f"{name}-{version}.dist-info"
        files = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        lines = []
        for path, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            lines.append(f"{path},sha256={digest},{len(text.encode())}")
        path = self.wheels / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for file, text in files.items():
                entry = zipfile.ZipInfo(file)
                entry.external_attr = 0o100755 << 16
                archive.writestr(entry, text)
            archive.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,"]) + "\n")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def misbehave(self, task: str) -> None:
        """ "full": the disk is, at the second package; "hang": there; "": nothing goes wrong."""
        (self.wheels / "misbehave").write_text(task)

    def calls(self) -> list[str]:
        """What the made-up uv did since the last time it was asked for."""
        path = self.wheels / "calls"
        done = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return done
