# SPDX-License-Identifier: GPL-3.0-or-later
"""Single poses to learn from: of motion files, of the built-in motions, and drawn within the limits of the joints."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..splits import is_test
from .builtin_motions import BUILTIN, builtin, pose_from_angles
from .motion import INDEX, forward_kinematics, mirror
from .retarget import load_motion

_LEGS = [
    INDEX[n] for n in ("pelvis", *(f"{s}_{j}" for s in ("left", "right") for j in ("hip", "knee", "ankle", "foot")))
]
RATE = 10.0  # poses a second of a motion: neighbours differ visibly

# Degrees that a healthy adult reaches, as the names of `motion.pose_from_angles` count them: (least, usual, most).
# Angles near `usual` are drawn most often.
_TRUNK_LIMITS = {
    "bend": (-25, 8, 80), "side": (-30, 0, 30), "twist": (-40, 0, 40), "look": (-65, 0, 65), "nod": (-40, 5, 40),
}  # fmt: skip
_LIMB_LIMITS = {
    "hip": (-25, 20, 120), "spread": (-15, 8, 60), "toes_out": (-25, 8, 45), "knee": (0, 25, 145),
    "ankle": (-35, 0, 30), "raise": (-10, 25, 170), "arm": (-45, 25, 150), "arm_twist": (-90, -20, 80),
    "elbow": (2, 40, 145), "wrist": (-50, 0, 50),
}  # fmt: skip
_CROWDING = 3.0  # about the usual angles; 0 draws evenly
_WAIST = 0.13  # metres from the spine within which no hand, elbow or knee can be
_APART = 0.09  # metres between the two sides' hands, knees or feet


def motion_poses(folders: Iterable[Path], test: bool = False) -> np.ndarray:
    """(N, 24, 3) axis-angle: the poses of the .bvh files in these folders that belong to the split, and mirrored.

    Raises PenumbraError where a file cannot be read.
    """
    files = [p for folder in folders for p in sorted(Path(folder).rglob("*.bvh")) if is_test(p.stem) == test]
    clips = [load_motion(path, fps=RATE) for path in files]
    poses = [m.pose for clip in clips for m in (clip, mirror(clip))]
    return np.concatenate([np.zeros((0, 24, 3), np.float32), *poses])


def builtin_poses(variants: int, test: bool = False) -> np.ndarray:
    """(N, 24, 3) axis-angle: the built-in motions, `variants` of each, and mirrored."""
    clips = [builtin(name, seed + 1000 * test) for name in BUILTIN for seed in range(variants)]
    return np.concatenate([m.pose[:: round(m.fps / RATE)] for clip in clips for m in (clip, mirror(clip))])


def limit_poses(count: int, seed: int) -> np.ndarray:
    """(N, 24, 3) axis-angle drawn within the joints' limits, facing +z and upright; limbs keep out of the body."""
    random = np.random.default_rng([seed, 6])
    kept: list[np.ndarray] = []
    while sum(map(len, kept)) < count:
        poses = pose_from_angles(_angles(count, random), count).astype(np.float32)
        kept.append(poses[_clear(forward_kinematics(poses, np.zeros((count, 3))))])
    return np.concatenate(kept)[:count]


def crossed(poses: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """(count, 24, 3) axis-angle: pelvis and legs of one pose with the trunk, head and arms of another, both drawn."""
    found, others = (poses[random.integers(len(poses), size=count)] for _ in range(2))
    above = [i for i in range(24) if i not in _LEGS]
    found[:, above] = others[:, above]
    return found


def _angles(count: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    limits = dict(_TRUNK_LIMITS) | {
        f"{side}_{name}": _LIMB_LIMITS[name] for side in ("left", "right") for name in _LIMB_LIMITS
    }
    return {name: _between(*limit, count, random) for name, limit in limits.items()}


def _between(least: float, usual: float, most: float, count: int, random: np.random.Generator) -> np.ndarray:
    """Beta-distributed between the limits with its mode at `usual`."""
    mode = (usual - least) / (most - least)
    return least + (most - least) * random.beta(1 + _CROWDING * mode, 1 + _CROWDING * (1 - mode), count)


def _clear(joints: np.ndarray) -> np.ndarray:
    """(N,) whether joints (N, 24, 3) keep their distance from the spine and from the other side's."""
    clear = np.ones(len(joints), bool)
    bottom, top = joints[:, INDEX["pelvis"]], joints[:, INDEX["head"]]
    axis = top - bottom
    for name in ("elbow", "wrist", "hand", "knee", "ankle"):
        sides = [joints[:, INDEX[f"{side}_{name}"]] for side in ("left", "right")]
        clear &= np.linalg.norm(sides[0] - sides[1], axis=1) > _APART
        for point in sides:
            share = np.clip(((point - bottom) * axis).sum(1) / (axis**2).sum(1), 0, 1)[:, None]
            clear &= np.linalg.norm(point - bottom - share * axis, axis=1) > _WAIST
    return clear


def pose_bank(folders: Iterable[Path], count: int, seed: int, test: bool = False) -> np.ndarray:
    """(count, 24, 3) axis-angle float32: half from motion files, a fifth built in, the rest within the limits. Of what
    is not for tests, half of the first two are crossed.

    Without motion files, two fifths are built in. test: poses of the clips and seeds that training never sees.
    """
    random = np.random.default_rng([seed, 7, test])
    moved, made = motion_poses(folders, test), builtin_poses(4 if test else 30, test)
    shares = [(moved, 0.5), (made, 0.2)] if len(moved) else [(made, 0.4)]
    drawn = []
    for poses, share in shares:
        wanted = round(share * count)
        mixed = 0 if test else wanted // 2
        drawn += [poses[random.integers(len(poses), size=wanted - mixed)], crossed(poses, mixed, random)]
    rest = limit_poses(count - sum(map(len, drawn)), 2 * seed + test)
    return np.concatenate([*drawn, rest]).astype(np.float32)[random.permutation(count)]
