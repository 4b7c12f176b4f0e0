# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b scene.blend --command penumbra harmonize [--frames A-B] [--out DIR] [--character NAME]`

The file comes before `--command`, as everything after it belongs to the command. The exit status is 0 only where the
result was written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import bpy

from ..backend.protocol import Cancelled, PenumbraError
from . import jobs, properties
from .character import character_named, only_character
from .harmonize import Request, export_here, harmonize
from .jobs import Job

_command: object = None


def main(arguments: list[str]) -> int:
    """Run the command on the open file; returns the exit status."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as end:  # argparse has said what is wrong; Blender wants a number
        return int(end.code or 0)
    line = jobs.TerminalLine()
    try:
        outcome = jobs.run_blocking(Job(harmonize(_request(options), export_here(line.show))), line)
    except PenumbraError as problem:
        print(f"Penumbra: {problem}", file=sys.stderr)
        return 1
    except Cancelled:
        print("Penumbra: cancelled", file=sys.stderr)
        return 130
    for notice in outcome.notices:
        print(f"Penumbra: note: {notice}")
    print(f"Penumbra: {outcome.message}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="blender -b FILE.blend --command penumbra", description="Light a CG character by the photograph behind it."
    )
    commands = parser.add_subparsers(dest="what", required=True)
    harmonizing = commands.add_parser("harmonize", help="shade the character by its plate and cast its shadow into it")
    harmonizing.add_argument(
        "--frames", type=_frames, metavar="A-B", help="one frame or a range; default: the file's current frame"
    )
    harmonizing.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the images; default: beside the .blend file"
    )
    harmonizing.add_argument(
        "--character", metavar="NAME", help="its armature or a part of it; default: the only one in the scene"
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


def _request(options: argparse.Namespace) -> Request:
    scene, view_layer = bpy.context.scene, bpy.context.view_layer
    if options.character:
        character = character_named(options.character, view_layer)
    elif scene.penumbra.character:
        character = character_named(scene.penumbra.character.name, view_layer)
    else:
        character = only_character(view_layer)
    return Request(
        scene,
        view_layer,
        character,
        options.frames or (scene.frame_current,),
        properties.export_settings(scene),
        options.out.resolve() if options.out else properties.output_folder(scene),
    )


def register() -> None:
    global _command
    _command = bpy.utils.register_cli_command("penumbra", main)


def unregister() -> None:
    bpy.utils.unregister_cli_command(_command)
