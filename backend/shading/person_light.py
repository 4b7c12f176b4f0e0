# SPDX-License-Identifier: GPL-3.0-or-later
"""The light of a plate from somebody who is in it: a probe fitted to a person's pixels, their albedo unknown.

Where a mesh stands over the person, normals and visibility are known. A pixel's colour y is the albedo a of its piece
of clothing or skin times shading: S(L) by the light L, and B, which the person's own surfaces throw back and which the
picture itself shows. With b = 1/a the equation y·b − S(L) = B is linear in light and albedo together: one non-negative
least squares finds both, as many pixels share one b and see the light from many sides. What it cannot tell is the light
of directions that nothing faces, and its level: those lean on ProbeNet's estimate, the level on what albedos are usual.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

from ..protocol import CHARACTER, HOLDOUT, RECEIVER, Camera, Mesh, PenumbraError
from ..rays import rics
from ..rays.camera import crop_camera
from ..rays.scene import RayScene
from . import probe_fit, visibility
from .bounce import Surroundings, bounced, hidden_share
from .crop import crop, crop_box
from .panorama import LUMINANCE
from .probe import CELLS, LightProbe, Sun
from .probe_fit import SunSearch

SIDE = 192
INSET = 0.01  # of the person's longer side: outlines of mesh and photograph differ by about so much
PIECES = 10
HUE, HEIGHT, BRIGHT = 3.0, 1.0, 0.5
CLIPPED = 0.98  # of a photograph's channel: how bright it was is not known
NOISE = 0.015  # radiance under which a photograph's shadows tell little
MOST = 1500
LEAST = 150  # points in which light can be told
TURNS = 2
STEPS, SHIFT = 5, 2.0
PRIOR, SMOOTHNESS = 3e-3, 1e-2  # weights over the mean evidence of a cell
PIN = 10.0
SUN_GAIN, SUN_SHARE = 0.15, 0.05
USUAL, USUAL_SPREAD = np.log(0.13), 0.58  # log luminance of a person's mean albedo, and its standard deviation
PRIOR_SPREAD = 0.6  # standard deviation of ProbeNet's log level


@dataclass(frozen=True)
class Seen:
    """What a plate shows of a person: N points, row-major.

    colour: (N, 3) linear. normals: (N, 3) unit, camera space. cells: (N, 62) visibility. weight: (N,), of sum 1.
    bounced: (N, 3) radiance that surfaces of the person throw at the point, π-normalised. height: (N,) 0 top, 1 bottom.
    """

    colour: np.ndarray
    normals: np.ndarray
    cells: np.ndarray
    weight: np.ndarray
    bounced: np.ndarray
    height: np.ndarray
    surface: rics.SurfaceMap
    scene: RayScene

    def sees(self, directions: np.ndarray) -> np.ndarray:
        """(N, K) which points light from directions (K, 3) reaches."""
        return rics.light_visibility(self.scene, self.surface, directions)

    @classmethod
    def of(cls, plate: np.ndarray, camera: Camera, meshes: list[Mesh], mask: np.ndarray | None = None) -> Seen:
        """plate: (H, W, 3) linear. meshes: camera space, the person's of role CHARACTER. mask: (H, W) the person's."""
        scene = RayScene(meshes)
        whole = rics._visible_surface(scene, camera).valid
        box = crop_box(whole)
        if box is None:
            raise ValueError("nobody")
        surface = rics.trace(scene, crop_camera(camera, box, (SIDE, SIDE)))
        inside = surface.valid.astype(np.uint8)
        if mask is not None:
            inside &= (crop(mask, box, size=SIDE) > 0.5).astype(np.uint8)
        reach = max(1, round(INSET * SIDE))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        inside = cv2.erode(inside, disc, borderValue=1)
        picture = crop(plate, box, size=SIDE)
        clipped = crop((plate.max(-1) >= CLIPPED).astype(np.float32), box, size=SIDE) > 0.1
        valid = surface.valid
        use = (inside.astype(bool) & ~clipped)[valid]
        if use.sum() < LEAST:
            raise ValueError("too few")
        chosen = np.flatnonzero(use)
        if len(chosen) > MOST:
            use[np.setdiff1d(chosen, np.random.default_rng(0).choice(chosen, MOST, replace=False))] = False
        normals = surface.normal[valid]
        cells = visibility.cell_visibility(scene, surface).astype(np.float32)
        around = Surroundings(np.flatnonzero(valid), SIDE)
        own = bounced(np.ones((len(normals), 3), np.float32), picture[valid], hidden_share(cells, normals), around)
        colour = np.maximum(picture[valid], 1e-4)[use]
        light = colour @ LUMINANCE
        weight = light**2 / (light**2 + NOISE**2)
        rows = np.nonzero(valid)[0]
        height = (rows - rows.min()) / max(rows.max() - rows.min(), 1)
        kept = valid.copy()
        kept[valid] = use
        surface = dataclasses.replace(surface, valid=kept)
        return cls(colour, normals[use], cells[use], weight / weight.sum(), own[use], height[use], surface, scene)


@dataclass(frozen=True)
class _Model:
    """What a fit is made of.

    columns: (N, 62 + S) of the cells and suns. prior: (62, 3) radiance that the cells lean on. piece: (N,) the points'
    pieces. level: (3,) the mean shading.
    """

    columns: np.ndarray
    prior: np.ndarray
    piece: np.ndarray
    level: np.ndarray


@dataclass(frozen=True)
class _Solved:
    """light: (62 + S, 3). albedo: (K, 3) of the pieces. weight: (N,) robust. error: of the explanation, squared.

    parts: by channel, columns, target, quadratic prior and solution of the last least squares.
    """

    light: np.ndarray
    albedo: np.ndarray
    weight: np.ndarray
    error: float
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


def fit(seen: Seen, spread: np.ndarray, beside: np.ndarray, world_from_camera: np.ndarray) -> LightProbe:
    """The light on a person.

    spread: (62, 3) ProbeNet's radiance, with its sun spread over the cells; beside: without its sun.
    """
    sky = probe_fit.design_matrix(seen.cells, seen.normals)[:, :CELLS]
    first = seen.weight @ (sky @ spread)
    gain, lit = 1.0, None
    for _ in range(TURNS):
        piece = _pieces(seen, lit)
        model = _Model(sky, gain * spread, piece, gain * first)
        solved = _solve(model, seen)
        lit = model.columns @ solved.light
        gain = _gain(gain * solved.albedo[piece], seen.weight)
    suns: list[tuple[np.ndarray, float]] = []
    model = dataclasses.replace(model, prior=gain * spread, level=gain * first)
    solved = soft = _solve(model, seen)
    model = dataclasses.replace(model, prior=gain * beside)
    hard = _solve(model, seen)
    for _ in range(2):
        model, hard, sun = _one_more_sun(model, hard, seen)
        given = seen.weight @ model.columns[:, -1] * (hard.light[-1] @ LUMINANCE) / (model.level @ LUMINANCE)
        if VERBOSE: print('sun', sun, hard.error/solved.error, given)
        if hard.error > (1 - SUN_GAIN) * solved.error or given < SUN_SHARE:
            break
        suns.append(sun)
        solved = hard
    radiance = solved.light[:CELLS].astype(np.float32)
    made = tuple(Sun(d, solved.light[CELLS + i], a) for i, (d, a) in enumerate(suns))
    return LightProbe(radiance, np.zeros(3, np.float32), made, np.asarray(world_from_camera)[:3, :3], 1.0)

VERBOSE = False

def _gain(albedo: np.ndarray, weight: np.ndarray) -> float:
    """Over ProbeNet's level, of albedos (N, 3) by that level."""
    mean = float(weight @ np.log(np.maximum(albedo @ LUMINANCE, 1e-4)))
    trust = PRIOR_SPREAD**2 / (PRIOR_SPREAD**2 + USUAL_SPREAD**2)
    return float(np.exp(trust * (mean - USUAL)))


