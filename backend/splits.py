# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of the user's are for training and which for tests."""

from __future__ import annotations

import zlib
from pathlib import Path

TEST_PLACES = ("city", "lobby", "park")
"""Places of public panorama collections whose light no network of ours may have seen, whatever data sets hold them."""

TRAIN_PLACES = (
    "bridge",
    "courtyard",
    "forest",
    "hall",
    "interior",
    "night",
    "studio",
    "sunrise",
    "sunset",
    "warehouse",
)
"""The same collections' other places: real light is scarce, and three places are enough to test with."""


def is_test(name: str) -> bool:
    """A quarter of all names, the same on every machine."""
    return zlib.crc32(name.encode()) % 4 == 0


def place_of(panorama: Path | str) -> str:
    """The name by which panoramas of one place are known, as far as file names tell: collections prefix theirs."""
    words = [word for word in Path(panorama).stem.lower().replace("-", "_").split("_") if word]
    return "_".join(words[-2:]) if words[-1].isdigit() else words[-1]


def is_test_light(panorama: Path | str) -> bool:
    """Whether a panorama is for tests: by its place where we know it, else if its name falls into the quarter."""
    place = place_of(panorama)
    return place in TEST_PLACES or (place not in TRAIN_PLACES and is_test(place))


def of_test_places(light: Path | str) -> bool:
    """Whether a light of a shard is one of `TEST_PLACES`: shards that are older than that rule may hold some."""
    return place_of(light) in TEST_PLACES
