# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures ShadingNet, the light probe and their rivals on test shards, by the design's measures.

Every frame counts the same; within a frame the foreground pixels, weighted by coverage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from ..images import srgb_decode, srgb_encode
from ..rays.directions import cell_shares, unpack_bits
from . import probe as probes
from .baselines import fit_harmonics, plate_directions, shade_harmonics
from .bounce import bounced_in
from .crop import CROP
from .dataset import Frame
from .network import ShadingNet
from .probe import LightProbe, Sun
from .probe_network import ProbeNet

BRIGHTEST = 4.0  # linear shading is clipped here
EVEN = 0.05  # strength over mean shading under which light has no direction worth measuring
ASIDE = 0.3  # sine of the angle to the camera's vertical plane, from which on a light comes from a side
METRICS = ("rgb_mse", "shading_mse", "shading_mse_scaled", "direction_error", "side", "shadow_error")


@dataclass(frozen=True)
class Estimate:
    """shading: (P, 3) of a frame's foreground. direction: (3,) camera space, where most light comes from, if known."""

    shading: np.ndarray
    direction: np.ndarray | None = None


Method = Callable[[Frame, int], Estimate]
"""Shading of a frame under one of its lights, of which it may look at the plate only."""


def measure(estimate: np.ndarray, true: np.ndarray, albedo: np.ndarray, alpha: np.ndarray) -> dict[str, float]:
    """The design's shading errors of one frame: (P, 3) linear estimate, truth and albedo, (P,) coverage."""
    weight = (alpha / (3 * alpha.sum()))[:, None]

    def mse(a: np.ndarray, b: np.ndarray) -> float:
        return float((weight * (a - b) ** 2).sum())

    def display(shading: np.ndarray) -> np.ndarray:
        return srgb_encode(np.clip(shading * albedo, 0, 1))

    clipped = np.clip(true, 0, BRIGHTEST)
    plain = np.clip(estimate, 0, BRIGHTEST)
    scale = float((weight * plain * clipped).sum() / max((weight * plain * plain).sum(), 1e-12))
    return {
        "rgb_mse": mse(display(estimate), display(true)),
        "shading_mse": mse(plain, clipped),
        "shading_mse_scaled": mse(np.clip(scale * plain, 0, BRIGHTEST), clipped),
    }


def true_probe(frame: Frame, light: int) -> LightProbe:
    """The light that a frame was rendered with, in camera space."""
    suns = tuple(Sun(s[:3], s[3:6], float(s[6])) for s in frame.suns[light].astype(np.float64) if s[3:6].any())
    return LightProbe(frame.radiance[light], np.zeros(3, np.float32), suns, frame.world_from_camera[:3, :3])


def direction_errors(estimate: np.ndarray, truth: LightProbe) -> dict[str, float]:
    """How an estimate (3,) differs from the true dominant direction; {} where the true light is nearly even.

    direction_error: degrees between them. side: 1 where both are left, or both right, of the camera's vertical plane,
    0 where not; absent where the light comes from no side.
    """
    mean = float(np.mean(truth.radiance)) + sum(float(np.mean(s.irradiance)) for s in truth.suns)
    if truth.strength < EVEN * max(mean, 1e-9):
        return {}
    true = truth.dominant_direction
    errors = {"direction_error": float(np.degrees(np.arccos(np.clip(true @ estimate, -1, 1))))}
    return errors if abs(true[0]) < ASIDE else {**errors, "side": float(true[0] * estimate[0] > 0)}


