# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated people: the same from the same number, clothed in every pose, lit by plausible albedo."""

import numpy as np
import pytest
import trimesh

from backend.body.data import JOINT_NAMES, joint_transforms
from backend.body.people import Person, albedo_at, make_person, pose_person

JOINT = {name: i for i, name in enumerate(JOINT_NAMES)}
COVERED = ("t-shirt", "long sleeves", "jumper", "jacket", "leather jacket")
SEEDS = (4, 8, 21, 23)  # tops over long trousers


@pytest.fixture(scope="module")
def people() -> list[Person]:
    return [make_person(seed) for seed in SEEDS]


def pose(**turns: tuple[float, float, float]) -> np.ndarray:
    result = np.zeros((24, 3))
    for name, turn in turns.items():
        result[JOINT[name]] = turn
    return result


POSES = {
    "t": pose(),
    "sitting": pose(left_hip=(-1.5, 0, 0.1), right_hip=(-1.5, 0, -0.1), left_knee=(1.5, 0, 0), right_knee=(1.5, 0, 0)),
    "striding": pose(left_hip=(-0.6, 0, 0), right_hip=(0.5, 0, 0), right_knee=(0.8, 0, 0), spine2=(0, 0.4, 0.1)),
    "reaching": pose(left_shoulder=(0, 0, 1.2), right_shoulder=(0, 0, -1.2), spine1=(0.3, 0, 0)),
}


@pytest.mark.parametrize("name", POSES)
def test_no_skin_shows_through_clothes(people, name):
    directions = np.random.default_rng(1).normal(size=(300, 3)) * (1, 0.15, 1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for person in people:
        assert any(word in COVERED for word in person.wears)
        assert any(word.endswith("trousers") for word in person.wears)
        posed = pose_person(person, POSES[name])
        offset = np.cumsum([0] + [len(p.vertices) for p in posed])
        faces = np.concatenate([p.faces + o for p, o in zip(posed, offset, strict=False)])
        mesh = trimesh.Trimesh(np.concatenate([p.vertices for p in posed]), faces, process=False)
        is_skin = np.concatenate([np.full(len(p.faces), p.part.name == "skin") for p in posed])
        weights = np.concatenate([p.part.weights for p in posed])[faces].mean(1)
        covered = weights[:, [JOINT[j] for j in ("pelvis", "spine1", "spine2", "left_hip", "right_hip")]].sum(1) > 0.5
        inner = skeleton_of(person, POSES[name])
        for target in (inner["spine1"], inner["spine2"], inner["left_thigh"], inner["right_thigh"]):
            hit = mesh.ray.intersects_first(target + 0.5 * directions, -directions)
            shown = (hit >= 0) & is_skin[hit] & covered[hit]
            assert not shown.any(), (person.identity, person.wears, mesh.triangles_center[hit[shown]])


def skeleton_of(person: Person, turns: np.ndarray) -> dict[str, np.ndarray]:
    """Points inside the clothed body, posed."""
    transforms = joint_transforms(person.joints, person.parents, turns)
    points = {name: (transforms[i, :3, :3] @ person.joints[i] + transforms[i, :3, 3]) for name, i in JOINT.items()}
    for side in ("left", "right"):
        points[f"{side}_thigh"] = 0.35 * points[f"{side}_hip"] + 0.65 * points[f"{side}_knee"]
    return points


def test_same_number_same_person(people):
    again = make_person(SEEDS[0])
    for a, b in zip(people[0].parts, again.parts, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.vertices, b.vertices)
        np.testing.assert_array_equal(a.texture, b.texture)
    assert not np.array_equal(people[0].betas, people[1].betas)


def test_parts_are_well_formed(people):
    for person in people:
        assert sum(len(part.faces) for part in person.parts) <= 60_000
        for part in person.parts:
            assert np.isfinite(part.vertices).all()
            np.testing.assert_allclose(part.weights.sum(1), 1, atol=1e-4)
            assert 0 <= part.uv.min() <= part.uv.max() <= 1
            assert 0.004 <= part.texture.min() <= part.texture.max() <= 0.9
            if part.name not in ("skin", "eyes"):
                mesh = trimesh.Trimesh(part.vertices, part.faces, process=False)
                assert mesh.is_winding_consistent, part.name
                assert mesh.volume > 0, part.name  # faces look outwards


def test_pose_moves_the_left_hand_and_normals_look_out(people):
    person = people[0]
    raised = pose_person(person, pose(left_shoulder=(0, 0, 1.2)), np.array([0, 0, 5.0]))
    skin = next(p for p in raised if p.part.name == "skin")
    hand = skin.part.weights[:, JOINT["left_hand"]] > 0.9
    assert (skin.vertices[hand, 1] > skin.part.vertices[hand, 1] + 0.3).all()
    other = skin.part.weights[:, JOINT["right_hand"]] > 0.9
    np.testing.assert_allclose(skin.vertices[other], skin.part.vertices[other] + (0, 0, 5), atol=1e-5)
    for posed in raised:
        p = posed.vertices[posed.faces]
        face = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
        assert (np.einsum("fc,fkc->fk", face, posed.corner_normals) > 0).mean() > 0.97, posed.part.name
        np.testing.assert_allclose(np.linalg.norm(posed.corner_normals, axis=2), 1, atol=1e-4)
        assert posed.corner_normals.shape == (*posed.faces.shape, 3)


def test_albedo_lookup_reads_the_texture(people):
    part = next(p for p in people[0].parts if p.name == "skin")
    everywhere = albedo_at(part, np.arange(len(part.faces)), np.full((len(part.faces), 3), 1 / 3))
    assert everywhere.shape == (len(part.faces), 3)
    assert (everywhere[:, 0] >= everywhere[:, 2] * 0.9).mean() > 0.99  # skin is red rather than blue
    height, width = part.texture.shape[:2]
    uv = part.uv[7, 1]
    row, column = int((1 - uv[1]) * height), int(uv[0] * width)
    near = part.texture[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].reshape(-1, 3)
    found = albedo_at(part, np.array([7]), np.array([[0.0, 1.0, 0.0]]))[0]
    assert (found >= near.min(0) - 1e-6).all()
    assert (found <= near.max(0) + 1e-6).all()
