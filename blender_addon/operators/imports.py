# SPDX-License-Identifier: GPL-3.0-or-later
"""Import Body and Import Object from Image: in the sidebar, in File > Import, and by images dropped on the 3D View."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from ...backend.import_jobs import ALL, LARGEST, numbers_of
from ...backend.protocol import PenumbraError
from .. import from_photograph, jobs, pictures, translations
from ..body_import import KINDS, BodyRequest, PeopleFound, check_method, find_people, import_body
from ..from_photograph import IMAGES, check_image
from ..jobs import Job
from ..object_import import ObjectRequest, import_object
from .running import RunsJob, check_free, possible

IMPORTS = ("Import Body from Image", "Import Object from Image")  # titles of their jobs
MOST = 32  # people to choose from: Blender's own limit of such a row of toggles
WIDTH, SCALE = 460, 20.0  # of the dialog, pixels, and of its picture, icons


class FromImage(RunsJob):
    """An operator that imports from the image `filepath`, which it asks for where it is not given.

    models: the networks of which it needs one. kinds: suffixes of what it imports from.
    """

    models = ("",)
    kinds = IMAGES

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
        def checked() -> None:
            if not any(map(from_photograph.has_weights, cls.models)):
                from_photograph.check_weights(cls.models[0])
            check_free()

        return possible(cls, checked)

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
        check_image(image, self.kinds)
        return Job(self.steps(context, image), self.bl_label)


class PENUMBRA_OT_import_body(FromImage, bpy.types.Operator):  # noqa: N801 (Blender's naming)
    """Reconstruct the people of a photograph, video or image sequence as rigged characters, with its camera"""

    bl_idname = "penumbra.import_body"
    bl_label = IMPORTS[0]
    models = ("lasor", "bodynet")
    kinds = KINDS

    filter_glob: bpy.props.StringProperty(default=";".join(f"*{suffix}" for suffix in KINDS), options={"HIDDEN"})
    who: bpy.props.EnumProperty(
        name="Who",
        description="Which of the people become characters",
        items=(
            ("ALL", "Everybody", "All people who are found"),
            ("LARGEST", "The Largest", "The person who covers most of the picture"),
            ("CHOSEN", "Chosen", "Those whose numbers are given, or who are chosen from a picture that is shown first"),
        ),
    )
    people: bpy.props.StringProperty(
        name="People",
        description='Numbers of those chosen, from the left, such as "1 3"; empty shows a picture to choose from',
        options={"SKIP_SAVE"},
    )
    sequence: bpy.props.BoolProperty(
        name="Sequence",
        description="Take all images that are numbered as the chosen one as a moving picture",
        options={"SKIP_SAVE"},
    )
    method: bpy.props.EnumProperty(
        name="Method",
        description="What tells pose and shape of the people",
        items=(
            ("lasor", "LASOR", "Pose and shape at once"),
            ("bodynet", "BodyNet", "A volume of voxels, to which the body is fitted; its surface comes along, hidden"),
            ("both", "LASOR and BodyNet", "LASOR's body, fitted to BodyNet's voxels; the surface comes along, hidden"),
        ),
    )
    focal: bpy.props.FloatProperty(
        name="Focal Length",
        description="Of the camera, in millimetres on a sensor of 36 mm; 0 takes the photograph's own where it tells",
        default=0.0,
        min=0.0,
        soft_max=200.0,
    )

    def draw(self, _context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        for name in ("who", "people", "sequence", "method", "refine", "focal", "use_camera"):
            if name != "people" or self.who == "CHOSEN":
                layout.prop(self, name)

    def job(self, context: bpy.types.Context, waiting: jobs.TerminalLine | None) -> Job:
        if self._who != "CHOSEN" or self.people.strip():
            return super().job(context, waiting)
        if waiting:
            raise PenumbraError("Nobody was chosen.", 'Give numbers as people, such as "1 3".')
        check_method(self.method)
        image = Path(bpy.path.abspath(self.filepath))
        return Job(find_people(image, self.sequence), self.bl_label)

    @property
    def _who(self) -> str:
        """Scripts that give numbers need not say that they choose."""
        return "CHOSEN" if self.people.strip() and not self.properties.is_property_set("who") else self.who

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        ended = super().modal(context, event)
        if ended == {"FINISHED"} and isinstance(self._job.outcome, PeopleFound):
            given = self.as_keywords(ignore=("chosen", "filter_glob", "people"))
            _ask(self._job.outcome, given)
        return ended

    def steps(self, context: bpy.types.Context, image: Path) -> jobs.Steps:
        who = {"ALL": ALL, "LARGEST": LARGEST}.get(self._who) or self.people
        if self._who == "CHOSEN":
            numbers_of(who)
        request = BodyRequest(
            context.scene,
            image,
            who,
            self.refine,
            self.use_camera,
            self.method,
            self.sequence,
            self.focal / from_photograph.SENSOR,
        )
        return import_body(request)


_asked: tuple[PeopleFound, dict[str, Any]] | None = None  # who was found last, and the import's arguments


def _ask(found: PeopleFound, arguments: dict[str, Any]) -> None:
    """Show who was found, in a dialog that goes on with the import."""
    global _asked
    _asked = found, arguments
    bpy.ops.penumbra.choose_people("INVOKE_DEFAULT")


class PENUMBRA_OT_choose_people(bpy.types.Operator):  # noqa: N801
    """Choose who becomes a character, from a picture with their numbers"""

    bl_idname = "penumbra.choose_people"
    bl_label = "Choose People"
    bl_options = {"INTERNAL"}  # noqa: RUF012

    chosen: bpy.props.BoolVectorProperty(name="People", size=MOST, options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return _asked is not None

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        found = _asked[0]
        self.chosen = [number == found.largest for number in range(1, MOST + 1)]
        return context.window_manager.invoke_props_dialog(self, width=WIDTH, confirm_text="Import")

    def draw(self, _context: bpy.types.Context) -> None:
        found = _asked[0]
        icon = pictures.icon("people", id(found), lambda: found.picture)
        self.layout.template_icon(icon_value=icon, scale=SCALE)
        grid = self.layout.grid_flow(row_major=True, columns=4, even_columns=True, align=True)
        for number in range(min(found.count, MOST)):
            grid.prop(self, "chosen", index=number, text=str(number + 1), toggle=True, translate=False)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        found, arguments = _asked
        numbers = [str(number) for number, one in enumerate(self.chosen, 1) if one and number <= found.count]
        if not numbers:
            self.report({"ERROR"}, translations.report("Nobody was chosen."))
            return {"CANCELLED"}
        bpy.ops.penumbra.import_body("INVOKE_DEFAULT", **{**arguments, "people": " ".join(numbers)})
        return {"FINISHED"}


class PENUMBRA_OT_import_object(FromImage, bpy.types.Operator):  # noqa: N801
    """Reconstruct the object of a photograph as a mesh with parts and albedo, with the camera that took it"""

    bl_idname = "penumbra.import_object"
    bl_label = IMPORTS[1]
    models = ("reconstructor",)

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
    """Images and videos dropped on the 3D View."""

    bl_idname = "PENUMBRA_FH_body"
    bl_label = IMPORTS[0]
    bl_import_operator = "penumbra.import_body"
    bl_file_extensions = ";".join(KINDS)

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


CLASSES = (
    PENUMBRA_OT_import_body,
    PENUMBRA_OT_choose_people,
    PENUMBRA_OT_import_object,
    PENUMBRA_FH_body,
    PENUMBRA_FH_object,
)


def _menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(PENUMBRA_OT_import_body.bl_idname, text="Body from Image")
    self.layout.operator(PENUMBRA_OT_import_object.bl_idname, text="Object from Image")


def add_menu() -> None:
    bpy.types.TOPBAR_MT_file_import.append(_menu)


def remove_menu() -> None:
    bpy.types.TOPBAR_MT_file_import.remove(_menu)
