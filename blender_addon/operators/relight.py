# SPDX-License-Identifier: GPL-3.0-or-later
"""Relight: turn, dim or colour the light that was found, adjusted in the panel of the last operation."""

from __future__ import annotations

import bpy

from .. import relight
from .result import OnResult


class PENUMBRA_OT_relight(OnResult, bpy.types.Operator):  # noqa: N801
    """Light the character of this result again, without the backend; the shadow on the plate stays as it is"""

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


CLASSES = (PENUMBRA_OT_relight,)
