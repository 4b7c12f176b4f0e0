# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of estimated bodies, as STRAPS defines and LASOR reports them. Lengths in the unit of the input."""

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


def silhouette_iou(mask: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N,) intersection over union of boolean masks (N, H, W); 1 where both are empty."""
    union = (mask | target).sum((1, 2))
    return np.where(union > 0, (mask & target).sum((1, 2)) / np.maximum(union, 1), 1.0)


def _mean_distance(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - target, axis=-1).mean(1)
