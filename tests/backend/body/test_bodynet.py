# SPDX-License-Identifier: GPL-3.0-or-later
"""BodyNet: the paper's shapes, voxels and their orientation, re-projection, loss weights, and that training learns."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import trimesh

from backend.body.bodynet import losses, network, train
from backend.body.bodynet.bones import Bones
from backend.body.bodynet.evaluate import CONDITIONS, measure_network, metric_joints, network_means
from backend.body.bodynet.heatmaps import around, heatmaps2d, heatmaps3d, peaks2d, peaks3d
from backend.body.bodynet.network import BodyNet, BodyNetConfig, Outputs, VoxelNetwork
from backend.body.bodynet.parts import PARTS6, PARTS14, face_parts
from backend.body.bodynet.synthesis import Labeller, ProxySynthesizer
from backend.body.bodynet.voxels import Voxelizer, from_grid, middle_depth, to_grid
from backend.body.lasor import lifting
from backend.body.lasor.camera import likeness, weak_perspective
from backend.body.lasor.network import BUNDLED as LASOR
from backend.body.lasor.raster import coverage
from backend.body.lasor.synthesis import Synthesis
from backend.body.model import KEYPOINTS, BodyModel
from backend.body.motion import INDEX
from backend.body.poses import limit_poses
from backend.protocol import PenumbraError
from backend.weights import load_model

TINY = BodyNetConfig(channels=18, size=64, volume=32, features=16, widest=24, stacks=1, depth=2, bones=True, lifter=16)
PART = {name: 1 + k for k, name in enumerate(PARTS6)}


@pytest.fixture(scope="module")
def voxelizer(body) -> Voxelizer:
    return Voxelizer(body.faces, face_parts(body)[1])


def test_the_papers_shapes():
    """Sections 3.1 to 3.3 and B.1: what each subnetwork gives for an image of 256 pixels, from both of its stacks."""
    with torch.device("meta"):
        net = BodyNet(network.PAPER)
        found = net(torch.zeros(2, 3, 256, 256))
        entrance = net.voxels.stacks.entrance(torch.zeros(1, 34, 256, 256))
    stacked = [name for name in Outputs.__dataclass_fields__ if name != "rotations"]
    shapes = {name: [tuple(x.shape[1:]) for x in getattr(found, name)] for name in stacked}
    assert shapes == {
        "joints": [(16, 64, 64)] * 2,
        "parts": [(15, 64, 64)] * 2,
        "joints3d": [(16, 19, 64, 64)] * 2,
        "voxels": [(128, 128, 128)] * 2,
        "part_voxels": [(7, 128, 128, 128)] * 2,
    }
    assert entrance.shape == (1, 128, 128, 128)  # halved again by pooling before the 3D pose joins: 128 + 304 channels
    first = net.voxels.stacks.joining[0]
    assert isinstance(first.shortcut, torch.nn.Conv2d)
    assert first.shortcut.in_channels == 128 + 304
    assert net.voxels.stacks.entrance[0].in_channels == 3 + 16 + 15
    deepest = net.joints.hourglasses[0][0].within.within.within
    assert isinstance(deepest.within, network.Residual)  # four times halved: 4 × 4 pixels


def test_the_bundled_network_is_small():
    net = BodyNet(network.BUNDLED).eval()
    with torch.no_grad():
        found = net(torch.zeros(1, 18, 128, 128))
    assert found.voxels[-1].shape == (1, 64, 64, 64)
    assert sum(p.numel() for p in net.parameters()) < 5.5e6  # bytes, as it is saved


def test_capsules_about_the_joints_are_the_body(body):
    """They overlap with each part of bodies seen from anywhere, and least with those that are deep the wrong way."""
    people = ProxySynthesizer(body, limit_poses(20, 0), network.BUNDLED)
    truth = people.batch(24, CONDITIONS["exact 2D"], torch.Generator().manual_seed(1)).truth
    grid, sure = network.BUNDLED.grid, torch.ones(24, 16)
    small = F.one_hot(truth.voxels.long(), 7)[..., 1:].movedim(-1, 1).float()
    small = F.avg_pool3d(small, network.BUNDLED.volume // grid) > 0.5

    def shared(joints: torch.Tensor) -> torch.Tensor:
        inside = Bones()(joints, sure, grid).detach() > 0
        return (inside & small).sum((0, 2, 3, 4)) / (inside | small).sum((0, 2, 3, 4))

    assert shared(truth.joints).amin() > 0.18  # the arms, some two voxels thick
    assert (shared(truth.joints) > 1.3 * shared(truth.joints * torch.tensor([1, 1, -1.0]))).all()


def test_capsules_tell_where_their_joints_should_be(body):
    """Depth can be learned through them: gradients lead a hand that is too deep back towards where it is."""
    people = ProxySynthesizer(body, limit_poses(20, 0), network.BUNDLED)
    truth = people.batch(8, CONDITIONS["exact 2D"], torch.Generator().manual_seed(1)).truth
    bones, sure = Bones(), torch.ones(8, 16)
    target = bones(truth.joints, sure, 32).detach()
    hand = KEYPOINTS["bodynet16"].index("left_wrist")
    moved = truth.joints.clone()
    moved[:, hand, 2] += 0.05
    moved.requires_grad_()
    F.mse_loss(bones(moved, sure, 32), target).backward()
    assert (moved.grad[:, hand, 2] > 0).float().mean() > 0.8


@pytest.mark.parametrize("bones", [False, True])
def test_parts_begin_with_the_occupancy_of_the_shape_network(bones):
    torch.manual_seed(0)
    sizes = dataclasses.replace(TINY, bones=bones)
    shape, parts = VoxelNetwork(sizes).eval(), VoxelNetwork(sizes, 7).eval()
    torch.nn.init.normal_(shape.enlarged[0].weight, std=0.1)
    parts.begin_parts_with(shape)
    image, joints = torch.rand(1, 18 + 31, 64, 64), torch.rand(1, 16, 19, 16, 16)
    capsules = torch.randn(1, 6, 1, 1, 1).expand(1, 6, 16, 16, 16) if bones else None
    with torch.no_grad():
        occupied = 1 - parts(image, joints, capsules)[0].softmax(1)[:, 0]
        expected = shape(image, joints, capsules)[0].sigmoid()
        torch.testing.assert_close(occupied, expected, atol=1e-5, rtol=1e-3)


def test_part_names_are_those_of_the_bodys_file():
    data = BodyModel.load().body
    fourteen, six = face_parts(BodyModel.load())
    assert (fourteen.numpy() == data.extra["face_parts14"]).mean() > 0.99
    assert (six.numpy() == data.extra["face_parts6"]).mean() > 0.99
    assert tuple(data.extra["parts14_names"][1:]) == tuple(PARTS14)
    assert tuple(data.extra["parts6_names"][1:]) == PARTS6


def box(low: tuple, high: tuple) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed box whose faces are counter-clockwise from outside."""
    corners = torch.tensor([[(low, high)[(k >> axis) & 1][axis] for axis in range(3)] for k in range(8)])
    sides = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    return corners.float(), torch.tensor([t for a, b, c, d in sides for t in ((a, c, b), (a, d, c))]).flip(1)


