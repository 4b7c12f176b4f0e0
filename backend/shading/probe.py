# SPDX-License-Identifier: GPL-3.0-or-later
"""The light probe: an estimate of a plate's light that can be seen, turned, edited, smoothed over time, and shaded by.

Light in 62 cells of the sphere around the camera's axes (those of RiCS), an unshadowed constant, and suns.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import protocol
from ..rays.directions import RICS_DIRECTIONS, SOLID_ANGLES, cell_shares, unpack_bits
from . import formula, panorama, probe_fit
from .panorama import LUMINANCE, nearest_cell
from .probe_fit import SunVisibility

CELLS = len(RICS_DIRECTIONS)
SAME_SUN = np.radians(15.0)
SMOOTHING = 3.0  # frames; standard deviation over which the light of a moving plate is averaged


@dataclass(frozen=True)
class Sun:
    """A small, strong source.

    direction: (3,) unit, camera space, from the surface toward the light.
    irradiance: (3,) E, linear Rec.709, with shading = E · max(0, n·d) · visibility. A Blender Sun's strength is π·E.
    half_angle: radians; the sun's disc is even.
    whole: all of its irradiance over `irradiance`; the rest is spread over the cells (`LightProbe.spread`).
    """

    direction: np.ndarray
    irradiance: np.ndarray
    half_angle: float
    whole: float = 1.0

    def turned(self, rotation: np.ndarray) -> Sun:
        return dataclasses.replace(self, direction=rotation @ self.direction)


@dataclass(frozen=True)
class ToldShadow:
    """How a generated shadow differs from the traced one.

    turn: degrees about the vertical that the light is turned by to cast it. power: of the traced shadow, by colour.
    """

    turn: float
    power: tuple[float, float, float]


@dataclass(frozen=True)
class LightProbe:
    """Light as one camera sees it; radiance in units in which a white diffuse surface under constant 1 has shading 1.

    radiance: (62, 3) float32 mean radiance of the Voronoi cell of each RiCS direction, linear Rec.709, camera space.
    constant: (3,) shading that nothing hides.
    suns: an estimate has at most two.
    world_from_camera: (3, 3) rotation. Keeps the light in place when the camera turns.
    confidence: in [0, 1]. Of a fit: the share of the shading's weighted variance that the probe explains, times
        √(3 λ) with λ the smallest eigenvalue of the normals' second moments: 1 for a sphere, 0 where all normals lie
        in one plane and so leave a direction of light unseen. Of ProbeNet: `ProbeNet.confidence`. 1 for a probe that
        was not estimated.
    told_shadow: what networks have told of the shadow of several frames at once; None where they have not.
    spread: (62, 3), what of `radiance` is light of the suns that may stand elsewhere as well; None for nothing.
    """

    radiance: np.ndarray
    constant: np.ndarray
    suns: tuple[Sun, ...] = ()
    world_from_camera: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(3))
    confidence: float = 1.0
    told_shadow: ToldShadow | None = None
    spread: np.ndarray | None = None

    def shade(
        self, visibility: np.ndarray, normals: np.ndarray, sun_visibility: np.ndarray | None = None
    ) -> np.ndarray:
        """`formula.shade` by this light: (…, 62) and (…, 3) camera space → (…, 3) diffuse shading."""
        return formula.shade(self.radiance, self.constant, visibility, normals, self.suns, sun_visibility)

    def radiance_at(self, directions: np.ndarray) -> np.ndarray:
        """(…, 3) radiance of the cells, smoothly interpolated, in camera-space directions (…, 3); without suns."""
        return cell_shares(directions) @ self.radiance

    @property
    def gathered(self) -> LightProbe:
        """With all of the suns' light where they stand: it casts shadows as deep as those that the plate shows."""
        if self.spread is None or not self.suns:
            return self
        suns = tuple(dataclasses.replace(sun, irradiance=sun.irradiance * sun.whole, whole=1.0) for sun in self.suns)
        return dataclasses.replace(self, radiance=self.radiance - self.spread, suns=suns, spread=None)

    @property
    def light_vector(self) -> np.ndarray:
        """(3, 3) colour × axis: times n, the shading of a surface that faces n less that of one that faces −n."""
        cells = np.einsum("k,kc,kx->cx", SOLID_ANGLES, self.radiance, RICS_DIRECTIONS) / np.pi
        return cells + sum((np.outer(sun.irradiance, sun.direction) for sun in self.suns), np.zeros((3, 3)))

    @property
    def is_bright(self) -> bool:
        """Whether there is any light."""
        return bool(self.radiance.any() or self.constant.any() or any(sun.irradiance.any() for sun in self.suns))

    @property
    def strength(self) -> float:
        """Luminance by which shading facing the dominant direction exceeds shading facing away; 0 for even light."""
        return float(np.linalg.norm(LUMINANCE @ self.light_vector))

    @property
    def dominant_direction(self) -> np.ndarray:
        """(3,) unit, camera space, toward where most light comes from; +y where the light is even."""
        vector = LUMINANCE @ self.light_vector
        length = np.linalg.norm(vector)
        return vector / length if length > 1e-6 else np.array([0.0, 1.0, 0.0])

    @property
    def dominant_direction_world(self) -> np.ndarray:
        """(3,) unit, world space."""
        return self.world_from_camera @ self.dominant_direction

    def scaled(self, factor: float) -> LightProbe:
        """The same light, `factor` times as bright."""
        return dataclasses.replace(
            self,
            radiance=self.radiance * np.float32(factor),
            constant=self.constant * np.float32(factor),
            suns=tuple(dataclasses.replace(sun, irradiance=sun.irradiance * factor) for sun in self.suns),
            spread=None if self.spread is None else self.spread * np.float32(factor),
        )

    def with_half_angle(self, half_angle: float) -> LightProbe:
        """The same light, its suns as bright as they were and of this half-angle, radians."""
        suns = tuple(dataclasses.replace(sun, half_angle=half_angle) for sun in self.suns)
        return dataclasses.replace(self, suns=suns)

    def turned(self, angle: float) -> LightProbe:
        """The same light turned about the world's z axis by `angle`, radians, anticlockwise from above."""
        cos, sin = np.cos(angle), np.sin(angle)
        back = np.array([(cos, sin, 0), (-sin, cos, 0), (0, 0, 1)])
        seen = self.seen_from(back @ self.world_from_camera)  # as light turns, so it seems to a camera that turns back
        return dataclasses.replace(seen, world_from_camera=self.world_from_camera)

    def seen_from(self, world_from_camera: np.ndarray) -> LightProbe:
        """The same light in the axes of a camera with this (3, 3) or (4, 4) pose.

        Each new cell gets the mean of the old ones over its area, so even light stays even and energy is kept to 1 %;
        the picture blurs by up to a cell, suns turn exactly.
        """
        turn = np.asarray(world_from_camera)[:3, :3].T @ self.world_from_camera
        if np.allclose(turn, np.eye(3), atol=1e-6):
            return self
        samples = probe_fit.fibonacci_sphere(40_000)
        overlap = np.zeros((CELLS, CELLS))
        np.add.at(overlap, (nearest_cell(samples @ turn.T), nearest_cell(samples)), 1.0)
        overlap /= overlap.sum(1, keepdims=True)
        return dataclasses.replace(
            self,
            radiance=(overlap @ self.radiance).astype(np.float32),
            spread=None if self.spread is None else (overlap @ self.spread).astype(np.float32),
            suns=tuple(sun.turned(turn) for sun in self.suns),
            world_from_camera=np.array(world_from_camera, np.float64)[:3, :3],
        )

    @classmethod
    def from_environment(cls, image: np.ndarray, world_from_camera: np.ndarray, max_suns: int = 2) -> LightProbe:
        """The true probe of an equirectangular HDR image (H, W, 3), linear Rec.709, oriented as Blender's World has it.

        world_from_camera: (3, 3) or (4, 4). Small strong sources become suns; cells and suns together have the
        image's energy: Σ ω_k L_k + π Σ E = Σ pixels. Not-finite pixels count as black.
        """
        rotation = np.array(world_from_camera, np.float64)[:3, :3]
        rest = np.maximum(np.nan_to_num(image[..., :3].astype(np.float64), posinf=0.0), 0)
        suns = []
        for _ in range(max_suns):
            found = panorama.take_sun(rest)
            if found is None:
                break
            suns.append(Sun(*found).turned(rotation.T))
        radiance = panorama.cell_radiance(rest, rotation.T).astype(np.float32)
        return cls(radiance, np.zeros(3, np.float32), tuple(suns), rotation)

    def to_json(self) -> dict[str, Any]:
        """Numbers and lists; the dominant direction and the strength are for people to read."""
        suns = [
            {
                "direction": _list(sun.direction),
                "irradiance": _list(sun.irradiance),
                "half_angle": float(sun.half_angle),
                "whole": float(sun.whole),
            }
            for sun in self.suns
        ]
        return {
            "radiance": _list(self.radiance),
            "constant": _list(self.constant),
            "suns": suns,
            "world_from_camera": _list(self.world_from_camera),
            "confidence": float(self.confidence),
            "dominant_direction_world": _list(self.dominant_direction_world),
            "strength": self.strength,
            **({"told_shadow": dataclasses.asdict(self.told_shadow)} if self.told_shadow else {}),
            **({"spread": _list(self.spread)} if self.spread is not None else {}),
        }

    def save(self, path: Path) -> None:
        """Write JSON, atomically."""
        protocol.write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> LightProbe:
        """Read what `save` wrote. Raises PenumbraError where the file is no probe."""
        try:
            data = json.loads(Path(path).read_text("utf-8"))
            suns = tuple(
                Sun(
                    np.array(s["direction"]),
                    np.array(s["irradiance"]),
                    float(s["half_angle"]),
                    float(s.get("whole", 1.0)),
                )
                for s in data["suns"]
            )
            radiance = np.array(data["radiance"], np.float32).reshape(CELLS, 3)
            constant = np.array(data["constant"], np.float32).reshape(3)
            rotation = np.array(data["world_from_camera"], np.float64).reshape(3, 3)
            told = data.get("told_shadow")
            told = ToldShadow(float(told["turn"]), tuple(map(float, told["power"]))) if told else None
            spread = np.array(data["spread"], np.float32).reshape(CELLS, 3) if "spread" in data else None
            return cls(radiance, constant, suns, rotation, float(data["confidence"]), told, spread)
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise protocol.PenumbraError(
                f"The light probe {path} cannot be read.", "Harmonize the frame again."
            ) from problem


