# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's command line: `python -m backend serve`, `python -m backend run FOLDER`, `python -m backend doctor`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .import_jobs import BODY_METHODS
from .protocol import GENERATED, PHYSICAL


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m backend", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve jobs as JSON lines on standard input and output, for Blender")
    run = commands.add_parser("run", help="run the job of one folder and write its result there")
    run.add_argument("folder", type=Path, help="a folder with job.json")
    examine = commands.add_parser("doctor", help="check environment, device, weights and speed, and say what to do")
    examine.add_argument("--json", action="store_true", help="print the findings as JSON")
    shadow = commands.add_parser("shadow", help="cast the shadow of an object in a photograph")
    shadow.add_argument("--composite", type=Path, required=True, help="the picture with the object in it")
    shadow.add_argument("--mask", type=Path, required=True, help="of the object: white where it is")
    shadow.add_argument("--out", type=Path, required=True, help="folder for the results")
    shadow.add_argument(
        "--light",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="toward the light: x right, y up, z toward the camera",
    )
    shadow.add_argument(
        "--like",
        type=Path,
        nargs=2,
        metavar=("OBJECT", "SHADOW"),
        help="masks of another object in the picture and of its shadow, to find light and depth from",
    )
    shadow.add_argument("--horizon", type=float, help="heights of the picture below its top")
    shadow.add_argument("--focal", type=float, help="focal length in longer sides of the picture")
    shadow.add_argument(
        "--depth-model", help="MoGe-2 or a transformers depth model: its folder, or its name on the Hugging Face hub"
    )
    shadow.add_argument(
        "--strength", type=float, help="share of the light that the shadow takes; as --like's shadow, or 0.65"
    )
    shadow.add_argument("--softness", type=float, default=0.27, help="half-angle of the light, degrees")
    shadow.add_argument(
        "--shadow", choices=(PHYSICAL, GENERATED), default=PHYSICAL, help="traced alone, or drawn by trained networks"
    )
    shadow.add_argument("--samples", type=int, default=3, help="of what is drawn, of which the best is taken")
    shadow.add_argument("--seed", type=int, default=0, help="of what is drawn")
    body = commands.add_parser("body", help="posed, rigged bodies of the people in a photograph, video or sequence")
    body.add_argument("image", type=Path, help="a photograph, a video, or with --sequence one of its images")
    body.add_argument("--out", type=Path, required=True, help="folder for the overlay and a folder for each person")
    body.add_argument(
        "--sequence", action="store_true", help="take all images that are numbered as this one for a moving picture"
    )
    body.add_argument("--fps", type=float, default=0.0, help="frames a second of a sequence; 24 unless it is given")
    body.add_argument(
        "--person",
        nargs="+",
        default=["all"],
        metavar="WHO",
        help='"all", "largest", or numbers, counted from the left; in a moving picture, who is seen first comes first',
    )
    body.add_argument(
        "--focal",
        type=float,
        default=0.0,
        help="focal length in longer sides of the picture; else the photograph's own",
    )
    body.add_argument(
        "--refine",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="fit the body to silhouette and keypoints, seconds more",
    )
    body.add_argument(
        "--method", choices=tuple(BODY_METHODS), default="lasor", help="both: LASOR, corrected by BodyNet's voxels"
    )
    thing = commands.add_parser("object", help="mesh, parts, albedo, light and camera of the object in a photograph")
    thing.add_argument("image", type=Path, help="with alpha, unless --mask or --box says where the object is")
    thing.add_argument("--out", type=Path, required=True, help="folder for the results")
    thing.add_argument("--mask", type=Path, help="an image that is white on the object")
    thing.add_argument(
        "--box",
        type=float,
        nargs=4,
        metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"),
        help="around the object, in fractions of the picture; its outline is then found by GrabCut",
    )
    thing.add_argument(
        "--refine",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="fit shape, albedo, light and camera to the picture, seconds more",
    )
    arguments = parser.parse_args()
    if arguments.command == "doctor":  # which must work where the others cannot be imported
        from . import doctor

        return doctor.main(arguments.json)
    if arguments.command == "shadow":
        from .shadow import photograph

        return photograph.run(arguments)
    if arguments.command == "body":
        from .body import bodies

        return bodies.run(arguments)
    if arguments.command == "object":
        from .objects import objects

        return objects.run(arguments)
    from . import worker

    return worker.serve() if arguments.command == "serve" else worker.run_once(arguments.folder.resolve())


if __name__ == "__main__":
    sys.exit(main())
