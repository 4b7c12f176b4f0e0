# SPDX-License-Identifier: GPL-3.0-or-later
"""Imported objects that change afterwards: by their sliders, or with what is another's."""

from __future__ import annotations

import bpy

from ...backend.protocol import PenumbraError
from .. import jobs, reshape
from ..jobs import Job
from .running import RunsJob, check_free, possible


class _OnImported(RunsJob):
    """An operator on imported objects. number: how many are to be selected."""

    bl_options = {"REGISTER"}  # the job makes its own step of undo  # noqa: RUF012
    number = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        def checked() -> None:
            check_free()
            reshape.check(cls.meshes(context))

        return possible(cls, checked)

    @classmethod
    def meshes(cls, context: bpy.types.Context) -> list[bpy.types.Mesh]:
        """Those of the selected objects, the active one's first. Raises PenumbraError where they are not as many."""
        found = dict.fromkeys(obj.data for obj in (context.object, *context.selected_objects) if reshape.imported(obj))
        if cls.number == 1 and found:
            return list(found)[:1]
        if len(found) != cls.number:
            raise PenumbraError(
                "No object of Import Object from Image is selected."
                if cls.number == 1
                else "Not two objects of Import Object from Image are selected.",
                "Select it." if cls.number == 1 else "Select two.",
            )
        return list(found)


class PENUMBRA_OT_reshape_object(_OnImported, bpy.types.Operator):  # noqa: N801 (Blender's naming)
    """Make the surface of the active imported object again, as its sliders say; edits of the mesh are lost"""

    bl_idname = "penumbra.reshape_object"
    bl_label = "Reshape Object"

    def job(self, context: bpy.types.Context, _waiting: jobs.TerminalLine | None) -> Job:
        return Job(reshape.reshape(tuple(map(reshape.target_of, self.meshes(context)))), reshape.TITLE)


class PENUMBRA_OT_exchange_codes(_OnImported, bpy.types.Operator):  # noqa: N801
    """Give each of two selected imported objects what is the other's; edits of their meshes are lost"""

    bl_idname = "penumbra.exchange_codes"
    bl_label = "Exchange"
    number = 2

    what: bpy.props.EnumProperty(
        name="What",
        description="What the two objects exchange",
        items=(
            ("SHAPE", "Shape", "Each gets the other's shape and keeps its own colours"),
            ("ALBEDO", "Albedo", "Each gets the other's colours and keeps its own shape"),
        ),
    )

    def job(self, context: bpy.types.Context, _waiting: jobs.TerminalLine | None) -> Job:
        targets = reshape.exchanged(*self.meshes(context), self.what)
        return Job(reshape.reshape(targets, self.bl_label), reshape.TITLE)


CLASSES = (PENUMBRA_OT_reshape_object, PENUMBRA_OT_exchange_codes)
