# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks the backend's side of the protocol and misbehaves on request: `emulated_backend.py BEHAVIOUR`.

For tests of job control and of the interface only. "finish" works for a moment, "paint" does so with previews, "render"
writes flat images for the job (this Python needs bpy), "work" goes on until it is cancelled, "slow" finishes after a
slow start; the others are named after what goes wrong.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

_behaviour = sys.argv[1]
_channel = os.fdopen(os.dup(1), "wb", buffering=0)  # as the real one keeps other output away from its messages
os.dup2(2, 1)
_cancelled = threading.Event()
_SPOILT = ("truncated", "incomplete")
_STEPS = 4 if _behaviour in ("finish", "slow", "paint", "render", *_SPOILT) else 1000


def _send(kind: str, **fields: object) -> None:
    _channel.write(json.dumps({"type": kind, **fields}).encode() + b"\n")


def _work(job_id: str, folder: Path) -> None:
    for i in range(_STEPS):
        _send("progress", id=job_id, stage="Shading", fraction=i / _STEPS)
        if _behaviour == "paint":
            _paint(job_id, folder, i)
        if i == 3:
            _misbehave(job_id, folder)
        if _cancelled.is_set() and _behaviour != "stubborn":
            return _send("cancelled", id=job_id)
        time.sleep(0.02)
    if _behaviour in ("render", *_SPOILT):
        kind = json.loads((folder / "job.json").read_text())["kind"]
        work = {"harmonize": _render, "people": _show_people, "body": _make_bodies, "object": _make_object}
        {**work, "reshape": _reshape}[kind](folder)
        _spoil(folder)
    return _send("done", id=job_id)


def _paint(job_id: str, folder: Path, i: int) -> None:
    """A preview of one grey, lighter each time."""
    import numpy as np

    with (folder / "new.npy").open("wb") as file:
        np.save(file, np.full((6, 8, 4), 40 * i + 10, np.uint8))
    os.replace(folder / "new.npy", folder / "preview.npy")
    _send("progress", id=job_id, stage="Shading", fraction=i / _STEPS, preview="preview.npy")
    time.sleep(0.1)


def _misbehave(job_id: str, folder: Path) -> None:
    if _behaviour == "refuse":
        _refuse(job_id, "The plate cannot be read.", "Choose another image.")
    elif _behaviour == "memory":
        _refuse(job_id, "The memory was not enough for this frame.", "Lower the render size, or choose the CPU.")
    elif _behaviour == "disk":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            (folder / "shading_0001.exr").write_bytes(bytes(10_000))
        except OSError as problem:
            _refuse(job_id, f"A file could not be read or written: {problem.strerror}.", "Check the free space.")
    elif _behaviour == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif _behaviour == "crash":
        print("out of memory, or some such", file=sys.stderr)
        os._exit(9)
    elif _behaviour == "garbage":
        _channel.write(b"Loading checkpoint shards: 50%\n")
    elif _behaviour == "flood":
        while not _cancelled.is_set():
            _send("progress", id=job_id, stage="Shading", fraction=0.5)
    elif _behaviour == "endless":
        while True:
            _channel.write(b"x" * 65536)
    elif _behaviour == "hang":
        time.sleep(60)


def _refuse(job_id: str, message: str, remedy: str) -> None:
    _send("error", id=job_id, message=message, remedy=remedy)
    _cancelled.wait()


def _spoil(folder: Path) -> None:
    result = folder / "result.json"
    if _behaviour == "truncated":
        result.write_bytes(result.read_bytes()[:-40])
    elif _behaviour == "incomplete":
        min(folder.glob("shadow_*.exr")).unlink()


_LIGHT = {  # as the real one writes a light probe: even light, and a sun from above and behind the camera
    "radiance": [[0.3, 0.32, 0.35]] * 62,
    "constant": [0.0, 0.0, 0.0],
    "suns": [{"direction": [0.0, 0.6, 0.8], "irradiance": [1.0, 0.9, 0.8], "half_angle": 0.01}],
    "world_from_camera": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "confidence": 0.5,
    "dominant_direction_world": [0.0, 0.6, 0.8],
    "strength": 1.0,
}


