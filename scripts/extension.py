# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository root as the Python package `penumbra`, for scripts and tests.

Blender loads the root under its own prefix; outside Blender its folder may have any name.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


def load() -> ModuleType:
    """Make `from penumbra.blender_addon import …` work, and return the package with its register()."""
    if "penumbra" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "penumbra", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec
        assert spec.loader
        sys.modules["penumbra"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["penumbra"])
    return sys.modules["penumbra"]
