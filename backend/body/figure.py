# SPDX-License-Identifier: GPL-3.0-or-later
"""A shaped body in the T-pose, as tailors and hairdressers need it, and the parts that they make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .data import JOINT_NAMES, BodyData
from .surface import vertex_normals

ADULT_LEG = 0.86  # metres from pelvis to ankle of the template; lengths of clothes scale with it


@dataclass(frozen=True)
class Part:
    """One piece of a person: skin, eyes, hair, a garment or shoes.

    vertices: (V, 3) float32 metres in the T-pose, y-up; faces: (F, 3) int32; uv: (F, 3, 2) float32 of the corners, v
    upwards; texture: (H, W, 3) float32 scene-linear albedo, row 0 at v = 1; roughness and specular of a microfacet
    gloss, in [0, 1]; weights: (V, 24) float32; groups: (F,) uint8, smooth within a group and creased between groups.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    texture: np.ndarray
    roughness: float
    specular: float
    weights: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Geometry:
    """A part before it gets its texture. drawn: (V, 3) where its pattern is drawn, see `Figure.normalised`."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    weights: np.ndarray
    groups: np.ndarray
    drawn: np.ndarray

    def part(self, name: str, texture: np.ndarray, roughness: float, specular: float) -> Part:
        """With its texture and gloss, without triangles that have no area (at the poles of tubes)."""
        p = self.vertices[self.faces]
        real = np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1) > 1e-12
        return Part(
            name,
            self.vertices.astype(np.float32),
            self.faces[real].astype(np.int32),
            self.uv[real].astype(np.float32),
            np.clip(texture, 0.005, 0.9).astype(np.float32),
            roughness,
            specular,
            self.weights.astype(np.float32),
            self.groups[real],
        )


def joined(pieces: list[Geometry]) -> Geometry:
    """Several geometries as one."""
    offset = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    return Geometry(
        np.concatenate([piece.vertices for piece in pieces]),
        np.concatenate([piece.faces + o for piece, o in zip(pieces, offset, strict=False)]),
        np.concatenate([piece.uv for piece in pieces]),
        np.concatenate([piece.weights for piece in pieces]),
        np.concatenate([piece.groups for piece in pieces]),
        np.concatenate([piece.drawn for piece in pieces]),
    )


@dataclass(frozen=True)
class Figure:
    """A body with its betas applied: vertices (V, 3) and joints (24, 3), metres, T-pose, y-up, facing +z."""

    body: BodyData
    vertices: np.ndarray
    joints: np.ndarray

    @classmethod
    def of(cls, body: BodyData, betas: np.ndarray) -> Figure:
        return cls(body, *body.shaped(betas))

    @cached_property
    def normals(self) -> np.ndarray:
        return vertex_normals(self.vertices, self.body.faces)

    @cached_property
    def scale(self) -> float:
        """Size against the template's."""
        return float(self.joint("pelvis")[1] - self.joint("left_ankle")[1]) / ADULT_LEG

    @cached_property
    def uv(self) -> np.ndarray:
        """(F, 3, 2) texture coordinates of the body's corners."""
        return self.body.extra["vt"][self.body.extra["ft"].astype(np.int64)]

    @cached_property
    def is_skin(self) -> np.ndarray:
        """(V,) True but for the eyeballs."""
        return self.body.extra["vertex_piece"] == 0

    def joint(self, name: str) -> np.ndarray:
        return self.joints[JOINT_NAMES.index(name)]

    def share(self, *names: str) -> np.ndarray:
        """(V,) summed skinning weight of joints."""
        return self.body.weights[:, [JOINT_NAMES.index(name) for name in names]].sum(1)

    def both(self, *names: str) -> np.ndarray:
        """(V,) summed skinning weight of joints on both sides."""
        return self.share(*[f"{side}_{name}" for side in ("left", "right") for name in names])

    def nearest(self, points: np.ndarray, among: np.ndarray) -> np.ndarray:
        """(N,) indices of the body vertices, of those in the mask (V,), nearest to points (N, 3)."""
        candidates = np.flatnonzero(among)
        c = self.vertices[candidates]
        squared = (c**2).sum(1)[None] - 2 * points.astype(np.float32) @ c.T
        return candidates[squared.argmin(1)]

    def normalised(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) around the figure, stretched so that wrists, shoulders and ankles are where the template's are.

        Patterns are drawn there: stripes stay level and straight whatever the body's shape.
        """
        template = self.body.j_regressor @ self.body.v_template
        wrist, shoulder, ankle = (JOINT_NAMES.index(f"left_{name}") for name in ("wrist", "shoulder", "ankle"))
        origin = self.joint("pelvis")
        x, y, z = (points - origin).T
        up = template[shoulder, 1] / (self.joints[shoulder, 1] - origin[1])
        down = template[ankle, 1] / (self.joints[ankle, 1] - origin[1])
        across = template[wrist, 0] / self.joints[wrist, 0]
        return np.stack([x * across, y * np.where(y > 0, up, down), z / self.scale], -1)

    @cached_property
    def eyes(self) -> np.ndarray:
        """(2, 3) centres of the eyeballs."""
        piece = self.body.extra["vertex_piece"]
        return np.stack([self.vertices[piece == k].mean(0) for k in (1, 2)])
