# SPDX-License-Identifier: GPL-3.0-or-later
"""The methods that `evaluate` compares: what ShadingNet, the light probe and their rivals tell of a frame."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..images import srgb_decode, srgb_encode
from ..protocol import Camera
from ..rays.camera import plate_directions, whole_camera
from ..rays.directions import cell_shares, unpack_bits
from . import probe as probes
from .baselines import fit_harmonics, shade_harmonics, transfer_colours
from .bounce import bounced_in
from .crop import CROP
from .dataset import Frame
from .ground_light import light_of
from .light_code import facing_shading, light_code
from .network import LightEncoder, ShadingNet
from .paired import PairedNet
from .probe import LightProbe, Sun
from .probe_network import ProbeNet


@dataclass(frozen=True)
class Estimate:
    """What a method tells of a frame's foreground of P pixels.

    shading: (P, 3). direction: (3,) camera space, where most light comes from, if known. colour: (P, 3)
    display-encoded, of methods that tell colours and no shading.
    """

    shading: np.ndarray | None = None
    direction: np.ndarray | None = None
    colour: np.ndarray | None = None


Method = Callable[[Frame, int], Estimate]
"""Shading of a frame under one of its lights, of which it may look at the plate only."""


def true_probe(frame: Frame, light: int) -> LightProbe:
    """The light that a frame was rendered with, in camera space."""
    suns = tuple(Sun(s[:3], s[3:6], float(s[6])) for s in frame.suns[light].astype(np.float64) if s[3:6].any())
    return LightProbe(frame.radiance[light], np.zeros(3, np.float32), suns, frame.world_from_camera[:3, :3])


def plate_camera(frame: Frame) -> Camera:
    """The camera of a frame's whole plate."""
    return whole_camera(Camera(frame.projection, frame.world_from_camera, CROP, CROP), frame.box)