def test_a_box_fills_the_voxels_whose_centres_it_holds():
    points, faces = box((3.2, 5.2, 8.2), (9.7, 6.7, 20.7))
    filled = Voxelizer(faces, torch.ones(12, dtype=torch.long))(points[None], 24)[0]
    where = filled.nonzero()
    assert where.amin(0).tolist() == [8, 5, 3]  # z, y, x
    assert where.amax(0).tolist() == [20, 6, 9]
    assert len(where) == 13 * 2 * 7
    inverted = Voxelizer(faces.flip(1), torch.ones(12, dtype=torch.long))(points[None], 24)
    assert inverted.sum() == 0
    with pytest.raises(ValueError, match="not closed"):
        Voxelizer(faces[1:], torch.ones(11, dtype=torch.long))


def test_a_sheet_thinner_than_a_voxel_is_seen_all_the_same():
    points, faces = box((4.0, 4.0, 10.6), (12.0, 12.0, 10.9))
    filled = Voxelizer(faces, torch.ones(12, dtype=torch.long))(points[None], 16)[0]
    assert filled.sum() == 64
    assert filled[10].sum() == 64


def test_a_ball_has_its_volume_and_is_round():
    ball = trimesh.creation.icosphere(4, 10.0)
    faces = torch.from_numpy(ball.faces.astype(np.int64))
    points = torch.from_numpy(ball.vertices).float() + 16.3
    filled = Voxelizer(faces, torch.ones(len(faces), dtype=torch.long))(points[None], 32)[0].bool()
    assert filled.sum().item() == pytest.approx(4 / 3 * math.pi * 1000, rel=0.01)
    centre = torch.arange(32) + 0.5 - 16.3
    z, y, x = torch.meshgrid(centre, centre, centre, indexing="ij")
    radius = (x**2 + y**2 + z**2).sqrt()
    assert filled[radius < 9.9].all()
    assert not filled[radius > 10.6].any()