def _solve(model: _Model, seen: Seen, weight: np.ndarray | None = None) -> _Solved:
    """Light and albedo by Gauss-Newton steps on the albedo's logarithm; the first step is linear in its inverse.

    weight: robust ones to keep.
    """
    lights, pieces = model.columns.shape[1], int(model.piece.max()) + 1
    own = np.zeros((len(seen.weight), pieces))
    own[np.arange(len(own)), model.piece] = 1
    mean = seen.weight @ model.columns
    evidence = (seen.weight @ model.columns[:, :CELLS] ** 2).mean()
    lean = evidence * (PRIOR * np.eye(CELLS) + SMOOTHNESS * probe_fit.roughness())
    fixed, weight = weight is not None, seen.weight if weight is None else weight
    albedo = np.empty((pieces, 3))
    x = np.empty((lights + pieces, 3))
    for step in range(STEPS):
        parts = []
        for c in range(3):
            quadratic, linear = np.zeros((lights + pieces,) * 2), np.zeros(lights + pieces)
            quadratic[:CELLS, :CELLS] += lean
            linear[:CELLS] += lean @ model.prior[:, c]
            quadratic[:lights, :lights] += PIN * np.outer(mean, mean)
            linear[:lights] += PIN * mean * model.level[c]
            if step == 0:
                columns = np.concatenate([model.columns, -own * seen.colour[:, c : c + 1]], 1)
                target = -seen.bounced[:, c]
                quadratic[range(lights, lights + pieces), range(lights, lights + pieces)] += 1e-9
            else:
                bright = model.columns @ x[:lights, c] + seen.bounced[:, c]
                columns = np.concatenate([model.columns, own * bright[:, None]], 1)
                target = seen.colour[:, c] / albedo[model.piece, c] - seen.bounced[:, c] + SHIFT * bright
                damp = 1e-3 * (weight @ own) * model.level[c] ** 2 + 1e-9
                quadratic[range(lights, lights + pieces), range(lights, lights + pieces)] += damp
                linear[lights:] += damp * SHIFT
            factor = cholesky(columns.T @ (columns * weight[:, None]) + quadratic)
            right = columns.T @ (weight * target) + linear
            x[:, c] = nnls(factor, solve_triangular(factor, right, trans="T"), maxiter=2000)[0]
            parts.append((columns, target, quadratic, x[:, c].copy()))
        residual = np.stack([target - columns @ v for columns, target, _, v in parts], 1)
        if step == 0:
            albedo = 1 / np.maximum(x[lights:], 0.5)
        else:
            albedo = albedo * np.exp(np.clip(x[lights:] - SHIFT, -1, 1))
        size = np.linalg.norm(residual, axis=1)
        if step < STEPS - 1 and not fixed:
            scale = 1.4826 * np.median(size)
            weight = seen.weight * np.minimum(1, 1.5 * scale / np.maximum(size, 1e-9))
    error = float((weight[:, None] * residual**2).sum() / weight.sum())
    return _Solved(x[:lights].copy(), albedo, weight, error, parts)


