# SPDX-License-Identifier: GPL-3.0-or-later
"""BodyNet's four subnetworks, stacked hourglasses: 2D pose, 2D parts, 3D pose and voxels (section 3, appendix B).

Every stack of a subnetwork has an output of its own, and all are supervised (Newell et al. 2016).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...weights import NetworkConfig
from ..lasor.lifter import Lifter
from ..lasor.person import estimate_of
from ..lasor.proxy import CHANNELS, told_by
from .bones import FAR, Bones
from .heatmaps import peaks3d
from .parts import CLASSES2D, CLASSES3D, DEPTH_STEP, DEPTHS, JOINTS, PELVIS

Stacked = tuple[Tensor, ...]
"""The outputs of the stacks of a subnetwork, the last one last."""

QUIET = 0.01  # of PyTorch's usual size: heatmaps are zero nearly everywhere, and begin so
SURE = 10.81  # times the probability of a place is a heatmap of height 1 about a joint that is certain
RARE = 0.005  # share of a volume that a body fills: what an untrained network says of every voxel


@dataclass(frozen=True)
class BodyNetConfig(NetworkConfig):
    """Sizes. channels: 3 for RGB, 18 for LASOR's proxy. size: pixels of the square input; heatmaps have a quarter.

    volume: side of the voxel grid, a multiple of the heatmaps'. features: channels of the hourglasses at their full
    side; each time one halves its side it has half as many again, up to `widest`: there the whole body is seen at once,
    and channels are cheap. depth: how often it does. part_voxels: with the seven-class network of appendix B.3.
    bones: voxels begin with capsules about the 3D joints (ours). lifter: width of LASOR's network that tells how deep
    joints are from keypoints, which the 3D pose begins with (ours, for proxies only); 0: none.
    """

    channels: int = 3
    size: int = 256
    volume: int = 128
    features: int = 256
    widest: int = 256
    stacks: int = 2
    depth: int = 4
    part_voxels: bool = True
    bones: bool = False
    lifter: int = 0

    @property
    def grid(self) -> int:
        """Pixels a side of heatmaps and part maps."""
        return self.size // 4


PAPER = BodyNetConfig()
PAPER_PROXY = BodyNetConfig(channels=CHANNELS)
BUNDLED = BodyNetConfig(
    channels=CHANNELS, size=128, volume=64, features=64, widest=128, stacks=1, bones=True, lifter=512
)
BUNDLED_RGB = BodyNetConfig(channels=3, size=128, volume=64, features=64, widest=128, stacks=1, bones=True)


@dataclass(frozen=True)
class Outputs:
    """What the subnetworks say; None for those that were not asked. G: the config's grid, V: its volume.

    joints: heatmaps (B, 16, G, G). parts: logits (B, 15, G, G). joints3d: logits (B, 16, 19, G, G), over all places of
    a joint, depth before row and column. voxels: logits (B, V, V, V), depth (away from the camera), row, column.
    part_voxels: logits (B, 7, V, V, V). rotations: (B, 24, 3, 3) that the lifter told.
    """

    joints: Stacked
    parts: Stacked
    joints3d: Stacked | None = None
    voxels: Stacked | None = None
    part_voxels: Stacked | None = None
    rotations: Tensor | None = None

    @property
    def heatmaps3d(self) -> Tensor:
        """(B, 16, 19, G, G) the last stack's 3D pose as heatmaps, of height 1 about a joint that is certain."""
        assert self.joints3d is not None
        logits = self.joints3d[-1].float()
        return logits.flatten(2).softmax(2).view_as(logits) * SURE


