# SPDX-License-Identifier: GPL-3.0-or-later
"""LASOR: proxies, synthesized occlusions, the network's sizes, the losses, and that training learns and resumes."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from backend.body.lasor import evaluate, lifting, network, proxy, train
from backend.body.lasor.camera import Lens, from_pixels, perspective, to_pixels, weak_perspective
from backend.body.lasor.lifter import Lifter
from backend.body.lasor.losses import WEIGHTS, Losses
from backend.body.lasor.network import Lasor, LasorConfig
from backend.body.lasor.person import Estimate, changed, estimate_of
from backend.body.lasor.synthesis import Batch, Synthesis, Synthesizer
from backend.body.model import KEYPOINTS, BodyModel
from backend.body.poses import builtin_poses, crossed, limit_poses, pose_bank
from backend.protocol import PenumbraError
from backend.weights import load_model, save_model

TINY = LasorConfig(widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1), hidden=32, lifter=32)
COCO = {name: i for i, name in enumerate(KEYPOINTS["coco17"])}


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
    return Synthesizer(BodyModel.load(coarse=True), limit_poses(50, 3))


def draw(synthesizer: Synthesizer, plan: Synthesis, count: int = 6, seed: int = 0) -> Batch:
    return synthesizer.batch(count, plan, torch.Generator().manual_seed(seed))


def test_heatmaps_by_hand():
    maps = proxy.heatmaps(torch.tensor([[[10.5, 20.5]] * 17]), torch.tensor([[1.0] + [0.0] * 16]))
    assert maps.shape == (1, 17, 256, 256)
    assert maps[0, 0, 20, 10] == 1  # row y, column x
    assert maps[0, 0, 20, 14].item() == pytest.approx(math.exp(-0.5))  # a standard deviation of 4 pixels
    assert maps[0, 0, 20, 18] > 0
    assert maps[0, 0, 20, 19] == 0  # cut at 8 pixels
    assert maps[0, 1:].sum() == 0


def test_peaks_are_where_the_heatmaps_were_drawn():
    points = 20 + 200 * torch.rand(3, 17, 2, generator=torch.Generator().manual_seed(0))
    visible = (torch.rand(3, 17, generator=torch.Generator().manual_seed(1)) < 0.7).float()
    for size in (256, 64):
        found, seen = proxy.peaks(proxy.heatmaps(points * size / 256, visible, size))
        assert torch.equal(seen, visible)
        assert ((found - points * size / 256).norm(dim=2) * visible).max() < 0.6 * max(1, size / 128)


def test_boxes_and_crops_keep_points_on_their_pixels():
    mask = torch.zeros(2, 60, 60)
    mask[0, 10:30, 20:30] = 1
    centre, side = proxy.box_of(mask)
    assert centre[0].tolist() == [25, 20]
    assert side.tolist() == [20, 60]  # the second is empty
    dot = torch.zeros(2, 1, 60, 60)
    dot[0, 0, 12, 27] = 1
    cut = proxy.crop(dot, centre, 1.2 * side, 48)[0, 0]
    x, y = proxy.into_crop(torch.tensor([[[27.5, 12.5]]] * 2), centre, 1.2 * side, 48)[0, 0].tolist()
    rows, columns = cut.nonzero(as_tuple=True)
    assert abs(rows.float().mean() + 0.5 - y) < 0.6
    assert abs(columns.float().mean() + 0.5 - x) < 0.6


def test_both_cameras_agree_far_away():
    points = torch.randn(1, 30, 3) * 0.5
    there = torch.tensor([[[0.3, 0.1, -1000.0]]])
    pixels, depth = perspective(points + there, torch.tensor([100000.0]), 256)
    camera = torch.tensor([[100000 / 1000 / 128, 0.3, 0.1]])
    torch.testing.assert_close(to_pixels(weak_perspective(points, camera), 256), pixels, atol=0.2, rtol=0)
    torch.testing.assert_close(from_pixels(to_pixels(points[..., :2], 256), 256), points[..., :2])
    assert (depth > 990).all()
    assert pixels[0, points[0, :, 1].argmax(), 1] == pixels[0, :, 1].min()  # up is a smaller row


def test_clear_people_are_whole_and_in_place(synthesizer):
    batch = draw(synthesizer, Synthesis().clear())
    assert batch.proxy.shape == (6, 18, 256, 256)
    mask = batch.proxy[:, 0]
    assert ((mask == 0) | (mask == 1)).all()
    assert (torch.nn.functional.avg_pool2d(mask[:, None], 2)[:, 0] - batch.silhouette).abs().max() == 0
    centre, side = proxy.box_of(mask)
    assert (centre - 128).abs().max() < 3
    assert (side - 256 / proxy.MARGIN).abs().max() < 5
    assert (batch.seen == 1).all()
    peaks = batch.proxy[:, 1:].flatten(2).argmax(2)
    found = torch.stack([peaks % 256, peaks // 256], 2) + 0.5
    assert (found - to_pixels(batch.keypoints, 256)).abs().max() < 1
    hips = to_pixels(batch.keypoints, 256)[:, [COCO["left_hip"], COCO["right_hip"]]].long()
    assert all(mask[i, y, x] == 1 for i, pair in enumerate(hips.tolist()) for x, y in pair)


def test_the_body_of_a_batch_fits_its_proxy(synthesizer):
    """Targets and inputs belong together: the weak camera that fits the keypoints best puts the body onto them."""
    plan = dataclasses.replace(Synthesis().clear(), distance=(42.0, 42.0))
    batch = draw(synthesizer, plan)
    vertices, joints = synthesizer.body(batch.betas, batch.rotations)
    torch.testing.assert_close(vertices, batch.vertices)
    flat = synthesizer.body.keypoints(vertices, joints)[..., :2]
    a, b = (x - x.mean(1, keepdim=True) for x in (flat, batch.keypoints))
    scale = (a * b).sum((1, 2)) / a.square().sum((1, 2))
    assert (scale > 0.3).all()
    assert (scale[:, None, None] * a - b).abs().max() < 0.04


def test_small_proxies_show_the_same_people(synthesizer):
    large, small = (
        synthesizer.batch(6, Synthesis().clear(), torch.Generator().manual_seed(3), size) for size in (256, 64)
    )
    both = torch.nn.functional.avg_pool2d(large.proxy, 4)
    assert (both[:, 0] - small.proxy[:, 0]).abs().mean() < 0.04  # outlines, where a pixel is in or out
    peaks = (maps.flatten(2).argmax(2) for maps in (both[:, 1:], small.proxy[:, 1:]))
    places = [torch.stack([peak // 64, peak % 64]) for peak in peaks]
    assert (places[0] - places[1]).abs().max() <= 1
    torch.testing.assert_close(large.keypoints, small.keypoints, atol=0.03, rtol=0)
    assert (large.silhouette - small.silhouette).abs().mean() < 0.04


def test_equation_one_turns_people_all_around(synthesizer):
    still = dataclasses.replace(Synthesis(), view=(0.0, 0.0, 0.0), tumbled=0.0)
    up = torch.tensor([0.0, 1, 0])
    for plan, least in ((still, 0.999), (dataclasses.replace(Synthesis(), tumbled=0.0), 0.3)):
        rotations, _ = synthesizer.people(400, plan, torch.Generator().manual_seed(0))
        facing, head = rotations[:, 0] @ torch.tensor([0.0, 0, 1]), rotations[:, 0] @ up
        assert (head[:, 1] > least - 0.6).float().mean() > 0.97  # upright, at most leaning
        backs = (facing[:, 2] < 0).float().mean().item()
        assert backs == 0 if plan is still else 0.35 < backs < 0.65


def test_equation_two_hides_what_the_other_covers(synthesizer):
    clear = dataclasses.replace(Synthesis().clear(), distance=(10.0, 10.0))
    hidden = dataclasses.replace(clear, occluded=1.0)
    batch = draw(synthesizer, hidden, 24)
    whole, cut = batch.silhouette > 0.99, torch.nn.functional.avg_pool2d(batch.proxy[:, :1], 2)[:, 0]
    assert (cut <= batch.silhouette + 1e-6).all()  # S = S1 − S1 · S2
    lost = 1 - (cut > 0.5).sum((1, 2)) / whole.sum((1, 2))
    assert lost.max() > 0.2
    assert (cut.sum((1, 2)) > 0).all()
    gone = batch.seen == 0
    assert gone[lost > 0.2].any()
    assert batch.proxy[:, 1:].amax((2, 3))[gone].max() == 0  # no heatmap for what is hidden
    # A keypoint on what is left of the body is seen, one on what is gone is not.
    pixels = to_pixels(batch.keypoints, 128).long().clamp(0, 127)
    picture = torch.arange(24)[:, None]
    on_whole, on_cut = whole[picture, pixels[..., 1], pixels[..., 0]], cut[picture, pixels[..., 1], pixels[..., 0]]
    assert batch.seen[on_cut > 0.99].float().mean() > 0.98
    assert batch.seen[on_whole & (on_cut == 0)].float().mean() < 0.05


def test_faults_of_detectors(synthesizer):
    clear = Synthesis().clear()
    calm = draw(synthesizer, clear, 12)
    wobbly = draw(synthesizer, dataclasses.replace(clear, joint_noise=8.0), 12)
    peaks = wobbly.proxy[:, 1:].flatten(2).argmax(2)
    away = torch.stack([peaks % 256, peaks // 256], 2) + 0.5 - to_pixels(wobbly.keypoints, 256)
    assert 6 < away.abs().max() < 9
    assert draw(synthesizer, dataclasses.replace(clear, joint_loss=0.5), 12).proxy[:, 1:].amax((2, 3)).mean() < 0.7
    grown = draw(synthesizer, dataclasses.replace(clear, swollen=3), 12).proxy[:, 0]
    assert (grown >= calm.proxy[:, 0]).all()
    assert grown.sum() > 1.02 * calm.proxy[:, 0].sum()
    boxed = draw(synthesizer, dataclasses.replace(clear, box=1.0), 12).proxy[:, 0]
    assert (boxed.sum((1, 2)) < calm.proxy[:, 0].sum((1, 2))).float().mean() > 0.6
    assert (calm.proxy[:, 0] - boxed).sum((1, 2)).max() <= 48 * 48
    partless = draw(synthesizer, dataclasses.replace(clear, missing=10.0), 12).proxy[:, 0]
    assert partless.sum() < 0.5 * calm.proxy[:, 0].sum()


def test_bodies_are_those_of_adults_and_children(synthesizer):
    adults, children = (dataclasses.replace(Synthesis(), children=share) for share in (0.0, 1.0))
    heights = []
    for plan in (adults, children):
        _, betas = synthesizer.people(100, plan, torch.Generator().manual_seed(0))
        vertices, _ = synthesizer.body(betas, torch.zeros(100, 24, 3))
        heights.append(np.ptp(vertices[:, :, 1].numpy(), 1))
    assert 1.5 < heights[0].mean() < 1.85
    assert heights[1].mean() < heights[0].mean() - 0.15


def test_splits_share_no_pose():
    learned, unseen = builtin_poses(2), builtin_poses(2, test=True)
    assert len({p.tobytes() for p in learned} & {p.tobytes() for p in unseen}) == 0
    bank = pose_bank([], 100, 0)
    assert bank.shape == (100, 24, 3)
    assert np.array_equal(bank, pose_bank([], 100, 0))
    assert not np.array_equal(bank, pose_bank([], 100, 0, test=True))


def test_crossed_poses_walk_as_one_and_wave_as_another():
    poses = limit_poses(2, 4)
    found = crossed(poses, 20, np.random.default_rng(0))
    legs, above = found[:, [0, 1, 2, 4, 5, 7, 8, 10, 11]], found[:, [3, 6, 9, *range(12, 24)]]
    for part, joints in ((legs, [0, 1, 2, 4, 5, 7, 8, 10, 11]), (above, [3, 6, 9, *range(12, 24)])):
        assert all(any(np.array_equal(one, pose[joints]) for pose in poses) for one in part)
    assert 0 < sum(any(np.array_equal(one, pose) for pose in poses) for one in found) < 20


def test_sizes_are_the_papers():
    with torch.device("meta"):
        # A ResNet's convolutions and normalisations, with 15 more channels of 7 × 7 × 64 at its entrance.
        for config, features, count in ((network.RESNET18, 512, 11_176_512), (network.RESNET50, 2048, 23_508_032)):
            encoder = network.Encoder(config)
            assert encoder.features == features
            assert sum(p.numel() for p in encoder.parameters()) == count + 15 * 49 * 64
        bundled = Lasor(network.BUNDLED)
    assert 2 * sum(p.numel() for p in bundled.parameters()) < 16e6


def test_large_proxies_are_brought_down_to_the_size_that_was_learnt(synthesizer):
    torch.manual_seed(0)
    net = Lasor(dataclasses.replace(TINY, size=64)).eval()
    torch.nn.init.normal_(net.regressor[-1].weight, std=0.05)
    large = draw(synthesizer, Synthesis().clear(), 3).proxy
    small = torch.nn.functional.interpolate(large, (64, 64), mode="area")
    with torch.no_grad():
        torch.testing.assert_close(net(large).rotations, net(small).rotations, atol=2e-3, rtol=0)


def test_a_network_without_a_lifter_begins_with_the_mean():
    net = Lasor(dataclasses.replace(TINY, lifter=0)).eval()
    net.mean[-10:] = 0.5
    estimate = net(torch.rand(2, 18, 64, 64))
    assert (estimate.betas - 0.5).abs().max() < 0.2
    assert (estimate.rotations - torch.eye(3)).abs().max() < 0.3
    torch.testing.assert_close(net.mean_estimate(1).camera, torch.tensor([[0.9, 0, 0]]))


def test_the_lifters_body_moves_and_grows_with_its_keypoints(body):
    """Wherever a crop cuts, the same person is told, seen where the keypoints are; hidden ones are not read."""
    torch.manual_seed(0)
    lifter = Lifter(32).eval()
    torch.nn.init.normal_(lifter.head.weight, std=0.02)
    points, found = torch.rand(3, 17, 2) - 0.5, (torch.rand(3, 17) > 0.3).float()
    shift, size = torch.tensor([0.2, -0.1]), 0.6
    elsewhere = torch.where(found[..., None] > 0, points * size + shift, 7.0)
    with torch.no_grad():
        a, b = (estimate_of(lifter(x, found)) for x in (points, elsewhere))
        torch.testing.assert_close(a.rotations, b.rotations)
        vertices, joints = body(a.betas, a.rotations)
        seen = [weak_perspective(body.keypoints(vertices, joints), x.camera) for x in (a, b)]
    torch.testing.assert_close(seen[0] * size + shift, seen[1], atol=1e-5, rtol=1e-4)


def test_the_lifter_learns_and_lasor_begins_with_what_it_learnt(tmp_path):
    cpu, poses = torch.device("cpu"), limit_poses(200, 0)
    with pytest.raises(PenumbraError, match="--stage points"):
        train.Trainer(plan(network=TINY), poses, tmp_path / "run", cpu)
    few = lifting.Plan(network=TINY, steps=60, batch=64, rate=3e-3, average=0.9)
    lifting.Trainer(few, poses, tmp_path / "run", cpu).train(poses, every=0.5)
    lines = [json.loads(line) for line in (tmp_path / "run" / "points.jsonl").read_text().splitlines()]
    assert lines[-1]["tested"]["exact"]["mpjpe"] < 0.9 * lines[0]["tested"]["exact"]["mpjpe"]
    assert lines[-1]["tested"]["exact"]["mpjpe"] < lines[-1]["tested"]["a detector's"]["mpjpe"]
    resumed = lifting.Trainer(few, poses, tmp_path / "run", cpu)
    state = resumed.optimizer.state_dict()
    assert resumed.run.step == 60
    assert {name.split(".")[0] for name in state} == {"adam", "muon"}
    assert all(value.abs().max() > 0 for value in state.values())
    trainer = train.Trainer(plan(network=TINY), poses, tmp_path / "run", cpu)
    before = trainer.network.lifter.head.weight.clone()
    assert before.equal(lifting.trained(tmp_path / "run", TINY.lifter)["head.weight"])
    trainer.train_step(trainer.draw())
    assert trainer.network.lifter.head.weight.equal(before)
    train.export(trainer, tmp_path / "weights" / "lasor", [], "a test")
    loaded, config = load_model("lasor", tmp_path / "weights")
    assert config["shared"]["lifter"]["name"] == "lifter"
    torch.testing.assert_close(loaded.lifter.head.weight, before, atol=0.01, rtol=0.01)
    with torch.no_grad():  # another lifter than the one that it was trained with
        trainer.network.lifter.head.bias[0] += 1
    save_model(tmp_path / "weights" / "lifter", "lifter", trainer.network.lifter, {"network": {"width": 32}}, "")
    with pytest.raises(PenumbraError, match="another version"):
        load_model("lasor", tmp_path / "weights")


def test_the_bundled_lifter_corrects_its_answers(body):
    lifter, few = load_model("lifter")[0], body.landmarks_only()
    drawn = lifting.People(few, limit_poses(200, 5)).sparse(200, Synthesis().clear(), torch.Generator().manual_seed(3))
    away = []
    with torch.no_grad():
        for numbers in lifter.passes(drawn.points, drawn.found):
            person = estimate_of(numbers)
            flat = weak_perspective(few.keypoints(*few(person.betas, person.rotations)), person.camera)
            away.append((flat - drawn.exact).norm(dim=2).mean().item())
    assert away[2] < away[1] < 0.7 * away[0]


def test_the_bundled_lifters_errors_are_spread_as_it_says(body):
    lifter, people = load_model("lifter")[0], lifting.People(body.landmarks_only(), pose_bank([], 300, 0, test=True))
    lack = lifting.lacks(lifter, people, 500, torch.Generator().manual_seed(5))
    likely, turned = (torch.linalg.solve(x, lack.T).square().sum(0).mean() for x in (lifter.spread, lifter.spread.T))
    assert 40 < likely < 110  # of 82 numbers of variance 1
    assert turned > 2 * likely


def test_a_change_by_what_is_lacking_gives_the_truth(body):
    lifter, people = load_model("lifter")[0], lifting.People(body.landmarks_only(), limit_poses(50, 5))
    drawn = people.sparse(20, lifting.GRADED, torch.Generator().manual_seed(7))
    with torch.no_grad():
        told = estimate_of(lifter(drawn.points, drawn.found))
    lack = lifting.lacks(lifter, people, 20, torch.Generator().manual_seed(7))
    change = torch.linalg.solve(lifter.spread, lack.T).T
    rotations, betas = changed(told.rotations, told.betas, change, lifter.spread)
    torch.testing.assert_close(rotations, drawn.rotations, atol=1e-4, rtol=0)
    torch.testing.assert_close(betas, drawn.betas, atol=1e-4, rtol=0)


def test_bodies_of_landmarks_have_the_same_keypoints(body):
    few, pose, betas = body.landmarks_only(), torch.from_numpy(limit_poses(2, 0)), torch.randn(2, 10)
    for order in ("coco17", "lsp14", "bodynet16"):
        torch.testing.assert_close(few.keypoints(*few(betas, pose), order), body.keypoints(*body(betas, pose), order))


def test_losses_by_hand(synthesizer):
    batch = draw(synthesizer, dataclasses.replace(Synthesis().clear(), distance=(42.0, 42.0)), 2)
    losses = Losses(synthesizer.body, squares=True)
    flat = synthesizer.body.keypoints(*synthesizer.body(batch.betas, batch.rotations))[..., :2]
    a, b = (x - x.mean(1, keepdim=True) for x in (flat, batch.keypoints))
    scale = (a * b).sum((1, 2)) / a.square().sum((1, 2))
    shift = batch.keypoints.mean(1) / scale[:, None] - flat.mean(1)
    camera = torch.cat([scale[:, None], shift], 1)
    right = losses(Estimate(camera, batch.rotations, batch.betas), batch)
    assert all(right[name] < 1e-9 for name in ("vertices", "joints3d", "pose", "shape"))
    assert right["joints2d"] < 1e-3
    assert right["silhouette"] < 0.01
    wrong = losses(Estimate(camera + torch.tensor([0, 0.1, 0]), batch.rotations, batch.betas + 0.3), batch)
    assert wrong["shape"].item() == pytest.approx(0.09)
    assert wrong["silhouette"] > 2 * right["silhouette"]
    # (0.1 · scale)² in one of two coordinates, as far as the shape moves no keypoint.
    moved = losses(Estimate(camera + torch.tensor([0, 0.1, 0]), batch.rotations, batch.betas), batch)
    assert moved["joints2d"].item() == pytest.approx((0.1 * scale).square().mean().item() / 2, rel=0.1)
    far = Losses(synthesizer.body)(Estimate(camera, batch.rotations, batch.betas + 0.3), batch)
    vertices = [synthesizer.body(betas, batch.rotations)[0] for betas in (batch.betas, batch.betas + 0.3)]
    assert far["vertices"].item() == pytest.approx((vertices[1] - vertices[0]).norm(dim=2).mean().item(), rel=1e-4)
    blind = dataclasses.replace(batch, seen=torch.zeros(2, 17))
    assert losses(Estimate(camera + 1, batch.rotations, batch.betas), blind)["joints2d"] == 0
    total = losses.total(wrong)  # equation 9: L/σ² + log σ
    expected = sum(WEIGHTS[n] * value.item() + math.log(WEIGHTS[n] ** -0.5) for n, value in wrong.items())
    assert total.item() == pytest.approx(expected, rel=1e-5)


def test_the_silhouette_loss_finds_scale_and_place(synthesizer):
    batch = draw(synthesizer, dataclasses.replace(Synthesis().clear(), distance=(42.0, 42.0)), 2)
    losses = Losses(synthesizer.body)
    camera = torch.tensor([[0.75, 0.1, 0.1]] * 2, requires_grad=True)
    descent = torch.optim.Adam([camera], 0.02)
    begun = None
    for _ in range(60):
        loss = losses(Estimate(camera, batch.rotations, batch.betas), batch)["silhouette"]
        begun = begun or loss.item()
        descent.zero_grad()
        loss.backward()
        descent.step()
    assert loss.item() < 0.15 * begun


def plan(**changes) -> train.Plan:
    short = {"network": dataclasses.replace(TINY, lifter=0), "batch": 4, "steps": 6, "clear": 0.5, "rate": 2e-3}
    return train.Plan(**short | {"sizes": ((64, 0.0), (128, 0.5))} | changes)


def test_training_goes_on_where_it_stopped(tmp_path):
    cpu, poses = torch.device("cpu"), limit_poses(20, 0)
    whole = train.Trainer(plan(), poses, tmp_path / "run", cpu)
    batches = [whole.draw() for _ in range(4)]
    for batch in batches[:2]:
        whole.train_step(batch)
    whole.save()
    resumed = train.Trainer(plan(), poses, tmp_path / "run", cpu)
    assert resumed.run.step == 2
    for batch in batches[2:]:
        whole.train_step(batch)
        resumed.train_step(batch)
    for a, b in zip(whole.average.state_dict().values(), resumed.average.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(whole.losses.log_variance["pose"], resumed.losses.log_variance["pose"])
    with pytest.raises(PenumbraError, match="another network"):
        train.Trainer(plan(network=dataclasses.replace(TINY, hidden=16, lifter=0)), poses, tmp_path / "run", cpu)


def test_training_learns_and_writes_what_can_be_loaded(tmp_path):
    poses = limit_poses(20, 0)
    trainer = train.Trainer(plan(steps=1000, clear=1.0, rate=0.02), poses, tmp_path / "run", torch.device("cpu"))
    batch = trainer.draw()  # the same four people again and again
    first = trainer.train_step(batch)
    for _ in range(38):
        last = trainer.train_step(batch)
    assert last["vertices"] < 0.7 * first["vertices"]
    assert last["silhouette"] < 0.9 * first["silhouette"]
    trainer.run.plan = dataclasses.replace(trainer.plan, steps=40)
    train.train(trainer, poses)
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert line["step"] == 40
    assert line["tested"]["exact 2D"]["pa_mpjpe_mm"] > 0
    train.export(trainer, tmp_path / "weights" / "lasor", [], "a test")
    loaded, config = load_model("lasor", tmp_path / "weights")
    assert config["trained"]["steps"] == 40
    with torch.inference_mode():
        mine, theirs = trainer.average(batch.proxy), loaded(batch.proxy)
    torch.testing.assert_close(mine.betas, theirs.betas, atol=0.02, rtol=0.02)


def test_evaluation_knows_the_truth_from_the_mean(synthesizer):
    def truth(batch: Batch) -> tuple[Estimate, Lens]:
        points = synthesizer.body.keypoints(*synthesizer.body(batch.betas, batch.rotations))
        return Estimate(batch.lens.likeness(points, batch.keypoints), batch.rotations, batch.betas), batch.lens

    methods = {"truth": truth, "mean": evaluate.by_mean(Lasor(TINY))}
    near = {"exact 2D": dataclasses.replace(Synthesis().clear(), distance=(2.0, 2.5))}
    right, mean = evaluate.evaluate(methods, limit_poses(20, 0), near, 4)
    assert right["images"] == 4
    assert right["pa_mpjpe_mm"] < 0.1 > right["pve_pa_mm"]
    assert right["pve_t_sc_mm"] < 0.1
    assert right["miou"] > 0.93
    assert mean["pa_mpjpe_mm"] > 50
    assert mean["miou"] < 0.9
    assert "PVE-T-SC" in evaluate.results_table([right, mean])