def sun_visibility(bits: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What RiCS (P,) uint64 tells of suns, for shards hold no meshes: (K, 3) directions → (P, K) smoothly in [0, 1]."""
    visible = ~unpack_bits(bits)

    def visibility(directions: np.ndarray) -> np.ndarray:
        return visible.astype(np.float32) @ cell_shares(directions).T

    return visibility


def by_probe(probe: LightProbe, frame: Frame) -> Estimate:
    """A probe's shading of a frame, with what the person throws on itself, and the probe's dominant direction."""
    visible, normals = ~unpack_bits(frame.bits), frame.normal.astype(np.float32)
    suns = np.array([sun.direction for sun in probe.suns]).reshape(-1, 3)
    shading = probe.shade(visible, normals, sun_visibility(frame.bits)(suns))
    return Estimate(shading + _bounced(frame, shading, visible), probe.dominant_direction)


def _bounced(frame: Frame, shading: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """(P, 3) what the person throws on itself, lit by a shading (P, 3). visible: (P, 62) bool."""
    albedo, normals = frame.albedo.astype(np.float32), frame.normal.astype(np.float32)
    return bounced_in(shading, albedo, visible, normals, frame.pixels, CROP)


def no_harmonization(frame: Frame, light: int) -> Estimate:
    """The albedo as it is."""
    return Estimate(np.ones_like(frame.albedo, np.float32))


def constant(frame: Frame, light: int) -> Estimate:
    """The plate's mean colour."""
    mean = srgb_decode(frame.plates[light].astype(np.float32) / 255).mean((0, 1))
    return Estimate(np.broadcast_to(mean, frame.albedo.shape))


def colour_transfer(frame: Frame, light: int) -> Estimate:
    """The albedo, display-encoded, with the mean and deviation of the plate's colours (Reinhard et al. 2001)."""
    albedo = srgb_encode(frame.albedo.astype(np.float32).clip(0, 1))
    return Estimate(colour=transfer_colours(albedo, frame.plates[light].astype(np.float32) / 255))


def nine_harmonics(frame: Frame, light: int) -> Estimate:
    """Nine spherical harmonics fitted to the plate."""
    directions = plate_directions(plate_camera(frame))
    coefficients = fit_harmonics(frame.plates[light].astype(np.float32) / 255, directions)
    vector = np.array([0.2126, 0.7152, 0.0722]) @ coefficients[1:4].T
    length = np.linalg.norm(vector)
    shading = shade_harmonics(coefficients, frame.normal.astype(np.float32))
    return Estimate(shading, vector / length if length > 1e-6 else np.array([0.0, 1.0, 0.0]))


def true_light(frame: Frame, light: int) -> Estimate:
    """The probe with the true light: what a probe can reach."""
    return by_probe(true_probe(frame, light), frame)


def by_network(network: ShadingNet) -> Method:
    """A ShadingNet's shading."""

    def estimate(frame: Frame, light: int) -> Estimate:
        return Estimate(_predict(network, frame, light)[frame.pixels])

    return estimate


class _Told(LightEncoder):
    """f that says of every plate what it should of `facing` (1, 6, 3), the true `light_code.facing_shading`."""

    facing = torch.ones(1, 6, 3)

    def forward(self, plate: torch.Tensor) -> torch.Tensor:
        code = light_code(self.facing).to(plate)
        return code[..., None, None].expand(len(plate), -1, *plate.shape[2:])


def by_told_network(network: ShadingNet) -> Method:
    """A ShadingNet's shading where f tells the true light: what G makes of the rest."""
    encoder, told = _Told(network.config), ShadingNet(network.config).eval()
    told.encoder, told.generator = encoder, network.generator
    by_generator = by_network(told)

    def estimate(frame: Frame, light: int) -> Estimate:
        encoder.facing = torch.from_numpy(facing_shading(frame.radiance[light], frame.suns[light]))[None].float()
        return by_generator(frame, light)

    return estimate


def by_paired(network: PairedNet) -> Method:
    """A learned rival's shading, or colour."""

    def estimate(frame: Frame, light: int) -> Estimate:
        albedo = srgb_encode(frame.image(frame.albedo.astype(np.float32)).clip(0, 1))
        normal, alpha = (frame.image(a.astype(np.float32)) for a in (frame.normal, frame.alpha))
        told = network.predict(frame.plates[light].astype(np.float32) / 255, albedo, normal, alpha / 255, frame.box)
        told = told.reshape(-1, 3)[frame.pixels]
        return Estimate(colour=np.clip(told, 0, 1)) if network.colours else Estimate(told)

    return estimate


def by_fitted_probe(network: ShadingNet) -> Method:
    """The probe that is fitted to a ShadingNet's shading."""

    def estimate(frame: Frame, light: int) -> Estimate:
        shading = _predict(network, frame, light)[frame.pixels]
        direct = shading - _bounced(frame, shading, ~unpack_bits(frame.bits))
        fitted = probes.fit(direct, frame.bits, frame.normal, frame.alpha, sun_visibility=sun_visibility(frame.bits))
        return by_probe(fitted, frame)

    return estimate


def by_probenet(network: ProbeNet, frames: Sequence[Frame], suns: bool = True) -> Method:
    """The light that ProbeNet reads off the plate, and the plate's ground; over a film it is settled, as a job's is.

    frames: those that will be asked for, in their order. suns: see `probe_network.to_probe`.
    """
    films: dict[int, list[Frame]] = {}
    for frame, before in zip(frames, [None, *frames], strict=False):
        films[id(frame)] = films[id(before)] if before is not None and frame.follows(before) else []
        films[id(frame)].append(frame)

    def told(frame: Frame, light: int) -> LightProbe:
        plate = srgb_decode(frame.plates[light].astype(np.float32) / 255)
        return light_of(network, plate, plate_camera(frame), suns)

    @functools.lru_cache(maxsize=1)
    def settled(first: int, light: int) -> list[LightProbe]:
        film = films[first]
        return probes.settled([told(f, light) for f in film], [f.number for f in film], still=False)

    def estimate(frame: Frame, light: int) -> Estimate:
        first = films[id(frame)][0]
        return by_probe(settled(id(first), light)[frame.number - first.number], frame)

    return estimate


def _predict(network: ShadingNet, frame: Frame, light: int) -> np.ndarray:
    """(128·128, 3) shading."""
    images = (frame.image(a) for a in (frame.albedo, frame.normal, frame.bits, frame.alpha))
    return network.predict(frame.plates[light].astype(np.float32) / 255, *images, frame.box).reshape(-1, 3)
