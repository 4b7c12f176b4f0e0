# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated objects: closed, named, coloured parts; the same from the same number."""

import numpy as np
import pytest
import trimesh

from backend.objects.shapes import LABELS, Shape, make_shape

SEEDS = range(6)


@pytest.fixture(scope="module")
def shapes() -> list[Shape]:
    return [make_shape(category, seed) for category in LABELS for seed in SEEDS]


def test_every_part_is_a_closed_solid_seen_from_outside(shapes):
    for shape in shapes:
        for part in shape.parts:
            mesh = trimesh.Trimesh(part.solid.vertices, part.solid.faces, process=False)
            assert mesh.is_watertight, (shape.category, shape.seed, part.label)
            assert mesh.is_winding_consistent
            assert part.solid.volume == pytest.approx(mesh.volume)
            assert mesh.volume > 0
            assert part.label in LABELS[shape.category]
            assert 0.01 < part.albedo.min() <= part.albedo.max() <= 0.96


def test_bounding_boxes_are_centred_with_the_diagonal_2(shapes):
    for shape in shapes:
        low, high = shape.vertices.min(0), shape.vertices.max(0)
        np.testing.assert_allclose(low + high, 0, atol=1e-9)
        assert np.linalg.norm(high - low) == pytest.approx(2)


def test_same_number_same_object_and_others_differ(shapes):
    again = make_shape("car", 3)
    known = next(s for s in shapes if (s.category, s.seed) == ("car", 3))
    np.testing.assert_array_equal(again.vertices, known.vertices)
    np.testing.assert_array_equal(again.albedos, known.albedos)
    for category in LABELS:
        boxes = [np.ptp(s.vertices, axis=0) for s in shapes if s.category == category]
        assert len(np.unique(np.round(boxes, 3), axis=0)) == len(SEEDS), category


def test_every_label_of_a_category_occurs():
    for category, labels in LABELS.items():
        seen = {p.label for seed in range(20) for p in make_shape(category, seed).parts}
        assert seen == set(labels)


def test_objects_stand_upright_and_face_forward(shapes):
    """Backs are behind seats, wheels below cabins, and an airplane's tail is at its rear."""

    def middle(shape: Shape, label: str) -> np.ndarray:
        return np.mean([p.solid.vertices.mean(0) for p in shape.parts if p.label == label], axis=0)

    for shape in shapes:
        names = {p.label for p in shape.parts}
        if {"seat", "back"} <= names:
            assert middle(shape, "back")[2] < middle(shape, "seat")[2] - 0.1
            assert middle(shape, "back")[1] > middle(shape, "seat")[1]
        if "wheel" in names:
            assert middle(shape, "wheel")[1] < middle(shape, "cabin")[1] - 0.1
        if "tail" in names:
            assert middle(shape, "tail")[2] < -0.4


def test_normals_are_smooth_on_globes_and_sharp_on_boxes(shapes):
    for shape in shapes:
        corners = shape.vertices[shape.faces]
        face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        size = np.linalg.norm(face, axis=1, keepdims=True)
        fine = size[:, 0] > 1e-6
        cosine = np.einsum("fc,fkc->fk", (face / np.maximum(size, 1e-12))[fine], shape.corner_normals[fine])
        assert cosine.min() > 0.75
        np.testing.assert_allclose(np.linalg.norm(shape.corner_normals, axis=2), 1, atol=1e-6)
