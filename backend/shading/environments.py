# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments for training data: HDR panoramas, skies with a sun, and what both say about light.

A panorama is an equirectangular image (H, W, 3) float32, scene-linear Rec.709, row 0 at the zenith, as Blender's
Environment Texture reads it: world +z is up, the centre column shows +x, and columns to the right turn from +x toward
−y (−y is at three quarters of the width). A radiance of 1 from everywhere gives a white diffuse surface shading 1.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from ..protocol import PenumbraError
from ..rays.camera import pointing
from ..rays.directions import pixel_directions
from . import noise
from .panorama import pixel_solid_angles, take_sun
from .probe import Sun

HEIGHT = 512  # rows of the pictures of environments; panoramas are brought to this size
LIGHT_HEIGHT = 256  # rows of the images that light
SUFFIXES = (".hdr", ".exr")


@dataclass(frozen=True)
class Environment:
    """Light from all around. Directions of suns are in world space.

    picture: (512, 1024, 3) the whole panorama, as a camera sees it.
    image: (256, 512, 3) the same without its suns; image and suns together are the light.
    """

    name: str
    picture: np.ndarray
    image: np.ndarray
    suns: tuple[Sun, ...] = ()

    def scaled(self, gain: np.ndarray | float) -> Environment:
        """All light times a factor or (3,) factors."""
        gain = np.asarray(gain, np.float32)
        suns = tuple(dataclasses.replace(s, irradiance=s.irradiance * gain) for s in self.suns)
        return Environment(self.name, self.picture * gain, self.image * gain, suns)

    def rotated(self, turn: float) -> Environment:
        """Turned about the vertical by `turn` of a full turn, counter-clockwise from above, to the nearest column."""
        columns = round(turn * self.image.shape[1])
        angle = 2 * np.pi * columns / self.image.shape[1]
        fine = columns * self.picture.shape[1] // self.image.shape[1]
        matrix = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        suns = tuple(s.turned(matrix) for s in self.suns)
        return Environment(self.name, np.roll(self.picture, -fine, axis=1), np.roll(self.image, -columns, axis=1), suns)

    def mirrored(self) -> Environment:
        """Reflected in the plane y = 0."""
        suns = tuple(s.turned(np.diag([1.0, -1.0, 1.0])) for s in self.suns)
        flipped = (np.ascontiguousarray(image[:, ::-1]) for image in (self.picture, self.image))
        return Environment(self.name, *flipped, suns)


def sample(image: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Bilinear look-up of a panorama (H, W, 3) in world directions (…, 3) → (…, 3) float32."""
    height, width = image.shape[:2]
    d = np.asarray(directions, np.float32).reshape(-1, 3)
    x = (0.5 - np.arctan2(d[:, 1], d[:, 0]) / (2 * np.pi)) * width - 0.5
    y = np.arccos(np.clip(d[:, 2] / np.linalg.norm(d, axis=1), -1, 1)) / np.pi * height - 0.5
    padded = cv2.copyMakeBorder(image, 1, 1, 0, 0, cv2.BORDER_REPLICATE)
    padded = cv2.copyMakeBorder(padded, 0, 0, 1, 1, cv2.BORDER_WRAP)
    side = int(np.ceil(np.sqrt(len(d))))  # cv2.remap takes images of fewer than 32768 rows
    maps = [np.resize(v.astype(np.float32) + 1, (side, side)) for v in (x, y)]
    looked_up = cv2.remap(padded, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return looked_up.reshape(-1, 3)[: len(d)].reshape(*np.shape(directions)[:-1], 3)


def upward_shading(image: np.ndarray, suns: tuple[Sun, ...] = ()) -> np.ndarray:
    """(3,) shading of a level white surface in the open: from the panorama's upper half and the suns."""
    height, width = image.shape[:2]
    cosine = np.maximum(0, np.cos((np.arange(height) + 0.5) / height * np.pi))
    shading = np.einsum("h,hwc->c", cosine * pixel_solid_angles(height, width)[:, 0], image) / np.pi
    return shading + sum((s.irradiance * max(0.0, float(s.direction[2])) for s in suns), np.zeros(3))


def ground_albedo(environment: Environment) -> np.ndarray:
    """(3,) albedo of a ground that looks, in the mean, like the panorama's lower half under the panorama's light.

    Between 0.04 and 0.6, as real grounds are; a panorama whose floor glows or is black would give others.
    """
    below = upward_shading(environment.picture[::-1])  # the mean radiance, weighted by the cosine
    return np.clip(below / np.maximum(upward_shading(environment.image, environment.suns), 1e-6), 0.04, 0.6)


def find_panoramas(folder: Path) -> list[Path]:
    """All .hdr and .exr files under a folder, sorted."""
    return sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)


