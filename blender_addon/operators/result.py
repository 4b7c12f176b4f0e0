# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with a result: connect it, take it away, and see the plate as it was photographed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy

from ...backend.protocol import PenumbraError
from .. import exact_plate, passes, translations


class OnResult:
    """Base of the operators that work on one character's result."""

    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    character: bpy.props.StringProperty(name="Character", description="Whose result; empty takes the only one")

    if TYPE_CHECKING:  # what the operators below bring along

        def report(self, kind: set[str], text: str) -> None: ...

        def act(self, scene: bpy.types.Scene, character: str) -> None: ...

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not passes.result_nodes(context.scene):
            cls.poll_message_set(translations.tooltip("There is no result yet"))  # type: ignore[attr-defined]
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        results = passes.result_nodes(context.scene)
        name = self.character or (next(iter(results)) if len(results) == 1 else "")
        if name not in results:
            text = translations.report("Say which character's result: {0}.")
            self.report({"ERROR"}, text.format(", ".join(results)))
            return {"CANCELLED"}
        try:
            self.act(context.scene, name)
        except PenumbraError as problem:
            self.report({"ERROR"}, translations.report(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class PENUMBRA_OT_remove(OnResult, bpy.types.Operator):  # noqa: N801
    """Take the result out of the compositor, and leave it as it was before"""

    bl_idname = "penumbra.remove"
    bl_label = "Remove"

    def act(self, scene: bpy.types.Scene, character: str) -> None:
        passes.remove_result(scene, character)


class PENUMBRA_OT_connect(OnResult, bpy.types.Operator):  # noqa: N801
    """Make the result the compositor's output; removing it brings the former output back"""

    bl_idname = "penumbra.connect"
    bl_label = "Connect to Output"

    def act(self, scene: bpy.types.Scene, character: str) -> None:
        passes.link_to_output(scene, character)


class PENUMBRA_OT_use_standard_view(bpy.types.Operator):  # noqa: N801
    """Use the Standard view without dither, which shows and saves the plate exactly as it is"""

    bl_idname = "penumbra.use_standard_view"
    bl_label = "Use Standard View"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if exact_plate.is_plate_exact(context.scene):
            cls.poll_message_set(translations.tooltip("The plate is shown exactly already"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        exact_plate.make_plate_exact(context.scene)
        return {"FINISHED"}


CLASSES = (PENUMBRA_OT_remove, PENUMBRA_OT_connect, PENUMBRA_OT_use_standard_view)
