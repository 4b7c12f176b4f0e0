# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist sets for a scene: `bpy.context.scene.penumbra`."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import bpy

from ..backend.protocol import GENERATED, PHYSICAL, PROBENET, SHADINGNET, SOFTEST, PenumbraError
from . import passes, scene_light, wipe
from .character import Cast, cast_named, everybody, find_cast, standing_for, without
from .export import ExportSettings
from .preferences import preferred_device
from .translations import CONTEXT

# Instead of an estimator:
SCENE = "scene"  # the light that the artist has set
PERSON = "person"  # ProbeNet's, fitted to the pixels of a person in the plate


def _line(settings: PenumbraSettings) -> float:
    return wipe.line(passes.result_nodes(settings.id_data).values())


def _set_line(settings: PenumbraSettings, where: float) -> None:
    """It is kept in the results' nodes, where it can be animated."""
    wipe.set_line(passes.result_nodes(settings.id_data).values(), where)


class PenumbraSettings(bpy.types.PropertyGroup):
    """Settings of Harmonize Shading, saved with the scene."""

    character: bpy.props.PointerProperty(
        name="Character",
        description="The armature of the one character; empty takes the selected ones, or all where none is selected",
        type=bpy.types.Object,
        poll=lambda _, candidate: candidate.type == "ARMATURE",
    )
    plate: bpy.props.PointerProperty(
        name="Plate",
        description="The photograph behind the character; empty takes the camera's background image",
        type=bpy.types.Image,
    )
    frames: bpy.props.EnumProperty(
        name="Frames",
        description="Which frames to work on",
        translation_context=CONTEXT,
        items=(
            ("CURRENT", "Current", "Only the frame that is shown"),
            ("RANGE", "Range", "Every frame of the scene's range, as an image sequence"),
        ),
    )
    estimator: bpy.props.EnumProperty(
        name="Light From",
        description="Who estimates the light of the plate",
        items=(
            (PROBENET, "Plate", "ProbeNet reads the light off the plate, the sun included"),
            (SHADINGNET, "ShadingNet", "The light that explains best how ShadingNet shades the character"),
            (PERSON, "Person", "The light on somebody in the plate over whom a mesh stands"),
            (
                SCENE,
                "Scene",
                "The scene's World and Suns as they are now: those that Light from Plate has made, or your own",
            ),
        ),
    )
    person: bpy.props.PointerProperty(
        name="Person",
        description="The mesh, or its armature, that stands over somebody in the plate, whose pixels tell the light",
        type=bpy.types.Object,
        poll=lambda _, candidate: candidate.type in {"MESH", "ARMATURE"},
    )
    shadow: bpy.props.EnumProperty(
        name="Shadow",
        description="What tells how dark the shadow is and of which colour; its outline is traced",
        items=(
            (PHYSICAL, "Physical", "The light that the character takes away"),
            (GENERATED, "Generated", "Trained networks tell its depth and colour from the plate; they take longer"),
        ),
    )
    softness_automatic: bpy.props.BoolProperty(
        name="As Soft as the Light",
        description="Cast the shadow by suns as large as they were found",
        default=True,
    )
    softness: bpy.props.FloatProperty(
        name="Softness",
        description="Half the angle across the suns, when they cast the shadow on the plate",
        subtype="ANGLE",
        min=0,
        max=math.radians(SOFTEST),
        default=math.radians(2),
    )
    ground: bpy.props.BoolProperty(
        name="Ground",
        description="Cast the shadow on a ground plane where the scene has no shadow catcher",
        default=True,
    )
    ground_automatic: bpy.props.BoolProperty(
        name="Under the Character",
        description="Put the ground plane under the character's lowest point",
        default=True,
    )
    ground_height: bpy.props.FloatProperty(
        name="Height", description="World Z of the ground plane", unit="LENGTH", subtype="DISTANCE"
    )
    gloss: bpy.props.BoolProperty(
        name="Gloss",
        description="Render what the light found reflects in the character, with Cycles; takes longer",
    )
    output: bpy.props.StringProperty(
        name="Output",
        description="Folder for the images; empty puts them beside the .blend file",
        subtype="DIR_PATH",
        options={"PATH_SUPPORTS_BLEND_RELATIVE"},
    )
    multilayer: bpy.props.BoolProperty(
        name="Multilayer EXR",
        description="Write each frame also as one EXR with all layers and a matte, for Nuke and Fusion",
    )
    compare: bpy.props.FloatProperty(
        name="Compare",
        description="Where the line is that parts before from after, in the viewport and in renders; 0 is off",
        subtype="FACTOR",
        min=0,
        max=1,
        get=_line,
        set=_set_line,
        options=set(),
    )


