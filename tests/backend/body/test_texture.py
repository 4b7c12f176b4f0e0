# SPDX-License-Identifier: GPL-3.0-or-later
"""What a photograph shows of a person becomes albedo on the body's texture, and the light is told apart from it."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import pytest

from backend.body.albedo import delight
from backend.body.data import load_body, rotation_matrices
from backend.body.surface import vertex_normals
from backend.body.texture import body_texture
from backend.protocol import CHARACTER, Mesh
from backend.rays import rics
from backend.rays.camera import fov_from_lens, perspective, project
from backend.rays.directions import unpack_bits
from backend.rays.scene import RayScene
from backend.shading.network import ShadingNet
from backend.shading.probe import LightProbe, Sun
from backend.weights import load_model

SIZE = 320
SHIRT, SKIN, TROUSERS = (0.1, 0.35, 0.12), (0.45, 0.28, 0.2), (0.2, 0.2, 0.22)
COLOURS = np.array([(0, 0, 0), SKIN, SHIRT, SHIRT, SHIRT, TROUSERS, TROUSERS])  # of the six parts


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def mesh(body):
    """The T-posed body, turned half aside, three metres before the camera."""
    turn = rotation_matrices(np.array([0, 0.5, 0]))
    vertices = (body.v_template @ turn.T + (0, 0.1, -3.2)).astype(np.float32)
    normals = vertex_normals(vertices, body.faces).astype(np.float32)
    return Mesh("body", CHARACTER, vertices, body.faces, normals[body.faces])


@pytest.fixture(scope="module")
def camera():
    return perspective(SIZE, SIZE, fov_from_lens(50))


@pytest.fixture(scope="module")
def surface(mesh, camera):
    return rics.trace(RayScene([mesh]), camera)


@pytest.fixture(scope="module")
def albedo(body, mesh, camera, surface):
    """(SIZE, SIZE, 3) each part in its colour; 0 beside the body."""
    parts = COLOURS[body.extra["vertex_parts6"]]
    points, _ = project(camera, mesh.vertices)
    facing = (vertex_normals(mesh.vertices, body.faces) * -mesh.vertices).sum(1) > 0
    flat = np.zeros((SIZE, SIZE), np.int32)
    column, row = np.clip(np.floor(points[facing]).astype(int), 0, SIZE - 1).T
    flat[row, column] = np.flatnonzero(facing)
    _, label = cv2.distanceTransformWithLabels(np.uint8(flat == 0), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros(label.max() + 1, int)
    nearest[label[flat > 0]] = flat[flat > 0]
    return np.where(surface.valid[..., None], parts[nearest[label]], 0).astype(np.float32)


@pytest.mark.parametrize("side", [-1, 1])
def test_the_light_is_told_from_the_colours(body, mesh, camera, surface, albedo, side):
    toward = np.array([0.7 * side, 0.55, 0.45])
    sun = Sun(toward / np.linalg.norm(toward), np.array([1.1, 1.0, 0.8]), 0.02)
    light = LightProbe(np.full((62, 3), (0.15, 0.18, 0.25), np.float32), np.zeros(3), (sun,))
    reached = np.zeros((SIZE, SIZE, 1))
    reached[surface.valid] = rics.light_visibility(RayScene([mesh]), surface, sun.direction[None])
    shading = light.shade(~unpack_bits(surface.bits), surface.normal, reached)
    picture = np.where(surface.valid[..., None], albedo * shading, (0.3, 0.32, 0.35)).astype(np.float32)
    network = cast(ShadingNet, load_model("shadingnet")[0])
    parts = body.extra["face_parts6"].astype(int)
    delit = delight(picture, camera, mesh, parts, surface.valid.astype(np.float32), network)
    assert delit
    assert delit.light.dominant_direction @ light.dominant_direction > np.cos(np.radians(25))

    def wrong(image: np.ndarray) -> float:
        """Median error of the colours, after one factor for all."""
        log = np.log(np.maximum(image[delit.known], 1e-3)) - np.log(albedo[delit.known])
        return float(np.median(np.abs(log - np.median(log, 0))))

    assert wrong(delit.albedo) < 0.5 * wrong(picture)
    assert 0.4 < np.median(delit.albedo[delit.known] / albedo[delit.known]) < 2.5  # ShadingNet told the level


def test_what_is_seen_and_its_mirror_image_are_painted(body, mesh, camera, surface, albedo):
    texture = body_texture(body, mesh, camera, albedo, surface.valid)
    uv = body.extra["vt"][body.extra["ft"].astype(int)].mean(1)
    row, column = np.floor((1 - uv[:, 1]) * len(texture)).astype(int), np.floor(uv[:, 0] * len(texture)).astype(int)
    skin = body.extra["vertex_piece"][body.faces].max(1) == 0
    painted, part = texture[row, column][skin], body.extra["face_parts6"][skin]
    for number in (2, 3, 4, 5, 6):  # the head's back, which nothing shows, may be like the neck
        error = np.abs(painted[part == number] - COLOURS[number]).max(1)
        assert np.mean(error < 0.03) > 0.85, body.extra["parts6_names"][number]


def test_a_person_of_whom_nothing_is_seen_gets_no_light(body, mesh, camera, albedo):
    network = cast(ShadingNet, load_model("shadingnet")[0])
    parts = body.extra["face_parts6"].astype(int)
    assert delight(albedo, camera, mesh, parts, np.zeros((SIZE, SIZE), np.float32), network) is None
