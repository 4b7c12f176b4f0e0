# SPDX-License-Identifier: GPL-3.0-or-later
"""The plate must reach the screen as it is: what in a scene's colour management would change it."""

from __future__ import annotations

import bpy


def plate_deviations(scene: bpy.types.Scene) -> tuple[str, ...]:
    """What would change the plate between its file and the rendered image; empty where nothing does."""
    view = scene.view_settings
    checks = (
        (view.view_transform != "Standard", f"view transform {view.view_transform}"),
        (view.look != "None", f"look {view.look}"),
        (abs(view.exposure) > 1e-6, "exposure"),
        (abs(view.gamma - 1.0) > 1e-6, "gamma"),
        (view.use_curve_mapping, "colour curves"),
        (view.use_white_balance, "white balance"),
        (scene.render.dither_intensity > 0.0, "dither"),
    )
    return tuple(name for changes, name in checks if changes)


def is_plate_exact(scene: bpy.types.Scene) -> bool:
    """Whether pixels without character and shadow come out as the photograph has them."""
    return not plate_deviations(scene)


def make_plate_exact(scene: bpy.types.Scene) -> None:
    """The Standard view without any grading, and no dither."""
    view = scene.view_settings
    view.view_transform = "Standard"
    view.look = "None"
    view.exposure, view.gamma = 0.0, 1.0
    view.use_curve_mapping = view.use_white_balance = False
    scene.render.dither_intensity = 0.0
