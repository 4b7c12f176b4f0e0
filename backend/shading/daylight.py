# SPDX-License-Identifier: GPL-3.0-or-later
"""Daylight by the physics of clear air, haze and clouds, for lessons: suns as strong as photographed ones.

What air takes from the sun's beam it scatters, so that sun, sky and glow belong together: a low sun in clear air still
gives five to ten times the mean light of its sky. (`environments.sky`, whose lights the test frames are in, has weaker
suns, and its skies are more even.)
"""

from __future__ import annotations

import numpy as np

from ..rays.camera import pointing
from ..rays.directions import pixel_directions
from .environments import LIGHT_HEIGHT, Environment, cloud_layer, over_ground, pixel_of, upward_shading
from .probe import Sun

_WAVELENGTHS = np.array([0.63, 0.532, 0.465])  # micrometres, of Rec.709's primaries
_MOLECULES = 0.008735 * _WAVELENGTHS**-4.08  # optical depth of clear air at the zenith (Rayleigh scattering)
_BEAM = 9.0  # of the sun above the air; a clear sky at noon then gives a level surface about 1
_DOWN = np.array([0.5, 0.8])  # share of what molecules, and haze, scatter that comes down in the end


def daylight(seed: int) -> Environment:
    """A sky over open ground, and the sun as a light of its own. Clear or hazy, with clouds or without."""
    random = np.random.default_rng([seed, 19])
    directions = pixel_directions(LIGHT_HEIGHT, 2 * LIGHT_HEIGHT).astype(np.float32)
    altitude, azimuth = np.radians(2 + 68 * random.beta(1, 1.6)), random.uniform(0, 2 * np.pi)
    sun = pointing(azimuth, altitude)
    toward = np.clip(directions @ sun.astype(np.float32), -1, 1)[..., None]
    haze = np.exp(random.uniform(np.log(0.02), np.log(0.35))) * _WAVELENGTHS**-1.3  # Ångström's law
    beam = _BEAM * np.exp(-_air_mass(sun[2]) * (_MOLECULES + haze))
    image = _clear(directions, toward, float(sun[2]), haze)

    cover = random.beta(0.6, 1.2)
    veil = cloud_layer(directions, cover, random)[..., None]
    through = float(np.exp(-4 * veil[pixel_of(sun)][0] * random.uniform(0.3, 1)))
    narrow = random.uniform(5, 30)  # how closely a veiled sun's light stays around it
    glow = 0.25 * narrow * (1 - through) * np.exp((toward - 1) * narrow)
    shine = 0.2 + 0.5 * np.maximum(toward, 0) ** 8 + glow
    thick = 1 - 0.5 * cover * np.clip(veil * 1.4 - 0.4, 0, 1)
    image = image * (1 - veil) + (0.8 * upward_shading(image) + beam * shine) * thick * veil

    half_angle = np.radians(0.27 + (1 - through) * random.uniform(2, 6))
    suns = (Sun(sun, through * beam, float(half_angle)),) if through > 0.04 else ()
    light = over_ground(f"day-{seed}", image.astype(np.float32), suns, random)
    colour = upward_shading(light.image, suns) + 0.3 * through * beam
    return light.scaled(_white_balance(colour, random.uniform(0.3, 1)))


def _air_mass(up: np.ndarray | float) -> np.ndarray:
    """How much more air than toward the zenith a ray at height `up` = sin(altitude) crosses (Rozenberg 1966)."""
    up = np.clip(up, 0, 1)
    return 1 / (up + 0.025 * np.exp(-11 * up))


def _clear(directions: np.ndarray, toward: np.ndarray, height: float, haze: np.ndarray) -> np.ndarray:
    """(H, W, 3) radiance of a sky without clouds: scattered once along the ray, and the rest of the light spread.

    toward: (H, W, 1) cosine of the angle to the sun. height: sine of the sun's altitude. haze: its optical depth, (3,).
    """
    depth = _MOLECULES + haze
    ray, beam = _air_mass(directions[..., 2:]), _air_mass(height)
    ray = np.where(np.abs(ray - beam) < 0.01, beam + 0.01, ray)  # the next line's limit
    path = ray / (ray - beam) * (np.exp(-beam * depth) - np.exp(-ray * depth))
    forward = (1 - 0.76**2) / (1 + 0.76**2 - 2 * 0.76 * toward) ** 1.5  # Henyey and Greenstein, g = 0.76
    scattered = (0.75 * (1 + toward**2) * _MOLECULES + forward * haze) / depth
    once = _BEAM * scattered / 4 * path
    down = (_DOWN[0] * _MOLECULES + _DOWN[1] * haze) / depth
    arriving = _BEAM * height * (1 - np.exp(-beam * depth)) * down
    once *= np.minimum(arriving / upward_shading(once), 1)
    spread = 1 - np.exp(-ray * depth)
    spread *= (arriving - upward_shading(once)) / upward_shading(spread)
    return np.where(directions[..., 2:] > 0, once + spread, 0)


def _white_balance(colour: np.ndarray, share: float) -> np.ndarray:
    """(3,) factors that take `share` of a light's colour away, at the same mean."""
    gain = (colour.mean() / colour) ** share
    return gain * colour.mean() / (gain * colour).mean()