def _render(folder: Path) -> None:
    """One flat image of each kind for every frame of the job."""
    job = json.loads((folder / "job.json").read_text())
    frames = []
    if job["only_light"]:  # the same for all, as the frames agree on it
        light = json.dumps({"of": [frame["key"] for frame in job["frames"]]})
        for frame in job["frames"]:
            (folder / f"light_{frame['number']:04}.json").write_text(light)
        job["frames"] = []
    for frame in job["frames"]:
        size = frame["camera"]["width"], frame["camera"]["height"]
        images = {"shading": (0.5, 0.4, 0.3), "shadow": (0.8, 0.8, 0.9), "occlusion": (0.25,) * 3, "albedo": (0.6,) * 3}
        paths = {name: _write_image(folder / f"{name}_{frame['number']:04}.exr", size, c) for name, c in images.items()}
        own: dict[str, dict[str, str]] = {"shadows": {}, "mattes": {}}
        for i, name in enumerate(job["characters"] if len(job["characters"]) > 1 else (), 1):
            for kind, level in (("shadow", 0.9), ("matte", 1.0 if i == 1 else 0.0)):
                path = folder / f"{kind}{i}_{frame['number']:04}.exr"
                own[f"{kind}s"][name] = _write_image(path, size, (level,) * 3)
        light = (folder / frame["light"]).read_text() if frame["light"] else json.dumps(_LIGHT)
        (folder / "probe.json").write_text(light)
        (folder / "rics.npz").write_bytes(b"")
        frames.append(
            {"number": frame["number"], "key": frame["key"], "rics": "rics.npz", "probe": "probe.json", **paths, **own}
        )
    result = {"frames": frames, "seconds": {"Shading": 0.1}, "device": "cpu", "versions": {}, "notices": []}
    (folder / "result.json").write_text(json.dumps(result))


def _make_bodies(folder: Path) -> None:
    """Two people in poses of their own, four metres before a camera with a lens of 40 mm."""
    import numpy as np

    random, people = np.random.default_rng(7), []
    job = json.loads((folder / "job.json").read_text())
    take = job["sequence"] or job["image"].endswith(".avi")
    for number in (1, 2) if job["who"] == "all" else map(int, job["who"].split()):
        facts = {"betas": random.normal(0, 1, 10), "pose": random.normal(0, 0.3, (24, 3))}
        facts["trans"] = (number - 1.5, 0.2 * number, -4.0)
        np.savez(folder / f"params_{number}.npz", **(_moving(facts, number) if take else facts))
        _write_image(folder / f"texture_{number}.png", (8, 8), (0.5, 0.25, 0.125), "PNG")
        person = {"number": number, "params": f"params_{number}.npz", "texture": f"texture_{number}.png"}
        if job["method"] == "bodynet":
            corners = np.eye(4, 3, -1) + np.array([number, 0, -4])
            faces, part = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)], [1, 2, 2, 6]
            np.savez(folder / f"surface_{number}.npz", vertices=corners, faces=np.array(faces), part=part)
            person["surface"] = f"surface_{number}.npz"
        people.append(person)
    (folder / "light.json").write_text("{}")
    camera = {"size": [320, 200], "focal": 320 * 40 / 36, "light": "light.json", "upright": ""}
    facts = {"seconds": {}, "device": "cpu", "versions": {}, "notices": ["Person 3: too small."]}
    told = {"path": job["image"], "first": 7, "count": 10, "fps": 30000 / 1001} if take else None
    (folder / "result.json").write_text(json.dumps({"people": people, **camera, **facts, "take": told}))


def _moving(facts: dict, number: int) -> dict:
    """Six frames from `number` on, in which the left elbow bends and the body walks to the right and away."""
    import numpy as np

    pose, trans = np.repeat(facts["pose"][None], 6, 0), np.repeat(np.array(facts["trans"])[None], 6, 0)
    pose[:, 18, 1] = np.linspace(0.0, -1.5, 6)
    trans += np.linspace((0, 0, 0), (0.5, 0.1, -1.0), 6)
    frames = np.arange(6) + number
    return {**facts, "pose": pose, "trans": trans, "frames": frames, "seen": np.ones(6, bool)}


