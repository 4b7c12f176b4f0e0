# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes across the steps of a job: undo moves the data meanwhile, so only identifiers are kept."""

from __future__ import annotations

import bpy

from ..backend.protocol import PenumbraError


def scene_of(session_uid: int) -> bpy.types.Scene:
    """Raises PenumbraError where the scene is gone."""
    for scene in bpy.data.scenes:
        if scene.session_uid == session_uid:
            return scene
    raise PenumbraError("The scene was deleted while Penumbra worked on it.", "Run again in another scene.")
