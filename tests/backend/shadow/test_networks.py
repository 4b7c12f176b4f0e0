# SPDX-License-Identifier: GPL-3.0-or-later
"""The predictors, their losses, the generator, and how they are trained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from backend import weights
from backend.display import decode_display
from backend.protocol import PenumbraError
from backend.shadow import losses, networks, train
from backend.shadow.examples import collate, example
from backend.shadow.generated import load_generator
from backend.shadow.generator import Conditions, GeneratorConfig, ShadowGenerator, clear_day, condition, shaded
from backend.shadow.networks import PredictorConfig, ShadowPredictors, geometry_cues, hint
from backend.shadow.tone import DEPTH, TINT

from .posts import tuples

TINY = PredictorConfig(depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), coarse=8, fine=8, quality=8)
SMALL = GeneratorConfig(size=32, widths=(8, 16), prompt=8, token_width=8, post=8, heads=2)
CPU = torch.device("cpu")


DATA = tuples()
BATCH = collate([example(one, 32) for one in DATA])


def test_the_papers_light_predictor_is_convnext_small() -> None:
    with torch.device("meta"):
        model = networks.LightPredictor(PredictorConfig())
    body = sum(p.numel() for p in model.body.parameters()) + sum(p.numel() for p in model.norm.parameters())
    stem = 4 * 4 * 96 * (networks.HINT - 3)  # ConvNeXt-Small without its classifier has 49,454,688 and sees 3 channels
    assert body - stem == 49_454_688


def test_the_hint_knows_no_unit_of_length_and_no_points_where_there_are_none() -> None:
    one = hint(BATCH.composite, BATCH.object, BATCH.points, BATCH.valid)
    other = hint(BATCH.composite, BATCH.object, BATCH.points * 3, BATCH.valid)
    torch.testing.assert_close(one, other)
    assert one.shape[1] == networks.HINT
    assert not (one[:, 4:] * (1 - BATCH.valid)).any()


def test_geometry_cues_of_a_bar_beside_its_object() -> None:
    mask, object_ = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 40:44, 20:60] = 1
    object_[..., 10:30, 18:22] = 1
    cues = geometry_cues(mask, object_, mask)[0]
    assert cues[0] == pytest.approx((40 - 20) / 63, abs=0.01)
    assert cues[1] == pytest.approx((42 - 20) / 63, abs=0.01)
    assert cues[2] == pytest.approx(1 - 4 / 40, abs=0.02)
    assert cues[3] == 0
    assert geometry_cues(mask, object_, 1 - mask)[0, 3] == pytest.approx(1, abs=0.01)


def test_losses_by_hand() -> None:
    x, z = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 0, 1.0]])
    both, true = torch.cat([x, x]), torch.cat([x, z])
    assert losses.light_loss(both, true, torch.ones(2)) == 0.5
    assert losses.light_loss(both, true, torch.tensor([1.0, 0])) == 0
    half = torch.zeros(1, 1, 10, 10)
    half[..., :5] = 1
    assert losses.dice_error(half, torch.ones_like(half)) == pytest.approx(1 - 101 / 151)
    # Pairs: the first is better by error. Quality 0.5 against 0.48 misses the margin 0.05 by 0.03.
    assert losses.ranking_loss(torch.tensor([0.5, 0.48]), torch.tensor([0.1, 0.2])) == pytest.approx(0.03)
    assert losses.ranking_loss(torch.tensor([0.48, 0.5]), torch.tensor([0.1, 0.2])) == pytest.approx(0.07)
    assert losses.quality_target(torch.tensor(0.6), 0.6) == pytest.approx(np.exp(-1))


def test_the_fine_corrector_begins_as_nothing() -> None:
    torch.manual_seed(0)
    model = networks.MaskCorrector(TINY)
    h = hint(BATCH.composite, BATCH.object, BATCH.points, BATCH.valid)
    prior = networks.prior_at_low_resolution(BATCH.points, BATCH.object, BATCH.valid, BATCH.light)
    fine, coarse = model(prior, h, BATCH.light)
    assert fine.shape == (4, 1, 32, 32)
    torch.testing.assert_close(fine, coarse)


def test_stages_one_and_two_learn_resume_and_export(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plan = train.Plan(stage=1, size=32, steps=36, batch=4, rate=2e-2)
    trainer = train.Trainer(plan, tmp_path / "run", CPU, ShadowPredictors(TINY))
    before = error(trainer)
    for _ in range(18):
        trainer.train_step(BATCH)
    trainer.save()
    again = train.Trainer(plan, tmp_path / "run", CPU, ShadowPredictors(TINY))
    assert again.run.step == 18
    for mine, other in zip(trainer.network.parameters(), again.network.parameters(), strict=True):
        torch.testing.assert_close(mine, other)
    for _ in range(18):
        again.train_step(BATCH)
    after = error(again)
    assert after["light"] < 0.5 * before["light"]
    assert after["mask"] < 0.8 * before["mask"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "card.json").write_text('{"tier": "posts"}')
    train.export(again, tmp_path / "weights" / "predictors", [tmp_path / "data"], "train it")
    loaded, config = weights.load_model("predictors", tmp_path / "weights")
    assert isinstance(loaded, ShadowPredictors)
    assert config["trained"]["steps"] == 36

    trainer = train.Trainer(dataclasses.replace(plan, stage=2, steps=24), tmp_path / "run", CPU, loaded)
    fixed = [p.clone() for p in loaded.light.parameters()]
    first = error(trainer)
    for _ in range(24):
        trainer.train_step(BATCH)
    last = error(trainer)
    assert sum(last.values()) < 0.7 * sum(first.values())
    assert all((a == b).all() for a, b in zip(fixed, loaded.light.parameters(), strict=True))
    with pytest.raises(PenumbraError, match="another network"):
        train.Trainer(plan, tmp_path / "run", CPU, ShadowPredictors(dataclasses.replace(TINY, fine=16)))


@torch.no_grad()
def error(trainer: train.Trainer) -> dict[str, float]:
    """Mean losses on the batch, of the same draws at every call."""
    torch.manual_seed(5)
    drawn = [trainer.losses(BATCH) for _ in range(3)]
    return {name: float(sum(losses[name] for losses in drawn)) / 3 for name in drawn[0]}


def conditions(mask_quality: float = 1.0, light_quality: float = 1.0) -> Conditions:
    h = hint(BATCH.composite, BATCH.object, BATCH.points, BATCH.valid)
    ones = torch.ones(len(h))
    taken = clear_day(BATCH.composite)
    return Conditions(BATCH.composite, h, BATCH.shadow, BATCH.light, ones * light_quality, ones * mask_quality, taken)


def test_the_small_generators_code_is_the_ratio_by_the_masks_shadow() -> None:
    generator, c = ShadowGenerator.small(SMALL), conditions()
    ratio = torch.tensor([1.0, 0.5, 0.06]).view(1, 3, 1, 1).expand_as(c.composite)
    code = generator.latents(c.composite, ratio, c)
    assert (code[:, 0][c.mask[:, 0] == 0] == 0).all()
    assert code.abs().max() < 10
    torch.testing.assert_close(generator.decode(code, c), ratio)
    composite = torch.full((1, 3, 4, 4), 0.5)
    dark = shaded(composite, torch.full((1, 3, 4, 4), 0.2))
    torch.testing.assert_close(decode_display(dark), decode_display(composite) * 0.2)


def test_an_untrained_generator_draws_the_masks_shadow_and_no_noise() -> None:
    generator = ShadowGenerator.small(SMALL).eval()
    drawn = generator.sample(conditions(mask_quality=0.5), seed=3, steps=4)
    expected = 1 - 0.5 * BATCH.shadow * torch.tensor(DEPTH * TINT, dtype=torch.float32).view(1, 3, 1, 1)
    torch.testing.assert_close(drawn, expected, atol=1e-4, rtol=1e-4)


def test_confidences_gate_mask_and_light() -> None:
    torch.manual_seed(0)
    generator = ShadowGenerator.small(SMALL).eval()
    for module in (generator.controlnet, generator.unet):  # what begins as zero would hide everything
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, 0, 0.1)
    noisy, step = torch.randn(4, 3, 32, 32), torch.full((4,), 400)

    def noise(c: Conditions) -> torch.Tensor:
        with torch.no_grad():
            return generator.denoise(noisy, step, c)

    turned = dataclasses.replace(conditions(light_quality=0), light=-BATCH.light)
    torch.testing.assert_close(noise(turned), noise(conditions(light_quality=0)))
    assert (noise(dataclasses.replace(conditions(), light=-BATCH.light)) - noise(conditions())).abs().max() > 1e-4
    moved = dataclasses.replace(conditions(mask_quality=0), mask=1 - BATCH.shadow)
    torch.testing.assert_close(noise(moved), noise(conditions(mask_quality=0)))
    assert (noise(dataclasses.replace(conditions(), mask=1 - BATCH.shadow)) - noise(conditions())).abs().max() > 1e-4

    generator.config = dataclasses.replace(SMALL, without=("points", "mask", "light"))  # the plain generator
    nothing = dataclasses.replace(conditions(), mask=0 * BATCH.shadow, light=-BATCH.light)
    nothing.hint[:, 4:] = 0
    torch.testing.assert_close(noise(nothing), noise(conditions()))
    generator.config = dataclasses.replace(SMALL, without=("confidences",))
    torch.testing.assert_close(noise(conditions(0.2, 0.3)), noise(conditions()))


def test_some_examples_are_told_the_true_mask_and_light_and_trust_them() -> None:
    torch.manual_seed(0)
    predictors = ShadowPredictors(TINY).eval()
    c = condition(predictors, (BATCH.composite, BATCH.object, BATCH.points, BATCH.valid))
    which, light = torch.arange(len(BATCH.known)) == 1, BATCH.light.clone()
    found = train.conditions(predictors, BATCH, which)
    assert torch.equal(BATCH.light, light)
    torch.testing.assert_close(found.mask[0], c.mask[0])
    torch.testing.assert_close(found.mask[1], BATCH.shadow[1] * (1 - BATCH.object[1]))
    assert torch.equal(found.light[1], BATCH.light[1])
    torch.testing.assert_close(found.light[2], c.light[2])
    all_told = train.conditions(predictors, BATCH, torch.ones(len(which), dtype=torch.bool))
    drawn = ShadowGenerator.small(SMALL).shadow_of_mask(all_told)[::2]
    true = BATCH.ratio[::2].log()
    for mine, theirs in zip(drawn, true, strict=True):  # a traced shadow, of a light somewhat too strong or too weak
        assert np.corrcoef(mine.flatten(), theirs.flatten())[0, 1] > 0.95
        assert 0.3 < mine.min() / theirs.min() < 3
    assert found.mask_quality[1] == found.light_quality[1] == 1
    assert found.mask_quality[0] == pytest.approx(float(c.mask_quality[0]))
    assert found.mask_quality[0] < 1


def test_stage_three_learns_and_samples_by_its_seed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = ShadowGenerator.small(SMALL)
    plan = train.Plan(stage=3, size=32, steps=30, batch=4, rate=1e-2)
    trainer = train.Trainer(plan, tmp_path, CPU, ShadowPredictors(TINY), generator)
    before = error(trainer)
    for _ in range(30):
        trainer.train_step(BATCH)
    assert sum(error(trainer).values()) < 0.7 * sum(before.values())
    train.export(trainer, tmp_path / "generator", [], "train it")
    assert json.loads((tmp_path / "generator" / "config.json").read_text())["architecture"] == "shadow-generator"
    loaded = weights.load_model("generator", tmp_path)[0]
    one, same, other = (loaded.sample(conditions(), seed, steps=3) for seed in (1, 1, 2))
    torch.testing.assert_close(one, same)
    assert (one - other).abs().max() > 1e-3
    assert one.min() > 0
    assert one.max() <= 1
    ratio, mask = loaded.finish(one, conditions())
    assert ratio.shape == (4, 3, 32, 32)
    assert ratio.max() <= 1
    assert mask.shape == (4, 1, 32, 32)


def write_stable_diffusion(folder: Path) -> None:
    """A tiny random model in Stable Diffusion 1.5's layout."""
    diffusers, transformers = pytest.importorskip("diffusers"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=8,
        attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).save_pretrained(folder / "unet")  # fmt: skip
    diffusers.AutoencoderKL(
        block_out_channels=(4, 4, 8, 8), layers_per_block=1, norm_num_groups=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    ).save_pretrained(folder / "vae")  # fmt: skip
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(words))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(folder / "tokenizer" / "vocab.json"), str(folder / "tokenizer" / "merges.txt"), model_max_length=77
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    text = transformers.CLIPTextConfig(
        vocab_size=3, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    transformers.CLIPTextModel(text).save_pretrained(folder / "text_encoder")


def test_a_stable_diffusion_folder_drops_in_and_stays_frozen(tmp_path: Path) -> None:
    write_stable_diffusion(tmp_path)
    generator = ShadowGenerator.on_stable_diffusion(tmp_path, dataclasses.replace(SMALL, size=64))
    assert generator.prompt.shape == (1, 77, 8)
    big = collate([example(one, 64) for one in tuples(64)[:2]])
    h = hint(big.composite, big.object, big.points, big.valid)
    c = Conditions(big.composite, h, big.shadow, big.light, torch.ones(2), torch.ones(2), clear_day(big.composite))
    assert generator.latents(big.target, big.ratio, c).shape == (2, 4, 8, 8)
    trainer = train.Trainer(
        train.Plan(stage=3, size=64, steps=2), tmp_path / "run", CPU, ShadowPredictors(TINY), generator
    )
    frozen = {n: p.clone() for n, p in generator.unet.named_parameters() if "_ip" not in n}
    for _ in range(2):
        trainer.train_step(big)
    assert all((generator.unet.get_parameter(n) == p).all() for n, p in frozen.items())
    adapters = [p for n, p in generator.unet.named_parameters() if "to_v_ip" in n]
    assert adapters
    assert all(p.abs().max() > 0 for p in adapters)  # they began as zero
    ratio = generator.sample(c, 0, steps=2)
    assert ratio.shape == (2, 3, 64, 64)
    safetensors.torch.save_file(generator.added().state_dict(), tmp_path / "added.safetensors")
    trained = safetensors.torch.load_file(tmp_path / "added.safetensors")
    other = ShadowGenerator.on_stable_diffusion(tmp_path, generator.config, trained)
    torch.testing.assert_close(other.sample(c, 0, steps=2), ratio)
    train.export(trainer, tmp_path / "weights" / "added", [], "train it")
    assert isinstance(load_generator(tmp_path / "weights" / "added", tmp_path), ShadowGenerator)
    with (tmp_path / "weights" / "added" / weights.MODEL).open("ab") as file:
        file.write(b"more")
    with pytest.raises(PenumbraError, match="damaged"):
        load_generator(tmp_path / "weights" / "added", tmp_path)
    (tmp_path / "vae").rename(tmp_path / "elsewhere")
    with pytest.raises(PenumbraError, match="no folder vae"):
        ShadowGenerator.on_stable_diffusion(tmp_path, SMALL)


def test_surfaces_have_the_normals_of_their_points_even_at_an_outline() -> None:
    """A slope behind a wall that faces the camera, and a hole in it."""
    row, column = torch.meshgrid(torch.linspace(1, -1, 12), torch.linspace(-1, 1, 12), indexing="ij")
    points = torch.stack([column, row, -5 + 0.5 * row])
    points[2, :, 6:] = -2
    points[:, 3, 3] = 0
    picture = torch.full((4, 12, 12), 0.5)
    found = networks.surface(torch.cat([picture, torch.asinh(points)])[None])[0]
    slope = torch.tensor([0, -0.5, 1]) / torch.tensor([0, -0.5, 1]).norm()
    there = torch.ones(12, 12, dtype=torch.bool)
    there[3, 3] = False
    for toward, where in ((slope, column < 0), (torch.tensor([0, 0, 1.0]), column > 0)):
        normals = found[:3, where & there].T
        torch.testing.assert_close(normals, toward.expand_as(normals), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[3:, there], found[:3, there] * 0.75**2)
    assert (found[:, 3, 3] == 0).all()
