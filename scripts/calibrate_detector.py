# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures where MediaPipe has its keypoints, beside the body model's: ``scripts/calibrate_detector.py --motions DIR``.

Prints the shares of `backend.body.calibration`, from rendered photographs of the people that networks learn from, and
how far keypoints are off without and with them, on a fifth of the pictures that the shares were not fitted to.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from tqdm import tqdm

from backend.body.calibration import KINDS, VECTORS, calibrated, fitted
from backend.body.detect import people_if_any
from backend.body.poses import pose_bank
from scripts.rendered_people import scenes

UNCALIBRATED = np.zeros((len(KINDS), len(VECTORS)))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--motions", type=Path, nargs="+", default=[], help="folders of .bvh files, as in training")
    p.add_argument("--people", type=int, default=60, help="pictures")
    options = p.parse_args()
    poses = pose_bank(options.motions, 4000, 0)
    found, true = [], []
    for scene in tqdm(scenes("in the open", poses, options.people, 0, "train"), total=options.people):
        people = people_if_any(scene.picture, UNCALIBRATED)
        if (number := scene.shown_by(people)) is not None:
            found.append(people[number].points * scene.pixel)
            true.append(scene.keypoints * scene.pixel)
    points, goal = np.stack(found), np.stack(true)
    fifth = len(points) // 5
    shares = fitted(points[fifth:], goal[fifth:])
    for name, moved in (("as found", points[:fifth]), ("calibrated", calibrated(points[:fifth], shares))):
        off = np.linalg.norm(moved - goal[:fifth], axis=2)
        print(f"{name}: {off.mean():.2f} pixels of 256 off in the mean, {np.median(off):.2f} in the median")
    print(f"    # {', '.join(VECTORS)}")
    for kind, row in zip(KINDS, fitted(points, goal), strict=True):
        print(f"    [{', '.join(f'{share:.3f}' for share in row)}],  # {kind}")


if __name__ == "__main__":
    main()
