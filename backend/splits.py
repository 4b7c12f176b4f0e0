# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of the user's are for training and which for tests."""

from __future__ import annotations

import zlib


def is_test(name: str) -> bool:
    """A quarter of all names, the same on every machine."""
    return zlib.crc32(name.encode()) % 4 == 0
