# SPDX-License-Identifier: GPL-3.0-or-later
"""Small folders of shards, made as `scripts/make_dataset.py object` makes them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.object_dataset import make_objects


def made(folder: Path, split: str, shapes: int, views: int, categories: Sequence[str] = ("table", "car")) -> Path:
    """A folder of shards."""
    options = {"categories": list(categories), "shard": 3, "hdri": [], "workers": 1}
    make_objects(argparse.Namespace(split=split, shapes=shapes, views=views, out=folder, **options))
    return folder


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tables and two cars of the train split, two pictures of each, in two shards."""
    return made(tmp_path_factory.mktemp("objects") / "train", "train", 2, 2)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table and a car of the real split, one photograph of each."""
    return made(tmp_path_factory.mktemp("objects") / "real", "real", 1, 1)
