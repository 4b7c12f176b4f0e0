# SPDX-License-Identifier: GPL-3.0-or-later
"""Garments and shoes as closed shells around a figure in the T-pose.

A garment is cut from the body along a smooth field (its hems are the field's zero line), lifted off the skin, let
hang from the convex outline of trunk, sleeves and legs, smoothed, creased a little, and thickened. Skirts and shoes,
which span what the body does not, are tubes around such outlines. Lengths are metres on the template body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .figure import Figure, Geometry, joined
from .surface import Hull, cut, grid_faces, ramp, smooth, thicken, vertex_normals
from .textures import noise

UP, FRONT = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Fit:
    """How a garment sits. offset: off the skin; floor: least distance that smoothing must leave; thickness of the
    cloth; ease: extra distance from the convex outline; slope: how fast it may narrow as it hangs; folds: height of
    creases; steps of smoothing. Metres.
    """

    offset: float
    floor: float
    thickness: float = 0.0025
    ease: float = 0.0
    slope: float = 0.6
    folds: float = 0.002
    steps: int = 4


@dataclass(frozen=True)
class Cut:
    """A garment and which body vertices it hides."""

    geometry: Geometry
    hidden: np.ndarray


def neckline(figure: Figure, height: float, depth: float) -> np.ndarray:
    """(V,) positive outside the opening for the neck: below a tilted plane, or aside of an upright oval.

    height: of the plane above the neck joint at the back; depth: how much lower the front is.
    """
    neck, v, scale = figure.joint("neck"), figure.vertices, figure.scale
    x, y, z = ((v - neck) / scale).T
    tilt = depth / 0.12
    below = -(y - height + tilt * (z + 0.05)) / np.hypot(1, tilt)
    aside = np.hypot(x, (z - 0.02) * 0.8) - 0.075 - 0.3 * depth
    return np.minimum(np.maximum(below, aside), 0.5 * (0.5 - figure.share("head"))) * scale


def top(figure: Figure, sleeve: float, hem: float, neck: tuple[float, float], fit: Fit, seed: int) -> Cut:
    """A shirt, pullover or jacket. sleeve: share of the way from shoulder to wrist; hem: metres above the hips."""
    v, scale = figure.vertices, figure.scale
    shoulder, wrist, hip = figure.joint("left_shoulder"), figure.joint("left_wrist"), figure.joint("left_hip")
    end = shoulder[0] + sleeve * (wrist[0] - shoulder[0])
    wave = 0.006 * noise(v, 0.15, seed)
    field = np.minimum(end - np.abs(v[:, 0]), v[:, 1] - hip[1] - hem * scale) + wave
    field = np.minimum(field, neckline(figure, *neck))
    field[~figure.is_skin] = -1
    arms = figure.both("shoulder", "elbow", "wrist", "hand")
    hulls = [(trunk_hull(figure), (1 - ramp(arms, 0.05, 0.6)) * ramp(shoulder[1] - 0.06 * scale - v[:, 1], 0, 0.10))]
    for side in ("left", "right"):
        share = figure.share(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        away = ramp(np.abs(v[:, 0]), shoulder[0] + 0.02 * scale, shoulder[0] + 0.09 * scale)
        hulls.append((arm_hull(figure, side), ramp(share, 0.3, 0.9) * away))
    return _shell(figure, field, fit, hulls, seed, cull=0.025 + 2 * fit.offset)


def trousers(figure: Figure, length: float, waist: float, fit: Fit, seed: int) -> Cut:
    """Trousers or shorts. length: share of the way from hip to ankle; waist: metres above the pelvis joint."""
    v, scale = figure.vertices, figure.scale
    hip, ankle = figure.joint("left_hip"), figure.joint("left_ankle")
    hem = hip[1] + length * (ankle[1] - hip[1])
    level = figure.joint("pelvis")[1] + waist * scale - 0.1 * (v[:, 2] - figure.joint("pelvis")[2])
    field = np.minimum(level - v[:, 1], v[:, 1] - hem + 0.004 * noise(v, 0.1, seed))
    field[(figure.both("shoulder", "elbow", "wrist", "hand") > 0.01) | ~figure.is_skin] = -1
    hulls = []
    for side in ("left", "right"):
        share = ramp(figure.share(*[f"{side}_{j}" for j in ("hip", "knee", "ankle")]), 0.5, 1)
        hulls.append((leg_hull(figure, side), share * ramp(hip[1] - 0.06 * scale - v[:, 1], 0, 0.12)))
    return _shell(figure, field, fit, hulls, seed, cull=0.02 + fit.offset)


def _shell(figure: Figure, field: np.ndarray, fit: Fit, hulls: list, seed: int, cull: float) -> Cut:
    patch = cut(figure.body.faces, figure.uv, field)
    base, normal = patch.take(figure.vertices), smooth(patch.take(figure.normals), patch.faces, 3, keep_rim=False)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    outer = base + normal * fit.offset
    for hull, share in hulls:
        outer = hull.hanging(fit.slope).pushed(outer, fit.offset + fit.ease, patch.take(share))
    outer = smooth(outer, patch.faces, fit.steps)
    outer = outer + normal * (fit.folds * _creases(base, seed))[:, None]
    outer = _lifted(outer, base, normal, fit.floor)
    inner = outer - vertex_normals(outer, patch.faces) * fit.thickness
    inner = _lifted(inner, base, normal, fit.floor - fit.thickness)
    vertices, faces, uv, groups = thicken(outer, inner, patch.faces, patch.uv)
    weights = smooth(patch.take(figure.body.weights), patch.faces, 2)
    low, high = uv.min((0, 1)), uv.max((0, 1))
    uv = 0.01 + 0.98 * (uv - low) / (high - low)
    drawn = figure.normalised(outer)
    return Cut(
        Geometry(vertices, faces, uv, np.tile(weights, (2, 1)), groups, np.tile(drawn, (2, 1))),
        field > cull * figure.scale,
    )


def _creases(points: np.ndarray, seed: int) -> np.ndarray:
    """Ridges in [0, 1] that run slantwise, as cloth folds where it is pulled."""
    slanted = points @ np.array([[1.0, 0.35, 0.0], [-0.35, 1.0, 0.3], [0.0, -0.3, 0.6]])
    return 1 - np.abs(noise(slanted, 0.11, seed, 2)) * 2


def _lifted(points: np.ndarray, base: np.ndarray, normal: np.ndarray, floor: float) -> np.ndarray:
    depth = ((points - base) * normal).sum(1)
    return points + normal * np.maximum(floor - depth, 0)[:, None]


def trunk_hull(figure: Figure) -> Hull:
    """Outline from the shoulders down to below the hips."""
    shoulder, hip = figure.joint("left_shoulder"), figure.joint("left_hip")
    z = figure.joint("spine2")[2]
    start, end = np.array([0, shoulder[1], z]), np.array([0, hip[1] - 0.15 * figure.scale, z])
    body = (figure.both("shoulder", "elbow", "wrist", "hand") < 0.3) & (figure.share("head") < 0.5) & figure.is_skin
    return Hull.of(figure.vertices[body], start, end, FRONT)


def arm_hull(figure: Figure, side: str) -> Hull:
    """Outline from the shoulder to the wrist."""
    arm = figure.share(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist") > 0.5
    return Hull.of(figure.vertices[arm], figure.joint(f"{side}_shoulder"), figure.joint(f"{side}_wrist"), UP)


def leg_hull(figure: Figure, side: str) -> Hull:
    """Outline from the hip to the ankle."""
    leg = figure.share(f"{side}_hip", f"{side}_knee") > 0.6
    ankle = figure.joint(f"{side}_ankle")
    return Hull.of(
        figure.vertices[leg], figure.joint(f"{side}_hip"), ankle + (ankle - figure.joint(f"{side}_hip")) * 0.05, FRONT
    )


def skirt(figure: Figure, length: float, waist: float, flare: float, pleats: int, fit: Fit, seed: int) -> Cut:
    """A skirt. length: share of the way from hip to ankle; waist: metres above the pelvis; flare: widening a metre."""
    scale, hip, ankle = figure.scale, figure.joint("left_hip"), figure.joint("left_ankle")
    waist_y = figure.joint("pelvis")[1] + waist * scale
    hem = hip[1] + length * (ankle[1] - hip[1])
    z = figure.joint("pelvis")[2]
    legs = (figure.both("shoulder", "elbow", "wrist", "hand", "ankle", "foot") < 0.1) & figure.is_skin
    rows, columns = 26, 72
    start, end = np.array([0, waist_y, z]), np.array([0, hem, z])
    hull = Hull.of(figure.vertices[legs], start, end, FRONT, slices=rows).hanging(0)
    t = np.linspace(0, waist_y - hem, rows)[:, None] * np.ones((1, columns))
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None] * np.ones((rows, 1))
    below_hips = np.maximum(t - 0.16 * scale, 0)
    fall = ramp(below_hips, 0, 0.3 * scale)
    around = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1).reshape(-1, 3)
    shape = noise(around, 0.5, seed).reshape(angle.shape)
    ripple = fall * (0.008 * np.sin(pleats * angle + 2 * shape) + 0.01 * (shape + 0.5))
    radius = hull.at(t, angle) + fit.offset + flare * below_hips + fit.ease * fall + np.maximum(ripple, -0.004)
    outer = hull.points(t, angle, radius).reshape(-1, 3)
    inner = hull.points(t, angle, radius - fit.thickness).reshape(-1, 3)
    faces, uv = grid_faces(rows, columns)
    vertices, faces, uv, groups = thicken(outer, inner, faces, uv)
    near = figure.body.weights[figure.nearest(outer, legs)].astype(np.float64)
    weights = np.tile(smooth(near, faces[groups == 0], 5, keep_rim=False), (2, 1))
    turn = (angle + np.pi) % (2 * np.pi) - np.pi  # its pattern is drawn as on trousers, unrolled to either side
    level = figure.normalised(outer)[:, 1].reshape(angle.shape) - 0.3
    unrolled = [np.where(turn < 0, -1, 1) * (0.12 + 0.2 * np.abs(np.sin(turn))), level, 0.03 + 0.2 * np.cos(turn)]
    drawn = np.tile(np.stack(unrolled, -1).reshape(-1, 3), (2, 1))
    y = figure.vertices[:, 1]
    hidden = legs & (y < waist_y - 0.03 * scale) & (y > hem + 0.08 * scale)
    return Cut(Geometry(vertices, faces, uv, weights, groups, drawn), hidden)


def shoes(figure: Figure, shaft: float, sole: float) -> Cut:
    """A pair of closed shoes. shaft: metres above the ankle joint; sole: thickness in metres."""
    left, hidden_left = _shoe(figure, "left", shaft, sole)
    right, hidden_right = _shoe(figure, "right", shaft, sole)
    return Cut(joined([left, right]), hidden_left | hidden_right)


def _shoe(figure: Figure, side: str, shaft: float, sole: float) -> tuple[Geometry, np.ndarray]:
    """Convex slices from heel to toe, so that the toes vanish; the leg comes out of its top."""
    scale, ankle = figure.scale, figure.joint(f"{side}_ankle")
    foot = (figure.share(f"{side}_ankle", f"{side}_foot", f"{side}_knee") > 0.5) & (
        figure.vertices[:, 1] < ankle[1] + shaft * scale
    )
    points = figure.vertices[foot]
    ground, back, tip = points[:, 1].min(), points[:, 2].min(), points[:, 2].max()
    start = np.array(
        [points[points[:, 1] < ankle[1]][:, 0].mean(), ground + 0.018 * scale, back]
    )  # under the toes' tops, so that no slice is dented
    hull = Hull.of(points, start, np.array([start[0], start[1], tip]), np.array([0.0, -1.0, 0.0]), slices=28)
    for _ in range(6):
        hull = hull.hanging(2.0)
    margin, columns = 0.007 * scale, 40
    t = np.concatenate([[-0.9 * margin] * 2, np.linspace(0, tip - back, 28), [tip - back + 1.4 * margin] * 2])
    swell = np.concatenate([[0.02, 0.72], np.ones(28), [0.62, 0.02]])
    swell[[2, -3]] = 0.93
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    radius = (hull.at(np.repeat(np.clip(t, 0, tip - back), columns), np.tile(angle, len(t))) + margin) * np.repeat(
        swell, columns
    )
    vertices = hull.points(np.repeat(t, columns), np.tile(angle, len(t)), radius)
    floor = ground - sole * scale
    low = vertices[:, 1] < ground + 0.012 * scale
    vertices[:, 1] = np.where(low, floor + (vertices[:, 1] - vertices[:, 1].min()) * 0.25, vertices[:, 1])
    vertices[low, 0] += np.sign(vertices[low, 0] - start[0]) * 0.003 * scale
    faces, uv = grid_faces(len(t), columns)
    near = figure.nearest(vertices, foot)
    weights = smooth(figure.body.weights[near].astype(np.float64), faces, 4, keep_rim=False)
    drawn = (vertices - np.array([start[0], floor, ankle[2]])) / scale  # from the middle of the sole
    hidden = foot & (figure.vertices[:, 1] < ankle[1] + (shaft - 0.012) * scale)
    return Geometry(vertices, faces, uv, weights, np.zeros(len(faces), np.uint8), drawn), hidden
