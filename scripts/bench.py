# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what is fast, and how fast: ``python scripts/bench.py WHAT [--json FILE]``.

WHAT is one of:
  rics    light directions answered a second on a character at 1920×1080, beside one plain call of embreex
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from backend import protocol  # noqa: E402 (the repository is not installed)
from backend.device import versions  # noqa: E402

DEMO_PERSON, DEMO_WALK, DEMO_FRAME = 303, 3, 12  # as scripts/scenes/demo.py has them
DEMO_MIDDLE, DEMO_DISTANCE = -0.1, 2.3  # metres above the hips, and before the camera
ROUNDS = 3  # of every measurement, in turn; the fastest counts


def rics() -> list[dict[str, Any]]:
    """RiCS against a single-threaded embreex call on the same rays: every point of the map in all 62 directions."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    from backend.rays.camera import fov_from_lens, perspective
    from backend.rays.directions import RICS_DIRECTIONS, unpack_bits
    from backend.rays.rics import light_visibility, trace
    from backend.rays.scene import RayScene, Tracer

    meshes = _person()
    scene, camera = RayScene(meshes), perspective(1920, 1080, fov_from_lens(50))
    surface = trace(scene, camera)  # also compiles what is compiled
    valid = surface.valid
    plain = EmbreeScene()
    for mesh in meshes:
        TriangleMesh(plain, mesh.vertices, mesh.triangles)
    # A sixteenth of the points, in runs of neighbours: all rays at once would need 2 GB for the plain call.
    start = np.flatnonzero(np.arange(valid.sum()) // 1024 % 16 == 0)
    origins = np.repeat((surface.point + surface.offset)[valid][start], 62, axis=0)
    directions = np.tile(RICS_DIRECTIONS, (len(start), 1))

    def call_plainly() -> np.ndarray:
        return plain.run(origins, directions, query="OCCLUDED") >= 0

    plainly, rays_only, whole = _fastest(
        call_plainly, lambda: light_visibility(scene, surface, RICS_DIRECTIONS), lambda: trace(scene, camera)
    )
    leaving = surface.normal[valid][start] @ RICS_DIRECTIONS.T > 0.01  # rays along the surface are ours to decide
    agree = float((plainly.result.reshape(-1, 62) == unpack_bits(surface.bits[valid][start]))[leaving].mean())
    split = f"1920×1080, {sum(len(m.triangles) for m in meshes):,} triangles, {valid.mean():.0%} of the frame"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def row(method: str, timing: Timing, directions: int) -> dict[str, Any]:
        return {
            "method": method,
            "split": split,
            "directions_per_second": directions / timing.seconds,
            "directions_per_core_second": directions / timing.core_seconds,
            "times_plain": directions / timing.seconds * plainly.seconds / len(origins),
            "seconds": timing.seconds,
        }

    answered = int(valid.sum()) * 62
    return [
        row("embreex, one plain call", plainly, len(origins)),
        row(f"{Tracer.__name__}, occlusion rays", rays_only, answered),
        {
            **row(f"{Tracer.__name__}, whole RiCS map", whole, answered),
            "equal_answers": agree,
            "peak_memory_bytes": memory,
        },
    ]


def _person() -> list[protocol.Mesh]:
    """The demo's character in the demo's pose, in camera space, over a quarter of the frame."""
    from backend.body.builtin_motions import builtin
    from backend.body.people import make_person, pose_person

    person = make_person(DEMO_PERSON)
    walk = builtin("walk", DEMO_WALK, 2.0, person.joints)
    meshes = []
    for posed in pose_person(person, walk.pose[DEMO_FRAME], np.zeros(3)):
        vertices = np.float32(posed.vertices - [0, DEMO_MIDDLE, DEMO_DISTANCE])
        triangles, normals = posed.faces.astype(np.int32), posed.corner_normals.astype(np.float32)
        meshes.append(protocol.Mesh(posed.part.name, protocol.CHARACTER, vertices, triangles, normals))
    return meshes


@dataclass
class Timing:
    """The least seconds of a call, the least of processor time over all its threads, and what it returned."""

    seconds: float = np.inf
    core_seconds: float = np.inf
    result: Any = None


def _fastest(*calls: Callable[[], Any]) -> list[Timing]:
    """Time calls in turn, so that a busy machine slows them alike."""
    timings = [Timing() for _ in calls]
    for _ in range(ROUNDS):
        for call, timing in zip(calls, timings, strict=True):
            wall, core = time.perf_counter(), time.process_time()
            timing.result = call()
            timing.core_seconds = min(timing.core_seconds, time.process_time() - core)
            timing.seconds = min(timing.seconds, time.perf_counter() - wall)
    return timings


BENCHES: dict[str, Callable[[], list[dict[str, Any]]]] = {"rics": rics}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", metavar="WHAT", choices=BENCHES)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows to FILE as well")
    options = parser.parse_args()
    rows = BENCHES[options.what]()
    for row in rows:
        print(", ".join(f"{k}: {v:,.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in row.items()))
    if options.json:
        command = f"scripts/bench.py {options.what}"
        report = {"command": command, "versions": versions(), "device": f"CPU, {os.cpu_count()} cores", "rows": rows}
        protocol.write_json(options.json, report)


if __name__ == "__main__":
    main()
