# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons that mend what a job is missing; a PenumbraError names its own in `fix`."""

from __future__ import annotations

from pathlib import Path

import addon_utils
import bpy

from ...backend.protocol import PenumbraError
from .. import compat, passes, properties, translations


class PENUMBRA_OT_add_camera(bpy.types.Operator):  # noqa: N801
    """Add a camera that sees what the view shows, and make it the scene's"""

    bl_idname = "penumbra.add_camera"
    bl_label = "Add Camera from View"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    def execute(self, context: bpy.types.Context) -> set[str]:
        camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
        context.scene.collection.objects.link(camera)
        context.scene.camera = camera
        region = getattr(context, "region_data", None)
        if region is not None:
            camera.matrix_world = region.view_matrix.inverted()
            camera.data.lens = context.space_data.lens / 2  # a view's sensor is twice as wide as a camera's
            region.view_perspective = "CAMERA"
        else:
            camera.location, camera.rotation_euler = (0.0, -6.0, 1.2), (1.5, 0.0, 0.0)
        return {"FINISHED"}


class _AsksForPath:
    """Opens the file browser first, which runs the operator with what was chosen there."""

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}


class PENUMBRA_OT_open_plate(_AsksForPath, bpy.types.Operator):  # noqa: N801
    """Open the photograph that the character is to belong to, and show it in the camera"""

    bl_idname = "penumbra.open_plate"
    bl_label = "Open Plate"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    filepath: bpy.props.StringProperty(
        name="Photograph", description="The photograph behind the character", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    filter_image: bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            image = bpy.data.images.load(self.filepath, check_existing=True)
        except RuntimeError:
            image = None
        if image is None or image.size[0] == 0:
            if image is not None and image.users == 0:
                bpy.data.images.remove(image)
            text = "This file is no image that Blender can read. Choose another one."
            self.report({"ERROR"}, translations.report(text))
            return {"CANCELLED"}
        context.scene.penumbra.plate = image
        camera = context.scene.camera
        if camera is not None and camera.type == "CAMERA" and not camera.data.background_images:
            camera.data.background_images.new().image = image
            camera.data.show_background_images = True
        return {"FINISHED"}


class PENUMBRA_OT_enable_cycles(bpy.types.Operator):  # noqa: N801
    """Switch on the render engine that reads the character's albedo and normals"""

    bl_idname = "penumbra.enable_cycles"
    bl_label = "Switch On Cycles"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        return {"FINISHED"} if addon_utils.enable("cycles", default_set=True) else {"CANCELLED"}


class PENUMBRA_OT_use_compositor(bpy.types.Operator):  # noqa: N801
    """Switch on the compositor nodes that the scene keeps"""

    bl_idname = "penumbra.use_compositor"
    bl_label = "Switch On Compositor Nodes"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    def execute(self, context: bpy.types.Context) -> set[str]:
        compat.wake_compositor_tree(context.scene)
        return {"FINISHED"}


class PENUMBRA_OT_load_result(_AsksForPath, bpy.types.Operator):  # noqa: N801
    """Show a result that was made before, or on a farm, from its folder of images; this needs no backend"""

    bl_idname = "penumbra.load_result"
    bl_label = "Load Result"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    directory: bpy.props.StringProperty(
        name="Folder", description="Where the images of the result are", subtype="DIR_PATH", options={"SKIP_SAVE"}
    )
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            cast = properties.chosen_cast(context)
            settings = properties.export_settings(context.scene)
            applied = passes.load_result(context.scene, cast.name, Path(self.directory), settings)
        except PenumbraError as problem:
            self.report({"ERROR"}, translations.report(problem))
            return {"CANCELLED"}
        for notice in applied.notices:
            self.report({"WARNING"}, translations.report(notice))
        return {"FINISHED"}


CLASSES = (
    PENUMBRA_OT_add_camera,
    PENUMBRA_OT_open_plate,
    PENUMBRA_OT_enable_cycles,
    PENUMBRA_OT_use_compositor,
    PENUMBRA_OT_load_result,
)
