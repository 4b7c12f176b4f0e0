# SPDX-License-Identifier: GPL-3.0-or-later
"""Import Body and Import Object from Image: in the sidebar, in File > Import, and by images dropped on the 3D View."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from ...backend.protocol import PenumbraError
from .. import from_photograph, jobs, translations
from ..body_import import BodyRequest, import_body
from ..from_photograph import IMAGES, check_image
from ..jobs import Job
from ..object_import import ObjectRequest, import_object
from .running import RunsJob

IMPORTS = ("Import Body from Image", "Import Object from Image")  # titles of their jobs


class FromImage(RunsJob):
    """An operator that imports from the image `filepath`, which it asks for where it is not given.

    model: the network that it needs.
    """

    model = ""

    bl_options = {"REGISTER"}  # the job makes its own step of undo  # noqa: RUF012

    filepath: bpy.props.StringProperty(
        name="Photograph", description="The photograph to import from", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    filter_glob: bpy.props.StringProperty(default=";".join(f"*{suffix}" for suffix in IMAGES), options={"HIDDEN"})
    use_camera: bpy.props.BoolProperty(
        name="Use Its Camera",
        description="Make the photograph's camera the scene's, and its size the render size",
        default=True,
    )
    refine: bpy.props.BoolProperty(
        name="Refine", description="Fit what is imported to the picture, a few seconds more", default=True
    )
    chosen: bpy.props.BoolProperty(options={"HIDDEN", "SKIP_SAVE"})  # the file browser is open, or was

    if TYPE_CHECKING:  # what the operators below bring along
        bl_idname: str

        def steps(self, context: bpy.types.Context, image: Path) -> jobs.Steps: ...

        def as_keywords(self, *, ignore: tuple[str, ...] = ()) -> dict[str, Any]: ...

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        try:
            from_photograph.check_weights(cls.model)
            if jobs.running():
                raise PenumbraError("Penumbra is already at work.")
        except PenumbraError as problem:
            cls.poll_message_set(translations.tooltip(problem))  # type: ignore[attr-defined]
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
        given = self.as_keywords(ignore=("chosen", "filter_glob"))
        name = self.bl_idname.rpartition("_OT_")[2]  # an instance has Blender's own spelling
        getattr(bpy.ops.penumbra, name)("INVOKE_DEFAULT", **given)
        return {"FINISHED"}

    def job(self, context: bpy.types.Context, _waiting: jobs.TerminalLine | None) -> Job:
        if not self.filepath:
            raise PenumbraError("No photograph was chosen.", "Give its path as filepath.")
        image = Path(bpy.path.abspath(self.filepath))
        check_image(image)
        return Job(self.steps(context, image), self.bl_label)


class PENUMBRA_OT_import_body(FromImage, bpy.types.Operator):  # noqa: N801 (Blender's naming)
    """Reconstruct the people of a photograph as rigged characters, with the camera that took it"""

    bl_idname = "penumbra.import_body"
    bl_label = IMPORTS[0]
    model = "lasor"

    person: bpy.props.IntProperty(
        name="Person", description="Only this one, counted from the left; 0 imports everybody", min=0, soft_max=10
    )
    method: bpy.props.EnumProperty(
        name="Method",
        description="What tells pose and shape of the people",
        items=(
            ("lasor", "LASOR", "Pose and shape at once"),
            ("bodynet", "BodyNet", "A volume of voxels, to which the body is fitted; its surface comes along, hidden"),
        ),
    )

    def steps(self, context: bpy.types.Context, image: Path) -> jobs.Steps:
        request = BodyRequest(context.scene, image, self.person, self.refine, self.use_camera, self.method)
        return import_body(request)


class PENUMBRA_OT_import_object(FromImage, bpy.types.Operator):  # noqa: N801
    """Reconstruct the object of a photograph as a mesh with parts and albedo, with the camera that took it"""

    bl_idname = "penumbra.import_object"
    bl_label = IMPORTS[1]
    model = "reconstructor"

    mask: bpy.props.StringProperty(
        name="Mask", description="An image that is white on the object; empty takes its alpha", subtype="FILE_PATH"
    )
    box: bpy.props.FloatVectorProperty(
        name="Box",
        description="Left, top, right and bottom around the object, as shares of the picture, where there is neither"
        " mask nor alpha",
        size=4,
        min=0,
        max=1,
        default=(0, 0, 0, 0),
    )
    side: bpy.props.IntProperty(
        name="Resolution", description="Of the grid that the mesh is made on", default=128, min=16, max=512
    )
    use_light: bpy.props.BoolProperty(
        name="Add Its Light", description="Add a sun, and a world in place of the scene's, of the photograph's light"
    )

    def steps(self, context: bpy.types.Context, image: Path) -> jobs.Steps:
        box = tuple(self.box) if any(self.box) else None
        mask = Path(bpy.path.abspath(self.mask)) if self.mask else None
        request = ObjectRequest(
            context.scene, image, mask, box, self.side, self.refine, self.use_camera, self.use_light
        )
        return import_object(request)


class PENUMBRA_FH_body(bpy.types.FileHandler):  # noqa: N801
    """Images dropped on the 3D View."""

    bl_idname = "PENUMBRA_FH_body"
    bl_label = IMPORTS[0]
    bl_import_operator = "penumbra.import_body"
    bl_file_extensions = ";".join(IMAGES)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


class PENUMBRA_FH_object(bpy.types.FileHandler):  # noqa: N801
    """Images dropped on the 3D View."""

    bl_idname = "PENUMBRA_FH_object"
    bl_label = IMPORTS[1]
    bl_import_operator = "penumbra.import_object"
    bl_file_extensions = ";".join(IMAGES)

    poll_drop = PENUMBRA_FH_body.poll_drop


CLASSES = (PENUMBRA_OT_import_body, PENUMBRA_OT_import_object, PENUMBRA_FH_body, PENUMBRA_FH_object)


def _menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(PENUMBRA_OT_import_body.bl_idname, text="Body from Image")
    self.layout.operator(PENUMBRA_OT_import_object.bl_idname, text="Object from Image")


def add_menu() -> None:
    bpy.types.TOPBAR_MT_file_import.append(_menu)


def remove_menu() -> None:
    bpy.types.TOPBAR_MT_file_import.remove(_menu)
