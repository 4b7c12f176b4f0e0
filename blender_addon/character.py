# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the character in whatever of it is selected, and what every other object is to its light."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import bpy

from ..backend.protocol import CHARACTER, HOLDOUT, PROP, RECEIVER, PenumbraError

MESHABLE = {"MESH", "CURVE", "SURFACE", "FONT", "META"}
UNTRACEABLE = {
    "CURVES": "hair curves",
    "POINTCLOUD": "a point cloud",
    "VOLUME": "a volume",
    "GREASEPENCIL": "Grease Pencil",
    "GPENCIL": "Grease Pencil",
}


@dataclass(frozen=True)
class Character:
    """A rigged character.

    name: of its armature.
    parts: every object that belongs to it and is rendered in the view layer, in the order of the file.
    untraceable: one sentence for each part that is rendered but cannot be shaded.
    """

    name: str
    armature: bpy.types.Object
    parts: tuple[bpy.types.Object, ...]
    untraceable: tuple[str, ...] = ()


def find_character(objects: Iterable[bpy.types.Object], view_layer: bpy.types.ViewLayer) -> Character:
    """The character that the selected objects belong to.

    objects: any of its armature, body, clothes, parented props, or the empty above it.
    Raises PenumbraError where nothing is selected, there is no armature, or two characters are selected.
    """
    objects = [o for o in objects if o is not None]
    if not objects:
        raise PenumbraError("No character is selected.", "Select the armature or any mesh of the character.")
    rigs = {rig: None for o in objects for rig in _rigs_of(o)}
    if not rigs:
        raise PenumbraError(
            f"“{objects[0].name}” has no armature.",
            "Select a rigged character, or parent the mesh to an armature (Ctrl P).",
        )
    rigged = [rig for rig in rigs if any(part.type in MESHABLE for part in _parts(rig))]
    if len(rigged) > 1:
        names = ", ".join(f"“{rig.name}”" for rig in rigged)
        raise PenumbraError(f"Several characters are selected: {names}.", "Select one of them.")
    return _character((rigged or list(rigs))[0], view_layer)


def character_named(name: str, view_layer: bpy.types.ViewLayer) -> Character:
    """The character whose armature, or any part, is called `name`."""
    found = view_layer.objects.get(name)
    if found is None:
        raise PenumbraError(f"There is no object “{name}”.", "Name the character's armature or one of its meshes.")
    return find_character([found], view_layer)


def characters(view_layer: bpy.types.ViewLayer) -> list[Character]:
    """All characters of a view layer that have something to render."""
    rigs = {rig: None for o in view_layer.objects if o.type == "ARMATURE" for rig in _rigs_of(o)}
    found = [_character(rig, view_layer) for rig in rigs]
    return [c for c in found if any(part.type in MESHABLE for part in c.parts)]


def only_character(view_layer: bpy.types.ViewLayer) -> Character:
    """The one character of a view layer. Raises PenumbraError where there is none, or a choice."""
    found = characters(view_layer)
    if not found:
        raise PenumbraError("There is no rigged character in the scene.", "Parent the meshes to an armature (Ctrl P).")
    if len(found) > 1:
        names = ", ".join(f"“{c.name}”" for c in found)
        raise PenumbraError(f"The scene has several characters: {names}.", "Name one of them.")
    return found[0]


def roles(character: Character, view_layer: bpy.types.ViewLayer) -> dict[bpy.types.Object, str]:
    """What each object of the view layer that can be rendered is to the character's light.

    An object's own `hide_render` is not looked at here: it may be animated, and the render evaluates it.
    """
    parts = set(character.parts)
    found = {}
    for item, held_out in _renderable(view_layer.layer_collection):
        if item.is_holdout or held_out or found.get(item) == HOLDOUT:
            found[item] = HOLDOUT
        elif item in parts:
            found[item] = CHARACTER
        else:
            found[item] = RECEIVER if item.is_shadow_catcher else PROP
    return found


def _renderable(layer: bpy.types.LayerCollection) -> Iterator[tuple[bpy.types.Object, bool]]:
    """Objects of the collections that are rendered, with whether their collection holds them out."""
    if layer.collection.hide_render:
        return
    if not layer.exclude:
        for item in layer.collection.objects:
            yield item, layer.holdout
    for child in layer.children:
        yield from _renderable(child)


def _character(rig: bpy.types.Object, view_layer: bpy.types.ViewLayer) -> Character:
    rendered = {item for item, _ in _renderable(view_layer.layer_collection)}
    parts = [part for part in _parts(rig) if part in rendered]
    return Character(rig.name, rig, tuple(parts), tuple(_untraceable(parts)))


def _rigs_of(item: bpy.types.Object) -> list[bpy.types.Object]:
    """The outermost armatures that move an object; below an empty, those of its children."""
    seen: set[bpy.types.Object] = set()
    rig = None
    pending = [item]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        if current.type == "ARMATURE":
            rig = current
        pending += [leader for leader in _leaders(current) if leader is not None]
    if rig is None:
        below = item.children_recursive
        return [o for o in below if o.type == "ARMATURE" and not _ancestor_is_armature(o)]
    while (outer := _armature_above(rig)) is not None:
        rig = outer
    return [rig]


def _armature_above(rig: bpy.types.Object) -> bpy.types.Object | None:
    parent = rig.parent
    while parent is not None and parent.type != "ARMATURE":
        parent = parent.parent
    return parent


def _ancestor_is_armature(rig: bpy.types.Object) -> bool:
    return _armature_above(rig) is not None


def _leaders(item: bpy.types.Object) -> list[bpy.types.Object | None]:
    """What an object follows: its parent, its armatures, the mesh that its cloth is bound to, a constraint's target."""
    leaders = [item.parent]
    for modifier in item.modifiers:
        if modifier.type in {"ARMATURE", "MESH_DEFORM"}:
            leaders.append(modifier.object)
        elif modifier.type == "SURFACE_DEFORM":
            leaders.append(modifier.target)
    if item.type == "ARMATURE":
        return leaders
    for constraint in item.constraints:
        if constraint.type == "ARMATURE":
            leaders += [target.target for target in constraint.targets]
        elif constraint.type in {"CHILD_OF", "COPY_TRANSFORMS"}:
            leaders.append(constraint.target)
    return leaders


def _parts(rig: bpy.types.Object) -> list[bpy.types.Object]:
    """Everything that follows an armature, directly or through other parts."""
    followers: dict[bpy.types.Object, list[bpy.types.Object]] = {}
    for item in bpy.data.objects:
        for leader in _leaders(item):
            if leader is not None:
                followers.setdefault(leader, []).append(item)
    found: dict[bpy.types.Object, None] = {}
    pending = [rig]
    while pending:
        current = pending.pop()
        if current not in found:
            found[current] = None
            pending += followers.get(current, [])
    members = found.keys() - {rig}
    return [item for item in bpy.data.objects if item in members and item.type not in {"CAMERA", "LIGHT", "SPEAKER"}]


def _untraceable(parts: list[bpy.types.Object]) -> Iterator[str]:
    for part in parts:
        if part.hide_render:
            continue
        if part.type in UNTRACEABLE:
            yield f"“{part.name}” is {UNTRACEABLE[part.type]}, which is not shaded: convert it to a mesh."
        for system in part.particle_systems:
            if system.settings.type == "HAIR" and system.settings.render_type == "PATH":
                yield f"The hair “{system.name}” of “{part.name}” is not shaded: convert it to a mesh."
