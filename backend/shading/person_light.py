# SPDX-License-Identifier: GPL-3.0-or-later
"""The light of a plate from somebody who is in it: a probe fitted to a person's pixels, their albedo unknown.

Where a mesh stands over the person, normals and visibility are known. A pixel's colour is the albedo of its piece, of
clothing or skin, times shading: S(L) by the light L, and what the person's own surfaces throw back, which the picture
shows. All pixels of a piece share one albedo and face many ways, so one non-negative least squares finds light and
albedo together. What it cannot tell, the light that nothing faces, leans on ProbeNet's estimate of the plate, and the
level on that and on what albedos are usual.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

from ..body import detect
from ..images import srgb_encode
from ..protocol import CHARACTER, HOLDOUT, RECEIVER, Camera, Mesh, PenumbraError
from ..rays import rics
from ..rays.camera import crop_camera, pixel_centres, primary_rays, project
from ..rays.scene import RayScene
from . import probe_fit, visibility
from .bounce import Surroundings, bounced, hidden_share
from .crop import crop, square
from .panorama import LUMINANCE
from .probe import CELLS, LightProbe, Sun, fit_confidence
from .probe_fit import SunSearch
from .probe_network import ProbeNet, to_probe
from .views import View

SIDE = 192  # pixels of the person's square
INSET = 0.01  # of that side; outlines of mesh and photograph differ by about so much
REACH, NEAR = 10, 12.0  # of its pixels: how far the person is looked for beside the mesh
SAME = 0.4  # overlap (intersection over union) of a person who is found with the mesh
CLIPPED = 0.98  # of a photograph's channel: how bright it was is not known
NOISE = 0.015  # radiance under which a photograph's shadows tell little
LEAST, MOST = 150, 1500  # points
PIECES = 10
HUE, HEIGHT, BRIGHT = 3.0, 1.0, 0.5  # how much log hue, height in the picture and log albedo part pieces
TURNS, STEPS = 2, 5
SHIFT = 2.0  # non-negative unknowns stand for changes of log albedo from −SHIFT on
PRIOR, SMOOTHNESS = 5e-2, 1e-2  # weights of ProbeNet and of smoothness over the mean evidence of a cell
PIN, DAMP = 10.0, 1e-3  # weights of the level and of small steps of the albedo
SUN_GAIN, SUN_SHARE = 0.05, 0.05  # a sun explains this share of the error more, and gives this share of the light
# Means and standard deviations of log luminance: of the albedo of the training split's people, and of ProbeNet's level.
USUAL, USUAL_SPREAD, LEVEL_SPREAD = np.log(0.13), 0.58, 0.6


def estimate(network: ProbeNet, view: View, names: tuple[str, ...]) -> LightProbe:
    """The light of a view's plate on the person over whom the meshes of these names stand.

    Raises PenumbraError where too little of the person is seen.
    """
    meshes = [dataclasses.replace(mesh, role=CHARACTER) for mesh in view.scene.meshes if mesh.name in names]
    if not meshes:
        raise PenumbraError(
            f"The mesh that stands for the person is not rendered at frame {view.frame.number}.",
            "Show it in renders, and let it cast shadows.",
        )
    meshes += [mesh for mesh in view.scene.meshes if mesh.role in (RECEIVER, HOLDOUT) and mesh.name not in names]
    seen = Seen.of(view.plate, view.camera, meshes, find_people=True)
    if seen is None:
        raise PenumbraError(
            f"The plate shows too little of the person at frame {view.frame.number}.",
            "Put the mesh over the person, closer to the camera, or take the light from the plate.",
        )
    return fit_to_plate(network, seen, view.plate, view.camera)


def fit_to_plate(network: ProbeNet, seen: Seen, plate: np.ndarray, camera: Camera) -> LightProbe:
    """The light on a person who is seen in a plate (H, W, 3), linear."""
    light = network.read(srgb_encode(plate.clip(0, 1)))
    pose = camera.world_from_camera[:3, :3]
    spread = to_probe(light, pose, 1.0, suns=False).radiance
    return fit(seen, spread, light.cells[0].cpu().numpy(), pose)


@dataclass(frozen=True)
class Seen:
    """What a plate shows of a person: N points, row-major.

    colour: (N, 3) linear. normals: (N, 3) unit, camera space. cells: (N, 62) visibility. weight: (N,) of sum 1.
    bounced: (N, 3) shading by what the person's own surfaces throw back. height: (N,) in the picture, 0 above, 1 below.
    surface: of the points alone.
    """

    colour: np.ndarray
    normals: np.ndarray
    cells: np.ndarray
    weight: np.ndarray
    bounced: np.ndarray
    height: np.ndarray
    surface: rics.SurfaceMap
    scene: RayScene

    @classmethod
    def of(cls, plate: np.ndarray, camera: Camera, meshes: list[Mesh], find_people: bool = False) -> Seen | None:
        """What a plate (H, W, 3), linear, shows of the person; None where it is too little.

        meshes: camera space, the person's of role CHARACTER. find_people: whether MediaPipe looks for the person, of
        whom only what it finds is used.
        """
        scene = RayScene(meshes)
        points = np.concatenate([mesh.vertices for mesh in meshes if mesh.role == CHARACTER])
        pixels, _ = project(camera, points)
        pixels = pixels[np.isfinite(pixels).all(1)].clip(0, [camera.width, camera.height])
        if not len(pixels) or (np.ptp(pixels, axis=0) < 4).any():
            return None
        (left, top), (right, bottom) = np.floor(pixels.min(0)).astype(int), np.ceil(pixels.max(0)).astype(int)
        box = square(left, top, right, bottom)
        smaller = crop_camera(camera, box, (SIDE, SIDE))
        surface = rics.trace(scene, smaller)
        valid = surface.valid
        origins = (surface.point + surface.offset)[valid]
        toward = -primary_rays(smaller, pixel_centres(smaller)[valid])[1].astype(np.float32)
        inside = crop(np.ones(plate.shape[:2], np.float32), box, size=SIDE) > 0.99
        inside[valid] &= ~scene.occluded(origins, toward, (HOLDOUT,))
        inside &= valid
        right, down = (
            round(shift * (box[2] - box[0]) / SIDE) for shift in _offset(crop(plate, box, size=SIDE), inside)
        )
        box = (box[0] + right, box[1] + down, box[2] + right, box[3] + down)
        if find_people:
            inside &= _person(plate, box, inside)
        reach = 2 * max(1, round(INSET * SIDE)) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        inside = cv2.erode(inside.astype(np.uint8), disc) > 0
        inside &= crop((plate.max(-1) >= CLIPPED).astype(np.float32), box, size=SIDE) < 0.1
        chosen = np.flatnonzero(inside[valid])
        if len(chosen) < LEAST:
            return None
        if len(chosen) > MOST:
            chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST, replace=False))
        picture = crop(plate, box, size=SIDE)
        cells = visibility.cell_visibility(scene, surface).astype(np.float32)
        hidden, around = hidden_share(cells, surface.normal[valid]), Surroundings(np.flatnonzero(valid), SIDE)
        own = bounced(np.ones_like(picture[valid]), picture[valid], hidden, around)[chosen]
        colour = np.maximum(picture[valid][chosen], 1e-4)
        weight = 1 / (1 + (NOISE / (colour @ LUMINANCE)) ** 2)
        rows = np.nonzero(valid)[0]
        height = ((rows - rows.min()) / max(np.ptp(rows), 1))[chosen]
        kept = np.zeros_like(valid)
        kept.flat[np.flatnonzero(valid)[chosen]] = True
        surface = dataclasses.replace(surface, valid=kept)
        return cls(colour, surface.normal[kept], cells[chosen], weight / weight.sum(), own, height, surface, scene)

    def sees(self, directions: np.ndarray) -> np.ndarray:
        """(N, K) bool: the points that light from directions (K, 3) reaches."""
        return rics.light_visibility(self.scene, self.surface, directions)


def _offset(picture: np.ndarray, covered: np.ndarray) -> tuple[int, int]:
    """Columns and rows by which the person in a picture (H, W, 3) is beside a mesh's coverage (H, W).

    Where the picture has edges along the coverage's outline, in most of its length; rather near than far.
    """
    soft = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), 1.5)
    x, y = cv2.Sobel(soft, -1, 1, 0), cv2.Sobel(soft, -1, 0, 1)
    size = np.hypot(x, y)
    outline = size > 0.5 * size.max()
    outline[:REACH] = outline[-REACH:] = outline[:, :REACH] = outline[:, -REACH:] = False
    if np.count_nonzero(outline) < LEAST:
        return 0, 0
    rows, columns = np.nonzero(outline)
    across = np.stack([x[outline], y[outline]], 1) / size[outline][:, None]
    light = cv2.GaussianBlur(np.log(np.maximum(picture, 0) + NOISE), (0, 0), 1.0)
    slopes = np.stack([cv2.Sobel(light, -1, 1, 0), cv2.Sobel(light, -1, 0, 1)], -1)  # (H, W, 3, 2)
    scores = {}
    for right, down in itertools.product(range(-REACH, REACH + 1), repeat=2):
        steepest = np.abs(np.einsum("ncx,nx->nc", slopes[rows + down, columns + right], across)).max(1)
        scores[right, down] = np.tanh(steepest).mean() * np.exp(-0.5 * (right**2 + down**2) / NEAR**2)
    return max(scores, key=lambda shift: scores[shift])


def _person(plate: np.ndarray, box: tuple[int, int, int, int], covered: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) bool of the person of the plate who is most like the mesh's coverage; all where none is."""
    try:
        found = detect.people(np.round(srgb_encode(plate.clip(0, 1)) * 255).astype(np.uint8))
    except PenumbraError:  # nobody is found, or MediaPipe is not installed: the mesh alone has to tell
        return np.ones_like(covered)
    masks = [crop(person.mask, box, size=SIDE) > 0.5 for person in found]
    overlaps = [(mask & covered).sum() / max((mask | covered).sum(), 1) for mask in masks]
    best = int(np.argmax(overlaps))
    return masks[best] if overlaps[best] > SAME else np.ones_like(covered)


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
    """The light that explains best, with albedos, what is seen of a person.

    spread: (62, 3) radiance by ProbeNet, with its sun spread over the cells; beside: (62, 3) without its sun.
    world_from_camera: (3, 3), kept with the probe. The probe's confidence is that of a fit.
    """
    sky = probe_fit.design_matrix(seen.cells, seen.normals)[:, :CELLS]
    first = seen.weight @ (sky @ spread)
    gain, lit = 1.0, None
    for _ in range(TURNS):
        model = _Model(sky, gain * spread, _pieces(seen, lit), gain * first)
        solved = _solve(model, seen)
        lit = sky @ solved.light
        gain = _gain(gain * solved.albedo[model.piece], seen.weight)
    model = dataclasses.replace(model, prior=gain * spread, level=gain * first)
    solved = _solve(model, seen)
    model = dataclasses.replace(model, prior=gain * beside)
    wider, suns = _solve(model, seen), []
    for _ in range(2):
        sun, model = _one_more_sun(model, wider, seen)
        wider = _solve(model, seen)
        share = seen.weight @ model.columns[:, -1] * (wider.light[-1] @ LUMINANCE) / (model.level @ LUMINANCE)
        if wider.error > (1 - SUN_GAIN) * solved.error or share < SUN_SHARE:
            break
        solved = wider
        suns.append(sun)
    light, explained = solved.light, np.concatenate([sky, model.columns[:, CELLS : CELLS + len(suns)]], 1)
    target = seen.colour / solved.albedo[model.piece] - seen.bounced
    return LightProbe(
        light[:CELLS].astype(np.float32),
        np.zeros(3, np.float32),
        tuple(Sun(direction, light[CELLS + i], angle) for i, (direction, angle) in enumerate(suns)),
        np.array(world_from_camera, np.float64),
        fit_confidence(target, explained @ light, solved.weight, seen.normals),
    )


