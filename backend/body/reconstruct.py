# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a photograph as posed bodies, by LASOR or by BodyNet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..import_jobs import ALL, BODY_METHODS, LARGEST, numbers_of
from ..photograph import Photograph
from ..protocol import CHARACTER, Mesh, PenumbraError
from ..weights import load_model
from .bodynet.estimate import estimate as by_bodynet
from .bodynet.network import BodyNet
from .bodynet.surface import Surface
from .detect import Person, people
from .lasor.camera import Lens
from .lasor.estimate import Sight, in_picture, sight
from .lasor.network import Lasor
from .lasor.person import Estimate, joined, rows_of, through, with_shape
from .lasor.proxy import crop, told_by
from .lasor.refine import Refiner
from .lasor.synthesis import TARGET
from .model import BodyModel
from .surface import vertex_normals

Progress = Callable[[str, float], None]
FACE = 5  # the first of COCO's keypoints, which tell no proportions
USUAL_SHAPES = 2.0  # deviations from the mean of adults or of children, in each of the ten numbers


@dataclass(frozen=True)
class Networks:
    """What tells bodies; where both are there, BodyNet's fit begins with LASOR's estimate."""

    lasor: Lasor | None = None
    bodynet: BodyNet | None = None

    def __call__(self, proxy: Tensor) -> tuple[Estimate, list[Surface | None]]:
        """Of people's proxies (B, 18, S, S), and the surfaces of BodyNet's voxels. Raises PenumbraError as it does."""
        begun = None
        if self.lasor is not None:
            told = _on_processor(self.lasor(proxy.to(self.lasor.mean.device)))
            begun = plausible(told, told_by(proxy)[1])
        if self.bodynet is None:
            assert begun is not None
            return begun, [None] * len(proxy)
        found, surfaces = [], []
        for row, one in enumerate(proxy):
            estimate, surface = by_bodynet(self.bodynet, one[None], begun and rows_of(begun, [row]))
            found.append(estimate)
            surfaces.append(surface)
        return joined(found), surfaces


@torch.no_grad()
def plausible(estimate: Estimate, found: Tensor) -> Estimate:
    """With shapes that adults or children have, and that are nearer to adults' mean the less of a person is seen.

    found: (B, 17) which keypoints are; few of them may tell a toddler.
    """
    body = BodyModel.load(coarse=True).body
    ranges = [body.shape_range(children) for children in (False, True)]
    low = np.min([mean - USUAL_SHAPES * deviation for mean, deviation in ranges], 0)
    high = np.max([mean + USUAL_SHAPES * deviation for mean, deviation in ranges], 0)
    mean, seen = torch.from_numpy(ranges[0][0]).float(), found[:, FACE:].mean(1, keepdim=True)
    betas = estimate.betas.clamp(torch.from_numpy(low), torch.from_numpy(high))
    return with_shape(estimate, torch.lerp(mean.expand_as(betas), betas.float(), seen))


@dataclass(frozen=True)
class Body:
    """One person's body in the photograph's camera space, see `lasor.camera`.

    betas: (10,). rotations: (24, 3, 3). place: (3,) metres. outline: (V, 2) pixels, where the picture shows it.
    surface: of BodyNet's voxels, in camera space, metres; LASOR has none.
    """

    betas: np.ndarray
    rotations: np.ndarray
    place: np.ndarray
    outline: np.ndarray
    surface: Surface | None = None

    def mesh(self, name: str) -> Mesh:
        model = BodyModel.load()
        rotations, place = torch.from_numpy(self.rotations)[None], torch.from_numpy(self.place).float()[None]
        vertices = model(torch.from_numpy(self.betas)[None], rotations, place)[0][0].numpy()
        normals = vertex_normals(vertices, model.body.faces).astype(np.float32)
        return Mesh(name, CHARACTER, vertices, model.body.faces, normals[model.body.faces])


@dataclass(frozen=True)
class Found:
    """The people found in a photograph, from left to right, the bodies of some of them by their number there, and what
    hindered the others' reconstruction."""

    people: list[Person]
    bodies: dict[int, Body]
    problems: dict[int, PenumbraError]


def find_bodies(
    photograph: Photograph,
    who: str,
    refine: bool,
    device: torch.device,
    progress: Progress = lambda *_: None,
    method: str = "lasor",
) -> Found:
    """The bodies of those who are asked for, see `import_jobs.BodyJob`.

    method: of `BODY_METHODS`. Raises PenumbraError where nobody can be reconstructed, or the method has no weights.
    """
    networks = load_networks(method, device, progress)
    progress("Finding people", 0.05)
    found = people(photograph.encoded)
    return bodies_of(found, who, networks, photograph.focal, refine, lambda share: progress("Reconstructing", share))