class Residual(nn.Module):
    """A pre-activation bottleneck: 1 × 1 to half of the outputs, 3 × 3, 1 × 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        layers: list[nn.Module] = []
        for a, b, kernel in ((inputs, half, 1), (half, half, 3), (half, outputs, 1)):
            layers += [nn.BatchNorm2d(a), nn.ReLU(), nn.Conv2d(a, b, kernel, padding=kernel // 2)]
        self.body = nn.Sequential(*layers)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


class Hourglass(nn.Module):
    """Halves the image `depth` times and comes back, with a residual module on every way."""

    def __init__(self, features: int, widest: int, depth: int) -> None:
        super().__init__()
        low = max(features, min(features * 3 // 2, widest))
        self.beside, self.before, self.after = (
            Residual(*channels) for channels in ((features, features), (features, low), (low, features))
        )
        self.within = Hourglass(low, widest, depth - 1) if depth > 1 else Residual(low, low)

    def forward(self, x: Tensor) -> Tensor:
        low = self.after(self.within(self.before(F.max_pool2d(x, 2))))
        return self.beside(x) + F.interpolate(low, scale_factor=2, mode="nearest")


class Subnetwork(nn.Module):
    """A stem that brings its input to a quarter of its side, and stacked hourglasses with an output each.

    deep: channels that join at that side (the 3D pose, for the voxels).
    """

    def __init__(self, config: BodyNetConfig, channels: int, outputs: int, deep: int = 0) -> None:
        super().__init__()
        f = config.features
        self.entrance = nn.Sequential(
            nn.Conv2d(channels, f // 4, 7, 2, 3), nn.BatchNorm2d(f // 4), nn.ReLU(), Residual(f // 4, f // 2)
        )
        self.joining = nn.Sequential(Residual(f // 2 + deep, f // 2), Residual(f // 2, f))
        self.hourglasses = nn.ModuleList(
            nn.Sequential(
                Hourglass(f, config.widest, config.depth),
                Residual(f, f),
                nn.Conv2d(f, f, 1),
                nn.BatchNorm2d(f),
                nn.ReLU(),
            )
            for _ in range(config.stacks)
        )
        self.heads = nn.ModuleList(nn.Conv2d(f, outputs, 1) for _ in range(config.stacks))
        again = config.stacks - 1
        self.features_back = nn.ModuleList(nn.Conv2d(f, f, 1) for _ in range(again))
        self.outputs_back = nn.ModuleList(nn.Conv2d(outputs, f, 1) for _ in range(again))

    @property
    def hidden(self) -> list[nn.Module]:
        """Everything but the first layer and the heads."""
        return [self.entrance[3], self.joining, self.hourglasses, self.features_back]

    def forward(self, image: Tensor, deep: Tensor | None = None) -> Stacked:
        """(B, outputs, G, G) of each stack, from image (B, channels, 4 G, 4 G) and deep (B, …, G, G)."""
        x = F.max_pool2d(self.entrance(image), 2)
        x = self.joining(x if deep is None else torch.cat([x, deep], 1))
        found: list[Tensor] = []
        for number, (hourglass, head) in enumerate(zip(self.hourglasses, self.heads, strict=True)):
            features = hourglass(x)
            found.append(head(features))
            if number < len(self.features_back):
                x = x + self.features_back[number](features) + self.outputs_back[number](found[-1])
        return tuple(found)


class VoxelNetwork(nn.Module):
    """The shape subnetwork: hourglasses whose output channels are depths, enlarged to the volume (appendix B.1).

    classes: 1 for occupancy, 7 for the background and six parts (B.3).
    """

    def __init__(self, config: BodyNetConfig, classes: int = 1) -> None:
        super().__init__()
        self.volume, self.classes = config.volume, classes
        channels = config.channels + JOINTS + CLASSES2D
        deep = JOINTS * DEPTHS + (config.grid if config.bones else 0)
        self.stacks = Subnetwork(config, channels, config.volume, deep)
        self.enlarged = nn.ModuleList(
            nn.Conv2d(config.volume, classes * config.volume, 3, padding=1) for _ in range(config.stacks)
        )
        for layer in self.enlarged:
            nn.init.constant_(layer.bias, 0.0 if config.bones else math.log(RARE / (1 - RARE)))
            if config.bones:
                nn.init.zeros_(layer.weight)

    def forward(self, image: Tensor, joints3d: Tensor, capsules: Tensor | None = None) -> Stacked:
        """Logits (B, V, V, V), or (B, 7, V, V, V) with classes, of each stack.

        joints3d: heatmaps (B, 16, 19, G, G). capsules: (B, 6, G, G, G) of `Bones`, which the logits are added to.
        """
        deep, start = joints3d.flatten(1, 2), None
        if capsules is not None:
            deep = torch.cat([deep, capsules.amax(1) / FAR], 1)
            start = self._begun(capsules)
        found = []
        for small, layer in zip(self.stacks(image, deep), self.enlarged, strict=True):
            large = F.interpolate(small, (self.volume, self.volume), mode="bilinear", align_corners=False)
            logits = layer(torch.relu(large))
            logits = logits if self.classes == 1 else logits.unflatten(1, (self.classes, self.volume))
            found.append(logits if start is None else logits + start)
        return tuple(found)

    def _begun(self, capsules: Tensor) -> Tensor:
        """Logits of the volume, from parts (B, 6, G, G, G); with classes, divided so that together they are as full."""
        known = occupied = capsules.amax(1, keepdim=True)
        if self.classes > 1:
            share = (capsules / 2).log_softmax(1) + math.log(capsules.shape[1])
            known = torch.cat([-occupied / 2, share + occupied / 2], 1)
        large = F.interpolate(known, (self.volume,) * 3, mode="trilinear", align_corners=False)
        return large[:, 0] if self.classes == 1 else large

    def begin_parts_with(self, shape: VoxelNetwork) -> None:
        """Take over an occupancy network: its last layer serves every class (B.3), negated for the background, so that
        the six parts together begin with its occupancy."""
        self.stacks.load_state_dict(shape.stacks.state_dict())
        parts = self.classes - 1
        for mine, theirs in zip(self.enlarged, shape.enlarged, strict=True):
            with torch.no_grad():
                mine.weight.copy_(torch.cat([-theirs.weight / 2, *[theirs.weight / 2] * parts]))
                mine.bias.copy_(torch.cat([-theirs.bias / 2, *[theirs.bias / 2 - math.log(parts)] * parts]))


class LiftedJoints(nn.Module):
    """Depths of the 16 joints from the proxy's keypoints. doubt: (16,) logarithms of their deviations, metres."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lifter = Lifter(width)
        self.doubt = nn.Parameter(torch.full((JOINTS,), math.log(0.1)))

    def forward(self, proxy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 16) metres behind the pelvis, logits (B, 16, 19) over the depths, and rotations (B, 24, 3, 3) of the pose
        that this is; from proxies (B, 18, S, S).
        """
        person = estimate_of(self.lifter(*told_by(proxy)))
        with torch.autocast(proxy.device.type, enabled=False):
            vertices, joints = self.lifter.body(person.betas, person.rotations)
            z = self.lifter.body.keypoints(vertices, joints, "bodynet16")[..., 2]
            behind = z[:, PELVIS, None] - z
            bins = (torch.arange(DEPTHS, device=z.device) + 0.5 - DEPTHS / 2) * DEPTH_STEP
            away = (bins - behind.clamp(bins[0], bins[-1])[..., None]) / self.doubt.exp()[:, None]
            return behind, -0.5 * away.square(), person.rotations


class BodyNet(nn.Module):
    """The four subnetworks, and the six-part one beside the last.

    prior_mean, prior_deviation: (144,) of the rotations that it was trained on, as six numbers each, for fitting.
    """

    prior_mean: Tensor
    prior_deviation: Tensor

    def __init__(self, config: BodyNetConfig) -> None:
        super().__init__()
        self.config = config
        self.joints = Subnetwork(config, config.channels, JOINTS)
        self.parts = Subnetwork(config, config.channels, CLASSES2D)
        self.lifted = LiftedJoints(config.lifter) if config.lifter else None
        told = JOINTS if config.lifter else 0
        self.joints3d = Subnetwork(config, config.channels + JOINTS + CLASSES2D, JOINTS * DEPTHS, told)
        self.bones = Bones() if config.bones else None
        self.voxels = VoxelNetwork(config)
        self.part_voxels = VoxelNetwork(config, CLASSES3D) if config.part_voxels else None
        for head in self.joints.heads:
            nn.init.zeros_(head.bias)
            with torch.no_grad():
                head.weight.mul_(QUIET)
        self.register_buffer("prior_mean", torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(24))
        self.register_buffer("prior_deviation", torch.ones(144))

    def begin_with(self, six: Tensor) -> None:
        """Set the prior from the rotations (N, 24, 6) of many poses."""
        self.prior_mean.copy_(six.flatten(1).mean(0))
        self.prior_deviation.copy_(six.flatten(1).std(0).clamp(min=0.02))

    def flat(self, image: Tensor) -> Outputs:
        """2D pose and parts, from image (B, channels, size, size)."""
        return Outputs(self.joints(image), self.parts(image))

    def deep(self, image: Tensor, outputs: Outputs) -> Outputs:
        """With the 3D pose."""
        beside = self._beside(image, outputs)
        if self.lifted is None:
            joints3d = tuple(x.unflatten(1, (JOINTS, DEPTHS)) for x in self.joints3d(beside))
            return dataclasses.replace(outputs, joints3d=joints3d)
        depth, start, rotations = self.lifted(image)
        found = self.joints3d(beside, depth[..., None, None].expand(-1, -1, self.config.grid, self.config.grid))
        joints3d = tuple(x.unflatten(1, (JOINTS, DEPTHS)) + start[..., None, None] for x in found)
        return dataclasses.replace(outputs, joints3d=joints3d, rotations=rotations)

    def shaped(self, image: Tensor, outputs: Outputs, *which: str) -> Outputs:
        """With the volumes of these subnetworks: "voxels", "part_voxels"."""
        beside, heatmaps = self._beside(image, outputs), outputs.heatmaps3d
        capsules = self.bones(*peaks3d(heatmaps), self.config.grid) if self.bones is not None else None
        found = {name: getattr(self, name)(beside, heatmaps, capsules) for name in which}
        return dataclasses.replace(outputs, **found)

    def forward(self, image: Tensor) -> Outputs:
        """Everything there is."""
        which = ("voxels",) if self.part_voxels is None else ("voxels", "part_voxels")
        return self.shaped(image, self.deep(image, self.flat(image)), *which)

    def _beside(self, image: Tensor, outputs: Outputs) -> Tensor:
        """The image with part probabilities and heatmaps, enlarged to its side."""
        maps = torch.cat([outputs.parts[-1].softmax(1), outputs.joints[-1]], 1)
        return torch.cat([image, F.interpolate(maps, image.shape[-2:], mode="bilinear", align_corners=False)], 1)