def sun_visibility(bits: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What RiCS (P,) uint64 tells of suns, for shards hold no meshes: (K, 3) directions → (P, K) smoothly in [0, 1]."""
    visible = ~unpack_bits(bits)

    def visibility(directions: np.ndarray) -> np.ndarray:
        return visible.astype(np.float32) @ cell_shares(directions).T

    return visibility


def by_probe(probe: LightProbe, frame: Frame) -> Estimate:
    """A probe's shading of a frame, with what the person throws on itself, and the probe's dominant direction."""
    visible, normals = ~unpack_bits(frame.bits), frame.normal.astype(np.float32)
    suns = np.array([sun.direction for sun in probe.suns]).reshape(-1, 3)
    shading = probe.shade(visible, normals, sun_visibility(frame.bits)(suns))
    return Estimate(shading + _bounced(frame, shading, visible), probe.dominant_direction)


def _bounced(frame: Frame, shading: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """(P, 3) what the person throws on itself, lit by a shading (P, 3). visible: (P, 62) bool."""
    albedo, normals = frame.albedo.astype(np.float32), frame.normal.astype(np.float32)
    return bounced_in(shading, albedo, visible, normals, frame.pixels, CROP)


def no_harmonization(frame: Frame, light: int) -> Estimate:
    """The albedo as it is."""
    return Estimate(np.ones_like(frame.albedo, np.float32))


def constant(frame: Frame, light: int) -> Estimate:
    """The plate's mean colour."""
    mean = srgb_decode(frame.plates[light].astype(np.float32) / 255).mean((0, 1))
    return Estimate(np.broadcast_to(mean, frame.albedo.shape))


def nine_harmonics(frame: Frame, light: int) -> Estimate:
    """Nine spherical harmonics fitted to the plate."""
    directions = plate_directions(frame.projection, frame.box)
    coefficients = fit_harmonics(frame.plates[light].astype(np.float32) / 255, directions)
    vector = np.array([0.2126, 0.7152, 0.0722]) @ coefficients[1:4].T
    length = np.linalg.norm(vector)
    shading = shade_harmonics(coefficients, frame.normal.astype(np.float32))
    return Estimate(shading, vector / length if length > 1e-6 else np.array([0.0, 1.0, 0.0]))


def true_light(frame: Frame, light: int) -> Estimate:
    """The probe with the true light: what a probe can reach."""
    return by_probe(true_probe(frame, light), frame)


def by_network(network: ShadingNet) -> Method:
    """A ShadingNet's shading."""

    def estimate(frame: Frame, light: int) -> Estimate:
        return Estimate(_predict(network, frame, light)[frame.pixels])

    return estimate


def by_fitted_probe(network: ShadingNet) -> Method:
    """The probe that is fitted to a ShadingNet's shading."""

    def estimate(frame: Frame, light: int) -> Estimate:
        shading = _predict(network, frame, light)[frame.pixels]
        direct = shading - _bounced(frame, shading, ~unpack_bits(frame.bits))
        fitted = probes.fit(direct, frame.bits, frame.normal, frame.alpha, sun_visibility=sun_visibility(frame.bits))
        return by_probe(fitted, frame)

    return estimate


def by_probenet(network: ProbeNet, suns: bool = True) -> Method:
    """The light that ProbeNet reads off the plate. suns: see `probe_network.to_probe`."""

    def estimate(frame: Frame, light: int) -> Estimate:
        return by_probe(network.predict(frame.plates[light].astype(np.float32) / 255, suns=suns), frame)

    return estimate


def _predict(network: ShadingNet, frame: Frame, light: int) -> np.ndarray:
    """(128·128, 3) shading."""
    images = (frame.image(a) for a in (frame.albedo, frame.normal, frame.bits, frame.alpha))
    return network.predict(frame.plates[light].astype(np.float32) / 255, *images, frame.box).reshape(-1, 3)


def evaluate(frames: Iterable[Frame], methods: dict[str, Method], split: str) -> list[dict]:
    """One row of means a method; see `means`."""
    rows = []
    for frame in tqdm(list(frames), unit="frame"):
        if not len(frame.pixels):
            continue
        albedo, alpha = frame.albedo.astype(np.float32), frame.alpha.astype(np.float32)
        for light in range(len(frame.plates)):
            truth, shading = true_probe(frame, light), frame.shading[light].astype(np.float32)
            for name, method in methods.items():
                estimate = method(frame, light)
                errors = measure(estimate.shading, shading, albedo, alpha)
                if estimate.direction is not None:
                    errors |= direction_errors(estimate.direction, truth)
                rows.append({"method": name, **errors})
    return means(rows, split)


def means(rows: list[dict], split: str) -> list[dict]:
    """The rows of single images, as one row a method: {"method", "split", "images", *METRICS}.

    direction_error is the median, in degrees. A metric that a method does not define is absent from its row.
    """
    result = []
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        result.append({"method": method, "split": split, "images": len(mine)})
        for metric in METRICS:
            if values := [row[metric] for row in mine if metric in row]:
                result[-1][metric] = float(np.median(values) if metric == "direction_error" else np.mean(values))
    return result


# Of a table: a metric's title, and how its figures are written.
_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "rgb_mse": ("RGB MSE ×10³", lambda error: f"{1000 * error:.2f}"),
    "shading_mse": ("shading MSE ×10³", lambda error: f"{1000 * error:.2f}"),
    "shading_mse_scaled": ("after one scale ×10³", lambda error: f"{1000 * error:.2f}"),
    "direction_error": ("light direction", lambda degrees: f"{degrees:.0f}°"),
    "side": ("right side", lambda share: f"{share:.0%}"),
    "shadow_error": ("shadow ×10³", lambda error: f"{1000 * error:.2f}"),
}


def results_table(rows: list[dict]) -> str:
    """The rows as a Markdown table; columns of which no row has a figure are left out."""
    columns = {metric: column for metric, column in _COLUMNS.items() if any(metric in row for row in rows)}
    lines = [f"| method | {' | '.join(head for head, _ in columns.values())} |", f"|---{'|---:' * len(columns)}|"]
    for row in rows:
        cells = [written(row[metric]) if metric in row else "" for metric, (_, written) in columns.items()]
        lines.append(f"| {row['method']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
