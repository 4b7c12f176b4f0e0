# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures ShadingNet, the light probe and their rivals on test shards, by the design's measures and the paper's.

Every frame counts the same; within a frame the foreground pixels, weighted by coverage. SSIM, LPIPS and FVD look at the
character's display-encoded crop on black; SSIM counts on the character's pixels alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from ..images import srgb_encode
from ..shadow.metrics import ssim_map
from .dataset import Frame
from .methods import Estimate, Method, true_probe
from .perceptual import Fvd, Lpips
from .probe import LightProbe

BRIGHTEST = 4.0  # linear shading is clipped here
EVEN = 0.05  # strength over mean shading under which light has no direction worth measuring
ASIDE = 0.3  # sine of the angle to the camera's vertical plane, from which on a light comes from a side
METRICS = (
    *("rgb_mse", "ssim", "lpips", "fvd", "temporal_mse", "shading_mse", "shading_mse_scaled"),
    *("direction_error", "side", "shadow_error"),
)


@dataclass(frozen=True)
class Perceptual:
    """Measures by networks whose weights the user has given."""

    lpips: Lpips | None = None
    fvd: Fvd | None = None


def measure(estimate: np.ndarray, true: np.ndarray, albedo: np.ndarray, alpha: np.ndarray) -> dict[str, float]:
    """The design's shading errors of one frame: (P, 3) linear estimate, truth and albedo, (P,) coverage."""
    weight = (alpha / (3 * alpha.sum()))[:, None]

    def mse(a: np.ndarray, b: np.ndarray) -> float:
        return float((weight * (a - b) ** 2).sum())

    clipped = np.clip(true, 0, BRIGHTEST)
    plain = np.clip(estimate, 0, BRIGHTEST)
    scale = float((weight * plain * clipped).sum() / max((weight * plain * plain).sum(), 1e-12))
    return {
        "rgb_mse": mse(displayed(estimate, albedo), displayed(true, albedo)),
        "shading_mse": mse(plain, clipped),
        "shading_mse_scaled": mse(np.clip(scale * plain, 0, BRIGHTEST), clipped),
    }


def displayed(shading: np.ndarray, albedo: np.ndarray) -> np.ndarray:
    """Display-encoded, clipped shading × albedo."""
    return srgb_encode(np.clip(shading * albedo, 0, 1))


def similarity(a: np.ndarray, b: np.ndarray, alpha: np.ndarray) -> float:
    """SSIM (Wang et al. 2004) of two pictures (H, W, 3) in [0, 1], its mean over coverage (H, W)."""
    similar = ssim_map(a.astype(np.float64), b.astype(np.float64)).mean(-1)
    return float((similar * alpha).sum() / alpha.sum())


def temporal_mse(wrong: np.ndarray, before: np.ndarray, common: np.ndarray) -> float:
    """How the change from one frame to the next differs from the true change, squared.

    wrong, before: (H, W, 3) estimate minus truth of the two frames' crops; the difference of their changes is the
    change of their differences. common: (H, W) coverage in both.
    """
    return float(((wrong - before) ** 2).mean(-1)[common > 0] @ common[common > 0] / max(common.sum(), 1e-9))


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


def evaluate(
    frames: Iterable[Frame], methods: dict[str, Method], split: str, perceptual: Perceptual | None = None
) -> list[dict]:
    """One row of means a method; see `means`. Frames that follow each other are a film, and measured as one."""
    perceptual = perceptual or Perceptual()
    rows: list[dict] = []
    films = Films(keep=perceptual.fvd is not None)
    for frame in tqdm([frame for frame in frames if len(frame.pixels)], unit="frame"):
        for light in range(len(frame.plates)):
            truth = Shown.of(frame, displayed(frame.shading[light].astype(np.float32), frame.albedo.astype(np.float32)))
            for name, method in methods.items():
                estimate = method(frame, light)
                shown = Shown.of(frame, picture_of(estimate, frame))
                errors = _errors(estimate, frame, light) | {
                    "ssim": similarity(shown.picture, truth.picture, truth.alpha)
                }
                if perceptual.lpips:
                    errors["lpips"] = perceptual.lpips.distance(shown.picture, truth.picture)
                rows.append({"method": name, **errors, **films.add(name, light, frame, shown, truth)})
    result = means(rows, split)
    for row in result:
        distance = perceptual.fvd.distance(*films.pairs(row["method"])) if perceptual.fvd else None
        if distance is not None:
            row["fvd"] = distance
    return result


def picture_of(estimate: Estimate, frame: Frame) -> np.ndarray:
    """(P, 3) display-encoded colours that an estimate gives a frame's foreground."""
    if estimate.colour is not None:
        return estimate.colour
    assert estimate.shading is not None
    return displayed(estimate.shading, frame.albedo.astype(np.float32))


def _errors(estimate: Estimate, frame: Frame, light: int) -> dict[str, float]:
    """The pixels' errors, and the direction's where one is told."""
    true, albedo = frame.shading[light].astype(np.float32), frame.albedo.astype(np.float32)
    alpha = frame.alpha.astype(np.float32)
    if estimate.shading is not None:
        errors = measure(estimate.shading, true, albedo, alpha)
    else:
        square = (picture_of(estimate, frame) - displayed(true, albedo)) ** 2
        errors = {"rgb_mse": float(square.mean(1) @ alpha / alpha.sum())}
    if estimate.direction is not None:
        errors |= direction_errors(estimate.direction, true_probe(frame, light))
    return errors


