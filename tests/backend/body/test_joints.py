# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoints, rotations, the coarse mesh and SMPL files of the body model."""

import pickle
import sys
import types

import numpy as np
import pytest
import scipy.sparse
import torch
import trimesh
from scipy.spatial.transform import Rotation

from backend.body.data import load_body
from backend.body.model import KEYPOINTS, BodyModel
from backend.body.rotations import axis_angles, matrices_from_six, rotation_matrices, six_from_matrices
from backend.protocol import PenumbraError
from scripts.coarse_mesh import collapse
from scripts.convert_smpl import convert


def random_input(count: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    draw = [torch.randn(count, *shape, generator=generator) for shape in ((10,), (24, 3), (3,))]
    return draw[0], draw[1] * 0.5, draw[2]


def test_rotations_go_there_and_back():
    vectors = Rotation.random(500, random_state=1).as_rotvec()
    vectors[:4] = [[0, 0, 0], [np.pi, 0, 0], [0, 0, 3.1415], [1e-5, 0, 0]]
    matrices = rotation_matrices(torch.from_numpy(vectors))
    back = axis_angles(matrices).numpy()
    assert np.abs(back - vectors).max() < 1e-6
    six = six_from_matrices(matrices)
    torch.testing.assert_close(matrices_from_six(six * torch.rand(500, 1)), matrices)
    # Zhou's layout: (3, 2) row by row, so that the first column is numbers 0, 2 and 4.
    torch.testing.assert_close(six[:, 0::2], matrices[:, :, 0])
    any_numbers = torch.randn(20, 6, dtype=torch.float64)
    made = matrices_from_six(any_numbers)
    torch.testing.assert_close(made @ made.mT, torch.eye(3, dtype=torch.float64).expand(20, 3, 3))
    assert (torch.linalg.det(made) > 0.99).all()


def test_keypoints_are_where_people_have_them(model):
    vertices, joints = model(torch.zeros(1, 10), torch.zeros(1, 24, 3))
    coco = dict(zip(KEYPOINTS["coco17"], model.keypoints(vertices, joints)[0].numpy(), strict=True))
    assert len(coco) == 17
    assert list(coco)[5:7] == ["left_shoulder", "right_shoulder"]  # COCO's order: the sides alternate
    assert list(coco)[15:] == ["left_ankle", "right_ankle"]
    for name in ("eye", "ear", "wrist", "knee"):  # the left is +x
        assert coco[f"left_{name}"][0] > 0.02
        np.testing.assert_allclose(coco[f"left_{name}"] * (-1, 1, 1), coco[f"right_{name}"], atol=0.01)
    assert coco["nose"][2] > coco["left_eye"][2] > coco["left_ear"][2] + 0.05  # the face looks to +z
    assert coco["left_eye"][1] > coco["nose"][1] + 0.02
    lsp = model.keypoints(vertices, joints, "lsp14")[0]
    assert lsp.shape == (14, 3)
    assert lsp[13, 1] == vertices[0, :, 1].max()  # the top of the head
    assert lsp[0, 0] < 0 < lsp[5, 0]  # right ankle first
    assert model.keypoints(vertices, joints, "bodynet16").shape == (1, 16, 3)


def test_coarse_body_is_the_same_body(model):
    coarse = BodyModel.load(coarse=True)
    betas, pose, trans = random_input()
    vertices, joints = model(betas, pose, trans)
    fewer, same = coarse(betas, pose, trans)
    torch.testing.assert_close(fewer, vertices[:, coarse.vertex_numbers])
    torch.testing.assert_close(same, joints)
    torch.testing.assert_close(coarse.keypoints(fewer, same), model.keypoints(vertices, joints))
    mesh = trimesh.Trimesh(coarse.v_template.numpy(), coarse.faces.numpy(), process=False)
    assert mesh.is_watertight
    skin = model.body.faces[model.body.extra["vertex_piece"][model.body.faces[:, 0]] == 0]
    assert mesh.volume == pytest.approx(trimesh.Trimesh(model.body.v_template, skin).volume, rel=0.015)


def test_collapses_keep_a_sphere_round_and_closed():
    ball = trimesh.creation.icosphere(3)
    kept, faces = collapse(ball.vertices, ball.faces, 200, np.array([7, 8]))
    small = trimesh.Trimesh(ball.vertices[kept], faces, process=False)
    assert len(kept) == 200
    assert {7, 8} <= set(kept)
    assert small.is_watertight
    assert small.is_winding_consistent
    assert small.volume == pytest.approx(ball.volume, rel=0.04)  # a regular ball of 162 vertices: 2.6 % less


def test_all_gradients(model):
    coarse = BodyModel.load(coarse=True).double()
    betas, pose, trans = (x[:1].double().requires_grad_() for x in random_input())

    def nose_and_wrists(b: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return coarse.keypoints(*coarse(b, p, t))[:, [0, 9, 10]]

    assert torch.autograd.gradcheck(nose_and_wrists, (betas, pose, trans), eps=1e-6, atol=1e-6)


def test_range_of_shapes(model):
    mean, spread = model.body.shape_range()
    young, _ = model.body.shape_range(children=True)
    heights = [np.ptp(model.body.shaped(b)[0][:, 1]) for b in (mean, young)]
    assert 1.55 < heights[0] < 1.8
    assert 1.1 < heights[1] < heights[0] - 0.15
    assert ((spread > 0.3) & (spread < 2)).all()


def smpl_arrays(body) -> dict[str, np.ndarray]:
    """Our coarse body as SMPL's own file would hold it, with corrections of the pose."""
    random = np.random.default_rng(0)
    rows, faces = body.coarse()
    return {
        "v_template": body.v_template[rows].astype(float),
        "shapedirs": body.shapedirs[rows].astype(float),
        "posedirs": random.normal(0, 0.003, (len(rows), 3, 207)),
        "weights": body.weights[rows].astype(float),
        "J_regressor": body.j_regressor[:, rows].astype(float),
        "kintree_table": np.stack([np.where(body.parents < 0, 2**32 - 1, body.parents), np.arange(24)]).astype(
            np.uint32
        ),
        "f": faces.astype(np.uint32),
    }


class Chumpy:
    """What chumpy's arrays leave in a pickle."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x


def test_official_files_are_converted(tmp_path, monkeypatch, model):
    arrays = smpl_arrays(model.body)
    module = types.ModuleType("chumpy.ch")
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    monkeypatch.setattr(Chumpy, "__module__", "chumpy.ch")
    monkeypatch.setattr(module, "Chumpy", Chumpy, raising=False)
    stored = arrays | {
        "shapedirs": Chumpy(arrays["shapedirs"]),
        "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"]),
    }
    (tmp_path / "smpl.pkl").write_bytes(pickle.dumps(stored, protocol=2))
    convert(tmp_path / "smpl.pkl", tmp_path / "smpl.npz")
    body = load_body(tmp_path / "smpl.npz")
    for name in ("v_template", "shapedirs", "posedirs", "j_regressor"):
        np.testing.assert_allclose(getattr(body, name), arrays.get(name, arrays["J_regressor"]), atol=1e-6)
    np.testing.assert_array_equal(body.parents, model.body.parents)


def test_a_pickle_with_code_is_refused(tmp_path):
    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(PenumbraError, match="does not belong"):
        convert(tmp_path / "evil.pkl", tmp_path / "evil.npz")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "evil.npz").exists()


def test_smplx_agrees(tmp_path, model):
    smplx = pytest.importorskip("smplx")
    arrays = smpl_arrays(model.body)
    np.savez(tmp_path / "ours.npz", **arrays)
    ours = BodyModel.load(tmp_path / "ours.npz").double()
    marks = dict.fromkeys(sys.modules["smplx.vertex_ids"].vertex_ids["smplh"], 0)
    file = types.SimpleNamespace(**arrays)
    theirs = smplx.SMPL(str(tmp_path), data_struct=file, batch_size=3, dtype=torch.float64, vertex_ids=marks)
    betas, pose, trans = (x.double() for x in random_input())
    expected = theirs(betas=betas, body_pose=pose[:, 1:].flatten(1), global_orient=pose[:, 0], transl=trans)
    vertices, joints = ours(betas, pose, trans)
    assert (vertices - expected.vertices).abs().max() < 1e-5
    assert (joints - expected.joints[:, :24]).abs().max() < 1e-5
