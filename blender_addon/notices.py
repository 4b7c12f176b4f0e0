# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist should know about a scene before a job: nothing here stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy

from . import own_light
from .camera import camera_at
from .character import Cast

if TYPE_CHECKING:
    from .export import ExportSettings

_SIMULATED = {"CLOTH", "SOFT_BODY"}


def scene_notices(scene: bpy.types.Scene, cast: Cast, settings: ExportSettings) -> tuple[str, ...]:
    """One plain sentence for each thing that will be missing from the result, or differ from a render."""
    found = list(cast.untraceable)
    render = scene.render
    if render.use_border and render.use_crop_to_border:
        found.append("The result has the size of the whole frame: turn off Crop to Render Region to composite it.")
    if render.use_motion_blur:
        found.append("Motion blur is left out of the result.")
    if camera_at(scene, settings.camera).data.dof.use_dof:
        found.append("Depth of field is left out of the result.")
    if render.use_multiview:
        found.append("Only the middle view of a stereoscopic render is made.")
    for part in cast.owners:
        for modifier in part.modifiers:
            if modifier.type in _SIMULATED and modifier.show_render and not modifier.point_cache.is_baked:
                found.append(f"The simulation “{modifier.name}” of “{part.name}” is not baked: bake it first.")
    if settings.own_light and own_light.leaves_out(scene):
        found.append("The scene's point, spot and area lights are left out: its World and Suns light the character.")
    return tuple(found)
