# SPDX-License-Identifier: GPL-3.0-or-later
"""Preset: every frame of the range."""

import bpy

settings = bpy.context.scene.penumbra

settings.frames = "RANGE"
settings.estimator = "probenet"
settings.shadow = "physical"
settings.softness_automatic = True
settings.softness = 0.0349066
settings.ground = True
settings.ground_automatic = True
settings.ground_height = 0.0
settings.multilayer = False
