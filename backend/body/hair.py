# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair, and what is worn like hair, as one closed shell around the skull of a figure in the T-pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .data import JOINT_NAMES
from .figure import Figure, Geometry, joined
from .surface import grid_faces, ramp, thicken
from .textures import noise


@dataclass(frozen=True)
class Style:
    """Where hair ends, in metres above the eyes (front, side over the ear, back), how thick it is on top, at the sides
    and at the back, how uneven, and the radius of a bun (0: none).
    """

    front: float
    side: float
    back: float
    top: float
    sides: float
    behind: float
    uneven: float = 0.3
    bun: float = 0.0


STYLES = {
    "cropped": Style(0.072, 0.022, -0.055, 0.010, 0.006, 0.008, 0.25),
    "short": Style(0.066, 0.014, -0.065, 0.028, 0.013, 0.016, 0.45),
    "fringe": Style(0.035, 0.006, -0.075, 0.026, 0.018, 0.022, 0.35),
    "round": Style(0.060, 0.008, -0.060, 0.050, 0.046, 0.050, 0.15),
    "bob": Style(0.058, -0.080, -0.085, 0.026, 0.022, 0.028, 0.25),
    "long": Style(0.066, -0.150, -0.170, 0.024, 0.022, 0.026, 0.25),
    "bun": Style(0.068, 0.016, -0.060, 0.014, 0.009, 0.012, 0.2, 0.036),
    "beanie": Style(0.040, 0.020, -0.045, 0.020, 0.011, 0.013, 0.05),
}

COLUMNS, ROWS = 64, 26


