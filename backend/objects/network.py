# SPDX-License-Identifier: GPL-3.0-or-later
"""The joint occupancy field: shape decoder D_S, albedo decoder D_A, and where their codes come from in stage 1.

JOF, section 3.2; sizes and activations are the public code's. Points are in object space, in [-1, 1]³. A field of a
batch is one code set a shape, (B, code), at N points a shape, (B, N, 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..weights import NetworkConfig

LEAK = 0.02
PACE = 10.0  # free codes move so many times as far a step as the decoders' weights: their turn comes once an epoch
INITIAL_SPREAD = 0.02  # of weights, the public code's; narrower layers than its own need more to begin with


@dataclass(frozen=True)
class ObjectConfig(NetworkConfig):
    """Sizes of all networks of this part; the defaults are the public code's.

    categories: names, in the order of the classifier's outputs.
    category_code, shape_code, albedo_code: lengths; category_code 0 leaves f_C out (Table 2's ablation).
    branches: parts that the decoders can tell apart.
    shape_widths, albedo_widths: of the decoders' hidden layers.
    voxel_widths: channels of the coloured-voxel encoder, each level halving its input, which ends with 4³ voxels.
    encoder_width: channels of the image encoder's first stage (a ResNet-18 has 64), doubled with each stage.
    head_width: of each head's two hidden layers.
    code_gain: what decoders multiply codes by: those of the voxel encoder have length 1, however many numbers they are.
        1 is the public code's, whose decoders are slow to heed them.
    coordinate_gain: of the decoders' first weights on points, and of the shape decoder's last ones, to begin with. 1
        is the public code's, whose fields begin as a blur without detail.
    octaves: of sines and cosines of a point's coordinates that the decoders see beside them, as thin legs want; 0 is
        the public code's.
    sees_mask: the image encoder sees the object cut out, and its mask as a fourth channel.
    """

    categories: tuple[str, ...] = ()
    category_code: int = 3
    shape_code: int = 256
    albedo_code: int = 256
    branches: int = 12
    shape_widths: tuple[int, ...] = (3072, 384)
    albedo_widths: tuple[int, ...] = (512,) * 6
    voxel_widths: tuple[int, ...] = (32, 64, 128, 256)
    encoder_width: int = 64
    head_width: int = 512
    sees_mask: bool = True
    code_gain: float = 1.0
    coordinate_gain: float = 1.0
    octaves: int = 0

    @property
    def voxel_side(self) -> int:
        """Voxels along a side of what the voxel encoder sees; 64 in the paper."""
        return 4 << len(self.voxel_widths)

    @property
    def code_lengths(self) -> tuple[int, int, int]:
        return self.category_code, self.shape_code, self.albedo_code


class Codes(NamedTuple):
    """f_C (B, l_C), f_S (B, l_S) and f_A (B, l_A)."""

    category: Tensor
    shape: Tensor
    albedo: Tensor

    def rows(self, index: Tensor | slice) -> Codes:
        return Codes(*(code[index] for code in self))

    def detach(self) -> Codes:
        return Codes(*(code.detach() for code in self))


class ConditionedLinear(nn.Linear):
    """A layer on [f_C, x, f_S …]: the codes' part is computed once a shape, the points' part once a point."""

    def __init__(self, code: int, config: ObjectConfig, outputs: int) -> None:
        at = 3 + 6 * config.octaves  # inputs of the point, behind the category's code
        super().__init__(code + at, outputs)
        self.before, self.at, self.octaves, self.gain = config.category_code, at, config.octaves, config.code_gain

    def forward(self, code: Tensor, points: Tensor) -> Tensor:  # type: ignore[override]
        """code: (B, code). points: (B, N, 3). Returns (B, N, outputs)."""
        head, at, tail = self.weight.split([self.before, self.at, code.shape[1] - self.before], 1)
        turns = [torch.pi * 2**k * points for k in range(self.octaves)]
        seen = torch.cat([points, *(x.sin() for x in turns), *(x.cos() for x in turns)], -1)
        told = F.linear(self.gain * code, torch.cat([head, tail], 1), self.bias)[:, None]
        if self.octaves:
            return torch.baddbmm(told, seen, at.T.expand(len(seen), -1, -1))
        with torch.autocast(points.device.type, enabled=False):  # bfloat16 cannot tell neighbouring points apart
            return F.linear(seen, at) + told.float()


class ShapeDecoder(nn.Module):
    """D_S as a branched network (BAE-NET): occupancy of each branch, the largest of which is the object's."""

    def __init__(self, config: ObjectConfig) -> None:
        super().__init__()
        first, *widths = config.shape_widths
        code = config.category_code + config.shape_code
        self.first = ConditionedLinear(code, config, first)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip([first, *widths], widths, strict=False))
        self.last = nn.Linear([first, *widths][-1], config.branches)

    def forward(self, codes: Codes, points: Tensor) -> Tensor:
        """(B, N, branches) in (0, 1)."""
        x = F.leaky_relu(self.first(torch.cat([codes.category, codes.shape], 1), points), LEAK)
        for layer in self.hidden:
            x = F.leaky_relu(layer(x), LEAK)
        return torch.sigmoid(self.last(x).float())


