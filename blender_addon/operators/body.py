# SPDX-License-Identifier: GPL-3.0-or-later
"""Import Body from Image: in the sidebar, in File > Import, and by dropping an image on the 3D View."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...backend.protocol import PenumbraError
from .. import jobs
from ..body_import import IMAGES, BodyRequest, check, import_body
from ..jobs import Job
from .running import RunsJob


class PENUMBRA_OT_import_body(RunsJob, bpy.types.Operator):  # noqa: N801
    """Reconstruct the people of a photograph as rigged characters, with the camera that took it"""

    bl_idname = "penumbra.import_body"
    bl_label = "Import Body from Image"
    bl_options = {"REGISTER"}  # the job makes its own step of undo  # noqa: RUF012

    filepath: bpy.props.StringProperty(name="Photograph", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default=";".join(f"*{suffix}" for suffix in IMAGES), options={"HIDDEN"})
    person: bpy.props.IntProperty(
        name="Person", description="Only this one, counted from the left; 0 imports everybody", min=0, soft_max=10
    )
    refine: bpy.props.BoolProperty(
        name="Refine", description="Fit the body to silhouette and joints, a few seconds more", default=True
    )
    use_camera: bpy.props.BoolProperty(
        name="Use Its Camera",
        description="Make the photograph's camera the scene's, and its size the render size",
        default=True,
    )
    chosen: bpy.props.BoolProperty(options={"HIDDEN", "SKIP_SAVE"})  # the file browser is open, or was

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if jobs.running():
            cls.poll_message_set("Penumbra is already at work")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.filepath:
            return super().invoke(context, event)
        self.chosen = True
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.chosen or bpy.app.background:
            return super().execute(context)
        # The file browser calls execute and ends the operator; another one goes on beside the interface.
        given = {name: getattr(self, name) for name in ("filepath", "person", "refine", "use_camera")}
        bpy.ops.penumbra.import_body("INVOKE_DEFAULT", **given)
        return {"FINISHED"}

    def job(self, context: bpy.types.Context, _waiting: jobs.TerminalLine | None) -> Job:
        if not self.filepath:
            raise PenumbraError("No photograph was chosen.", "Give its path as filepath.")
        image = Path(bpy.path.abspath(self.filepath))
        request = BodyRequest(context.scene, image, self.person, self.refine, self.use_camera)
        check(request)
        return Job(import_body(request), self.bl_label)


class PENUMBRA_FH_photograph(bpy.types.FileHandler):  # noqa: N801
    """Images dropped on the 3D View."""

    bl_idname = "PENUMBRA_FH_photograph"
    bl_label = "Import Body from Image"
    bl_import_operator = "penumbra.import_body"
    bl_file_extensions = ";".join(IMAGES)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES = (PENUMBRA_OT_import_body, PENUMBRA_FH_photograph)


def _menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(PENUMBRA_OT_import_body.bl_idname, text="Body from Image")


def add_menu() -> None:
    bpy.types.TOPBAR_MT_file_import.append(_menu)


def remove_menu() -> None:
    bpy.types.TOPBAR_MT_file_import.remove(_menu)
