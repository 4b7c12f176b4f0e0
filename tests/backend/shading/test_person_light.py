# SPDX-License-Identifier: GPL-3.0-or-later
"""The light on a person in the plate: found from their pixels, their colours unknown, the prior wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from backend.body import people
from backend.protocol import CHARACTER, HOLDOUT, PROP, Camera, Mesh, PenumbraError
from backend.rays import rics
from backend.rays.camera import perspective
from backend.rays.directions import RICS_DIRECTIONS
from backend.rays.scene import RayScene
from backend.shading import estimators, person_light, visibility
from backend.shading.bounce import bounced_in
from backend.shading.probe import LightProbe, Sun
from backend.shading.views import View
from backend.weights import load_model

SIZE = (320, 400)
COLOURS = [(0.45, 0.3, 0.22), (0.1, 0.2, 0.4), (0.3, 0.28, 0.25), (0.06, 0.05, 0.05)]


@pytest.fixture(scope="module")
def meshes() -> list[Mesh]:
    """A person of several parts, 3 m before the camera."""
    posed = people.pose_person(people.make_person(5), np.zeros((24, 3)))
    return [Mesh(p.part.name, CHARACTER, np.float32(p.vertices - (0, 0, 3)), p.faces, p.corner_normals) for p in posed]


def light_from(toward: np.ndarray) -> LightProbe:
    """A sky that is brighter on one side, and a sun there."""
    radiance = 0.15 + 0.5 * np.maximum(RICS_DIRECTIONS @ toward, 0)[:, None] * np.array([1.0, 0.95, 0.9])
    sun = Sun(toward, np.array([1.0, 0.9, 0.75]), 0.01)
    return LightProbe(radiance.astype(np.float32), np.zeros(3, np.float32), (sun,))


def photographed(meshes: list[Mesh], light: LightProbe) -> tuple[np.ndarray, Camera]:
    """The person in one colour a part before a grey wall."""
    camera = perspective(*SIZE, np.radians(45))
    scene = RayScene(meshes)
    surface = rics.trace(scene, camera)
    at, normals = surface.valid, surface.normal[surface.valid]
    albedo = np.float32(COLOURS)[surface.mesh[at] % len(COLOURS)]
    cells = visibility.cell_visibility(scene, surface)
    shading = light.shade(cells, normals, visibility.sun_visibility(scene, surface, light.suns))
    shading += bounced_in(shading, albedo, cells, normals, np.flatnonzero(at), SIZE[0])
    plate = np.full((SIZE[1], SIZE[0], 3), 0.25, np.float32)
    plate[at] = albedo * shading
    return plate, camera


@pytest.mark.parametrize("toward", [(0.8, 0.5, 0.33), (-0.7, 0.4, -0.5)])
def test_the_direction_is_found_against_a_prior_that_says_otherwise(meshes: list[Mesh], toward) -> None:
    toward = np.array(toward) / np.linalg.norm(toward)
    light = light_from(toward)
    plate, camera = photographed(meshes, light)
    seen = person_light.Seen.of(plate, camera, meshes)
    assert seen is not None
    mirrored = 0.2 + 0.4 * np.maximum(RICS_DIRECTIONS @ (toward * (-1, 1, 1)), 0)[:, None] * np.ones(3)
    found = person_light.fit(seen, mirrored, np.full((62, 3), 0.2), np.eye(3))
    assert found.dominant_direction @ light.dominant_direction > np.cos(np.radians(15))
    assert found.confidence > 0.3


def test_a_mesh_beside_the_person_is_brought_over_them(meshes: list[Mesh]) -> None:
    plate, camera = photographed(meshes, light_from(np.array([0.6, 0.64, 0.48])))
    exact = person_light.Seen.of(plate, camera, meshes)
    moved = person_light.Seen.of(np.roll(plate, (5, -7), (0, 1)), camera, meshes)
    assert exact is not None
    assert moved is not None
    error = np.abs(exact.colour - moved.colour).mean()
    assert error < 0.1 * exact.colour.mean()


def test_the_job_names_the_meshes_and_says_what_is_missing(meshes: list[Mesh]) -> None:
    """The person is a prop of the scene there; what is before them in the plate is not theirs."""
    light = light_from(np.array([-0.8, 0.5, 0.33]) / np.linalg.norm([-0.8, 0.5, 0.33]))
    plate, camera = photographed(meshes, light)
    props = [dataclasses.replace(mesh, role=PROP) for mesh in meshes]
    frame = type("Frame", (), {"number": 7})()
    view = View(frame, camera, RayScene(props), None, plate)  # type: ignore[arg-type]
    estimator = estimators.load("probenet", load_model("probenet")[0].certainty.device, [m.name for m in meshes])
    found = estimator.estimate(view)
    assert found.dominant_direction @ light.dominant_direction > np.cos(np.radians(20))
    with pytest.raises(PenumbraError, match="not rendered at frame 7"):
        person_light.estimate(load_model("probenet")[0], view, ("nobody",))
    wall = np.array([(-3, -3, -1), (3, -3, -1), (3, 3, -1), (-3, 3, -1)], np.float32)
    quads = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    before = Mesh("wall", HOLDOUT, wall, quads, np.tile(np.float32((0, 0, 1)), (2, 3, 1)))
    hidden = View(frame, camera, RayScene([*props, before]), None, plate)  # type: ignore[arg-type]
    with pytest.raises(PenumbraError, match="too little of the person"):
        estimator.estimate(hidden)
