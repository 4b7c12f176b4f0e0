# SPDX-License-Identifier: GPL-3.0-or-later
"""What a traced shadow looks like on its plate: trained networks tell its depth and colour, its form stays.

The networks are those for lone photographs (`generated`; physical shadow paper, section 3). Where the scene is known
they are told more: exact points, the probe's light, and the traced shadow in the place of the predicted mask.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from ..protocol import Camera
from ..rays.camera import crop_camera
from ..rays.scene import RayScene
from ..shading.panorama import LUMINANCE
from ..shading.probe import LightProbe
from ..weights import WEIGHTS
from . import generated, tone
from .combined_light import casting_light, combined
from .generator import Conditions, ShadowGenerator
from .hints import UNSHADED
from .networks import SEEN, ShadowPredictors
from .pointmap import PointMap, of_scene

SAMPLES, SEED = 4, 0  # shadows that are drawn, whose mean is taken; all frames begin with the same noise
CONTEXT = 1.25  # sides of what holds character and shadow: what the networks see around it
DEEPEST = 8.0  # times the traced shadow's logarithm; what is drawn deeper than that everywhere is no shadow of this

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Networks:
    """predictors: on the CPU. generator: on the device that draws."""

    predictors: ShadowPredictors
    generator: ShadowGenerator

    @classmethod
    def load(cls, device: torch.device, root: Path = WEIGHTS) -> Networks:
        """Raises PenumbraError where weights are missing or damaged."""
        predictors = generated.load_predictors(root / generated.PREDICTORS)
        return cls(predictors, generated.load_generator(root / generated.GENERATOR).to(device))


@dataclass(frozen=True)
class Scene:
    """A frame as the networks are told of it.

    plate: (H, W, 3) linear. composite: (H, W, 3) display-encoded in [0, 1], the shaded characters on the plate.
    alpha: (H, W) their coverage. meshes, camera, ground, height: as `cast.cast_shadow` takes them.
    """

    plate: np.ndarray
    composite: np.ndarray
    alpha: np.ndarray
    meshes: RayScene
    camera: Camera
    ground: bool = True
    height: float | None = None

    def points(self, box: Box, size: int) -> PointMap:
        """The exact points of a part of the frame, squeezed into a square of `size` pixels a side."""
        return of_scene(self.meshes, crop_camera(self.camera, box, (size, size)), self.ground, self.height)


def agreed_light(networks: Networks, scene: Scene, probe: LightProbe) -> LightProbe:
    """The probe, combined with the light that the networks predict from the whole frame.

    They see the characters grey: these are shaded by the probe, which would find itself confirmed.
    """
    box = (0, 0, scene.camera.width, scene.camera.height)
    picture = scene.composite + scene.alpha[..., None] * (UNSHADED - scene.composite)
    seen = generated.observe(networks.predictors, picture, scene.alpha, scene.points(box, SEEN), SEEN)
    return combined(probe, seen.light[0].double().numpy(), float(seen.light_quality[0]))


def told_power(
    networks: Networks,
    scene: Scene,
    traced: Mapping[str, np.ndarray],
    probe: LightProbe,
    progress: Callable[[float], None] = lambda fraction: None,
) -> np.ndarray | None:
    """(3,) of which power of the traced shadow the one that the networks draw is, by colour; None without a shadow.

    traced: by name, the characters' parts (H, W, 3) that the probe casts. progress: gets the fraction that is done
    after each step of diffusion; what it raises ends the work.
    """
    together = np.prod(list(traced.values()), 0)
    if (together == 1).all():
        return None
    drawn, log = _drawn(networks, scene, together, probe, progress)
    # In the logarithm: so its power keeps thin shadows, which a small picture blurs, as deep as they were drawn.
    power = (drawn * log).sum((0, 1)) / np.maximum((log * log).sum((0, 1)), 1e-9)
    return np.clip(power, 0, DEEPEST)


def deepened(traced: Mapping[str, np.ndarray], power: np.ndarray, plate: np.ndarray) -> dict[str, np.ndarray]:
    """Each character's part (H, W, 3) of a shadow that is this power (3,) of the traced one on its plate (H, W, 3)."""
    together = np.prod(list(traced.values()), 0)
    ratio = np.where(together < 1, np.maximum(tone.fitted(together**power, plate), 1e-3), 1).astype(np.float32)
    return shared(ratio, traced)


