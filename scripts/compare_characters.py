# SPDX-License-Identifier: GPL-3.0-or-later
"""Harmonizes rigged characters in panoramas as an artist would, and compares with Cycles under the same light."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import numpy as np

from backend.images import read_image
from backend.protocol import HarmonizeJob
from backend.shading import environments, evaluate, harmonize
from backend.shading.environments import Environment
from backend.shading.probe import LightProbe
from backend.shading.traced import Light
from backend.shading.views import View
from backend.shadow.cast import cast_shadow
from scripts import desktop, extension
from scripts.scenes import in_panorama
from scripts.scenes.cycles_frame import silence
from scripts.scenes.in_panorama import Reference
from scripts.sheet import write_sheet

BY_PANORAMA = "Penumbra, the panorama as the scene's World"

Run = Callable[[Path, Path], None]
"""Harmonizes the character of a .blend file, and writes the images into a folder."""


def compare(
    characters: list[Path], panoramas: list[Path], animation: str, size: tuple[int, int], samples: int, out: Path
) -> list[dict]:
    """One row a method, for each character under each panorama, and of their means.

    Writes into `out` the scenes, their plates, the results, and a sheet for each. shadow_error: the mean absolute
    error of the shadow's ratio over the ground that the camera sees beside the character.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    with harmonizer(out) as run:
        for panorama in map(environments.load, panoramas):
            for character in characters:
                name = f"{character.stem}_{panorama.name}"
                rows += _compare_one(name, character, panorama, animation, size, samples, out, run)
    return rows + evaluate.means(rows, "all")


@contextlib.contextmanager
def harmonizer(out: Path) -> Iterator[Run]:
    """The extension's command line: in the desktop Blender where there is one, else in this process."""
    penumbra = extension.load()
    penumbra.register()
    try:
        if not desktop.LAUNCHER:
            yield _run_here
            return
        with tempfile.TemporaryDirectory() as folder:
            blender = desktop.Desktop(Path(folder) / "blender", visible=(out,))

            def run(blend: Path, results: Path) -> None:
                ended = blender.run("-b", str(blend), "--command", "penumbra", "harmonize", "--out", str(results))
                if ended.returncode:
                    raise RuntimeError(ended.stdout)

            yield run
    finally:
        penumbra.unregister()


def _run_here(blend: Path, results: Path) -> None:
    from penumbra.blender_addon import cli

    bpy.ops.wm.open_mainfile(filepath=str(blend))
    with silence():
        status = cli.main(["harmonize", "--out", str(results)])
    if status:
        raise RuntimeError(f"{blend.name} could not be harmonized")


def _compare_one(
    name: str,
    character: Path,
    panorama: Environment,
    animation: str,
    size: tuple[int, int],
    samples: int,
    out: Path,
    run: Run,
) -> list[dict]:
    print(name, file=sys.stderr, flush=True)
    blend = out / f"{name}.blend"
    exposed = in_panorama.build(character, animation, panorama, size, blend)
    run(blend, out / name)
    in_panorama.light_by(exposed, blend, out / f"{name}_world.blend")
    run(out / f"{name}_world.blend", out / f"{name}_world")
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    with tempfile.TemporaryDirectory() as folder:
        view = view_of_open_scene(Path(folder))
    truth = in_panorama.reference(exposed, samples)
    light = Light.of(exposed).probe(view.camera.world_from_camera)
    methods = {
        "no harmonization": (np.ones_like(truth.shading), np.ones_like(truth.shadow), None),
        "Penumbra": _made(out / name),
        BY_PANORAMA: _made(out / f"{name}_world"),
        "the probe with the true light": (
            harmonize.shade(view, light).image(view.passes.alpha > 0),
            cast_shadow(view.scene, view.camera, light).ratio,
            light,
        ),
    }
    rows = []
    for method, (shading, shadow, probe) in methods.items():
        row = {"method": method, "split": name, "images": 1, **measure(view, truth, shading, shadow)}
        rows.append(row if probe is None else {**row, **evaluate.direction_errors(probe.dominant_direction, light)})
    made = [methods[method][:2] for method in ("Penumbra", BY_PANORAMA)]
    _write_sheet(out / f"{name}_sheet.png", view, truth, *made)
    return rows


def measure(view: View, truth: Reference, shading: np.ndarray, shadow: np.ndarray) -> dict[str, float]:
    """The design's shading errors over the character, and the shadow's over the ground beside it."""
    passes = view.passes
    at = (passes.alpha > 0) & (truth.alpha > 0)
    beside = truth.ground & (passes.alpha == 0) & (truth.alpha == 0)
    errors = evaluate.measure(shading[at], truth.shading[at], passes.albedo[at], passes.alpha[at])
    return {**errors, "shadow_error": float(np.abs(shadow - truth.shadow)[beside].mean())}


def view_of_open_scene(folder: Path) -> View:
    """The open scene's job as the backend sees it."""
    from penumbra.blender_addon.character import everybody
    from penumbra.blender_addon.export import ExportSettings, export_frames

    scene, layer = bpy.context.scene, bpy.context.view_layer
    frames = (scene.frame_current,)
    with silence():
        export_frames(scene, layer, everybody(layer), frames, folder, ExportSettings())
    return View.open(folder, HarmonizeJob.load(folder).frames[0])


def _made(folder: Path) -> tuple[np.ndarray, np.ndarray, LightProbe]:
    """Shading, shadow and light of a result."""
    return (
        read_image(_result(folder, "shading")),
        read_image(_result(folder, "shadow")),
        LightProbe.load(_result(folder, "probe")),
    )


def _result(folder: Path, role: str) -> Path:
    (path,) = folder.rglob(f"{role}_*.*")
    return path


def _write_sheet(
    path: Path,
    view: View,
    truth: Reference,
    told: tuple[np.ndarray, np.ndarray],
    given: tuple[np.ndarray, np.ndarray],
) -> None:
    """told, given: shading and shadow by the light of the plate, and by the panorama."""
    alpha, albedo, plate = view.passes.alpha[..., None], view.passes.albedo, view.plate
    behind, through = truth.alpha[..., None], 1 - truth.alpha[..., None]
    exposure = min(1.0, 1 / float(np.quantile(truth.shading[truth.alpha > 0.5], 0.98)))
    placed = [alpha * albedo * shading + (1 - alpha) * plate * shadow for shading, shadow in (told, given)]
    pictures = [
        ("Plate", plate),
        ("Albedo pasted", alpha * albedo + (1 - alpha) * plate),
        ("Penumbra", placed[0]),
        ("With the set's panorama", placed[1]),
        ("Cycles in the panorama", truth.colour + through * plate * truth.shadow),
        ("Shading: Penumbra", exposure * alpha * told[0]),
        ("Shading: with the panorama", exposure * alpha * given[0]),
        ("Shading: Cycles", exposure * behind * truth.shading),
        ("Shadow: Penumbra", told[1]),
        ("Shadow: Cycles", truth.shadow),
    ]
    write_sheet(path, pictures, columns=5, width=480)