def raised(*joints: str) -> torch.Tensor:
    """(1, 24, 3) a pose facing the camera with the given upper arms straight up, the others hanging."""
    pose = torch.zeros(1, 24, 3)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        pose[0, INDEX[f"{side}_shoulder"], 2] = sign * (1.3 if side in joints else -1.3)
    return pose


def test_a_raised_left_arm_is_up_on_the_pictures_right_and_before_the_body_is_near(body, voxelizer):
    vertices, _ = body(torch.zeros(1, 10), raised("left"))
    camera = torch.tensor([[0.85, 0.0, 0.1]])
    label = voxelizer(to_grid(vertices, camera, 64, middle_depth(vertices)), 64)[0]
    place = {name: (label == number).nonzero().float().mean(0) for name, number in PART.items()}
    assert set(label.unique().tolist()) == set(range(7))
    z, y, x = range(3)
    assert place["LeftArm"][x] > place["Torso"][x] > place["RightArm"][x]  # who faces the camera
    assert place["LeftArm"][y] < place["Torso"][y] - 5  # up
    assert place["RightArm"][y] > place["LeftArm"][y] + 10
    assert place["Head"][y] < place["Torso"][y] < place["LeftLeg"][y]
    toes, heel = (to_grid(v, camera, 64, middle_depth(vertices))[..., 2] for v in (
        body(torch.zeros(1, 10), raised("left"))[1][:, [INDEX["left_foot"]]],
        body(torch.zeros(1, 10), raised("left"))[1][:, [INDEX["left_ankle"]]],
    ))  # fmt: skip
    assert toes < heel  # nearer to the camera
    rows = label.nonzero()
    assert abs(rows[:, z].min() + rows[:, z].max() + 1 - 64) <= 1.01  # centred along z


def test_the_front_view_is_the_silhouette_and_parts_make_up_the_body(body, voxelizer):
    poses = torch.from_numpy(limit_poses(6, 4))
    vertices, _ = body(torch.zeros(6, 10), poses)
    camera = torch.tensor([[0.9, 0.0, 0.1]] * 6)
    grid = to_grid(vertices, camera, 64, middle_depth(vertices))
    label = voxelizer(grid, 64)
    assert torch.equal(losses.front(label > 0), coverage(grid[..., :2], body.faces, 64))
    whole = Voxelizer(body.faces, torch.ones(len(body.faces), dtype=torch.long))(grid, 64)
    more = (label > 0) & (whole == 0)  # what cutting the body apart adds where joints fold; nothing is lost
    assert not ((whole > 0) & (label == 0)).any()
    assert (more.sum((1, 2, 3)) < 0.01 * (whole > 0).sum((1, 2, 3))).all()
    corners = vertices[:, body.faces]
    volume = (corners[:, :, 0] * torch.linalg.cross(corners[:, :, 1], corners[:, :, 2])).sum((1, 2)) / 6
    voxel = (2 / (0.9 * 64)) ** 3
    torch.testing.assert_close((label > 0).sum((1, 2, 3)) * voxel, volume, rtol=0.06, atol=0)


