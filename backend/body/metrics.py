# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of estimated bodies, as STRAPS, LASOR and BodyNet define them. Lengths in the unit of the input."""

from __future__ import annotations

import numpy as np


def procrustes(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """points (N, P, 3) after the similarity (no reflection) that brings them nearest to target (N, P, 3)."""
    centre, goal = points.mean(1, keepdims=True), target.mean(1, keepdims=True)
    a, b = points - centre, target - goal
    u, singular, vt = np.linalg.svd(np.swapaxes(a, 1, 2) @ b)
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    scale = (singular * sign).sum(1) / (a**2).sum((1, 2))
    return scale[:, None, None] * a @ ((u * sign[:, None]) @ vt) + goal


def scale_corrected(vertices: np.ndarray, target: np.ndarray) -> np.ndarray:
    """vertices (N, V, 3) moved to the target's mean and scaled to its RMS distance from it; not rotated."""
    a, b = (x - x.mean(1, keepdims=True) for x in (vertices, target))
    scale = np.sqrt((b**2).sum((1, 2)) / (a**2).sum((1, 2)))
    return scale[:, None, None] * a + target.mean(1, keepdims=True)


def pa_mpjpe(joints: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N,) mean distance of the 14 joints (N, 14, 3) after Procrustes alignment."""
    return _mean_distance(procrustes(joints, target), target)


def pve_pa(vertices: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N,) mean distance of all vertices (N, V, 3) after Procrustes alignment."""
    return _mean_distance(procrustes(vertices, target), target)


def pve_t_sc(neutral: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N,) mean distance of all vertices (N, V, 3) of bodies in the T-pose, after correcting the scale."""
    return _mean_distance(scale_corrected(neutral, target), target)


def surface_error(vertices: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N,) mean distance of all vertices (N, V, 3) as they are (BodyNet, section 4.1)."""
    return _mean_distance(vertices, target)


def iou(found: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N,) intersection over union of boolean masks or volumes (N, …); 1 where both are empty."""
    axes = tuple(range(1, target.ndim))
    union = (found | target).sum(axes)
    return np.where(union > 0, (found & target).sum(axes) / np.maximum(union, 1), 1.0)


def f1(mask: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N,) F1-score of the foreground of boolean masks (N, H, W); 1 where both are empty."""
    size = mask.sum((1, 2)) + target.sum((1, 2))
    return np.where(size > 0, 2 * (mask & target).sum((1, 2)) / np.maximum(size, 1), 1.0)


def accuracy(mask: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N,) share of the pixels of boolean masks (N, H, W) that agree."""
    return (mask == target).mean((1, 2))


def part_ious(label: np.ndarray, target: np.ndarray, parts: int) -> np.ndarray:
    """(parts,) intersection over union of each part from 1, over all of the labels (N, …); NaN where there is none.

    SURREAL's figure is their mean.
    """
    numbers = range(1, parts + 1)
    union = np.array([((label == k) | (target == k)).sum() for k in numbers], np.float64)
    both = np.array([((label == k) & (target == k)).sum() for k in numbers], np.float64)
    return np.divide(both, union, out=np.full(parts, np.nan), where=union > 0)


def pckh(joints: np.ndarray, target: np.ndarray, head: np.ndarray, share: float = 0.5) -> np.ndarray:
    """(N,) share of the joints (N, J, 2) that are nearer to the target than `share` of the heads' lengths (N,)."""
    return (np.linalg.norm(joints - target, axis=-1) <= share * head[:, None]).mean(1)


def joint_error(joints: np.ndarray, target: np.ndarray, root: int) -> np.ndarray:
    """(N,) mean distance of the joints (N, J, 3) with both roots at one place (BodyNet, appendix C.1)."""
    return _mean_distance(joints - joints[:, root, None], target - target[:, root, None])


def _mean_distance(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - target, axis=-1).mean(1)