@dataclass(frozen=True)
class Shown:
    """A frame's crop as measures of pictures see it: picture (128, 128, 3) on black, alpha (128, 128)."""

    picture: np.ndarray
    alpha: np.ndarray

    @classmethod
    def of(cls, frame: Frame, colours: np.ndarray) -> Shown:
        """colours: (P, 3) display-encoded."""
        alpha = frame.alpha.astype(np.float32)[:, None] / 255
        return cls(frame.image(colours.astype(np.float32) * alpha), frame.image(alpha[:, 0]))

    def eight_bits(self) -> np.ndarray:
        return np.round(self.picture * 255).astype(np.uint8)


class Films:
    """What methods have shown of films, frame after frame, and the truth beside it."""

    def __init__(self, keep: bool) -> None:
        """keep: the pictures of whole films, 8 bits, for `pairs`; otherwise only the last frame's."""
        self._keep = keep
        self._last: dict[tuple[str, int], tuple[Frame, Shown, Shown]] = {}
        self._films: dict[tuple[str, int], list[list[tuple[np.ndarray, np.ndarray]]]] = {}

    def add(self, method: str, light: int, frame: Frame, shown: Shown, truth: Shown) -> dict[str, float]:
        """The temporal error of a frame that follows the one before; {} of others."""
        key = method, light
        before, self._last[key] = self._last.get(key), (frame, shown, truth)
        goes_on = before is not None and frame.follows(before[0])
        if self._keep:
            films = self._films.setdefault(key, [])
            if not goes_on:
                films.append([])
            films[-1].append((shown.eight_bits(), truth.eight_bits()))
        if before is None or not goes_on:
            return {}
        _, shown_before, true_before = before
        wrong, wrong_before = shown.picture - truth.picture, shown_before.picture - true_before.picture
        return {"temporal_mse": temporal_mse(wrong, wrong_before, np.minimum(truth.alpha, true_before.alpha))}

    def pairs(self, method: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """A method's films (T, 128, 128, 3) in [0, 1], and the true ones; single frames are none."""
        films = [film for (name, _), found in self._films.items() if name == method for film in found if len(film) > 1]
        mine, true = ([np.stack([pair[k] for pair in film]) / 255 for film in films] for k in (0, 1))
        return mine, true


def means(rows: list[dict], split: str) -> list[dict]:
    """The rows of single images, as one row a method: {"method", "split", "images", *METRICS}.

    direction_error is the median, in degrees; fvd is of all films together. A metric that a method does not define is
    absent from its row.
    """
    result = []
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        result.append({"method": method, "split": split, "images": len(mine)})
        for metric in METRICS:
            if values := [row[metric] for row in mine if metric in row]:
                result[-1][metric] = float(np.median(values) if metric == "direction_error" else np.mean(values))
    return result


def over_seeds(rows: list[dict], labels: dict[str, str]) -> list[dict]:
    """One row for all methods of one label, in a split: means over seeds, and half their range as ``<metric>_spread``.

    labels: of methods that differ in their seeds alone.
    """
    result: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        result.setdefault((row["split"], labels.get(row["method"], row["method"])), []).append(row)
    return [_over_seeds(label, mine) for (_, label), mine in result.items()]


def _over_seeds(label: str, rows: list[dict]) -> dict:
    merged = {**rows[0], "method": label}
    if len(rows) > 1:
        merged["seeds"] = len(rows)
        for metric in (m for m in METRICS if all(m in row for row in rows)):
            values = [row[metric] for row in rows]
            merged |= {metric: float(np.mean(values)), f"{metric}_spread": float(np.ptp(values)) / 2}
    return merged


def _thousandths(error: float) -> str:
    return f"{1000 * error:.2f}"


# Of a table: a metric's title, and how its figures are written.
_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "rgb_mse": ("RGB MSE ×10³", _thousandths),
    "ssim": ("SSIM ×10", lambda share: f"{10 * share:.2f}"),
    "lpips": ("LPIPS ×10²", lambda distance: f"{100 * distance:.2f}"),
    "fvd": ("FVD ×10⁻¹", lambda distance: f"{distance / 10:.2f}"),
    "temporal_mse": ("temporal MSE ×10³", _thousandths),
    "shading_mse": ("shading MSE ×10³", _thousandths),
    "shading_mse_scaled": ("after one scale ×10³", _thousandths),
    "direction_error": ("light direction", lambda degrees: f"{degrees:.0f}°"),
    "side": ("right side", lambda share: f"{share:.0%}"),
    "shadow_error": ("shadow ×10³", _thousandths),
}


def results_table(rows: list[dict], shown: Collection[str] = ()) -> str:
    """The rows as a Markdown table. Columns of which no row has a figure are left out, but for those of `shown`.

    What several seeds have given is written as mean ± half the range.
    """
    columns = {m: column for m, column in _COLUMNS.items() if m in shown or any(m in row for row in rows)}
    lines = [f"| method | {' | '.join(head for head, _ in columns.values())} |", f"|---{'|---:' * len(columns)}|"]
    for row in rows:
        cells = [_cell(row, metric, written) for metric, (_, written) in columns.items()]
        lines.append(f"| {row['method']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: dict, metric: str, written: Callable[[float], str]) -> str:
    if metric not in row:
        return ""
    spread = row.get(f"{metric}_spread")
    return written(row[metric]) if spread is None else f"{written(row[metric])} ± {written(spread)}"