def fit(
    shading: np.ndarray,
    visibility: np.ndarray,
    normals: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    world_from_camera: np.ndarray | None = None,
    sun_visibility: SunVisibility | None = None,
    max_suns: int = 2,
) -> LightProbe:
    """The probe that explains a shading best, by robust least squares; no light in it is negative.

    shading: (…, 3) linear, π-normalised. normals: (…, 3) unit, camera space.
    visibility: (…, 62) in [0, 1], or RiCS bits (…) uint64.
    weights: (…) ≥ 0; points of weight 0, or of a not-finite shading, are left out. Default 1.
    world_from_camera: (3, 3) or (4, 4), kept with the probe; default the identity.
    sun_visibility: traces directions (K, 3), camera space, from all points (…): returns (N, K) in row-major order of
        the points. Without it no suns are looked for.
    Directions that no point sees get light that continues their neighbours'. Raises ValueError without any point.
    """
    flat_normals = normals.reshape(-1, 3).astype(np.float64)
    target = shading.reshape(-1, 3).astype(np.float64)
    if visibility.dtype == np.uint64:
        visibility = ~unpack_bits(visibility)
    weight = np.ones(len(target)) if weights is None else np.asarray(weights, np.float64).ravel()
    use = (weight > 0) & np.isfinite(target).all(1) & np.isfinite(flat_normals).all(1)
    if not use.any():
        raise ValueError("no point to fit light to")
    target, flat_normals, weight = target[use], flat_normals[use], weight[use]
    columns = probe_fit.design_matrix(visibility.reshape(-1, CELLS)[use], flat_normals)

    def visible(directions: np.ndarray) -> np.ndarray:
        assert sun_visibility is not None
        return sun_visibility(directions)[use]

    suns: list[tuple[np.ndarray, float]] = []
    solution = probe_fit.solve(columns, target, weight, iterations=1)
    for _ in range(max_suns if sun_visibility is not None else 0):
        found = _with_one_more_sun(columns, target, weight, solution, flat_normals, visible)
        if found is None:
            break
        columns, solution, sun = found
        suns.append(sun)
    solution = probe_fit.solve(columns, target, weight)
    rotation = np.eye(3) if world_from_camera is None else np.array(world_from_camera, np.float64)[:3, :3]
    return LightProbe(
        solution[:CELLS].astype(np.float32),
        solution[CELLS].astype(np.float32),
        tuple(Sun(d, solution[CELLS + 1 + i], a) for i, (d, a) in enumerate(suns)),
        rotation,
        fit_confidence(target, columns @ solution, weight, flat_normals),
    )


