# SPDX-License-Identifier: GPL-3.0-or-later
"""ShadingNet: the light encoder f, the shading generator G and the discriminator D.

Ray-marching in Camera Space (RiCS), section 3 and appendix A. Tensors are B×C×H×W; plates are display-encoded in
[0, 1], albedo and shading scene-linear, normals in camera space.

Where the paper disagrees with itself: G's input has 3 + 3 + 62 + 16 = 84 channels, which the paper adds up to 94; G's
output is linear (text; Table B says sigmoid); ω's first convolution has stride 1 (the shapes of Table E); φ sees the
shading, normal, albedo and RiCS (the formula φ(y :: o), 71 channels; `critic_sees_object=False` gives Table C's 6).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ..weights import NetworkConfig
from .crop import CROP
from .overview import Overview

RICS_CHANNELS = 62


@dataclass(frozen=True)
class ShadingConfig(NetworkConfig):
    """Sizes of the three networks; the defaults are the paper's.

    encoder_stem, encoder_widths, encoder_fuse: channels of Table A's row 2, of its two scales, and after a concat.
    encoder_overview: width of the part of f that sees the whole plate at once (`overview.Overview`); 0, the paper's,
        has none.
    light_channels: of the light map that f hands to G.
    stem, widths: channels of Table B's row 2 and of the four scales (64, 32, 16, 8 pixels).
    norm: "instance" as in the paper; "layer" normalizes all channels of an image together, which keeps their ratios
        and with them the tint of the light.
    uses_rics: False drops the occlusion map (the paper's ablation "No r_i").
    critic_stem, critic_widths: channels of Table C. critic_sees_object: see the module.
    """

    encoder_stem: int = 1
    encoder_widths: tuple[int, int] = (16, 16)
    encoder_fuse: int = 8
    encoder_overview: int = 0
    light_channels: int = 16
    stem: int = 47
    widths: tuple[int, int, int, int] = (8, 16, 16, 16)
    norm: str = "instance"
    uses_rics: bool = True
    critic_stem: int = 3
    critic_widths: tuple[int, int, int, int] = (8, 16, 16, 16)
    critic_sees_object: bool = True

    @property
    def object_channels(self) -> int:
        """Channels of o = (normal, albedo, RiCS)."""
        return 6 + (RICS_CHANNELS if self.uses_rics else 0)


class Conv(nn.Sequential):
    """Reflection padding, convolution, normalization and leaky ReLU: "Conv" of Tables A and B."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, norm: str | None) -> None:
        # A normalization takes the bias away again only where it works channel by channel.
        layers: list[nn.Module] = [
            nn.ReflectionPad2d((kernel - stride) // 2 if stride > 1 else kernel // 2),
            nn.Conv2d(inputs, outputs, kernel, stride, bias=norm != "instance"),
        ]
        if norm == "instance":
            layers.append(nn.InstanceNorm2d(outputs, affine=True))
        elif norm == "layer":
            layers.append(nn.GroupNorm(1, outputs))
        super().__init__(*layers, nn.LeakyReLU(0.2))


def _output(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """The last row of Tables A and B: no normalization, no leaky ReLU."""
    return nn.Sequential(nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel))


def _upsample(x: Tensor, scale: int) -> Tensor:
    return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


class LightEncoder(nn.Module):
    """f: a plate to a pixel-aligned map of the light that it shows (Table A)."""

    def __init__(self, config: ShadingConfig) -> None:
        super().__init__()
        wide, deep = config.encoder_widths
        fuse, norm = config.encoder_fuse, config.norm
        self.stem = Conv(3, config.encoder_stem, 5, 1, None)
        self.down1 = nn.Sequential(Conv(config.encoder_stem, wide, 8, 4, norm), Conv(wide, wide, 5, 1, norm))
        self.down2 = nn.Sequential(
            Conv(wide, deep, 8, 4, norm), Conv(deep, deep, 5, 1, norm), Conv(deep, deep, 5, 1, norm)
        )
        self.up1 = Conv(deep, wide, 5, 1, norm)
        self.fuse1 = Conv(2 * wide, fuse, 5, 1, norm)
        self.up2 = Conv(fuse, fuse, 5, 1, norm)
        self.out = _output(fuse + config.encoder_stem, config.light_channels, 5)
        self.overview = None
        if config.encoder_overview:
            self.overview = Overview(config.encoder_overview, config.light_channels)
            for parameter in self.out.parameters():  # at first, the map is everywhere what the overview says
                nn.init.zeros_(parameter)

    def forward(self, plate: Tensor) -> Tensor:
        """plate: (B, 3, 128, 128) display-encoded. Returns (B, 16, 128, 128) in (0, 1)."""
        full = self.stem(plate)
        quarter = self.down1(full)
        x = self.up1(_upsample(self.down2(quarter), 4))
        x = self.up2(_upsample(self.fuse1(torch.cat([x, quarter], 1)), 4))
        x = self.out(torch.cat([x, full], 1))
        return torch.sigmoid(x if self.overview is None else x + self.overview(plate)[..., None, None])

    def read(self, features: Tensor) -> Tensor:
        """What the overview alone says of plates' light: (B, 16, 1, 1) in (0, 1). Only training's lessons use it.

        features: (B, 4096) of `overview.features`.
        """
        assert self.overview is not None
        return torch.sigmoid(self.overview.read(features)[..., None, None])


class UNet(nn.Module):
    """Table B with any number of input channels: maps (B, inputs, 128, 128) to (B, 3, 128, 128), linear.

    stem, widths, norm: as in `ShadingConfig`.
    """

    def __init__(self, inputs: int, stem: int, widths: tuple[int, int, int, int], norm: str) -> None:
        super().__init__()
        self.stem = Conv(inputs, stem, 3, 1, None)
        before = (stem, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(Conv(before, width, 4, 2, norm), Conv(width, width, 3, 1, norm))
            for before, width in zip(before, widths, strict=True)
        )
        self.smooth = Conv(widths[-1], widths[-1], 3, 1, norm)
        # From the inside out, with the resolutions of down[2], down[1], down[0].
        arriving = (widths[3], widths[1], widths[0])
        leaving = (widths[1], widths[0], widths[0])
        self.up = nn.ModuleList(
            Conv(a, w, 3, 1, norm) for a, w in zip(arriving, (widths[2], widths[1], widths[0]), strict=True)
        )
        self.fuse = nn.ModuleList(
            Conv(2 * w, b, 3, 1, norm) for w, b in zip((widths[2], widths[1], widths[0]), leaving, strict=True)
        )
        self.up_last = Conv(widths[0], widths[0], 3, 1, norm)
        self.out = _output(widths[0] + stem, 3, 3)

    def translated(self, maps: Tensor) -> Tensor:
        """The forward pass."""
        full = self.stem(maps)
        levels, x = [], full
        for down in self.down:
            x = down(x)
            levels.append(x)
        x = self.smooth(x)
        for up, fuse, level in zip(self.up, self.fuse, levels[-2::-1], strict=True):
            x = fuse(torch.cat([up(_upsample(x, 2)), level], 1))
        return self.out(torch.cat([self.up_last(_upsample(x, 2)), full], 1))


class ShadingGenerator(UNet):
    """G: the object's maps and the light map to linear shading (Table B)."""

    def __init__(self, config: ShadingConfig) -> None:
        super().__init__(config.object_channels + config.light_channels, config.stem, config.widths, config.norm)

    def forward(self, object_maps: Tensor, light: Tensor) -> Tensor:
        """object_maps: (B, 68, 128, 128) normal, albedo, RiCS. light: (B, 16, 128, 128). Returns (B, 3, 128, 128)."""
        return self.translated(torch.cat([object_maps, light], 1))


class ShadingDiscriminator(nn.Module):
    """D: is this shading real, given the object and the light? A projection discriminator on 16-pixel patches.

    ψ(φ(y :: o)) + φ(y :: o)·ω(l), with y = tanh(shading) (appendix A.c; Tables C, D, E).
    """

    def __init__(self, config: ShadingConfig) -> None:
        super().__init__()
        self.normal_only = not config.critic_sees_object
        inputs = 3 + (3 if self.normal_only else config.object_channels)
        widths = config.critic_widths
        stages = zip((inputs, config.critic_stem, *widths[:-1]), (config.critic_stem, *widths), strict=True)
        self.phi = nn.ModuleList(
            _spectral_conv(before, width, *((4, 2) if i else (3, 1))) for i, (before, width) in enumerate(stages)
        )
        half = widths[-1] // 2
        self.psi = nn.Sequential(_spectral_conv(widths[-1], half, 1, 1), spectral_norm(nn.Conv2d(half, 1, 1)))
        self.omega = nn.Sequential(
            _spectral_conv(config.light_channels, half, 5, 1),
            _spectral_conv(half, widths[-1], 8, 4),
            spectral_norm(nn.Conv2d(widths[-1], widths[-1], 4, 4)),
        )

    def features(self, shading: Tensor, object_maps: Tensor) -> list[Tensor]:
        """The outputs of φ's five convolutions, from the input on."""
        condition = object_maps[:, :3] if self.normal_only else object_maps
        x, outputs = torch.cat([torch.tanh(shading), condition], 1), []
        for conv in self.phi:
            x = conv(x)
            outputs.append(x)
        return outputs

    def verdict(self, feature: Tensor, projection: Tensor) -> Tensor:
        """Logits (B, 1, 8, 8) from φ's last output and ω of the crop's light map."""
        return self.psi(feature) + (feature * projection).sum(1, keepdim=True)

    def forward(self, shading: Tensor, object_maps: Tensor, light: Tensor) -> Tensor:
        return self.verdict(self.features(shading, object_maps)[-1], self.omega(light))


def _spectral_conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """ "Conv" of Tables C, D and E: spectral instead of instance normalization."""
    padding = (kernel - stride) // 2 if stride > 1 else kernel // 2
    convolution = spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride))
    return nn.Sequential(nn.ReflectionPad2d(padding), convolution, nn.LeakyReLU(0.2))