def _gain(albedo: np.ndarray, weight: np.ndarray) -> float:
    """How much brighter than by ProbeNet the light is most likely, whose level makes these albedos (N, 3)."""
    mean = float(weight @ np.log(np.maximum(albedo @ LUMINANCE, 1e-4)))
    return float(np.exp((mean - USUAL) * LEVEL_SPREAD**2 / (LEVEL_SPREAD**2 + USUAL_SPREAD**2)))


def _solve(model: _Model, seen: Seen) -> _Solved:
    """Light and albedo by Gauss-Newton steps on the albedo's logarithm, robust to points that fit badly.

    The first step is linear in the albedo's inverse and needs no start; on its own it would darken pieces with a
    pattern, as that is an error of what is multiplied.
    """
    lights, pieces = model.columns.shape[1], int(model.piece.max()) + 1
    own = np.eye(pieces)[model.piece]
    weight = seen.weight
    light, albedo = np.zeros((lights, 3)), np.zeros((pieces, 3))
    for step in range(STEPS):
        parts = []
        for c in range(3):
            quadratic, linear = _priors(model, seen, own, c)
            if step == 0:
                columns = np.concatenate([model.columns, -own * seen.colour[:, c : c + 1]], 1)
                target = -seen.bounced[:, c]
                linear[lights:] = 0
                quadratic[lights:, lights:] = 1e-8 * np.eye(pieces)
            else:
                bright = model.columns @ light[:, c] + seen.bounced[:, c]
                columns = np.concatenate([model.columns, own * bright[:, None]], 1)
                target = seen.colour[:, c] / albedo[model.piece, c] - seen.bounced[:, c] + SHIFT * bright
            factor = cholesky(columns.T @ (columns * weight[:, None]) + quadratic)
            right = solve_triangular(factor, columns.T @ (weight * target) + linear, trans="T")
            parts.append((columns, target, quadratic, nnls(factor, right, maxiter=2000)[0]))
        x = np.stack([part[-1] for part in parts], 1)
        light = x[:lights]
        albedo = 1 / np.maximum(x[lights:], 0.5) if step == 0 else albedo * np.exp(np.clip(x[lights:] - SHIFT, -1, 1))
        residual = np.stack([target - columns @ v for columns, target, _, v in parts], 1)
        size = np.linalg.norm(residual, axis=1)
        if step < STEPS - 1:
            weight = seen.weight * np.minimum(1, 1.5 * 1.4826 * np.median(size) / np.maximum(size, 1e-9))
    error = float((weight[:, None] * residual**2).sum() / weight.sum())
    return _Solved(light, albedo, weight, error, parts)