def studio_panoramas() -> list[Path]:
    """Blender's eight studio panoramas, where the bpy module is installed beside us; nothing is imported."""
    spec = importlib.util.find_spec("bpy")
    roots = list(spec.submodule_search_locations or []) if spec else []
    return sorted(p for root in roots for p in Path(root).glob("*/datafiles/studiolights/world/*.exr"))


def load(path: Path) -> Environment:
    """Read a panorama at 1024×512, and part its suns from it. Raises PenumbraError where it cannot be read."""
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image is None or image.dtype != np.float32:
        raise PenumbraError(f"{Path(path).name} is not an HDR panorama that can be read.", "Use .hdr or .exr files.")
    image = np.maximum(np.nan_to_num(image[:, :, ::-1], posinf=6e4), 0)
    shrinks = image.shape[0] >= HEIGHT
    image = cv2.resize(image, (2 * HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return part_suns(Path(path).stem, np.maximum(image, 0).astype(np.float32))


def part_suns(name: str, picture: np.ndarray, most: int = 2) -> Environment:
    """Part the strongest small lights of a panorama from it, as the light probe does; none below the horizon."""
    size = (2 * LIGHT_HEIGHT, LIGHT_HEIGHT)
    image, suns = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float64), []
    while len(suns) < most and (found := take_sun(image)) is not None:
        suns.append(Sun(*found))
    return Environment(name, picture, image.astype(np.float32), tuple(s for s in suns if s.direction[2] > 0.02))


def sky(seed: int) -> Environment:
    """A sky over open ground: a gradient, haze about the sun, clouds, and the sun as a light of its own.

    Its colours and proportions follow daylight's: the sun gives a level white surface up to some six times the clear
    sky's light, low suns are red and weak, clouds white, veiled suns wide and weak. The zenith's radiance is about 1.
    """
    random = np.random.default_rng([seed, 7])
    directions = pixel_directions(LIGHT_HEIGHT, 2 * LIGHT_HEIGHT).astype(np.float32)
    up = directions[..., 2]
    altitude = np.radians(random.uniform(4, 75))
    azimuth = random.uniform(0, 2 * np.pi)
    sun = pointing(azimuth, altitude)
    cover = random.beta(0.8, 1.2)
    low = np.exp(-np.degrees(altitude) / 12)  # 1 at the horizon

    zenith = np.array([0.42, 0.72, 1.35]) * random.uniform(0.8, 1.2) * (1 - 0.5 * low)
    horizon = np.array([1.05, 1.15, 1.3]) * (1 - 0.25 * low) + low * np.array([0.9, 0.35, 0.0]) * random.uniform(0.3, 1)
    height = np.clip(up, 0, 1)[..., None]
    gradient = zenith + (horizon - zenith) * np.exp(-height * random.uniform(3, 7))
    toward = np.clip(directions @ sun.astype(np.float32), -1, 1)[..., None]
    glow_colour = np.array([1.0, 0.93, 0.8]) * (1 - low) + low * np.array([1.2, 0.65, 0.25])
    haze = random.uniform(0.3, 1.5)
    gradient = gradient + glow_colour * haze * (0.5 * toward**2 + 3 * np.exp((toward - 1) * 30)) * (toward > -1)

    clouds = cloud_layer(directions, cover, random)[..., None]
    lit = np.array([1.5, 1.5, 1.55]) * (1 - 0.5 * low) + glow_colour * (0.6 + 1.4 * np.maximum(toward, 0) ** 6)
    grey = 1 - 0.55 * cover * np.clip(clouds * 1.4 - 0.4, 0, 1)
    image = gradient * (1 - clouds) + lit * grey * clouds

    through = float(np.exp(-4 * clouds[pixel_of(sun)][0] * random.uniform(0.3, 1)))
    power = random.uniform(2.5, 5.5) * (1 - 0.75 * low)
    colour = np.array([1.0, 0.94, 0.84]) * (1 - low) + low * np.array([1.0, 0.55, 0.22])
    half_angle = np.radians(0.27 + random.exponential(0.4)) + (1 - through) * np.radians(random.uniform(2, 6))
    suns = (Sun(sun, power * through * colour, float(half_angle)),) if through > 0.04 else ()
    return over_ground(f"sky-{seed}", image.astype(np.float32), suns, random)


def draw_suns(picture: np.ndarray, suns: tuple[Sun, ...], where: np.ndarray | bool = True) -> np.ndarray:
    """The picture (512, 1024, 3), changed, with the discs of suns in it, `where` (512, 1024) allows."""
    directions = pixel_directions(HEIGHT, 2 * HEIGHT)
    for light in suns:
        near = directions @ light.direction > np.cos(max(light.half_angle, np.pi / HEIGHT))
        picture[near & where] += light.irradiance / np.sin(light.half_angle) ** 2
    return picture


def cloud_layer(directions: np.ndarray, cover: float, random: np.random.Generator) -> np.ndarray:
    """(H, W) opacity of a layer of clouds, thicker toward the horizon as one looks through it at a slant."""
    stretch = (directions[..., :2] / (np.clip(directions[..., 2:], 0, 1) + 0.12)).astype(np.float32)
    layer = noise.tile(random, 4, 0.55)
    u, v = ((stretch[..., k] * random.uniform(12, 40) + 1000) % noise.SIZE for k in (0, 1))
    value = cv2.remap(layer, u, v, cv2.INTER_LINEAR)
    threshold = np.quantile(layer[:-1, :-1], 1 - cover)
    return np.clip((value - threshold) * random.uniform(0.7, 2.0), 0, 1) * np.clip(directions[..., 2] * 30, 0, 1)


def over_ground(name: str, sky: np.ndarray, suns: tuple[Sun, ...], random: np.random.Generator) -> Environment:
    """The environment of a sky (256, 512, 3) and its suns over an open ground."""
    image = _with_ground(sky, suns, random)
    picture = cv2.resize(image, (2 * HEIGHT, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return Environment(name, draw_suns(picture, suns), image, suns)


def _with_ground(image: np.ndarray, suns: tuple[Sun, ...], random: np.random.Generator) -> np.ndarray:
    """Fill the lower half with a mottled ground lit by the sky and the sun."""
    directions = pixel_directions(LIGHT_HEIGHT, 2 * LIGHT_HEIGHT).astype(np.float32)
    tone = random.uniform(0.08, 0.45)
    albedo = tone * np.array([1.0, random.uniform(0.85, 1.1), random.uniform(0.55, 1.0)])
    depth = np.clip(-directions[..., 2:], 0.01, 1)
    place = (directions[..., :2] / depth).astype(np.float32)
    cells = random.standard_normal((2, 256, 256)).astype(np.float32)
    speckle = gaussian_filter(cells[0], 2, mode="wrap") + 3 * gaussian_filter(cells[1], 10, mode="wrap")
    u, v = ((place[..., k] * random.uniform(10, 40)) % 255 for k in (0, 1))
    mottle = cv2.remap(speckle / speckle.std(), u, v, cv2.INTER_LINEAR)
    mottle = np.exp(0.25 * mottle * np.clip(depth[..., 0] * 6, 0, 1))[..., None]  # no shimmer near the horizon
    radiance = albedo * upward_shading(image, suns) * mottle
    haze = np.exp(-depth * 25)
    horizon = image[LIGHT_HEIGHT // 2 - 1][None]
    below = radiance * (1 - 0.6 * haze) + 0.6 * haze * horizon * 0.5
    return np.where(directions[..., 2:] < 0, below, image).astype(np.float32)


def pixel_of(direction: np.ndarray) -> tuple[int, int]:
    """Row and column of a direction in an image that lights."""
    row = int(np.arccos(direction[2]) / np.pi * LIGHT_HEIGHT)
    column = int((0.5 - np.arctan2(direction[1], direction[0]) / (2 * np.pi)) * 2 * LIGHT_HEIGHT)
    return min(row, LIGHT_HEIGHT - 1), column % (2 * LIGHT_HEIGHT)