def load_networks(method: str, device: torch.device, progress: Progress = lambda *_: None) -> Networks:
    """Raises PenumbraError where the method has no weights."""
    progress("Loading the networks", 0.0)
    return Networks(**{name: load_model(name)[0].to(device) for name in BODY_METHODS[method]})


def asked(who: str, areas: Sequence[float]) -> list[int]:
    """The numbers from 0 of those people who are asked for. areas: that each covers. Raises PenumbraError."""
    if who == ALL:
        return list(range(len(areas)))
    if who == LARGEST:
        return [int(np.argmax(areas))]
    numbers = numbers_of(who)
    if absent := [number for number in numbers if number > len(areas)]:
        raise PenumbraError(f"There is no person {absent[0]} in the picture.", f"Choose one of 1 to {len(areas)}.")
    return [number - 1 for number in numbers]


def bodies_of(
    found: list[Person],
    who: str,
    networks: Networks,
    focal: float,
    refine: bool,
    progress: Callable[[float], None] = lambda _: None,
) -> Found:
    """`find_bodies` for people who are found already."""
    bodies: dict[int, Body] = {}
    problems: dict[int, PenumbraError] = {}
    chosen = asked(who, [float((person.mask > 0.5).sum()) for person in found])
    for step, number in enumerate(chosen):
        progress(0.5 + 0.5 * step / len(chosen))
        try:
            bodies[number] = reconstruct(found, number, networks, focal, refine)
        except PenumbraError as problem:
            problems[number] = problem
    if not bodies:
        raise next(iter(problems.values()))
    return Found(found, bodies, problems)


def problem_notices(problems: dict[int, PenumbraError]) -> tuple[str, ...]:
    """What the artist is told of people, by their numbers from 0, who could not be reconstructed."""
    return tuple(f"Person {number + 1}: {problem}" for number, problem in problems.items())


@torch.no_grad()
def reconstruct(found: list[Person], number: int, networks: Networks, focal: float, refine: bool = False) -> Body:
    """The body of one of the people in a picture. Raises PenumbraError where too little is seen of the person."""
    person = found[number]
    height, width = person.mask.shape
    seen = sight(person.mask, person.points, person.confidence)
    lens = Lens.of(torch.from_numpy(seen.centre)[None], torch.tensor([seen.side]), (width, height), focal)
    estimate, (surface,) = networks(seen.proxy)
    estimate = through(lens, estimate)
    if refine:
        others = np.max([p.mask for i, p in enumerate(found) if i != number] or [np.zeros_like(person.mask)], 0)
        estimate = Refiner.load()(estimate, *evidence(seen, person, others), lens)
    place, turn = lens.places(estimate.camera)[0].numpy(), lens.turns[0].numpy()
    return Body(
        estimate.betas[0].numpy(),
        estimate.rotations[0].numpy(),
        place,
        outlined(estimate, lens, seen),
        surface and replace(surface, vertices=surface.vertices @ turn.T + place),
    )


def outlined(estimate: Estimate, lens: Lens, seen: Sight) -> np.ndarray:
    """(V, 2) pixels of the picture, where it shows the vertices of one estimate."""
    vertices, _ = BodyModel.load()(estimate.betas, estimate.rotations)
    return in_picture(lens(vertices, estimate.camera)[0], seen.centre, seen.side)


def _on_processor(estimate: Estimate) -> Estimate:
    return Estimate(estimate.camera.cpu(), estimate.rotations.cpu(), estimate.betas.cpu())


def evidence(seen: Sight, person: Person, others: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a `Refiner` fits a body to: points (1, 17, 2), confidence (1, 17), mask and unknown (1, 128, 128).

    others: (H, W) coverage by other people, behind whom anything may be.
    """
    known = torch.from_numpy((others < 0.5).astype(np.float32))[None, None]
    centre, side = torch.from_numpy(seen.centre)[None], torch.tensor([seen.side])
    unknown = 1 - crop(known, centre, side, TARGET)[:, 0]  # beyond the picture as well
    confidence = torch.from_numpy(person.confidence * seen.found).float()[None]
    mask = F.avg_pool2d(seen.proxy[:, :1], seen.proxy.shape[-1] // TARGET)[:, 0]
    return torch.from_numpy(seen.points)[None].float(), confidence, mask, unknown
