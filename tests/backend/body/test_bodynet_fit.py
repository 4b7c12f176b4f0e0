# SPDX-License-Identifier: GPL-3.0-or-later
"""From voxels back to a surface with parts, and to a body that fits them (equation 6, appendix D)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from backend.body.bodynet.evaluate import CONDITIONS, FIT_COLUMNS, by_joints, by_outline, by_surface, measure_fits
from backend.body.bodynet.fit import Fit, Fitter, Joints, spread_about_mean
from backend.body.bodynet.heatmaps import heatmaps2d, heatmaps3d
from backend.body.bodynet.network import BUNDLED, BodyNet, Outputs
from backend.body.bodynet.parts import PARTS6, PELVIS
from backend.body.bodynet.surface import enlarged, extract
from backend.body.bodynet.synthesis import Example, Labeller, ProxySynthesizer, Truth
from backend.body.bodynet.train import front_rotations
from backend.body.lasor.synthesis import Synthesis
from backend.body.model import BodyModel
from backend.body.poses import limit_poses, pose_bank
from backend.body.rotations import matrices_from_six, rotation_matrices, six_from_matrices
from backend.protocol import PenumbraError

PART = {name: 1 + k for k, name in enumerate(PARTS6)}


@pytest.fixture(scope="module")
def fitter(body) -> Fitter:
    six = six_from_matrices(front_rotations(pose_bank([], 300, 0))).flatten(1)
    return Fitter(body, matrices_from_six(six.mean(0).view(24, 6)), spread_about_mean(six.std(0).clamp(min=0.02)))


def person(body: BodyModel, shape: tuple[float, ...] = (1.5, -1.0, 0.8)) -> Truth:
    """A person in a pose, turned by 40°, and all that BodyNet should say of them."""
    rotations = rotation_matrices(torch.from_numpy(limit_poses(1, 2)))
    rotations[:, 0] = rotation_matrices(torch.tensor([[0, 0.7, 0]])) @ rotations[:, 0]
    betas = torch.zeros(1, 10)
    betas[0, :3] = torch.tensor(shape)
    return Labeller(body, BUNDLED)(betas, rotations, torch.tensor([[0.9, 0.02, 0.1]]))


def exact(truth: Truth) -> Joints:
    return Joints(truth.joints[0], truth.joints[0, :, :2], torch.ones(16))


def surface_error(body: BodyModel, fit: Fit, truth: Truth) -> float:
    """Mean distance of the vertices in millimetres, the pelvises at one place."""
    vertices, joints = body(fit.betas[None], fit.rotations[None])
    true, true_joints = body(truth.betas, truth.rotations)
    apart = (vertices - joints[:, :1]) - (true - true_joints[:, :1])
    return 1000 * float(apart.norm(dim=2).mean())


def volume(truth: Truth) -> np.ndarray:
    return (truth.voxels[0] > 0).float().numpy()


def test_the_surface_is_closed_faces_outwards_and_lies_on_the_body(body):
    truth = person(body)
    probability = volume(truth)
    surface = extract(probability)
    mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
    assert mesh.is_watertight
    # Half a voxel beyond the last centre inside: as much as the voxels, but for their corners.
    assert mesh.volume == pytest.approx(probability.sum(), rel=0.1)
    assert mesh.volume > 0  # outwards
    rows = np.argwhere(probability > 0)[:, ::-1] + 0.5  # x, y, z
    assert np.abs(surface.vertices.mean(0) - rows.mean(0)).max() < 2
    assert (surface.vertices.min(0) - rows.min(0)).max() <= 0
    assert (surface.vertices.max(0) >= rows.max(0)).all()
    assert (surface.confidence == 1).all()
    with pytest.raises(PenumbraError, match="no body"):
        extract(0 * probability)


def test_a_body_that_leaves_the_grid_is_closed_there():
    block = np.zeros((16, 16, 16), np.float32)
    block[:, 4:12, 4:12] = 1
    surface = extract(block)
    assert trimesh.Trimesh(surface.vertices, surface.faces, process=False).is_watertight


def test_each_place_of_the_surface_has_its_part(body):
    truth = person(body)
    classes = np.eye(7, dtype=np.float32)[truth.voxels[0].numpy()].transpose(3, 0, 1, 2)
    surface = extract(1 - classes[0], classes)
    assert set(np.unique(surface.part)) == set(range(1, 7))
    middles = surface.vertices[surface.faces].mean(1)
    place = {name: middles[surface.part == number].mean(0) for name, number in PART.items()}
    assert place["Head"][1] < place["Torso"][1] < place["LeftLeg"][1]
    for name, joint in (("LeftArm", 11), ("RightArm", 14), ("LeftLeg", 1), ("RightLeg", 4)):  # elbows and knees
        assert np.abs(place[name][:2] - 64 * truth.joints[0, joint, :2].numpy()).max() < 6
    assert extract(1 - classes[0]).part.max() == 0


def test_enlarging_keeps_the_body_in_place(body):
    truth = person(body)
    large = enlarged(volume(truth), 128) > 0.5
    true = Labeller(body, BUNDLED)(truth.betas, truth.rotations, truth.camera, 128).voxels[0].numpy() > 0
    assert (large & true).sum() / (large | true).sum() > 0.8


def test_joints_alone_give_pose_and_scale(body, fitter):
    truth = person(body)
    fit = fitter.to_joints(exact(truth), float(truth.camera[0, 0]))
    assert surface_error(body, fit, truth) < 90
    posed = body.keypoints(*body(fit.betas[None], fit.rotations[None]), "bodynet16")[0]
    behind = -(posed[:, 2] - posed[PELVIS, 2])
    assert (behind - truth.joints[0, :, 2]).abs().mean() < 0.05  # the sign of the depths
    blind = fitter.to_joints(exact(person(body, (0.0, 0.0, 0.0))))  # who is as large as is assumed
    assert float(blind.camera[0]) == pytest.approx(0.9, rel=0.15)


def test_equation_six_finds_the_body_in_its_voxels(body, fitter):
    """With the camera's scale known, within 25 mm of a body whose voxels are 35 mm; the joints alone are worse."""
    truth = person(body)
    scale = float(truth.camera[0, 0])
    start = fitter.to_joints(exact(truth), scale)
    fit = fitter.to_surface(start, extract(volume(truth)), exact(truth), 64, scale)
    assert surface_error(body, fit, truth) < 25
    assert surface_error(body, fit, truth) < 0.6 * surface_error(body, start, truth)
    assert float(fit.camera[0]) == pytest.approx(scale)


