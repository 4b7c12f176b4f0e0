# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b scene.blend --command penumbra harmonize|light|collect …`, for farms and scripts.

The file comes before `--command`, as everything after it belongs to the command.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import bpy

from ..backend.protocol import GENERATED, PHYSICAL, SOFTEST, Cancelled, PenumbraError
from . import farm, harmonize, jobs, preferences, properties
from .character import Cast, cast_named, everybody
from .farm import Task
from .harmonize import Request
from .jobs import Job

DONE, FAILED, USAGE, SCENE, NO_BACKEND, CANCELLED = 0, 1, 2, 3, 4, 130
EPILOG = """
The images go to FOLDER/CHARACTER, FOLDER being --out, else the panel's Output, else "penumbra" beside the .blend file.
Every frame is written as soon as it is done. A frame that is there, made from the same scene, is left as it is, so that
a run that was interrupted or is repeated does only what is missing; delete the folder to make everything anew. Nothing
is locked; several runs may share a folder.

The .blend file is not written. NAME_penumbra.blend beside the images is a copy of it whose compositor shows them. Load
Result, in the panel, shows them in any other file later. Neither needs a backend.

chunks      Frames that belong together share one light. Give every chunk the whole range as --light: then they make the
            files that one run makes. `penumbra light --frames 1-240` may go first, so that no chunk estimates it again,
            and `penumbra collect` last, as chunks do not write the copy of the .blend file.
exit code   0 done; 1 failed, another try may help; 2 wrong arguments; 3 the scene lacks something, another try will
            not help; 4 no backend on this computer; 130 cancelled.
environment PENUMBRA_BACKEND_PYTHON  the Python that runs the backend; goes before the preferences
            PENUMBRA_WEIGHTS         the folder of the networks' weights; default: the extension's
            A home folder is not needed. TMPDIR takes the temporary files.
"""

_command: object = None


def main(arguments: list[str]) -> int:
    """Run the command on the open file; returns the exit status."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as end:  # argparse has said what is wrong; Blender wants a number
        return int(end.code or 0)
    try:
        job = _job(options)
    except PenumbraError as problem:
        return _fail(problem, SCENE)
    try:
        if options.what != "collect":
            preferences.backend_python()
    except PenumbraError as problem:
        return _fail(problem, NO_BACKEND)
    try:
        outcome = jobs.run_blocking(job, jobs.TerminalLine())
    except PenumbraError as problem:
        return _fail(problem, FAILED)
    except Cancelled:
        print("Penumbra: cancelled", file=sys.stderr)
        return CANCELLED
    for notice in outcome.notices:
        print(f"Penumbra: note: {notice}")
    print(f"Penumbra: {outcome.message}")
    return DONE


def _fail(problem: PenumbraError, status: int) -> int:
    print(f"Penumbra: {problem}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="blender -b FILE.blend --command penumbra", description="Light a CG character by the photograph behind it."
    )
    commands = parser.add_subparsers(dest="what", required=True)
    about = {"epilog": EPILOG, "formatter_class": argparse.RawDescriptionHelpFormatter}
    harmonizing = commands.add_parser(
        "harmonize", help="shade the character by its plate and cast its shadow into it", **about
    )
    light = commands.add_parser("light", help="only estimate the light of a range, before its chunks", **about)
    collect = commands.add_parser("collect", help="only write the copy of the .blend file, after the chunks", **about)
    for command in (harmonizing, light, collect):
        command.add_argument(
            "--out", type=Path, metavar="DIR", help="folder for the images; default: beside the .blend file"
        )
        command.add_argument(
            "--character", metavar="NAME", nargs="+", help="armatures or parts of them; default: all in the scene"
        )
    for command in (harmonizing, light):
        command.add_argument(
            "--frames", type=_frames, metavar="A-B", help="one frame or a range; default: the file's current frame"
        )
    harmonizing.add_argument(
        "--light", type=_frames, metavar="A-B", help="the frames that share one light; default: --frames"
    )
    harmonizing.add_argument(
        "--shadow",
        choices=(PHYSICAL, GENERATED),
        help="what tells the shadow's depth and colour: the light taken away, or trained networks; default: the file's",
    )
    harmonizing.add_argument(
        "--softness",
        type=float,
        metavar="DEGREES",
        help=f"half-angle of the suns when they cast the shadow, 0 to {SOFTEST:g}; default: the file's",
    )
    harmonizing.add_argument(
        "--gloss", action="store_true", help="render the characters' gloss with Cycles as well; default: the file's"
    )
    harmonizing.add_argument(
        "--multilayer", action="store_true", help="write each frame as one EXR with all layers and a matte as well"
    )
    return parser


def _frames(text: str) -> tuple[int, ...]:
    """ "7" → (7,); "7-9" → (7, 8, 9); negative numbers are allowed, as in "-5--3"."""
    split = text.find("-", 1)
    first, last = (text, text) if split < 0 else (text[:split], text[split + 1 :])
    try:
        frames = tuple(range(int(first), int(last) + 1))
    except ValueError:
        frames = ()
    if not frames:
        raise argparse.ArgumentTypeError(f"{text!r} is not a frame or a range such as 1-24")
    return frames


def _job(options: argparse.Namespace) -> Job:
    """What is asked for, checked. Raises PenumbraError where the scene does not have it."""
    scene, view_layer = bpy.context.scene, bpy.context.view_layer
    frames = getattr(options, "frames", None) or (scene.frame_current,)
    light = getattr(options, "light", None) or frames
    if not set(frames) <= set(light):
        raise PenumbraError("The frames are not all in the range that shares the light.", "Widen --light.")
    cast = _cast(options.character)
    settings = properties.lit_settings(scene, cast.name, multilayer=getattr(options, "multilayer", False))
    asked = {"shadow": getattr(options, "shadow", None), "shadow_softness": getattr(options, "softness", None)}
    asked["gloss"] = getattr(options, "gloss", False) or None
    settings = dataclasses.replace(settings, **{name: value for name, value in asked.items() if value is not None})
    output = options.out.resolve() if options.out else properties.output_folder(scene)
    task = Task(Request(scene, view_layer, cast, frames, settings, output), light)
    target = task.target
    if options.what == "collect":
        return Job(farm.collect(task.request, target))
    harmonize.check(task.request)
    return Job(farm.estimate_light(task) if options.what == "light" else farm.harmonize(task))


def _cast(names: list[str] | None) -> Cast:
    scene, view_layer = bpy.context.scene, bpy.context.view_layer
    if not names and scene.penumbra.character:
        names = [scene.penumbra.character.name]
    return cast_named(names, view_layer) if names else properties.to_be_lit(scene, everybody(view_layer))


def register() -> None:
    global _command
    _command = bpy.utils.register_cli_command("penumbra", main)


def unregister() -> None:
    bpy.utils.unregister_cli_command(_command)