def hair(figure: Figure, style: Style, seed: int) -> Geometry:
    """The shell of a style; long hair hangs straight below the skull's widest place. uv: u around, v upwards."""
    scale, eyes = (figure.joint("head")[1] - figure.joint("neck")[1]) / 0.094, figure.eyes.mean(0)
    skull = figure.vertices[(figure.share("head") > 0.5) & figure.is_skin]
    above = skull[skull[:, 1] > eyes[1] + 0.02 * scale]
    centre = np.array([0, eyes[1] + 0.025 * scale, (above[:, 2].min() + above[:, 2].max()) / 2])
    polar = np.radians(np.linspace(0, 128, 40))
    around = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    away, height = _skull_profile(skull - centre, polar, around)
    aside = np.abs((around + np.pi) % (2 * np.pi) - np.pi)  # 0 in front, π behind
    long_side = style.side < -0.03
    edge = _hairline(style, aside, long_side) * scale + eyes[1] - centre[1]
    edge = edge + 0.006 * scale * noise(np.stack([np.cos(around), np.sin(around), 0 * around], -1), 0.3, seed)
    outer, inner = np.empty((ROWS, COLUMNS, 3)), np.empty((ROWS, COLUMNS, 3))
    for c, angle in enumerate(around):
        x, y = _column(away[:, c], height[:, c], edge[c], long_side)
        thick = _thickness(style, angle, aside[c], y, edge[c], seed) * scale
        normal = np.stack([x, np.maximum(y, -0.3 * x)], 1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        direction = np.array([np.sin(angle), 0, np.cos(angle)])
        for target, lift in ((outer, thick), (inner, np.full_like(thick, -0.002 * scale))):
            flat, up = x + normal[:, 0] * lift, y + normal[:, 1] * lift
            flat[0] = 0
            target[:, c] = centre + flat[:, None] * direction + up[:, None] * (0, 1, 0)
    outer[0] = outer[0].mean(0)
    inner[0] = inner[0].mean(0)
    faces, uv = grid_faces(ROWS, COLUMNS)
    vertices, faces, uv, groups = thicken(outer.reshape(-1, 3), inner.reshape(-1, 3), faces, uv)
    pieces = [Geometry(vertices, faces, uv, _weights(figure, vertices), groups, (vertices - centre) / scale)]
    if style.bun:
        pieces.append(_bun(figure, centre + np.array([0, 0.03, -0.115]) * scale, style.bun * scale))
    return joined(pieces)


def _skull_profile(points: np.ndarray, polar: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the upright axis and height of the skull's surface, (P, A) each, by directions from its centre."""
    radius = np.linalg.norm(points, axis=1)
    p, a = np.meshgrid(polar, around, indexing="ij")
    direction = np.stack([np.sin(p) * np.sin(a), np.cos(p), np.sin(p) * np.cos(a)], -1).reshape(-1, 3)
    cosine = direction @ (points / radius[:, None]).T
    weight = np.exp((cosine - 1) * 500)
    found = ((weight @ radius) / weight.sum(1)).reshape(p.shape)
    return found * np.sin(p), found * np.cos(p)


def _hairline(style: Style, aside: np.ndarray, long_side: bool) -> np.ndarray:
    """Height above the eyes where the hair ends, by the angle from the front."""
    temple = style.front - 0.012 * ramp(aside, 0.3, 0.9)
    start, end = (1.05, 1.45) if long_side else (0.85, 1.4)
    edge = temple + (style.side - temple) * ramp(aside, start, end)
    return edge + (style.back - style.side) * ramp(aside, 1.75, 2.4)


def _column(away: np.ndarray, height: np.ndarray, edge: float, hanging: bool) -> tuple[np.ndarray, np.ndarray]:
    """One line of hair from the crown down to the edge, along the skull or hanging from it; (ROWS,) each."""
    widest = away.argmax()
    x, y = away.copy(), height.copy()
    if hanging:
        x = np.where(np.arange(len(x)) > widest, np.maximum(away, 0.96 * away[widest]), x)
    if edge < y[-1]:
        x, y = np.append(x, x[-1] * 1.02), np.append(y, edge)
    keep = int(np.argmax(y <= edge)) or len(y) - 1
    share = (y[keep - 1] - edge) / max(y[keep - 1] - y[keep], 1e-9)
    x = np.append(x[:keep], x[keep - 1] + (x[keep] - x[keep - 1]) * np.clip(share, 0, 1))
    y = np.append(y[:keep], edge)
    length = np.r_[0, np.cumsum(np.hypot(np.diff(x), np.diff(y)))]
    at = np.linspace(0, length[-1], ROWS)
    return np.interp(at, length, x), np.interp(at, length, y)


def _thickness(style: Style, angle: float, aside: float, y: np.ndarray, edge: float, seed: int) -> np.ndarray:
    """(ROWS,) metres of hair over the skull, thin at the hairline."""
    round_about = style.sides + (style.behind - style.sides) * ramp(aside, 1.6, 2.4)
    thick = round_about + (style.top - round_about) * ramp(y, 0.0, 0.09)
    clump = np.stack([np.full_like(y, np.cos(angle)), np.full_like(y, np.sin(angle)), 0.25 * y / 0.1], -1)
    thick = thick * (1 + style.uneven * noise(clump, 0.22, seed, 2))
    taper = 0.15 if aside < 1.2 or style.side > -0.03 else 0.5
    return thick * (taper + (1 - taper) * np.sqrt(ramp(y - edge, 0.0, max(0.03, 1.4 * style.sides)))) + 0.0015


def _weights(figure: Figure, points: np.ndarray) -> np.ndarray:
    """The head's, and below the chin half the neck's."""
    weights = np.zeros((len(points), 24))
    low = 0.5 * ramp(figure.joint("head")[1] - points[:, 1], 0.0, 0.08)
    weights[:, JOINT_NAMES.index("neck")] = low
    weights[:, JOINT_NAMES.index("head")] = 1 - low
    return weights


def _bun(figure: Figure, centre: np.ndarray, radius: float) -> Geometry:
    rows, columns = 12, 24
    polar = np.linspace(0.02, np.pi - 0.02, rows)[:, None]
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    unit = np.stack([np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around, np.sin(polar) * np.cos(around)], -1)
    vertices = centre + unit.reshape(-1, 3) * radius * (1.1, 1.0, 0.85)
    faces, uv = grid_faces(rows, columns)
    groups = np.zeros(len(faces), np.uint8)
    return Geometry(vertices, faces, uv, _weights(figure, vertices), groups, vertices - centre)
