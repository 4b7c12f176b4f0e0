# SPDX-License-Identifier: GPL-3.0-or-later
"""Penumbra, a Blender extension that lights a CG character by the photograph behind it."""

from types import ModuleType


def _modules() -> tuple[ModuleType, ...]:
    from .blender_addon import (
        cli,
        jobs,
        live_light,
        operators,
        panels,
        pictures,
        preferences,
        properties,
        reshape,
        shadow_handle,
        translations,
    )

    interface = properties, preferences, pictures, reshape, operators, panels, cli, jobs, live_light, shadow_handle
    return translations, *interface


def register() -> None:
    """Called by Blender when the extension is enabled."""
    import atexit

    import bpy

    for module in _modules():
        module.register()
    if bpy.app.module:  # Blender disables extensions before it ends; the Python module does not, and crashes
        atexit.register(unregister)


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    import atexit

    atexit.unregister(unregister)
    for module in reversed(_modules()):
        module.unregister()