def _show_people(folder: Path) -> None:
    """Two people in a grey square."""
    import numpy as np

    with (folder / "people.npy").open("wb") as file:
        np.save(file, np.full((32, 32, 4), 128, np.uint8))
    boxes = [[0.1, 0.1, 0.4, 0.9], [0.5, 0.0, 0.9, 1.0]]
    result = {"picture": "people.npy", "boxes": boxes, "largest": 2, "device": "cpu", "notices": []}
    (folder / "result.json").write_text(json.dumps(result))


def _make_object(folder: Path) -> None:
    """A red pyramid's base and its blue sides, seen half from the right and from above."""
    import numpy as np

    job = json.loads((folder / "job.json").read_text())
    _pyramid(folder / "mesh.npz", (0.0, 0.5, 0.1), [3, 3, 7, 7, 7, 7])
    red = float("red" in job["image"])
    np.savez(folder / "codes.npz", category=np.ones(3), shape=np.full(4, red), albedo=np.full(2, red))
    light = [[2.0] * 3, [0.3] * 3, [0.0] * 3, [0.3] * 3, *[[0.0] * 3] * 5]
    a, e = 0.6, 0.3
    right, back = (np.cos(a), 0, -np.sin(a)), (np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e))
    result = {"mesh": "mesh.npz", "codes": "codes.npz", "size": [320, 200], "light": light, "category": "table"}
    result |= {"axes": np.array([right, np.cross(back, right), back]).tolist(), "place": (3 * np.array(back)).tolist()}
    result |= {"focal": 1.2, "shift": [0.1, -0.05], "probability": 0.9, "upright": "", "device": "cpu"}
    result |= {"kinds": ["table", "lamp"]}
    (folder / "result.json").write_text(json.dumps({**result, "seconds": {}, "versions": {}, "notices": []}))


def _pyramid(path: Path, tip: tuple[float, float, float], part: list[int], tone: float = 1.0) -> None:
    import numpy as np

    points = [(-0.5, -0.4, -0.5), (0.5, -0.4, -0.5), (0.5, -0.4, 0.5), (-0.5, -0.4, 0.5), tip]
    faces = [(0, 1, 2), (0, 2, 3), (3, 2, 4), (2, 1, 4), (1, 0, 4), (0, 3, 4)]
    albedo = np.array([(0.5, 0.1, 0.1)] * 4 + [(0.1, 0.1, 0.5)]) * tone
    np.savez(path, vertices=np.array(points), faces=faces, albedo=albedo, part=part)


def _reshape(folder: Path) -> None:
    """Pyramids whose height is told by sliders and shape code, whose tone by the albedo code, with a part more."""
    meshes = []
    for number, one in enumerate(json.loads((folder / "job.json").read_text())["objects"]):
        meshes.append(f"mesh_{number}.npz")
        height = 0.5 + one["sliders"][0] + one["shape"][0] + one["amount"] * (one["toward"] == "lamp")
        _pyramid(folder / meshes[-1], (0.0, height, 0.1), [3, 3, 7, 7, 7, 9], 1 / (1 + one["albedo"][0]))
    result = {"meshes": meshes, "seconds": {}, "device": "cpu", "versions": {}, "notices": []}
    (folder / "result.json").write_text(json.dumps(result))


def _write_image(path: Path, size: tuple[int, int], colour: tuple[float, ...], kind: str = "OPEN_EXR") -> str:
    import bpy

    image = bpy.data.images.new(path.stem, *size, float_buffer=True)
    image.pixels.foreach_set([*colour, 1.0] * (size[0] * size[1]))
    image.filepath_raw, image.file_format = str(path), kind
    image.save()
    return path.name


def main() -> None:
    if _behaviour == "absent":
        print("No module named torch", file=sys.stderr)
        sys.exit(1)
    if _behaviour in ("mute", "slow"):
        time.sleep(60 if _behaviour == "mute" else 1)
    version = 999 if _behaviour == "stranger" else 8
    _send("hello", protocol=version, device="cpu", versions={"python": sys.version.split()[0]})
    if _behaviour == "leaves":
        return
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "run":
            _cancelled.clear()
            threading.Thread(target=_work, args=(message["id"], Path(message["folder"])), daemon=True).start()
        elif message["type"] == "cancel":
            _cancelled.set()
        elif message["type"] == "quit":
            return


main()
