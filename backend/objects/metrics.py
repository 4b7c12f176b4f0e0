# SPDX-License-Identifier: GPL-3.0-or-later
"""JOF's measures (section 4): Chamfer-L1, F-score, part IOU, azimuth error.

Point sets are sampled from surfaces, 100,000 of each in the paper's protocol. Lengths are in units of the longest edge
of the true object's bounding box.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import trimesh
from scipy.spatial import KDTree

from .shapes import Shape

POINTS = 100_000
TAU = 1e-4  # of the F-score, on the squared distance


def surface_scores(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Chamfer-L1 and F-score of points (N, 3) against the true surface's (M, 3).

    "chamfer": the mean of both directions' mean distances, in tenths of the longest edge (Occupancy Networks).
    "f_score": per cent; precision and recall count squared distances of at most TAU (Pixel2Mesh).
    An empty set scores the worst there is: a Chamfer of 10 tenths, and 0 %.
    """
    if not len(found):
        return {"chamfer": 10.0, "f_score": 0.0}
    edge = float(np.ptp(true, axis=0).max())
    accuracy = KDTree(true).query(found)[0] / edge
    completeness = KDTree(found).query(true)[0] / edge
    precision, recall = ((d**2 <= TAU).mean() for d in (accuracy, completeness))
    f = 2 * precision * recall / max(precision + recall, 1e-12)
    return {"chamfer": float(10 * (accuracy.mean() + completeness.mean()) / 2), "f_score": float(100 * f)}


def part_iou(branch: np.ndarray, label: np.ndarray, owner: np.ndarray, labels: Iterable[int]) -> float:
    """Mean part IOU, per cent, of an object whose points (N,) won branches and truly have labels (BAE-NET's measure).

    owner: (branches,) the label that stands for each branch (`owners`). labels: those of the object's category; one
    that is neither there nor found counts as 1, as ShapeNet part's protocol has it.
    """
    told = owner[branch]
    scores = []
    for k in labels:
        union = ((told == k) | (label == k)).sum()
        scores.append(1.0 if union == 0 else ((told == k) & (label == k)).sum() / union)
    return float(100 * np.mean(scores))


def owners(branch: np.ndarray, label: np.ndarray, branches: int) -> np.ndarray:
    """(branches,) the label that most of each branch's points have, over a whole category; 0 for a branch unused."""
    counts = np.zeros((branches, int(label.max()) + 1), np.int64)
    np.add.at(counts, (branch, label), 1)
    return counts.argmax(1)


def azimuth_error(found: float, true: float, alike: np.ndarray | None = None) -> float:
    """Degrees between two azimuths in radians, 0 to 180; from the nearest that shows a symmetric object the same.

    alike: (TURNS,) bool, `symmetry.symmetries`.
    """
    turns = np.zeros(1) if alike is None else np.flatnonzero(alike) * (2 * np.pi / len(alike))
    return float(np.degrees(np.abs((found - true + turns + np.pi) % (2 * np.pi) - np.pi)).min())


def surface_of(shape: Shape, count: int, random: np.random.Generator) -> np.ndarray:
    """(count, 3) even points of a generated shape's outer surface: those of its parts that no other part covers."""
    solids = [trimesh.Trimesh(p.solid.vertices, p.solid.faces, process=False) for p in shape.parts]
    area = np.array([solid.area for solid in solids])
    kept: list[np.ndarray] = []
    total = 0
    while total < count:
        for i, number in enumerate(random.multinomial(count, area / area.sum())):
            if not number:
                continue
            points, face = trimesh.sample.sample_surface(solids[i], number, seed=int(random.integers(1 << 31)))[:2]
            points = np.asarray(points) + 1e-5 * solids[i].face_normals[face]
            for other in (s for k, s in enumerate(solids) if k != i):
                within = ((points > other.bounds[0]) & (points < other.bounds[1])).all(1)
                within[within] = other.contains(points[within]) if within.any() else False
                points = points[~within]
            kept.append(points)
            total += len(points)
    return random.permutation(np.concatenate(kept))[:count]


def mesh_surface(vertices: np.ndarray, faces: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """(count, 3) even points of a mesh; none of an empty one."""
    if not len(faces):
        return np.zeros((0, 3))
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    return np.asarray(trimesh.sample.sample_surface(mesh, count, seed=int(random.integers(1 << 31)))[0])
