# SPDX-License-Identifier: GPL-3.0-or-later
"""Area lights of the shadow data set: lamps so near that their shadows spread and fade with the distance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..rays.scene import RayScene
from ..shading.probe import Sun
from ..shading.probe_fit import fibonacci_sphere
from ..shading.visibility import RayStarts

RAYS = 8  # a pixel; its neighbours ask for other points of the lamp
_TURNS = 8  # sets of points that neighbours take in turn


@dataclass(frozen=True)
class Lamp:
    """A ball that shines alike to all sides.

    place: (3,) metres. radius: metres. intensity: (3,) linear Rec.709, the shading of a white surface that faces it a
    metre away, π-normalised as `Sun.irradiance`; a Blender point light's power is 4 π² times as much, in watts.
    """

    place: np.ndarray
    radius: float
    intensity: np.ndarray

    def moved(self, matrix: np.ndarray) -> Lamp:
        """Through a rigid motion (4, 4)."""
        return dataclasses.replace(self, place=matrix[:3, :3] @ self.place + matrix[:3, 3])

    def seen_from(self, point: np.ndarray) -> Sun:
        """The sun that it is as good as, at a point (3,)."""
        toward = self.place - point
        distance = float(np.linalg.norm(toward))
        half_angle = float(np.arcsin(min(self.radius / distance, 1.0)))
        return Sun(toward / distance, self.intensity / distance**2, half_angle)


def lamp_light(lamp: Lamp, meshes: RayScene, starts: RayStarts, roles: Sequence[str]) -> np.ndarray:
    """(R, N, 3) shading by a lamp in the order of `starts`: behind the meshes of the first role, of the first two, …"""
    ball = lamp.place + lamp.radius * fibonacci_sphere(RAYS * _TURNS)
    ball = ball.reshape(RAYS, _TURNS, 3)[:, np.arange(starts.count) % _TURNS].swapaxes(0, 1)
    toward = (ball - starts.origins[:, None]).astype(np.float32)  # not unit: a ray ends at the lamp
    distance = np.linalg.norm(toward, axis=2)
    received = np.maximum(np.einsum("xn,nkx->nk", starts.normals, toward), 0) / np.maximum(distance, lamp.radius) ** 3
    open_ = received > 0
    shading = np.empty((len(roles), starts.count, 3), np.float32)
    for step, role in enumerate(roles):
        open_ &= ~meshes.blocked(starts.origins, toward, open_, (role,), t_max=1.0)
        shading[step] = (received * open_).mean(1)[:, None] * lamp.intensity
    return shading