class AlbedoDecoder(nn.Module):
    """D_A: a linear albedo for each branch."""

    def __init__(self, config: ObjectConfig) -> None:
        super().__init__()
        first, *widths = config.albedo_widths
        self.first = ConditionedLinear(sum(config.code_lengths), config, first)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip([first, *widths], widths, strict=False))
        self.last = nn.Linear([first, *widths][-1], 3 * config.branches)

    def forward(self, codes: Codes, points: Tensor) -> Tensor:
        """(B, N, branches, 3) in (0, 1); the public code's tanh of colours in [-1, 1]."""
        x = F.leaky_relu(self.first(torch.cat(codes, 1), points), LEAK)
        for layer in self.hidden:
            x = F.leaky_relu(layer(x), LEAK)
        return (torch.tanh(self.last(x).float()).unflatten(-1, (-1, 3)) + 1) / 2


class JointField(nn.Module):
    """D_S, D_A, and the classifier that teaches f_C its meaning."""

    def __init__(self, config: ObjectConfig) -> None:
        super().__init__()
        self.config = config
        self.shape = ShapeDecoder(config)
        self.albedo = AlbedoDecoder(config)
        self.classifier = nn.Linear(max(config.category_code, 1), max(len(config.categories), 1))
        self.apply(_initialized)
        with torch.no_grad():
            for layer in (self.shape.first, self.albedo.first):
                layer.weight[:, layer.before : layer.before + 3] *= config.coordinate_gain
            self.shape.last.weight *= config.coordinate_gain

    @property
    def inner(self) -> list[nn.Module]:
        """Everything but first layers and last."""
        return [self.shape.hidden, self.albedo.hidden]

    def occupancy(self, codes: Codes, points: Tensor) -> Tensor:
        """(B, N) of the object, and nothing else: what the surface search asks for."""
        return self.shape(codes, points).amax(-1)

    def forward(self, codes: Codes, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Occupancy (B, N), winning branch (B, N), and its albedo (B, N, 3). The choice passes no gradient."""
        occupancy, branch = self.shape(codes, points).max(-1)
        return occupancy, branch, self.chosen_albedo(codes, points, branch)

    def chosen_albedo(self, codes: Codes, points: Tensor, branch: Tensor) -> Tensor:
        """(B, N, 3) linear albedo of a branch at each point."""
        colours = self.albedo(codes, points)
        return colours.gather(-2, branch[..., None, None].expand(*branch.shape, 1, 3)).squeeze(-2)

    def classified(self, codes: Codes) -> Tensor:
        """(B, categories) logits of f_C."""
        return self.classifier(self.config.code_gain * codes.category)


class VoxelEncoder(nn.Module):
    """E' (section 3.4.2): a coloured grid, 64³ in the paper, to L2-normalised codes."""

    def __init__(self, config: ObjectConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 4
        for width in config.voxel_widths:
            layers += [nn.Conv3d(channels, width, 4, 2, 1), nn.InstanceNorm3d(width), nn.LeakyReLU(LEAK)]
            channels = width
        self.trunk = nn.Sequential(*layers)
        self.lengths, self.side = config.code_lengths, config.voxel_side
        self.last = nn.Conv3d(channels, sum(self.lengths), 4)
        self.apply(_initialized)

    @property
    def inner(self) -> list[nn.Module]:
        """Everything but the first layer and the last."""
        return [self.trunk[1:]]

    def forward(self, voxels: Tensor) -> Codes:
        """voxels: (B, 4, S, S, S), S of `ObjectConfig.voxel_side`: `dataset.coloured_voxels`."""
        parts = self.last(self.trunk(voxels)).flatten(1).float().split(self.lengths, 1)
        return Codes(*(F.normalize(part, dim=1) for part in parts))


class CodeTable(nn.Module):
    """The auto-decoder's codes: learned freely, one set a training shape.

    shapes: names of the training shapes, `ObjectData.names`.
    """

    def __init__(self, shapes: list[str], config: ObjectConfig) -> None:
        super().__init__()
        self.shapes = shapes
        self.tables = nn.ModuleList(nn.Embedding(len(shapes), max(length, 1)) for length in config.code_lengths)
        self.lengths = config.code_lengths
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.1 / PACE)

    @property
    def inner(self) -> list[nn.Module]:
        """Nothing: a table has no layers."""
        return []

    def forward(self, index: Tensor) -> Codes:
        """index: (B,) numbers of shapes."""
        tables = zip(self.tables, self.lengths, strict=True)
        return Codes(*(PACE * table(index)[:, :length] for table, length in tables))

    @torch.no_grad()
    def begin_with(self, codes: Codes) -> None:
        """Take codes of all shapes to begin with."""
        for table, code, length in zip(self.tables, codes, self.lengths, strict=True):
            table.weight[:, :length] = code / PACE


def _initialized(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv3d):
        nn.init.normal_(module.weight, std=max(INITIAL_SPREAD, module.weight[0].numel() ** -0.5))
        nn.init.zeros_(module.bias)