class ShadingNet(nn.Module):
    """f and G: what the plate's light makes of an object."""

    def __init__(self, config: ShadingConfig | None = None) -> None:
        super().__init__()
        self.config = config or ShadingConfig()
        self.encoder = LightEncoder(self.config)
        self.generator = ShadingGenerator(self.config)
        self.to(memory_format=torch.channels_last)

    def object_maps(self, normal: Tensor, albedo: Tensor, bits: Tensor) -> Tensor:
        """o of the paper: normal and albedo (B, 3, S, S) and, from bits (B, S, S) int64, RiCS: (B, 68, S, S)."""
        maps = [normal, albedo]
        if self.config.uses_rics:
            maps.append(unpack(bits).to(normal.dtype))
        return torch.cat(maps, 1)

    def light(self, plate: Tensor, box: Tensor) -> Tensor:
        """l of the paper: f's map of the whole plate, resampled into the crop.

        box: (B, 4) the crop's left, top, right, bottom in fractions of the plate. Returns (B, 16, S, S).
        """
        return crop_map(self.encoder(plate), box)

    def forward(self, plate: Tensor, normal: Tensor, albedo: Tensor, bits: Tensor, box: Tensor) -> Tensor:
        """Linear shading (B, 3, S, S); meaningless outside the object. Arguments as in `object_maps` and `light`."""
        return self.generator(self.object_maps(normal, albedo, bits), self.light(plate, box))

    @torch.inference_mode()
    def predict(
        self,
        plate: np.ndarray,
        albedo: np.ndarray,
        normal: np.ndarray,
        bits: np.ndarray,
        alpha: np.ndarray,
        box: np.ndarray,
    ) -> np.ndarray:
        """Shading of one cropped character, as `crop.py` cuts it.

        plate: (H, W, 3) display-encoded sRGB in [0, 1], the whole plate, any size and aspect.
        albedo: (128, 128, 3) linear. normal: (128, 128, 3) unit, camera space. bits: (128, 128) uint64 RiCS.
        alpha: (128, 128) coverage in [0, 1]. box: (4,) the crop in fractions of the plate (`crop.plate_box`).
        Returns (128, 128, 3) float32 linear shading at the plate's exposure, 0 outside the character.
        """
        device = next(self.parameters()).device
        covered = (np.asarray(alpha, np.float32) > 0)[..., None]
        maps = [whole_plate(plate), np.where(covered, normal, 0), np.where(covered, albedo, 0)]
        plates, normals, albedos = (
            torch.from_numpy(np.ascontiguousarray(m, np.float32)).permute(2, 0, 1)[None].to(device) for m in maps
        )
        packed = torch.from_numpy(np.where(covered[..., 0], bits, np.uint64(0)).view(np.int64))[None].to(device)
        boxes = torch.as_tensor(np.asarray(box, np.float32))[None].to(device)
        shading = self(plates, normals, albedos, packed, boxes)[0].permute(1, 2, 0).float().cpu().numpy()
        return np.where(covered, np.maximum(shading, 0), 0).astype(np.float32)