def test_grid_and_back():
    points, camera, middle = (
        torch.randn(2, 9, 3),
        torch.tensor([[0.9, 0.1, -0.2], [0.5, 0, 0]]),
        torch.tensor([0.1, -2]),
    )
    there = to_grid(points, camera, 64, middle)
    torch.testing.assert_close(from_grid(there, camera, 64, middle), points, atol=1e-5, rtol=1e-5)


def test_heatmaps_and_peaks_by_hand():
    joints = torch.tensor([[[20.5 / 64, 10.5 / 64, 0.0], [0.5, 0.5, 0.09], [0.5, 0.5, 3.0]]])
    flat, deep = heatmaps2d(joints, 64), heatmaps3d(joints, 64)
    assert flat.shape == (1, 3, 64, 64)
    assert deep.shape == (1, 3, 19, 64, 64)
    assert flat[0, 0, 10, 20] == 1  # row y, column x
    assert flat[0, 0, 10, 21].item() == pytest.approx(math.exp(-0.5))
    assert flat[0, 0, 10, 24] == 0  # 7 pixels wide
    assert deep[0, 0, 9, 10, 20] == 1  # the pelvis' depth is the middle one
    assert deep[0, 1].amax((1, 2)).argmax() == 11  # 9 cm behind: two bins on
    assert deep[0, 2].amax((1, 2)).argmax() == 18  # beyond the range: its end
    place, height = peaks3d(deep)
    assert (place[0, :2] - joints[0, :2]).abs().max() < 0.01
    assert (height > 0.7).all()
    assert (peaks2d(flat)[0] - joints[..., :2]).abs().max() < 0.005


def test_the_loss_of_the_3d_pose_is_least_where_the_joints_are():
    joints = torch.tensor([[[20.3 / 32, 10.9 / 32, 0.101], [0.5, 0.5, 3.0], [-0.2, 0.5, 0.0]]])
    index, share = around(joints, 32)
    torch.testing.assert_close(share.sum(2), torch.ones(1, 3))
    certain = torch.full((1, 3, 19 * 32 * 32), -30.0).scatter(2, index, share.log()).view(1, 3, 19, 32, 32)
    outputs = Outputs((), (), (certain,))
    place, height = peaks3d(outputs.heatmaps3d)
    assert (place[0, 0] - joints[0, 0]).abs().max() < 0.01
    assert (height > 0.7).all()

    def loss(logits: torch.Tensor) -> float:
        truth = dataclasses.replace(fake_truth(torch.zeros(1, 8, 8, 8)), joints=joints)
        return losses.deep_losses(Outputs((), (), (logits,)), truth)["joints3d"].item()

    entropy = -(share * share.log()).sum(2).mean().item()
    assert loss(certain) == pytest.approx(entropy, abs=1e-3)
    assert loss(certain.roll(1, 2)) > entropy + 1  # 4.5 cm further away
    assert loss(torch.zeros_like(certain)) == pytest.approx(math.log(19 * 32 * 32), rel=1e-4)


