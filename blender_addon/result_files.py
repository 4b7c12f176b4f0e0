# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a result: images by role and frame, what lights them again, and what each frame was made of."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy

from ..backend.protocol import HarmonizeJob, HarmonizeResult, PenumbraError, reading_result, replacing, write_json
from . import export

ROLES = ("albedo", "shading", "shadow", "occlusion")
SOMETIMES = ("grain", "gloss")  # images that not every result has


def roles(names: Sequence[str]) -> tuple[str, ...]:
    """The images that a result of these characters has; those of one of several are numbered."""
    numbers = range(1, len(names) + 1) if len(names) > 1 else ()
    return (*ROLES, *(f"{kind}{i}" for i in numbers for kind in ("shadow", "matte")))


def sources(result: HarmonizeResult, folder: Path, *, with_plate: bool) -> dict[str, dict[int, Path]]:
    """role → frame → file, all of which exist."""
    found: dict[str, dict[int, Path]] = {}
    for frame in result.frames:
        files = {role: file for role in (*ROLES, *SOMETIMES) if (file := getattr(frame, role))}
        for i, name in enumerate(frame.mattes, 1):
            files |= {f"shadow{i}": frame.shadows[name], f"matte{i}": frame.mattes[name]}
        for role, file in files.items():
            found.setdefault(role, {})[frame.number] = folder / file
    if with_plate:
        found["plate"] = {frame.number: Path(frame.plate) for frame in HarmonizeJob.load(folder).frames}
        found["plate"] = {number: found["plate"][number] for number in found["shading"]}
    for role, paths in found.items():
        for number, path in paths.items():
            if not path.is_file():
                raise PenumbraError(f"The {role} image of frame {number} is missing.", "Run Harmonize Shading again.")
    return found


def place_for(character: str, output_dir: Path | None, count: int, notices: list[str]) -> Path | None:
    """The folder for the images; None where they are to be packed."""
    target = folder_of(character, output_dir) if output_dir or bpy.data.filepath else None
    if target is not None:
        try:
            export.make_writable(target)
            return target
        except PenumbraError as problem:
            if output_dir is not None or count > 1:
                raise
            notices.append(f"The result is packed into the .blend file. {problem.message}")
    if count > 1:
        raise PenumbraError("A range of frames needs a folder.", "Save the .blend file first, and run again.")
    return None


def keep_result(
    result: HarmonizeResult, folder: Path, target: Path, *, with_plate: bool, facts: Mapping[str, Any] | None = None
) -> dict[str, dict[int, Path]]:
    """Copy a job's images to where they stay, with what re-lighting needs; a frame's record comes last.

    facts: what the records are to hold besides. Returns role → frame → file. The files of a frame take the place of
    its former ones once all of them are written. Raises PenumbraError.
    """
    kept: dict[str, dict[int, Path]] = {}
    found, records = sources(result, folder, with_plate=with_plate), records_of(result, folder)
    for frame in result.frames:
        number = frame.number
        with contextlib.ExitStack() as written:
            for role, paths in found.items():
                kept.setdefault(role, {})[number] = target / f"{role}_{number:04d}{paths[number].suffix}"
                _copy(paths[number], kept[role][number], written)
            for name in ("rics", "probe", "cast", "multilayer"):
                path = folder / getattr(frame, name)
                if path.is_file():
                    name = "penumbra" if name == "multilayer" else name
                    _copy(path, target / f"{name}_{number:04d}{path.suffix}", written)
        if not frame.cast:  # an earlier run's shadow could be cast again, this one's cannot
            (target / f"cast_{number:04d}.npz").unlink(missing_ok=True)
        write_json(record_path(target, number), {**records.get(str(number), {}), **(facts or {})})
    return kept


def record_path(target: Path, number: int) -> Path:
    """The file that says what a frame's images were made of; it is there once all of them are."""
    return target / f"frame_{number:04d}.json"


def kept_records(target: Path, frames: list[int]) -> dict[str, dict[str, Any]]:
    paths = {number: record_path(target, number) for number in frames}
    return {str(number): json.loads(path.read_text("utf-8")) for number, path in paths.items() if path.is_file()}


@reading_result()
def records_of(result: HarmonizeResult, folder: Path) -> dict[str, dict[str, Any]]:
    """By frame: its characters, the key and look of its input, and the light that was found. Raises PenumbraError."""
    if not (folder / "job.json").is_file():
        return {}
    job = HarmonizeJob.load(folder)
    asked = {frame.number: frame for frame in job.frames}
    records = {}
    for frame in result.frames:
        probe = json.loads((folder / frame.probe).read_text("utf-8"))
        light = {name: probe.get(name) for name in ("dominant_direction_world", "strength", "confidence")}
        records[str(frame.number)] = {
            "characters": list(job.characters),
            "key": asked[frame.number].key,
            "look": asked[frame.number].look,
            "light": light,
            "photograph": frame.photograph,
        }
    return records


def folder_of(character: str, output_dir: Path | None) -> Path:
    """Where a character's images go, by default beside the .blend file. Raises PenumbraError where it has no place."""
    if output_dir is None and not bpy.data.filepath:
        raise PenumbraError("The .blend file has no place yet.", "Save it first, or name a folder.")
    return (output_dir or Path(bpy.data.filepath).parent / "penumbra") / bpy.path.clean_name(character)


def _copy(source: Path, target: Path, written: contextlib.ExitStack) -> None:
    """Copy to a temporary name, which becomes the target's when `written` is left without an error."""
    try:
        shutil.copyfile(source, written.enter_context(replacing(target)))
    except OSError as problem:
        raise PenumbraError(
            f"{target.name} could not be written ({problem.strerror}).", "Free some space on the disk and run again."
        ) from problem
