# SPDX-License-Identifier: GPL-3.0-or-later
"""ShadingNet against the paper's tables, and the conventions of what it is fed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from backend.rays import directions
from backend.shading.network import (
    Conv,
    LightEncoder,
    ShadingConfig,
    ShadingDiscriminator,
    ShadingGenerator,
    ShadingNet,
    crop_map,
    unpack,
    whole_plate,
)

# Activation shapes (pixels, channels) of the convolutions in Tables A to E, row by row.
TABLE_A = [(128, 1), (32, 16), (32, 16), (8, 16), (8, 16), (8, 16), (32, 16), (32, 8), (128, 8), (128, 16)]
TABLE_B = [
    *[(128, 47), (64, 8), (64, 8), (32, 16), (32, 16), (16, 16), (16, 16), (8, 16), (8, 16), (8, 16)],
    *[(16, 16), (16, 16), (32, 16), (32, 8), (64, 8), (64, 8), (128, 8), (128, 3)],
]
TABLE_C = [(128, 3), (64, 8), (32, 16), (16, 16), (8, 16)]
TABLE_D = [(8, 8), (8, 1)]
TABLE_E = [(128, 8), (32, 16), (8, 16)]
KERNELS_A = [(5, 1), (8, 4), (5, 1), (8, 4), (5, 1), (5, 1), (5, 1), (5, 1), (5, 1), (5, 1)]
KERNELS_B = [(3, 1), (4, 2), (3, 1), (4, 2), (3, 1), (4, 2), (3, 1), (4, 2), (3, 1), *[(3, 1)] * 9]
INPUTS_A = {7: 32, 9: 9}  # channels after a concat, by convolution
INPUTS_B = {0: 84, 11: 32, 13: 32, 15: 16, 17: 55}  # 3 + 3 + 62 + 16 = 84, which the paper adds up to 94


def walk(module: nn.Module, *inputs: torch.Tensor) -> list[tuple[nn.Conv2d, tuple[int, int]]]:
    """The convolutions in the order in which they run, with their output's pixels and channels."""
    rows: list[tuple[nn.Conv2d, tuple[int, int]]] = []
    hooks = [
        conv.register_forward_hook(lambda m, _, y: rows.append((m, (y.shape[-1], y.shape[1]))))
        for conv in module.modules()
        if isinstance(conv, nn.Conv2d)
    ]
    with torch.no_grad():
        module(*inputs)
    for hook in hooks:
        hook.remove()
    return rows


def maps(channels: int) -> torch.Tensor:
    return torch.rand(1, channels, 128, 128)


@pytest.mark.parametrize(
    ("module", "channels", "shapes", "kernels", "concatenated"),
    [
        (LightEncoder, (3,), TABLE_A, KERNELS_A, INPUTS_A),
        (ShadingGenerator, (68, 16), TABLE_B, KERNELS_B, INPUTS_B),
    ],
)
def test_f_and_g_have_the_shapes_of_tables_a_and_b(module, channels, shapes, kernels, concatenated) -> None:
    network = module(ShadingConfig())
    rows = walk(network, *(maps(c) for c in channels))
    assert [shape for _, shape in rows] == shapes
    assert [(conv.kernel_size[0], conv.stride[0]) for conv, _ in rows] == kernels
    assert {i: rows[i][0].in_channels for i in concatenated} == concatenated
    normalized = [
        any(isinstance(layer, nn.InstanceNorm2d) for layer in c) for c in network.modules() if type(c) is Conv
    ]
    assert normalized.count(False) == 1  # row 2; the last row is no Conv
    assert len(normalized) == len(rows) - 1


def test_d_has_the_shapes_of_tables_c_d_e() -> None:
    critic = ShadingDiscriminator(ShadingConfig())
    rows = walk(critic, maps(3), maps(68), maps(16))
    assert [shape for _, shape in rows] == TABLE_C + TABLE_E + TABLE_D
    assert rows[0][0].in_channels == 3 + 3 + 3 + 62
    assert all(nn.utils.parametrize.is_parametrized(conv, "weight") for conv, _ in rows)
    as_table_c = ShadingDiscriminator(ShadingConfig(critic_sees_object=False))
    assert walk(as_table_c, maps(3), maps(68), maps(16))[0][0].in_channels == 6