def _with_one_more_sun(
    columns: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    solution: np.ndarray,
    normals: np.ndarray,
    visible: SunVisibility,
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, float]] | None:
    """Columns, solution and the (direction, half-angle) of a sun more; None where no sun explains enough.

    Not robust: a rim that a low sun lights is few points, and what robust weights take for errors.
    """
    search = probe_fit.SunSearch(columns, target, weight, solution)
    direction = probe_fit.find_sun(search, normals, visible)
    half_angle = probe_fit.find_half_angle(search, direction, normals, visible)
    samples = probe_fit.disc(direction, half_angle, 12)
    column = probe_fit.sun_columns(samples, normals, visible).mean(1, keepdims=True)
    wider = np.concatenate([columns, column], 1)
    better = probe_fit.solve(wider, target, weight, iterations=1)
    before = probe_fit.squared_error(columns, solution, target, weight)
    after = probe_fit.squared_error(wider, better, target, weight)
    given = float((weight[:, None] * column * better[-1]).sum() / max((weight[:, None] * target).sum(), 1e-9))
    if after > (1 - probe_fit.SUN_GAIN) * before or given < probe_fit.SUN_SHARE:
        return None
    return wider, better, (direction, half_angle)


def fit_confidence(target: np.ndarray, explained: np.ndarray, weight: np.ndarray, normals: np.ndarray) -> float:
    """`LightProbe.confidence` of a fit to a shading (N, 3), explained so far, of points with weights (N,).

    A hundredth of the squared mean is added to the variance: even light can be certain too.
    """
    share = weight[:, None] / weight.sum()
    mean = (share * target).sum(0)
    variance = (share * (target - mean) ** 2).sum() + 0.01 * (mean**2).sum()
    fitted = 1 - (share * (target - explained) ** 2).sum() / max(variance, 1e-12)
    coverage = np.sqrt(np.clip(3 * np.linalg.eigvalsh((share * normals).T @ normals)[0], 0, 1))
    return float(np.clip(fitted, 0, 1) * coverage)