def chosen_cast(context: bpy.types.Context) -> Cast:
    """The character set in the scene, else those selected, else all, but for a person whom the plate shows.

    Who has a result together with others is not taken out of it. Raises PenumbraError where there is no character.
    """
    settings = context.scene.penumbra
    if settings.character:
        return cast_named([settings.character.name], context.view_layer)
    try:
        cast = to_be_lit(context.scene, find_cast(context.selected_objects, context.view_layer))
    except PenumbraError as not_selected:
        try:
            return to_be_lit(context.scene, everybody(context.view_layer))
        except PenumbraError:
            raise not_selected from None
    together = next((names for names in passes.casts(context.scene) if set(cast.names) < set(names)), ())
    return cast_named(together, context.view_layer) if together else cast


def to_be_lit(scene: bpy.types.Scene, cast: Cast) -> Cast:
    """The characters but for the one that stands for a person in the plate. Raises PenumbraError where none is left."""
    person = scene.penumbra.person
    return without(cast, person) if person and scene.penumbra.estimator == PERSON else cast


def matched_meshes(scene: bpy.types.Scene) -> tuple[str, ...]:
    """The names of the meshes over the person whose light is asked for. Raises PenumbraError where they are missing."""
    person = scene.penumbra.person
    if scene.penumbra.estimator != PERSON:
        return ()
    if person is None:
        raise PenumbraError(
            "No mesh is chosen that stands over the person in the plate.",
            "Choose it under Person, or take the light from the plate.",
        )
    rendered = [part.name for part in standing_for(person) if not part.hide_render and part.visible_shadow]
    if not rendered:
        raise PenumbraError(
            f"“{person.name}” has no mesh that is rendered and casts shadows.",
            "Show it in renders: it is not part of the result.",
        )
    return tuple(rendered)


def chosen_frames(scene: bpy.types.Scene) -> tuple[int, ...]:
    """The frame numbers to work on."""
    if scene.penumbra.frames == "RANGE":
        return tuple(range(scene.frame_start, scene.frame_end + 1, scene.frame_step))
    return (scene.frame_current,)


def export_settings(scene: bpy.types.Scene, *, multilayer: bool = False) -> ExportSettings:
    """The scene's settings as the exporter takes them, but for the person and the light of the scene."""
    settings = scene.penumbra
    return ExportSettings(
        plate=settings.plate.name if settings.plate else None,
        ground=settings.ground,
        ground_height=None if settings.ground_automatic else settings.ground_height,
        device=preferred_device(),
        estimator=PROBENET if settings.estimator in (SCENE, PERSON) else settings.estimator,
        multilayer=multilayer or settings.multilayer,
        shadow=settings.shadow,
        shadow_softness=None if settings.softness_automatic else min(math.degrees(settings.softness), SOFTEST),
        gloss=settings.gloss,
    )


def lit_settings(scene: bpy.types.Scene, character: str, *, multilayer: bool = False) -> ExportSettings:
    """`export_settings`, with the person or the scene's light that is asked for. Raises PenumbraError without it."""
    settings = dataclasses.replace(export_settings(scene, multilayer=multilayer), match=matched_meshes(scene))
    if scene.penumbra.estimator != SCENE:
        return settings
    if not scene_light.is_given(scene, character):
        return dataclasses.replace(settings, own_light=True)
    return dataclasses.replace(settings, light=scene_light.probe_now(scene, character))


def output_folder(scene: bpy.types.Scene) -> Path | None:
    """Where the images go; None puts them beside the .blend file."""
    return Path(bpy.path.abspath(scene.penumbra.output)) if scene.penumbra.output else None


def register() -> None:
    bpy.utils.register_class(PenumbraSettings)
    bpy.types.Scene.penumbra = bpy.props.PointerProperty(type=PenumbraSettings)


def unregister() -> None:
    del bpy.types.Scene.penumbra
    bpy.utils.unregister_class(PenumbraSettings)