def test_g_is_linear_at_its_end_and_f_is_not() -> None:
    network = ShadingNet()
    with torch.no_grad():
        network.generator.out[1].bias += 7
        network.encoder.out[1].bias += 7
        assert network.generator(maps(68), maps(16)).min() > 3
        assert network.encoder(maps(3)).max() <= 1


def test_without_rics_the_bits_change_nothing() -> None:
    bits = torch.randint(0, 2**62, (1, 128, 128))
    arguments = maps(3), maps(3), maps(3)
    box = torch.tensor([[0.0, 0, 1, 1]])
    for uses_rics in (True, False):
        torch.manual_seed(0)
        network = ShadingNet(ShadingConfig(uses_rics=uses_rics)).eval()
        with torch.no_grad():
            difference = network(*arguments, bits, box) - network(*arguments, bits * 0, box)
        assert bool(difference.abs().max() > 1e-4) == uses_rics


def test_channel_k_is_bit_k() -> None:
    bits = np.random.default_rng(0).integers(0, 2**62, (2, 5, 7), np.uint64)
    planes = unpack(torch.from_numpy(bits.view(np.int64)))
    np.testing.assert_array_equal(planes.permute(0, 2, 3, 1).bool().numpy(), directions.unpack_bits(bits))


@pytest.mark.parametrize("overview", [0, 8])
def test_only_the_overview_sees_both_sides_of_the_plate(overview: int) -> None:
    torch.manual_seed(0)
    encoder = LightEncoder(ShadingConfig(norm="none", encoder_overview=overview)).eval()
    plate, dark_left = torch.full((2, 1, 3, 128, 128), 0.5)
    dark_left[..., :4] = 0
    with torch.no_grad():
        difference = (encoder(plate) - encoder(dark_left)).abs()
    assert bool(difference[..., -4:].max() > 1e-6) == bool(overview)


def test_the_light_map_is_cut_where_the_character_stands() -> None:
    ramp = torch.stack(torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij"))[None] / 128
    same = crop_map(ramp, torch.tensor([[0.0, 0, 1, 1]]))
    torch.testing.assert_close(same, ramp, atol=1e-5, rtol=0)
    cut = crop_map(ramp, torch.tensor([[0.5, 0.25, 0.75, 0.5]]))
    assert abs(cut[0, 1, 64, 64] - 0.625) < 0.01  # columns: between left and right
    assert abs(cut[0, 0, 64, 64] - 0.375) < 0.01  # rows: between top and bottom


def test_predict_is_empty_outside_the_character_and_blind_to_what_lies_there() -> None:
    rng = np.random.default_rng(0)
    network = ShadingNet().eval()
    alpha = np.zeros((128, 128), np.float32)
    alpha[30:100, 40:90] = 1
    normal, albedo = rng.random((2, 128, 128, 3), np.float32)
    bits = rng.integers(0, 2**62, (128, 128), np.uint64)
    plate, box = rng.random((90, 160, 3), np.float32), np.array([0.2, 0.1, 0.7, 0.9])
    shading = network.predict(plate, albedo, normal, bits, alpha, box)
    assert shading.shape == (128, 128, 3)
    assert shading.dtype == np.float32
    assert shading.min() >= 0
    assert not shading[alpha == 0].any()
    outside = alpha[..., None] == 0
    other = network.predict(
        plate, np.where(outside, 5, albedo), np.where(outside, 1, normal), np.where(alpha == 0, 7, bits), alpha, box
    )
    np.testing.assert_array_equal(shading, other)


def test_the_plate_is_averaged_not_sampled() -> None:
    plate = np.zeros((512, 1024, 3), np.float32)
    plate[::2] = 1
    np.testing.assert_allclose(whole_plate(plate), 0.5, atol=1e-6)