def settled(estimates: Sequence[LightProbe], numbers: Sequence[int], still: bool) -> list[LightProbe]:
    """The light of each frame, agreed between frames: one light for a plate that stands, else a moving average.

    Light belongs to the world, so frames are compared there and the camera may move.
    """
    if len(estimates) == 1:
        return list(estimates)
    result, at = [], np.array(numbers, float)
    for number, estimate in zip(numbers, estimates, strict=True):
        weight = np.array([e.confidence for e in estimates]) + 1e-3
        if not still:
            weight *= np.exp(-0.5 * ((at - number) / SMOOTHING) ** 2)
        near = np.flatnonzero(weight > 1e-2 * weight.max())
        result.append(mean([estimates[i] for i in near], weight[near], estimate.world_from_camera))
    return result


def mean(probes: Sequence[LightProbe], weights: Sequence[float], world_from_camera: np.ndarray) -> LightProbe:
    """The weighted mean of several frames' light, in world space, as a camera with this (3, 3) rotation sees it.

    Suns within 15° of each other are one. A sun that some frames lack counts as dark there; where more than two
    remain, the weakest become light of their cells.
    """
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    turned = [probe.seen_from(world_from_camera) for probe in probes]
    radiance = sum(s * p.radiance.astype(np.float64) for s, p in zip(shares, turned, strict=True))
    spread = [s * p.spread for s, p in zip(shares, turned, strict=True) if p.spread is not None]
    groups: list[list[tuple[float, Sun]]] = []
    for share, probe in zip(shares, turned, strict=True):
        for sun in probe.suns:
            for group in groups:
                if group[0][1].direction @ sun.direction > np.cos(SAME_SUN):
                    group.append((share, sun))
                    break
            else:
                groups.append([(share, sun)])
    suns = sorted((_mean_sun(group) for group in groups), key=lambda s: -float(LUMINANCE @ s.irradiance))
    for sun in suns[2:]:
        cell = nearest_cell(sun.direction)
        radiance[cell] += np.pi * sun.irradiance / SOLID_ANGLES[cell]
    return LightProbe(
        np.asarray(radiance, np.float32),
        np.asarray(sum(s * p.constant for s, p in zip(shares, turned, strict=True)), np.float32),
        tuple(suns[:2]),
        turned[0].world_from_camera,
        float(sum(s * p.confidence for s, p in zip(shares, turned, strict=True))),
        spread=np.asarray(sum(spread), np.float32) if spread else None,
    )


def _mean_sun(group: list[tuple[float, Sun]]) -> Sun:
    power = np.array([share * float(LUMINANCE @ sun.irradiance) + 1e-12 for share, sun in group])
    direction = sum(p * sun.direction for p, (_, sun) in zip(power, group, strict=True))
    irradiance = sum((share * sun.irradiance for share, sun in group), np.zeros(3))
    half_angle = float(sum(p * sun.half_angle for p, (_, sun) in zip(power, group, strict=True)) / power.sum())
    whole = float(sum(p * sun.whole for p, (_, sun) in zip(power, group, strict=True)) / power.sum())
    return Sun(direction / np.linalg.norm(direction), irradiance, half_angle, whole)


def _list(array: np.ndarray) -> list:
    return np.asarray(array, np.float64).tolist()