class _Search:
    """`probe_fit.SunSearch` over channels whose columns differ."""

    def __init__(self, solved: _Solved) -> None:
        self.parts = [
            SunSearch(columns, target[:, None], solved.weight, x[:, None], quadratic)
            for columns, target, quadratic, x in solved.parts
        ]

    def gain(self, candidates: np.ndarray) -> np.ndarray:
        return sum((part.gain(candidates) for part in self.parts), np.zeros(candidates.shape[1]))


def _one_more_sun(
    model: _Model, solved: _Solved, seen: Seen
) -> tuple[_Model, _Solved, tuple[np.ndarray, float]]:
    search = _Search(solved)
    direction = probe_fit.find_sun(search, seen.normals, seen.sees)
    half_angle = probe_fit.find_half_angle(search, direction, seen.normals, seen.sees)
    column = probe_fit.sun_columns(probe_fit.disc(direction, half_angle, 12), seen.normals, seen.sees).mean(1)
    wider = dataclasses.replace(model, columns=np.concatenate([model.columns, column[:, None]], 1))
    return wider, _solve(wider, seen), (direction, half_angle)


def _pieces(seen: Seen, lit: np.ndarray | None = None) -> np.ndarray:
    log = np.log(seen.colour)
    hue = log[:, [0, 2]] - log[:, 1:2]
    features = [HUE * hue, HEIGHT * seen.height[:, None]]
    if lit is not None:
        albedo = (seen.colour @ LUMINANCE) / np.maximum((lit + seen.bounced) @ LUMINANCE, 1e-4)
        features.append(BRIGHT * np.log(albedo)[:, None])
    cv2.setRNGSeed(0)
    ends = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 30, 1e-3)
    data = np.float32(np.concatenate(features, 1))
    _, which, _ = cv2.kmeans(data, PIECES, None, ends, 3, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return np.unique(which[:, 0], return_inverse=True)[1]