def _priors(model: _Model, seen: Seen, own: np.ndarray, c: int) -> tuple[np.ndarray, np.ndarray]:
    """Quadratic and linear form of what is believed of the unknowns of channel c before anything is seen."""
    lights, pieces = model.columns.shape[1], own.shape[1]
    quadratic, linear = np.zeros((lights + pieces,) * 2), np.zeros(lights + pieces)
    evidence = (seen.weight @ model.columns[:, :CELLS] ** 2).mean()
    lean = evidence * (PRIOR * np.eye(CELLS) + SMOOTHNESS * probe_fit.roughness())
    quadratic[:CELLS, :CELLS] = lean
    linear[:CELLS] = lean @ model.prior[:, c]
    mean = seen.weight @ model.columns
    quadratic[:lights, :lights] += PIN * np.outer(mean, mean) + 1e-6 * evidence * np.eye(lights)  # a sun may reach none
    linear[:lights] += PIN * mean * model.level[c]
    damp = DAMP * (seen.weight @ own) * model.level[c] ** 2 + 1e-9
    quadratic[lights:, lights:] = np.diag(damp)
    linear[lights:] = damp * SHIFT
    return quadratic, linear


class _Search:
    """`probe_fit.SunSearch` over channels whose columns differ."""

    def __init__(self, solved: _Solved) -> None:
        self.parts = [
            SunSearch(columns, target[:, None], solved.weight, x[:, None], quadratic)
            for columns, target, quadratic, x in solved.parts
        ]

    def gain(self, candidates: np.ndarray) -> np.ndarray:
        return sum((part.gain(candidates) for part in self.parts), np.zeros(candidates.shape[1]))


