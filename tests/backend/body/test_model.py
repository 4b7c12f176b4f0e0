# SPDX-License-Identifier: GPL-3.0-or-later
"""The body model: skinning, joints, sides and labels."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from backend.body.data import ASSETS, JOINT_NAMES, joint_transforms, load_body, skin
from backend.body.model import BodyModel
from backend.body.rotations import rotation_matrices
from backend.protocol import PenumbraError

JOINT = {name: i for i, name in enumerate(JOINT_NAMES)}


def random_input(count: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    draw = [torch.randn(count, *shape, generator=generator) for shape in ((10,), (24, 3), (3,))]
    return draw[0], draw[1] * 0.4, draw[2]


def reference(model: BodyModel, betas: np.ndarray, pose: np.ndarray, trans: np.ndarray) -> np.ndarray:
    """The definition of SMPL, joint by joint and vertex by vertex, without any of the model's own algebra."""
    body = model.body
    shaped = body.v_template.astype(float) + np.einsum("vck,k->vc", body.shapedirs, betas)
    joints = body.j_regressor @ shaped
    posed = np.zeros_like(shaped)
    for j in range(24):
        points, k = shaped, j
        while k >= 0:
            points = Rotation.from_rotvec(pose[k]).apply(points - joints[k]) + joints[k]
            k = body.parents[k]
        posed += body.weights[:, j : j + 1] * points
    return posed + trans


def test_skinning_equals_its_definition(model):
    betas, pose, trans = random_input()
    vertices, _ = model(betas, pose, trans)
    for b in range(2):
        expected = reference(model, betas[b].numpy(), pose[b].numpy(), trans[b].numpy())
        assert np.abs(vertices[b].numpy() - expected).max() < 1e-4
    shaped, joints = model.body.shaped(betas[0].numpy())
    ours = skin(shaped, model.body.weights, joint_transforms(joints, model.body.parents, pose[0].numpy()))
    assert np.abs(ours + trans[0].numpy() - vertices[0].numpy()).max() < 1e-4


def test_matrices_and_axis_angles_agree(model):
    betas, pose, _ = random_input()
    matrices = torch.from_numpy(Rotation.from_rotvec(pose.reshape(-1, 3).numpy()).as_matrix()).float()
    torch.testing.assert_close(model(betas, pose)[0], model(betas, matrices.view(2, 24, 3, 3))[0], atol=1e-5, rtol=0)


def test_no_pose_is_the_template(model):
    vertices, joints = model(torch.zeros(1, 10), torch.zeros(1, 24, 3))
    assert np.abs(vertices[0].numpy() - model.body.v_template).max() < 1e-5
    assert np.abs(joints[0].numpy() - model.body.j_regressor @ model.body.v_template).max() < 1e-5
    assert np.linalg.norm(joints[0, 0].numpy()) < 0.02  # the pelvis is the origin


def test_gradients_at_rest(model):
    betas, pose = torch.zeros(1, 10, requires_grad=True), torch.zeros(1, 24, 3, requires_grad=True)
    model(betas, pose)[0].square().sum().backward()
    assert torch.isfinite(pose.grad).all()
    assert (pose.grad[0, JOINT["left_shoulder"]].abs() > 0).any()
    assert (betas.grad.abs() > 0).all()
    torch.autograd.gradcheck(rotation_matrices, torch.randn(2, 3, dtype=torch.float64, requires_grad=True))


def test_t_pose_is_smpls(model):
    joint = dict(zip(JOINT_NAMES, model.body.j_regressor @ model.body.v_template, strict=True))
    assert joint["left_wrist"][0] > 0.5  # the body's left is +x
    assert joint["right_wrist"][0] < -0.5
    for side in ("left", "right"):
        arm = joint[f"{side}_wrist"] - joint[f"{side}_shoulder"]
        assert np.abs(arm[1:]).max() < 0.05 * np.abs(arm[0])
    assert joint["head"][1] > joint["neck"][1] > joint["pelvis"][1] > joint["left_knee"][1] > joint["left_ankle"][1]
    assert joint["left_foot"][2] > joint["left_ankle"][2] + 0.08  # it faces +z
    nose = model.body.v_template[model.body.v_template[:, 1] > joint["head"][1]][:, 2].max()
    assert nose > joint["head"][2] + 0.05


def test_left_arm_goes_where_smpls_goes(model):
    pose = torch.zeros(3, 24, 3)
    pose[0, JOINT["left_shoulder"], 2] = 1.2  # about +z: up
    pose[1, JOINT["left_elbow"], 1] = -1.2  # about −y: the forearm comes to the front
    pose[2, JOINT["left_hip"], 0] = -1.2  # about −x: the thigh comes to the front
    rest = model(torch.zeros(1, 10), torch.zeros(1, 24, 3))[1][0]
    joints = model(torch.zeros(3, 10), pose)[1]
    assert joints[0, JOINT["left_wrist"], 1] > rest[JOINT["left_wrist"], 1] + 0.3
    assert joints[1, JOINT["left_wrist"], 2] > rest[JOINT["left_wrist"], 2] + 0.15
    assert joints[2, JOINT["left_knee"], 2] > rest[JOINT["left_knee"], 2] + 0.2
    torch.testing.assert_close(joints[0, JOINT["right_wrist"]], rest[JOINT["right_wrist"]])


def test_joints_stay_in_the_body(model):
    import trimesh

    betas = torch.from_numpy(model.body.extra["population_betas"][:6].astype(np.float32))
    vertices, joints = model(betas, torch.zeros(6, 24, 3))
    skin_only = model.body.faces[model.body.extra["vertex_piece"][model.body.faces[:, 0]] == 0]
    for body, inner in zip(vertices.numpy(), joints.numpy(), strict=True):
        assert trimesh.Trimesh(body, skin_only, process=False).contains(inner).all()


def test_surface_is_closed_and_weights_are_few(model):
    import trimesh

    mesh = trimesh.Trimesh(model.body.v_template, model.body.faces, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0.03
    assert (model.body.weights > 0).sum(1).max() <= 4
    np.testing.assert_allclose(model.body.weights.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(model.body.j_regressor.sum(1), 1, atol=1e-5)


def test_labels_have_their_sides(model):
    extra, x = model.body.extra, model.body.v_template[:, 0]
    for count in (14, 6):
        names, labels = extra[f"parts{count}_names"], extra[f"vertex_parts{count}"]
        assert set(np.unique(labels)) == set(range(1, count + 1))
        for index, name in enumerate(names):
            if name.startswith("Left"):
                assert (x[labels == index] > -0.005).all(), name
            if name.startswith("Right"):
                assert (x[labels == index] < 0.005).all(), name
        centre = model.body.v_template[model.body.faces].mean(1)[:, 0]
        left = np.array([str(name).startswith("Left") for name in names])
        assert (centre[left[extra[f"face_parts{count}"]]] > -0.01).all()
    names = list(extra["parts14_names"])
    height = model.body.v_template[:, 1]
    assert height[extra["vertex_parts14"] == names.index("Head")].min() > 0.3
    assert height[extra["vertex_parts14"] == names.index("LeftFoot")].max() < -0.7


def test_size_and_bad_files(tmp_path):
    assert sum(file.stat().st_size for file in ASSETS.iterdir()) <= 3e6
    (tmp_path / "body.npz").write_bytes(b"no zip")
    with pytest.raises(PenumbraError):
        load_body(tmp_path)
    with pytest.raises(PenumbraError):
        load_body(tmp_path / "nowhere.npz")