def shared(ratio: np.ndarray, traced: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parts whose product is `ratio` (H, W, 3), in proportion to the traced ones' logarithms; exactly 1 where those
    are."""
    if len(traced) == 1:
        return dict.fromkeys(traced, ratio)
    logs = {name: np.log(one, dtype=np.float64) for name, one in traced.items()}
    total = sum(logs.values(), np.zeros(ratio.shape))
    exponent = np.log(ratio, dtype=np.float64) / np.where(total < 0, total, 1)
    return {name: np.exp(log * exponent).astype(np.float32) for name, log in logs.items()}


@contextlib.contextmanager
def _steps_told(generator: ShadowGenerator, progress: Callable[[float], None]) -> Iterator[None]:
    """Calls `progress` whenever the U-Net has denoised once."""
    steps = itertools.count(1)
    hook = generator.unet.register_forward_hook(lambda *_: progress(min(next(steps) / generator.steps, 1.0)))
    try:
        yield
    finally:
        hook.remove()


def _box(where: np.ndarray) -> Box:
    """A square around all that is marked (H, W), CONTEXT times as large, or what the frame has of it."""
    edges = []
    for axis, size in ((0, where.shape[1]), (1, where.shape[0])):
        marked = np.flatnonzero(where.any(axis))
        edges.append((marked[0], marked[-1] + 1, size))
    side = int(np.ceil(CONTEXT * max(last - first for first, last, _ in edges)))
    spans = []
    for first, last, size in edges:
        length = min(side, size)
        start = int(np.clip((first + last - length) // 2, 0, size - length))
        spans.append((start, start + length))
    (left, right), (top, bottom) = spans
    return left, top, right, bottom


def _drawn(
    networks: Networks, scene: Scene, together: np.ndarray, probe: LightProbe, progress: Callable[[float], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms (s, s, 3) of the ratio that is drawn about a traced one (H, W, 3), the mean of several, and of that
    one; 0 on the characters, which the networks leave as they are."""
    box = _box((together < 1).any(-1) | (scene.alpha > 0))
    size, (left, top, right, bottom) = networks.generator.config.size, box
    part = np.s_[top:bottom, left:right]
    traced = together[part]
    depth = 1 - traced @ LUMINANCE.astype(np.float32)
    prior = depth / max(float(depth.max()), 1e-6)
    taken = np.clip(1 - traced[prior > 0.9].mean(0), 0, 1)
    small, log = (cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA) for i in (prior, np.log(traced)))
    picture, alpha = (image[part] for image in (scene.composite, scene.alpha))
    light, _ = casting_light(probe)
    seen = generated.observe(networks.predictors, picture, alpha, scene.points(box, size), size, light)
    seen = dataclasses.replace(
        seen,
        mask=torch.from_numpy(small)[None, None] * (1 - seen.object),
        mask_quality=torch.ones(1),
        light_quality=torch.full((1,), probe.confidence),
        taken=torch.tensor(taken, dtype=torch.float32)[None],
    )
    device = next(networks.generator.parameters()).device
    moved = {f.name: getattr(seen, f.name).to(device) for f in dataclasses.fields(seen)}
    with _steps_told(networks.generator, progress), torch.no_grad():
        ratios = networks.generator.sample(Conditions(**moved).repeated(SAMPLES), SEED)
    beside = 1 - seen.object[0, 0].numpy()[..., None]
    drawn = ratios.clamp(min=1e-3).log().mean(0).permute(1, 2, 0).cpu().numpy()
    return drawn * beside, log * beside
