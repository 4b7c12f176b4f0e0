# SPDX-License-Identifier: GPL-3.0-or-later
"""The body model that these tests share."""

from __future__ import annotations

import pytest

from backend.body.model import BodyModel


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return BodyModel.load()


@pytest.fixture(scope="module")
def body() -> BodyModel:
    """The coarse one, for outlines and voxels."""
    return BodyModel.load(coarse=True)