def whole_plate(plate: np.ndarray) -> np.ndarray:
    """A display-encoded plate (H, W, 3) as f sees it: area-averaged to 128×128, whatever its aspect, float32."""
    plate = np.ascontiguousarray(plate, np.float32)
    if plate.shape[:2] == (CROP, CROP):
        return plate
    return np.clip(cv2.resize(plate, (CROP, CROP), interpolation=cv2.INTER_AREA), 0, 1)


def unpack(bits: Tensor) -> Tensor:
    """RiCS bits (B, H, W) int64 to (B, 62, H, W) uint8 of 0 and 1, in channels-last memory."""
    octets = bits.contiguous().view(torch.uint8).reshape(*bits.shape, 8, 1)  # little-endian
    places = torch.arange(8, dtype=torch.uint8, device=bits.device)
    planes = ((octets >> places) & 1).reshape(*bits.shape, 64)[..., :RICS_CHANNELS]
    return planes.permute(0, 3, 1, 2)


def crop_map(image: Tensor, box: Tensor, size: int = CROP) -> Tensor:
    """Bilinear samples of an image (B, C, H, W) at the pixel centres of a crop: (B, C, size, size).

    box: (B, 4) left, top, right, bottom in fractions of the image. Beyond the image its border goes on.
    """
    steps = (torch.arange(size, device=image.device, dtype=torch.float32) + 0.5) / size
    left, top, right, bottom = (2 * box.float() - 1).unbind(1)
    x = left[:, None] + (right - left)[:, None] * steps
    y = top[:, None] + (bottom - top)[:, None] * steps
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], -1)
    # In full precision: half-precision positions would be off by a quarter of a pixel.
    return F.grid_sample(image.float(), grid, "bilinear", "border", align_corners=False)