def test_it_never_ends_worse_than_it_began(body, fitter):
    truth = person(body)
    scale, surface = float(truth.camera[0, 0]), extract(volume(truth))
    first = Fit(truth.camera[0], truth.rotations[0], truth.betas[0], float(truth.middle[0]))
    for _ in range(2):  # from the truth, and from where that ended
        fit = fitter.to_surface(first, surface, exact(truth), 64, scale)
        assert fit.energy <= fit.begun
        first = fit
    assert surface_error(body, first, truth) < 15


def test_smplify_plus_plus_makes_use_of_the_outline(body, fitter):
    truth = person(body)
    scale = float(truth.camera[0, 0])
    start = fitter.to_joints(exact(truth), scale)
    mask = (truth.parts[0] > 0).float().numpy()
    fit = fitter.to_outline(start, mask, exact(truth), scale)
    assert surface_error(body, fit, truth) < surface_error(body, start, truth)


class People(ProxySynthesizer):
    """Proxies whose truth is remembered."""

    def batch(self, count: int, plan: Synthesis, random: torch.Generator, volume: int | None = None) -> Example:
        example = super().batch(count, plan, random, volume)
        self.truth = example.truth
        return example


class KnowsAll(BodyNet):
    """A BodyNet that says what is true of the last batch; it has no lifter."""

    def __init__(self, people: People) -> None:
        super().__init__(replace(BUNDLED, lifter=0))
        self.people = people

    def forward(self, image: torch.Tensor) -> Outputs:
        truth, grid = self.people.truth, BUNDLED.grid
        parts = 9 * torch.nn.functional.one_hot(truth.parts, 15).movedim(-1, 1).float()
        voxels = 18 * (truth.voxels > 0).float() - 9
        return Outputs(
            (heatmaps2d(truth.joints, grid),),
            (parts,),
            (heatmaps3d(truth.joints, grid).clamp(min=1e-9).log(),),
            (voxels,),
        )


@pytest.mark.slow
def test_surface_errors_of_a_network_that_knows_all(body):
    """The order of Table 2: joints alone, outlines, voxels; and it helps to know the scale."""
    people = People(body, pose_bank([], 100, 0, test=True), BUNDLED)
    network = KnowsAll(people).eval()
    network.begin_with(six_from_matrices(front_rotations(pose_bank([], 300, 0))))
    methods = {"joints": by_joints, "outline": by_outline, "voxels": by_surface}
    found = measure_fits(methods, network, people, CONDITIONS["exact 2D"], 3)
    assert all(set(figures) == set(FIT_COLUMNS) for figures in found.values())
    assert found["voxels"]["surface_mm"] < 0.6 * found["joints"]["surface_mm"]
    assert found["outline"]["surface_mm"] < found["joints"]["surface_mm"]
    assert found["voxels"]["surface_mm"] < found["voxels"]["blind_mm"]
    assert found["voxels"]["surface_mm"] < 40
    assert found["voxels"]["pve_pa_mm"] < found["voxels"]["blind_mm"] + 1e-6
