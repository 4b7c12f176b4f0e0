# SPDX-License-Identifier: GPL-3.0-or-later
"""The light that was found: turned, dimmed or coloured in the panel of the last operation, or given to the scene."""

from __future__ import annotations

import bpy

from .. import relight, scene_light
from .result import OnResult


class PENUMBRA_OT_relight(OnResult, bpy.types.Operator):  # noqa: N801
    """Light the result again, without the backend: turn, dim or colour the light that was found"""

    bl_idname = "penumbra.relight"
    bl_label = "Relight"

    turn: bpy.props.FloatProperty(
        name="Turn",
        description="Turn the light about the vertical axis",
        subtype="ANGLE",
        soft_min=-3.15,
        soft_max=3.15,
    )
    sky: bpy.props.FloatProperty(name="Sky", description="Strength of the wide light", default=1.0, min=0, soft_max=4)
    sun: bpy.props.FloatProperty(name="Sun", description="Strength of the suns", default=1.0, min=0, soft_max=4)
    colour: bpy.props.FloatVectorProperty(
        name="Colour", description="Colour that the light is multiplied by", subtype="COLOR", default=(1, 1, 1), min=0
    )

    def act(self, scene: bpy.types.Scene, character: str) -> None:
        relight.relight(scene, character, relight.Change(self.turn, self.sky, self.sun, tuple(self.colour)))


class PENUMBRA_OT_light_from_plate(OnResult, bpy.types.Operator):  # noqa: N801
    """Light the scene as the plate is lit, with a Sun and a World, so that renders agree with the result"""

    bl_idname = "penumbra.light_from_plate"
    bl_label = "Light from Plate"

    def act(self, scene: bpy.types.Scene, character: str) -> None:
        scene_light.add(scene, character)


CLASSES = (PENUMBRA_OT_relight, PENUMBRA_OT_light_from_plate)