def test_truth_belongs_to_the_proxy(body):
    people = ProxySynthesizer(body, limit_poses(30, 3), TINY)
    example = people.batch(6, Synthesis().clear(), torch.Generator().manual_seed(0))
    truth = example.truth
    assert example.image.shape == (6, 18, 64, 64)
    assert truth.voxels.shape == (6, 32, 32, 32)
    seen = torch.nn.functional.avg_pool2d(example.image[:, :1], 2)[:, 0] > 0.5
    shown = losses.front(truth.voxels > 0)
    both = (seen & shown).sum((1, 2)) / (seen | shown).sum((1, 2))
    assert both.mean() > 0.75  # perspective and weak perspective, at 32 pixels
    parts = torch.nn.functional.interpolate((truth.parts > 0)[:, None].float(), (32, 32))[:, 0] > 0
    assert ((parts & shown).sum((1, 2)) / (parts | shown).sum((1, 2))).mean() > 0.65  # of 16 pixels
    # Wrists of both orders: COCO's heatmaps of the proxy and the 16 joints' places.
    sixteen = {name: truth.joints[:, k] for k, name in enumerate(KEYPOINTS["bodynet16"])}
    for k, name in enumerate(KEYPOINTS["coco17"]):
        if name in ("left_wrist", "right_ankle"):
            peak = example.image[:, 1 + k].flatten(1).argmax(1)
            there = torch.stack([peak % 64, peak // 64], 1) / 64
            assert (there - sixteen[name][:, :2]).abs().median() < 0.04
    again = Labeller(body, TINY)(truth.betas, truth.rotations, truth.camera)
    assert torch.equal(again.voxels, truth.voxels)
    metres = metric_joints(truth.joints, truth.camera)
    vertices, joints = body(truth.betas, truth.rotations)
    true = body.keypoints(vertices, joints, "bodynet16").numpy() * (1, -1, -1)
    assert np.abs((metres - metres[:, 6:7]) - (true - true[:, 6:7])).max() < 1e-4


def test_the_likeness_of_a_weak_camera_is_itself():
    points, camera = torch.randn(2, 17, 3), torch.tensor([[0.8, 0.1, -0.3], [1.2, 0, 0.2]])
    torch.testing.assert_close(likeness(points, weak_perspective(points, camera)), camera)


def test_equations_two_to_four_by_hand():
    volume = torch.full((1, 4, 4, 4), -9.0)
    volume[0, 1, 2, 3] = 9.0  # z, y, x
    assert losses.front(volume)[0].argmax() == 2 * 4 + 3  # row, column
    assert losses.side(volume)[0].argmax() == 1 * 4 + 2  # depth, row
    label = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    label[0, 1, 2, 3] = 2
    outputs = Outputs((), (), None, (volume,))
    right = losses.voxel_losses(outputs, fake_truth(label))
    assert all(value < 0.001 for value in right.values())
    moved = losses.voxel_losses(outputs, fake_truth(label.roll(1, 1)))  # in depth: the front view does not change
    assert moved["front"] < 0.001
    assert moved["side"].item() == pytest.approx(2 * 9 / 16, rel=0.01)
    assert moved["voxels"].item() == pytest.approx(2 * 9 / 64 + losses.OVERLAP * 2 / 3, rel=0.01)
    volume = torch.zeros(2, 4, 4, 4)
    volume[:, 1, 1] = 1
    assert losses.apart(volume, volume) == 0
    assert losses.apart(volume, volume.roll(1, 2)).item() == pytest.approx(1 - 1 / 9)


def test_the_fourteen_projections_of_parts_by_hand():
    label = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    label[0, 1, 2, 3] = 2
    logits = 20 * torch.nn.functional.one_hot(label.long(), 7).movedim(-1, 1).float()
    right = losses.part_losses(Outputs((), (), None, None, (logits,)), fake_truth(label))
    assert all(value < 1e-3 for value in right.values())
    other = label.clone()
    other[0, 1, 2, 3] = 3  # another part: two parts' views are wrong in a pixel, the background's in none
    wrong = losses.part_losses(Outputs((), (), None, None, (logits,)), fake_truth(other))
    most = -math.log(1e-6)
    assert wrong["front"].item() == pytest.approx(2 * most / 16, rel=0.05)
    empty = losses.part_losses(Outputs((), (), None, None, (logits,)), fake_truth(torch.zeros_like(label)))
    assert empty["front"].item() == pytest.approx(2 * most / 16, rel=0.05)  # a part's maximum, the background's minimum


def fake_truth(label: torch.Tensor) -> losses.Truth:
    nothing = torch.zeros(1)
    return losses.Truth(nothing, nothing, nothing, nothing, nothing, nothing, label)


def test_balanced_weights_bring_gradients_to_one_scale():
    a, b = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(5))
    found = {"small": (1e-4 * a).sum(), "large": (100 * a).sum() + (100 * b).sum(), "of b": b.sum()}
    scales = losses.gradient_scales(found, [a, b])
    assert scales == pytest.approx({"small": 1e-4, "large": 100, "of b": 1})  # over the parameters that each reaches
    weights = losses.balanced_weights([scales, scales])
    assert sum(weights.values()) == pytest.approx(1)
    assert len({round(weights[name] * scales[name], 9) for name in scales}) == 1


def plan(stage: int, **changes) -> train.Plan:
    return train.Plan(stage=stage, **{"network": TINY, "batch": 4, "steps": 3, "measured": 2} | changes)


def test_five_stages_and_the_parts_follow_each_other(tmp_path):
    cpu, poses = torch.device("cpu"), limit_poses(20, 0)
    with pytest.raises(PenumbraError, match="stage1"):
        train.Trainer(plan(2), poses, tmp_path / "run", cpu)
    few = lifting.Plan(network=dataclasses.replace(LASOR, lifter=TINY.lifter), steps=2, batch=8)
    lifting.Trainer(few, poses, tmp_path / "run", cpu).train(poses)
    before = {}
    for stage in train.STAGES:
        trainer = train.Trainer(plan(stage), poses, tmp_path / "run", cpu)
        start = {name: value.clone() for name, value in trainer.network.state_dict().items()}
        for _ in range(3):
            found = trainer.train_step(trainer.draw())
        trainer.save()
        changed = {
            name.split(".")[0] for name, value in trainer.network.state_dict().items() if not value.equal(start[name])
        }
        assert changed == set(train.LEARNING[stage])
        before[stage] = trainer
    assert set(found) == {"voxels", "front", "side"}
    weights = before[5].weights
    assert set(weights) == {"joints2d", "parts2d", "joints3d", "voxels", "front", "side"}
    assert sum(weights.values()) == pytest.approx(1)
    assert before[4].weights == losses.SHAPE_WEIGHTS
    (tmp_path / "short").mkdir()
    for name in ("points", *(f"stage{k}" for k in range(1, 5))):
        shutil.copy(tmp_path / "run" / f"{name}.safetensors", tmp_path / "short")
    begun = train.Trainer(plan(6), poses, tmp_path / "short", cpu).network  # the fifth may be left out
    fourth = train.load_stage(tmp_path / "run", 4)
    assert begun.voxels.state_dict()["enlarged.0.weight"].equal(fourth.voxels.state_dict()["enlarged.0.weight"])
    resumed = train.Trainer(plan(5), poses, tmp_path / "run", cpu)
    assert resumed.run.step == 3
    assert resumed.weights == pytest.approx(weights)
    train.export(tmp_path / "run", tmp_path / "bodynet", [], "train.py")
    loaded, config = load_model("bodynet", tmp_path)
    assert config["trained"]["steps"]["6"] == 3
    example = before[6].people.batch(1, Synthesis().clear(), torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = before[6].average(example.image).joints3d[-1]
        torch.testing.assert_close(loaded(example.image).joints3d[-1], expected, atol=0.1, rtol=0.1)
    assert "stage 5: 3 steps" in (tmp_path / "bodynet" / "card.md").read_text("utf-8")


@pytest.mark.slow
def test_training_learns_to_see_bodies(tmp_path):
    """Overfitting four people through stages 1 to 3 fills their voxels, and the report says so."""
    cpu, poses = torch.device("cpu"), limit_poses(20, 0)
    sizes = BodyNetConfig(channels=18, size=64, volume=32, features=32, stacks=1, depth=2, part_voxels=False)
    for stage in (1, 2, 3):
        trainer = train.Trainer(plan(stage, network=sizes, steps=1000, rate=4e-3), poses, tmp_path, cpu)
        example = trainer.people.batch(4, Synthesis().clear(), torch.Generator().manual_seed(5))
        first = None
        for _ in range(50 if stage < 3 else 120):
            found = trainer.train_step(example)
            first = first or found
        trainer.save()
        assert all(found[name] < 0.7 * first[name] for name in found)
    trainer.network.eval()
    with torch.no_grad():
        occupied = trainer.network(example.image).voxels[-1] > 0
    true = example.truth.voxels > 0
    assert ((occupied & true).sum() / (occupied | true).sum()) > 0.4
    measured = measure_network(trainer.network, trainer.people, CONDITIONS["exact 2D"], 8, stage=3)
    means = network_means(measured)
    assert 0 <= means["voxel_iou"] <= 1
    assert {"pckh", "joints3d_mm", "voxel_iou", "voxel_iou_128", "silhouette_iou", "parts2d_iou"} <= set(means)
    assert json.dumps(means)