def _one_more_sun(model: _Model, solved: _Solved, seen: Seen) -> tuple[tuple[np.ndarray, float], _Model]:
    """The (direction, half-angle) of the sun that explains the most of what is left, and the model with it."""
    search = _Search(solved)
    direction = probe_fit.find_sun(search, seen.normals, seen.sees)
    half_angle = probe_fit.find_half_angle(search, direction, seen.normals, seen.sees)
    column = probe_fit.sun_columns(probe_fit.disc(direction, half_angle, 12), seen.normals, seen.sees).mean(1)
    wider = dataclasses.replace(model, columns=np.concatenate([model.columns, column[:, None]], 1))
    return (direction, half_angle), wider


def _pieces(seen: Seen, lit: np.ndarray | None) -> np.ndarray:
    """(N,) numbers from 0 of the pieces of points that are alike. lit: (N, 3) shading by the light so far, if any."""
    log = np.log(seen.colour)
    features = [HUE * (log[:, [0, 2]] - log[:, 1:2]), HEIGHT * seen.height[:, None]]
    if lit is not None:
        albedo = (seen.colour @ LUMINANCE) / np.maximum((lit + seen.bounced) @ LUMINANCE, 1e-4)
        features.append(BRIGHT * np.log(albedo)[:, None])
    ends = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 30, 1e-3)
    cv2.setRNGSeed(0)
    data = np.concatenate(features, 1).astype(np.float32)
    _, which, _ = cv2.kmeans(data, PIECES, None, ends, 3, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return np.unique(which, return_inverse=True)[1].ravel()
